//! Where the cursor stands: what was typed of a name, and what that name can be.

use crate::engine::tokens::{Kind, Token, Tokens};

/// A place in a source that somebody is typing. Positions are bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spot<'a> {
    /// What was typed of the name.
    pub(super) word: &'a str,
    pub(super) place: Place<'a>,
    /// Where the expression that the name ends begins.
    pub(super) start: usize,
}

/// What a name at a place can be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// A field or method of this expression.
    Member(&'a str),
    /// Something in this path.
    Path(Vec<&'a str>),
    /// Anything in scope.
    Name,
    /// A variable in a format string.
    Formatted,
    /// A trait to derive.
    Derived,
    /// A field in the braces behind this name, if it is that of a struct.
    Field(&'a str),
    /// Nothing that is known: a new name, a comment, a number.
    Nowhere,
}

/// Words that can stand before an operand without belonging to it.
const BEFORE: [&str; 17] = [
    "as", "box", "break", "dyn", "else", "if", "impl", "in", "let", "loop", "match", "move", "mut",
    "ref", "return", "unsafe", "while",
];

/// Words that a new name follows.
const NEW: [&str; 7] = ["fn", "struct", "enum", "trait", "mod", "union", "type"];

impl<'a> Spot<'a> {
    /// The place at the end of `before`.
    pub(super) fn at_end(before: &'a str) -> Spot<'a> {
        let tokens = Tokens::of(before);
        let text = |token: &Token| &before[token.at.clone()];
        let nowhere = Spot { word: "", place: Place::Nowhere, start: before.len() };
        let touching = tokens.all.last().filter(|last| last.at.end == before.len());
        match touching {
            Some(last) if last.kind == Kind::Comment => return nowhere,
            Some(last) if last.kind == Kind::Text && tokens.unended => {
                return in_string(before, text(last)).unwrap_or(nowhere);
            }
            _ => {}
        }
        let word = touching.filter(|last| last.kind == Kind::Word).map_or("", text);
        let code: Vec<Token> =
            tokens.all.iter().filter(|token| token.kind != Kind::Comment).cloned().collect();
        let reader =
            Reader { source: before, tokens: &code[..code.len() - usize::from(!word.is_empty())] };
        let (place, start) = reader.place(word, &tokens);
        Spot { word, place, start }
    }
}

/// In `"{na`, a variable.
fn in_string<'a>(before: &'a str, string: &'a str) -> Option<Spot<'a>> {
    let word = super::source::word_before(before, before.len());
    let start = before.len() - word.len();
    let opened = string.strip_suffix(word)?.strip_suffix('{')?;
    (!opened.ends_with('{')).then_some(Spot { word, place: Place::Formatted, start })
}

/// Reads tokens backwards. Comments are left out.
struct Reader<'a, 'b> {
    source: &'a str,
    tokens: &'b [Token],
}

impl<'a> Reader<'a, '_> {
    fn text(&self, index: usize) -> &'a str {
        self.tokens.get(index).map_or("", |token| &self.source[token.at.clone()])
    }

    /// The text of the token before.
    fn before(&self, index: usize) -> &'a str {
        index.checked_sub(1).map_or("", |index| self.text(index))
    }

    fn is_double_colon(&self, end: usize) -> bool {
        end >= 2 && self.text(end - 1) == ":" && self.text(end - 2) == ":"
    }

    /// What can stand after the tokens, and the byte at which the expression begins.
    fn place(&self, word: &str, tokens: &Tokens) -> (Place<'a>, usize) {
        let end = self.tokens.len();
        let here = self.source.len() - word.len();
        if self.before(end) == "." && end >= 2 && self.text(end - 2) != "." {
            let from = self.operand(end - 1).map(|start| self.tokens[start].at.start);
            let Some(start) = from else { return (Place::Nowhere, here) };
            return (Place::Member(&self.source[start..self.tokens[end - 1].at.start]), start);
        }
        if self.is_double_colon(end) {
            let (path, start) = self.path(end - 2);
            return (Place::Path(path), start);
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) || NEW.contains(&self.before(end)) {
            return (Place::Nowhere, here);
        }
        let open = tokens.innermost().map(|index| tokens.all[index].at.start);
        let open = open.and_then(|at| self.tokens.iter().position(|token| token.at.start == at));
        (open.map_or(Place::Name, |open| self.inside(open)), here)
    }

    /// What can stand behind the tokens, inside of a bracket.
    fn inside(&self, open: usize) -> Place<'a> {
        let end = self.tokens.len();
        let first = matches!(self.before(end), "{" | ",");
        match (self.text(open), self.before(open)) {
            ("(", "derive") => Place::Derived,
            ("{", ":") if self.is_double_colon(open) && first => Place::Path(self.path(open - 2).0),
            ("{", name) if first && name.starts_with(char::is_uppercase) => {
                let before = open.checked_sub(1).map_or("", |name| self.before(name));
                let is_body =
                    NEW.contains(&before) || ["impl", "for", ">", ":", "+"].contains(&before);
                if is_body { Place::Name } else { Place::Field(name) }
            }
            _ => Place::Name,
        }
    }

    /// The token at which the operand that ends before `end` begins.
    fn operand(&self, mut end: usize) -> Option<usize> {
        loop {
            let start = self.step(end)?;
            // What a call, an index or a macro is of stands right before it.
            let closed = matches!(self.tokens[end - 1].kind, Kind::Close(_));
            end = match self.before(start) {
                "." if start >= 2 && self.text(start - 2) != "." => start - 1,
                ":" if self.is_double_colon(start) && start > 2 => start - 2,
                "!" if closed && start >= 2 => start - 1,
                "?" if closed => start,
                word if closed && self.is_called(start, word) => start,
                _ if self.text(start) == "?" => start,
                _ => return Some(start),
            };
        }
    }

    /// The token at which the last part of an operand begins: a word, a text, something in
    /// brackets, `?`.
    fn step(&self, end: usize) -> Option<usize> {
        let last = self.tokens.get(end.checked_sub(1)?)?;
        match last.kind {
            Kind::Word if BEFORE.contains(&self.text(end - 1)) => None,
            Kind::Word | Kind::Text => Some(end - 1),
            Kind::Close(_) => self.opening(end - 1),
            Kind::Mark if self.text(end - 1) == "?" => Some(end - 1),
            Kind::Mark if self.text(end - 1) == ">" => self.angle(end - 1),
            _ => None,
        }
    }

    fn is_called(&self, start: usize, before: &str) -> bool {
        let kind = start.checked_sub(1).map(|index| self.tokens[index].kind);
        match kind {
            Some(Kind::Word) => !BEFORE.contains(&before) && self.text(start) != "{",
            Some(Kind::Close(_)) => self.text(start) != "{",
            Some(Kind::Mark) => before == ">",
            _ => false,
        }
    }

    /// The bracket that a closing one belongs to. Comments have been left out, so it is counted.
    fn opening(&self, close: usize) -> Option<usize> {
        let mut depth = 0usize;
        for index in (0..=close).rev() {
            match self.tokens[index].kind {
                Kind::Close(_) => depth += 1,
                Kind::Open => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some(index);
            }
        }
        None
    }

    /// The `<` of a turbofish.
    fn angle(&self, close: usize) -> Option<usize> {
        let mut depth = 0usize;
        for index in (0..=close).rev() {
            match self.text(index) {
                ">" => depth += 1,
                "<" => depth -= 1,
                ";" | "{" | "}" => return None,
                _ => {}
            }
            if depth == 0 {
                return Some(index);
            }
        }
        None
    }

    /// The names of a path that ends before `end`, and the byte at which it begins.
    fn path(&self, mut end: usize) -> (Vec<&'a str>, usize) {
        let mut names = Vec::new();
        loop {
            if self.before(end) == ">" {
                let Some(open) = self.angle(end - 1) else { break };
                end = if self.is_double_colon(open) { open - 2 } else { open };
            }
            let is_name = end > 0 && self.tokens[end - 1].kind == Kind::Word;
            if !is_name || BEFORE.contains(&self.before(end)) {
                break;
            }
            names.insert(0, self.before(end));
            end -= 1;
            if !self.is_double_colon(end) {
                break;
            }
            end -= 2;
        }
        (names, self.tokens.get(end).map_or(self.source.len(), |token| token.at.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(before: &str) -> (&str, &str) {
        match Spot::at_end(before) {
            Spot { word, place: Place::Member(receiver), .. } => (receiver, word),
            other => panic!("{before}: {other:?}"),
        }
    }

    #[test]
    fn the_receiver_is_the_whole_chain() {
        assert_eq!(member("let a = b + v.le"), ("v", "le"));
        assert_eq!(member("f(a, self.points[i + 1].x"), ("self.points[i + 1]", "x"));
        assert_eq!(member("for x in (0..3)."), ("(0..3)", ""));
        assert_eq!(
            member("a; geo::Point::new(1, \")\")?\n    // why\n    ."),
            ("geo::Point::new(1, \")\")?\n    // why\n    ", "")
        );
        assert_eq!(member("|x| x.sq"), ("x", "sq"));
        assert_eq!(member("vec![1, 2].it"), ("vec![1, 2]", "it"));
        assert_eq!(member("\"a.b\".to"), ("\"a.b\"", "to"));
        assert_eq!(
            member("return v.iter().map(|x| { x }).collect::<Vec<_>>().l"),
            ("v.iter().map(|x| { x }).collect::<Vec<_>>()", "l")
        );
        assert_eq!(member("if a { b } p.x"), ("p", "x"));
    }

    #[test]
    fn paths_names_and_strings_are_told_apart() {
        let place = |before| Spot::at_end(before).place;
        assert_eq!(place("let a = std::collections::Ha"), Place::Path(vec!["std", "collections"]));
        assert_eq!(place("Vec::<i32>::ne"), Place::Path(vec!["Vec"]));
        assert_eq!(place("println!(\"{}\", na"), Place::Name);
        assert_eq!(place("println!(\"{na"), Place::Formatted);
        assert_eq!(place("println!(\"{{na"), Place::Nowhere);
        assert_eq!(place("a // na"), Place::Nowhere);
        assert_eq!(place("a // na\nna"), Place::Name);
        assert_eq!(place("#[derive(Debug, Cl"), Place::Derived);
        assert_eq!(
            place("use std::{fmt, collections::{HashMap, BT"),
            Place::Path(vec!["collections"])
        );
        assert_eq!(place("let p = Point { x: 1., y"), Place::Field("Point"));
        assert_eq!(place("let p = Point { x: y"), Place::Name);
        assert_eq!(place("impl Area for Point { f"), Place::Name);
        assert_eq!(place("fn f() -> Point { P"), Place::Name);
        assert_eq!(place("fn ne"), Place::Nowhere);
        assert_eq!(place("0..n"), Place::Name);
        assert_eq!(place(""), Place::Name);
    }
}
