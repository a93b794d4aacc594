//! How an array shows itself: its shape, who has which block, and some of its values.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::panic::Location;

use ndarray::Array2;

use super::block::collect;
use super::darray::DArray;
use super::element::{Element, Rank};
use super::error::{ArrayError, Shape};
use super::layout::Layout;
use super::parts::Shared;
use crate::display::{Bundle, Rich};
use crate::distributed::blob::short_name;

/// So many rows and columns of values are shown.
pub(super) const PREVIEW: usize = 6;
/// Pixels of the drawing's longer side.
const SIDE: f64 = 180.0;

/// Colours of blocks, by process.
pub(super) const COLOURS: [&str; 8] =
    ["#8fb8de", "#f2b880", "#a3d39c", "#e39aa1", "#c3a6d8", "#d8c58a", "#8fd0cc", "#bdbdbd"];

/// Shape, owners and some values.
impl<T: Element + fmt::Debug, D: Rank> fmt::Display for DArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self.shared(), &preview(self)))
    }
}

/// In a notebook: shape, the blocks in the colours of their processes, and some values. Costs a
/// message to those who have the first elements.
impl<T: Element + fmt::Debug, D: Rank> Rich for DArray<T, D> {
    fn bundle(&self) -> Bundle {
        bundle(self.shared(), std::any::type_name::<T>(), &preview(self))
    }
}

// The following are not generic, so that cells need not compile them.

fn text(array: &Shared, values: &Result<Preview, ArrayError>) -> String {
    let values = match values {
        Ok(values) => values.text(),
        Err(why) => why.to_string(),
    };
    format!("{}\n{values}", array.words())
}

fn bundle(array: &Shared, element: &str, values: &Result<Preview, ArrayError>) -> Bundle {
    let table = match values {
        Ok(values) => values.html(),
        Err(why) => format!("<p>{}</p>", escaped(&why.to_string())),
    };
    let layout = &array.parts.layout;
    let kind = escaped(&short_name(element));
    let heading = format!(
        "<b>DArray</b> {} of <code>{kind}</code>, {} piece{} on process{} {}",
        Shape(&layout.shape()),
        layout.pieces(),
        if layout.pieces() == 1 { "" } else { "s" },
        if owners(layout).len() == 1 { "" } else { "es" },
        owners(layout).iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    );
    let html = format!(
        "<div>{heading}</div><div style=\"display:flex;gap:1.5em;align-items:flex-start\">{}{table}</div>",
        drawing(layout),
    );
    Bundle::text(text(array, values)).with("text/html", html)
}

/// The processes that have pieces, ascending.
fn owners(layout: &Layout) -> Vec<usize> {
    let mut owners = layout.procs().to_vec();
    owners.sort_unstable();
    owners.dedup();
    owners
}

/// The blocks of the first two dimensions, each in the colour of its process.
fn drawing(layout: &Layout) -> String {
    let cuts = layout.cuts();
    // A vector lies.
    let one = vec![0, 1];
    let (rows, columns) = match cuts {
        [] => (&one, &one),
        [only] => (&one, only),
        [rows, columns, ..] => (rows, columns),
    };
    let extent = |cuts: &[usize]| cuts[cuts.len() - 1].max(1) as f64;
    let longest = extent(rows).max(extent(columns));
    // Even the thinnest array can be seen.
    let size = |cuts: &[usize]| (SIDE * extent(cuts) / longest).max(SIDE / 8.0);
    let (height, width) = (size(rows), size(columns));
    let mut svg = format!("<svg width=\"{width:.0}\" height=\"{height:.0}\">");
    let scale = |cuts: &[usize], at: usize, size: f64| cuts[at] as f64 / extent(cuts) * size;
    let beyond: usize = layout.grid().iter().skip(2).product();
    let shown = (rows.len() - 1).min(64) * (columns.len() - 1);
    for block in 0..shown.min(4096) {
        let (i, j) = (block / (columns.len() - 1), block % (columns.len() - 1));
        let owner = layout.procs()[block * beyond];
        let (x, y) = (scale(columns, j, width), scale(rows, i, height));
        let (w, h) = (scale(columns, j + 1, width) - x, scale(rows, i + 1, height) - y);
        let _ = write!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"{}\" \
             stroke=\"white\"><title>process {owner}</title></rect>",
            COLOURS[owner % COLOURS.len()]
        );
        if w > 14.0 && h > 12.0 {
            let (x, y) = (x + w / 2.0, y + h / 2.0);
            let _ = write!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" dominant-baseline=\"central\" \
                 font-size=\"11\" font-family=\"sans-serif\" fill=\"black\">{owner}</text>"
            );
        }
    }
    svg + "</svg>"
}

