//! Charts: lines, points and bars over axes.

use std::ops::Range;
use std::path::Path;
use std::{fmt, io};

use plotters::coord::ranged1d::Ranged;
use plotters::prelude::{Circle, DrawingBackend, PathElement, RGBColor, Rectangle};
use plotters::style::Color;
use rayon::prelude::*;

use super::frame::{self, Data, Frame, Plot, Scaled, around};
use super::paper::{Axis, Drawn, Pen, SERIES, Scale};
use super::{Bundle, Image, Number, Rich, Svg};

/// A series has at most so many points.
const POINTS: usize = 10_000_000;
/// Lines of at most so many points have their points marked.
const MARKED: usize = 40;

/// A chart of one line: `ys` over `xs`.
///
/// Both are anything that yields numbers: slices, vectors, ranges, ndarray's arrays, iterators. A
/// value that is not finite makes a gap.
///
/// # Panics
/// If `xs` and `ys` differ in length, or are longer than 10 million.
///
/// ```
/// use parcell::prelude::*;
///
/// let times = [4.1, 2.2, 1.2, 0.9];
/// show(&plot([1, 2, 4, 8], &times).x_label("threads").y_label("time / s"));
/// show(&plot(0..100, (0..100).map(|x| (x as f64 / 9.0).sin())));
/// ```
#[track_caller]
pub fn plot<X: Number, Y: Number>(
    xs: impl IntoIterator<Item = X>,
    ys: impl IntoIterator<Item = Y>,
) -> Chart {
    Chart::new().line("", xs, ys)
}

/// Lines, points and bars over common axes.
///
/// Series are drawn in the order in which they are added, in colours that colour-blind eyes tell
/// apart; after seven the colours begin again. The picture is drawn when the chart is shown.
///
/// ```
/// use parcell::prelude::*;
///
/// let threads = [1, 2, 4, 8];
/// let chart = Chart::new()
///     .line("measured", threads, [1.0, 1.9, 3.6, 6.2])
///     .line("ideal", threads, threads)
///     .title("Speed-up")
///     .x_label("threads")
///     .y_label("times as fast");
/// show(&chart);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Chart {
    series: Vec<Series>,
    /// What stands below bars.
    names: Vec<String>,
    size: (u32, u32),
    title: String,
    x: Direction,
    y: Direction,
}

/// What is wished for an axis.
#[derive(Clone, Default)]
struct Direction {
    label: String,
    log: bool,
    limits: Option<(f64, f64)>,
}

#[derive(Clone)]
struct Series {
    kind: Kind,
    label: String,
    points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Line,
    Scatter,
    Bars,
}

impl Default for Chart {
    fn default() -> Chart {
        let (x, y) = Default::default();
        Chart {
            series: Vec::new(),
            names: Vec::new(),
            size: (640, 400),
            title: String::new(),
            x,
            y,
        }
    }
}

impl Chart {
    /// A chart without series.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&Chart::new().scatter("random", 0..50, (0..50).map(|i| i * 37 % 50)));
    /// ```
    pub fn new() -> Chart {
        Chart::default()
    }

    /// Adds a line; one of at most 40 points has these marked. Without a label it is not in the
    /// legend.
    ///
    /// # Panics
    /// If `xs` and `ys` differ in length, are longer than 10 million, or have values that are not
    /// positive where an axis is logarithmic.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let squares: Vec<u64> = (0..10).map(|x| x * x).collect();
    /// show(&Chart::new().line("x²", 0..10, &squares));
    /// ```
    #[track_caller]
    pub fn line<X: Number, Y: Number>(
        self,
        label: impl Into<String>,
        xs: impl IntoIterator<Item = X>,
        ys: impl IntoIterator<Item = Y>,
    ) -> Chart {
        self.with(Kind::Line, label.into(), numbers(xs), numbers(ys))
    }

    /// Adds points.
    ///
    /// # Panics
    /// As [`Chart::line`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&Chart::new().scatter("measured", [1.0, 2.0, 4.0], [0.9, 2.2, 3.9]));
    /// ```
    #[track_caller]
    pub fn scatter<X: Number, Y: Number>(
        self,
        label: impl Into<String>,
        xs: impl IntoIterator<Item = X>,
        ys: impl IntoIterator<Item = Y>,
    ) -> Chart {
        self.with(Kind::Scatter, label.into(), numbers(xs), numbers(ys))
    }

