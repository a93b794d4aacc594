//! What the macros expand to: captures, and a closure that gets them as its one argument.
//!
//! The closure uses nothing but its argument and functions without values of their own, so it has
//! no size, and its type alone says what to run. All names of the expansion are hygienic; what the
//! user wrote keeps its place, and errors about a variable stand where the variable does.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{Expr, ExprForLoop, Token};

use crate::scope::{self, Found, Walk};

/// `expression!(expr)`.
pub(crate) fn expression(input: TokenStream) -> syn::Result<TokenStream> {
    let mut body: Expr = syn::parse2(input)?;
    let found = scope::captures(&mut body);
    let statements = statements(&body);
    let parts = Parts::of(found)?;
    let (captures, values, copies) = (&parts.captures, &parts.values, &parts.copies);
    // `!`, the type of what never ends well, is none that rustc could send.
    let returns = scope::diverges(&body).then(|| quote!(-> ()));
    let call = quote! {
        ::parcell::distributed::rt::expression(#captures, move |#values| #returns {
            #copies
            #statements
        })
    };
    Ok(parts.around(call))
}

/// An expression as the end of a block, without braces of its own that rustc would call unnecessary.
fn statements(body: &Expr) -> TokenStream {
    match body {
        Expr::Group(inner) => statements(&inner.expr),
        Expr::Block(block) if block.label.is_none() && block.attrs.is_empty() => {
            block.block.stmts.iter().map(ToTokens::to_token_stream).collect()
        }
        _ => body.to_token_stream(),
    }
}

/// `remote!(|x| expr)` and `remote!(function)`.
pub(crate) fn remote(input: TokenStream) -> syn::Result<TokenStream> {
    let mut function: Expr = syn::parse2(input)?;
    if let Expr::Path(_) = function {
        return Ok(named(&function));
    }
    let Expr::Closure(closure) = &mut function else {
        return Err(syn::Error::new_spanned(
            function,
            "`remote!` makes a closure or a named function callable everywhere: \
             `remote!(|x: f64| 2.0 * x)`, `remote!(slow)`",
        ));
    };
    if closure.inputs.len() > 4 {
        return Err(syn::Error::new_spanned(
            &closure.inputs[4],
            "a remote function has at most four arguments: make a tuple of some",
        ));
    }
    closure.capture.get_or_insert(Token![move](closure.or1_token.span));
    let maker = format_ident!("closure{}", closure.inputs.len());
    let found = scope::captures(&mut function);
    let parts = Parts::of(found)?;
    let (captures, values, copies) = (&parts.captures, &parts.values, &parts.copies);
    let call = quote! {
        ::parcell::distributed::rt::#maker(#captures, move |#values| { #copies #function })
    };
    Ok(parts.around(call))
}

