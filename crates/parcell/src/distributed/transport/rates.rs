//! What the transport costs beside a bare socket, measured in the same run:
//! `cargo test --release -p parcell --lib rates -- --ignored --nocapture`.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::*;

const ROUNDS: usize = 10_000;
const BYTES: usize = 256 << 20;

/// What lies between two ends.
#[derive(Clone, Copy, PartialEq)]
enum Wire {
    Unix,
    Tcp,
    /// As between hosts.
    Sealed,
}

impl Wire {
    fn sockets(self) -> (OwnedFd, OwnedFd) {
        if self == Wire::Unix {
            let (near, far) = UnixStream::pair().unwrap();
            return (near.into(), far.into());
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        [&near, &far].iter().for_each(|socket| socket.set_nodelay(true).unwrap());
        (near.into(), far.into())
    }

    fn channels(self) -> (Channel, Channel) {
        let (near, far) = self.sockets();
        if self != Wire::Sealed {
            return (Channel::plain(near), Channel::plain(far));
        }
        let key = Key::random().unwrap();
        let other = Key::from_bytes(*key.as_bytes());
        let soon = Instant::now() + Duration::from_secs(10);
        let far = std::thread::spawn(move || Channel::accept(far, &other, true, soon).unwrap());
        (Channel::dial(near, &key, true, soon).unwrap(), far.join().unwrap())
    }
}

/// Sends every message back, `left` times, and tells when that was done.
struct Echo {
    connection: OnceLock<Arc<Connection>>,
    left: std::sync::atomic::AtomicUsize,
    done: Sender<()>,
}

impl Receive for Echo {
    fn message(&self, head: &[u8], bulks: Vec<Buffer>) {
        if self.left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            self.done.send(()).unwrap_or(());
            return;
        }
        // What lies in a head is copied on its way from and to a value; the middle one is `head`'s.
        let head = if head.len() > 64 { head.to_vec().clone().clone() } else { head.to_vec() };
        let bulks = bulks.into_iter().map(|bulk| Bulk::of_buffer(Arc::new(bulk))).collect();
        let envelope = Envelope { head, bulks };
        self.connection.wait().send(envelope);
    }

    fn closed(&self, _why: Option<std::io::Error>) {}
}

/// Receives one large message.
struct Take(Sender<Buffer>);

impl Receive for Take {
    fn message(&self, _head: &[u8], bulks: Vec<Buffer>) {
        bulks.into_iter().for_each(|bulk| self.0.send(bulk).unwrap_or(()));
    }

    fn closed(&self, _why: Option<std::io::Error>) {}
}

fn raw_ping_pong(wire: Wire) -> f64 {
    let (near, far) = wire.sockets();
    let (mut near, mut far) = (File::from(near), File::from(far));
    let echo = std::thread::spawn(move || {
        let mut bytes = [0; 64];
        for _ in 0..ROUNDS {
            far.read_exact(&mut bytes).unwrap();
            far.write_all(&bytes).unwrap();
        }
    });
    let mut bytes = [0; 64];
    let start = Instant::now();
    for _ in 0..ROUNDS {
        near.write_all(&bytes).unwrap();
        near.read_exact(&mut bytes).unwrap();
    }
    let time = start.elapsed().as_secs_f64();
    echo.join().unwrap();
    time / ROUNDS as f64 * 1e6
}

fn ping_pong(wire: Wire, head: usize, bulk: usize) -> f64 {
    let (near, far) = wire.channels();
    let (done, finished) = channel();
    let echo = |left: usize| {
        let (connection, done) = (OnceLock::new(), done.clone());
        Arc::new(Echo { connection, left: left.into(), done })
    };
    let (here, there) = (echo(ROUNDS), echo(usize::MAX));
    let near = Connection::start(near, "near", here.clone()).unwrap();
    let far = Connection::start(far, "far", there.clone()).unwrap();
    here.connection.get_or_init(|| Arc::clone(&near));
    there.connection.get_or_init(|| Arc::clone(&far));
    let start = Instant::now();
    let bulks = Some(vec![0_u8; bulk]).filter(|bytes| !bytes.is_empty());
    let bulks = bulks.into_iter().map(|bytes| Bulk::of(Arc::new(bytes))).collect();
    near.send(Envelope { head: vec![0; head], bulks });
    finished.recv().unwrap();
    let time = start.elapsed().as_secs_f64();
    near.close();
    far.close();
    time / ROUNDS as f64 * 1e6
}

