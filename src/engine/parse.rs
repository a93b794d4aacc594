//! Takes a cell apart: which parts are items, which names its statements bind and mention, and
//! which expression at the end is its value. What cannot be parsed goes to rustc as it is.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::visit::Visit;
use syn::{Block, Expr, Item, Macro, Pat, Stmt, UseTree};

use super::macros::{Meaning, Shape, Shapes, meaning, shape_of};
use super::statics::{Finder, Static, declares_statics};

/// A cell taken apart. Ranges are bytes of its source.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// Whether the cell could be parsed at all.
    pub(super) whole: bool,
    /// Attributes of the whole crate, which has none but parcell's.
    pub(super) attributes: Vec<Range<usize>>,
    pub(super) items: Vec<ParsedItem>,
    /// The last expression, if the cell has a value to show.
    pub(super) tail: Option<Range<usize>>,
    /// Where the last statement begins that is no item.
    pub(super) last_statement: usize,
    /// Variables bound at the top level, in order, the last binding of a name only.
    pub(super) bindings: Vec<Binding>,
    /// How often the statements mention a name, in strings' `{name}` too.
    pub(super) mentions: HashMap<String, usize>,
    /// Whether the statements await something themselves.
    pub(super) awaits: bool,
    /// Variables to which, or to parts of which, the statements assign.
    pub(super) assigned: HashSet<String>,
}

/// A top-level `let`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) mutable: bool,
    /// The type as written, where it is complete.
    pub(super) type_name: Option<String>,
    /// How often the cell binds this name.
    pub(super) times: usize,
    /// Where it is bound last.
    pub(super) at: Range<usize>,
    /// Whether a macro may bind it, or may not.
    pub(super) tentative: bool,
}

/// An item of a cell.
#[derive(Debug, Clone)]
pub(super) struct ParsedItem {
    pub(super) range: Range<usize>,
    pub(super) key: Key,
    /// Names by which other code reaches it.
    pub(super) reached_by: Vec<String>,
    /// Every identifier in it.
    pub(super) mentions: Vec<String>,
    pub(super) text: String,
    pub(super) kind: &'static str,
    /// The statics in it.
    pub(super) statics: Vec<Static>,
    /// Native libraries that its `#[link]` attributes name.
    pub(super) native: Vec<String>,
    /// For a macro, what its calls make.
    pub(super) shape: Option<Shape>,
    /// For an inherent `impl`, where its members stand.
    pub(super) members: Vec<(String, Range<usize>)>,
    /// Where `pub` would have to stand for all in a module to be seen from outside.
    pub(super) private: Vec<usize>,
}

/// What an item replaces when it is defined again: the item with an equal key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A named item, in one of Rust's name spaces.
    Named(Space, String),
    /// An `impl`, by its header. Of inherent ones there can be several with different members.
    Impl(String, Vec<String>),
    /// A `use` of one name.
    Use(String),
    /// A `use` of everything in a path, or something else without a name.
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Space {
    Type,
    Value,
    Macro,
}

/// Parses a cell; `None` if it is not Rust as `syn` knows it. `shapes` are those of the session's
/// macros.
pub(super) fn parse(code: &str, shapes: &Shapes) -> Option<Parsed> {
    proc_macro2::extra::invalidate_current_thread_spans();
    let parser = |input: ParseStream<'_>| {
        Ok((input.call(syn::Attribute::parse_inner)?, input.call(Block::parse_within)?))
    };
    let (attributes, statements) = parser.parse_str(code).ok()?;
    let mut shapes = shapes.clone();
    shapes.extend(statements.iter().filter_map(|s| match s {
        Stmt::Item(item) => shape_of(item),
        _ => None,
    }));
    let attributes = attributes.iter().map(range).collect();
    let mut parsed = Parsed { whole: true, attributes, ..Parsed::default() };
    let last = statements.len().saturating_sub(1);
    for (index, statement) in statements.iter().enumerate() {
        if let Some(items) = items_of(statement, code, &shapes) {
            parsed.items.extend(items);
            continue;
        }
        parsed.last_statement = range(statement).start;
        count_mentions(statement.to_token_stream(), &mut parsed.mentions);
        let mut awaits = Awaits(false);
        awaits.visit_stmt(statement);
        parsed.awaits |= awaits.0;
        Assigned(&mut parsed.assigned).visit_stmt(statement);
        if let Stmt::Local(local) = statement {
            bind(&local.pat, code, &mut parsed.bindings);
            let conditional = local.attrs.iter().any(|a| a.path().is_ident("cfg"));
            parsed.bindings.iter_mut().for_each(|b| b.tentative |= conditional);
        }
        if let Stmt::Macro(call) = statement {
            bind_by_macro(call, &shapes, &mut parsed.bindings);
        }
        if index == last {
            parsed.tail = tail(statement);
        }
    }
    Some(parsed)
}

