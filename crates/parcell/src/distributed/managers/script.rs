//! The shell scripts that become workers, and the files that they need beside them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use parcell_link::WorkerOptions;

use super::files::{self, Needed};
use crate::distributed::join::Ticket;
use crate::distributed::processor;

const BOOTSTRAP: &str = include_str!("bootstrap.sh");
const JOIN: &str = include_str!("join.sh");

/// What a shell runs that is to read a script from its standard input: its length, a line, and then
/// the script. What comes after it is for the script to read.
pub(super) const RUN_INPUT: &str = r#"read -r n; eval "$(head -c "$n")""#;

/// A script for a host of which nothing is known.
pub(super) struct Bootstrap {
    pub(super) text: String,
    /// What it may ask for, in this order.
    pub(super) files: Vec<Needed>,
}

impl Bootstrap {
    pub(super) fn new(program: &Path, given: &WorkerOptions) -> Result<Bootstrap, String> {
        let files = files::needed(program)?;
        let paths: Vec<String> = files.iter().map(|f| f.path.display().to_string()).collect();
        let needs: Vec<String> = files.iter().map(|f| format!("{} {}", f.name, f.bytes)).collect();
        let variables = [
            ("program", program.display().to_string()),
            ("name", files[0].name.clone()),
            ("files", paths.join(" ")),
            ("sums", sums(&paths)?),
            ("digest", files::digest(&files)?),
            ("needs", needs.join(" ")),
            ("features", processor::needed().join(" ")),
            ("dir", given.directory.clone().unwrap_or_default()),
        ];
        Ok(Bootstrap { text: assigned(&variables) + BOOTSTRAP, files })
    }
}

/// A script for a host that sees the same files. Without a ticket's file, the ticket comes on
/// standard input.
pub(super) fn join(program: &str, directory: Option<&str>, ticket: Option<&Path>) -> String {
    let variables = [
        ("program", program.to_owned()),
        ("features", processor::needed().join(" ")),
        ("dir", directory.unwrap_or_default().to_owned()),
        ("ticket", ticket.map(|t| t.display().to_string()).unwrap_or_default()),
    ];
    assigned(&variables) + JOIN
}

fn assigned(variables: &[(&str, String)]) -> String {
    variables.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect()
}

/// A word that a shell takes as it is.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The checksums of files, as the script on the other host makes them: a file at the same path need
/// not be the same.
fn sums(paths: &[String]) -> Result<String, String> {
    let output = Command::new("cksum").args(paths).output();
    let output = output.map_err(|e| format!("cksum does not start: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let two = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ") + ",";
    Ok(text.lines().map(two).collect())
}

/// A file with a ticket, which only the user can read; it goes with this value.
pub(crate) struct TicketFile(PathBuf);

impl TicketFile {
    /// A file that is not there yet.
    pub(super) fn new() -> Result<TicketFile, String> {
        Ok(TicketFile(folder()?.join(format!("ticket-{:016x}", rand::random::<u64>()))))
    }

    pub(super) fn write(&self, ticket: &Ticket) -> Result<(), String> {
        let failed = |e| format!("{} cannot be written: {e}", self.0.display());
        let file = File::options().write(true).create_new(true).mode(0o600).open(&self.0);
        file.and_then(|mut file| file.write_all(ticket.line().as_bytes())).map_err(failed)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TicketFile {
    fn drop(&mut self) {
        // If it was never written, or is gone already, that was wanted.
        let _ = fs::remove_file(&self.0);
    }
}

/// The folder for what a session keeps for its workers elsewhere: tickets and logs of jobs.
pub(super) fn folder() -> Result<PathBuf, String> {
    let folder = files::cache().join("workers");
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|e| format!("the folder {} cannot be made: {e}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn scripts_are_what_a_shell_understands() {
        let script = join("/it's/here", Some("/a b"), None);
        assert!(script.starts_with("program='/it'\\''s/here'\nfeatures='"), "{script}");
        for text in
            [script, Bootstrap::new(Path::new("/bin/sh"), &WorkerOptions::default()).unwrap().text]
        {
            let checked = Command::new("sh").args(["-n", "-c", &text]).status().unwrap();
            assert!(checked.success(), "{text}");
        }
    }

    #[test]
    fn tickets_are_for_their_user_alone_and_go() {
        let file = TicketFile::new().unwrap();
        file.write(&crate::distributed::join::tests::ticket()).unwrap();
        let path = file.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
    }
}
