//! The variables that a format string names, as in `"{total:>width$}"`.

/// The names in a format string, in order. Braces that do not fit are rustc's to complain of.
pub(crate) fn names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '{' if rest.as_str().starts_with('{') => drop(rest.next()),
            '{' => {
                let (argument, length) = argument(rest.as_str());
                of_argument(argument, &mut names);
                rest = rest.as_str()[length..].chars();
            }
            _ => {}
        }
    }
    names
}

/// What stands up to the closing brace, and how long it is with the brace. A brace can be the
/// character that fills up, too: it is followed by an alignment then.
fn argument(text: &str) -> (&str, usize) {
    let mut start = 0;
    if let Some(colon) = text.find([':', '}']).filter(|at| text[*at..].starts_with(':')) {
        let mut spec = text[colon + 1..].chars();
        let fill = spec.next().map_or(0, char::len_utf8);
        if spec.next().is_some_and(|c| "<^>".contains(c)) {
            start = colon + 1 + fill;
        }
    }
    match text[start..].find('}') {
        Some(end) => (&text[..start + end], start + end + 1),
        None => (text, text.len()),
    }
}

fn of_argument(argument: &str, names: &mut Vec<String>) {
    let (name, spec) = argument.split_once(':').unwrap_or((argument, ""));
    names.extend(identifier(name.trim()));
    // Width and precision: a name before each `$`.
    let mut parts: Vec<&str> = spec.split('$').collect();
    parts.pop();
    for part in parts {
        let start = part
            .rfind(|c: char| !is_of_name(c))
            .map_or(0, |at| at + part[at..].chars().next().map_or(0, char::len_utf8));
        // A leading zero is a flag.
        let name = part[start..].trim_start_matches(|c: char| c.is_ascii_digit());
        names.extend(identifier(name));
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn identifier(text: &str) -> Option<String> {
    let named = text.starts_with(|c: char| c.is_alphabetic() || c == '_') && text != "_";
    (named && text.chars().all(is_of_name)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn names_are_found_wherever_they_may_stand() {
        let table: &[(&str, &[&str])] = &[
            ("no names", &[]),
            ("{} {0} {1:?}", &[]),
            ("{x}", &["x"]),
            ("{x:?} and {y}", &["x", "y"]),
            ("{{x}} {{{y}}}", &["y"]),
            ("{:>width$}", &["width"]),
            ("{x:>w$.p$}", &["x", "w", "p"]),
            ("{0:>1$}", &[]),
            ("{:0w$}", &["w"]),
            ("{x:}<5}", &["x"]),
            ("{x:{^5} {y}", &["x", "y"]),
            ("{:é<w$}", &["w"]),
            ("{:.*}", &[]),
            ("{x:#?}{_y:08.3}", &["x", "_y"]),
            ("{été}", &["été"]),
            ("{ x }", &["x"]),
            ("{x", &["x"]),
            ("}", &[]),
            ("{", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(names(text), *expected, "{text}");
        }
    }
}