    /// Adds a bar for each value, above its name. Several calls with the same names make groups of
    /// bars.
    ///
    /// # Panics
    /// If there are not as many names as values, other names than in an earlier call, or values
    /// that are not positive on a logarithmic axis.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let versions = ["serial", "par_for", "rayon"];
    /// show(&Chart::new().bars("time / ms", versions, [410, 105, 101]));
    /// ```
    #[track_caller]
    pub fn bars<N: fmt::Display, Y: Number>(
        self,
        label: impl Into<String>,
        names: impl IntoIterator<Item = N>,
        values: impl IntoIterator<Item = Y>,
    ) -> Chart {
        let names = names.into_iter().map(|name| name.to_string()).collect();
        self.with_bars(label.into(), names, numbers(values))
    }

    #[track_caller]
    fn with_bars(mut self, label: String, names: Vec<String>, values: Vec<f64>) -> Chart {
        assert!(
            names.len() == values.len(),
            "bars {label:?}: {} names, but {} values",
            names.len(),
            values.len()
        );
        assert!(
            self.names.is_empty() || self.names == names,
            "bars {label:?}: the names {names:?} are not those of the bars before, {:?}",
            self.names
        );
        self.names = names;
        let places = (0..values.len()).map(|place| place as f64).collect();
        self.with(Kind::Bars, label, places, values)
    }

    #[track_caller]
    fn with(mut self, kind: Kind, label: String, xs: Vec<f64>, ys: Vec<f64>) -> Chart {
        let (x_count, y_count) = (xs.len(), ys.len());
        assert!(
            x_count.max(y_count) <= POINTS,
            "series {label:?} has more than {POINTS} points: draw only some of them"
        );
        let series = if label.is_empty() { String::new() } else { format!("series {label:?}: ") };
        assert!(x_count == y_count, "{series}{x_count} xs, but {y_count} ys");
        self.series.push(Series { kind, label, points: xs.into_iter().zip(ys).collect() });
        self.check_logarithms();
        self
    }

    /// A line above the chart.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&plot([0, 1], [0, 1]).title("A line"));
    /// ```
    pub fn title(mut self, title: impl Into<String>) -> Chart {
        self.title = title.into();
        self
    }

    /// Names the horizontal axis.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&plot([0, 1], [0, 1]).x_label("time / s").y_label("length / m"));
    /// ```
    pub fn x_label(mut self, label: impl Into<String>) -> Chart {
        self.x.label = label.into();
        self
    }

    /// Names the vertical axis, see [`Chart::x_label`].
    pub fn y_label(mut self, label: impl Into<String>) -> Chart {
        self.y.label = label.into();
        self
    }

    /// Makes the horizontal axis logarithmic.
    ///
    /// # Panics
    /// If a series has an x that is not positive.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&plot([1, 10, 100], [3, 5, 7]).log_x());
    /// ```
    #[track_caller]
    pub fn log_x(mut self) -> Chart {
        self.x.log = true;
        self.check_logarithms();
        self
    }

    /// Makes the vertical axis logarithmic, see [`Chart::log_x`].
    ///
    /// # Panics
    /// If a series has a y that is not positive.
    #[track_caller]
    pub fn log_y(mut self) -> Chart {
        self.y.log = true;
        self.check_logarithms();
        self
    }

    /// Sets the ends of the horizontal axis; what lies outside is not drawn.
    ///
    /// # Panics
    /// If `from < to` does not hold, or one is not finite, or not positive on a logarithmic axis.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&plot(0..10, 0..10).x_limits(2, 5).y_limits(0.0, 8.0));
    /// ```
    #[track_caller]
    pub fn x_limits(mut self, from: impl Number, to: impl Number) -> Chart {
        self.x.limits = Some((from.to_f64(), to.to_f64()));
        self.x.check_limits("x_limits");
        self
    }

    /// Sets the ends of the vertical axis, see [`Chart::x_limits`].
    ///
    /// # Panics
    /// As [`Chart::x_limits`].
    #[track_caller]
    pub fn y_limits(mut self, from: impl Number, to: impl Number) -> Chart {
        self.y.limits = Some((from.to_f64(), to.to_f64()));
        self.y.check_limits("y_limits");
        self
    }

