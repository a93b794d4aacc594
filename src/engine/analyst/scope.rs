//! What is in scope at the cursor: the session's items and variables, those of the cell that runs,
//! and those of the cell that is typed. Types of expressions are followed as far as they are
//! written somewhere.

use syn::parse::Parser;
use syn::visit::{self, Visit};
use syn::{Block, Expr, Item, Pat};

use super::facts::{Fact, Facts, Reach, argument};
use super::shape::Shape;
use super::spot::Spot;
use super::std_names;
use crate::engine::tokens::Tokens;

/// A chain of aliases and contents may not be longer.
const DEEP: usize = 8;

/// All that is in scope.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    /// What the typed cell itself defines.
    pub(super) own: Facts,
    /// Names that the cell binds inside of something: parameters, loops, closures.
    pub(super) inner: Vec<String>,
    /// The running cell's facts, then the session's.
    outer: Vec<&'a Facts>,
}

impl<'a> Scope<'a> {
    /// The scope at a place in a cell: `after` is the code behind the name that is typed.
    pub(super) fn at(spot: &Spot<'_>, before: &str, after: &str, outer: Vec<&'a Facts>) -> Self {
        let before = &before[..spot.start];
        let line = &before[..before.rfind('\n').map_or(0, |at| at + 1)];
        // What is typed is an expression, a statement, or the start of one with a block.
        let whole = ["()", "();"].map(|typed| format!("{before}{typed}{after}"));
        let closed = ["()", "();", "() {}"].map(|typed| closed(&format!("{before}{typed}")));
        let lines = ["", ";"].map(|end| closed_line(line, end));
        let texts = whole.into_iter().chain(closed).chain(lines);
        for text in texts {
            if let Some(scope) = Scope::of_code(&text, outer.clone()) {
                return scope;
            }
        }
        Scope { own: Facts::default(), inner: Vec::new(), outer }
    }

    /// The scope at the end of a cell; `None` if it cannot be parsed.
    pub(super) fn of_code(code: &str, outer: Vec<&'a Facts>) -> Option<Self> {
        proc_macro2::extra::invalidate_current_thread_spans();
        let statements = Block::parse_within.parse_str(code).ok()?;
        let mut scope = Scope { own: Facts::default(), inner: Vec::new(), outer };
        let mut items = Items { scope: &mut scope, code };
        statements.iter().for_each(|statement| items.visit_stmt(statement));
        let mut bindings = Bindings { scope: &mut scope, depth: 0 };
        statements.iter().for_each(|statement| bindings.visit_stmt(statement));
        Some(scope)
    }

    /// What the cell leaves behind when it has run.
    pub(super) fn at_top(mut self) -> Facts {
        let inner = self.inner;
        self.own.all.retain(|fact| !fact.is_variable() || !inner.contains(&fact.name));
        self.own
    }

    /// The facts, nearest first.
    pub(super) fn layers(&self) -> impl Iterator<Item = &Facts> {
        std::iter::once(&self.own).chain(self.outer.iter().copied())
    }

    /// What a name by itself means.
    pub(super) fn named(&self, name: &str) -> Option<&Fact> {
        self.layers().find_map(|facts| facts.named(name))
    }

    /// The type that an alias stands for, or the type itself.
    fn resolved(&self, shape: &Shape) -> Shape {
        let mut shape = shape.clone();
        for _ in 0..DEEP {
            let alias = self.named(&shape.head).filter(|fact| !fact.is_variable());
            let is_alias = |fact: &&Fact| ["type", "struct"].contains(&fact.kind);
            match alias.filter(is_alias).and_then(|fact| fact.shape.clone()) {
                Some(meant) if meant.head != shape.head => shape = meant,
                _ => break,
            }
        }
        shape
    }

    /// A type, what its alias stands for, and what it gives access to by dereferencing.
    pub(super) fn chain(&self, shape: &Shape) -> Vec<Shape> {
        let mut chain = vec![self.resolved(shape)];
        while let Some(content) = chain.last().and_then(Shape::content)
            && chain.len() < DEEP
        {
            chain.push(self.resolved(&content));
        }
        chain
    }

    /// Names of the traits that a type implements.
    pub(super) fn traits(&self, head: &str) -> Vec<&str> {
        let all = self.layers().flat_map(|facts| &facts.implemented);
        all.filter(|(of, _)| of == head || of == "*").map(|(_, name)| name.as_str()).collect()
    }

    /// What belongs to a type, its traits' members included; or what is in a module. In order of
    /// definition, what is nearest first.
    pub(super) fn members(&self, head: &str) -> Vec<&Fact> {
        let traits = self.traits(head);
        let belongs = |fact: &&Fact| {
            fact.owner.as_deref().is_some_and(|owner| owner == head || traits.contains(&owner))
        };
        self.layers().flat_map(|facts| facts.all.iter().filter(belongs)).collect()
    }

