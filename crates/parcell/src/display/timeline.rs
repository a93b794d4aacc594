//! Who ran what when: spans of time in lanes.

use std::borrow::Borrow;
use std::fmt::{self, Display};
use std::time::Duration;

use plotters::prelude::{DrawingBackend, RGBColor, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, WHITE};

use super::frame::{self, Data, Frame, Plot, Scaled};
use super::paper::{Axis, Drawn, Pen, SERIES, SMALL, Scale};
use super::{Bundle, Colormap, Image, Rich, Svg};

/// Something that took time: what ran where, from when to when.
///
/// `lane` is where, such as a thread's number; `label` is what, such as an iteration's. Times are
/// measured from a common start, as [`Instant::elapsed`](std::time::Instant::elapsed) gives them.
///
/// ```
/// use parcell::prelude::*;
/// use std::time::Instant;
///
/// let begin = Instant::now();
/// let start = begin.elapsed();
/// let sum: u64 = (0..1000).sum();
/// let span = Span { lane: threadid(), label: "sum", start, end: begin.elapsed() };
/// assert!(span.start <= span.end && sum == 499_500);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<Lane = usize, Label = usize> {
    /// Where it ran.
    pub lane: Lane,
    /// What ran.
    pub label: Label,
    /// When it began.
    pub start: Duration,
    /// When it ended.
    pub end: Duration,
}

/// Draws who ran what when: lanes below each other, time in milliseconds to the right, each label
/// in a colour of its own. Lanes with numbers are sorted, others stand in the order in which they
/// occur.
///
/// # Panics
/// If a span ends before it starts.
///
/// ```
/// use parcell::prelude::*;
/// use std::time::Instant;
///
/// let begin = Instant::now();
/// let spans: Vec<Span> = (0..8)
///     .into_par_iter()
///     .map(|i| {
///         let start = begin.elapsed();
///         sleep(0.001);
///         Span { lane: threadid(), label: i, start, end: begin.elapsed() }
///     })
///     .collect();
/// show(&timeline(&spans).title("Eight naps"));
/// ```
#[track_caller]
pub fn timeline<Lane: Display, Label: Display, S: Borrow<Span<Lane, Label>>>(
    spans: impl IntoIterator<Item = S>,
) -> Timeline {
    let text = |span: S| {
        let Span { lane, label, start, end } = span.borrow();
        Span { lane: lane.to_string(), label: label.to_string(), start: *start, end: *end }
    };
    Timeline::new(spans.into_iter().map(text).collect())
}

/// Spans of time in lanes. Made by [`timeline`].
#[derive(Clone)]
#[must_use]
pub struct Timeline {
    spans: Vec<Span<String, String>>,
    lanes: Vec<String>,
    labels: Vec<String>,
    title: String,
}

impl Timeline {
    #[track_caller]
    fn new(spans: Vec<Span<String, String>>) -> Timeline {
        if let Some(span) = spans.iter().find(|span| span.end < span.start) {
            let Span { lane, label, start, end } = span;
            panic!("{label:?} in lane {lane:?} ends at {end:?}, before it starts at {start:?}");
        }
        let lanes = sorted(spans.iter().map(|span| &span.lane));
        let labels = sorted(spans.iter().map(|span| &span.label));
        Timeline { spans, lanes, labels, title: String::new() }
    }

    /// A line above the picture.
    ///
    /// ```
    /// use parcell::prelude::*;
    /// use std::time::Duration;
    ///
    /// let span = Span { lane: 0, label: 0, start: Duration::ZERO, end: Duration::from_millis(3) };
    /// show(&timeline([span]).title("Three milliseconds"));
    /// ```
    pub fn title(mut self, title: impl Into<String>) -> Timeline {
        self.title = title.into();
        self
    }

    /// The picture as png, with twice as many pixels as it is shown with.
    ///
    /// # Panics
    /// If there are no spans.
    #[must_use]
    #[track_caller]
    pub fn image(&self) -> Image {
        self.frame().png(self)
    }

    /// The picture as svg.
    ///
    /// # Panics
    /// If there are no spans.
    #[must_use]
    #[track_caller]
    pub fn svg(&self) -> Svg {
        Svg(self.frame().svg(self))
    }

    /// The end of the last span in milliseconds.
    fn end(&self) -> f64 {
        self.spans.iter().map(|span| millis(span.end)).fold(0.0, f64::max)
    }

    #[track_caller]
    fn frame(&self) -> Frame {
        assert!(!self.spans.is_empty(), "nothing to draw: a timeline without spans");
        let end = self.end();
        let lanes = self.lanes.len();
        let height = 90 + 30 * lanes.clamp(1, 40);
        let x =
            Axis { from: 0.0, to: if end > 0.0 { end * 1.02 } else { 1.0 }, scale: Scale::Linear };
        // The first lane is the uppermost.
        let y = Axis { from: lanes as f64 - 0.5, to: -0.5, scale: Scale::Each };
        let described = self.labels.iter().any(|label| !label.is_empty());
        let few = described && (2..=SERIES.len()).contains(&self.labels.len());
        let legend = if few { self.labels.as_slice() } else { &[] };
        Frame {
            size: (640, u32::try_from(height).expect("lanes are clamped")),
            title: self.title.clone(),
            x: Scaled { axis: x, label: "time / ms".to_owned(), places: Vec::new() },
            y: Scaled { axis: y, label: String::new(), places: self.lanes.clone() },
            legend: legend.iter().map(|label| (label.clone(), self.color(label))).collect(),
        }
    }

