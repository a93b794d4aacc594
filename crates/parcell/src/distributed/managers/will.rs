//! What must be done when this process is gone, however it ended.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::Builder;

const STACK: usize = 64 << 10;

/// A command that runs when this value is dropped or this process ends, killed or not: a shell waits
/// for the end of a pipe of which this process holds the other end.
pub(super) struct Will(Option<Child>);

impl Will {
    pub(super) fn new(command: &[String]) -> io::Result<Will> {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"read -r _; exec "$@""#, "sh"]).args(command);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // It must outlive the group of this process, which is ended as a whole.
        shell.process_group(0).spawn().map(|child| Will(Some(child)))
    }
}

impl Drop for Will {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        drop(child.stdin.take());
        // Else it would be left as a zombie; without a thread, only that is so.
        let _ = Builder::new().stack_size(STACK).spawn(move || child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::timedwait;

    #[test]
    fn a_will_is_done_when_it_is_dropped_and_not_before() {
        let name = format!("parcell-will-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        let will = Will::new(&["touch".to_owned(), file.display().to_string()]).unwrap();
        assert!(!file.exists());
        drop(will);
        assert!(timedwait(|| file.exists(), 20));
        std::fs::remove_file(file).unwrap();
    }
}