/// The range of the expression whose value the cell shows.
fn tail(statement: &Stmt) -> Option<Range<usize>> {
    match statement {
        Stmt::Expr(expression, None) => (!diverges(expression)).then(|| range(expression)),
        Stmt::Macro(call) if call.semi_token.is_none() => {
            (!never_returns(&call.mac)).then(|| range(call))
        }
        _ => None,
    }
}

fn diverges(expression: &Expr) -> bool {
    match expression {
        Expr::Return(_) | Expr::Break(_) | Expr::Continue(_) | Expr::Assign(_) => true,
        Expr::While(_) | Expr::ForLoop(_) => true,
        Expr::Loop(endless) => !breaks_with_value(&endless.body),
        Expr::Macro(call) => never_returns(&call.mac),
        _ => false,
    }
}

/// Whether a `break` of this loop gives it a value.
fn breaks_with_value(body: &Block) -> bool {
    struct Breaks(bool);
    impl Visit<'_> for Breaks {
        fn visit_expr_break(&mut self, node: &syn::ExprBreak) {
            self.0 |= node.expr.is_some();
        }
        fn visit_expr_closure(&mut self, _: &syn::ExprClosure) {}
        fn visit_item(&mut self, _: &Item) {}
    }
    let mut breaks = Breaks(false);
    breaks.visit_block(body);
    breaks.0
}

fn never_returns(mac: &Macro) -> bool {
    let name = mac.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
    ["panic", "todo", "unimplemented", "unreachable", "compile_error"].contains(&name.as_str())
}

/// From the first byte of the first token to the last byte of the last.
pub(super) fn range(node: &impl ToTokens) -> Range<usize> {
    let mut spans = node.to_token_stream().into_iter().map(|t| t.span().byte_range());
    let first = spans.next().unwrap_or_default();
    let end = spans.last().map_or(first.end, |s| s.end);
    first.start..end
}

/// Collects the names that a pattern binds.
fn bind(pattern: &Pat, code: &str, bindings: &mut Vec<Binding>) {
    struct Names<'a>(&'a mut Vec<Binding>, Option<String>);
    impl Visit<'_> for Names<'_> {
        fn visit_pat_ident(&mut self, p: &syn::PatIdent) {
            let name = p.ident.to_string();
            // `None`, `MAX`: a constant to compare with, not a name to bind.
            if p.subpat.is_some() || !name.starts_with(char::is_uppercase) {
                let earlier = self.0.iter().position(|b| b.name == name);
                let times = earlier.map_or(1, |index| self.0.remove(index).times + 1);
                let (mutable, type_name) = (p.mutability.is_some(), self.1.clone());
                let at = p.ident.span().byte_range();
                self.0.push(Binding { name, mutable, type_name, times, at, tentative: false });
            }
            syn::visit::visit_pat_ident(self, p);
        }
        fn visit_expr(&mut self, _: &Expr) {}
    }
    match pattern {
        Pat::Type(typed) if matches!(*typed.pat, Pat::Ident(_)) => {
            Names(bindings, complete_type(&typed.ty, code)).visit_pat(&typed.pat);
        }
        Pat::Type(typed) => Names(bindings, None).visit_pat(&typed.pat),
        other => Names(bindings, None).visit_pat(other),
    }
}

/// Names that the call of a macro may bind.
fn bind_by_macro(call: &syn::StmtMacro, shapes: &Shapes, bindings: &mut Vec<Binding>) {
    let Meaning::Bindings(names) = meaning(&call.mac, shapes) else { return };
    for name in names {
        let earlier = bindings.iter().position(|b| b.name == name);
        let times = earlier.map_or(1, |index| bindings.remove(index).times + 1);
        let at = range(call);
        let (mutable, type_name) = (false, None);
        bindings.push(Binding { name, mutable, type_name, times, at, tentative: true });
    }
}

