//! Grids of numbers as colours.

use std::fmt;

use plotters::prelude::{ChartBuilder, DrawingBackend, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};
use rayon::prelude::*;

use super::grid::filled;
use super::paper::{Area, Axis, Drawn, INK, LARGE, Paper, Pen, SMALL, Scale, brief, write};
use super::{Bundle, Colormap, Grid, GridError, Image, Rich};

/// A picture has at most about so many pixels a side; of larger grids it shows means of blocks.
const LONGEST: usize = 1000;
/// A picture is at least so many pixels high and wide.
const SHORTEST: usize = 48;
/// An element is drawn with at most so many pixels a side.
const LARGEST: usize = 120;
/// The colour bar is at least so long: pixels of the page.
const BAR: f64 = 120.0;

/// Shows a grid of numbers as colours, with a colour bar; row 0 on top.
///
/// The grid is an ndarray `Array2` or view, a list of rows, or a pair of a slice and its number of
/// columns, of any number type, see [`Grid`]. Grids with more than 1000 rows or columns are shown
/// as means of blocks, small ones enlarged without blurring. The colours run from the least
/// to the greatest finite element. Elements that are NaN or infinite are drawn in a colour that
/// the map has not, and counted below. The grid is read at once, which takes a few milliseconds
/// per million elements; the picture is drawn when it is shown.
///
/// # Panics
/// If the grid is empty, or its elements fill no rectangle; [`Heatmap::try_new`] returns an error
/// then.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::ndarray::Array2;
///
/// let waves = Array2::from_shape_fn((60, 80), |(i, j)| (i as f64 / 9.0).sin() * j as f64);
/// show(&heatmap(&waves, Colormap::Viridis).title("Waves"));
///
/// let counts: Vec<u32> = (0..600).map(|i| i % 31).collect();
/// show(&heatmap((&counts, 30), Colormap::Magma));
/// ```
#[track_caller]
pub fn heatmap(grid: impl Grid, map: Colormap) -> Heatmap {
    // A closure would hide where the caller is.
    match Heatmap::try_new(grid, map) {
        Ok(heatmap) => heatmap,
        Err(e) => panic!("{e}"),
    }
}

/// A grid of numbers shown as colours. Made by [`heatmap`].
#[derive(Clone)]
#[must_use]
pub struct Heatmap {
    map: Colormap,
    shape: (usize, usize),
    blocks: Blocks,
    facts: Facts,
    limits: Option<(f64, f64)>,
    log: bool,
    origin_lower: bool,
    title: String,
    x_label: String,
    y_label: String,
    x_range: Option<(f64, f64)>,
    y_range: Option<(f64, f64)>,
    /// The picture is at least so wide and high, in pixels of the file.
    least_size: (i32, i32),
}

impl Heatmap {
    /// Like [`heatmap`], for grids that may be none.
    ///
    /// # Errors
    /// If the grid is empty, or its elements fill no rectangle.
    ///
    /// ```
    /// use parcell::display::{Colormap, GridError, Heatmap};
    ///
    /// let cut_off = Heatmap::try_new((&[1, 2, 3], 2), Colormap::Grey);
    /// assert_eq!(cut_off.unwrap_err(), GridError::Uneven { length: 3, columns: 2 });
    /// ```
    pub fn try_new(grid: impl Grid, map: Colormap) -> Result<Heatmap, GridError> {
        Heatmap::read(&grid, map)
    }

    /// Not generic, so that it is compiled here once and not in every cell.
    fn read(grid: &dyn Grid, map: Colormap) -> Result<Heatmap, GridError> {
        let shape = filled(grid.rows_and_columns()?)?;
        let (blocks, facts) = Blocks::read(grid, shape);
        Ok(Heatmap {
            map,
            shape,
            blocks,
            facts,
            limits: None,
            log: false,
            origin_lower: false,
            title: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            x_range: None,
            y_range: None,
            least_size: (0, 0),
        })
    }