    /// The size in pixels of the page; 640 × 400 if it is not set.
    ///
    /// # Panics
    /// If a side is less than 100 or more than 4000.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&plot([0, 1], [0, 1]).size(300, 200));
    /// ```
    #[track_caller]
    pub fn size(mut self, width: u32, height: u32) -> Chart {
        assert!(
            (100..=4000).contains(&width) && (100..=4000).contains(&height),
            "a chart of {width} x {height} pixels: each side must be 100 to 4000"
        );
        self.size = (width, height);
        self
    }

    /// The chart as png, with twice as many pixels as it is shown with.
    ///
    /// # Panics
    /// If there is nothing to draw: no series, or no point with finite coordinates.
    ///
    /// ```
    /// assert_eq!(parcell::prelude::plot([0, 1], [0, 1]).image().size(), Some((1280, 800)));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn image(&self) -> Image {
        self.frame().png(self)
    }

    /// The chart as svg, for papers and slides.
    ///
    /// # Panics
    /// As [`Chart::image`].
    ///
    /// ```
    /// assert!(parcell::prelude::plot([0, 1], [0, 1]).svg().0.starts_with("<svg"));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn svg(&self) -> Svg {
        Svg(self.frame().svg(self))
    }

    /// Writes the chart to a file: as svg if its name ends so, as png otherwise. Blocks until it
    /// is written.
    ///
    /// # Errors
    /// If the file cannot be written, or its name ends like another kind of picture.
    ///
    /// # Panics
    /// As [`Chart::image`].
    ///
    /// ```no_run
    /// parcell::prelude::plot([0, 1], [0, 1]).save("line.svg")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg")) {
            return std::fs::write(path, self.svg().0)
                .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())));
        }
        self.image().save(path)
    }

    /// Pictures with common axes.
    #[track_caller]
    pub(super) fn images_alike(mut all: Vec<Chart>) -> Vec<Image> {
        let frames: Vec<Frame> = all.iter().map(Chart::frame).collect();
        let ends = |axis: fn(&Frame) -> &Axis| {
            let from = frames.iter().map(|frame| axis(frame).from).fold(f64::INFINITY, f64::min);
            let to = frames.iter().map(|frame| axis(frame).to).fold(f64::NEG_INFINITY, f64::max);
            (from, to)
        };
        let (x, y) = (ends(|frame| &frame.x.axis), ends(|frame| &frame.y.axis));
        for chart in &mut all {
            chart.x.limits = chart.x.limits.or(Some(x));
            chart.y.limits = chart.y.limits.or(Some(y));
        }
        all.par_iter().map(Chart::image).collect()
    }

    #[track_caller]
    fn check_logarithms(&self) {
        for series in &self.series {
            let first = |of: fn(&(f64, f64)) -> f64| {
                series.points.iter().map(of).enumerate().find(|(_, value)| *value <= 0.0)
            };
            let named = series.kind != Kind::Bars && self.x.log;
            let x = named.then(|| first(|p| p.0)).flatten().map(|found| ("x", found));
            let y = self.y.log.then(|| first(|p| p.1)).flatten().map(|found| ("y", found));
            if let Some((axis, (index, value))) = x.or(y) {
                panic!(
                    "series {:?}: {axis} = {value} at index {index} has no place on a logarithmic \
                     axis; leave out what is not positive",
                    series.label
                );
            }
        }
        self.x.check_limits("x_limits");
        self.y.check_limits("y_limits");
    }

    #[track_caller]
    fn frame(&self) -> Frame {
        let points = || self.series.iter().flat_map(|s| &s.points);
        assert!(
            !self.series.is_empty(),
            "nothing to draw: a chart without series; add one with `line`, `scatter` or `bars`"
        );
        let finite = || points().filter(|p| p.0.is_finite() && p.1.is_finite());
        assert!(
            finite().next().is_some(),
            "nothing to draw: {} series with {} points, none of them finite",
            self.series.len(),
            points().count()
        );
        let floor = (!self.names.is_empty() && !self.y.log).then_some(0.0);
        let x = if self.names.is_empty() {
            self.x.axis(finite().map(|p| p.0))
        } else {
            Axis { from: -0.6, to: self.names.len() as f64 - 0.4, scale: Scale::Each }
        };
        let mut y = self.y.axis(finite().map(|p| p.1).chain(floor));
        if floor.is_some() && self.y.limits.is_none() && finite().all(|p| p.1 >= 0.0) {
            // Bars stand on the axis.
            y.from = 0.0;
        }
        let labelled = self.series.iter().enumerate().filter(|(_, s)| !s.label.is_empty());
        let scaled = |axis, direction: &Direction, places: &[String]| Scaled {
            axis,
            label: direction.label.clone(),
            places: places.to_vec(),
        };
        Frame {
            size: self.size,
            title: self.title.clone(),
            x: scaled(x, &self.x, &self.names),
            y: scaled(y, &self.y, &[]),
            legend: labelled.map(|(index, s)| (s.label.clone(), color(index))).collect(),
        }
    }
}