/// The text of a type that names everything: no `_`, no `impl`, no borrow.
fn complete_type(ty: &syn::Type, code: &str) -> Option<String> {
    struct Open(bool);
    impl Visit<'_> for Open {
        fn visit_type_infer(&mut self, _: &syn::TypeInfer) {
            self.0 = true;
        }
        fn visit_type_impl_trait(&mut self, _: &syn::TypeImplTrait) {
            self.0 = true;
        }
        fn visit_type_reference(&mut self, _: &syn::TypeReference) {
            self.0 = true;
        }
        fn visit_type_macro(&mut self, _: &syn::TypeMacro) {
            self.0 = true;
        }
        fn visit_lifetime(&mut self, _: &syn::Lifetime) {
            self.0 = true;
        }
        // Array lengths may name constants of the cell, and defaults may be left out of paths.
        fn visit_type_array(&mut self, _: &syn::TypeArray) {
            self.0 = true;
        }
    }
    let mut open = Open(false);
    open.visit_type(ty);
    // Generated code counts lines: a type that takes several is asked for instead.
    let written = &code[range(ty)];
    (!open.0 && !written.contains('\n')).then(|| written.to_owned())
}

/// Finds what is assigned to.
struct Assigned<'a>(&'a mut HashSet<String>);

impl Visit<'_> for Assigned<'_> {
    fn visit_expr_assign(&mut self, node: &syn::ExprAssign) {
        let mut target = &*node.left;
        loop {
            target = match target {
                Expr::Field(field) => &field.base,
                Expr::Index(index) => &index.expr,
                Expr::Path(path) => {
                    self.0.extend(path.path.get_ident().map(ToString::to_string));
                    break;
                }
                _ => break,
            };
        }
        syn::visit::visit_expr_assign(self, node);
    }
}

/// Macros of tokio and futures that await.
const AWAITING: [&str; 3] = ["join", "try_join", "select"];

/// Finds awaits that belong to the cell itself, not to an async block or function in it.
struct Awaits(bool);

impl Visit<'_> for Awaits {
    fn visit_expr_await(&mut self, _: &syn::ExprAwait) {
        self.0 = true;
    }
    fn visit_expr_async(&mut self, _: &syn::ExprAsync) {}
    fn visit_expr_closure(&mut self, _: &syn::ExprClosure) {}
    fn visit_item(&mut self, _: &Item) {}
    fn visit_macro(&mut self, mac: &Macro) {
        let name = mac.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
        let mut names = HashMap::new();
        count_mentions(mac.tokens.clone(), &mut names);
        self.0 |= AWAITING.contains(&name.as_str())
            || names.contains_key("await") && !names.contains_key("async");
    }
}

/// Counts every identifier in the tokens, and every `{name` in string literals.
pub(super) fn count_mentions(tokens: TokenStream, counts: &mut HashMap<String, usize>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => count_mentions(group.stream(), counts),
            TokenTree::Ident(name) => *counts.entry(name.to_string()).or_default() += 1,
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                for name in text.split('{').skip(1).flat_map(names_in_placeholder) {
                    *counts.entry(name.to_owned()).or_default() += 1;
                }
            }
            TokenTree::Punct(_) => {}
        }
    }
}

/// The names in what follows a brace in a format string: `name:width$.precision$}`.
fn names_in_placeholder(text: &str) -> impl Iterator<Item = &str> {
    let inner = text.split('}').next().unwrap_or_default();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let value = inner.split(|c| !is_word(c)).next();
    let sizes = inner
        .match_indices('$')
        .filter_map(move |(at, _)| inner[..at].rsplit(|c| !is_word(c)).next());
    value.into_iter().chain(sizes)
}

