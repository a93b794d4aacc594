//! What a session has defined, and what a cell makes of it. A state is never changed while
//! somebody else looks at it: what comes after a cell is a new one, so that the next cell can be
//! compiled against it before this one has ended.

use std::collections::{BTreeMap, HashMap};

use super::Variable;
use super::draft::Draft;
use super::generate::{Living, Spot};
use super::items::Items;
use super::parse::Binding;

/// Everything that outlives a cell.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) items: Items,
    pub(super) variables: BTreeMap<String, Variable>,
    /// Statics that live in modules of the present driver.
    pub(super) statics: HashMap<Spot, Living>,
    /// Variables that could not be kept, and why: explained when a later cell asks for them.
    pub(super) unkept: HashMap<String, String>,
}

impl State {
    /// The state after a cell that ran: to its end, or not. Also names what the driver has to
    /// drop.
    pub(super) fn after(&self, draft: &Draft, finished: bool) -> (State, Vec<String>) {
        let mut next = self.clone();
        let mut dropped = draft.dropped.clone();
        for name in draft.moved.iter().chain(&draft.dropped) {
            next.variables.remove(name);
        }
        for name in &draft.moved {
            next.unkept.insert(name.clone(), format!("was moved away by {}", draft.source.name));
        }
        for (name, _) in draft.items.names() {
            next.unkept.remove(&name);
        }
        next.unkept.extend(draft.unkept.clone());
        if finished {
            let kept = draft.parsed.bindings.iter().filter(|b| draft.keeps.contains(&b.name));
            kept.for_each(|binding| next.bind(draft, binding, &mut dropped));
        } else {
            for name in &draft.renewed {
                next.variables.remove(name);
                let why = format!("was moved away by {}, which did not finish", draft.source.name);
                next.unkept.insert(name.clone(), why);
            }
            let new = draft.keeps.iter().filter(|k| !self.variables.contains_key(*k));
            let why = format!("was not kept: {} did not finish", draft.source.name);
            next.unkept.extend(new.map(|name| (name.clone(), why.clone())));
        }
        next.items = draft.items.clone();
        next.statics.clone_from(&draft.living);
        next.statics.extend(draft.new_statics.clone());
        (next, dropped)
    }

    /// Takes a new variable over, if a later cell can write its type.
    fn bind(&mut self, draft: &Draft, binding: &Binding, dropped: &mut Vec<String>) {
        let Binding { name, mutable, .. } = binding.clone();
        match draft.type_of(binding) {
            Ok(type_name) => {
                self.unkept.remove(&name);
                self.variables.insert(name.clone(), Variable { name, type_name, mutable });
            }
            Err(why) => {
                self.variables.remove(&name);
                self.unkept.insert(name.clone(), why);
                dropped.push(name);
            }
        }
    }

    /// A driver that died took all values with it.
    pub(super) fn lose_values(&mut self) {
        self.variables.clear();
        self.statics.clear();
    }
}
