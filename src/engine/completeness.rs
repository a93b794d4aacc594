//! Whether a source can be run as it stands: what a console asks at every Enter.

use proc_macro2::TokenStream;

use crate::stage::Completeness;

/// Judges a source without running anything. Never blocks.
pub fn completeness(code: &str) -> Completeness {
    let code = code.trim_end();
    if code.is_empty() || code.starts_with("%%") {
        return Completeness::Complete;
    }
    let depth = Depth::of(code);
    if depth.surplus {
        return Completeness::Invalid;
    }
    if depth.open() > 0 {
        return Completeness::Incomplete { indent: " ".repeat(4 * depth.brackets) };
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

/// How deep in brackets, strings and comments a source ends.
#[derive(Debug, Default)]
struct Depth {
    brackets: usize,
    in_text: bool,
    surplus: bool,
}

impl Depth {
    fn open(&self) -> usize {
        self.brackets + usize::from(self.in_text)
    }

    fn of(code: &str) -> Depth {
        let mut depth = Depth::default();
        let mut rest = code;
        while let Some(c) = rest.chars().next() {
            let skipped = depth.step(c, rest);
            rest = &rest[skipped.min(rest.len())..];
        }
        depth
    }

    /// Takes in what `rest` starts with; how many bytes that was.
    fn step(&mut self, c: char, rest: &str) -> usize {
        if rest.starts_with("//") {
            return rest.find('\n').unwrap_or(rest.len());
        }
        if rest.starts_with("/*") {
            return self.text(rest, 2, "*/");
        }
        if let Some(hashes) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            return self.text(rest, 2 + hashes, &close);
        }
        match c {
            '"' => self.string(rest),
            '\'' => char_literal(rest),
            '(' | '[' | '{' => {
                self.brackets += 1;
                1
            }
            ')' | ']' | '}' => {
                self.surplus |= self.brackets == 0;
                self.brackets = self.brackets.saturating_sub(1);
                1
            }
            _ => c.len_utf8(),
        }
    }

    fn text(&mut self, rest: &str, opening: usize, close: &str) -> usize {
        let end = rest[opening..].find(close).map(|at| opening + at + close.len());
        self.in_text |= end.is_none();
        end.unwrap_or(rest.len())
    }

    fn string(&mut self, rest: &str) -> usize {
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => return at + 1,
                _ => {}
            }
        }
        self.in_text = true;
        rest.len()
    }
}

/// How many `#` open a raw string here.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.chars().take_while(|c| *c == '#').count();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// The length of a character literal, or of the quote of a lifetime.
fn char_literal(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => rest[3..].find('\'').map_or(1, |at| 3 + at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
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
        assert_eq!(completeness("/* a"), incomplete(0));
        assert_eq!(completeness("let x ="), incomplete(4));
        for code in ["f())", "let let = 3;", "fn 3() {}"] {
            assert_eq!(completeness(code), Invalid, "{code}");
        }
    }

    #[test]
    fn lifetimes_are_not_characters() {
        assert_eq!(completeness("fn f<'a>(x: &'a str) -> &'a str { x }"), Complete);
        assert_eq!(completeness(r"let c = '\''; let d = '\u{41}';"), Complete);
    }
}
