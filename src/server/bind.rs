//! Makes the sockets and binds them to the addresses of the connection file.

use std::path::Path;

use zmq::{Context, ROUTER, Socket, SocketType, XPUB};

use super::iopub::{ATTEMPT, WAITING, set_lossless};
use super::{Channel, ConnectionFile, Error, Transport};
use crate::wire::LIMIT;

/// How long a closed socket goes on sending, in milliseconds.
const LINGER: i32 = 300;

/// All sockets, bound.
pub(super) struct Sockets {
    /// Control first: it is served first.
    pub(super) requests: [(Channel, Socket); 3],
    pub(super) iopub: Socket,
    pub(super) heartbeat: Socket,
}

/// Binds all five; ports that were 0 are filled in.
pub(super) fn all(context: &Context, file: &mut ConnectionFile) -> Result<Sockets, Error> {
    let mut ports = file.ports;
    let router = |port: &mut u16| bound(self::router(context)?, file, port);
    let requests = [
        (Channel::Control, router(&mut ports.control)?),
        (Channel::Shell, router(&mut ports.shell)?),
        (Channel::Stdin, router(&mut ports.stdin)?),
    ];
    let heartbeat = router(&mut ports.heartbeat)?;
    let iopub = bound(publisher(context)?, file, &mut ports.iopub)?;
    file.ports = ports;
    Ok(Sockets { requests, iopub, heartbeat })
}

fn socket(context: &Context, kind: SocketType) -> Result<Socket, Error> {
    let socket = context.socket(kind)?;
    socket.set_linger(LINGER)?;
    // A longer message ends the connection that sends it before it takes memory.
    socket.set_maxmsgsize(LIMIT as i64)?;
    Ok(socket)
}

fn router(context: &Context) -> Result<Socket, Error> {
    let socket = socket(context, ROUTER)?;
    // A client that sends hundreds of cells at once must get every reply.
    socket.set_sndhwm(0)?;
    // A client that comes back under its old identity takes it over.
    socket.set_router_handover(true)?;
    Ok(socket)
}

fn publisher(context: &Context) -> Result<Socket, Error> {
    let mut socket = socket(context, XPUB)?;
    // Also those who subscribe to what others have subscribed to are welcomed.
    socket.set_xpub_verbose(true)?;
    socket.set_sndhwm(WAITING)?;
    socket.set_sndtimeo(ATTEMPT)?;
    set_lossless(&mut socket, true);
    Ok(socket)
}

/// `socket`, bound to `port` or, where that is 0, to a free one that `port` then names.
fn bound(socket: Socket, file: &ConnectionFile, port: &mut u16) -> Result<Socket, Error> {
    let endpoint = match file.transport {
        Transport::Tcp => {
            socket.set_ipv6(file.ip.contains(':'))?;
            tcp_endpoint(&file.ip, *port)
        }
        Transport::Ipc => {
            *port = if *port == 0 { free_ipc_port(&file.ip) } else { *port };
            format!("ipc://{}", file.ipc_path(*port).display())
        }
    };
    socket.bind(&endpoint).map_err(|source| Error::Bind { endpoint, source })?;
    if *port == 0 {
        *port = tcp_port(&socket)?;
    }
    Ok(socket)
}

fn tcp_endpoint(ip: &str, port: u16) -> String {
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let port = if port == 0 { "*".to_owned() } else { port.to_string() };
    format!("tcp://{host}:{port}")
}

/// The port that ZeroMQ has chosen.
fn tcp_port(socket: &Socket) -> Result<u16, Error> {
    let endpoint = socket.get_last_endpoint()?.map_err(|_| zmq::Error::EINVAL)?;
    let port = endpoint.rsplit(':').next().and_then(|port| port.parse().ok());
    Ok(port.ok_or(zmq::Error::EINVAL)?)
}

/// The first number that no socket file has.
fn free_ipc_port(ip: &str) -> u16 {
    let free = |port: &u16| !Path::new(&format!("{ip}-{port}")).exists();
    (1..=u16::MAX).find(free).unwrap_or(u16::MAX)
}
