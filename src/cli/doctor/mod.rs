//! `parcell doctor`: looks at everything a session needs, and says how to mend what is missing.

use std::io::Write;

use super::Error;
use super::surroundings::Surroundings;

mod building;
mod jupyter;
mod machine;

/// Options of `parcell doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    mark: Mark,
    text: String,
    mend: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Good,
    /// Something works less well, or not for everybody.
    Note,
    /// Notebooks cannot run.
    Missing,
}

impl Finding {
    fn good(text: impl Into<String>) -> Finding {
        Finding { mark: Mark::Good, text: text.into(), mend: None }
    }

    fn note(text: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { mark: Mark::Note, text: text.into(), mend: Some(mend.into()) }
    }

    fn missing(text: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { mark: Mark::Missing, text: text.into(), mend: Some(mend.into()) }
    }

    fn show(&self) {
        let mark = match self.mark {
            Mark::Good => "\x1b[32m✓\x1b[0m",
            Mark::Note => "\x1b[33m!\x1b[0m",
            Mark::Missing => "\x1b[31m✗\x1b[0m",
        };
        let mut out = anstream::stdout();
        let _ = writeln!(out, "{mark} {}", self.text);
        if let Some(mend) = &self.mend {
            let _ = writeln!(out, "    {mend}");
        }
    }
}

/// Runs the checks in an order in which later ones build on earlier ones; each is shown as soon as
/// it is known.
pub(super) fn run(_: &Options) -> Result<(), Error> {
    let around = Surroundings::of_process();
    let checks: [&dyn Fn() -> Vec<Finding>; 8] = [
        &building::toolchain,
        &machine::cache,
        &machine::temporary,
        &building::library,
        &machine::ports,
        &machine::threads,
        &|| jupyter::python(&around),
        &|| jupyter::kernels(&around),
    ];
    let mut missing = 0;
    for check in checks {
        for finding in check() {
            finding.show();
            missing += usize::from(finding.mark == Mark::Missing);
        }
    }
    if missing == 0 { Ok(()) } else { Err(Error::Unhealthy(missing)) }
}