    /// The member of this name that a value of a type has.
    pub(super) fn member(&self, shape: &Shape, name: &str) -> Option<&Fact> {
        let of = |shape: &Shape| {
            let mut members = self.members(&shape.head).into_iter();
            members.find(|m| m.name == name && matches!(m.reach, Reach::Dot | Reach::Both))
        };
        self.chain(shape).iter().find_map(of)
    }

    /// What a path's last name means.
    pub(super) fn in_path(&self, path: &[&str], name: &str) -> Option<&Fact> {
        let owner = self.resolved(&Shape::plain(path.last()?)).head;
        let mut members = self.members(&owner).into_iter();
        members.find(|m| m.name == name && matches!(m.reach, Reach::Path | Reach::Both))
    }

    /// The type of the field or of the method's result, the owner's arguments put in.
    fn member_shape(&self, shape: &Shape, name: &str) -> Option<Shape> {
        let fact = self.member(shape, name)?;
        let owner = fact.owner.as_deref()?;
        let value = self.chain(shape).into_iter().find(|s| s.head == owner);
        let parameters = self.named(owner).map(|ty| ty.parameters.clone()).unwrap_or_default();
        fact.shape.as_ref().map(|found| {
            found.with(&|head| {
                if head == "Self" {
                    return Some(shape.clone());
                }
                let index = parameters.iter().position(|parameter| parameter == head)?;
                value.as_ref()?.args.get(index).cloned()
            })
        })
    }

    /// The type of an expression's text.
    pub(super) fn shape_of(&self, expression: &str) -> Option<Shape> {
        self.infer(&syn::parse_str(expression.trim()).ok()?)
    }

    /// The type of an expression, where it is written somewhere.
    fn infer(&self, expression: &Expr) -> Option<Shape> {
        match expression {
            Expr::Lit(literal) => literal_shape(&literal.lit),
            Expr::Path(path) => self.path_shape(&path.path),
            Expr::Paren(e) => self.infer(&e.expr),
            Expr::Group(e) => self.infer(&e.expr),
            Expr::Reference(e) => self.infer(&e.expr),
            Expr::Await(e) => self.infer(&e.base),
            Expr::Unary(e) => self.infer(&e.expr).map(|s| self.dereferenced(e.op, s)),
            Expr::Cast(e) => Shape::of(&e.ty),
            Expr::Try(e) => self.infer(&e.expr)?.args.first().cloned(),
            Expr::Struct(e) => Some(Shape::of_path(&e.path)),
            Expr::Field(e) => {
                let base = self.infer(&e.base)?;
                if let syn::Member::Unnamed(index) = &e.member
                    && base.head == "()"
                {
                    return base.args.get(index.index as usize).cloned();
                }
                self.member_shape(&base, &quote::ToTokens::to_token_stream(&e.member).to_string())
            }
            Expr::MethodCall(e) => {
                let base = self.infer(&e.receiver)?;
                let name = e.method.to_string();
                let own = self.member(&base, &name).is_some();
                if own { self.member_shape(&base, &name) } else { self.std_result(&base, e) }
            }
            Expr::Call(e) => self.call_shape(&e.func),
            Expr::Macro(e) => macro_shape(&e.mac),
            Expr::Index(e) => {
                let base = self.chain(&self.infer(&e.expr)?);
                let ranged = matches!(*e.index, Expr::Range(_));
                let last = base.last()?;
                if ranged { Some(last.clone()) } else { last.args.last().cloned() }
            }
            Expr::Range(e) => {
                let bound = e.start.as_ref().or(e.end.as_ref())?;
                Some(Shape::new("Range", vec![self.infer(bound)?]))
            }
            Expr::Array(e) => Some(Shape::new("[]", vec![self.infer_or_unknown(e.elems.first())])),
            Expr::Repeat(e) => Some(Shape::new("[]", vec![self.infer_or_unknown(Some(&e.expr))])),
            Expr::Tuple(e) => {
                let args = e.elems.iter().map(|e| self.infer_or_unknown(Some(e)));
                Some(Shape::new("()", args.collect()))
            }
            Expr::Binary(e) if is_comparison(&e.op) => Some(Shape::plain("bool")),
            Expr::Binary(e) => self.infer(&e.left),
            _ => None,
        }
    }

    fn infer_or_unknown(&self, expression: Option<&Expr>) -> Shape {
        expression.and_then(|e| self.infer(e)).unwrap_or_else(|| Shape::plain("_"))
    }

