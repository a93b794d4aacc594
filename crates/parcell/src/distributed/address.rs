//! Where processes listen, and how two of them meet. On one host: sockets of the abstract
//! namespace, which leave nothing behind in any folder, whatever ends the process.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::OnceLock;
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::message::Hello;
use super::node::{Node, node};
use super::transport::{accept, dial as prove};

/// How long two processes may take to get to know each other.
const PATIENCE: Duration = Duration::from_secs(10);
const STACK: usize = 256 << 10;
/// What a process says of itself is shorter.
const LONGEST_HELLO: usize = 16 << 10;

/// Where this process listens; it begins to when first asked.
pub(crate) fn own() -> Result<String, String> {
    static ADDRESS: OnceLock<Result<String, String>> = OnceLock::new();
    ADDRESS.get_or_init(listen).clone()
}

/// Begins to listen; where. Connections are taken by a thread of their own.
fn listen() -> Result<String, String> {
    let random: [u8; 16] = rand::random();
    let name: String = random.iter().map(|b| format!("{b:02x}")).collect();
    let name = format!("parcell-{name}");
    let address = SocketAddr::from_abstract_name(&name).map_err(|e| e.to_string())?;
    let listener = UnixListener::bind_addr(&address).map_err(|e| format!("no socket: {e}"))?;
    let serve = move || {
        for socket in listener.incoming() {
            match socket {
                Ok(socket) => meet(socket),
                // For lack of descriptors: those who knock try again.
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    };
    let thread = Builder::new().name("parcell-listener".into()).stack_size(STACK).spawn(serve);
    thread.map_err(|e| format!("no thread to listen: {e}"))?;
    Ok(format!("abstract:{name}"))
}

/// Lets one in who knows the key. Each has a thread, so that a slow one holds up nobody.
fn meet(socket: UnixStream) {
    let greet = move || -> Option<()> {
        let node = node();
        let deadline = Instant::now() + PATIENCE;
        let socket = OwnedFd::from(socket);
        accept(&socket, &node.key, deadline).ok()?;
        let mut socket = UnixStream::from(socket);
        let hello = hear(&mut socket).ok()?;
        say(&mut socket, &node.hello()).ok()?;
        socket.set_read_timeout(None).ok()?;
        node.peers.welcome(socket.into(), hello).ok()?;
        super::launch::arrived();
        Some(())
    };
    // A stranger learns nothing, and a refused thread is his problem.
    let _ = Builder::new().name("parcell-greeter".into()).stack_size(STACK).spawn(greet);
}

/// Connects to the process that listens there.
pub(crate) fn dial(address: &str, node: &Node, id: u32) -> Result<(OwnedFd, Hello), String> {
    let name = address.strip_prefix("abstract:");
    let name = name.ok_or_else(|| format!("`{address}` is no address of a process"))?;
    let address = SocketAddr::from_abstract_name(name).map_err(|e| e.to_string())?;
    let socket =
        UnixStream::connect_addr(&address).map_err(|e| format!("it does not listen: {e}"))?;
    let socket = OwnedFd::from(socket);
    prove(&socket, &node.key, Instant::now() + PATIENCE).map_err(|e| e.to_string())?;
    let mut socket = UnixStream::from(socket);
    let failed = |e: std::io::Error| format!("it did not say who it is: {e}");
    say(&mut socket, &node.hello()).map_err(failed)?;
    let hello = hear(&mut socket).map_err(failed)?;
    if hello.id != id {
        return Err(format!("process {} listens where process {id} was", hello.id));
    }
    socket.set_read_timeout(None).map_err(failed)?;
    Ok((socket.into(), hello))
}

fn say(socket: &mut UnixStream, hello: &Hello) -> std::io::Result<()> {
    let text = postcard::to_stdvec(hello).expect("plain data");
    let length = u32::try_from(text.len()).expect("a short text").to_le_bytes();
    socket.write_all(&[&length, text.as_slice()].concat())
}

fn hear(socket: &mut UnixStream) -> std::io::Result<Hello> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    let invalid = |text: String| std::io::Error::new(std::io::ErrorKind::InvalidData, text);
    if length > LONGEST_HELLO {
        return Err(invalid(format!("a greeting of {length} bytes")));
    }
    let mut text = vec![0; length];
    socket.read_exact(&mut text)?;
    postcard::from_bytes(&text).map_err(|e| invalid(e.to_string()))
}
