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

/// Markdown as a comment. Paragraphs are wrapped anew; headings, tables and code keep their lines.
pub(super) fn prose(text: &str, depth: usize) -> String {
    let width = WIDTH - depth - 3;
    let mut lines = Vec::new();
    let mut paragraph = String::new();
    let mut in_code = false;
    for line in text.trim().lines().map(str::trim_end) {
        let bare = line.trim_start();
        let fence = bare.starts_with("```");
        in_code ^= fence;
        let keeps = in_code || fence || bare.is_empty() || bare.starts_with(['|', '#']);
        if keeps || begins_entry(bare) {
            wrap(&std::mem::take(&mut paragraph), width, &mut lines);
        }
        match (keeps, paragraph.is_empty()) {
            (true, _) => lines.push(line.to_owned()),
            (false, true) => line.clone_into(&mut paragraph),
            (false, false) => paragraph = format!("{paragraph} {bare}"),
        }
    }
    wrap(&paragraph, width, &mut lines);
    lines.iter().map(|line| commented(line, depth)).collect()
}

/// Code as a comment, every line as it is.
pub(super) fn disabled(code: &str, depth: usize) -> String {
    code.trim_end().lines().map(|line| commented(line, depth)).collect()
}

fn commented(line: &str, depth: usize) -> String {
    format!("{}// {line}", " ".repeat(depth)).trim_end().to_owned() + "\n"
}

/// Whether a line begins an entry of a list.
fn begins_entry(line: &str) -> bool {
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with("- ")
        || line.starts_with("* ")
        || number.len() < line.len() && number.starts_with(". ")
}

fn wrap(line: &str, width: usize, lines: &mut Vec<String>) {
    if line.is_empty() {
        return;
    }
    let entry = line.trim_start();
    let margin = if begins_entry(entry) { line.len() - entry.len() + 2 } else { 0 };
    let mut now = String::new();
    for word in line.split(' ') {
        if !now.trim().is_empty() && now.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::replace(&mut now, " ".repeat(margin)));
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
        let text = format!("# Title\n\n{long}\nmore\n- {long}\n- b\n```rust\n{long}\n```\n");
        let comment = prose(&text, 4);
        assert!(comment.starts_with("    // # Title\n    //\n    // word word"), "{comment}");
        assert!(comment.contains("word word more\n    // - word"), "{comment}");
        assert!(
            comment.contains("\n    //   word") && comment.contains("\n    // - b\n"),
            "{comment}"
        );
        let too_long = comment.lines().filter(|l| l.chars().count() > WIDTH);
        assert_eq!(too_long.count(), 1, "only code may be: {comment}");
    }
}
