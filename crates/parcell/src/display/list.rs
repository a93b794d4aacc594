//! Understands `Debug` text of lists: takes `[P { x: 1, y: "a, b" }, …]` apart into rows and
//! cells. It knows brackets and quotes, not types; text it cannot follow gives `None` and is
//! shown as text only.

/// One element of a list.
#[derive(Debug, PartialEq)]
pub(super) enum Row<'a> {
    /// `P { x: 1, y: 2 }`: the name, then fields and values.
    Struct(&'a str, Vec<(&'a str, &'a str)>),
    /// `(1, 2)` or `P(1, 2)`: the name if any, then the values.
    Tuple(&'a str, Vec<&'a str>),
    /// `[1, 2]`.
    List(Vec<&'a str>),
    /// Anything else.
    Single(&'a str),
}

impl Row<'_> {
    /// Whether both belong in one table: same kind, name, and fields or length.
    pub(super) fn same_shape(&self, other: &Row<'_>) -> bool {
        match (self, other) {
            (Row::Struct(name, fields), Row::Struct(other, others)) => {
                name == other && fields.iter().map(|f| f.0).eq(others.iter().map(|f| f.0))
            }
            (Row::Tuple(name, items), Row::Tuple(other, others)) => {
                name == other && items.len() == others.len()
            }
            (Row::List(items), Row::List(others)) => items.len() == others.len(),
            (Row::Single(_), Row::Single(_)) => true,
            _ => false,
        }
    }
}

/// What stands between a bracket and its partner.
#[derive(Debug, PartialEq)]
pub(super) struct Items<'a> {
    /// The pieces between commas, trimmed. Of a text that was cut, those that are whole.
    pub(super) items: Vec<&'a str>,
    /// What follows the closing bracket; `None` if the text was cut before it.
    pub(super) rest: Option<&'a str>,
}

/// Splits a text that starts with an opening bracket.
pub(super) fn items(text: &str) -> Option<Items<'_>> {
    let inner = text.strip_prefix(['[', '(', '{'])?;
    let mut items = Vec::new();
    let (mut start, mut depth) = (0, 0_usize);
    let mut position = 0;
    while let Some(c) = inner[position..].chars().next() {
        match c {
            '"' => position += string_length(&inner[position..])?,
            '\'' => position += char_length(&inner[position..]),
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' if depth > 0 => depth -= 1,
            ']' | ')' | '}' => {
                items.extend(whole(&inner[start..position]));
                return Some(Items { items, rest: Some(&inner[position + 1..]) });
            }
            ',' if depth == 0 => {
                items.extend(whole(&inner[start..position]));
                start = position + 1;
            }
            _ => {}
        }
        if !matches!(c, '"' | '\'') {
            position += c.len_utf8();
        }
    }
    Some(Items { items, rest: None })
}

/// A piece, unless it is what stands after a trailing comma.
fn whole(piece: &str) -> Option<&str> {
    Some(piece.trim()).filter(|p| !p.is_empty())
}

/// Length of the string literal at the start of `text`; of a cut one, the whole text.
fn string_length(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    while let Some((position, c)) = characters.next() {
        match c {
            '\\' => drop(characters.next()),
            '"' => return Some(position + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// Length of the character literal at the start of `text`; 1 for a lone apostrophe.
fn char_length(text: &str) -> usize {
    let inner = &text[1..];
    let content = match inner.chars().next() {
        Some('\\') => 1 + inner[1..].chars().next().map_or(0, char::len_utf8),
        Some(c) => c.len_utf8(),
        None => return 1,
    };
    let escape = inner.starts_with("\\u{").then(|| inner.find('}')).flatten();
    let content = escape.map_or(content, |brace| brace + 1);
    if inner[content..].starts_with('\'') { content + 2 } else { 1 }
}

/// Takes one element apart.
pub(super) fn row(piece: &str) -> Row<'_> {
    let piece = piece.trim();
    composite(piece).unwrap_or(Row::Single(piece))
}

fn composite(piece: &str) -> Option<Row<'_>> {
    let open = piece.find(['[', '(', '{', '"', '\''])?;
    let name = piece[..open].trim_end();
    let is_name = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ':'));
    let Items { items, rest } = items(&piece[open..])?;
    if !is_name || rest != Some("") {
        return None;
    }
    match &piece[open..=open] {
        "[" if name.is_empty() => Some(Row::List(items)),
        "(" => Some(Row::Tuple(name, items)),
        "{" if !name.is_empty() => Some(Row::Struct(name, fields(&items)?)),
        _ => None,
    }
}

fn fields<'a>(items: &[&'a str]) -> Option<Vec<(&'a str, &'a str)>> {
    let shown = items.iter().filter(|item| **item != "..");
    shown.map(|item| item.split_once(": ")).collect()
}

