//! Text of values that may be huge: formatting stops when enough is there.

use std::fmt::{self, Debug, Display, Write};

/// Longer texts are cut.
const LIMIT: usize = 64 << 10;

/// The `Debug` text of more elements than these exceeds the limit: the comma and space between
/// them alone do.
pub(super) const ELEMENTS: usize = LIMIT / 2 + 1;

/// Takes at most [`LIMIT`] bytes and then fails, which makes the formatting end early.
#[derive(Default)]
struct Bounded {
    text: String,
    cut: bool,
}

impl Write for Bounded {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = LIMIT - self.text.len();
        if piece.len() <= room {
            self.text.push_str(piece);
            return Ok(());
        }
        self.text.push_str(&piece[..piece.floor_char_boundary(room)]);
        self.cut = true;
        Err(fmt::Error)
    }
}

/// A text, and whether it had to be cut.
pub(super) struct Cut {
    pub(super) text: String,
    pub(super) cut: bool,
}

impl Cut {
    /// The text with a note if it was cut.
    pub(super) fn noted(mut self) -> String {
        if self.cut {
            self.text.push_str("… (truncated)");
        }
        self.text
    }
}

/// Formats until the limit. An implementation that fails on its own leaves what it wrote.
pub(super) fn text(arguments: fmt::Arguments<'_>) -> Cut {
    let mut writer = Bounded::default();
    let finished = writer.write_fmt(arguments).is_ok();
    if !finished && !writer.cut {
        writer.text.push_str("… (its formatting failed)");
    }
    Cut { text: writer.text, cut: writer.cut }
}

/// The `Debug` text, cut and noted.
pub(super) fn debug(value: &dyn Debug) -> String {
    text(format_args!("{value:?}")).noted()
}

/// The `Display` text, cut and noted.
pub(super) fn display(value: &dyn Display) -> String {
    text(format_args!("{value}")).noted()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Counted<'a>(&'a Cell<usize>);

    impl Debug for Counted<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.set(self.0.get() + 1);
            f.write_str("element")
        }
    }

    #[test]
    fn formatting_stops_at_the_limit() {
        let calls = Cell::new(0);
        let many: Vec<_> = (0..1_000_000).map(|_| Counted(&calls)).collect();
        let text = debug(&many);
        assert!(text.ends_with("… (truncated)"));
        assert!(text.len() <= LIMIT + 20);
        assert!(calls.get() < LIMIT / 7 + 2, "{} elements were formatted", calls.get());
    }

    #[test]
    fn a_cut_falls_between_characters() {
        let text = display(&"é".repeat(LIMIT));
        assert_eq!(text.chars().filter(|&c| c == 'é').count(), LIMIT / 2);
        assert_eq!(display(&"short"), "short");
    }
}
