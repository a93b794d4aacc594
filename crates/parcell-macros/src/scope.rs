//! Which names of an expression are variables from outside of it.
//!
//! Rust's scopes are followed over the syntax tree. Without types, what a name stands for must be
//! told from its place:
//! - a name in value position that begins with a small letter is a variable: it is captured;
//! - one that begins with a capital is a constant, a static, a unit struct or a variant: it is not;
//! - a name that is called, `slow(n)`, or handed to a method that takes functions, `.map(slow)`,
//!   is a function, or a closure that keeps nothing: both need no capture, since all of it is in
//!   their type. A closure that keeps values would be an error that tells nobody anything, so the
//!   first such place of each name is replaced by an expression of the same value that does not
//!   compile if the name cannot become a pointer to a function.

use std::collections::HashSet;

use proc_macro2::Span;
use quote::quote_spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Block, Expr, Ident, Item, Pat, Stmt, UseTree};

use crate::tokens;

/// What is found in an expression.
#[derive(Default)]
pub(crate) struct Found {
    /// Variables from outside, in the order of their first mention, as they are written there.
    pub(crate) captured: Vec<Ident>,
    /// Names from outside that are called.
    pub(crate) called: Vec<Ident>,
    /// What cannot be captured.
    pub(crate) errors: Vec<syn::Error>,
}

/// Walks over an expression and prepares its calls.
#[derive(Default)]
pub(crate) struct Walk {
    pub(crate) found: Found,
    scopes: Vec<HashSet<String>>,
    /// How many `unsafe` blocks are around; what they call need not be a safe function.
    unsafe_blocks: usize,
}

/// Finds what an expression captures.
pub(crate) fn captures(expression: &mut Expr) -> Found {
    let mut walk = Walk::default();
    walk.visit_expr_mut(expression);
    walk.found
}

impl Walk {
    /// Walks within a scope of its own.
    pub(crate) fn within(&mut self, walk: impl FnOnce(&mut Walk)) {
        self.scopes.push(HashSet::new());
        walk(self);
        self.scopes.pop();
    }

    /// Binds a name in the innermost scope.
    pub(crate) fn bind(&mut self, name: &Ident) {
        if self.scopes.is_empty() {
            self.scopes.push(HashSet::new());
        }
        let innermost = self.scopes.last_mut().expect("there is one");
        innermost.insert(name.to_string());
    }

    pub(crate) fn bind_pattern(&mut self, pattern: &mut Pat) {
        Bind(self).visit_pat_mut(pattern);
    }

    fn is_bound(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| scope.contains(name))
    }

    /// Whether a name stands for something outside, and may be a variable.
    fn is_outer_variable(&self, name: &Ident) -> bool {
        let text = name.to_string();
        let text = text.strip_prefix("r#").unwrap_or(&text);
        let first = text.chars().find(|c| *c != '_');
        let variable = first.is_some_and(|c| !c.is_uppercase());
        variable && !tokens::is_primitive_type(text) && !self.is_bound(&name.to_string())
    }

    /// A name in value position.
    pub(crate) fn mention(&mut self, name: &Ident) {
        if name == "self" {
            self.found.errors.push(syn::Error::new(
                name.span(),
                "`self` cannot be captured for another process: bind what is needed of it first, \
                 as in `let width = self.width;` or `let this = self.clone();`",
            ));
        } else if self.is_outer_variable(name) && !self.found.captured.contains(name) {
            self.found.captured.push(name.clone());
        }
    }

    /// An expression in the place of a function, with the number of its arguments if known.
    pub(crate) fn function(&mut self, expression: &mut Expr, arguments: Option<usize>) {
        let Some(name) = plain_name(expression).cloned() else {
            return self.visit_expr_mut(expression);
        };
        if name == "self" || !self.is_outer_variable(&name) {
            return self.visit_expr_mut(expression);
        }
        let first = !self.found.called.contains(&name);
        if first {
            self.found.called.push(name.clone());
        }
        if let (true, Some(count), 0) = (first, arguments, self.unsafe_blocks) {
            *expression = checked_function(&name, count);
        }
    }
}