/// A cell's text: strings without quotes and escapes, other values on one line.
pub(super) fn cell(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    match inner {
        Some(inner) if string_length(value) == Some(value.len()) => unescape(inner),
        _ => value.split('\n').map(str::trim).collect::<Vec<_>>().join(" "),
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, c == '\\') {
            (_, true) => match characters.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some('r') => plain.push('\r'),
                Some('0') => plain.push('\0'),
                Some('u') => plain.extend(code_point(&mut characters)),
                other => plain.extend(other),
            },
            (c, false) => plain.push(c),
        }
    }
    plain
}

/// The character of `{1f600}`.
fn code_point(characters: &mut std::str::Chars<'_>) -> Option<char> {
    let digits: String = characters.take_while(|&c| c != '}').filter(|&c| c != '{').collect();
    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[expect(dead_code, reason = "read by Debug only")]
    struct P {
        x: i32,
        name: &'static str,
        inner: Option<(u8, char)>,
    }

    const ODD: &str = "a, \"b\" } ] \\ '";

    #[test]
    fn structs_with_odd_strings_and_nested_values_come_apart() {
        let list = [
            P { x: -1, name: ODD, inner: Some((2, ',')) },
            P { x: 2, name: "", inner: Some((3, '\'')) },
            P { x: 3, name: "é\n", inner: None },
        ];
        for text in [format!("{list:?}"), format!("{list:#?}")] {
            let Items { items, rest } = items(&text).unwrap();
            assert_eq!((items.len(), rest), (3, Some("")));
            let Row::Struct("P", fields) = row(items[0]) else { panic!("{:?}", row(items[0])) };
            assert_eq!(fields[0], ("x", "-1"));
            assert_eq!(cell(fields[1].1), ODD);
            assert_eq!(fields[2].0, "inner");
            assert!(items.iter().all(|i| row(i).same_shape(&row(items[0]))));
        }
        let text = format!("{list:?}");
        let Row::Struct(_, fields) = row(items(&text).unwrap().items[1]) else { panic!() };
        assert_eq!(fields[2].1, r"Some((3, '\''))");
    }

    #[test]
    fn rows_know_their_kind() {
        assert_eq!(row("(1, \"a\")"), Row::Tuple("", vec!["1", "\"a\""]));
        assert_eq!(row("Point(1, 2)"), Row::Tuple("Point", vec!["1", "2"]));
        assert_eq!(row("[1.0, 2.0]"), Row::List(vec!["1.0", "2.0"]));
        assert_eq!(row("[]"), Row::List(vec![]));
        assert_eq!(row("-1.5"), Row::Single("-1.5"));
        assert_eq!(row("\"(1, 2)\""), Row::Single("\"(1, 2)\""));
        assert_eq!(row("1..(2)"), Row::Single("1..(2)"));
        assert_eq!(row("{1, 2}"), Row::Single("{1, 2}"));
        assert_eq!(row("P { x: 1, .. }"), Row::Struct("P", vec![("x", "1")]));
    }

    #[test]
    fn shapes_differ_by_name_fields_and_length() {
        assert!(!row("A { x: 1 }").same_shape(&row("B { x: 1 }")));
        assert!(!row("A { x: 1 }").same_shape(&row("A { y: 1 }")));
        assert!(!row("(1, 2)").same_shape(&row("(1, 2, 3)")));
        assert!(!row("[1]").same_shape(&row("(1,)")));
        assert!(row("(1, (2, 3))").same_shape(&row("(4, 5)")));
    }

    #[test]
    fn of_a_cut_list_the_whole_elements_are_found() {
        let cut = items("[(1, 2), (3, 4), (5, ").unwrap();
        assert_eq!(cut, Items { items: vec!["(1, 2)", "(3, 4)"], rest: None });
        let in_string = items("[\"a\", \"b").unwrap();
        assert_eq!(in_string, Items { items: vec!["\"a\""], rest: None });
        assert_eq!(items("no list"), None);
    }

    #[test]
    fn character_literals_are_not_taken_for_brackets() {
        let list = ['[', '\'', '"', '\\', '\u{0}', '\u{301}'];
        let text = format!("{list:?}");
        assert_eq!(items(&text).unwrap().items.len(), list.len(), "{text}");
        assert_eq!(items("[it's, that's]").unwrap().items, ["it's", "that's"]);
    }

    #[test]
    fn strings_lose_their_quotes_and_escapes() {
        let text = "tab\t, quote\", nul\0, \u{301}, 😀, \\";
        assert_eq!(cell(&format!("{text:?}")), text);
        assert_eq!(cell("Some(\n    1,\n)"), "Some( 1, )");
    }
}