    /// A few labels have the colours of series, many are spread over a colour map.
    fn color(&self, label: &str) -> RGBColor {
        let index = self.labels.iter().position(|l| l == label).unwrap_or(0);
        if self.labels.len() <= SERIES.len() {
            return SERIES[index];
        }
        let [red, green, blue] =
            Colormap::Viridis.rgb(index as f64 / (self.labels.len() - 1) as f64);
        RGBColor(red, green, blue)
    }

    fn describe(&self) -> String {
        format!("<timeline, {} spans in {} lanes>", self.spans.len(), self.lanes.len())
    }
}

/// Without repetitions, numbers by size.
fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let mut distinct: Vec<String> = names.filter(|&n| seen.insert(n)).cloned().collect();
    let numbers: Option<Vec<f64>> = distinct.iter().map(|name| name.parse().ok()).collect();
    if numbers.is_some() {
        let number = |name: &String| name.parse::<f64>().unwrap_or(f64::NAN);
        distinct.sort_by(|a, b| number(a).total_cmp(&number(b)));
    }
    distinct
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Data for Timeline {
    fn draw<B: DrawingBackend>(&self, plot: &mut Plot<'_, B>, pen: Pen) -> Drawn<B> {
        let style = pen.text(SMALL - 2.0).color(&WHITE).pos(Pos::new(HPos::Center, VPos::Center));
        for span in &self.spans {
            let lane = self.lanes.iter().position(|lane| *lane == span.lane).unwrap_or(0) as f64;
            let (start, end) = (millis(span.start), millis(span.end));
            let [from, to] =
                [(start, lane - 0.4), (end, lane + 0.4)].map(|p| plot.backend_coord(&p));
            // A gap tells neighbours apart; even the shortest is seen.
            let right = (to.0 - pen.length(0.5)).max(from.0 + 1);
            let color = self.color(&span.label);
            frame::draw_in(plot, Rectangle::new([from, (right, to.1)], color.filled()))?;
            if pen.width([span.label.as_str()], SMALL) < right - from.0 {
                let middle = (i32::midpoint(from.0, right), i32::midpoint(from.1, to.1));
                let bright = 2 * u32::from(color.0) + 5 * u32::from(color.1) + u32::from(color.2);
                let ink = if bright > 8 * 140 {
                    pen.text(SMALL - 2.0).pos(style.pos)
                } else {
                    style.clone()
                };
                frame::draw_in(plot, Text::new(span.label.clone(), middle, ink))?;
            }
        }
        Ok(())
    }
}

impl Rich for Timeline {
    fn bundle(&self) -> Bundle {
        self.image().described(self.describe())
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(lane: &'static str, label: usize, start: u64, end: u64) -> Span<&'static str, usize> {
        let [start, end] = [start, end].map(Duration::from_millis);
        Span { lane, label, start, end }
    }

    #[test]
    fn spans_lie_in_their_lanes() {
        let svg = timeline([span("10", 1, 0, 50), span("9", 2, 50, 100)]).svg().0;
        let rectangles: Vec<&str> =
            svg.lines().filter(|line| line.contains("<rect") && !line.contains("FFFFFF")).collect();
        let number = |line: &str, key: &str| -> i32 {
            let at = line.find(&format!(" {key}=\"")).unwrap() + key.len() + 3;
            line[at..].split('"').next().unwrap().parse().unwrap()
        };
        // Two spans and two entries of the legend.
        assert_eq!(rectangles.len(), 4, "{svg}");
        assert!(number(rectangles[0], "y") > number(rectangles[1], "y"), "lane 9 is above 10");
        assert!(number(rectangles[0], "x") < number(rectangles[1], "x"));
        let widths = [0, 1].map(|i| number(rectangles[i], "width"));
        assert!(widths[0].abs_diff(widths[1]) <= 1, "{widths:?}");
    }

    #[test]
    fn lanes_with_names_keep_their_order() {
        let two = [span("b", 0, 0, 1), span("a", 0, 0, 1)];
        let line = timeline(two);
        assert_eq!(line.lanes, ["b", "a"]);
        assert_eq!(format!("{line:?}"), "<timeline, 2 spans in 2 lanes>");
        assert!(timeline((0..500).map(|i| span("a", i, 0, 0))).image().size().is_some());
    }

    #[test]
    #[should_panic(expected = "\"7\" in lane \"a\" ends at 1ms, before it starts at 2ms")]
    fn time_runs_forwards() {
        let _wrong = timeline([span("a", 7, 2, 1)]);
    }
}
