//! What a source defines, as far as completion and tooltips need it: read by syn, without types
//! that would have to be inferred.

use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, GenericParam, Generics, Item, Member, Signature, UseTree};

use super::shape::Shape;
use crate::engine::tokens::is_word;

/// How a name is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// By itself.
    Name,
    /// After `value.`.
    Dot,
    /// After `Type::` or `module::`.
    Path,
    /// After both: a method.
    Both,
}

/// One name.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) kind: &'static str,
    /// The type, trait or module that it belongs to.
    pub(super) owner: Option<String>,
    pub(super) reach: Reach,
    /// For a function its signature, for a value its type.
    pub(super) signature: Option<String>,
    /// What a short tooltip shows.
    pub(super) outline: String,
    /// What a long one shows.
    pub(super) source: String,
    /// The text of its doc comments.
    pub(super) docs: String,
    /// A value's type, what a function returns, what an alias stands for.
    pub(super) shape: Option<Shape>,
    /// A type's parameters.
    pub(super) parameters: Vec<String>,
}

impl Fact {
    /// A variable.
    pub(super) fn variable(name: &str, mutable: bool, type_name: Option<&str>) -> Fact {
        let mutability = if mutable { "mut " } else { "" };
        let short = type_name.map(short);
        let outline = match &short {
            Some(type_name) => format!("let {mutability}{name}: {type_name}"),
            None => format!("let {mutability}{name}"),
        };
        Fact {
            name: name.to_owned(),
            kind: "instance",
            owner: None,
            reach: Reach::Name,
            signature: short,
            source: outline.clone(),
            outline,
            docs: String::new(),
            shape: type_name.and_then(Shape::parse),
            parameters: Vec::new(),
        }
    }

    /// Whether it is a variable.
    pub(super) fn is_variable(&self) -> bool {
        self.kind == "instance"
    }
}

/// Everything that a source defines.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Later ones take the place of earlier ones of the same name.
    pub(super) all: Vec<Fact>,
    /// Types and the traits that they implement; the type `*` stands for all.
    pub(super) implemented: Vec<(String, String)>,
}

impl Facts {
    /// What a file of items defines. What cannot be parsed defines nothing.
    pub(super) fn of_items(text: &str) -> Facts {
        proc_macro2::extra::invalidate_current_thread_spans();
        let mut facts = Facts::default();
        for item in syn::parse_file(text).map(|file| file.items).unwrap_or_default() {
            facts.add(&item, text);
        }
        facts
    }

    /// The last fact of this name that is reached by itself.
    pub(super) fn named(&self, name: &str) -> Option<&Fact> {
        self.all.iter().rev().find(|fact| fact.reach == Reach::Name && fact.name == name)
    }

    /// Adds what an item of `text` defines.
    pub(super) fn add(&mut self, item: &Item, text: &str) {
        Builder { facts: self, text, module: None }.item(item);
    }
}

/// Adds facts about one item after the other.
struct Builder<'a> {
    facts: &'a mut Facts,
    text: &'a str,
    module: Option<String>,
}

/// What the parts of an item have in common.
struct Part<'a> {
    attributes: &'a [Attribute],
    node: &'a dyn ToTokens,
}