    /// Sets the values that have the first and the last colour of the map. Elements outside have
    /// the colour of the nearer end.
    ///
    /// # Panics
    /// If `min < max` does not hold, or one is not finite.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&heatmap([[-0.2, 0.0, 0.7]], Colormap::BlueRed).limits(-1.0, 1.0));
    /// ```
    #[track_caller]
    pub fn limits(mut self, min: f64, max: f64) -> Heatmap {
        check_range("limits", min, max);
        self.limits = Some((min, max));
        self
    }

    /// Colours follow the logarithm. Elements that are not positive are drawn as NaN is.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&heatmap([[1, 10], [100, 1000]], Colormap::Viridis).log());
    /// ```
    pub fn log(mut self) -> Heatmap {
        self.log = true;
        self
    }

    /// Row 0 at the bottom, as y runs in charts.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&heatmap([[1, 2], [3, 4]], Colormap::Viridis).origin_lower());
    /// ```
    pub fn origin_lower(mut self) -> Heatmap {
        self.origin_lower = true;
        self
    }

    /// A line above the picture.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&heatmap([[1, 2]], Colormap::Viridis).title("Two numbers"));
    /// ```
    pub fn title(mut self, title: impl Into<String>) -> Heatmap {
        self.title = title.into();
        self
    }

    /// Names the axis along the columns.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&heatmap([[1, 2]], Colormap::Viridis).x_label("column").y_label("row"));
    /// ```
    pub fn x_label(mut self, label: impl Into<String>) -> Heatmap {
        self.x_label = label.into();
        self
    }

    /// Names the axis along the rows, see [`Heatmap::x_label`].
    pub fn y_label(mut self, label: impl Into<String>) -> Heatmap {
        self.y_label = label.into();
        self
    }

    /// The axis along the columns runs from `left` to `right` instead of counting columns.
    ///
    /// # Panics
    /// If `left < right` does not hold, or one is not finite.
    ///
    /// ```
    /// use parcell::prelude::*;
    /// use parcell::ndarray::Array2;
    ///
    /// let plane = Array2::from_shape_fn((90, 120), |(i, j)| i.abs_diff(45) + j.abs_diff(60));
    /// show(&heatmap(&plane, Colormap::Inferno).x_range(-2.0, 2.0).y_range(-1.5, 1.5));
    /// ```
    #[track_caller]
    pub fn x_range(mut self, left: f64, right: f64) -> Heatmap {
        check_range("x_range", left, right);
        self.x_range = Some((left, right));
        self
    }

    /// The axis along the rows runs from `bottom` to `top` instead of counting rows, see
    /// [`Heatmap::x_range`]. Which row lies where does not change.
    ///
    /// # Panics
    /// If `bottom < top` does not hold, or one is not finite.
    #[track_caller]
    pub fn y_range(mut self, bottom: f64, top: f64) -> Heatmap {
        check_range("y_range", bottom, top);
        self.y_range = Some((bottom, top));
        self
    }

