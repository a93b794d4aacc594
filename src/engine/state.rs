//! What a session has defined, and what a cell makes of it. A state is never changed while
//! somebody else looks at it: what comes after a cell is a new one, so that the next cell can be
//! compiled against it before this one has ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parcell_link::Place;

use super::Variable;
use super::draft::Draft;
use super::generate::{Living, Spot};
use super::items::Items;
use super::parse::Binding;
use super::places::in_words;

/// Everything that outlives a cell.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) items: Items,
    pub(super) variables: BTreeMap<String, Variable>,
    /// Statics that live in modules of the present driver.
    pub(super) statics: HashMap<Spot, Living>,
    /// Variables that could not be kept, and why: explained when a later cell asks for them.
    pub(super) unkept: HashMap<String, String>,
    /// The cells that bound the variables, in words.
    pub(super) origins: HashMap<String, String>,
    /// The workers that there are.
    pub(super) workers: BTreeSet<u32>,
}

impl State {
    /// The state after a cell that ran: to its end, or not. Also names what must be dropped, and
    /// on which processes.
    pub(super) fn after(&self, draft: &Draft, finished: bool) -> (State, Vec<(String, Place)>) {
        let mut next = self.clone();
        let mut dropped = Vec::new();
        for name in &draft.dropped {
            dropped.extend(next.variables.remove(name).map(|v| (v.name, v.place)));
        }
        for name in &draft.moved {
            next.take_away(name, &draft.place, format!("was moved away by {}", draft.source.name));
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
                let why = format!("was moved away by {}, which did not finish", draft.source.name);
                next.take_away(name, &draft.place, why);
            }
            next.leave_unfinished(draft, &mut dropped);
        }
        next.items = draft.items.clone();
        next.statics.clone_from(&draft.living);
        next.statics.extend(draft.new_statics.clone());
        let orphaned = |(name, place): (String, Place)| {
            let kept = next.variables.get(&name).map(|v| &v.place);
            let orphaned = kept.map_or_else(|| place.clone(), |kept| place.without(kept));
            (!orphaned.is_empty()).then_some((name, orphaned))
        };
        let dropped = dropped.into_iter().filter_map(orphaned).collect();
        (next, dropped)
    }

    /// A variable is no longer on these processes, and why.
    fn take_away(&mut self, name: &str, place: &Place, why: String) {
        let Some(variable) = self.variables.get_mut(name) else {
            self.unkept.insert(name.to_owned(), why);
            return;
        };
        variable.place = variable.place.without(place);
        if variable.place.is_empty() {
            self.variables.remove(name);
            self.unkept.insert(name.to_owned(), why);
        }
    }

    /// What becomes of the variables that a cell bound and that did not finish: not on all of its
    /// processes, if these are several.
    fn leave_unfinished(&mut self, draft: &Draft, dropped: &mut Vec<(String, Place)>) {
        let why = format!("was not kept: {} did not finish", draft.source.name);
        for binding in draft.parsed.bindings.iter().filter(|b| draft.keeps.contains(&b.name)) {
            let name = &binding.name;
            let same = |v: &Variable| {
                v.place.holds(&draft.place) && draft.type_of(binding).as_ref() == Ok(&v.type_name)
            };
            match self.variables.get(name) {
                // The driver alone has put the old value back; elsewhere it may be either.
                Some(earlier) if draft.place == Place::default() || same(earlier) => {}
                Some(_) => {
                    self.take_away(name, &draft.place, why.clone());
                    dropped.push((name.clone(), draft.place.clone()));
                }
                None => {
                    self.unkept.insert(name.clone(), why.clone());
                    if !draft.place.workers.is_empty() {
                        dropped.push((name.clone(), draft.place.clone()));
                    }
                }
            }
        }
    }

    /// Takes a new variable over, if a later cell can write its type.
    fn bind(&mut self, draft: &Draft, binding: &Binding, dropped: &mut Vec<(String, Place)>) {
        let Binding { name, mutable, .. } = binding.clone();
        let place = draft.place.clone();
        if let Some(earlier) = self.variables.remove(&name) {
            dropped.push((name.clone(), earlier.place));
        }
        match draft.type_of(binding) {
            Ok(type_name) => {
                self.unkept.remove(&name);
                self.origins.insert(name.clone(), draft.origin.clone());
                self.variables.insert(name.clone(), Variable { name, type_name, mutable, place });
            }
            Err(why) => {
                self.unkept.insert(name.clone(), why);
                dropped.push((name, place));
            }
        }
    }

    /// Takes note of the workers that there are now. What was on those that are gone is lost.
    pub(super) fn set_workers(&mut self, workers: BTreeSet<u32>) {
        for name in self.variables.keys().cloned().collect::<Vec<_>>() {
            let held = &self.variables[&name].place;
            let gone = Place { driver: false, workers: &held.workers - &workers };
            if !gone.is_empty() {
                let why = format!("is gone with {}", in_words(&gone));
                self.take_away(&name, &gone, why);
            }
        }
        self.workers = workers;
    }

    /// A driver that died took all values with it.
    pub(super) fn lose_values(&mut self) {
        self.variables.clear();
        self.statics.clear();
        self.workers.clear();
    }
}