impl Builder<'_> {
    fn item(&mut self, item: &Item) {
        let part = |attributes| Part { attributes, node: item };
        match item {
            Item::Fn(i) => self.function(None, &i.sig, &part(&i.attrs)),
            Item::Struct(i) => {
                self.type_of(&i.ident, "struct", &i.generics, &part(&i.attrs));
                self.fields(&i.ident, &i.fields);
            }
            Item::Union(i) => {
                self.type_of(&i.ident, "union", &i.generics, &part(&i.attrs));
                self.fields(&i.ident, &syn::Fields::Named(i.fields.clone()));
            }
            Item::Enum(i) => {
                self.type_of(&i.ident, "enum", &i.generics, &part(&i.attrs));
                self.variants(i);
            }
            Item::Const(i) => self.value(&i.ident, "const", &i.ty, &part(&i.attrs)),
            Item::Static(i) => self.value(&i.ident, "static", &i.ty, &part(&i.attrs)),
            Item::Type(i) => {
                self.type_of(&i.ident, "type", &i.generics, &part(&i.attrs));
                if let Some(fact) = self.facts.all.last_mut() {
                    fact.shape = Shape::of(&i.ty);
                }
            }
            Item::Trait(i) => self.trait_of(i, &part(&i.attrs)),
            Item::Impl(i) => self.implementation(i),
            Item::Mod(i) => self.module_of(i, &part(&i.attrs)),
            Item::Use(i) => self.uses(&i.tree, &mut Vec::new()),
            Item::Macro(i) => {
                if let Some(name) = &i.ident {
                    let name = format!("{name}!");
                    self.push(&name, "macro", None, Reach::Name, &part(&i.attrs));
                }
            }
            _ => {}
        }
    }

    /// Adds a fact; what differs from the usual is set by the caller.
    fn push(
        &mut self,
        name: &str,
        kind: &'static str,
        owner: Option<&str>,
        reach: Reach,
        part: &Part<'_>,
    ) -> &mut Fact {
        let source = self.slice(part.node).to_owned();
        let owner = owner.map(str::to_owned).or_else(|| self.module.clone());
        let reach = if reach == Reach::Name && owner.is_some() { Reach::Path } else { reach };
        self.facts.all.push(Fact {
            name: name.to_owned(),
            kind,
            owner,
            reach,
            signature: None,
            outline: self.without_attributes(part).to_owned(),
            source,
            docs: docs(part.attributes),
            shape: None,
            parameters: Vec::new(),
        });
        self.facts.all.last_mut().expect("pushed just above")
    }

    fn function(&mut self, owner: Option<&str>, signature: &Signature, part: &Part<'_>) {
        let has_self = signature.receiver().is_some();
        let reach = match (owner, has_self) {
            (None, _) => Reach::Name,
            (Some(_), true) => Reach::Both,
            (Some(_), false) => Reach::Path,
        };
        let kind = if has_self { "method" } else { "function" };
        let written = self.slice(signature).to_owned();
        let shape = Shape::returned(&signature.output);
        let shape = shape.map(|shape| own(&shape, owner));
        let fact = self.push(&signature.ident.to_string(), kind, owner, reach, part);
        fact.signature = Some(one_line(&written));
        fact.outline = written;
        fact.shape = shape;
    }

    fn type_of(
        &mut self,
        name: &syn::Ident,
        kind: &'static str,
        generics: &Generics,
        part: &Part<'_>,
    ) {
        let name = name.to_string();
        for attribute in part.attributes.iter().filter(|a| a.path().is_ident("derive")) {
            // A derive that cannot be read derives nothing that could be offered.
            let _ = attribute.parse_nested_meta(|derived| {
                let of = derived.path.segments.last().map(|s| s.ident.to_string());
                self.facts.implemented.extend(of.map(|of| (name.clone(), of)));
                Ok(())
            });
        }
        let fact = self.push(&name, kind, None, Reach::Name, part);
        fact.parameters = parameters(generics);
    }

    fn fields(&mut self, owner: &syn::Ident, fields: &syn::Fields) {
        let owner = owner.to_string();
        for (index, field) in fields.iter().enumerate() {
            let name = field.ident.clone().map_or(Member::from(index), Member::Named);
            let name = name.to_token_stream().to_string();
            let part = Part { attributes: &field.attrs, node: field };
            let written = one_line(self.slice(&field.ty));
            let fact = self.push(&name, "field", Some(&owner), Reach::Dot, &part);
            fact.signature = Some(written);
            fact.shape = Shape::of(&field.ty);
        }
    }

    fn variants(&mut self, node: &syn::ItemEnum) {
        let owner = node.ident.to_string();
        for variant in &node.variants {
            let part = Part { attributes: &variant.attrs, node: variant };
            let name = variant.ident.to_string();
            let fact = self.push(&name, "variant", Some(&owner), Reach::Path, &part);
            fact.signature = Some(one_line(&fact.outline));
            fact.shape = Some(Shape::plain(&owner));
        }
    }

    fn value(&mut self, name: &syn::Ident, kind: &'static str, ty: &syn::Type, part: &Part<'_>) {
        let written = one_line(self.slice(ty));
        let fact = self.push(&name.to_string(), kind, None, Reach::Name, part);
        fact.signature = Some(written);
        fact.shape = Shape::of(ty);
    }

    fn trait_of(&mut self, node: &syn::ItemTrait, part: &Part<'_>) {
        let owner = node.ident.to_string();
        self.push(&owner, "trait", None, Reach::Name, part);
        for member in &node.items {
            match member {
                syn::TraitItem::Fn(f) => {
                    let part = Part { attributes: &f.attrs, node: member };
                    self.function(Some(&owner), &f.sig, &part);
                }
                syn::TraitItem::Const(c) => {
                    self.constant(&owner, &c.ident, &c.ty, &c.attrs, member)
                }
                _ => {}
            }
        }
    }

    fn implementation(&mut self, node: &syn::ItemImpl) {
        let Some(Shape { head, .. }) = Shape::of(&node.self_ty) else { return };
        let all = parameters(&node.generics).contains(&head);
        let owner = if all { "*" } else { &head };
        if let Some((_, path, _)) = &node.trait_ {
            let of = Shape::of_path(path).head;
            self.facts.implemented.push((owner.to_owned(), of));
            if all {
                return;
            }
        }
        for member in &node.items {
            match member {
                syn::ImplItem::Fn(f) => {
                    let part = Part { attributes: &f.attrs, node: member };
                    self.function(Some(owner), &f.sig, &part);
                }
                syn::ImplItem::Const(c) => self.constant(owner, &c.ident, &c.ty, &c.attrs, member),
                _ => {}
            }
        }
    }

    fn constant(
        &mut self,
        owner: &str,
        name: &syn::Ident,
        ty: &syn::Type,
        attributes: &[Attribute],
        node: &dyn ToTokens,
    ) {
        let written = one_line(self.slice(ty));
        let part = Part { attributes, node };
        let fact = self.push(&name.to_string(), "const", Some(owner), Reach::Path, &part);
        fact.signature = Some(written);
        fact.shape = Shape::of(ty).map(|shape| own(&shape, Some(owner)));
    }

    fn module_of(&mut self, node: &syn::ItemMod, part: &Part<'_>) {
        let name = node.ident.to_string();
        self.push(&name, "module", None, Reach::Name, part);
        let outer = self.module.replace(name);
        for item in node.content.iter().flat_map(|(_, items)| items) {
            self.item(item);
        }
        self.module = outer;
    }

    fn uses(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        match tree {
            UseTree::Path(p) => {
                path.push(p.ident.to_string());
                self.uses(&p.tree, path);
                path.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.uses(tree, path)),
            UseTree::Name(name) if name.ident == "self" => {
                if let Some(module) = path.last().cloned() {
                    self.used(&module, "module", path, None);
                }
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.used(&name, guessed(&name), &with(path, &name), None);
            }
            UseTree::Rename(renamed) if renamed.rename != "_" => {
                let (of, name) = (renamed.ident.to_string(), renamed.rename.to_string());
                self.used(&name, guessed(&of), &with(path, &of), Some(Shape::plain(&of)));
            }
            UseTree::Rename(_) | UseTree::Glob(_) => {}
        }
    }

    fn used(&mut self, name: &str, kind: &'static str, path: &[String], shape: Option<Shape>) {
        let source = format!("use {}", path.join("::"));
        let owner = self.module.clone();
        self.facts.all.push(Fact {
            kind,
            reach: if owner.is_some() { Reach::Path } else { Reach::Name },
            owner,
            outline: source.clone(),
            source,
            shape,
            ..Fact::variable(name, false, None)
        });
    }

    /// The text of a part of the source.
    fn slice(&self, node: &(impl ToTokens + ?Sized)) -> &str {
        let mut spans = node.to_token_stream().into_iter().map(|t| t.span().byte_range());
        let Some(first) = spans.next() else { return "" };
        let end = spans.last().map_or(first.end, |span| span.end);
        self.text.get(first.start..end).unwrap_or_default()
    }

    fn without_attributes(&self, part: &Part<'_>) -> &str {
        let whole = self.slice(part.node);
        let Some(last) = part.attributes.iter().rfind(|a| is_outer(a)) else { return whole };
        let offset = whole.as_ptr() as usize - self.text.as_ptr() as usize;
        let end =
            last.span().byte_range().end.max(last.bracket_token.span.close().byte_range().end);
        whole.get(end.saturating_sub(offset)..).unwrap_or(whole).trim_start()
    }
}

