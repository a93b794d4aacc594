//! Echoes what clients send to see whether the kernel lives.

use zmq::Socket;

/// Serves until the context ends.
pub(super) fn serve(socket: Socket) {
    loop {
        let echoed = socket.recv_multipart(0).and_then(|frames| socket.send_multipart(&frames, 0));
        if echoed == Err(zmq::Error::ETERM) {
            return;
        }
    }
}