    fn dereferenced(&self, operator: syn::UnOp, shape: Shape) -> Shape {
        // References were left out, so only boxes have a content.
        let boxed = matches!(operator, syn::UnOp::Deref(_))
            && ["Box", "Rc", "Arc", "MutexGuard"].contains(&shape.head.as_str());
        if boxed { shape.content().unwrap_or(shape) } else { shape }
    }

    fn path_shape(&self, path: &syn::Path) -> Option<Shape> {
        let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        let (name, owners) = names.split_last()?;
        let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
        if owners.is_empty() {
            let fact = self.named(name)?;
            let unit = matches!(fact.kind, "struct" | "union") && fact.shape.is_none();
            return if unit { Some(Shape::plain(name)) } else { fact.shape.clone() };
        }
        let fact = self.in_path(&owners, name)?;
        if fact.kind == "struct" { Some(Shape::plain(name)) } else { fact.shape.clone() }
    }

    /// What calling a path gives: a function's result, a tuple struct, a variant; for types that
    /// are not the session's, a constructor is known by its name.
    fn call_shape(&self, function: &Expr) -> Option<Shape> {
        let Expr::Path(path) = function else { return None };
        if let Some(shape) = self.path_shape(&path.path) {
            return Some(shape);
        }
        let name = path.path.segments.last()?.ident.to_string();
        if ["Some", "Ok"].contains(&name.as_str()) {
            return Some(Shape::plain(if name == "Some" { "Option" } else { "Result" }));
        }
        let mut owner = path.path.clone();
        owner.segments.pop();
        let mut owner = self.resolved(&Shape::of_path(&owner));
        if owner.args.is_empty() && owner.head == "Vec" {
            owner.args.push(Shape::plain("_"));
        }
        let makes = std_names::CONSTRUCTORS.contains(&name.as_str());
        let is_type =
            owner.head.starts_with(char::is_uppercase) || std_names::is_primitive(&owner.head);
        (makes && is_type).then_some(owner)
    }

    /// What a method of the standard library gives.
    fn std_result(&self, base: &Shape, call: &syn::ExprMethodCall) -> Option<Shape> {
        let name = call.method.to_string();
        if let Some(generics) = &call.turbofish {
            // `collect::<Vec<f64>>()`, `parse::<f64>()`, `sum::<f64>()`.
            let written = generics.args.iter().find_map(|argument| match argument {
                syn::GenericArgument::Type(ty) => Shape::of(ty),
                _ => None,
            });
            return written.map(|shape| match name.as_str() {
                "parse" => Shape::new("Result", vec![shape]),
                _ => shape,
            });
        }
        let chain = self.chain(base);
        let base = chain.iter().find(|shape| shape.head != "Box").unwrap_or(base);
        std_names::result(base, &name)
    }
}

/// The text with its open brackets closed.
fn closed(text: &str) -> String {
    let tokens = Tokens::of(text);
    format!("{text}{}", tokens.closers(text))
}

fn closed_line(text: &str, end: &str) -> String {
    format!("{text}\n{end}{}", Tokens::of(text).closers(text))
}

fn literal_shape(literal: &syn::Lit) -> Option<Shape> {
    let suffixed =
        |suffix: &str, usual: &str| Shape::plain(if suffix.is_empty() { usual } else { suffix });
    match literal {
        syn::Lit::Str(_) => Some(Shape::plain("str")),
        syn::Lit::Char(_) => Some(Shape::plain("char")),
        syn::Lit::Bool(_) => Some(Shape::plain("bool")),
        syn::Lit::Int(int) => Some(suffixed(int.suffix(), "i32")),
        syn::Lit::Float(float) => Some(suffixed(float.suffix(), "f64")),
        syn::Lit::ByteStr(_) => Some(Shape::new("[]", vec![Shape::plain("u8")])),
        syn::Lit::Byte(_) => Some(Shape::plain("u8")),
        _ => None,
    }
}

fn macro_shape(mac: &syn::Macro) -> Option<Shape> {
    match mac.path.segments.last()?.ident.to_string().as_str() {
        "vec" => Some(Shape::new("Vec", vec![Shape::plain("_")])),
        "format" => Some(Shape::plain("String")),
        _ => None,
    }
}

fn is_comparison(operator: &syn::BinOp) -> bool {
    use syn::BinOp as O;
    matches!(
        operator,
        O::Eq(_) | O::Ne(_) | O::Lt(_) | O::Le(_) | O::Gt(_) | O::Ge(_) | O::And(_) | O::Or(_)
    )
}

/// Adds the items of a cell, those inside of functions too.
struct Items<'a, 'b> {
    scope: &'b mut Scope<'a>,
    code: &'b str,
}