    /// The whole picture, with axes and colour bar.
    ///
    /// ```no_run
    /// use parcell::prelude::*;
    ///
    /// heatmap([[1, 2], [3, 4]], Colormap::Viridis).image().save("heatmap.png")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn image(&self) -> Image {
        let layout = Layout::new(self);
        let mut paper = Paper::new(layout.width.cast_unsigned(), layout.height.cast_unsigned());
        self.paint(&mut paper, &layout);
        self.paint_bar(&mut paper, &layout);
        paper.draw(|area| self.draw_frame(area, &layout));
        paper.image()
    }

    /// The colours alone: one pixel per element, or per block of a large grid. For animations, and
    /// for files that others read.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(heatmap([[1, 2, 3]], Colormap::Viridis).pixels().size(), Some((3, 1)));
    /// ```
    #[must_use]
    pub fn pixels(&self) -> Image {
        let Blocks { rows, columns, .. } = self.blocks;
        let colors = self.colors();
        let rgb: Vec<u8> = (0..rows)
            .map(|row| if self.origin_lower { rows - 1 - row } else { row })
            .flat_map(|row| colors[row * columns..(row + 1) * columns].as_flattened())
            .copied()
            .collect();
        Image::rgb8(side(columns), side(rows), &rgb)
    }

    /// Pictures of one size, with the same colours for the same values.
    #[track_caller]
    pub(super) fn images_alike(mut all: Vec<Heatmap>) -> Vec<Image> {
        let Some(first) = all.first() else { return Vec::new() };
        let (rows, columns) = first.shape;
        if let Some(other) = all.iter().position(|map| map.shape != (rows, columns)) {
            let (other_rows, other_columns) = all[other].shape;
            panic!(
                "frame {other} has {other_rows} rows x {other_columns} columns, frame 0 has \
                 {rows} x {columns}: all frames must have one shape"
            );
        }
        let together = all.iter().fold(Facts::default(), |facts, map| facts.with(&map.facts));
        for map in &mut all {
            let Facts { nan, infinite, not_positive, .. } = map.facts;
            map.facts = Facts { nan, infinite, not_positive, ..together };
        }
        let sizes = all.iter().map(Layout::new).map(|layout| (layout.width, layout.height));
        let least_size = sizes.fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
        all.into_par_iter().map(|map| Heatmap { least_size, ..map }.image()).collect()
    }

    /// The axis that the colours follow; `None` if no element has a place on it.
    fn axis(&self) -> Option<Axis> {
        let least = if self.log { self.facts.least_positive } else { self.facts.min };
        let (from, to) = self.limits.unwrap_or((least, self.facts.max));
        let usable = from.is_finite() && to.is_finite() && (!self.log || to > 0.0);
        // One value for all elements, or a limit that a logarithm cannot reach, needs room.
        let from = if self.log && from <= 0.0 { least.min(to / 10.0) } else { from };
        let room = if self.log { to * 0.1 } else { to.abs().max(1.0) * 0.5 };
        let (from, to) = if from < to { (from, to) } else { (from - room / 2.0, to + room / 2.0) };
        let scale = if self.log { Scale::Log } else { Scale::Linear };
        usable.then_some(Axis { from, to, scale })
    }

    /// The colours of all blocks.
    fn colors(&self) -> Vec<[u8; 3]> {
        let table: Vec<[u8; 3]> = (0..=1023).map(|i| self.map.rgb(f64::from(i) / 1023.0)).collect();
        let axis = self.axis();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1023")]
        let color = |&value: &f64| match axis {
            Some(axis) if value.is_finite() && !(self.log && value <= 0.0) => {
                table[(axis.position(value).clamp(0.0, 1.0) * 1023.0).round() as usize]
            }
            _ => self.map.gap(),
        };
        self.blocks.values.iter().map(color).collect()
    }

    fn paint(&self, paper: &mut Paper, layout: &Layout) {
        let Blocks { rows, columns, .. } = self.blocks;
        let (width, height) = layout.element;
        for (index, color) in self.colors().into_iter().enumerate() {
            let (row, column) = (index / columns, index % columns);
            let row = if self.origin_lower { rows - 1 - row } else { row };
            let x = layout.left.cast_unsigned() + side(column) * width;
            let y = layout.top.cast_unsigned() + side(row) * height;
            paper.fill((x, y), (width, height), color);
        }
    }

    fn paint_bar(&self, paper: &mut Paper, layout: &Layout) {
        if layout.axis.is_none() {
            return;
        }
        let length = layout.bar_length.cast_unsigned();
        let width = Pen::FINE.length(14.0).cast_unsigned();
        for y in 0..length {
            let position = f64::from(length - 1 - y) / f64::from(length - 1);
            let at = (layout.bar_left.cast_unsigned(), layout.top.cast_unsigned() + y);
            paper.fill(at, (width, 1), self.map.rgb(position));
        }
    }

    fn draw_frame<B: DrawingBackend>(&self, area: &Area<B>, layout: &Layout) -> Drawn<B> {
        let pen = Pen::FINE;
        let (width, height) = layout.plot;
        let outer = (layout.left - layout.row_labels, layout.top);
        let sizes = (width + layout.row_labels, height + layout.column_labels);
        let plot = area.clone().shrink(outer, sizes);
        let (x_axis, y_axis) = self.axes();
        ChartBuilder::on(&plot)
            .x_label_area_size(layout.column_labels)
            .y_label_area_size(layout.row_labels)
            .build_cartesian_2d(x_axis, y_axis)?
            .configure_mesh()
            .disable_mesh()
            .x_labels(layout.marks(width, 80.0))
            .y_labels(layout.marks(height, 45.0))
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .axis_style(pen.line(INK, 0.5))
            .set_all_tick_mark_size(pen.length(4.0))
            .label_style(pen.text(SMALL))
            .axis_desc_style(pen.text(SMALL))
            .draw()?;
        let (left, top) = (layout.left - 1, layout.top - 1);
        let corners = [(left, top), (layout.left + width, layout.top + height)];
        area.draw(&Rectangle::new(corners, pen.line(INK, 0.5)))?;
        let middle = layout.left + width / 2;
        let title = (middle, layout.top - pen.length(10.0));
        write(area, &self.title, title, &pen.text(LARGE), (HPos::Center, VPos::Bottom))?;
        let note = (layout.left, layout.height - pen.length(6.0));
        write(area, &layout.note, note, &pen.text(SMALL), (HPos::Left, VPos::Bottom))?;
        layout.axis.map_or(Ok(()), |axis| draw_bar_marks(area, layout, axis))
    }

    /// The axes along columns and rows.
    fn axes(&self) -> (Axis, Axis) {
        let counted = |n: usize| (-0.5, n as f64 - 0.5);
        let axis = |range: Option<(f64, f64)>, n| {
            let scale = if range.is_some() { Scale::Linear } else { Scale::Whole };
            let (from, to) = range.unwrap_or_else(|| counted(n));
            Axis { from, to, scale }
        };
        let (rows, columns) = self.shape;
        let (x, y) = (axis(self.x_range, columns), axis(self.y_range, rows));
        let counts_down = self.y_range.is_none() && !self.origin_lower;
        (x, if counts_down { Axis { from: y.to, to: y.from, ..y } } else { y })
    }

    /// What has no place on the colour bar, counted.
    fn left_out(&self) -> String {
        let Facts { nan, infinite, not_positive, .. } = self.facts;
        let not_positive = if self.log { not_positive } else { 0 };
        let counts = [(nan, "NaN"), (infinite, "infinite"), (not_positive, "not positive")];
        let parts = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
        parts.collect::<Vec<_>>().join(", ")
    }

    fn describe(&self) -> String {
        let ((rows, columns), Facts { min, max, .. }) = (self.shape, self.facts);
        let mut text = format!("<heatmap, {rows} rows x {columns} columns");
        if min <= max {
            text += &format!(", {} to {}", brief(min), brief(max));
        }
        let left_out = self.left_out();
        let comma = if left_out.is_empty() { "" } else { ", " };
        format!("{text}{comma}{left_out}>")
    }
}

