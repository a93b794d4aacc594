//! Tables: rows under named columns, as html and as aligned text.

use std::fmt::{self, Debug, Write};

use super::list::{self, Items, Row};
use super::{Bundle, Rich, bounded, escape};

/// A table shows at most so many rows.
const ROWS: usize = 50;
/// A table shows at most so many columns.
const COLUMNS: usize = 30;

/// How many rows there are beyond those that a table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Rows(usize),
    Unknown,
}

/// Rows under named columns. Made by [`table`].
///
/// ```
/// use parcell::display::table;
///
/// let squares = table((1..4).map(|n| (n, n * n))).header(["n", "square"]);
/// assert_eq!(squares.to_string(), "   n  square\n0  1       1\n1  2       4\n2  3       9\n");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    more: More,
    numbered: bool,
}

/// Makes a table of rows that have `Debug`: structs give columns named after their fields, tuples
/// and lists numbered columns, other values a single one. The first 50 rows and 30 columns are
/// kept, the others counted.
///
/// ```
/// use parcell::prelude::*;
///
/// #[derive(Debug)]
/// struct Run {
///     threads: usize,
///     seconds: f64,
/// }
///
/// let runs = [Run { threads: 1, seconds: 2.0 }, Run { threads: 2, seconds: 1.0 }];
/// show(&table(&runs).header(["threads", "time / s"]));
/// ```
pub fn table<T: Debug>(rows: impl IntoIterator<Item = T>) -> Table {
    let mut rows = rows.into_iter();
    let texts: Vec<String> =
        rows.by_ref().take(ROWS).map(|row| bounded::text(format_args!("{row:?}")).text).collect();
    let parsed: Vec<Row<'_>> = texts.iter().map(|text| list::row(text)).collect();
    let uniform = parsed.iter().all(|row| row.same_shape(&parsed[0]));
    let singles = || texts.iter().map(|text| Row::Single(text)).collect();
    Table::new(if uniform { parsed } else { singles() }, More::Rows(rows.count()))
}

impl Table {
    fn new(rows: Vec<Row<'_>>, more: More) -> Table {
        let header = rows.first().map(names).unwrap_or_default();
        let rows = rows.iter().map(cells).collect();
        Table { header, rows, more, numbered: true }
    }

    /// A table of texts, its rows without numbers.
    pub(crate) fn plain<const N: usize>(header: [&str; N], rows: Vec<Vec<String>>) -> Table {
        let header = header.map(str::to_owned).to_vec();
        Table { header, rows, more: More::Rows(0), numbered: false }
    }

    /// The table that a `Debug` text of a list shows: of equal structs, tuples or lists of scalars.
    /// `length` is the number of rows where the text does not show them all.
    pub(super) fn from_debug(text: &str, length: Option<usize>) -> Option<Table> {
        let Items { items, rest } = list::items(text)?;
        let rows: Vec<Row<'_>> = items.iter().map(|item| list::row(item)).collect();
        let first = rows.first()?;
        if !is_tabular(first) || !rows.iter().all(|row| row.same_shape(first)) {
            return None;
        }
        let length = length.or(rest.map(|_| rows.len()));
        let shown: Vec<_> = rows.into_iter().take(ROWS).collect();
        let more = length.map_or(More::Unknown, |n| More::Rows(n.saturating_sub(shown.len())));
        Some(Table::new(shown, more))
    }

    /// Names the columns, from the first; columns beyond the names keep theirs.
    ///
    /// ```
    /// let table = parcell::display::table([(1, 'a')]).header(["number", "letter"]);
    /// assert!(table.to_string().contains("number"));
    /// ```
    #[must_use]
    pub fn header<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Table {
        for (column, name) in self.header.iter_mut().zip(names) {
            *column = name.into();
        }
        self
    }

    /// What the table leaves out, in words.
    fn left_out(&self) -> Option<String> {
        let counted = |n: usize, what: &str| {
            (n > 0).then(|| format!("{n} more {what}{}", if n == 1 { "" } else { "s" }))
        };
        let rows = match self.more {
            More::Rows(n) => counted(n, "row"),
            More::Unknown => Some("more rows".to_owned()),
        };
        let columns = counted(self.header.len().saturating_sub(COLUMNS), "column");
        let both: Vec<String> = rows.into_iter().chain(columns).collect();
        (!both.is_empty()).then(|| format!("… {}", both.join(", ")))
    }

    fn html(&self) -> String {
        let cell = |tag: &str, text: &str| format!("<{tag}>{}</{tag}>", escape(text));
        let line = |cells: &[String], tag: &str| -> String {
            cells.iter().take(COLUMNS).map(|text| cell(tag, text)).collect()
        };
        let corner = if self.numbered { "<th></th>" } else { "" };
        let mut html = String::from("<table class=\"dataframe\">\n<thead><tr>");
        html += &format!("{corner}{}</tr></thead>\n<tbody>\n", line(&self.header, "th"));
        for (index, row) in self.rows.iter().enumerate() {
            let number = if self.numbered { cell("th", &index.to_string()) } else { String::new() };
            html += &format!("<tr>{number}{}</tr>\n", line(row, "td"));
        }
        html += "</tbody>\n</table>";
        if let Some(left_out) = self.left_out() {
            html += &format!("\n<p>{left_out}</p>");
        }
        html
    }
}

fn is_tabular(row: &Row<'_>) -> bool {
    match row {
        Row::Struct(_, fields) => !fields.is_empty(),
        // `Some(1)` and other wrappers are scalars.
        Row::Tuple(name, items) => items.len() > usize::from(!name.is_empty()),
        Row::List(items) => !items.is_empty() && !items[0].starts_with('['),
        Row::Single(_) => false,
    }
}