impl Visit<'_> for Items<'_, '_> {
    fn visit_item(&mut self, item: &Item) {
        self.scope.own.add(item, self.code);
        if let Item::Fn(_) | Item::Impl(_) = item {
            visit::visit_item(self, item);
        }
    }
}

/// Adds the names that a cell binds, with their types where those can be told.
struct Bindings<'a, 'b> {
    scope: &'b mut Scope<'a>,
    depth: usize,
}

impl Bindings<'_, '_> {
    fn add(&mut self, name: &syn::Ident, mutable: bool, shape: Option<Shape>) {
        let name = name.to_string();
        if self.depth > 0 {
            self.scope.inner.push(name.clone());
        }
        let fact = Fact::variable(&name, mutable, None);
        self.scope.own.all.push(Fact { shape, ..fact });
    }

    fn bind(&mut self, pattern: &Pat, shape: Option<Shape>) {
        match pattern {
            Pat::Ident(name) => self.add(&name.ident, name.mutability.is_some(), shape),
            Pat::Type(typed) => self.bind(&typed.pat, Shape::of(&typed.ty).or(shape)),
            Pat::Reference(inner) => self.bind(&inner.pat, shape),
            Pat::Paren(inner) => self.bind(&inner.pat, shape),
            Pat::Tuple(tuple) => {
                let parts = shape.filter(|s| s.head == "()").map(|s| s.args).unwrap_or_default();
                for (index, part) in tuple.elems.iter().enumerate() {
                    self.bind(part, parts.get(index).cloned());
                }
            }
            Pat::TupleStruct(variant) => {
                let part = shape.and_then(|s| s.args.first().cloned());
                for inner in &variant.elems {
                    self.bind(inner, part.clone());
                }
            }
            Pat::Struct(fields) => {
                let of = Shape::of_path(&fields.path);
                for field in &fields.fields {
                    let name = quote::ToTokens::to_token_stream(&field.member).to_string();
                    let shape = self.scope.member_shape(&of, &name);
                    self.bind(&field.pat, shape);
                }
            }
            Pat::Slice(slice) => {
                let part = shape.and_then(|s| s.element());
                slice.elems.iter().for_each(|inner| self.bind(inner, part.clone()));
            }
            Pat::Or(either) => either.cases.iter().for_each(|case| self.bind(case, shape.clone())),
            _ => {}
        }
    }

    fn inside(&mut self, visit: impl FnOnce(&mut Self)) {
        self.depth += 1;
        visit(self);
        self.depth -= 1;
    }

    fn signature(&mut self, signature: &syn::Signature) {
        let parameters = signature.generics.params.iter();
        let bounded = |head: &str| {
            parameters.clone().find_map(|parameter| match parameter {
                syn::GenericParam::Type(ty) if ty.ident == head => {
                    Shape::of_bounds(ty.bounds.iter())
                }
                _ => None,
            })
        };
        for (pattern, shape) in signature.inputs.iter().filter_map(argument) {
            self.bind(pattern, shape.map(|shape| shape.with(&bounded)));
        }
    }
}

impl<'ast> Visit<'ast> for Bindings<'_, '_> {
    fn visit_local(&mut self, local: &'ast syn::Local) {
        visit::visit_local(self, local);
        let shape = local.init.as_ref().and_then(|init| self.scope.infer(&init.expr));
        self.bind(&local.pat, shape);
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.inside(|bindings| {
            bindings.signature(&function.sig);
            visit::visit_item_fn(bindings, function);
        });
    }

    fn visit_item_impl(&mut self, node: &'ast syn::ItemImpl) {
        self.inside(|bindings| {
            let shape = Shape::of(&node.self_ty);
            let name = syn::Ident::new("self", proc_macro2::Span::call_site());
            bindings.add(&name, false, shape);
            visit::visit_item_impl(bindings, node);
        });
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.signature(&function.sig);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.inside(|bindings| {
            closure.inputs.iter().for_each(|input| bindings.bind(input, None));
            visit::visit_expr_closure(bindings, closure);
        });
    }

    fn visit_expr_for_loop(&mut self, node: &'ast syn::ExprForLoop) {
        self.inside(|bindings| {
            let items = bindings.scope.infer(&node.expr);
            bindings.bind(&node.pat, items.and_then(|items| items.element()));
            visit::visit_expr_for_loop(bindings, node);
        });
    }

    fn visit_expr_let(&mut self, node: &'ast syn::ExprLet) {
        self.inside(|bindings| {
            let shape = bindings.scope.infer(&node.expr);
            bindings.bind(&node.pat, shape);
            visit::visit_expr_let(bindings, node);
        });
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.inside(|bindings| {
            bindings.bind(&arm.pat, None);
            visit::visit_arm(bindings, arm);
        });
    }
}
