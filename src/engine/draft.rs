//! A cell on its way to a module: what is known of it, corrected from round to round.

use std::collections::HashMap;
use std::sync::Arc;

use parcell_link::Place;
use proc_macro2::TokenStream;

use super::Variable;
use super::diagnose::{Correction, Found};
use super::generate::{Living, Plan, Spot};
use super::items::{Items, Source};
use super::parse::{Binding, Parsed, count_mentions, parse};
use super::places;
use super::state::State;
use crate::stage::Cell;

/// What a cell defines, what it needs, what it would leave behind.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) source: Arc<Source>,
    /// The processes that run it.
    pub(super) place: Place,
    /// The cell in words, as [`places::origin`] has it.
    pub(super) origin: String,
    pub(super) parsed: Parsed,
    /// The session's items with the cell's own.
    pub(super) items: Items,
    /// Statics that live already and still have their type.
    pub(super) living: HashMap<Spot, Living>,
    pub(super) new_statics: Vec<(Spot, Living)>,
    pub(super) loads: Vec<Variable>,
    /// Variables that the cell seems to use and that are not on all of its processes, and why.
    pub(super) elsewhere: HashMap<String, String>,
    pub(super) moved: Vec<String>,
    /// Variables that the cell moves away and then gives a new value.
    pub(super) renewed: Vec<String>,
    pub(super) keeps: Vec<String>,
    /// New variables that are functions, to be kept as pointers of this type.
    pub(super) pointers: HashMap<String, String>,
    /// Whether what is private in modules must be seen, to write a variable's type.
    pub(super) open: bool,
    pub(super) unkept: HashMap<String, String>,
    pub(super) types: HashMap<String, Found>,
    pub(super) show_value: bool,
    pub(super) dropped: Vec<String>,
    pub(super) notices: Vec<String>,
}

impl Draft {
    /// Looks at a cell.
    pub(super) fn new(cell: &Cell, source: Arc<Source>, state: &State) -> Draft {
        let parsed = parse(&cell.code, &state.items.shapes());
        let parsed = parsed.unwrap_or_else(|| unparsed(&cell.code));
        let items = state.items.with(&parsed.items, &source);
        let keeps = parsed.bindings.iter().map(|b| b.name.clone()).collect();
        let mut draft = Draft {
            place: places::of_cell(&cell.on, &state.workers),
            origin: places::origin(&source.name, &cell.on),
            source,
            items,
            living: state.statics.clone(),
            new_statics: Vec::new(),
            loads: Vec::new(),
            elsewhere: HashMap::new(),
            moved: Vec::new(),
            renewed: Vec::new(),
            keeps,
            pointers: HashMap::new(),
            open: false,
            unkept: HashMap::new(),
            types: HashMap::new(),
            show_value: !cell.silent,
            dropped: Vec::new(),
            notices: Vec::new(),
            parsed,
        };
        draft.drop_changed(state);
        let needs = |v: &&Variable| !draft.dropped.contains(&v.name) && draft.mentions(&v.name);
        let needed = state.variables.values().filter(needs);
        let (here, elsewhere): (Vec<&Variable>, Vec<&Variable>) =
            needed.partition(|v| v.place.holds(&draft.place));
        let why = |v: &&Variable| {
            let origin = state.origins.get(&v.name);
            (v.name.clone(), places::why_not(v, origin, &draft.place))
        };
        draft.elsewhere = elsewhere.iter().map(why).collect();
        draft.loads = here.into_iter().cloned().collect();
        draft
    }

    /// Values of types that the cell redefines have another layout than later cells would think.
    fn drop_changed(&mut self, state: &State) {
        let changed = self.items.changed_types(&state.items);
        if changed.is_empty() {
            return;
        }
        let of_changed = |type_name: &str| heads(type_name).any(|word| changed.contains(word));
        for Variable { name, type_name, .. } in state.variables.values() {
            if of_changed(type_name) {
                let why = format!("its type `{type_name}` was redefined");
                self.notices.push(format!("variable `{name}` was dropped: {why}"));
                self.dropped.push(name.clone());
                self.unkept.insert(name.clone(), format!("was dropped: {why}"));
            }
        }
        for static_ in self.living.values().filter(|s| of_changed(&s.type_name)) {
            let Living { name, type_name, .. } = static_;
            self.notices
                .push(format!("static `{name}` begins anew: its type `{type_name}` was redefined"));
        }
        self.living.retain(|_, s| !of_changed(&s.type_name));
    }

    /// Whether the cell uses an earlier variable: mentions it beyond binding it anew.
    fn mentions(&self, name: &str) -> bool {
        let bound = self.parsed.bindings.iter().find(|b| b.name == name).map_or(0, |b| b.times);
        self.parsed.mentions.get(name).is_some_and(|times| *times > bound)
    }

    /// Whether a variable can have been bound for later cells only: no statement follows that
    /// could use it, be it by its mere presence, as a guard.
    pub(super) fn is_for_later(&self, binding: &Binding) -> bool {
        binding.at.start >= self.parsed.last_statement && !self.mentions(&binding.name)
    }

    /// Whether a variable's type is one that is bound for what its `drop` does.
    pub(super) fn is_guard(&self, binding: &Binding) -> bool {
        let Some(Found::Type(name) | Found::Opaque(name)) = self.types.get(&binding.name) else {
            return false;
        };
        let path = name.split('<').next().unwrap_or(name);
        let last = path.rsplit("::").next().unwrap_or(path);
        ["Guard", "Ref", "RefMut", "Lock", "Entered", "Drain"].iter().any(|end| last.ends_with(end))
    }