/// The function `name`, which must fit a pointer to a function.
fn checked_function(name: &Ident, arguments: usize) -> Expr {
    let span = name.span();
    let function = Ident::new("parcell_function", Span::mixed_site().located_at(span));
    let blanks = (0..arguments).map(|_| quote_spanned!(span=> _));
    syn::parse_quote_spanned!(span=> ({
        let #function = #name;
        let _ = || -> fn(#(#blanks),*) -> _ { #function };
        #function
    }))
}

/// The name that an expression consists of, within any parentheses.
fn plain_name(expression: &Expr) -> Option<&Ident> {
    match expression {
        Expr::Path(path) if path.qself.is_none() => path.path.get_ident(),
        Expr::Paren(inner) => plain_name(&inner.expr),
        Expr::Group(inner) => plain_name(&inner.expr),
        _ => None,
    }
}

/// Whether an expression certainly never has a value, as `panic!("…")`.
pub(crate) fn diverges(expression: &Expr) -> bool {
    let ends = |path: &syn::Path, names: &[&str]| {
        path.segments.last().is_some_and(|s| names.iter().any(|name| s.ident == name))
    };
    let panics = |path: &syn::Path| {
        ends(path, &["panic", "todo", "unimplemented", "unreachable", "compile_error"])
    };
    match expression {
        Expr::Group(inner) => diverges(&inner.expr),
        Expr::Paren(inner) => diverges(&inner.expr),
        Expr::Block(block) => block.block.stmts.last().is_some_and(|last| match last {
            Stmt::Expr(expression, _) => diverges(expression),
            Stmt::Macro(call) => panics(&call.mac.path),
            _ => false,
        }),
        Expr::Unsafe(block) => block.block.stmts.last().is_some_and(|last| match last {
            Stmt::Expr(expression, _) => diverges(expression),
            _ => false,
        }),
        Expr::Macro(call) => panics(&call.mac.path),
        Expr::Call(call) => match &*call.func {
            Expr::Path(path) => ends(&path.path, &["exit", "abort", "resume_unwind", "panic_any"]),
            _ => false,
        },
        _ => false,
    }
}

/// Methods that take functions: the position of the argument, and how many arguments that has,
/// where all methods of that name agree.
const TAKE_FUNCTIONS: [(&str, usize, Option<usize>); 52] = [
    ("all", 0, Some(1)),
    ("and_then", 0, Some(1)),
    ("any", 0, Some(1)),
    ("filter", 0, Some(1)),
    ("filter_map", 0, Some(1)),
    ("find", 0, Some(1)),
    ("find_any", 0, Some(1)),
    ("find_first", 0, Some(1)),
    ("find_map", 0, Some(1)),
    ("flat_map", 0, Some(1)),
    ("flat_map_iter", 0, Some(1)),
    ("fold", 1, Some(2)),
    ("for_each", 0, Some(1)),
    ("inspect", 0, Some(1)),
    ("is_none_or", 0, Some(1)),
    ("is_ok_and", 0, Some(1)),
    ("is_some_and", 0, Some(1)),
    ("map", 0, Some(1)),
    ("map_err", 0, Some(1)),
    ("map_inplace", 0, Some(1)),
    ("map_or", 1, Some(1)),
    ("map_or_else", 1, Some(1)),
    ("map_reduce", 0, Some(1)),
    ("map_reduce", 1, Some(2)),
    ("map_while", 0, Some(1)),
    ("mapv", 0, Some(1)),
    ("mapv_inplace", 0, Some(1)),
    ("mapv_into", 0, Some(1)),
    ("max_by", 0, Some(2)),
    ("max_by_key", 0, Some(1)),
    ("min_by", 0, Some(2)),
    ("min_by_key", 0, Some(1)),
    ("ok_or_else", 0, Some(0)),
    ("or_else", 0, None),
    ("par_for_each", 0, None),
    ("partition", 0, Some(1)),
    ("position", 0, Some(1)),
    ("reduce", 0, None),
    ("reduce", 1, Some(2)),
    ("reduce_with", 0, Some(2)),
    ("retain", 0, Some(1)),
    ("rposition", 0, Some(1)),
    ("scan", 1, Some(2)),
    ("skip_while", 0, Some(1)),
    ("sort_by", 0, Some(2)),
    ("sort_by_cached_key", 0, Some(1)),
    ("sort_by_key", 0, Some(1)),
    ("sort_unstable_by", 0, Some(2)),
    ("sort_unstable_by_key", 0, Some(1)),
    ("take_while", 0, Some(1)),
    ("try_fold", 1, Some(2)),
    ("unwrap_or_else", 0, None),
];

impl VisitMut for Walk {
    fn visit_expr_path_mut(&mut self, node: &mut syn::ExprPath) {
        if let (None, Some(name)) = (&node.qself, node.path.get_ident()) {
            self.mention(&name.clone());
        }
    }

    fn visit_expr_call_mut(&mut self, node: &mut syn::ExprCall) {
        self.function(&mut node.func, Some(node.args.len()));
        node.args.iter_mut().for_each(|argument| self.visit_expr_mut(argument));
    }

    fn visit_expr_method_call_mut(&mut self, node: &mut syn::ExprMethodCall) {
        self.visit_expr_mut(&mut node.receiver);
        let method = node.method.to_string();
        for (position, argument) in node.args.iter_mut().enumerate() {
            let takes = |(name, at, _): &&(&str, usize, _)| *name == method && *at == position;
            match TAKE_FUNCTIONS.iter().find(takes) {
                Some((_, _, arguments)) => self.function(argument, *arguments),
                None => self.visit_expr_mut(argument),
            }
        }
    }

    fn visit_block_mut(&mut self, node: &mut Block) {
        self.within(|walk| walk.statements(&mut node.stmts));
    }

    fn visit_local_mut(&mut self, node: &mut syn::Local) {
        if let Some(init) = &mut node.init {
            self.visit_expr_mut(&mut init.expr);
            if let Some((_, otherwise)) = &mut init.diverge {
                self.visit_expr_mut(otherwise);
            }
        }
        self.bind_pattern(&mut node.pat);
    }

    fn visit_expr_closure_mut(&mut self, node: &mut syn::ExprClosure) {
        self.within(|walk| {
            node.inputs.iter_mut().for_each(|input| walk.bind_pattern(input));
            walk.visit_expr_mut(&mut node.body);
        });
    }

    fn visit_expr_let_mut(&mut self, node: &mut syn::ExprLet) {
        self.visit_expr_mut(&mut node.expr);
        self.bind_pattern(&mut node.pat);
    }

    fn visit_expr_if_mut(&mut self, node: &mut syn::ExprIf) {
        self.within(|walk| {
            walk.visit_expr_mut(&mut node.cond);
            walk.visit_block_mut(&mut node.then_branch);
        });
        if let Some((_, otherwise)) = &mut node.else_branch {
            self.visit_expr_mut(otherwise);
        }
    }

    fn visit_expr_while_mut(&mut self, node: &mut syn::ExprWhile) {
        self.within(|walk| visit_mut::visit_expr_while_mut(walk, node));
    }

    fn visit_arm_mut(&mut self, node: &mut syn::Arm) {
        self.within(|walk| {
            walk.bind_pattern(&mut node.pat);
            if let Some((_, guard)) = &mut node.guard {
                walk.visit_expr_mut(guard);
            }
            walk.visit_expr_mut(&mut node.body);
        });
    }

    fn visit_expr_for_loop_mut(&mut self, node: &mut syn::ExprForLoop) {
        self.visit_expr_mut(&mut node.expr);
        self.within(|walk| {
            walk.bind_pattern(&mut node.pat);
            walk.visit_block_mut(&mut node.body);
        });
    }

    fn visit_expr_unsafe_mut(&mut self, node: &mut syn::ExprUnsafe) {
        self.unsafe_blocks += 1;
        self.visit_block_mut(&mut node.block);
        self.unsafe_blocks -= 1;
    }

    fn visit_expr_repeat_mut(&mut self, node: &mut syn::ExprRepeat) {
        // The length is a constant, which captures nothing.
        self.visit_expr_mut(&mut node.expr);
    }

    fn visit_macro_mut(&mut self, node: &mut syn::Macro) {
        tokens::of_macro(self, node);
    }

    fn visit_expr_mut(&mut self, node: &mut Expr) {
        match node {
            Expr::Verbatim(tokens) => tokens::pieces(self, tokens),
            _ => visit_mut::visit_expr_mut(self, node),
        }
    }

    // None of these has variables of its surroundings in it.
    fn visit_item_mut(&mut self, _: &mut Item) {}
    fn visit_type_mut(&mut self, _: &mut syn::Type) {}
    fn visit_expr_const_mut(&mut self, _: &mut syn::ExprConst) {}
    fn visit_attribute_mut(&mut self, _: &mut syn::Attribute) {}
    fn visit_generic_argument_mut(&mut self, _: &mut syn::GenericArgument) {}
}

impl Walk {
    /// Walks over the statements of a block, whose items are known from its start.
    pub(crate) fn statements(&mut self, statements: &mut [Stmt]) {
        for statement in statements.iter() {
            if let Stmt::Item(item) = statement {
                self.bind_item(item);
            }
        }
        statements.iter_mut().for_each(|statement| self.visit_stmt_mut(statement));
    }

    fn bind_item(&mut self, item: &Item) {
        match item {
            Item::Fn(f) => self.bind(&f.sig.ident),
            Item::Const(c) => self.bind(&c.ident),
            Item::Static(s) => self.bind(&s.ident),
            Item::Use(u) => self.bind_use(&u.tree),
            Item::ForeignMod(f) => f.items.iter().for_each(|item| match item {
                syn::ForeignItem::Fn(f) => self.bind(&f.sig.ident),
                syn::ForeignItem::Static(s) => self.bind(&s.ident),
                _ => {}
            }),
            _ => {}
        }
    }

    fn bind_use(&mut self, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => self.bind_use(&path.tree),
            UseTree::Name(name) => self.bind(&name.ident),
            UseTree::Rename(rename) => self.bind(&rename.rename),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.bind_use(tree)),
            UseTree::Glob(_) => {}
        }
    }
}

/// Binds what a pattern names.
struct Bind<'a>(&'a mut Walk);

impl VisitMut for Bind<'_> {
    fn visit_pat_ident_mut(&mut self, node: &mut syn::PatIdent) {
        self.0.bind(&node.ident);
        visit_mut::visit_pat_ident_mut(self, node);
    }

    fn visit_macro_mut(&mut self, node: &mut syn::Macro) {
        tokens::bind_all(self.0, node.tokens.clone());
    }

    fn visit_expr_mut(&mut self, _: &mut Expr) {}
    fn visit_type_mut(&mut self, _: &mut syn::Type) {}
}

#[cfg(test)]
mod tests;
