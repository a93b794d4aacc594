//! The items of a session: which cell defined them, what replaces what, and which of them a cell
//! reaches. A cell compiles only those, so its cost does not grow with the notebook.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::macros::Shapes;
use super::parse::{Key, ParsedItem, Space};

/// The source of a cell as its items remember it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The name in messages: `In[3]`.
    pub(super) name: String,
    pub(super) text: String,
}

impl Source {
    /// A place as users name it: `[cell 3, line 1]`.
    pub(super) fn place(&self, line: impl std::fmt::Display) -> String {
        let number = self.name.strip_prefix("In[").unwrap_or(&self.name).replacen(']', "", 1);
        format!("[cell {number}, line {line}]")
    }
}

/// An item and where it was defined.
#[derive(Debug, Clone)]
pub(super) struct SessionItem {
    pub(super) item: ParsedItem,
    pub(super) source: Arc<Source>,
    /// Members of an `impl` that a later one has replaced: bytes of the source.
    pub(super) replaced: Vec<Range<usize>>,
}

/// What is left of an item when these are defined: all, nothing, or an `impl` with less members.
fn left_of(old: &Arc<SessionItem>, new: &[ParsedItem]) -> Option<Arc<SessionItem>> {
    let mut replacing = new.iter().filter(|n| n.key.replaces(&old.item.key)).peekable();
    if replacing.peek().is_none() {
        return Some(Arc::clone(old));
    }
    let members: HashSet<&String> =
        replacing.flat_map(|n| n.members.iter().map(|(name, _)| name)).collect();
    let (gone, left): (Vec<_>, Vec<_>) =
        old.item.members.iter().cloned().partition(|(name, _)| members.contains(name));
    if left.is_empty() {
        return None;
    }
    let mut rest = SessionItem::clone(old);
    rest.replaced.extend(gone.into_iter().map(|(_, range)| range));
    if let Key::Impl(_, names) = &mut rest.item.key {
        names.retain(|name| !members.contains(name));
    }
    rest.item.members = left;
    Some(Arc::new(rest))
}

/// All items of a session, in the order of their definition.
#[derive(Debug, Clone, Default)]
pub(super) struct Items {
    all: Vec<Arc<SessionItem>>,
}

