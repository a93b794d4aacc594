//! Variables in the calls of macros. What a macro does with its tokens is not known, so they are
//! read as what they look like: arguments, statements, or pieces between separators that are
//! expressions. What is none of these is left alone.

use proc_macro2::{Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::visit_mut::VisitMut;
use syn::{Expr, Ident, Pat, Token};

use crate::expand::Loop;
use crate::format;
use crate::scope::Walk;

/// Macros whose tokens are no values.
const WITHOUT_VALUES: [&str; 16] = [
    "cfg",
    "column",
    "compile_error",
    "concat",
    "concat_idents",
    "env",
    "file",
    "include",
    "include_bytes",
    "include_str",
    "line",
    "macro_rules",
    "module_path",
    "offset_of",
    "option_env",
    "stringify",
];

/// Where macros of the standard library have their format string.
const FORMAT_AT: [(&str, usize); 17] = [
    ("assert", 1),
    ("assert_eq", 2),
    ("assert_ne", 2),
    ("debug_assert", 1),
    ("debug_assert_eq", 2),
    ("debug_assert_ne", 2),
    ("eprint", 0),
    ("eprintln", 0),
    ("format", 0),
    ("format_args", 0),
    ("panic", 0),
    ("print", 0),
    ("println", 0),
    ("todo", 0),
    ("unimplemented", 0),
    ("unreachable", 0),
    ("write", 1),
];

const PRIMITIVE_TYPES: [&str; 17] = [
    "bool", "char", "f32", "f64", "i128", "i16", "i32", "i64", "i8", "isize", "str", "u128", "u16",
    "u32", "u64", "u8", "usize",
];

/// Whether a name is a type of the language.
pub(crate) fn is_primitive_type(name: &str) -> bool {
    PRIMITIVE_TYPES.contains(&name)
}

/// Walks over what a macro is called with.
pub(crate) fn of_macro(walk: &mut Walk, node: &mut syn::Macro) {
    let name = node.path.segments.last().map(|s| s.ident.unraw().to_string()).unwrap_or_default();
    match name.as_str() {
        name if WITHOUT_VALUES.contains(&name) => {}
        "matches" | "assert_matches" | "debug_assert_matches" => of_matches(walk, node),
        "distributed" => of_distributed(walk, node),
        "spawn_at" | "fetch_from" if starts_with_any(&node.tokens) => {
            pieces(walk, &node.tokens.clone().into_iter().skip(1).collect());
        }
        name => of_any(walk, name, &mut node.tokens),
    }
}

/// Walks over the call of any macro.
fn of_any(walk: &mut Walk, name: &str, tokens: &mut TokenStream) {
    let arguments = Punctuated::<Argument, Token![,]>::parse_terminated;
    if let Ok(mut arguments) = arguments.parse2(tokens.clone()) {
        of_arguments(walk, name, &mut arguments);
        *tokens = arguments.into_token_stream();
    } else if let Ok(mut repeated) = Repeated::parse.parse2(tokens.clone()) {
        walk.visit_expr_mut(&mut repeated.value);
        walk.visit_expr_mut(&mut repeated.count);
        *tokens = repeated.into_token_stream();
    } else if let Ok(mut statements) = syn::Block::parse_within.parse2(tokens.clone()) {
        walk.within(|walk| walk.statements(&mut statements));
        *tokens = statements.iter().map(ToTokens::to_token_stream).collect();
    } else {
        pieces(walk, tokens);
    }
}

fn of_arguments(walk: &mut Walk, name: &str, arguments: &mut Punctuated<Argument, Token![,]>) {
    let at = FORMAT_AT.iter().find(|(known, _)| *known == name).map(|(_, at)| *at);
    let at = at.or((name == "writeln").then_some(1)).unwrap_or(0);
    let named = |a: &Argument| a.name.as_ref().map(|(name, _)| name.to_string());
    let named: Vec<String> = arguments.iter().filter_map(named).collect();
    for (index, argument) in arguments.iter_mut().enumerate() {
        if let (true, Some(text)) = (index == at, string(&argument.value)) {
            for name in format::names(&text.value()) {
                // A name that no variable can have, as a keyword, is rustc's to complain of.
                let name = syn::parse_str::<Ident>(&name).ok();
                if let Some(mut name) = name.filter(|name| !named.contains(&name.to_string())) {
                    name.set_span(text.span());
                    walk.mention(&name);
                }
            }
        }
        walk.visit_expr_mut(&mut argument.value);
    }
}

fn string(expression: &Expr) -> Option<&syn::LitStr> {
    match expression {
        Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text),
        Expr::Group(group) => string(&group.expr),
        _ => None,
    }
}

/// `value` or `name = value`.
struct Argument {
    name: Option<(Ident, Token![=])>,
    value: Expr,
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> syn::Result<Argument> {
        let named = input.peek(Ident) && input.peek2(Token![=]) && !input.peek2(Token![==]);
        let named = named && !input.peek2(Token![=>]);
        let name = if named { Some((input.parse()?, input.parse()?)) } else { None };
        Ok(Argument { name, value: input.parse()? })
    }
}

