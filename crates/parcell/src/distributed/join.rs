//! How a worker that something else has started finds its session, and how it is let in.
//!
//! It is given a [`Ticket`]: on its standard input, or in a file that only its user can read; never
//! on a command line, which everybody on the host sees. It calls the driver, both prove that they
//! know the key, and the driver tells it who it is.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use parcell_link::Pin;
use serde::{Deserialize, Serialize};

use super::address::{self, Address, Manners};
use super::crew::AS_MEMBER;
use super::launch::AS_WORKER;
use super::managers::files;
use super::message::{Admission, Opening, Wish};
use super::transport::{Channel, Key};
use super::{processor, usage};

/// Names the file with the ticket; without it the ticket comes on standard input.
pub(crate) const TICKET_FILE: &str = "PARCELL_TICKET";
/// Which of the workers of one launch a worker is, from 0.
pub(crate) const RANK: &str = "PARCELL_RANK";
/// What a ticket begins with.
const MARK: &str = "parcell-ticket:";

/// What a worker must know to join a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ticket {
    /// The call of `addprocs` that it is for, and the part of it.
    pub(crate) launch: u64,
    pub(crate) client: u32,
    pub(crate) key: [u8; 32],
    pub(crate) driver: Address,
    pub(crate) manners: Manners,
    /// How many workers the receiver starts.
    pub(crate) workers: u32,
    pub(crate) threads: Option<usize>,
    pub(crate) pin: Pin,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: Option<String>,
    /// The driver's program, for a worker that was started by hand, and the name of its build.
    pub(crate) build: Option<(String, String)>,
}

impl Ticket {
    /// The ticket as one line of text.
    pub(crate) fn line(&self) -> String {
        let bytes = postcard::to_stdvec(self).expect("plain data");
        format!("{MARK}{}\n", BASE64.encode(bytes))
    }

    fn parse(line: &str) -> Result<Ticket, String> {
        let text = line.trim().strip_prefix(MARK).ok_or("this is no ticket of a session")?;
        let bytes = BASE64.decode(text).map_err(|e| format!("the ticket is damaged: {e}"))?;
        let another = |e| format!("the ticket is of another version of parcell: {e}");
        postcard::from_bytes(&bytes).map_err(another)
    }

    /// The ticket that this process was given.
    pub(crate) fn read() -> Result<Ticket, String> {
        if let Some(file) = std::env::var_os(TICKET_FILE) {
            return Ticket::of_file(Path::new(&file));
        }
        let mut line = String::new();
        let read = BufReader::with_capacity(1, std::io::stdin()).read_line(&mut line);
        read.map_err(|e| format!("its standard input cannot be read: {e}"))?;
        Ticket::parse(&line)
    }

    fn of_file(file: &Path) -> Result<Ticket, String> {
        let failed =
            |e: std::io::Error| format!("the ticket {} cannot be read: {e}", file.display());
        let mode = fs::metadata(file).map_err(failed)?.mode();
        if mode & 0o077 != 0 {
            let file = file.display();
            return Err(format!("others can read the ticket {file}; `chmod 600 {file}`"));
        }
        Ticket::parse(&fs::read_to_string(file).map_err(failed)?)
    }

    /// Goes on as the driver's program, if that is here and another one than this.
    pub(crate) fn become_program(&self) -> Result<(), String> {
        let Some((program, _)) = &self.build else { return Ok(()) };
        let own = std::env::current_exe().unwrap_or_default();
        let by_hand = std::env::var_os(TICKET_FILE).is_some();
        if !by_hand || own == Path::new(program) || !Path::new(program).exists() {
            return Ok(());
        }
        let error = Command::new(program).env(AS_WORKER, AS_MEMBER).exec();
        Err(format!("{program} does not start: {error}"))
    }

    /// Puts this process where the ticket wants it. Only while no other thread runs.
    pub(crate) fn settle(&self) -> Result<(), String> {
        if let Some(directory) = &self.directory {
            let moved = std::env::set_current_dir(directory);
            moved.map_err(|e| format!("{} has no folder {directory}: {e}", usage::host()))?;
        }
        for (name, value) in &self.environment {
            // SAFETY: called before any other thread is started.
            unsafe { std::env::set_var(name, value) };
        }
        Ok(())
    }

    /// Asks the driver to be let in. Blocks until it has answered.
    pub(crate) fn join(&self) -> Result<(Channel, Admission), String> {
        let channel = address::connect(&self.driver, &Key::from_bytes(self.key), self.manners)?;
        let failed = |e: std::io::Error| format!("the driver did not answer: {e}");
        let rank = std::env::var(RANK).ok().and_then(|rank| rank.trim().parse().ok());
        let wish = Wish {
            launch: self.launch,
            client: self.client,
            rank,
            host: usage::host(),
            features: processor::features(),
            build: self.build.as_ref().map(|_| build()).transpose()?,
        };
        address::say(&channel, &Opening::Join(wish)).map_err(failed)?;
        let answer: Result<Admission, String> = address::hear(&channel).map_err(failed)?;
        Ok((channel, answer?))
    }
}

/// The name of this process's build: workers must be of the driver's.
pub(crate) fn build() -> Result<String, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    files::digest(&files::needed(&program)?)
}

/// A worker wants to join this session: who it is to be, or why it may not.
pub(crate) fn admit(wish: Wish) -> Result<Admission, String> {
    let lacking = processor::lacking(&wish.features);
    if !lacking.is_empty() {
        let why = processor::refusal(&wish.host, &lacking);
        super::launch::refused(&wish, &why);
        return Err(why);
    }
    super::launch::admit(&wish)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    pub(crate) fn ticket() -> Ticket {
        Ticket {
            launch: 7,
            client: 2,
            key: [9; 32],
            driver: Address::default(),
            manners: Manners::default(),
            workers: 3,
            threads: Some(2),
            pin: Pin::Off,
            environment: vec![("A".into(), "b c\n".into())],
            directory: None,
            build: None,
        }
    }

    #[test]
    fn a_ticket_is_one_line() {
        let line = ticket().line();
        assert_eq!(line.matches('\n').count(), 1);
        let read = Ticket::parse(&line).unwrap();
        assert_eq!((read.launch, read.key, read.environment), (7, [9; 32], ticket().environment));
    }

    #[test]
    fn what_is_no_ticket_says_so() {
        assert!(Ticket::parse("").unwrap_err().contains("no ticket"));
        assert!(Ticket::parse("parcell-ticket:%%").unwrap_err().contains("damaged"));
        assert!(Ticket::parse("parcell-ticket:AAAA").unwrap_err().contains("another version"));
    }

    #[test]
    fn a_ticket_that_others_can_read_is_refused() {
        let file = std::env::temp_dir().join(format!("parcell-ticket-{}", std::process::id()));
        fs::write(&file, ticket().line()).unwrap();
        let set = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        set(0o640);
        assert!(Ticket::of_file(&file).unwrap_err().contains("chmod 600"));
        set(0o600);
        assert_eq!(Ticket::of_file(&file).unwrap().client, 2);
        fs::remove_file(&file).unwrap();
        assert!(Ticket::of_file(&file).unwrap_err().contains("cannot be read"));
    }
}