fn draw_bar_marks<B: DrawingBackend>(area: &Area<B>, layout: &Layout, axis: Axis) -> Drawn<B> {
    let pen = Pen::FINE;
    let sizes = (pen.length(14.0) + layout.bar_labels, layout.bar_length);
    let bar = area.clone().shrink((layout.bar_left, layout.top), sizes);
    ChartBuilder::on(&bar)
        .right_y_label_area_size(layout.bar_labels)
        .build_cartesian_2d(0.0..1.0, axis)?
        .configure_mesh()
        .disable_mesh()
        .disable_x_axis()
        .y_labels(layout.marks(layout.bar_length, 40.0))
        .axis_style(pen.line(INK, 0.5))
        .set_all_tick_mark_size(pen.length(4.0))
        .label_style(pen.text(SMALL))
        .draw()
}

impl Rich for Heatmap {
    fn bundle(&self) -> Bundle {
        self.image().described(self.describe())
    }
}

impl fmt::Debug for Heatmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

#[track_caller]
fn check_range(what: &str, from: f64, to: f64) {
    assert!(
        from.is_finite() && to.is_finite() && from < to,
        "{what}({from}, {to}): the first must be less than the second, and both finite"
    );
}

/// A side of a picture, which is never longer than a few thousand pixels.
fn side(pixels: usize) -> u32 {
    u32::try_from(pixels).expect("pictures are bounded")
}

