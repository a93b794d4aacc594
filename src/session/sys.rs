//! What the kernel asks of the operating system about its children: unsafe calls, kept together.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// Has the child killed when the thread that starts it ends, with `kill -9` on the kernel too.
pub fn die_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; this is one prctl.
    unsafe { command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(Into::into)) };
}

/// Leaves a descriptor open in the child, and makes the child the leader of a process group.
pub(super) fn inherit(command: &mut Command, descriptor: &impl AsRawFd) {
    let descriptor: RawFd = descriptor.as_raw_fd();
    command.process_group(0);
    // SAFETY: fcntl is async-signal-safe; the descriptor is open in the parent when it forks,
    // since the caller holds it until the child is started.
    unsafe {
        command.pre_exec(move || {
            let descriptor = BorrowedFd::borrow_raw(descriptor);
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty())).map(drop).map_err(Into::into)
        });
    }
}

/// Lets everything else that wants a processor go before this process.
pub fn lower_priority(pid: u32) {
    // SAFETY: a plain system call on numbers. It can fail only if the process is gone.
    unsafe {
        nix::libc::setpriority(nix::libc::PRIO_PROCESS, pid, 10);
    }
}
