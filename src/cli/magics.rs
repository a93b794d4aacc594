//! `parcell magics`: the table of magics as the README shows it.

use super::Error;
use super::terminal::say;

/// Prints the table.
pub(super) fn run() -> Result<(), Error> {
    say(crate::magics::markdown_table().trim_end());
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_shows_the_table() {
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once("<!-- magics -->\n").unwrap();
        let (table, _) = rest.split_once("<!-- /magics -->").unwrap();
        let hint = "put what `parcell magics` prints between the two marks in README.md";
        assert_eq!(table, crate::magics::markdown_table(), "{hint}");
    }
}