/// What is drawn: the elements, or means of blocks of them.
#[derive(Clone)]
struct Blocks {
    rows: usize,
    columns: usize,
    /// Elements of a block: rows, columns.
    of: (usize, usize),
    values: Vec<f64>,
}

/// What is known of all elements.
#[derive(Clone, Copy)]
struct Facts {
    min: f64,
    max: f64,
    least_positive: f64,
    nan: usize,
    infinite: usize,
    not_positive: usize,
}

impl Blocks {
    fn read(grid: &dyn Grid, (rows, columns): (usize, usize)) -> (Blocks, Facts) {
        let factor = rows.max(columns).div_ceil(LONGEST);
        // The short side of a long grid keeps its elements.
        let down = factor.min(rows.div_ceil(SHORTEST));
        let across = factor.min(columns.div_ceil(SHORTEST));
        let mut facts = Facts::default();
        let mut row = vec![0.0; columns];
        let mut values = Vec::new();
        for first in (0..rows).step_by(down) {
            let mut sums = vec![(0.0, 0_usize); columns.div_ceil(across)];
            for index in first..(first + down).min(rows) {
                grid.read_row(index, &mut row);
                facts.add(&row);
                for (sum, block) in sums.iter_mut().zip(row.chunks(across)) {
                    for value in block.iter().filter(|x| x.is_finite()) {
                        *sum = (sum.0 + value, sum.1 + 1);
                    }
                }
            }
            // Nothing finite: 0/0 is NaN.
            values.extend(sums.iter().map(|&(sum, count)| sum / count as f64));
        }
        let (rows, columns) = (rows.div_ceil(down), columns.div_ceil(across));
        (Blocks { rows, columns, of: (down, across), values }, facts)
    }
}

impl Default for Facts {
    fn default() -> Facts {
        Facts {
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            least_positive: f64::INFINITY,
            nan: 0,
            infinite: 0,
            not_positive: 0,
        }
    }
}

impl Facts {
    /// The ends of both.
    fn with(self, other: &Facts) -> Facts {
        Facts {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            least_positive: self.least_positive.min(other.least_positive),
            ..self
        }
    }

    fn add(&mut self, row: &[f64]) {
        for &value in row {
            if value.is_finite() {
                self.min = self.min.min(value);
                self.max = self.max.max(value);
                if value > 0.0 {
                    self.least_positive = self.least_positive.min(value);
                } else {
                    self.not_positive += 1;
                }
            } else if value.is_nan() {
                self.nan += 1;
            } else {
                self.infinite += 1;
            }
        }
    }
}

/// Where everything lies, in pixels of the file.
struct Layout {
    width: i32,
    height: i32,
    left: i32,
    top: i32,
    /// Width and height of an element.
    element: (u32, u32),
    /// Width and height of all elements.
    plot: (i32, i32),
    row_labels: i32,
    column_labels: i32,
    bar_left: i32,
    bar_length: i32,
    bar_labels: i32,
    axis: Option<Axis>,
    note: String,
}

