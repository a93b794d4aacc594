//! Source text: indented without touching strings, and prose as comments.

use std::ops::Range;
use std::str::FromStr;

use proc_macro2::{TokenStream, TokenTree};

/// Comments are wrapped at this column.
const WIDTH: usize = 100;

/// The text with every line moved right, but for lines that begin inside a string.
pub(super) fn indented(text: &str, depth: usize) -> String {
    let strings = strings_of_several_lines(text);
    let mut moved = String::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let inside = strings.iter().any(|string| string.start < at && at < string.end);
        if !inside && !line.trim().is_empty() {
            moved.push_str(&" ".repeat(depth));
        }
        moved.push_str(line);
        at += line.len();
    }
    moved
}

fn strings_of_several_lines(text: &str) -> Vec<Range<usize>> {
    fn collect(tokens: TokenStream, strings: &mut Vec<Range<usize>>) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => collect(group.stream(), strings),
                TokenTree::Literal(literal) => strings.push(literal.span().byte_range()),
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
    let mut strings = Vec::new();
    collect(TokenStream::from_str(text).unwrap_or_default(), &mut strings);
    strings.retain(|range| text.get(range.clone()).is_some_and(|string| string.contains('\n')));
    strings
}

/// Text as a comment. Prose is wrapped; tables, lists and code keep their lines.
pub(super) fn comment(text: &str, depth: usize) -> String {
    let margin = " ".repeat(depth);
    let mut lines = Vec::new();
    let mut in_code = false;
    for line in text.trim().lines().map(str::trim_end) {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        if in_code || fence || line.trim_start().starts_with('|') {
            lines.push(line.to_owned());
        } else {
            wrap(line, WIDTH - depth - 3, &mut lines);
        }
    }
    let line = |line: String| format!("{margin}// {line}").trim_end().to_owned() + "\n";
    lines.into_iter().map(line).collect()
}

fn wrap(line: &str, width: usize, lines: &mut Vec<String>) {
    let mut now = String::new();
    for word in line.split(' ') {
        if !now.is_empty() && now.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut now));
        } else if !now.is_empty() {
            now.push(' ');
        }
        now.push_str(word);
    }
    lines.push(now);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_stay_as_they_are() {
        let text = "let s = \"a\n  b\";\n\nf(r#\"\nc\"#, é);\n";
        let moved = "    let s = \"a\n  b\";\n\n    f(r#\"\nc\"#, é);\n";
        assert_eq!(indented(text, 4), moved);
    }

    #[test]
    fn prose_becomes_comments() {
        let long = "word ".repeat(30);
        let text = format!("# Title\n\n{long}\n```rust\n{long}\n```\n");
        let comment = comment(&text, 4);
        assert!(comment.starts_with("    // # Title\n    //\n    // word word"), "{comment}");
        assert_eq!(comment.lines().filter(|l| l.chars().count() > WIDTH).count(), 1, "{comment}");
    }
}
