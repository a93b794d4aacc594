//! Compilers at work, so that an interrupt can end them: rustc for cells, cargo for dependencies.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The compilers of one session. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Compilers {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Leaders of the running compilers' process groups: linkers and build scripts go with them.
    running: Vec<u32>,
    cancelled: bool,
}

impl Compilers {
    /// Ends the running compilers and lets no other start until [`Compilers::allow`].
    pub fn cancel(&self) {
        let mut state = self.lock();
        state.cancelled = true;
        for pid in &state.running {
            let group = Pid::from_raw(i32::try_from(*pid).expect("process ids fit in 31 bits"));
            // A process that has just ended is as good as a killed one.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }

    /// Lets compilers start again.
    pub fn allow(&self) {
        self.lock().cancelled = false;
    }

    /// Starts a compiler, which dies with the kernel; `None` after [`Compilers::cancel`].
    ///
    /// # Errors
    /// Those of starting a process.
    pub fn start(&self, command: &mut Command) -> io::Result<Option<Child>> {
        let mut state = self.lock();
        if state.cancelled {
            return Ok(None);
        }
        crate::session::die_with_parent(command);
        let child = command.process_group(0).spawn()?;
        state.running.push(child.id());
        Ok(Some(child))
    }

    /// Forgets a compiler that was waited for; true if it was cancelled.
    pub fn ended(&self, pid: u32) -> bool {
        let mut state = self.lock();
        state.running.retain(|running| *running != pid);
        state.cancelled
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelling_ends_what_runs_and_what_would_start() {
        let compilers = Compilers::default();
        let mut child = compilers.start(Command::new("sleep").arg("600")).unwrap().unwrap();
        compilers.cancel();
        assert!(!child.wait().unwrap().success());
        assert!(compilers.ended(child.id()));
        assert!(compilers.start(&mut Command::new("true")).unwrap().is_none());
        compilers.allow();
        let mut child = compilers.start(&mut Command::new("true")).unwrap().unwrap();
        assert!(child.wait().unwrap().success());
        assert!(!compilers.ended(child.id()));
    }
}
