//! Where processes listen, and how two of them meet.
//!
//! On one host: sockets of the abstract namespace, which leave nothing behind in any folder, whatever
//! ends the process. Between hosts: TCP, on which a process begins to listen only when the session
//! has workers elsewhere.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr as Endpoint, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::mpsc::channel;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::message::{Hello, Opening};
use super::node::{Node, node};
use super::transport::{Channel, Key};
use super::{join, usage};

/// How long two processes may take to get to know each other.
const PATIENCE: Duration = Duration::from_secs(10);
const STACK: usize = 256 << 10;
/// What a process says of itself is shorter.
const LONGEST_HELLO: usize = 256 << 10;
/// A host that has not answered for this long is gone, unless the session says otherwise.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);

/// Where a process listens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// The host, as [`usage::place`] tells it.
    pub(crate) place: String,
    /// The name of its socket for processes of the same host.
    local: String,
    /// Where other hosts may reach it, likeliest first.
    pub(crate) remote: Vec<Endpoint>,
}

/// What the processes of a session agree on for connections between hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manners {
    /// Whether what is sent is sealed.
    pub(crate) sealed: bool,
    /// How long a host may be silent.
    pub(crate) heartbeat: Duration,
}

impl Default for Manners {
    fn default() -> Manners {
        Manners { sealed: true, heartbeat: HEARTBEAT }
    }
}

#[derive(Default)]
struct Listening {
    address: Address,
    /// Whether other hosts may call, and on which interface if not on all.
    network: bool,
    interface: Option<IpAddr>,
    manners: Manners,
}

static LISTENING: Mutex<Option<Listening>> = Mutex::new(None);

fn listening() -> MutexGuard<'static, Option<Listening>> {
    LISTENING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where this process listens; it begins to when first asked.
pub(crate) fn own() -> Result<Address, String> {
    let mut listening = listening();
    if let Some(known) = &*listening {
        return Ok(known.address.clone());
    }
    let address = Address { place: usage::place(), local: listen_here()?, remote: Vec::new() };
    *listening = Some(Listening { address: address.clone(), ..Listening::default() });
    Ok(address)
}

/// Lets processes of other hosts call, on the interface with this address or on all; the address
/// then. It stays so: a second call changes nothing.
pub(crate) fn open_to_network(on: Option<IpAddr>, manners: Manners) -> Result<Address, String> {
    own()?;
    let mut listening = listening();
    let known = listening.as_mut().expect("`own` has begun to listen");
    if !known.network {
        known.manners = manners;
        known.address.remote = listen_to_network(on)?;
        (known.network, known.interface) = (true, on);
    }
    Ok(known.address.clone())
}

/// What was agreed on, if this process can be reached from other hosts.
pub(crate) fn manners() -> Option<Manners> {
    listening().as_ref().filter(|known| known.network).map(|known| known.manners)
}

/// The interface on which other hosts may call, if not on all.
pub(crate) fn interface() -> Option<IpAddr> {
    listening().as_ref().and_then(|known| known.interface)
}

/// Begins to listen for processes of this host; the socket's name.
fn listen_here() -> Result<String, String> {
    let random: [u8; 16] = rand::random();
    let name: String = random.iter().map(|b| format!("{b:02x}")).collect();
    let name = format!("parcell-{name}");
    let address = SocketAddr::from_abstract_name(&name).map_err(|e| e.to_string())?;
    let listener = UnixListener::bind_addr(&address).map_err(|e| format!("no socket: {e}"))?;
    serve("parcell-listener", move || Ok((listener.accept()?.0.into(), false)))?;
    Ok(name)
}

/// Begins to listen for processes of other hosts; where.
fn listen_to_network(on: Option<IpAddr>) -> Result<Vec<Endpoint>, String> {
    let any = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    let choices = on.map_or(any.to_vec(), |one| vec![one]);
    let mut problem = String::new();
    for interface in choices {
        let listener = match TcpListener::bind((interface, 0)) {
            Ok(listener) => listener,
            Err(error) => {
                problem = format!("cannot listen on {interface}: {error}");
                continue;
            }
        };
        let port = listener.local_addr().map_err(|e| e.to_string())?.port();
        serve("parcell-listener-tcp", move || Ok((listener.accept()?.0.into(), true)))?;
        let at = |ip| Endpoint::new(ip, port);
        return Ok(if interface.is_unspecified() {
            interfaces(interface.is_ipv6())?.into_iter().map(at).collect()
        } else {
            vec![at(interface)]
        });
    }
    Err(problem)
}

