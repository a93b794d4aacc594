//! What the analyst knows of its session.

use std::sync::{Arc, OnceLock};

use super::facts::{Fact, Facts};
use super::scope::Scope;
use crate::cells::Library;
use crate::engine::Outline;

/// A session between two cells. Its facts are read when they are first asked for.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) outline: Arc<Outline>,
    pub(super) library: Library,
    facts: OnceLock<Facts>,
}

impl Known {
    pub(super) fn new(outline: Arc<Outline>, library: Library) -> Known {
        Known { outline, library, facts: OnceLock::new() }
    }

    /// The session's items and variables.
    pub(super) fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| {
            let mut facts = Facts::of_items(&self.outline.items);
            let variables = self.outline.variables.iter();
            facts
                .all
                .extend(variables.map(|v| Fact::variable(&v.name, v.mutable, Some(&v.type_name))));
            facts
        })
    }
}

/// The cell that runs.
#[derive(Debug)]
pub(super) struct Running {
    /// Its source, without magics.
    pub(super) code: String,
    facts: OnceLock<Option<Facts>>,
}

impl Running {
    pub(super) fn new(code: &str) -> Running {
        Running { code: code.to_owned(), facts: OnceLock::new() }
    }

    /// What it defines; nothing where it cannot be parsed.
    pub(super) fn facts(&self, session: Option<&Known>) -> Option<&Facts> {
        let outer = || session.map(Known::facts).into_iter().collect();
        let read = || Some(Scope::of_code(&self.code, outer())?.at_top());
        self.facts.get_or_init(read).as_ref()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::engine::analyst) fn library() -> Library {
        let crates = ["parcell", "rayon"].map(|name| (name.to_owned(), "lib.so".into()));
        Library {
            driver: "driver".into(),
            crates: crates.to_vec(),
            search: Vec::new(),
            linked: Vec::new(),
            features: Vec::new(),
            archives: Vec::new(),
            source: "src".into(),
            package: "cells".into(),
            identity: String::new(),
        }
    }
}