/// Takes no more than are allowed, and one to tell.
fn numbers<T: Number>(values: impl IntoIterator<Item = T>) -> Vec<f64> {
    values.into_iter().take(POINTS + 1).map(Number::to_f64).collect()
}

fn color(index: usize) -> RGBColor {
    SERIES[index % SERIES.len()]
}

impl Direction {
    fn axis(&self, values: impl Iterator<Item = f64>) -> Axis {
        let scale = if self.log { Scale::Log } else { Scale::Linear };
        match self.limits {
            Some((from, to)) => Axis { from, to, scale },
            None => around(values, scale).expect("there is a finite point"),
        }
    }

    #[track_caller]
    fn check_limits(&self, name: &str) {
        let Some((from, to)) = self.limits else { return };
        assert!(
            from.is_finite() && to.is_finite() && from < to,
            "{name}({from}, {to}): the first must be less than the second, and both finite"
        );
        assert!(!self.log || from > 0.0, "{name}({from}, {to}): a logarithmic axis begins above 0");
    }
}

impl Data for Chart {
    fn draw<B: DrawingBackend>(&self, plot: &mut Plot<'_, B>, pen: Pen) -> Drawn<B> {
        let groups = self.series.iter().filter(|s| s.kind == Kind::Bars).count();
        let mut group = 0;
        for (index, series) in self.series.iter().enumerate() {
            match series.kind {
                Kind::Line => series.draw_line(plot, pen, color(index))?,
                Kind::Scatter => series.draw_points(plot, pen.length(3.0), color(index))?,
                Kind::Bars => {
                    series.draw_bars(plot, (group, groups), color(index))?;
                    group += 1;
                }
            }
        }
        Ok(())
    }
}

impl Series {
    fn draw_line<B: DrawingBackend>(
        &self,
        plot: &mut Plot<'_, B>,
        pen: Pen,
        color: RGBColor,
    ) -> Drawn<B> {
        let is_gap = |p: &(f64, f64)| !(p.0.is_finite() && p.1.is_finite());
        let axes = plot.as_coord_spec();
        let (x, y) = (axes.x_spec(), axes.y_spec());
        let (columns, rows) = plot.plotting_area().get_pixel_range();
        let pixel = |&(right, up): &(f64, f64)| {
            let at = |range: &Range<i32>, part| Axis::UNIT.map(part, (range.start, range.end));
            (at(&columns, &right), at(&rows, &(1.0 - up)))
        };
        for piece in self.points.split(is_gap) {
            let places: Vec<_> = piece.iter().map(|p| (x.position(p.0), y.position(p.1))).collect();
            for part in visible(&places) {
                let pixels = thinned(part.iter().map(pixel).collect());
                frame::draw_in(plot, PathElement::new(pixels, pen.line(color, 1.75)))?;
            }
        }
        if self.points.len() <= MARKED {
            self.draw_points(plot, pen.length(2.5), color)?;
        }
        Ok(())
    }