/// The items of a statement; `None` if it is none.
fn items_of(statement: &Stmt, code: &str, shapes: &Shapes) -> Option<Vec<ParsedItem>> {
    let mut statics = Finder::default();
    statics.visit_stmt(statement);
    let mut items = match statement {
        Stmt::Item(item) => describe(item, code),
        Stmt::Macro(call) if declares_statics(&call.mac) => {
            let names: Vec<String> = statics.found.iter().map(|s| s.name.clone()).collect();
            let key = match names.as_slice() {
                [one] => Key::Named(Space::Value, one.clone()),
                _ => Key::Text(names.join(" ")),
            };
            vec![item(call, code, key, names, "static")]
        }
        Stmt::Macro(call) => {
            let Meaning::Items(names) = meaning(&call.mac, shapes) else { return None };
            let key = Key::Text(call.to_token_stream().to_string());
            vec![item(call, code, key, names.into_iter().collect(), "macro call")]
        }
        _ => return None,
    };
    // A `use` makes several items and holds no static.
    if let ([one], Stmt::Item(node)) = (items.as_mut_slice(), statement) {
        one.shape = shape_of(node).map(|(_, shape)| shape);
        one.members = members_of(node);
        one.private = private_in(node);
    }
    if let [one] = items.as_mut_slice() {
        one.statics = statics.found;
    }
    Some(items)
}

/// The members of an inherent `impl`.
fn members_of(node: &Item) -> Vec<(String, Range<usize>)> {
    let Item::Impl(syn::ItemImpl { trait_: None, items, .. }) = node else { return Vec::new() };
    let named = |member: &syn::ImplItem| match member {
        syn::ImplItem::Fn(f) => Some((f.sig.ident.to_string(), range(member))),
        syn::ImplItem::Const(c) => Some((c.ident.to_string(), range(member))),
        _ => None,
    };
    items.iter().filter_map(named).collect()
}

/// Where the modules and types in a module lack a `pub`.
fn private_in(node: &Item) -> Vec<usize> {
    struct Private(Vec<usize>);
    impl Private {
        fn note(&mut self, visibility: &syn::Visibility, word: proc_macro2::Span) {
            if matches!(visibility, syn::Visibility::Inherited) {
                self.0.push(word.byte_range().start);
            }
        }
    }
    impl Visit<'_> for Private {
        fn visit_item(&mut self, item: &Item) {
            match item {
                Item::Mod(i) if i.unsafety.is_none() => self.note(&i.vis, i.mod_token.span),
                Item::Struct(i) => self.note(&i.vis, i.struct_token.span),
                Item::Enum(i) => self.note(&i.vis, i.enum_token.span),
                _ => {}
            }
            syn::visit::visit_item(self, item);
        }
        fn visit_block(&mut self, _: &Block) {}
    }
    let mut private = Private(Vec::new());
    if let Item::Mod(module) = node {
        syn::visit::visit_item_mod(&mut private, module);
    }
    private.0
}

fn item(
    node: &impl ToTokens,
    code: &str,
    key: Key,
    reached_by: Vec<String>,
    kind: &'static str,
) -> ParsedItem {
    let mut counts = HashMap::new();
    count_mentions(node.to_token_stream(), &mut counts);
    let range = range(node);
    let text = code[range.clone()].to_owned();
    ParsedItem {
        range,
        key,
        reached_by,
        mentions: counts.into_keys().collect(),
        text,
        kind,
        statics: Vec::new(),
        native: Vec::new(),
        shape: None,
        members: Vec::new(),
        private: Vec::new(),
    }
}

fn describe(node: &Item, code: &str) -> Vec<ParsedItem> {
    let named = |space, name: &syn::Ident, kind| {
        let name = name.to_string();
        vec![item(node, code, Key::Named(space, name.clone()), vec![name], kind)]
    };
    match node {
        Item::Fn(i) => named(Space::Value, &i.sig.ident, "function"),
        Item::Const(i) if i.ident == "_" => other(node, code),
        Item::Const(i) => named(Space::Value, &i.ident, "const"),
        Item::Static(i) => named(Space::Value, &i.ident, "static"),
        Item::Struct(i) => named(Space::Type, &i.ident, "struct"),
        Item::Enum(i) => named(Space::Type, &i.ident, "enum"),
        Item::Union(i) => named(Space::Type, &i.ident, "union"),
        Item::Type(i) => named(Space::Type, &i.ident, "type"),
        Item::Mod(i) => named(Space::Type, &i.ident, "module"),
        Item::Macro(syn::ItemMacro { ident: Some(name), .. }) => named(Space::Macro, name, "macro"),
        Item::Trait(i) => {
            let name = i.ident.to_string();
            let reached_by = std::iter::once(name.clone()).chain(members(i)).collect();
            vec![item(node, code, Key::Named(Space::Type, name), reached_by, "trait")]
        }
        Item::Impl(i) => vec![item(node, code, impl_key(i), impl_names(i), "impl")],
        Item::Use(i) => uses(i, code),
        Item::ForeignMod(i) => {
            let mut items = other(node, code);
            items[0].native = i.attrs.iter().filter_map(linked_library).collect();
            items
        }
        _ => other(node, code),
    }
}