impl ToTokens for Argument {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        if let Some((name, equals)) = &self.name {
            name.to_tokens(tokens);
            equals.to_tokens(tokens);
        }
        self.value.to_tokens(tokens);
    }
}

/// `value; count`, as in `vec![0; n]`.
struct Repeated {
    value: Expr,
    semicolon: Token![;],
    count: Expr,
}

impl Parse for Repeated {
    fn parse(input: ParseStream<'_>) -> syn::Result<Repeated> {
        Ok(Repeated { value: input.parse()?, semicolon: input.parse()?, count: input.parse()? })
    }
}

impl ToTokens for Repeated {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.value.to_tokens(tokens);
        self.semicolon.to_tokens(tokens);
        self.count.to_tokens(tokens);
    }
}

/// `matches!(value, pattern if guard, …)`.
fn of_matches(walk: &mut Walk, node: &mut syn::Macro) {
    let parser = |input: ParseStream<'_>| {
        let value: Expr = input.parse()?;
        input.parse::<Token![,]>()?;
        let pattern = Pat::parse_multi_with_leading_vert(input)?;
        let guard = input.parse::<Option<Token![if]>>()?.map(|_| input.parse::<Expr>());
        let guard = guard.transpose()?;
        input.parse::<Option<Token![,]>>()?;
        Ok((value, pattern, guard, Punctuated::<Argument, Token![,]>::parse_terminated(input)?))
    };
    let Ok((mut value, mut pattern, guard, mut rest)) = parser.parse2(node.tokens.clone()) else {
        return pieces(walk, &node.tokens);
    };
    walk.visit_expr_mut(&mut value);
    walk.within(|walk| {
        walk.bind_pattern(&mut pattern);
        guard.into_iter().for_each(|mut guard| walk.visit_expr_mut(&mut guard));
    });
    of_arguments(walk, "", &mut rest);
}

/// A `distributed!` within an expression.
fn of_distributed(walk: &mut Walk, node: &mut syn::Macro) {
    match syn::parse2::<Loop>(node.tokens.clone()) {
        Ok(mut inner) => inner.walk(walk),
        Err(_) => pieces(walk, &node.tokens),
    }
}

fn starts_with_any(tokens: &TokenStream) -> bool {
    matches!(tokens.clone().into_iter().next(), Some(TokenTree::Ident(word)) if word == "any")
}

/// Walks over those pieces between `,`, `;` and `=>` that are expressions, within groups too.
pub(crate) fn pieces(walk: &mut Walk, tokens: &TokenStream) {
    let mut piece: Vec<TokenTree> = Vec::new();
    let mut tokens = tokens.clone().into_iter().peekable();
    while let Some(token) = tokens.next() {
        let separator = match &token {
            TokenTree::Punct(p) if [',', ';'].contains(&p.as_char()) => Some(true),
            TokenTree::Punct(p) if p.as_char() == '=' => match tokens.peek() {
                Some(TokenTree::Punct(next))
                    if next.as_char() == '>' && p.spacing() == Spacing::Joint =>
                {
                    tokens.next();
                    Some(true)
                }
                // What stands before a single `=` or `:` is a name.
                _ if p.spacing() == Spacing::Alone && !ends_an_operator(&piece) => Some(false),
                _ => None,
            },
            TokenTree::Punct(p) if p.as_char() == ':' => {
                let path = p.spacing() == Spacing::Joint || ends_with(&piece, ':');
                (!path).then_some(false)
            }
            _ => None,
        };
        match separator {
            Some(value) => of_piece(walk, std::mem::take(&mut piece), value),
            None => piece.push(token),
        }
    }
    of_piece(walk, piece, true);
}

fn ends_with(piece: &[TokenTree], c: char) -> bool {
    matches!(piece.last(), Some(TokenTree::Punct(p)) if p.as_char() == c)
}

/// Whether a `=` after this piece belongs to `==`, `<=`, `+=` and the like.
fn ends_an_operator(piece: &[TokenTree]) -> bool {
    matches!(piece.last(), Some(TokenTree::Punct(p)) if p.spacing() == Spacing::Joint)
}

/// A piece; not a value if it is but a name before `=` or `:`.
fn of_piece(walk: &mut Walk, piece: Vec<TokenTree>, value: bool) {
    if !value && matches!(piece[..], [TokenTree::Ident(_)]) {
        return;
    }
    match syn::parse2::<Expr>(piece.iter().cloned().collect()) {
        Ok(Expr::Verbatim(_)) | Err(_) => piece.iter().for_each(|token| {
            if let TokenTree::Group(group) = token {
                pieces(walk, &group.stream());
            }
        }),
        Ok(mut expression) => walk.visit_expr_mut(&mut expression),
    }
}

/// Binds every name among the tokens of a pattern's macro.
pub(crate) fn bind_all(walk: &mut Walk, tokens: TokenStream) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) => walk.bind(&name),
            TokenTree::Group(group) => bind_all(walk, group.stream()),
            _ => {}
        }
    }
}