    fn draw_points<B: DrawingBackend>(
        &self,
        plot: &mut Plot<'_, B>,
        radius: i32,
        color: RGBColor,
    ) -> Drawn<B> {
        let axes = plot.as_coord_spec();
        let (x, y) = (*axes.x_spec(), *axes.y_spec());
        let inside = |axis: Axis, value| (-1e-9..=1.0 + 1e-9).contains(&axis.position(value));
        let mut last = None;
        for point in self.points.iter().filter(|p| inside(x, p.0) && inside(y, p.1)) {
            // Many points in one place are drawn once.
            let pixel = plot.backend_coord(point);
            if last != Some(pixel) {
                frame::draw_in(plot, Circle::new(pixel, radius, color.filled()))?;
            }
            last = Some(pixel);
        }
        Ok(())
    }

    /// Draws one of several groups of bars; a group's bars stand beside those of the others.
    fn draw_bars<B: DrawingBackend>(
        &self,
        plot: &mut Plot<'_, B>,
        (group, groups): (usize, usize),
        color: RGBColor,
    ) -> Drawn<B> {
        let width = 0.8 / groups as f64;
        let range = plot.y_range();
        let floor = range.start.max(0.0).min(range.end);
        for &(place, value) in self.points.iter().filter(|p| p.1.is_finite()) {
            let left = place - 0.4 + width * group as f64;
            let corners = [(left, floor), (left + width, value)];
            let corners = corners.map(|corner| plot.backend_coord(&corner));
            frame::draw_in(plot, Rectangle::new(corners, color.filled()))?;
        }
        Ok(())
    }
}

/// The parts of a line that lie between 0 and 1 in both directions.
fn visible(line: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
    for ends in line.windows(2) {
        let Some((from, to)) = clipped(ends[0], ends[1]) else { continue };
        match parts.last_mut() {
            Some(part) if part.last() == Some(&from) => part.push(to),
            _ => parts.push(vec![from, to]),
        }
    }
    parts
}

