//! Statics and thread-locals, wherever they stand in an item: in a function, a method, a module.
//! The module that first defines one exports it; later modules get the same text with the value
//! blanked out and the declaration turned into a foreign one, so that both speak of one static.

use std::ops::Range;

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::visit::Visit;
use syn::{Attribute, Expr, Ident, ItemStatic, Macro, StaticMutability, Token, Type, Visibility};

use super::edit::Edit;
use super::parse::range;

/// A static in an item. Ranges are bytes of the cell's source.
#[derive(Debug, Clone)]
pub(super) struct Static {
    pub(super) name: String,
    /// Its type, on one line, with the lifetimes that a static may leave out.
    pub(super) type_name: String,
    /// Those lifetimes, and where they belong.
    elided: Vec<(usize, &'static str)>,
    kind: Kind,
    /// From its first attribute to its semicolon.
    range: Range<usize>,
    /// Where the word `static` stands.
    keyword: usize,
    /// Where its type stands.
    ty: Range<usize>,
    /// From `=` to before the semicolon.
    value: Range<usize>,
    closed: bool,
    /// The macro call around it.
    frame: Option<Frame>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// `static mut`.
    Mutable,
    /// In `thread_local!`.
    Local,
    /// In `lazy_static!`.
    Lazy,
}

/// The words of a macro call around the declarations in it: `thread_local! {` and `}`.
#[derive(Debug, Clone)]
struct Frame {
    open: Range<usize>,
    close: Range<usize>,
}

impl Static {
    /// Where in its source it stands: what tells it from others of its name.
    pub(super) fn offset(&self) -> usize {
        self.range.start
    }

    /// Edits that make the defining module export it under `symbol`.
    pub(super) fn export(&self, symbol: &str) -> Vec<Edit> {
        let Static { name, type_name, range, .. } = self;
        let export = format!("#[unsafe(export_name = {symbol:?})]");
        let after = self.frame.as_ref().map_or(range.end, |f| f.close.end);
        let insert = match self.kind {
            Kind::Plain | Kind::Mutable => (range.start, format!("{export} ")),
            Kind::Local => {
                let of = format!("::std::thread::LocalKey<{type_name}>");
                (after, format!(" {export} static {}: {of} = {name};", hidden(name)))
            }
            Kind::Lazy => {
                let get = format!("{{ fn get() -> &'static {type_name} {{ &{name} }} get }}");
                let of = format!("fn() -> &'static {type_name}");
                (after, format!(" {export} static {}: {of} = {get};", hidden(name)))
            }
        };
        vec![Edit::Insert(insert.0, insert.1)]
    }

    /// Edits that make a later module use the one that is exported under `symbol`.
    pub(super) fn import(&self, symbol: &str) -> Vec<Edit> {
        let insert = |at: usize, text: &str| Edit::Insert(at, text.to_owned());
        let frame = self.frame.iter().flat_map(|f| [&f.open, &f.close]).cloned();
        let mut edits: Vec<Edit> = frame.map(Edit::Blank).collect();
        if self.kind == Kind::Lazy {
            edits.push(Edit::Blank(self.range.clone()));
            edits.push(Edit::Insert(self.range.start, self.lazy(symbol)));
            return edits;
        }
        let open = format!("unsafe extern \"C\" {{ #[link_name = {symbol:?}] ");
        edits.push(Edit::Insert(self.range.start, open));
        if self.kind != Kind::Mutable {
            edits.push(insert(self.keyword, "safe "));
        }
        if self.kind == Kind::Local {
            edits.push(insert(self.ty.start, "::std::thread::LocalKey<"));
            edits.push(insert(self.ty.end, ">"));
        }
        edits.extend(self.elided.iter().map(|(at, text)| insert(*at, text)));
        edits.push(Edit::Blank(self.value.clone()));
        edits.push(insert(self.range.end, if self.closed { " }" } else { "; }" }));
        edits
    }