/// The name in `#[link(name = "…")]`.
fn linked_library(attribute: &syn::Attribute) -> Option<String> {
    if !attribute.path().is_ident("link") {
        return None;
    }
    let mut name = None;
    // What is malformed is rustc's to complain of.
    let _ = attribute.parse_nested_meta(|meta| {
        let value: syn::LitStr = meta.value()?.parse()?;
        if meta.path.is_ident("name") {
            name = Some(value.value());
        }
        Ok(())
    });
    name
}

fn other(node: &Item, code: &str) -> Vec<ParsedItem> {
    let key = Key::Text(node.to_token_stream().to_string());
    vec![item(node, code, key, Vec::new(), "item")]
}

/// Methods and constants of a trait: code that calls them reaches the trait without naming it.
fn members(node: &syn::ItemTrait) -> impl Iterator<Item = String> {
    node.items.iter().filter_map(|member| match member {
        syn::TraitItem::Fn(f) => Some(f.sig.ident.to_string()),
        syn::TraitItem::Const(c) => Some(c.ident.to_string()),
        _ => None,
    })
}

fn impl_key(node: &syn::ItemImpl) -> Key {
    let tokens = |t: &dyn ToTokens| t.to_token_stream().to_string();
    let of = node.trait_.as_ref().map(|(_, path, _)| tokens(path));
    let members = node.items.iter().filter_map(|member| match member {
        syn::ImplItem::Fn(f) => Some(f.sig.ident.to_string()),
        syn::ImplItem::Const(c) => Some(c.ident.to_string()),
        _ => None,
    });
    let members = if of.is_some() { Vec::new() } else { members.collect() };
    let (generics, of) = (tokens(&node.generics), of.unwrap_or_default());
    Key::Impl(format!("{generics} {of} for {}", tokens(&node.self_ty)), members)
}

impl Key {
    /// Whether an item of this key takes the place of an earlier one.
    pub(super) fn replaces(&self, earlier: &Key) -> bool {
        let overlap = |a: &[String], b: &[String]| a.is_empty() || a.iter().any(|m| b.contains(m));
        match (self, earlier) {
            (Key::Impl(a, members), Key::Impl(b, others)) => a == b && overlap(members, others),
            (Key::Use(name), Key::Named(_, other)) | (Key::Named(_, other), Key::Use(name)) => {
                name == other
            }
            (a, b) => a == b,
        }
    }
}

/// Names in an `impl` header: reaching one of them that the session defines reaches the `impl`.
fn impl_names(node: &syn::ItemImpl) -> Vec<String> {
    let mut names = HashMap::new();
    count_mentions(node.self_ty.to_token_stream(), &mut names);
    if let Some((_, path, _)) = &node.trait_ {
        count_mentions(path.to_token_stream(), &mut names);
    }
    names.into_keys().collect()
}

/// One item for each name that a `use` brings in.
fn uses(node: &syn::ItemUse, code: &str) -> Vec<ParsedItem> {
    let mut leaves = Vec::new();
    let start = if node.leading_colon.is_some() { "::" } else { "" };
    collect_leaves(&node.tree, start.to_owned(), &mut leaves);
    let visibility = node.vis.to_token_stream().to_string();
    let one = |(path, name): (String, Option<String>)| {
        let key = name.map_or_else(|| Key::Text(path.clone()), Key::Use);
        let mut leaf = item(node, code, key, Vec::new(), "use");
        leaf.text = format!("{visibility} use {path};");
        leaf
    };
    leaves.into_iter().map(one).collect()
}

