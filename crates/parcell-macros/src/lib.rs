//! Procedural macros of the `parcell` library: they find which variables an expression captures, so
//! that it can run in another process. Users call the macros of `parcell` that wrap these.

mod expand;
mod format;
mod scope;
mod tokens;

use proc_macro::TokenStream;

/// An expression and what it captures, as `parcell::distributed::rt::Expression`.
#[proc_macro]
pub fn expression(input: TokenStream) -> TokenStream {
    expand::expression(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// A closure or function that any process can call, as `parcell::distributed::Remote`.
#[proc_macro]
pub fn remote(input: TokenStream) -> TokenStream {
    expand::remote(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// A loop whose iterations are dealt to the workers.
#[proc_macro]
pub fn distributed(input: TokenStream) -> TokenStream {
    expand::distributed(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