impl Items {
    /// The items as they are once a cell's own have been added.
    pub(super) fn with(&self, items: &[ParsedItem], source: &Arc<Source>) -> Items {
        let mut all: Vec<Arc<SessionItem>> =
            self.all.iter().filter_map(|old| left_of(old, items)).collect();
        let own = |item: &ParsedItem| SessionItem {
            item: item.clone(),
            source: Arc::clone(source),
            replaced: Vec::new(),
        };
        all.extend(items.iter().map(|item| Arc::new(own(item))));
        Items { all }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SessionItem> {
        self.all.iter().map(AsRef::as_ref)
    }

    /// What the session's macros make.
    pub(super) fn shapes(&self) -> Shapes {
        let shape = |i: &Arc<SessionItem>| match &i.item.key {
            Key::Named(Space::Macro, name) => Some((name.clone(), i.item.shape.clone()?)),
            _ => None,
        };
        self.all.iter().filter_map(shape).collect()
    }

    /// Whether a name is what a `use` or a `type` made of another: it may come to mean something
    /// else while values of what it meant live on.
    pub(super) fn is_alias(&self, name: &str) -> bool {
        self.all.iter().any(|i| match &i.item.key {
            Key::Use(other) => other == name,
            Key::Named(Space::Type, other) => other == name && i.item.kind == "type",
            _ => false,
        })
    }

    /// The items that code mentioning these names reaches, in order of definition. Items of the
    /// cell `own` are reached in any case: the user wants them checked. So is every `use`: which
    /// trait's methods a cell calls cannot be seen from names.
    pub(super) fn reached<'a>(
        &'a self,
        names: impl Iterator<Item = &'a str>,
        own: &Arc<Source>,
    ) -> Vec<&'a SessionItem> {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, item) in self.all.iter().enumerate() {
            for name in &item.item.reached_by {
                by_name.entry(name).or_default().push(index);
            }
        }
        let mut reached = BTreeSet::new();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut open: Vec<&str> = names.collect();
        for (index, item) in self.all.iter().enumerate() {
            let always = Arc::ptr_eq(&item.source, own) || item.item.reached_by.is_empty();
            if always && reached.insert(index) {
                open.extend(item.item.mentions.iter().map(String::as_str));
            }
        }
        while let Some(name) = open.pop() {
            if !seen.insert(name) {
                continue;
            }
            for &index in by_name.get(name).into_iter().flatten() {
                if self.is_reached_by(index, name) && reached.insert(index) {
                    open.extend(self.all[index].item.mentions.iter().map(String::as_str));
                }
            }
        }
        reached.into_iter().map(|index| &*self.all[index]).collect()
    }

    /// An `impl` is reached through the session's own types and traits only: `impl T for Vec<i32>`
    /// does not come with every `Vec`.
    fn is_reached_by(&self, index: usize, name: &str) -> bool {
        !matches!(self.all[index].item.key, Key::Impl(..)) || self.defines_type(name)
    }

    fn defines_type(&self, name: &str) -> bool {
        let is =
            |i: &Arc<SessionItem>| matches!(&i.item.key, Key::Named(Space::Type, n) if n == name);
        self.all.iter().any(is)
    }

    /// Types whose definition differs from `earlier`'s, with the types that contain them: values
    /// of these types have another layout now.
    pub(super) fn changed_types(&self, earlier: &Items) -> HashSet<String> {
        let types = |items: &Items| -> HashMap<String, String> {
            let of = |i: &Arc<SessionItem>| match &i.item.key {
                Key::Named(Space::Type, n) if i.item.kind != "trait" => {
                    Some((n.clone(), i.item.text.clone()))
                }
                _ => None,
            };
            items.all.iter().filter_map(of).collect()
        };
        let (before, now) = (types(earlier), types(self));
        let mut changed: HashSet<String> = before
            .iter()
            .filter(|(name, text)| now.get(*name) != Some(*text))
            .map(|(name, _)| name.clone())
            .collect();
        let contains = |item: &ParsedItem, changed: &HashSet<String>| {
            item.mentions.iter().any(|m| changed.contains(m))
        };
        loop {
            let more: Vec<String> = self
                .all
                .iter()
                .filter(|i| contains(&i.item, &changed))
                .filter_map(|i| match &i.item.key {
                    Key::Named(Space::Type, name) => Some(name.clone()),
                    _ => None,
                })
                .filter(|name| !changed.contains(name))
                .collect();
            if more.is_empty() {
                return changed;
            }
            changed.extend(more);
        }
    }

    /// Source of the named items.
    pub(super) fn sources(&self) -> Vec<(String, String)> {
        let source = |i: &Arc<SessionItem>| match &i.item.key {
            Key::Named(_, name) => Some((name.clone(), i.item.text.clone())),
            Key::Use(_) | Key::Impl(..) | Key::Text(_) => None,
        };
        self.all.iter().filter_map(source).collect()
    }

    /// Names and kinds of the named items, sorted.
    pub(super) fn names(&self) -> Vec<(String, &'static str)> {
        let name = |i: &Arc<SessionItem>| match &i.item.key {
            Key::Named(_, name) | Key::Use(name) => Some((name.clone(), i.item.kind)),
            Key::Impl(..) | Key::Text(_) => None,
        };
        let mut names: Vec<_> = self.all.iter().filter_map(name).collect();
        names.sort_unstable();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn session(cells: &[&str]) -> (Items, Arc<Source>) {
        let mut items = Items::default();
        let none = Arc::new(Source { name: "In[9]".into(), text: String::new() });
        for (index, text) in cells.iter().enumerate() {
            let name = format!("In[{}]", index + 1);
            let source = Arc::new(Source { name, text: (*text).to_owned() });
            items = items.with(&parse(text, &items.shapes()).unwrap().items, &source);
        }
        (items, none)
    }

    fn reached(cells: &[&str], names: &[&str]) -> Vec<String> {
        let (items, own) = session(cells);
        let found = items.reached(names.iter().copied(), &own);
        found.iter().map(|i| i.item.text.trim().to_owned()).collect()
    }

    #[test]
    fn only_what_is_named_is_reached_and_what_that_names() {
        let cells = ["fn a() {}", "fn b() { a() }", "fn c() {}"];
        assert_eq!(reached(&cells, &["b"]), ["fn a() {}", "fn b() { a() }"]);
        assert_eq!(reached(&cells, &["x"]), [""; 0]);
    }

    #[test]
    fn a_later_definition_replaces_the_earlier_for_all_callers() {
        let cells = ["fn a() -> i32 { 1 }", "fn b() -> i32 { a() }", "fn a() -> i32 { 2 }"];
        let found = reached(&cells, &["b"]);
        assert_eq!(found, ["fn b() -> i32 { a() }", "fn a() -> i32 { 2 }"]);
    }

    #[test]
    fn a_method_reaches_its_trait_and_the_impls() {
        let cells = [
            "trait Twice { fn twice(&self) -> i32; }",
            "impl Twice for i32 { fn twice(&self) -> i32 { 2 * self } }",
        ];
        assert_eq!(reached(&cells, &["twice"]).len(), 2);
        assert_eq!(reached(&cells, &["i32"]), [""; 0]);
    }

    #[test]
    fn inherent_impls_are_replaced_by_those_with_a_common_method() {
        let cells = [
            "struct P;",
            "impl P { fn a() {} }",
            "impl P { fn b() {} }",
            "impl P { fn a() { 1; } }",
        ];
        assert_eq!(
            reached(&cells, &["P"]),
            ["struct P;", "impl P { fn b() {} }", "impl P { fn a() { 1; } }"]
        );
    }

    #[test]
    fn a_changed_type_changes_the_types_that_contain_it() {
        let (before, _) = session(&["struct A(i32);", "struct B(A);", "struct C;"]);
        let (same, _) = session(&["struct A(i32);", "struct B(A);", "struct C;"]);
        let (after, _) = session(&["struct B(A);", "struct C;", "struct A(u8);"]);
        assert!(same.changed_types(&before).is_empty());
        let changed = after.changed_types(&before);
        assert_eq!(changed, HashSet::from(["A".to_owned(), "B".to_owned()]));
    }
}