/// The addresses of this host's interfaces, those that only this host reaches last.
fn interfaces(also_v6: bool) -> Result<Vec<IpAddr>, String> {
    let found = if_addrs::get_if_addrs();
    let found = found.map_err(|e| format!("the network interfaces cannot be listed: {e}"))?;
    // An address of a link alone needs the name of an interface of the dialler.
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => also_v6 && !ip.is_unicast_link_local(),
    };
    let mut found: Vec<IpAddr> = found.iter().map(if_addrs::Interface::ip).filter(usable).collect();
    found.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    Ok(found)
}

/// Lets in whoever calls, on a thread of its own. Calls are `true` if they come from elsewhere.
fn serve(
    name: &str,
    accept: impl Fn() -> io::Result<(OwnedFd, bool)> + Send + 'static,
) -> Result<(), String> {
    let serve = move || {
        loop {
            match accept() {
                Ok((socket, elsewhere)) => meet(socket, elsewhere),
                // For lack of descriptors: those who knock try again.
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    };
    let thread = Builder::new().name(name.to_owned()).stack_size(STACK).spawn(serve);
    thread.map(drop).map_err(|e| format!("no thread to listen: {e}"))
}

/// So many may be at the door of other hosts at once; more wait until one has gone.
const GREETED: usize = 256;

static GREETERS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// A place at the door, as long as it lives.
struct Greeter;

impl Greeter {
    /// Blocks while too many are at the door.
    fn wait() -> Greeter {
        let (count, gone) = &GREETERS;
        let count = count.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |count: &mut usize| *count >= GREETED;
        *gone.wait_while(count, full).unwrap_or_else(PoisonError::into_inner) += 1;
        Greeter
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        let (count, gone) = &GREETERS;
        *count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        gone.notify_one();
    }
}

/// Lets one in who knows the key. Each has a thread, so that a slow one holds up nobody.
fn meet(socket: OwnedFd, elsewhere: bool) {
    let greeter = elsewhere.then(Greeter::wait);
    let greet = move || {
        let result = let_in(socket, elsewhere);
        drop(greeter);
        if let Err(why) = result
            && elsewhere
        {
            strangers::told(&why.to_string());
        }
    };
    // A stranger learns nothing, and a refused thread is his problem.
    let _ = Builder::new().name("parcell-greeter".into()).stack_size(STACK).spawn(greet);
}

fn let_in(socket: OwnedFd, elsewhere: bool) -> io::Result<()> {
    let node = node();
    let manners = manners().filter(|_| elsewhere);
    let channel = match manners {
        Some(manners) => {
            tune(&socket, manners.heartbeat)?;
            Channel::accept(socket, &node.key, manners.sealed, Instant::now() + PATIENCE)
        }
        None => Channel::accept(socket, &node.key, false, Instant::now() + PATIENCE),
    };
    let channel = channel.map_err(io::Error::other)?;
    limit(&channel, Some(PATIENCE))?;
    let mut opening: Opening = hear(&channel)?;
    let mut uninvited = false;
    if let Opening::Join(wish) = opening {
        uninvited = wish.launch == super::launch::ELASTIC;
        let answer = join::admit(wish);
        say(&channel, &answer)?;
        if answer.is_err() {
            return Ok(());
        }
        opening = hear(&channel)?;
    }
    let Opening::Hello(hello) = opening else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it wanted to join twice"));
    };
    say(&channel, &node.hello())?;
    limit(&channel, None)?;
    let id = hello.id;
    node.peers.welcome(channel, hello).map_err(io::Error::other)?;
    super::launch::arrived(id, uninvited);
    Ok(())
}

/// Those who called from elsewhere and were not let in.
mod strangers {
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Says once that somebody was refused.
    pub(super) fn told(why: &str) {
        static TOLD: AtomicBool = AtomicBool::new(false);
        if !TOLD.swap(true, Ordering::Relaxed) {
            eprintln!("parcell: a connection was refused ({why}); others will be without a word");
        }
    }
}

/// Connects to the process `id`, which listens there.
pub(crate) fn dial(address: &Address, node: &Node, id: u32) -> Result<(Channel, Hello), String> {
    let channel = connect(address, &node.key, manners().unwrap_or_default())?;
    let failed = |e: io::Error| format!("it did not say who it is: {e}");
    let hello = introduce(&channel, &node.hello()).map_err(failed)?;
    if hello.id != id {
        return Err(format!("process {} listens where process {id} was", hello.id));
    }
    Ok((channel, hello))
}

/// Says who this process is; who the other one is.
pub(crate) fn introduce(channel: &Channel, hello: &Hello) -> io::Result<Hello> {
    say(channel, &Opening::Hello(hello.clone()))?;
    let theirs = hear(channel)?;
    limit(channel, None)?;
    Ok(theirs)
}

/// A connection to the process that listens there, whose key both have proved to know.
pub(crate) fn connect(address: &Address, key: &Key, manners: Manners) -> Result<Channel, String> {
    let deadline = Instant::now() + PATIENCE;
    let channel = if address.place == usage::place() {
        let address = SocketAddr::from_abstract_name(&address.local).map_err(|e| e.to_string())?;
        let socket = UnixStream::connect_addr(&address);
        let socket = socket.map_err(|e| format!("it does not listen: {e}"))?;
        Channel::dial(socket.into(), key, false, deadline)
    } else {
        let socket = reach(&address.remote)?;
        tune(&socket, manners.heartbeat).map_err(|e| e.to_string())?;
        Channel::dial(socket, key, manners.sealed, deadline)
    };
    let channel = channel.map_err(|e| e.to_string())?;
    limit(&channel, Some(PATIENCE)).map_err(|e| e.to_string())?;
    Ok(channel)
}

/// Connects to the first of these that answers. All are tried at once: packets to a network that
/// is not reached from here are often lost without a word.
fn reach(endpoints: &[Endpoint]) -> Result<OwnedFd, String> {
    let (found, answers) = channel();
    for endpoint in endpoints {
        let (endpoint, found) = (*endpoint, found.clone());
        let knock = move || {
            let result = TcpStream::connect_timeout(&endpoint, PATIENCE);
            // Nobody listens any more once one was reached.
            let _ = found.send(result.map_err(|e| format!("{endpoint}: {e}")));
        };
        let thread = Builder::new().name("parcell-knocks".into()).stack_size(STACK).spawn(knock);
        thread.map_err(|e| format!("no thread to connect: {e}"))?;
    }
    drop(found);
    let mut problems = Vec::new();
    for answer in answers {
        match answer {
            Ok(socket) => return Ok(socket.into()),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        return Err("it listens for processes of its own host only".to_owned());
    }
    Err(format!("it cannot be reached: {}", problems.join("; ")))
}

/// Sets up a socket to another host. The system finds out whether that still answers, and ends the
/// connection if it does not: also one that nothing is sent on, and one to a process that was
/// stopped lives on as long as its host does.
fn tune(socket: &OwnedFd, heartbeat: Duration) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    let often = (heartbeat / 5).max(Duration::from_secs(1));
    sockopt::set_tcp_keepidle(socket, often)?;
    sockopt::set_tcp_keepintvl(socket, often)?;
    let limit = u32::try_from(heartbeat.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(socket, limit)?)
}

/// Limits how long this end waits for the other's next words.
fn limit(channel: &Channel, time: Option<Duration>) -> io::Result<()> {
    Ok(sockopt::set_socket_timeout(channel.socket(), sockopt::Timeout::Recv, time)?)
}

pub(crate) fn say(channel: &Channel, what: &impl Serialize) -> io::Result<()> {
    channel.say(&postcard::to_stdvec(what).expect("plain data"))
}

pub(crate) fn hear<T: DeserializeOwned>(channel: &Channel) -> io::Result<T> {
    let text = channel.hear(LONGEST_HELLO)?;
    let invalid = |e: postcard::Error| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
    postcard::from_bytes(&text).map_err(invalid)
}