impl Layout {
    fn new(heatmap: &Heatmap) -> Layout {
        let pen = Pen::FINE;
        let Blocks { rows, columns, of: (down, across), .. } = heatmap.blocks;
        let zoom = (LONGEST / rows.max(columns)).clamp(1, LARGEST);
        let element = (side(zoom.max(SHORTEST / columns)), side(zoom.max(SHORTEST / rows)));
        let pixels = |count: usize, each: u32| (side(count) * each).cast_signed();
        let plot = (pixels(columns, element.0), pixels(rows, element.1));
        let described = |text: &str| if text.is_empty() { 0.0 } else { SMALL + 6.0 };
        let labels = |axis: Axis, length| {
            let texts = axis.labels(length as usize / pen.length(40.0) as usize + 2);
            pen.width(texts.iter().map(String::as_str), SMALL) + pen.length(12.0)
        };
        let bar_length = plot.1.max(pen.length(BAR));
        let (_, y_axis) = heatmap.axes();
        let row_labels = labels(y_axis, plot.1) + pen.length(described(&heatmap.y_label));
        let axis = heatmap.axis();
        let bar_labels = axis.map_or(0, |axis| labels(axis, bar_length));
        let column_labels = pen.length(SMALL + 12.0 + described(&heatmap.x_label));
        let left = row_labels + pen.length(6.0);
        let top = pen.length(if heatmap.title.is_empty() { 12.0 } else { LARGE + 22.0 });
        let bar_left = left + plot.0 + pen.length(20.0);
        let note = note(heatmap, (down, across));
        let below = if note.is_empty() { 6.0 } else { SMALL + 14.0 };
        let right = bar_left + axis.map_or(0, |_| pen.length(14.0) + bar_labels);
        let texts = [(&note, SMALL, left), (&heatmap.title, LARGE, left)];
        let widths = texts.map(|(text, height, at)| at + pen.width([text.as_str()], height));
        let width = widths.into_iter().fold(right, i32::max) + pen.length(6.0);
        let height = top + (plot.1 + column_labels).max(bar_length) + pen.length(below);
        Layout {
            width: width.max(heatmap.least_size.0),
            height: height.max(heatmap.least_size.1),
            left,
            top,
            element,
            plot,
            row_labels,
            column_labels,
            bar_left,
            bar_length,
            bar_labels,
            axis,
            note,
        }
    }

    /// How many marks an axis of this length has room for, one each `distance` of the page.
    fn marks(&self, length: i32, distance: f64) -> usize {
        usize::try_from(length / Pen::FINE.length(distance)).unwrap_or(0) + 2
    }
}