    /// How to write the cell as module number `module`.
    pub(super) fn plan(&self, module: usize) -> Plan<'_> {
        let mentions = self.parsed.mentions.keys().map(String::as_str);
        let types = self.loads.iter().flat_map(|v| words(&v.type_name));
        Plan {
            source: &self.source,
            parsed: &self.parsed,
            items: self.items.reached(mentions.chain(types), &self.source),
            loads: self.loads.iter().collect(),
            moved: &self.moved,
            renewed: &self.renewed,
            pointers: &self.pointers,
            open: self.open,
            keeps: &self.keeps,
            show_value: self.show_value,
            living: &self.living,
            module,
        }
    }

    /// Whether rustc must be asked for types.
    pub(super) fn needs_types(&self) -> bool {
        self.parsed.bindings.iter().any(|b| self.written_type(b).is_none())
    }

    /// The type that the cell itself gives a new variable, if it will mean the same later.
    fn written_type<'a>(&self, binding: &'a Binding) -> Option<&'a String> {
        let of_alias = |name: &&String| words(name).any(|word| self.items.is_alias(word));
        binding.type_name.as_ref().filter(|name| !of_alias(name))
    }

    /// Functions among the new variables that are not yet kept as pointers; keeps them so.
    pub(super) fn point_at_functions(&mut self) -> bool {
        let before = self.pointers.len();
        for (name, found) in &self.types {
            if let (Found::Function(pointer), true) = (found, self.keeps.contains(name)) {
                self.pointers.insert(name.clone(), pointer.clone());
            }
        }
        self.pointers.len() > before
    }

    /// The type of a new variable, or why it cannot be kept.
    pub(super) fn type_of(&self, binding: &Binding) -> Result<String, String> {
        if let Some(written) = self.written_type(binding) {
            return Ok(written.clone());
        }
        match self.types.get(&binding.name) {
            Some(Found::Type(name) | Found::Function(name)) => Ok(name.clone()),
            Some(Found::Closure) => {
                Err("was not kept by the cell that bound it: a closure has no \
                type that a later cell could write. Make it a `fn`, or box it: `let f: Box<dyn \
                Fn(i32) -> i32> = Box::new(…)`"
                    .to_owned())
            }
            Some(Found::Opaque(name)) => Err(format!(
                "was not kept by the cell that bound it: no later cell can write its type `{name}`. \
                 Collect it into a `Vec`, or box it as `Box<dyn …>`"
            )),
            None => Err("was not kept by the cell that bound it: rustc did not name its type; \
                bind it with an explicit type"
                .to_owned()),
        }
    }

    /// Applies corrections; false if they change nothing.
    pub(super) fn correct(&mut self, corrections: &[Correction]) -> bool {
        let mut changed = false;
        for correction in corrections {
            changed |= match correction {
                Correction::Moved(name) if self.may_renew(name) => {
                    push_new(&mut self.renewed, name)
                }
                Correction::Moved(name) => {
                    self.renewed.retain(|other| other != name);
                    push_new(&mut self.moved, name)
                }
                Correction::Missing(name) => self.is_tentative(name) && self.never_mind(name),
                Correction::Consumed(name) => {
                    let why = "was moved by the cell that bound it".to_owned();
                    self.give_up(name, why)
                }
                Correction::Borrows(name) => {
                    let why = "was not kept by the cell that bound it: it borrows from another \
                        variable. Keep an owned value (`.to_vec()`, `.clone()`), or borrow again \
                        in each cell"
                        .to_owned();
                    self.give_up(name, why)
                }
                Correction::Unnameable(_) => !std::mem::replace(&mut self.open, true),
            };
        }
        changed
    }

    /// Whether a variable that is moved away may have got a new value after that.
    fn may_renew(&self, name: &String) -> bool {
        self.parsed.assigned.contains(name) && !self.renewed.contains(name)
    }

    fn is_tentative(&self, name: &str) -> bool {
        self.parsed.bindings.iter().any(|b| b.name == name && b.tentative)
    }

    fn give_up(&mut self, name: &str, why: String) -> bool {
        self.unkept.insert(name.to_owned(), why);
        self.never_mind(name)
    }

    /// Does not keep a new variable.
    fn never_mind(&mut self, name: &str) -> bool {
        let before = self.keeps.len();
        self.keeps.retain(|kept| kept != name);
        self.keeps.len() < before
    }
}

/// What can be known of a cell that does not parse: rustc will say what is wrong with it.
fn unparsed(code: &str) -> Parsed {
    let mut parsed = Parsed::default();
    if let Ok(tokens) = code.parse::<TokenStream>() {
        count_mentions(tokens, &mut parsed.mentions);
    }
    parsed
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty())
}

/// The words of a type that are not looked up in another: `std` and `P` of `std::vec::Vec<P>`.
fn heads(text: &str) -> impl Iterator<Item = &str> {
    words(text).filter(move |word| {
        let at = word.as_ptr() as usize - text.as_ptr() as usize;
        !text[..at].trim_end().ends_with("::")
    })
}

fn push_new(names: &mut Vec<String>, name: &str) -> bool {
    let new = !names.iter().any(|n| n == name);
    if new {
        names.push(name.to_owned());
    }
    new
}

#[cfg(test)]
mod tests {
    use super::heads;

    #[test]
    fn only_the_first_word_of_a_path_can_be_a_type_of_the_session() {
        let of = |text| heads(text).collect::<Vec<_>>();
        assert_eq!(of("std::vec::Vec<P>"), ["std", "P"]);
        assert_eq!(of("HashMap < K, a :: B >"), ["HashMap", "K", "a"]);
    }
}
