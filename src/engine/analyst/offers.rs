//! Completion and inspection by what the session itself knows: at once, but without types that
//! only the compiler or rust-analyzer can tell.

use std::collections::HashSet;

use parcell_link::Bundle;

use super::facts::{Fact, Reach, one_line};
use super::known::{Known, Running};
use super::scope::Scope;
use super::shape::Shape;
use super::source::word_end;
use super::spot::{Place, Spot};
use super::std_names;
use crate::stage::Completion;

/// What is known where somebody types.
pub(super) struct View<'a> {
    spot: Spot<'a>,
    scope: Scope<'a>,
    known: Option<&'a Known>,
}

impl<'a> View<'a> {
    /// The view at a position in bytes.
    pub(super) fn at(
        code: &'a str,
        position: usize,
        known: Option<&'a Known>,
        running: Option<&'a Running>,
    ) -> View<'a> {
        let (before, after) = (&code[..position], &code[word_end(code, position)..]);
        let spot = Spot::at_end(before);
        let running = running.and_then(|running| running.facts(known));
        let outer = running.into_iter().chain(known.map(Known::facts)).collect();
        let scope = Scope::at(&spot, before, after, outer);
        View { spot, scope, known }
    }

    /// What can stand in place of the typed word, best first.
    pub(super) fn offers(&self) -> Vec<Completion> {
        let all = match &self.spot.place {
            Place::Member(receiver) => self.members(receiver),
            Place::Path(path) => self.in_path(path),
            Place::Name => self.names(),
            Place::Formatted => self.variables(),
            Place::Derived => offers("trait", std_names::DERIVES),
            Place::Field(owner) => self.fields(owner),
            Place::Nowhere => Vec::new(),
        };
        let mut seen = HashSet::new();
        let fits = |offer: &Completion| {
            offer.text.starts_with(self.spot.word) && seen.insert(offer.text.clone())
        };
        all.into_iter().filter(fits).collect()
    }

    /// Puts what is the session's or the cell's own before the rest of rust-analyzer's offers, and
    /// gives variables the type that the compiler told.
    pub(super) fn adjust(&self, offers: &mut [Completion]) {
        if self.spot.place != Place::Name {
            return;
        }
        for offer in offers.iter_mut() {
            let own = self.scope.named(&offer.text).filter(|fact| fact.is_variable());
            if let Some(type_name) = own.and_then(|fact| fact.signature.clone()) {
                offer.signature = Some(type_name);
            }
        }
        offers.sort_by_key(|offer| self.scope.named(&offer.text).is_none());
    }

    fn members(&self, receiver: &str) -> Vec<Completion> {
        let Some(shape) = self.scope.shape_of(receiver) else { return Vec::new() };
        let chain = self.scope.chain(&shape);
        let own = chain.iter().flat_map(|shape| self.scope.members(&shape.head));
        let mut all: Vec<Completion> = listed(own, Reach::Dot);
        if shape.head == "()" {
            all.extend((0..shape.args.len()).map(|index| named("field", &index.to_string())));
        }
        for Shape { head, .. } in &chain {
            let traits = self.scope.traits(head).into_iter();
            for head in traits.chain([head.as_str()]) {
                all.extend(offers("method", std_names::of(head, ".").iter().copied()));
            }
        }
        all
    }

    /// The fields of a struct; where there is none of this name, any name.
    fn fields(&self, owner: &str) -> Vec<Completion> {
        let members = self.scope.members(owner).into_iter();
        let fields: Vec<Completion> = members.filter(|m| m.kind == "field").map(offer).collect();
        if fields.is_empty() { self.names() } else { fields }
    }

    fn in_path(&self, path: &[&str]) -> Vec<Completion> {
        let Some(last) = path.last() else { return Vec::new() };
        let own = match *last {
            "Self" => self.scope.named("self").and_then(|fact| fact.shape.clone()),
            _ => None,
        };
        let head = self.scope.chain(&own.unwrap_or_else(|| Shape::plain(last))).remove(0).head;
        let mut all = listed(self.scope.members(&head), Reach::Path);
        let whole = path.join("::");
        for name in [head.as_str(), &whole].into_iter().chain(self.scope.traits(&head)) {
            for member in std_names::of(name, "::") {
                all.push(named(guessed(name, member), member));
            }
        }
        all
    }

    /// Variables, items, crates, what is always there, keywords.
    fn names(&self) -> Vec<Completion> {
        let mut all = self.variables();
        let mut items: Vec<&Fact> = self.reached(|fact| !fact.is_variable());
        items.sort_by(|a, b| a.name.cmp(&b.name));
        all.extend(items.into_iter().map(offer));
        let crates = self.known.into_iter().flat_map(|known| &known.library.crates);
        let crates = crates.map(|(name, _)| name.as_str()).filter(|name| *name != "cell_deps");
        all.extend(offers("module", crates));
        all.extend(std_names::prelude().iter().map(|(name, kind)| named(kind, name)));
        all.extend(offers("type", std_names::PRIMITIVES));
        all.extend(offers("keyword", std_names::KEYWORDS));
        all
    }

    fn variables(&self) -> Vec<Completion> {
        let mut variables = self.reached(Fact::is_variable);
        variables.sort_by(|a, b| a.name.cmp(&b.name));
        variables.into_iter().map(offer).collect()
    }

    /// What is reached by its name alone; the nearest of several comes first.
    fn reached(&self, wanted: impl Fn(&Fact) -> bool) -> Vec<&Fact> {
        let all = self.scope.layers().flat_map(|facts| facts.all.iter().rev());
        let mut seen = HashSet::new();
        all.filter(|fact| fact.reach == Reach::Name && wanted(fact))
            .filter(|fact| seen.insert(&fact.name))
            .collect()
    }

    /// Tells of the name before the cursor, if the session or the cell define it and say its type.
    pub(super) fn describe(&self, detail: u8) -> Option<Bundle> {
        let word = self.spot.word;
        let fact = match &self.spot.place {
            Place::Member(receiver) => self.scope.member(&self.scope.shape_of(receiver)?, word),
            Place::Path(path) => self.scope.in_path(path, word),
            Place::Field(owner) => {
                let mut members = self.scope.members(owner).into_iter();
                members.find(|m| m.name == word).or_else(|| self.meant(word))
            }
            // Nowhere can be the name of a definition.
            Place::Name | Place::Formatted | Place::Derived | Place::Nowhere => self.meant(word),
        }?;
        Some(description(fact, detail))
    }

    /// What a name by itself means. A variable that the typed cell binds has a type only once the
    /// session knows it, and what is bound inside of something is never the session's.
    fn meant(&self, word: &str) -> Option<&Fact> {
        let is_item = |fact: &&Fact| !fact.is_variable() && !fact.source.starts_with("use ");
        let named = |name: &str| self.scope.named(name);
        if let Some(item) = named(word).or_else(|| named(&format!("{word}!"))).filter(is_item) {
            return Some(item);
        }
        if self.scope.inner.iter().any(|name| name == word) {
            return None;
        }
        let typed = |fact: &&Fact| fact.is_variable() && fact.signature.is_some();
        self.scope.layers().find_map(|facts| facts.named(word).filter(typed))
    }
}