/// The part of a segment in the unit square, by Liang and Barsky's algorithm (1984).
fn clipped(a: (f64, f64), b: (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (mut enters, mut leaves) = (0.0_f64, 1.0_f64);
    for (speed, room) in [(-dx, a.0), (dx, 1.0 - a.0), (-dy, a.1), (dy, 1.0 - a.1)] {
        if speed == 0.0 && room < 0.0 {
            return None;
        } else if speed < 0.0 {
            enters = enters.max(room / speed);
        } else if speed > 0.0 {
            leaves = leaves.min(room / speed);
        }
    }
    let at = |t: f64| (a.0 + t * dx, a.1 + t * dy);
    let from = if enters > 0.0 { at(enters) } else { a };
    let to = if leaves < 1.0 { at(leaves) } else { b };
    (enters <= leaves).then_some((from, to))
}

/// Leaves out points of a line that do not change its picture: of those in one column of pixels
/// the first, the lowest, the highest and the last are enough.
fn thinned(pixels: Vec<(i32, i32)>) -> Vec<(i32, i32)> {
    let mut kept = Vec::new();
    for column in pixels.chunk_by(|a, b| a.0 == b.0) {
        let ends = [column.iter().map(|p| p.1).min(), column.iter().map(|p| p.1).max()];
        if column.len() <= 4 {
            kept.extend_from_slice(column);
        } else {
            let x = column[0].0;
            kept.push(column[0]);
            kept.extend(ends.into_iter().flatten().map(|y| (x, y)));
            kept.push(column[column.len() - 1]);
        }
    }
    kept
}

impl Chart {
    fn describe(&self) -> String {
        let labels: Vec<&str> =
            self.series.iter().map(|s| s.label.as_str()).filter(|l| !l.is_empty()).collect();
        let title =
            if self.title.is_empty() { String::new() } else { format!(" {:?}", self.title) };
        let series = format!("{} series", self.series.len());
        let colon = if labels.is_empty() { "" } else { ": " };
        format!("<chart{title}, {series}{colon}{}>", labels.join(", "))
    }
}

impl Rich for Chart {
    fn bundle(&self) -> Bundle {
        self.image().described(self.describe())
    }
}

impl fmt::Debug for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::decoded;
    use super::*;

    /// How many pixels have a series' colour.
    fn painted(chart: &Chart, index: usize) -> usize {
        let RGBColor(red, green, blue) = color(index);
        decoded(&chart.image()).chunks(3).filter(|&p| p == [red, green, blue]).count()
    }

    #[test]
    fn series_are_drawn_in_their_colours() {
        let chart = Chart::new().line("a", [1, 2, 3], [1.0, 4.0, 9.0]).scatter(
            "b",
            vec![1.0_f32, 2.0],
            [3_u8, 4],
        );
        assert!(painted(&chart, 0) > 1000 && painted(&chart, 1) > 50);
        assert_eq!(painted(&chart, 2), 0);
        assert_eq!(format!("{chart:?}"), "<chart, 2 series: a, b>");
        assert_eq!(format!("{:?}", plot([0], [0]).title("t")), "<chart \"t\", 1 series>");
        assert_eq!(chart.image(), chart.image(), "pictures are the same each time");
    }

    #[test]
    fn bars_are_as_high_as_their_values() {
        let count = |values: [f64; 2]| painted(&Chart::new().bars("", ["x", "y"], values), 0);
        let (both, one) = (count([2.0, 2.0]), count([2.0, 0.0]));
        assert!(both.abs_diff(2 * one) < both / 50, "{both} {one}");
        let grouped = Chart::new().bars("a", ["x"], [1]).bars("b", ["x"], [2]);
        let (a, b) = (painted(&grouped, 0), painted(&grouped, 1));
        assert!(b > a && b < 3 * a, "{a} {b}");
    }

    #[test]
    fn gaps_points_and_logarithms_do_not_disturb() {
        let gap = plot([1.0, 2.0, 3.0, 4.0], [1.0, f64::NAN, f64::INFINITY, 2.0]);
        assert!(painted(&gap, 0) > 20);
        assert!(painted(&plot([1], [5]), 0) > 20);
        assert!(painted(&plot([1, 1000], [1e-9, 1e9]).log_x().log_y(), 0) > 1000);
        assert!(painted(&plot(0..9, 0..9).x_limits(2, 4), 0) > 500);
    }

    #[test]
    fn long_lines_are_thinned_to_the_same_picture() {
        let ys = |x: u32| (f64::from(x) / 1e4).sin();
        let long = plot(0..1_000_000, (0..1_000_000).map(ys));
        assert!(painted(&long, 0) > 1000);
        let column = vec![(0, 5), (0, 9), (0, 1), (0, 4), (0, 6), (1, 6)];
        assert_eq!(thinned(column), [(0, 5), (0, 1), (0, 9), (0, 6), (1, 6)]);
    }

    #[test]
    fn lines_end_at_the_axes() {
        let line = [(-1.0, 0.5), (0.5, 0.5), (0.5, 2.0), (0.75, 2.0), (0.75, 0.0)];
        let first = vec![(0.0, 0.5), (0.5, 0.5), (0.5, 1.0)];
        assert_eq!(visible(&line), [first, vec![(0.75, 1.0), (0.75, 0.0)]]);
        assert!(visible(&[(-1.0, 0.0), (0.0, 3.0)]).is_empty());
    }

    #[test]
    fn svg_has_title_and_labels() {
        let svg = plot([0, 1], [0, 1]).title("Ti<tle").x_label("ex").y_label("why").svg().0;
        for text in ["Ti&lt;tle", "ex", "why"] {
            assert!(svg.contains(text), "{svg}");
        }
    }

    #[test]
    #[should_panic(expected = "series \"a\": 3 xs, but 2 ys")]
    fn different_lengths_are_told() {
        let _wrong = Chart::new().line("a", [1, 2, 3], [1, 2]);
    }

    #[test]
    #[should_panic(expected = "y = 0 at index 1 has no place on a logarithmic axis")]
    fn zero_has_no_logarithm() {
        let _wrong = plot([1, 2], [1, 0]).log_y();
    }

    #[test]
    #[should_panic(expected = "x = -1 at index 0 has no place on a logarithmic axis")]
    fn nor_has_a_later_negative_x() {
        let _wrong = Chart::new().log_x().line("late", [-1], [1]);
    }

    #[test]
    #[should_panic(expected = "nothing to draw: 1 series with 2 points, none of them finite")]
    fn nothing_to_draw_is_told() {
        let _wrong = plot([1, 2], [f64::NAN, f64::NAN]).image();
    }

    #[test]
    #[should_panic(expected = "bars \"a\": 2 names, but 1 values")]
    fn bars_without_names_are_told() {
        let _wrong = Chart::new().bars("a", ["x", "y"], [1]);
    }
}