/// A remote function of a name. It is checked as a captured one is.
fn named(function: &Expr) -> TokenStream {
    let span = function.span().resolved_at(Span::mixed_site());
    quote_spanned! {span=> {
        ::parcell::distributed::rt::function(#function)
    }}
}

/// `distributed!(options, operator, for pattern in items { body })`.
pub(crate) fn distributed(input: TokenStream) -> syn::Result<TokenStream> {
    let mut parsed: Loop = syn::parse2(input)?;
    let local = parsed.operator.as_ref().map(Operator::tokens);
    let mut walk = Walk::default();
    parsed.walk_body(&mut walk);
    let parts = Parts::of(walk.found)?;
    let (captures, values, copies) = (&parts.captures, &parts.values, &parts.copies);
    let Loop { options, init, operator, run } = &parsed;
    let ExprForLoop { pat, expr: items, body, for_token, .. } = run;
    let body = quote_spanned!(for_token.span=> move |#pat| #body);
    let options = options.iter().map(|Setting { name, value }| quote!(.#name(#value)));
    let options = quote!(::parcell::distributed::rt::Options::new()#(#options)*);
    let call = if let Some(operator) = operator {
        let operator = operator.tokens();
        let init = init.as_ref().map_or_else(
            || quote!(::core::option::Option::None),
            |init| quote!(::core::option::Option::Some(#init)),
        );
        quote! {
            ::parcell::distributed::rt::distribute_reduce(
                #items, #options, #init, #captures,
                move |#values| {
                    #copies
                    (#body, #operator)
                },
                #local,
            )
        }
    } else {
        quote! {
            ::parcell::distributed::rt::distribute(
                #items, #options, #captures,
                move |#values| {
                    #copies
                    #body
                },
            )
        }
    };
    Ok(parts.around(call))
}

/// The pieces of an expansion that are about captured variables.
struct Parts {
    /// References to the variables and how each travels.
    before: TokenStream,
    /// The captured values, written.
    captures: TokenStream,
    /// The pattern of the values where they arrive: `(last, (first, ()))`.
    values: TokenStream,
    /// Makes the values variables that may be changed.
    copies: TokenStream,
    /// Errors about what cannot travel, once all types are known.
    after: TokenStream,
}

impl Parts {
    fn of(found: Found) -> syn::Result<Parts> {
        let errors = found.errors.into_iter().reduce(|mut all, error| {
            all.combine(error);
            all
        });
        if let Some(errors) = errors {
            return Err(errors);
        }
        let empty = TokenStream::new;
        let captures = quote!(::parcell::distributed::capture::Captures::none());
        let (before, copies, after) = (empty(), empty(), empty());
        let mut parts = Parts { before, captures, values: quote!(()), copies, after };
        for (index, name) in found.captured.iter().enumerate() {
            parts.capture(index, name);
        }
        Ok(parts)
    }

    fn capture(&mut self, index: usize, name: &Ident) {
        // Names of the expansion, at the place of the variable.
        let span = Span::mixed_site().located_at(name.span());
        let value = Ident::new(&format!("parcell_value_{index}"), span);
        let how = Ident::new(&format!("parcell_how_{index}"), span);
        let text = name.to_string();
        let Parts { captures, values, .. } = self;
        self.captures = quote_spanned!(span=> #captures.with(#text, #how, #value));
        self.values = quote!((#name, #values));
        self.before.extend(quote_spanned! {span=>
            let #value = &#name;
            let #how = (&&&::parcell::distributed::capture::Probe::new(#value)).how();
        });
        // As if the user had written it: of variables that macros make, rustc tells no names.
        self.copies.extend(quote_spanned! {name.span()=>
            #[allow(unused_mut)]
            let mut #name = #name;
        });
        self.after.extend(quote_spanned! {span=>
            let (parcell_function, parcell_pointer) =
                (&&::parcell::distributed::capture::probe_of(#value).known())
                    .check(#value)
                    .parts();
            ::parcell::distributed::refusal::keeps_nothing(parcell_pointer, parcell_function);
        });
    }

    /// A block around the call, which has the value of the call.
    fn around(&self, call: TokenStream) -> TokenStream {
        let Parts { before, after, .. } = self;
        if before.is_empty() {
            return call;
        }
        let span = Span::mixed_site();
        let value = Ident::new("parcell_made", span);
        quote_spanned! {span=> {
            use ::parcell::distributed::capture::{
                HowConjured as _, HowRefused as _, HowShipped as _,
            };
            use ::parcell::distributed::refusal::{
                CheckCallable as _, CheckOther as _, CheckShipped as _, Unknown as _,
            };
            #before
            let #value = #call;
            #after
            #value
        }}
    }
}

/// What a `distributed!` is called with.
pub(crate) struct Loop {
    options: Vec<Setting>,
    init: Option<Expr>,
    operator: Option<Operator>,
    run: ExprForLoop,
}

/// `name = value`.
struct Setting {
    name: Ident,
    value: Expr,
}

/// How results are combined.
enum Operator {
    Sign(syn::BinOp),
    Larger(Ident),
    Smaller(Ident),
    Function(Box<Expr>),
}

const OPTIONS: [&str; 4] = ["schedule", "chunk", "init", "pool"];

impl Parse for Loop {
    fn parse(input: ParseStream<'_>) -> syn::Result<Loop> {
        let (mut options, mut init, mut operator) = (Vec::new(), None, None);
        while !input.peek(Token![for]) || input.peek2(Token![<]) {
            if input.is_empty() {
                return Err(input.error("a `for` loop is missing: `for i in 0..n { … }`"));
            }
            if input.peek(syn::Ident) && input.peek2(Token![=]) && !input.peek2(Token![==]) {
                let name: Ident = input.parse()?;
                if !OPTIONS.contains(&name.to_string().as_str()) {
                    let known = OPTIONS.join("`, `");
                    let text = format!("`{name}` is no option of a loop: these are `{known}`");
                    return Err(syn::Error::new(name.span(), text));
                }
                input.parse::<Token![=]>()?;
                let value: Expr = input.parse()?;
                match name == "init" {
                    true => init = Some(value),
                    false => options.push(Setting { name, value }),
                }
            } else if operator.is_none() {
                operator = Some(input.parse()?);
            } else {
                return Err(input.error("a loop has one operator: here its `for` is expected"));
            }
            input.parse::<Token![,]>()?;
        }
        let run: ExprForLoop = input.parse()?;
        input.parse::<Option<Token![,]>>()?;
        match (&init, &operator) {
            (Some(init), None) => Err(syn::Error::new(
                init.span(),
                "`init` is what results are combined with: name the operator before the loop, \
                 `distributed!(+, init = 0.0, for …)`",
            )),
            _ => Ok(Loop { options, init, operator, run }),
        }
    }
}

impl Parse for Operator {
    fn parse(input: ParseStream<'_>) -> syn::Result<Operator> {
        let sign = input.fork();
        if sign.parse::<syn::BinOp>().is_ok() && sign.peek(Token![,]) {
            return Ok(Operator::Sign(input.parse()?));
        }
        if input.peek(syn::Ident) && input.peek2(Token![,]) {
            let name: Ident = input.parse()?;
            return Ok(match name.to_string().as_str() {
                "max" => Operator::Larger(name),
                "min" => Operator::Smaller(name),
                _ => Operator::Function(Box::new(syn::parse_quote!(#name))),
            });
        }
        Ok(Operator::Function(Box::new(input.parse()?)))
    }
}

impl Operator {
    fn tokens(&self) -> TokenStream {
        match self {
            Operator::Sign(sign) => {
                let span = Span::mixed_site().located_at(sign.span());
                quote_spanned!(span=> |a, b| a #sign b)
            }
            Operator::Larger(name) => {
                quote_spanned!(name.span()=> ::parcell::distributed::rt::larger)
            }
            Operator::Smaller(name) => {
                quote_spanned!(name.span()=> ::parcell::distributed::rt::smaller)
            }
            Operator::Function(function) => function.to_token_stream(),
        }
    }
}

impl Loop {
    /// Walks over what runs on the workers.
    fn walk_body(&mut self, walk: &mut Walk) {
        walk.within(|walk| {
            walk.bind_pattern(&mut self.run.pat);
            walk.visit_block_mut(&mut self.run.body);
        });
        if let Some(Operator::Function(function)) = &mut self.operator {
            walk.function(function, Some(2));
        }
    }

    /// Walks over all of it.
    pub(crate) fn walk(&mut self, walk: &mut Walk) {
        self.options.iter_mut().for_each(|option| walk.visit_expr_mut(&mut option.value));
        self.init.iter_mut().for_each(|init| walk.visit_expr_mut(init));
        walk.visit_expr_mut(&mut self.run.expr);
        self.walk_body(walk);
    }
}
