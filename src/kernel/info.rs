//! What `kernel_info_reply` says.

use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::wire::PROTOCOL_VERSION;

/// How long the reply waits for rustc to say its version. It must come within 0.3 s of the start.
const PATIENCE: Duration = Duration::from_millis(120);

/// The version to tell where there is no rustc, or it takes too long: the oldest that will do.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// What is known of rustc's version.
static TOOLCHAIN: Mutex<Toolchain> = Mutex::new(Toolchain::Unasked);
static ANSWERED: Condvar = Condvar::new();

#[derive(Debug, Clone, PartialEq)]
enum Toolchain {
    Unasked,
    Asked,
    Version(String),
}

/// Asks rustc for its version, in the background.
pub(super) fn find_toolchain() {
    let mut toolchain = toolchain();
    if *toolchain == Toolchain::Unasked {
        *toolchain = Toolchain::Asked;
        thread::spawn(|| {
            let version = rustc_version();
            settle(&mut self::toolchain(), version.unwrap_or_else(|| OLDEST.to_owned()));
        });
    }
}

fn toolchain() -> MutexGuard<'static, Toolchain> {
    TOOLCHAIN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Settles the version. Said once, it stays: notebooks store it.
fn settle(toolchain: &mut Toolchain, version: String) {
    if *toolchain == Toolchain::Asked {
        *toolchain = Toolchain::Version(version);
        ANSWERED.notify_all();
    }
}

fn rustc_version() -> Option<String> {
    let output = Command::new("rustc").arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_whitespace().nth(1)?.to_owned())
}

/// The version of rustc. Blocks at most for [`PATIENCE`], and only while it is not yet known.
fn language_version() -> String {
    find_toolchain();
    let unknown = |toolchain: &mut Toolchain| *toolchain == Toolchain::Asked;
    let waited = ANSWERED.wait_timeout_while(toolchain(), PATIENCE, unknown);
    let (mut toolchain, _) = waited.unwrap_or_else(PoisonError::into_inner);
    settle(&mut toolchain, OLDEST.to_owned());
    match &*toolchain {
        Toolchain::Version(version) => version.clone(),
        Toolchain::Unasked | Toolchain::Asked => OLDEST.to_owned(),
    }
}

/// The `language_info` of the kernel and of notebooks that are run without it. Blocks at most
/// 0.12 s, the first time.
pub fn language_info() -> Value {
    json!({
        "name": "rust",
        "version": language_version(),
        "mimetype": "text/x-rust",
        "file_extension": ".rs",
        "pygments_lexer": "rust",
        "codemirror_mode": "rust",
        "nbconvert_exporter": "script",
    })
}

/// The content of `kernel_info_reply`.
pub(super) fn kernel_info() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let language = language_info();
    let rust = language["version"].as_str().unwrap_or(OLDEST);
    json!({
        "status": "ok",
        "protocol_version": PROTOCOL_VERSION,
        "implementation": "parcell",
        "implementation_version": version,
        "banner": format!("parcell {version}: parallel notebooks in Rust {rust}. %help lists the magics."),
        "language_info": language,
        "supported_features": [],
        "help_links": [
            {"text": "The Rust book", "url": "https://doc.rust-lang.org/book/"},
            {"text": "Rust's standard library", "url": "https://doc.rust-lang.org/std/"},
            {"text": "rayon", "url": "https://docs.rs/rayon"},
        ],
    })
}
