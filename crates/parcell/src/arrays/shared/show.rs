//! How a shared array shows itself: its shape, who works on which elements, and some of its values.

use std::any::type_name;
use std::fmt::{self, Write as _};

use ndarray::{ArrayView, Slice};

use super::array::SharedArray;
use super::cell::Plain;
use super::error::SharedError;
use super::frozen::FrozenArray;
use super::split;
use crate::arrays::Rank;
use crate::arrays::display::{COLOURS, PREVIEW, Preview, escaped};
use crate::arrays::error::Shape;
use crate::display::{Bundle, Rich};
use crate::distributed::blob::short_name;
use crate::timing::in_binary_units;

/// Processes beyond these are counted.
const SHOWN: usize = 16;

/// What is said of an array besides its values.
struct Facts<'a> {
    kind: &'static str,
    element: String,
    shape: &'a [usize],
    bytes: usize,
    pids: &'a [usize],
}

impl Facts<'_> {
    fn heading(&self) -> String {
        let Facts { kind, element, shape, bytes, pids } = self;
        let (shape, size) = (Shape(shape), in_binary_units(*bytes as u64));
        format!("{kind}({shape} of {element}, {size}, on processes {pids:?})")
    }

    /// `process 2: 0..6, process 3: 6..12`.
    fn parts(&self) -> String {
        let n: usize = self.shape.iter().product();
        let part = |(k, id)| format!("process {id}: {:?}", split::part(n, self.pids.len(), k));
        let mut parts: Vec<String> = self.pids.iter().enumerate().take(SHOWN).map(part).collect();
        if self.pids.len() > SHOWN {
            parts.push(format!("{} more", self.pids.len() - SHOWN));
        }
        parts.join(", ")
    }

    fn text(&self, values: &Result<Preview, SharedError>) -> String {
        let values = match values {
            Ok(values) => values.text(),
            Err(why) => format!("{why}\n"),
        };
        format!("{}\n{values}{}", self.heading(), self.parts())
    }

    fn bundle(&self, values: &Result<Preview, SharedError>) -> Bundle {
        let shown = match values {
            Ok(values) => values.html(),
            Err(why) => format!("<p>{}</p>", escaped(&why.to_string())),
        };
        let mut owners = String::new();
        let n: usize = self.shape.iter().product();
        for (k, id) in self.pids.iter().enumerate().take(SHOWN) {
            let part = split::part(n, self.pids.len(), k);
            let colour = COLOURS[id % COLOURS.len()];
            // As wide as their share, but never too narrow for the text.
            let _ = write!(
                owners,
                "<div style=\"background:{colour};color:black;flex:{} 0 auto;padding:0 .4em\">{id}: \
                 {part:?}</div>",
                part.len().max(1)
            );
        }
        let html = format!(
            "<div>{}</div><div style=\"display:flex;max-width:40em;font:11px sans-serif\">{owners}</div>\
             {shown}",
            escaped(&self.heading())
        );
        Bundle::text(self.text(values)).with("text/html", html)
    }
}

/// The first elements of the first two dimensions, in words.
fn preview<A, T: fmt::Debug, D: Rank>(
    view: &ArrayView<'_, A, D>,
    value: impl Fn(&A) -> T,
) -> Preview {
    let first = view.slice_each_axis(|axis| {
        let shown = if axis.axis.index() < 2 { PREVIEW } else { 1 };
        Slice::from(0..axis.len.min(shown))
    });
    let words = first.iter().map(|x| format!("{:.5?}", value(x))).collect();
    Preview::of(view.shape(), words)
}

impl<T: Plain, D: Rank> SharedArray<T, D> {
    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "SharedArray",
            element: short_name(type_name::<T>()),
            shape: self.dim().slice(),
            bytes: self.shared().ticket.bytes,
            pids: &self.shared().pids,
        }
    }

    fn preview(&self) -> Result<Preview, SharedError>
    where
        T: fmt::Debug,
    {
        let view = ArrayView::from_shape(self.dim().clone(), self.every()?);
        Ok(preview(&view.expect("as many as the shape has"), |cell| cell.get()))
    }
}

/// Shape, some values, and who works on which elements.
impl<T: Plain + fmt::Debug, D: Rank> fmt::Display for SharedArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.facts().text(&self.preview()))
    }
}

/// In a notebook: shape, the elements that each process works on, and some values. Costs no
/// message.
impl<T: Plain + fmt::Debug, D: Rank> Rich for SharedArray<T, D> {
    fn bundle(&self) -> Bundle {
        self.facts().bundle(&self.preview())
    }
}

/// As a [`SharedArray`].
impl<T: Plain + fmt::Debug, D: Rank> Rich for FrozenArray<T, D> {
    fn bundle(&self) -> Bundle {
        let (shape, pids) = (self.shape(), self.procs());
        let facts = Facts {
            kind: "FrozenArray",
            element: short_name(type_name::<T>()),
            shape: &shape,
            bytes: shape.iter().product::<usize>() * size_of::<T>(),
            pids: &pids,
        };
        facts.bundle(&self.try_view().map(|view| preview(&view, |x| *x)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[test]
    fn an_array_shows_shape_parts_and_values() {
        let s = SharedArray::from_fn((20, 3), |(i, j): (usize, usize)| i as f64 + j as f64 / 3.0);
        assert_eq!(format!("{s:?}"), "SharedArray(20×3 of f64, 480 bytes, on processes [1])");
        let text = s.to_string();
        assert!(text.contains("0.00000  0.33333  0.66667\n"), "{text}");
        assert!(text.ends_with("…\nprocess 1: 0..60"), "{text}");
        let html = format!("{:?}", s.bundle());
        assert!(html.contains("1: 0..60") && html.contains("5.66667"), "{html}");
        let html = format!("{:?}", s.freeze().bundle());
        assert!(html.contains("FrozenArray(20×3 of f64, 480 bytes"), "{html}");
    }

    #[test]
    fn arrays_of_all_ranks_and_types_are_shown() {
        assert!(SharedArray::<u8, _>::zeros((2, 2, 2)).to_string().contains("0  0\n0  0\n"));
        assert!(SharedArray::<u8, _>::zeros(()).to_string().contains("\n0\n"));
        assert!(SharedVector::<[u16; 2]>::zeros(0).to_string().ends_with("process 1: 0..0"));
        let wave = SharedVector::<num_complex::Complex<f64>>::zeros(1);
        assert!(format!("{wave:?}").contains("(1 of Complex<f64>, 16 bytes"), "{wave:?}");
    }
}
