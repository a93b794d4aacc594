//! Takes a source apart that may be unfinished: words, strings, brackets. What a parser would
//! reject is read here too, since somebody is still typing it.

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identifier, keyword or number.
    Word,
    /// A string, byte string, or character.
    Text,
    /// A line or block comment.
    Comment,
    /// An opening bracket.
    Open,
    /// A closing bracket, and the index of the token that opened it.
    Close(Option<usize>),
    /// Any other character.
    Mark,
}

/// A token and where it stands, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: Range<usize>,
}

/// A source taken apart.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) all: Vec<Token>,
    /// Tokens that opened a bracket which nothing closes.
    open: Vec<usize>,
    /// The last token is a text or block comment without its end.
    pub(super) unended: bool,
    /// A bracket closes what was not opened, or was opened by one of another kind.
    pub(super) mismatched: bool,
}

impl Tokens {
    /// Takes a source apart.
    pub(super) fn of(code: &str) -> Tokens {
        let mut tokens = Tokens::default();
        let mut at = 0;
        while let Some(c) = code[at..].chars().next() {
            if c.is_whitespace() {
                at += c.len_utf8();
                continue;
            }
            let (kind, length) = tokens.next(c, &code[at..]);
            let kind = match kind {
                Kind::Close(_) => tokens.close(c, code),
                other => other,
            };
            if kind == Kind::Open {
                tokens.open.push(tokens.all.len());
            }
            tokens.all.push(Token { kind, at: at..at + length });
            at += length;
        }
        tokens
    }

    /// The brackets that close what is open, innermost first.
    pub(super) fn closers(&self, code: &str) -> String {
        let text = |index: &usize| &code[self.all[*index].at.clone()];
        self.open.iter().rev().map(|index| closer(text(index))).collect()
    }

    /// How many brackets are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// The token that opened the innermost open bracket.
    pub(super) fn innermost(&self) -> Option<usize> {
        self.open.last().copied()
    }

    fn close(&mut self, c: char, code: &str) -> Kind {
        let opened = self.open.pop();
        let fits = opened.is_some_and(|index| closer(&code[self.all[index].at.clone()]) == c);
        self.mismatched |= !fits;
        Kind::Close(opened)
    }

    /// The token that `rest` starts with: its kind and length.
    fn next(&mut self, c: char, rest: &str) -> (Kind, usize) {
        if rest.starts_with("//") {
            return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
        }
        if rest.starts_with("/*") {
            return (Kind::Comment, self.block_comment(rest));
        }
        match c {
            '"' => (Kind::Text, self.text(rest, 1)),
            '\'' => quoted(rest),
            '(' | '[' | '{' => (Kind::Open, 1),
            ')' | ']' | '}' => (Kind::Close(None), 1),
            _ if is_word(c) => self.word(rest),
            _ => (Kind::Mark, c.len_utf8()),
        }
    }

    /// A word, or the text that it is the prefix of: `r"…"`, `br#"…"#`, `b'…'`.
    fn word(&mut self, rest: &str) -> (Kind, usize) {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (prefix, after) = rest.split_at(end);
        let hashes = after.len() - after.trim_start_matches('#').len();
        match prefix {
            "r" | "br" | "cr" if after[hashes..].starts_with('"') => {
                let close = format!("\"{}", "#".repeat(hashes));
                (Kind::Text, self.ended_by(rest, end + hashes + 1, &close))
            }
            "r" if hashes == 1 && after[1..].starts_with(is_word) => {
                let name = after[1..].find(|c| !is_word(c)).unwrap_or(after.len() - 1);
                (Kind::Word, end + 1 + name)
            }
            "b" | "c" if after.starts_with('"') => (Kind::Text, self.text(rest, end + 1)),
            "b" if after.starts_with('\'') => (Kind::Text, end + quoted(after).1),
            _ => (Kind::Word, end),
        }
    }

    /// The length of a text in which `\` escapes.
    fn text(&mut self, rest: &str, opening: usize) -> usize {
        let mut escaped = false;
        for (at, c) in rest[opening..].char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => return opening + at + 1,
                _ => {}
            }
        }
        self.unended = true;
        rest.len()
    }

    fn ended_by(&mut self, rest: &str, opening: usize, close: &str) -> usize {
        let end = rest[opening..].find(close).map(|at| opening + at + close.len());
        self.unended |= end.is_none();
        end.unwrap_or(rest.len())
    }

    /// The length of a block comment; they nest.
    fn block_comment(&mut self, rest: &str) -> usize {
        let (mut depth, mut at) = (0, 0);
        while at < rest.len() {
            let step = match &rest.as_bytes()[at..] {
                [b'/', b'*', ..] => {
                    depth += 1;
                    2
                }
                [b'*', b'/', ..] if depth == 1 => return at + 2,
                [b'*', b'/', ..] => {
                    depth -= 1;
                    2
                }
                _ => 1,
            };
            at += step;
        }
        self.unended = true;
        rest.len()
    }
}

fn closer(open: &str) -> char {
    match open {
        "(" => ')',
        "[" => ']',
        _ => '}',
    }
}

/// A character, or the apostrophe of a lifetime.
fn quoted(rest: &str) -> (Kind, usize) {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let after = at + escaped.len_utf8();
            let end = rest[after..].find('\'').map(|end| after + end + 1);
            end.map_or((Kind::Mark, 1), |end| (Kind::Text, end))
        }
        (Some(_), Some((at, '\''))) => (Kind::Text, at + 1),
        _ => (Kind::Mark, 1),
    }
}

/// Whether a character can stand in an identifier.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(code: &str) -> Vec<&str> {
        Tokens::of(code).all.iter().map(|t| &code[t.at.clone()]).collect()
    }

    #[test]
    fn strings_characters_and_comments_are_one_token_each() {
        assert_eq!(
            texts(r#"f("a \" (", 'é', '\'')"#),
            ["f", "(", r#""a \" (""#, ",", "'é'", ",", r"'\''", ")"]
        );
        assert_eq!(
            texts("r#\"\" (\"# br\"\\\" b'{' r#type"),
            ["r#\"\" (\"#", "br\"\\\"", "b'{'", "r#type"]
        );
        assert_eq!(
            texts("a /* { /* ( */ */ b // [\nc"),
            ["a", "/* { /* ( */ */", "b", "// [", "c"]
        );
        assert_eq!(texts("&'a str"), ["&", "'", "a", "str"]);
    }

    #[test]
    fn what_is_open_is_known() {
        let code = "f(vec![{ a";
        assert_eq!(Tokens::of(code).closers(code), "}])");
        assert!(Tokens::of("f(])").mismatched && Tokens::of(")").mismatched);
        assert!(Tokens::of("let s = \"ü").unended && Tokens::of("/* /* */ ü").unended);
        assert!(!Tokens::of("let c = '\\u{41}'; \"\"").unended);
    }
}