    /// What `lazy_static!` makes of a declaration, with a call in place of the value.
    fn lazy(&self, symbol: &str) -> String {
        let Static { name, type_name, .. } = self;
        let foreign = hidden(name);
        format!(
            "pub struct {name}; unsafe extern \"C\" {{ #[link_name = {symbol:?}] \
             safe static {foreign}: fn() -> &'static {type_name}; }} \
             impl ::std::ops::Deref for {name} {{ type Target = {type_name}; \
             fn deref(&self) -> &{type_name} {{ {foreign}() }} }} \
             impl ::lazy_static::LazyStatic for {name} {{ \
             fn initialize(lazy: &Self) {{ let _ = &**lazy; }} }} "
        )
    }
}

fn hidden(name: &str) -> String {
    format!("__PARCELL_{name}")
}

/// Collects the statics of a node.
#[derive(Debug, Default)]
pub(super) struct Finder {
    pub(super) found: Vec<Static>,
}

impl Finder {
    /// Looks at a macro call that stands where an item could.
    fn call(&mut self, mac: &Macro, whole: Range<usize>) {
        let Some(kind) = kind_of(mac) else { return };
        let Ok(declarations) = mac.parse_body::<Declarations>() else { return };
        let declared = declarations.0.iter().map(|d| d.describe(kind));
        let mut statics: Vec<Static> = declared.filter(|s| s.kind == kind).collect();
        let ends = |s: &Static| s.range.clone();
        let (Some(first), Some(last)) = (statics.first().map(ends), statics.last().map(ends))
        else {
            return;
        };
        let frame = Frame { open: whole.start..first.start, close: last.end..whole.end };
        statics.iter_mut().for_each(|s| s.frame = Some(frame.clone()));
        self.found.extend(statics);
    }
}

/// What the declarations in a macro call are.
fn kind_of(mac: &Macro) -> Option<Kind> {
    let name = mac.path.segments.last()?.ident.to_string();
    match name.as_str() {
        "thread_local" => Some(Kind::Local),
        "lazy_static" => Some(Kind::Lazy),
        _ => None,
    }
}

/// Whether a macro call declares statics for the code around it.
pub(super) fn declares_statics(mac: &Macro) -> bool {
    kind_of(mac).is_some()
}

/// A type with `'static` at each reference that names no lifetime, and where that stands.
fn whole_type(ty: &Type) -> (String, Vec<(usize, &'static str)>) {
    let mut at = Vec::new();
    let whole = with_lifetimes(ty.to_token_stream(), &mut at);
    (whole.to_string(), at)
}

/// The same for tokens, and for `Cow<str>`, the one type of std that can leave its lifetime out. The references in `fn(&T) -> &U` are left alone: they are not the static's.
fn with_lifetimes(tokens: TokenStream, at: &mut Vec<(usize, &'static str)>) -> TokenStream {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is_punct = |index: usize, c: char| matches!(tokens.get(index), Some(TokenTree::Punct(p)) if p.as_char() == c);
    let mut whole = TokenStream::new();
    let mut of_function = false;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) if !of_function => {
                let inner = with_lifetimes(group.stream(), at);
                whole.extend([TokenTree::Group(Group::new(group.delimiter(), inner))]);
            }
            TokenTree::Ident(word) => {
                of_function = ["fn", "Fn", "FnMut", "FnOnce"].contains(&word.to_string().as_str());
                whole.extend([token.clone()]);
            }
            _ => whole.extend([token.clone()]),
        }
        let returned = index >= 2 && is_punct(index - 1, '>') && is_punct(index - 2, '-');
        if is_punct(index, '&') && !returned && !is_punct(index + 1, '\'') {
            at.push((token.span().byte_range().end, "'static "));
            whole.extend(quote::quote!('static));
        }
        let of_cow = matches!(tokens.get(index.wrapping_sub(1)), Some(t) if t.to_string() == "Cow");
        if of_cow && is_punct(index, '<') && !is_punct(index + 1, '\'') {
            at.push((token.span().byte_range().end, "'static, "));
            whole.extend(quote::quote!('static,));
        }
    }
    whole
}

/// Whether an attribute gives a static a symbol of the user's choice.
fn names_symbol(attribute: &Attribute) -> bool {
    let text = attribute.to_token_stream().to_string();
    !attribute.path().is_ident("doc")
        && ["export_name", "no_mangle"].iter().any(|n| text.contains(n))
}

impl Visit<'_> for Finder {
    fn visit_item_static(&mut self, node: &ItemStatic) {
        if node.attrs.iter().any(names_symbol) {
            return;
        }
        let mutable = matches!(node.mutability, StaticMutability::Mut(_));
        let whole = range(node);
        let (type_name, elided) = whole_type(&node.ty);
        self.found.push(Static {
            name: node.ident.to_string(),
            type_name,
            elided,
            kind: if mutable { Kind::Mutable } else { Kind::Plain },
            keyword: node.static_token.span.byte_range().start,
            ty: range(&node.ty),
            value: node.eq_token.spans[0].byte_range().start..range(&node.expr).end,
            closed: true,
            range: whole,
            frame: None,
        });
    }

    fn visit_item_macro(&mut self, node: &syn::ItemMacro) {
        self.call(&node.mac, range(node));
    }

    fn visit_stmt_macro(&mut self, node: &syn::StmtMacro) {
        self.call(&node.mac, range(node));
    }
}

/// The declarations in a `thread_local!` or `lazy_static!`.
struct Declarations(Vec<Declaration>);

struct Declaration {
    start: usize,
    keyword: Token![static],
    lazy: bool,
    name: Ident,
    ty: Type,
    equals: Token![=],
    value: Expr,
    semicolon: Option<Token![;]>,
}

impl Parse for Declarations {
    fn parse(input: ParseStream<'_>) -> syn::Result<Declarations> {
        let mut all = Vec::new();
        while !input.is_empty() {
            all.push(input.parse()?);
        }
        Ok(Declarations(all))
    }
}

impl Parse for Declaration {
    fn parse(input: ParseStream<'_>) -> syn::Result<Declaration> {
        let start = input.span().byte_range().start;
        input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        let keyword = input.parse()?;
        let lazy = input.parse::<Option<Token![ref]>>()?.is_some();
        let name = input.parse()?;
        input.parse::<Token![:]>()?;
        Ok(Declaration {
            start,
            keyword,
            lazy,
            name,
            ty: input.parse()?,
            equals: input.parse()?,
            value: input.parse()?,
            semicolon: input.parse()?,
        })
    }
}

impl Declaration {
    fn describe(&self, kind: Kind) -> Static {
        let value_end = range(&self.value).end;
        let end = self.semicolon.map_or(value_end, |s| s.spans[0].byte_range().end);
        let is_of_kind = self.lazy == (kind == Kind::Lazy);
        let (type_name, elided) = whole_type(&self.ty);
        Static {
            name: self.name.to_string(),
            type_name,
            elided,
            kind: if is_of_kind { kind } else { Kind::Plain },
            range: self.start..end,
            keyword: self.keyword.span.byte_range().start,
            ty: range(&self.ty),
            value: self.equals.spans[0].byte_range().start..value_end,
            closed: self.semicolon.is_some(),
            frame: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::edit::apply;
    use super::*;

    fn both(code: &str) -> Vec<String> {
        let file: syn::File = syn::parse_str(code).unwrap();
        let mut finder = Finder::default();
        finder.visit_file(&file);
        let edited = |of: fn(&Static, &str) -> Vec<Edit>| {
            let edits: Vec<Edit> = finder.found.iter().flat_map(|s| of(s, "sym")).collect();
            let words = apply(code, &edits).0;
            words.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        vec![edited(Static::export), edited(Static::import)]
    }

    #[test]
    fn a_static_is_exported_once_and_then_foreign() {
        assert_eq!(
            both("pub static N: u8 = 1;"),
            [
                "#[unsafe(export_name = \"sym\")] pub static N: u8 = 1;",
                "unsafe extern \"C\" { #[link_name = \"sym\"] pub safe static N: u8 ; }"
            ]
        );
        assert!(both("static mut N: u8 = 1;")[1].contains("] static mut N: u8 ; }"));
        assert!(both("fn f() { static N: u8 = 1; }")[1].starts_with("fn f() { unsafe extern"));
        assert_eq!(both("extern \"C\" { static N: u8; }")[0], "extern \"C\" { static N: u8; }");
    }

    #[test]
    fn a_thread_local_is_exported_as_its_key() {
        let [export, import] =
            &both("thread_local! { static A: u8 = 1; static B: T<u8> = f() }")[..]
        else {
            unreachable!()
        };
        assert!(export.ends_with("static __PARCELL_B: ::std::thread::LocalKey<T < u8 >> = B;"));
        assert!(import.ends_with(
            "unsafe extern \"C\" { #[link_name = \"sym\"] safe static B: \
             ::std::thread::LocalKey<T<u8>> ; }"
        ));
        assert!(!import.contains("thread_local!"));
    }

    #[test]
    fn lines_stay_where_they_are() {
        let code = "static N: [u8; 2] = [\n 1,\n 2];\nfn f() {}";
        let file: syn::File = syn::parse_str(code).unwrap();
        let mut finder = Finder::default();
        finder.visit_file(&file);
        let (text, inserted) = apply(code, &finder.found[0].import("s"));
        assert_eq!(text.lines().count(), 4);
        assert_eq!(inserted.len(), 3);
    }
}