/// The first values, in words.
pub(super) struct Preview {
    cells: Array2<String>,
    more_rows: bool,
    more_columns: bool,
}

/// The first elements of the first two dimensions.
fn preview<T: Element + fmt::Debug, D: Rank>(array: &DArray<T, D>) -> Result<Preview, ArrayError> {
    let (shape, block) = first(array.layout());
    let here = collect::<T, D>(array.open()?, &block, Location::caller())?;
    let mut words = Vec::new();
    here.elements().iter().for_each(|x| push_word(&mut words, x));
    Ok(Preview::of(&shape, words))
}

/// The shape, and the block of the elements that are shown.
fn first(layout: &Layout) -> (Vec<usize>, Vec<Range<usize>>) {
    let shape = layout.shape();
    let shown =
        |(axis, extent): (usize, &usize)| 0..(*extent).min(if axis < 2 { PREVIEW } else { 1 });
    let block = shape.iter().enumerate().map(shown).collect();
    (shape, block)
}

fn push_word(words: &mut Vec<String>, element: &dyn fmt::Debug) {
    words.push(format!("{element:.5?}"));
}

impl Preview {
    /// Of an array of this shape, from the words for its first elements: at most [`PREVIEW`] in each of
    /// the first two dimensions.
    pub(super) fn of(shape: &[usize], mut words: Vec<String>) -> Preview {
        let shown = |axis: usize| shape[axis].min(PREVIEW);
        let (rows, columns) = match shape.len() {
            0 => (1, 1),
            1 => (1, shown(0)),
            _ => (shown(0), shown(1)),
        };
        words.truncate(rows * columns);
        let cells = Array2::from_shape_vec((rows, columns), words).unwrap_or_default();
        let more = |axis: usize| shape.get(axis).is_some_and(|extent| *extent > PREVIEW);
        let lies = shape.len() == 1;
        Preview { cells, more_rows: !lies && more(0), more_columns: more(usize::from(!lies)) }
    }

    pub(super) fn text(&self) -> String {
        let width = self.cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for row in self.cells.rows() {
            let cells: Vec<String> = row.iter().map(|cell| format!("{cell:>width$}")).collect();
            text += &cells.join("  ");
            text += if self.more_columns { "  …\n" } else { "\n" };
        }
        if self.more_rows {
            text += "…\n";
        }
        text
    }

    pub(super) fn html(&self) -> String {
        let style = "style=\"font-family:monospace;text-align:right\"";
        let mut html = String::from("<table>");
        for row in self.cells.rows() {
            html += "<tr>";
            for cell in row {
                let _ = write!(html, "<td {style}>{}</td>", escaped(cell));
            }
            html += if self.more_columns { "<td>…</td></tr>" } else { "</tr>" };
        }
        if self.more_rows {
            html += "<tr><td>⋮</td></tr>";
        }
        html + "</table>"
    }
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[test]
    fn an_array_shows_shape_blocks_and_values() {
        let a = DArray::from_fn((20, 3), |(i, j): (usize, usize)| i as f64 + j as f64 / 3.0);
        let bundle = a.bundle();
        let html = format!("{bundle:?}");
        assert!(html.contains("20×3 of <code>f64</code>, 1 piece on process 1"), "{html}");
        assert!(html.contains("<title>process 1</title>") && html.contains("5.66667"), "{html}");
        let text = a.to_string();
        assert!(text.ends_with("…\n") && text.contains("0.00000  0.33333  0.66667\n"), "{text}");
        a.close();
        assert!(a.to_string().contains("closed"), "{a}");
    }

    #[test]
    fn arrays_of_all_ranks_are_drawn() {
        for layout in [
            Layout::even(&[5], &[2, 3]),
            Layout::even(&[0, 3], &[2]),
            Layout::even(&[6, 1000], &[2, 3]),
            Layout::even(&[4, 4, 4], &[2; 8]),
        ] {
            let layout = layout.unwrap();
            assert!(drawing(&layout).matches("<rect").count() >= 1, "{layout}");
        }
        assert!(dfill("a<b".to_owned(), (2, 2, 2)).bundle() != Bundle::default());
    }
}