fn is_outer(attribute: &Attribute) -> bool {
    matches!(attribute.style, syn::AttrStyle::Outer)
}

fn with(path: &[String], name: &str) -> Vec<String> {
    path.iter().cloned().chain([name.to_owned()]).collect()
}

/// What a name stands for that was brought in from elsewhere.
fn guessed(name: &str) -> &'static str {
    if name.starts_with(char::is_uppercase) { "struct" } else { "module" }
}

/// With its owner in place of `Self`.
fn own(shape: &Shape, owner: Option<&str>) -> Shape {
    shape.with(&|head| (head == "Self").then(|| owner.map(Shape::plain)).flatten())
}

fn parameters(generics: &Generics) -> Vec<String> {
    let name = |parameter: &GenericParam| match parameter {
        GenericParam::Type(ty) => Some(ty.ident.to_string()),
        _ => None,
    };
    generics.params.iter().filter_map(name).collect()
}

/// The text of doc comments, a space after `///` removed.
fn docs(attributes: &[Attribute]) -> String {
    let line = |attribute: &Attribute| {
        let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
        let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value else {
            return None;
        };
        let text = text.value();
        let plain = text.strip_prefix(' ').map(str::to_owned);
        pair.path.is_ident("doc").then(|| plain.unwrap_or(text))
    };
    attributes.iter().filter_map(line).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// A type without the modules that its names are in.
fn short(type_name: &str) -> String {
    let is_path = |c: char| is_word(c) || c == ':';
    let mut text = String::new();
    let mut rest = type_name;
    while let Some(start) = rest.find(is_path) {
        let end = start + rest[start..].find(|c| !is_path(c)).unwrap_or(rest.len() - start);
        let path = &rest[start..end];
        text += &rest[..start];
        text += path.rsplit_once("::").map_or(path, |(_, name)| name);
        rest = &rest[end..];
    }
    text + rest
}

/// A text without its line breaks.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The type of an argument.
pub(super) fn argument(argument: &FnArg) -> Option<(&syn::Pat, Option<Shape>)> {
    match argument {
        FnArg::Typed(typed) => Some((&typed.pat, Shape::of(&typed.ty))),
        FnArg::Receiver(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEMS: &str = "/// A point.\n/// In a plane.\n#[derive(Clone)]\npub struct Point { x: f64, pub y: f64 }\n\
        impl Point { fn new() -> Self { Point { x: 0., y: 0. } }\n\
        /// From here\n fn norm(&self,\n p: i32) -> f64 { self.x } }\n\
        trait Area { const SIDES: u8; fn area(&self) -> f64 { 0. } }\n\
        impl Area for Point {}\n impl<T> Twice for T {}\n\
        enum Shape { Circle(f64), Nothing }\n\
        mod geo { pub fn far() -> i32 { 1 } }\n\
        use std::collections::HashMap as Map;\n\
        macro_rules! twice { ($e:expr) => { $e } }";

    fn fact<'a>(facts: &'a Facts, name: &str) -> &'a Fact {
        facts.all.iter().find(|fact| fact.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    #[test]
    fn items_and_their_members_are_known() {
        let facts = Facts::of_items(ITEMS);
        let point = fact(&facts, "Point");
        assert_eq!(point.docs, "A point.\nIn a plane.");
        assert_eq!(point.outline, "pub struct Point { x: f64, pub y: f64 }");
        assert!(point.source.starts_with("/// A point."));
        let (new, norm) = (fact(&facts, "new"), fact(&facts, "norm"));
        assert_eq!((new.reach, new.shape.clone()), (Reach::Path, Some(Shape::plain("Point"))));
        assert_eq!(norm.signature.as_deref(), Some("fn norm(&self, p: i32) -> f64"));
        assert_eq!((norm.reach, norm.docs.as_str()), (Reach::Both, "From here"));
        assert_eq!(fact(&facts, "y").signature.as_deref(), Some("f64"));
        assert_eq!(fact(&facts, "Circle").owner.as_deref(), Some("Shape"));
        assert_eq!(fact(&facts, "far").owner.as_deref(), Some("geo"));
        assert_eq!(fact(&facts, "Map").shape, Some(Shape::plain("HashMap")));
        assert_eq!(short("[std::vec::Vec<&'a alloc::S>; 3]"), "[Vec<&'a S>; 3]");
        assert!(facts.named("twice!").is_some() && facts.named("far").is_none());
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let implemented = [pair("Point", "Clone"), pair("Point", "Area"), pair("*", "Twice")];
        assert_eq!(facts.implemented, implemented);
    }
}