fn collect_leaves(tree: &UseTree, path: String, leaves: &mut Vec<(String, Option<String>)>) {
    match tree {
        UseTree::Path(p) => collect_leaves(&p.tree, format!("{path}{}::", p.ident), leaves),
        UseTree::Group(g) => {
            g.items.iter().for_each(|tree| collect_leaves(tree, path.clone(), leaves));
        }
        UseTree::Glob(_) => leaves.push((format!("{path}*"), None)),
        UseTree::Name(n) if n.ident == "self" => {
            let module = path.trim_end_matches("::");
            let name = module.rsplit("::").next().unwrap_or(module).to_owned();
            leaves.push((module.to_owned(), Some(name)));
        }
        UseTree::Name(n) => leaves.push((format!("{path}{}", n.ident), Some(n.ident.to_string()))),
        UseTree::Rename(r) if r.ident == "self" => {
            let module = path.trim_end_matches("::");
            leaves.push((format!("{module} as {}", r.rename), Some(r.rename.to_string())));
        }
        UseTree::Rename(r) => {
            let name = (r.rename != "_").then(|| r.rename.to_string());
            leaves.push((format!("{path}{} as {}", r.ident, r.rename), name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(code: &str) -> Option<Parsed> {
        super::parse(code, &Shapes::new())
    }

    fn names(parsed: &Parsed) -> Vec<&str> {
        parsed.bindings.iter().map(|b| b.name.as_str()).collect()
    }

    #[test]
    fn bindings_of_all_patterns_are_found() {
        let code = "let (a, mut b) = (1, 2); let P { x, y: [z, ..] } = p; let Some(w) = o else { return };";
        let parsed = parse(code).unwrap();
        assert_eq!(names(&parsed), ["a", "b", "x", "z", "w"]);
        assert!(parsed.bindings[1].mutable && !parsed.bindings[0].mutable);
        assert_eq!(names(&parse("let None = o else { return };").unwrap()), [""; 0]);
    }

    #[test]
    fn a_written_type_is_kept_only_when_complete() {
        let of = |code: &str| parse(code).unwrap().bindings[0].type_name.clone();
        assert_eq!(of("let v: Vec<f64> = f();").as_deref(), Some("Vec<f64>"));
        assert_eq!(of("let v: Vec<_> = f();"), None);
        assert_eq!(of("let s: &str = f();"), None);
    }

    #[test]
    fn the_value_of_a_cell_is_its_last_expression() {
        let tail = |code: &str| parse(code).unwrap().tail.map(|r| code[r].to_owned());
        assert_eq!(tail("let a = 1;\na + 1 // more").as_deref(), Some("a + 1"));
        assert_eq!(tail("vec![1]").as_deref(), Some("vec![1]"));
        assert_eq!(tail("f();"), None);
        assert_eq!(tail("for i in 0..3 { f(i) }"), None);
        assert_eq!(tail("panic!(\"no\")"), None);
        assert_eq!(tail("fn f() {}"), None);
    }

    #[test]
    fn names_in_format_strings_are_mentions() {
        let parsed = parse("println!(\"{total:>5} of {n}\");").unwrap();
        assert!(parsed.mentions.contains_key("total") && parsed.mentions.contains_key("n"));
    }

    #[test]
    fn only_the_cells_own_awaits_count() {
        assert!(parse("f().await;").unwrap().awaits);
        assert!(parse("println!(\"{}\", f().await);").unwrap().awaits);
        assert!(!parse("let h = async { f().await };").unwrap().awaits);
        assert!(!parse("async fn g() { f().await; }").unwrap().awaits);
    }

    #[test]
    fn a_use_is_split_into_its_names() {
        let parsed = parse("use std::{fmt::{self, Write as _}, collections::*};").unwrap();
        let texts: Vec<&str> = parsed.items.iter().map(|i| i.text.trim()).collect();
        assert_eq!(
            texts,
            ["use std::fmt;", "use std::fmt::Write as _;", "use std::collections::*;"]
        );
    }

    #[test]
    fn ranges_are_bytes_also_after_wide_characters() {
        let code = "let é = \"日本\"; é";
        assert_eq!(parse(code).unwrap().tail, Some(code.len() - 2..code.len()));
    }
}
