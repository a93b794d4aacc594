//! Values of other crates (plotters, …) that print their representations for evcxr: on standard
//! output, between marker lines. The call's output is caught in a memory file; what stands outside
//! the markers goes on to where it was meant for.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use super::Bundle;

const BEGIN: &str = "EVCXR_BEGIN_CONTENT ";
const END: &str = "EVCXR_END_CONTENT";

/// Runs `call` and collects the contents that it prints for evcxr. Other text is printed after it,
/// also what other threads print meanwhile.
pub(super) fn capture(call: impl FnOnce()) -> Bundle {
    let printed = match caught(call) {
        Ok(printed) => printed,
        Err(error) => return Bundle::text(format!("(its picture cannot be caught: {error})")),
    };
    let (bundle, other) = contents(&printed);
    let mut out = io::stdout().lock();
    // A cell that closed its standard output has nobody to tell.
    out.write_all(&other).and_then(|()| out.flush()).unwrap_or(());
    bundle
}

/// What `call` writes to standard output. If it panics, that is lost, but the output is restored.
fn caught(call: impl FnOnce()) -> io::Result<Vec<u8>> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut file = memory_file()?;
    let redirected = Redirected::to(&file)?;
    call();
    drop(redirected);
    let mut printed = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut printed)?;
    Ok(printed)
}

/// Standard output goes elsewhere until this is dropped.
struct Redirected {
    original: OwnedFd,
}

impl Redirected {
    fn to(file: &File) -> io::Result<Redirected> {
        let mut out = io::stdout().lock();
        out.flush()?;
        let original = out.as_fd().try_clone_to_owned()?;
        replace_stdout(file)?;
        Ok(Redirected { original })
    }
}

impl Drop for Redirected {
    fn drop(&mut self) {
        io::stdout().lock().flush().unwrap_or(());
        replace_stdout(&self.original).expect("descriptor 1 was this one before");
    }
}

fn memory_file() -> io::Result<File> {
    // SAFETY: the name is a terminated string; the call reads nothing else.
    let fd = unsafe { libc::memfd_create(c"parcell-picture".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn replace_stdout(by: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: both descriptors are open; `dup2` swaps number 1 atomically, so other threads write
    // either to the old or to the new file.
    if unsafe { libc::dup2(by.as_raw_fd(), libc::STDOUT_FILENO) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Separates contents between markers from the rest.
fn contents(printed: &[u8]) -> (Bundle, Vec<u8>) {
    let mut bundle = Bundle::default();
    let mut other = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in printed.split_inclusive(|&byte| byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let bare = text.trim_end_matches(['\n', '\r']);
        match (&mut open, bare.strip_prefix(BEGIN)) {
            (Some(_), None) if bare == END => bundle.data.extend(open.take().map(finished)),
            (Some((_, content)), _) => content.push_str(&text),
            (None, Some(mime)) => open = Some((mime.trim().to_owned(), String::new())),
            (None, None) => other.extend_from_slice(line),
        }
    }
    bundle.data.extend(open.map(finished));
    (bundle, other)
}

fn finished((mime, mut content): (String, String)) -> (String, String) {
    if content.ends_with('\n') {
        content.pop();
    }
    (mime, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_separated_from_other_text() {
        let printed = b"before\nEVCXR_BEGIN_CONTENT text/html\n<b>\n</b>\nEVCXR_END_CONTENT\n\
            between\nEVCXR_BEGIN_CONTENT image/png\naGk=\nEVCXR_END_CONTENT\nafter, unended";
        let (bundle, other) = contents(printed);
        assert_eq!(bundle.get("text/html"), Some("<b>\n</b>"));
        assert_eq!(bundle.get("image/png"), Some("aGk="));
        assert_eq!(other, b"before\nbetween\nafter, unended");
    }

    #[test]
    fn output_is_caught_and_restored_after_a_panic() {
        let print = |text: &str| io::stdout().write_all(text.as_bytes()).unwrap();
        let lost = std::panic::catch_unwind(|| {
            capture(|| {
                print("lost");
                std::panic::resume_unwind(Box::new(()));
            })
        });
        assert!(lost.is_err());
        let caught = caught(|| {
            print("EVCXR_BEGIN_CONTENT text/plain\n");
            print("hi\nEVCXR_END_CONTENT\n");
        });
        let (bundle, _) = contents(&caught.unwrap());
        assert_eq!(bundle, Bundle::text("hi"));
    }
}
