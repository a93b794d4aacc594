//! Reads Rust just closely enough to know, at the start of a line, whether a statement may begin
//! there: strings, comments and brackets, nothing else.

/// What the text read so far leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    /// In a string that `\` escapes in.
    Text,
    /// In a raw string that so many `#` close.
    Raw(usize),
    /// In a block comment, so deep.
    Comment(usize),
}

/// A reader of Rust, fed whole lines.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    brackets: usize,
    /// The last character that is neither white space nor comment.
    last: Option<char>,
}

impl Scanner {
    /// A reader that has read nothing.
    pub(super) fn new() -> Scanner {
        Scanner { state: State::Code, brackets: 0, last: None }
    }

    /// Whether a statement may begin after what was read.
    pub(super) fn at_statement(&self) -> bool {
        self.state == State::Code
            && self.brackets == 0
            && matches!(self.last, None | Some(';' | '}'))
    }

    /// Whether nothing but white space and comments was read.
    pub(super) fn is_blank(&self) -> bool {
        self.last.is_none() && self.state == State::Code
    }

    /// Reads on.
    pub(super) fn feed(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let read = match self.state {
                State::Code => self.code(rest),
                State::Text => self.text(rest),
                State::Raw(hashes) => self.raw(rest, hashes),
                State::Comment(depth) => self.comment(rest, depth),
            };
            rest = &rest[read..];
        }
    }

    /// Takes in one token or character of code; how many bytes it had.
    fn code(&mut self, rest: &str) -> usize {
        if rest.starts_with("//") {
            return rest.find('\n').unwrap_or(rest.len());
        }
        if rest.starts_with("/*") {
            self.state = State::Comment(1);
            return 2;
        }
        let c = rest.chars().next().unwrap_or_default();
        if !c.is_whitespace() {
            self.last = Some(c);
        }
        match c {
            '(' | '[' | '{' => self.brackets += 1,
            ')' | ']' | '}' => self.brackets = self.brackets.saturating_sub(1),
            '"' => self.state = State::Text,
            '\'' => return character(rest),
            _ if is_word(c) => return self.word(rest),
            _ => {}
        }
        c.len_utf8()
    }

    /// An identifier, a number, or the start of a raw string.
    fn word(&mut self, rest: &str) -> usize {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let hashes = rest[end..].len() - rest[end..].trim_start_matches('#').len();
        let raw = ["r", "br", "cr"].contains(&&rest[..end]);
        if raw && rest[end + hashes..].starts_with('"') {
            self.state = State::Raw(hashes);
            self.last = Some('"');
            return end + hashes + 1;
        }
        end
    }

    fn text(&mut self, rest: &str) -> usize {
        let Some(at) = rest.find(['"', '\\']) else { return rest.len() };
        if rest[at..].starts_with('"') {
            self.state = State::Code;
            return at + 1;
        }
        at + rest[at..].chars().take(2).map(char::len_utf8).sum::<usize>()
    }

    fn raw(&mut self, rest: &str, hashes: usize) -> usize {
        let close = format!("\"{}", "#".repeat(hashes));
        let Some(at) = rest.find(&close) else { return rest.len() };
        self.state = State::Code;
        at + close.len()
    }

    fn comment(&mut self, rest: &str, depth: usize) -> usize {
        let close = rest.find("*/");
        let open = rest.find("/*").filter(|open| close.is_none_or(|close| *open < close));
        let (at, depth) = match (open, close) {
            (Some(open), _) => (open, depth + 1),
            (None, Some(close)) => (close, depth - 1),
            (None, None) => return rest.len(),
        };
        self.state = if depth == 0 { State::Code } else { State::Comment(depth) };
        at + 2
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a character literal, or of a lifetime's apostrophe.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            let after = chars.nth(1).map_or(rest.len(), |(at, _)| at);
            rest[after..].find('\'').map_or(rest.len(), |at| after + at + 1)
        }
        Some((_, _)) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement_after(text: &str) -> bool {
        let mut scanner = Scanner::new();
        text.split_inclusive('\n').for_each(|line| scanner.feed(line));
        scanner.at_statement()
    }

    #[test]
    fn a_statement_begins_after_complete_ones() {
        for text in [
            "",
            "// a comment\n",
            "/* one /* in */ another */\n",
            "let a = 1;\n",
            "fn f() { g(); }\n// why\n",
            "let s = \"{ ; \\\" (\";\n",
            "let s = r#\"\" ( \"#;\n",
            "let s = br\"\\\"; let t = cr##\"\"#\"##;\n",
            "let c = '\"'; let d = '\\''; let e = '{'; let u = '\\u{1F980}';\n",
            "fn f<'a>(x: &'a str) -> &'a str { x }\n",
            "'outer: loop { break 'outer; }\n",
            "let r#type = 1;\n",
            "let c = '🦀';\n",
            "let lot = \"ü\\ü\";\n",
        ] {
            assert!(statement_after(text), "{text:?}");
        }
    }

    #[test]
    fn none_begins_inside_or_after_half_of_one() {
        for text in [
            "a\n",
            "let a =\n",
            "foo(\n",
            "fn f() {\n    g();\n",
            "let s = \"\n;\n",
            "let s = r#\"\n\";\n",
            "/* ;\n",
            "/* /* */ ;\n",
            "#[derive(Debug)]\n",
            "vec![1, 2]\n",
            "let c = '\n",
        ] {
            assert!(!statement_after(text), "{text:?}");
        }
    }

    #[test]
    fn blank_means_comments_at_most() {
        let mut scanner = Scanner::new();
        scanner.feed("// a\n /* b */\n");
        assert!(scanner.is_blank());
        scanner.feed("/* c");
        assert!(!scanner.is_blank());
    }
}