/// Members that are reached in a way or in both; fields and variants first.
fn listed<'f>(members: impl IntoIterator<Item = &'f Fact>, reach: Reach) -> Vec<Completion> {
    let reached = |fact: &&Fact| fact.reach == reach || fact.reach == Reach::Both;
    let mut members: Vec<&Fact> = members.into_iter().filter(reached).collect();
    members.sort_by_key(|fact| !["field", "variant"].contains(&fact.kind));
    members.into_iter().map(offer).collect()
}

fn named(kind: &str, name: &str) -> Completion {
    Completion { text: name.to_owned(), kind: kind.to_owned(), signature: None }
}

fn offers<'n>(kind: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<Completion> {
    names.into_iter().map(|name| named(kind, name)).collect()
}

fn offer(fact: &Fact) -> Completion {
    Completion {
        text: fact.name.clone(),
        kind: fact.kind.to_owned(),
        signature: fact.signature.clone(),
    }
}

/// What a name in a path of the standard library is.
fn guessed(path: &str, name: &str) -> &'static str {
    let is_constant = name.chars().all(|c| !c.is_lowercase());
    match name.chars().next() {
        _ if name.ends_with('!') => "macro",
        _ if path == "std" => "module",
        _ if is_constant && name.len() > 1 => "const",
        Some(c) if c.is_uppercase() => "struct",
        _ => "function",
    }
}

/// A tooltip: the definition and its documentation, the whole source where more detail is wanted.
fn description(fact: &Fact, detail: u8) -> Bundle {
    let (docs, code) = if detail > 0 && !fact.source.is_empty() {
        (String::new(), fact.source.clone())
    } else {
        let owner = fact.owner.as_ref().map(|owner| format!("// in {owner}\n"));
        (fact.docs.clone(), format!("{}{}", owner.unwrap_or_default(), fact.outline))
    };
    let code = if code.lines().count() > 40 && detail == 0 { one_line(&code) } else { code };
    let gap = if docs.is_empty() { "" } else { "\n\n" };
    let markdown = format!("```rust\n{code}\n```{gap}{docs}");
    Bundle::text(format!("{code}{gap}{docs}")).with("text/markdown", markdown)
}
