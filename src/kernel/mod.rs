//! Answers Jupyter's requests. [`serve`] puts everything together; `dispatch` holds the loop and
//! the table of handlers; a `request` keeps the promise that each one ends in its reply and idle.
//! Three kinds of work have threads of their own: cells (`execute`), completion and inspection
//! (`analysis`), and `history`. So the loop always answers at once.

mod analysis;
mod caller;
mod dispatch;
mod evaluator;
mod execute;
mod handlers;
mod history;
mod info;
mod parent;
mod questions;
mod request;
mod show;
mod signals;
mod usage;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use crossbeam_channel::unbounded;

use crate::server::{self, ConnectionFile, PATIENCE};
use crate::session::{Options, Session};
use crate::wire::{Frames, Signer, Writer, content};

use dispatch::{Kernel, Parts};

pub use info::language_info;

/// Why a kernel cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are no sockets to serve.
    #[error("the kernel cannot be reached")]
    Server(#[from] server::Error),
    /// A thread or a signal handler cannot be had.
    #[error("the system refuses threads or signals")]
    System(#[from] io::Error),
    /// The session panicked before it stood.
    #[error("the session cannot start")]
    Session,
}

/// Serves one notebook until a client, a signal or the parent's death ends it.
///
/// `connection_file` says where to listen. Ports that it leaves open are chosen and written into
/// it; a file that does not exist is written, and removed at the end. Blocks.
///
/// # Errors
/// Where the connection file cannot be used or the system refuses sockets, threads or signals.
pub fn serve(connection_file: &Path) -> Result<(), Error> {
    let asked = ConnectionFile::load(connection_file)?;
    let own_file = !connection_file.exists();
    let mut file = asked.clone();
    let signer = Signer::new(&file.key);
    let writer = Writer::new(signer.clone());
    let (server, connection) = server::start(&mut file, PATIENCE, greeter(writer.clone()))?;
    if own_file || file != asked {
        file.save(connection_file)?;
    }
    info::find_toolchain();
    let (report, events) = unbounded();
    signals::forward(report.clone())?;
    parent::watch(report.clone())?;
    let mut remove_at_end = file.socket_files();
    remove_at_end.extend(own_file.then(|| connection_file.to_owned()));
    let options = Options { remove_at_end: remove_at_end.clone(), ..Options::default() };
    let history = history::file();
    let parts = Parts { connection, events, report, writer, signer, ports: file.ports, history };
    Kernel::start(parts, move || Session::start(options))?.run();
    drop(server);
    remove_at_end.iter().for_each(|path| drop(std::fs::remove_file(path)));
    Ok(())
}

/// Makes the message that greets a subscriber. Its topic must match the subscription.
fn greeter(writer: Writer) -> impl Fn(&[u8]) -> Frames + Send + 'static {
    move |topic| {
        let subscription = String::from_utf8_lossy(topic).into_owned();
        let welcome = content::IopubWelcome { subscription };
        let topic =
            if topic.is_empty() { caller::topic(&writer, "iopub_welcome") } else { topic.to_vec() };
        writer.write(&[topic], "iopub_welcome", &serde_json::Value::Null, &welcome).frames
    }
}