fn names(row: &Row<'_>) -> Vec<String> {
    match row {
        Row::Struct(_, fields) => fields.iter().map(|(name, _)| (*name).to_owned()).collect(),
        Row::Tuple(_, items) | Row::List(items) => {
            (0..items.len()).map(|i| i.to_string()).collect()
        }
        Row::Single(_) => vec!["value".to_owned()],
    }
}

fn cells(row: &Row<'_>) -> Vec<String> {
    match row {
        Row::Struct(_, fields) => fields.iter().map(|(_, value)| list::cell(value)).collect(),
        Row::Tuple(_, items) | Row::List(items) => items.iter().map(|i| list::cell(i)).collect(),
        Row::Single(text) => vec![list::cell(text)],
    }
}

impl Rich for Table {
    fn bundle(&self) -> Bundle {
        Bundle::text(self.to_string().trim_end_matches('\n')).with("text/html", self.html())
    }
}

impl fmt::Display for Table {
    /// Aligned columns, numbers to the right; every line ends with a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |index: Option<usize>| {
            self.numbered.then(|| index.map_or_else(String::new, |i| i.to_string()))
        };
        let line = |index, cells: &[String]| -> Vec<String> {
            let cells = cells.iter().take(COLUMNS).map(|cell| one_line(cell));
            number(index).into_iter().chain(cells).collect()
        };
        let mut lines = vec![line(None, &self.header)];
        lines.extend(self.rows.iter().enumerate().map(|(i, row)| line(Some(i), row)));
        let columns: Vec<Column> = (0..lines[0].len()).map(|c| Column::of(&lines, c)).collect();
        for line in &lines {
            let padded: Vec<String> = line.iter().zip(&columns).map(|(t, c)| c.pad(t)).collect();
            writeln!(f, "{}", padded.join("  ").trim_end())?;
        }
        self.left_out().map_or(Ok(()), |text| writeln!(f, "{text}"))
    }
}

struct Column {
    width: usize,
    right: bool,
}

impl Column {
    /// The column `index` of these lines, the first of which is the header.
    fn of(lines: &[Vec<String>], index: usize) -> Column {
        let cells = || lines.iter().filter_map(|line| line.get(index));
        let width = cells().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let right = cells().skip(1).all(|cell| cell.parse::<f64>().is_ok());
        Column { width, right }
    }

    fn pad(&self, text: &str) -> String {
        let width = self.width;
        if self.right { format!("{text:>width$}") } else { format!("{text:<width$}") }
    }
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        let written = if c.is_control() {
            write!(line, "{}", c.escape_default())
        } else {
            line.write_char(c)
        };
        written.expect("a String takes any text");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &str) -> String {
        Table::from_debug(text, None).unwrap().html()
    }

    #[test]
    fn structs_make_columns_and_html_is_escaped() {
        let html = html(r#"[P { x: 1, y: "<a> & \"b\"" }, P { x: 2, y: "c" }]"#);
        assert!(html.contains("<tr><th></th><th>x</th><th>y</th></tr>"), "{html}");
        assert!(html.contains("<td>&lt;a&gt; &amp; &quot;b&quot;</td>"), "{html}");
        assert!(html.contains("<tr><th>1</th><td>2</td><td>c</td></tr>"), "{html}");
        assert!(!html.contains("more"), "{html}");
    }

    #[test]
    fn what_is_no_table_makes_none() {
        let others = [
            "[]",
            "[1, 2]",
            "[\"(1, 2)\", \"(3, 4)\"]",
            "[(1, 2), (3,)]",
            "[A { x: 1 }, B { x: 1 }]",
            "[[[1]], [[2]]]",
            "[[], []]",
            "P { x: 1 }",
            "[Some(1), None]",
            "[Some(1), Some(2)]",
            "[(), ()]",
        ];
        for text in others {
            assert_eq!(Table::from_debug(text, None), None, "{text}");
        }
        assert!(Table::from_debug("[[1, 2], [3, 4]]", None).is_some());
    }

    #[test]
    fn many_rows_and_columns_are_counted() {
        let rows: Vec<Vec<usize>> = (0..60).map(|i| (0..33).map(|j| i * j).collect()).collect();
        let html = html(&format!("{rows:?}"));
        assert!(html.ends_with("<p>… 10 more rows, 3 more columns</p>"), "{html}");
        assert_eq!(html.matches("<tr>").count(), 51);
        assert_eq!(html.matches("<td>").count(), 50 * 30);
        let cut = Table::from_debug("[(1, 2), (3, ", None).unwrap();
        assert_eq!(cut.left_out().unwrap(), "… more rows");
        let known = Table::from_debug("[(1, 2), (3, ", Some(9)).unwrap();
        assert_eq!(known.left_out().unwrap(), "… 8 more rows");
    }

    #[test]
    fn text_is_aligned_and_numbers_stand_right() {
        let text = table([("é", 1.5), ("line\nbreak", 10.0)]).header(["name", "value"]).to_string();
        assert_eq!(text, "   name         value\n0  é              1.5\n1  line\\nbreak   10.0\n");
    }

    #[test]
    fn rows_beyond_the_limit_are_only_counted() {
        let table = table(0..1_000_000);
        assert_eq!(table.rows.len(), ROWS);
        assert_eq!(table.left_out().unwrap(), "… 999950 more rows");
        assert_eq!(table.header, ["value"]);
        assert_eq!(super::table(Vec::<i32>::new()).to_string(), "\n");
    }

    #[test]
    fn rows_of_different_shapes_are_single_cells() {
        let table = table([vec![1], vec![1, 2]]);
        assert_eq!(table.header, ["value"]);
        assert_eq!(table.rows[1], ["[1, 2]"]);
    }
}