/// The line below the picture: what is not shown as it is.
fn note(heatmap: &Heatmap, (down, across): (usize, usize)) -> String {
    let mut notes = Vec::new();
    if down * across > 1 {
        notes.push(format!("means of {down} x {across} elements"));
    }
    let left_out = heatmap.left_out();
    if !left_out.is_empty() {
        let color = if heatmap.map == Colormap::Grey { "light blue" } else { "grey" };
        notes.push(format!("{color}: {left_out}"));
    }
    notes.join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::image::decoded;
    use super::*;
    use ndarray::Array2;

    #[test]
    fn elements_have_the_colours_of_the_map() {
        let map = Colormap::Viridis;
        let pixels = decoded(&heatmap([[0, 1], [2, 4]], map).pixels());
        let wanted = [map.rgb(0.0), map.rgb(0.25), map.rgb(0.5), map.rgb(1.0)];
        for (got, wanted) in pixels.chunks(3).zip(wanted) {
            assert!(got.iter().zip(wanted).all(|(g, w)| g.abs_diff(w) <= 1), "{got:?} {wanted:?}");
        }
        let lower = decoded(&heatmap([[0, 1], [2, 4]], map).origin_lower().pixels());
        assert_eq!(lower[6..], pixels[..6]);
    }

    #[test]
    fn limits_and_logarithm_choose_colours() {
        let map = Colormap::Grey;
        let limited = heatmap([[-5.0, 0.0, 1.0, 9.0]], map).limits(0.0, 1.0).pixels();
        assert_eq!(decoded(&limited), [[0; 3], [0; 3], [255; 3], [255; 3]].as_flattened());
        let log = decoded(&heatmap([[1.0, 10.0, 100.0, 0.0]], map).log().pixels());
        assert_eq!((log[0], log[6]), (0, 255));
        assert!(log[3].abs_diff(128) <= 1);
        assert_eq!(log[9..], map.gap());
    }

    #[test]
    fn what_is_not_finite_is_drawn_apart_and_counted() {
        let map = heatmap([[1.0, f64::NAN], [f64::INFINITY, 2.0]], Colormap::Viridis);
        assert_eq!(format!("{map:?}"), "<heatmap, 2 rows x 2 columns, 1 to 2, 1 NaN, 1 infinite>");
        let pixels = decoded(&map.pixels());
        assert_eq!(pixels[3..6], Colormap::Viridis.gap());
        assert_eq!(pixels[6..9], Colormap::Viridis.gap());
        assert_eq!(note(&map, (1, 1)), "grey: 1 NaN, 1 infinite");
        let nothing = heatmap([[f64::NAN; 3]], Colormap::Grey);
        assert_eq!(format!("{nothing:?}"), "<heatmap, 1 rows x 3 columns, 3 NaN>");
        assert!(nothing.image().size().is_some());
        assert!(nothing.log().image().size().is_some());
    }

    #[test]
    fn large_grids_are_shown_as_means() {
        let large = Array2::from_shape_fn((1500, 3000), |(i, j)| (i / 3 + j / 3) % 7);
        let map = heatmap(&large, Colormap::Turbo);
        assert_eq!((map.blocks.rows, map.blocks.columns), (500, 1000));
        assert_eq!(map.blocks.values[1], 1.0);
        assert_eq!(note(&map, map.blocks.of), "means of 3 x 3 elements");
        let long = heatmap(Array2::<u8>::ones((20, 10_000)), Colormap::Turbo);
        assert_eq!((long.blocks.rows, long.blocks.columns), (20, 1000));
        let uneven = heatmap(Array2::<u8>::ones((1001, 1)), Colormap::Turbo);
        assert_eq!((uneven.blocks.rows, uneven.blocks.values.len()), (501, 501));
    }

    #[test]
    fn small_and_thin_grids_get_a_readable_size() {
        for shape in [(1, 1), (1, 1000), (1000, 1), (3, 2), (1, 100_000)] {
            let (width, height) =
                heatmap(Array2::<f32>::zeros(shape), Colormap::Viridis).image().size().unwrap();
            assert!((100..1400).contains(&width) && (100..1400).contains(&height), "{shape:?}");
        }
    }

    #[test]
    fn the_plot_is_where_the_layout_says() {
        let map = heatmap([[0, 1], [2, 4]], Colormap::Grey).title("t").x_label("x").y_label("y");
        let (layout, pixels) = (Layout::new(&map), decoded(&map.image()));
        let at = |x: i32, y: i32| pixels[3 * (y * layout.width + x) as usize];
        let (last_x, last_y) = (layout.left + layout.plot.0 - 1, layout.top + layout.plot.1 - 1);
        assert_eq!((at(layout.left, layout.top), at(last_x, last_y)), (0, 255));
        assert_eq!(at(layout.bar_left, layout.top + layout.bar_length - 1), 0);
        assert_eq!(map.image(), map.image(), "pictures are the same each time");
    }

    #[test]
    #[should_panic(expected = "7 elements do not make whole rows of 2 columns")]
    fn a_wrong_length_names_all_numbers() {
        let _wrong = heatmap((&[0; 7], 2), Colormap::Viridis);
    }

    #[test]
    #[should_panic(expected = "limits(1, 1): the first must be less than the second")]
    fn limits_without_room_are_refused() {
        let _wrong = heatmap([[1]], Colormap::Viridis).limits(1.0, 1.0);
    }
}
