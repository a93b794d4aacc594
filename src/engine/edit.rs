//! Changes to a text that leave its lines where they are: parts are blanked out, words inserted.

use std::ops::Range;

/// A change to a text. Offsets are bytes of the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    Insert(usize, String),
    /// Everything but line breaks becomes spaces.
    Blank(Range<usize>),
}

/// Edits that blank everything outside these ranges of a text.
pub(super) fn keep_only(length: usize, ranges: &[Range<usize>]) -> Vec<Edit> {
    let mut ranges = ranges.to_vec();
    ranges.sort_by_key(|r| r.start);
    let mut edits = Vec::new();
    let mut done = 0;
    for range in ranges {
        if range.start > done {
            edits.push(Edit::Blank(done..range.start));
        }
        done = done.max(range.end);
    }
    edits.push(Edit::Blank(done..length.max(done)));
    edits
}

/// Applies edits. Returns the text with what was inserted: offsets in the original and lengths,
/// ascending. Of several insertions at one place the first given comes first.
pub(super) fn apply(text: &str, edits: &[Edit]) -> (String, Vec<(usize, usize)>) {
    let mut blanks: Vec<&Range<usize>> = Vec::new();
    let mut inserts: Vec<(usize, &str)> = Vec::new();
    for edit in edits {
        match edit {
            Edit::Insert(at, inserted) => inserts.push((*at, inserted)),
            Edit::Blank(range) => blanks.push(range),
        }
    }
    blanks.sort_by_key(|r| r.start);
    inserts.sort_by_key(|(at, _)| *at);
    let mut result = String::with_capacity(text.len());
    let (mut done, mut blanked_to) = (0, 0);
    let mut blanks = blanks.into_iter().peekable();
    let mut copy_to = |end: usize, result: &mut String| {
        for (at, c) in text[done..end].char_indices().map(|(i, c)| (done + i, c)) {
            while let Some(range) = blanks.next_if(|r| r.start <= at) {
                blanked_to = blanked_to.max(range.end);
            }
            if c == '\n' || at >= blanked_to {
                result.push(c);
            } else {
                result.extend(std::iter::repeat_n(' ', c.len_utf8()));
            }
        }
        done = end;
    };
    for (at, inserted) in &inserts {
        copy_to(*at, &mut result);
        result.push_str(inserted);
    }
    copy_to(text.len(), &mut result);
    (result, inserts.iter().map(|(at, inserted)| (*at, inserted.len())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_keep_lines_and_bytes() {
        let text = "é = 1;\nfn f() {}";
        let (kept, inserted) = apply(text, &keep_only(text.len(), std::slice::from_ref(&(8..17))));
        assert_eq!(kept, "       \nfn f() {}");
        assert!(inserted.is_empty());
    }

    #[test]
    fn insertions_stand_where_they_were_asked_for() {
        let insert = |at, text: &str| Edit::Insert(at, text.to_owned());
        let edits = [insert(3, "X"), insert(0, "A"), Edit::Blank(1..3), insert(3, "Y")];
        let (text, inserted) = apply("abcd", &edits);
        assert_eq!(text, "Aa  XYd");
        assert_eq!(inserted, [(0, 1), (3, 1), (3, 1)]);
    }
}