/// With memory that the receiver touches for the first time, as in [`rate`], which asks for huge
/// pages besides.
fn raw_rate(wire: Wire, piece: usize) -> f64 {
    let (near, far) = wire.sockets();
    let mut near = File::from(near);
    let data = vec![1_u8; BYTES];
    let start = Instant::now();
    let reader = std::thread::spawn(move || {
        let mut memory = Vec::<u8>::with_capacity(BYTES);
        while memory.len() < BYTES {
            let room = rustix::buffer::spare_capacity(&mut memory);
            rustix::net::recv(&far, room, rustix::net::RecvFlags::empty()).unwrap();
        }
        (memory, start.elapsed().as_secs_f64())
    });
    data.chunks(piece).for_each(|piece| near.write_all(piece).unwrap());
    BYTES as f64 / reader.join().unwrap().1 / 1e9
}

/// `send_buffer` takes the place of what the connection has chosen; the system doubles it.
fn rate(wire: Wire, send_buffer: Option<usize>) -> f64 {
    let (near, far) = wire.channels();
    let socket = near.socket().try_clone().unwrap();
    let (take, taken) = channel();
    let (nothing, _) = channel();
    let near = Connection::start(near, "near", Arc::new(Take(nothing))).unwrap();
    let far = Connection::start(far, "far", Arc::new(Take(take))).unwrap();
    if let Some(size) = send_buffer {
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, size).unwrap();
    }
    drop(socket);
    let bulks = vec![Bulk::of(Arc::new(vec![1_u8; BYTES]))];
    let start = Instant::now();
    near.send(Envelope { head: Vec::new(), bulks });
    let buffer = taken.recv().unwrap();
    let time = start.elapsed().as_secs_f64();
    assert_eq!(buffer.bytes().len(), BYTES);
    near.close();
    far.close();
    BYTES as f64 / time / 1e9
}

#[test]
#[ignore = "a measurement"]
fn rates() {
    let mut least = [f64::INFINITY; 2];
    let mut most = [0.0_f64; 5];
    let default = 106_496;
    for _ in 0..7 {
        least[0] = least[0].min(raw_ping_pong(Wire::Unix));
        least[1] = least[1].min(ping_pong(Wire::Unix, 64, 0));
        for (most, piece) in most[2..].iter_mut().zip([1 << 16, 1 << 20, BYTES]) {
            *most = most.max(raw_rate(Wire::Unix, piece));
        }
        most[0] = most[0].max(rate(Wire::Unix, None));
        most[1] = most[1].max(rate(Wire::Unix, Some(default)));
    }
    let [raw, ours] = least;
    println!("64 bytes there and back: {raw:.2} us raw, {ours:.2} us here, {:.2}", ours / raw);
    let [ours, small, raw @ ..] = most;
    println!("256 MB: {raw:.2?} GB/s raw in writes of 64 KB, 1 MB, all; {ours:.2} here");
    println!("    {small:.2} here with the system's own send buffer");
}

/// Goals: 0.9 of a bare socket as it is, 0.5 sealed.
#[test]
#[ignore = "a measurement"]
fn rates_between_hosts() {
    let mut least = [f64::INFINITY; 3];
    let mut most = [0.0_f64; 3];
    for _ in 0..7 {
        least[0] = least[0].min(raw_ping_pong(Wire::Tcp));
        most[0] = most[0].max(raw_rate(Wire::Tcp, 1 << 20));
        for (k, wire) in [(1, Wire::Tcp), (2, Wire::Sealed)] {
            least[k] = least[k].min(ping_pong(wire, 64, 0));
            most[k] = most[k].max(rate(wire, None));
        }
    }
    let [raw, plain, sealed] = least;
    println!(
        "64 bytes there and back by TCP: {raw:.1} us raw, {plain:.1} us here, {sealed:.1} us sealed"
    );
    let [raw, plain, sealed] = most;
    println!(
        "256 MB by TCP: {raw:.2} GB/s raw, {plain:.2} here ({:.2}), {sealed:.2} sealed ({:.2})",
        plain / raw,
        sealed / raw
    );
}

#[test]
#[ignore = "a measurement"]
fn rates_of_heads_and_bulks() {
    let sizes = [1_usize << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 60 << 10];
    let mut least = [[f64::INFINITY; 2]; 6];
    for _ in 0..3 {
        for (least, size) in least.iter_mut().zip(sizes) {
            least[0] = least[0].min(ping_pong(Wire::Unix, size, 0));
            least[1] = least[1].min(ping_pong(Wire::Unix, 64, size));
        }
    }
    for ([head, bulk], size) in least.iter().zip(sizes) {
        println!("{size} bytes there and back: {head:.2} us in the head, {bulk:.2} us as a bulk");
    }
}
