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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parcell_link::{Grouping, Where};

    use super::super::items::Source;
    use super::*;
    use crate::stage::Cell;

    /// A session of which cells are looked at and never compiled.
    #[derive(Default)]
    struct Session {
        state: State,
        cells: u32,
        dropped: Vec<(String, Place)>,
    }

    impl Session {
        fn with_workers(ids: &[u32]) -> Session {
            let mut session = Session::default();
            session.state.set_workers(ids.iter().copied().collect());
            session
        }

        fn draft(&mut self, on: &Where, code: &str) -> Draft {
            self.cells += 1;
            let cell = Cell { code: code.to_owned(), on: on.clone(), ..Cell::default() };
            let name = format!("In[{}]", self.cells);
            Draft::new(&cell, Arc::new(Source { name, text: cell.code.clone() }), &self.state)
        }

        /// Runs a cell: to its end, or not. Types of new variables must be written.
        fn run(&mut self, on: &Where, code: &str, finished: bool) {
            let draft = self.draft(on, code);
            assert!(draft.elsewhere.is_empty(), "{:?}", draft.elsewhere);
            (self.state, self.dropped) = self.state.after(&draft, finished);
        }

        fn place(&self, name: &str) -> Option<&Place> {
            self.state.variables.get(name).map(|v| &v.place)
        }

        /// Why a cell that uses `x` is refused; empty if it is not.
        fn refused(&mut self, on: &Where) -> String {
            let draft = self.draft(on, "x + 1");
            assert_eq!(draft.loads.len() + draft.elsewhere.len(), 1);
            draft.elsewhere.get("x").cloned().unwrap_or_default()
        }
    }

    fn px(targets: Option<&[u32]>) -> Where {
        let targets = targets.map(<[u32]>::to_vec);
        Where::Workers { targets, group: Grouping::Live, wait: true }
    }

    fn place(driver: bool, ids: &[u32]) -> Place {
        Place { driver, workers: ids.iter().copied().collect() }
    }

    #[test]
    fn a_variable_is_where_its_cell_ran() {
        let mut session = Session::with_workers(&[2, 3]);
        session.run(&px(None), "let x: i32 = 1;", true);
        assert_eq!(session.place("x"), Some(&place(false, &[2, 3])));
        let why = session.refused(&Where::Driver);
        assert!(why.starts_with("is on workers 2, 3 (bound in cell 1 by `%%px`), not on the dr"));
        assert_eq!(session.refused(&px(Some(&[3]))), "");
        let why = session.refused(&Where::Everywhere);
        assert!(why.contains("not on the driver"), "{why}");
        session.run(&Where::Everywhere, "let x: i32 = 1;", true);
        for on in [Where::Driver, Where::Everywhere, px(None), px(Some(&[2]))] {
            assert_eq!(session.refused(&on), "");
        }
    }

    #[test]
    fn what_only_the_driver_has_workers_cannot_use() {
        let mut session = Session::with_workers(&[2]);
        session.run(&Where::Driver, "let x: i32 = 1;", true);
        for on in [px(None), Where::Everywhere] {
            let why = session.refused(&on);
            assert!(why.starts_with("is on the driver only (bound in cell 1)"), "{why}");
        }
        // To name a field or to bind it anew is no use of it.
        assert!(session.draft(&px(None), "let x: i32 = 2;").elsewhere.is_empty());
    }

    #[test]
    fn a_new_definition_moves_the_place_and_drops_what_is_left_behind() {
        let mut session = Session::with_workers(&[2, 3]);
        session.run(&Where::Everywhere, "let x: i32 = 1;", true);
        session.run(&Where::Driver, "let x: u8 = 2;", true);
        assert_eq!(session.place("x"), Some(&Place::default()));
        assert_eq!(session.dropped, [("x".to_owned(), place(false, &[2, 3]))]);
        session.run(&px(Some(&[3])), "let x: i32 = 3;", true);
        assert_eq!(session.place("x"), Some(&place(false, &[3])));
        assert_eq!(session.dropped, [("x".to_owned(), Place::default())]);
    }

    #[test]
    fn what_one_process_moves_away_others_keep() {
        let mut session = Session::with_workers(&[2]);
        session.run(&Where::Everywhere, "let x: String = String::new();", true);
        let mut draft = session.draft(&Where::Driver, "drop(x);");
        draft.moved.push("x".to_owned());
        session.state = session.state.after(&draft, true).0;
        assert_eq!(session.place("x"), Some(&place(false, &[2])));
        let mut draft = session.draft(&px(None), "drop(x);");
        draft.moved.push("x".to_owned());
        session.state = session.state.after(&draft, true).0;
        assert_eq!(session.place("x"), None);
        assert_eq!(session.state.unkept["x"], "was moved away by In[3]");
    }

    #[test]
    fn what_some_processes_did_not_finish_is_dropped_unless_it_is_the_same() {
        let mut session = Session::with_workers(&[2, 3]);
        session.run(&Where::Everywhere, "let x: i32 = 1;", true);
        session.run(&px(None), "let x: i32 = 2; let y: i32 = 3;", false);
        assert_eq!(session.place("x"), Some(&place(true, &[2, 3])), "old or new, it is an `i32`");
        assert_eq!(session.place("y"), None);
        assert_eq!(session.dropped, [("y".to_owned(), place(false, &[2, 3]))]);
        session.run(&px(None), "let x: u8 = 2;", false);
        assert_eq!(session.place("x"), Some(&Place::default()), "on workers it may be either");
        assert_eq!(session.dropped, [("x".to_owned(), place(false, &[2, 3]))]);
        session.run(&Where::Driver, "let x: u8 = 2;", false);
        assert_eq!(session.place("x"), Some(&Place::default()), "the driver puts it back");
    }

    #[test]
    fn workers_come_and_go() {
        let mut session = Session::with_workers(&[2, 3]);
        session.run(&Where::Everywhere, "let x: i32 = 1;", true);
        session.run(&px(Some(&[3])), "let z: i32 = 1;", true);
        session.state.set_workers([2, 4].into());
        assert_eq!(session.place("x"), Some(&place(true, &[2])));
        assert_eq!(session.place("z"), None);
        assert_eq!(session.state.unkept["z"], "is gone with worker 3");
        let why = session.refused(&px(None));
        assert!(why.starts_with("is on the driver and worker 2 (bound in cell 1"), "{why}");
        assert!(why.contains("not on worker 4: run that cell again"), "{why}");
        assert_eq!(session.refused(&px(Some(&[2]))), "");
    }

    #[test]
    fn a_value_of_a_redefined_type_is_dropped_where_it_was_and_not_where_it_is_new() {
        let mut session = Session::with_workers(&[2]);
        session.run(&Where::Everywhere, "struct P; let x: P = P;", true);
        session.run(&Where::Driver, "struct P(u8); let x: P = P(1);", true);
        assert_eq!(session.place("x"), Some(&Place::default()));
        assert_eq!(session.dropped[0], ("x".to_owned(), place(false, &[2])));
    }
}
