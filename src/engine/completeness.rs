//! Whether a source can be run as it stands: what a console asks at every Enter.

use proc_macro2::TokenStream;

use super::tokens::Tokens;
use crate::stage::Completeness;

/// Judges a source without running anything. Never blocks.
pub fn completeness(code: &str) -> Completeness {
    let code = code.trim_end();
    if code.is_empty() || code.starts_with("%%") {
        return Completeness::Complete;
    }
    let tokens = Tokens::of(code);
    if tokens.mismatched {
        return Completeness::Invalid;
    }
    if tokens.unended || tokens.depth() > 0 {
        return Completeness::Incomplete { indent: " ".repeat(4 * tokens.depth()) };
    }
    if code.parse::<TokenStream>().is_err() {
        return Completeness::Invalid;
    }
    if super::parse::parse(code, &super::macros::Shapes::new()).is_some() {
        return Completeness::Complete;
    }
    let unfinished = ["=", "+", "-", "*", "/", "&&", "||", ",", ".", "->", "=>", "|", "::", ":"];
    let more = unfinished.iter().any(|end| code.ends_with(end))
        || ["let", "fn", "struct", "impl", "use", "mut", "pub", "else", "in"]
            .iter()
            .any(|word| code.rsplit(char::is_whitespace).next() == Some(word));
    if more {
        return Completeness::Incomplete { indent: "    ".to_owned() };
    }
    Completeness::Invalid
}

#[cfg(test)]
mod tests {
    use super::*;
    use Completeness::{Complete, Invalid};

    fn incomplete(indent: usize) -> Completeness {
        Completeness::Incomplete { indent: " ".repeat(indent) }
    }

    #[test]
    fn sources_are_judged() {
        for code in ["1 + 1", "fn f() {}", "let c = '{';", "let s = \"(\";", "", "// {"] {
            assert_eq!(completeness(code), Complete, "{code}");
        }
        assert_eq!(completeness("fn f() {"), incomplete(4));
        assert_eq!(completeness("f(vec!["), incomplete(8));
        assert_eq!(completeness("let s = \"abc"), incomplete(0));
        assert_eq!(completeness("let s = r#\"abc\""), incomplete(0));
        assert_eq!(completeness("/* a /* b */"), incomplete(0));
        assert_eq!(completeness("let x ="), incomplete(4));
        for code in ["f())", "f(]", "let let = 3;", "fn 3() {}"] {
            assert_eq!(completeness(code), Invalid, "{code}");
        }
    }

    #[test]
    fn lifetimes_are_not_characters() {
        assert_eq!(completeness("fn f<'a>(x: &'a str) -> &'a str { x }"), Complete);
        assert_eq!(completeness(r"let c = '\''; let d = '\u{41}';"), Complete);
    }
}
