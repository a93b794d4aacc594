//! Arguments of magics: words with quotes, file names, counts.

use std::path::{Path, PathBuf};

use parcell_link::Pin;

use super::{Desk, Facts, usage_error};
use crate::stage::Failure;

/// The words of a magic's arguments; quotes and `\` hold them together as in a shell.
pub(super) fn words(facts: &Facts, args: &str) -> Result<Vec<String>, Failure> {
    shlex::split(args)
        .ok_or_else(|| usage_error(facts, format!("a quote is not closed in `{args}`")))
}

/// The only word.
pub(super) fn one_word(facts: &Facts, args: &str, what: &str) -> Result<String, Failure> {
    let mut words = words(facts, args)?;
    match words.len() {
        0 => Err(usage_error(facts, format!("{what} is missing"))),
        1 => Ok(words.remove(0)),
        n => Err(usage_error(facts, format!("one argument is wanted, here are {n}"))),
    }
}

/// Where threads are put.
pub(super) fn pin(facts: &Facts, word: &str) -> Result<Pin, Failure> {
    match word {
        "compact" => Ok(Pin::Compact),
        "spread" => Ok(Pin::Spread),
        "off" => Ok(Pin::Off),
        _ => {
            Err(usage_error(facts, format!("--pin wants compact, spread or off, here is `{word}`")))
        }
    }
}

/// Nothing may be left.
pub(super) fn no_args(facts: &Facts, args: &str) -> Result<(), Failure> {
    if args.is_empty() {
        return Ok(());
    }
    Err(usage_error(facts, format!("it takes no arguments, here is `{args}`")))
}

/// A path as the user wrote it, with `~` and relative to the cells' directory.
pub(super) fn path(desk: &dyn Desk, written: &str) -> PathBuf {
    desk.directory().join(home_path(written, variable(desk, "HOME").as_deref()))
}

/// Puts the home directory in place of a leading `~`.
pub(super) fn home_path(written: &str, home: Option<&str>) -> PathBuf {
    match (written.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            Path::new(home).join(rest.trim_start_matches('/'))
        }
        _ => PathBuf::from(written),
    }
}

/// A variable of the cells' environment.
pub(super) fn variable(desk: &dyn Desk, name: &str) -> Option<String> {
    desk.environment().into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
}

/// `1 thread`, `2 threads`.
pub(super) fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_home_only_at_the_start() {
        assert_eq!(home_path("~/a", Some("/h")), Path::new("/h/a"));
        assert_eq!(home_path("~", Some("/h")), Path::new("/h/"));
        assert_eq!(home_path("~", None), Path::new("~"));
        assert_eq!(home_path("~a/b", Some("/h")), Path::new("~a/b"));
        assert_eq!(home_path("a~", Some("/h")), Path::new("a~"));
    }
}
