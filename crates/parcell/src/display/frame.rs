//! Axes, title and legend around data.

use plotters::chart::ChartContext;
use plotters::coord::cartesian::Cartesian2d;
use plotters::element::{Drawable, PointCollection};
use plotters::prelude::{
    ChartBuilder, DrawingBackend, IntoDrawingArea, RGBColor, Rectangle, SVGBackend,
};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::Image;
use super::paper::{
    Area, Axis, DENSITY, Drawn, GRID, INK, LARGE, Paper, Pen, SMALL, Scale, brief, write,
};

/// The side of a legend's swatch, in pixels of the page.
const SWATCH: f64 = 11.0;

/// Where data is drawn.
pub(super) type Plot<'a, B> = ChartContext<'a, B, Cartesian2d<Axis, Axis>>;

/// Data that a frame can be drawn around.
pub(super) trait Data {
    fn draw<B: DrawingBackend>(&self, plot: &mut Plot<'_, B>, pen: Pen) -> Drawn<B>;
}

/// What surrounds data.
pub(super) struct Frame {
    /// Width and height, in pixels of the page.
    pub(super) size: (u32, u32),
    pub(super) title: String,
    pub(super) x: Scaled,
    pub(super) y: Scaled,
    pub(super) legend: Vec<(String, RGBColor)>,
}

/// An axis with its name. Names of places, if there are any, stand where the axis counts 0, 1, ….
pub(super) struct Scaled {
    pub(super) axis: Axis,
    pub(super) label: String,
    pub(super) places: Vec<String>,
}

impl Scaled {
    /// The text at a marked value.
    fn mark(&self, value: f64) -> String {
        if self.places.is_empty() {
            return brief(value);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let index = (value >= 0.0).then_some(value as usize);
        index.and_then(|index| self.places.get(index)).cloned().unwrap_or_default()
    }
}

impl Frame {
    pub(super) fn png(&self, data: &impl Data) -> Image {
        let mut paper = Paper::new(self.size.0 * DENSITY, self.size.1 * DENSITY);
        paper.draw(|area| self.draw(area, Pen::FINE, data));
        paper.image()
    }

    pub(super) fn svg(&self, data: &impl Data) -> String {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, self.size).into_drawing_area();
        let drawn = area
            .fill(&plotters::style::WHITE)
            .and_then(|()| self.draw(&area, Pen::PLAIN, data))
            .and_then(|()| area.present());
        drawn.expect("the font is built in, and writing to memory does not fail");
        drop(area);
        svg
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>, pen: Pen, data: &impl Data) -> Drawn<B> {
        let (width, height) = self.size;
        let title = if self.title.is_empty() { 14.0 } else { LARGE + 24.0 };
        let key_width = self.legend_width(pen);
        let described = |scaled: &Scaled| if scaled.label.is_empty() { 0.0 } else { SMALL + 8.0 };
        let y_count = height as usize / 45 + 1;
        let y_marks = self.y.axis.values(y_count);
        let y_marks: Vec<String> = y_marks.into_iter().map(|y| self.y.mark(y)).collect();
        let y_width = pen.width(y_marks.iter().map(String::as_str), SMALL) + pen.length(12.0);
        let mut plot = ChartBuilder::on(area)
            .margin_top(pen.length(title))
            .margin_right(key_width + pen.length(18.0))
            .margin_bottom(pen.length(6.0))
            .margin_left(pen.length(6.0))
            .x_label_area_size(pen.length(SMALL + 14.0 + described(&self.x)))
            .y_label_area_size(y_width + pen.length(described(&self.y)))
            .build_cartesian_2d(self.x.axis, self.y.axis)?;
        let mut mesh = plot.configure_mesh();
        if !self.x.places.is_empty() {
            mesh.disable_x_mesh();
        }
        mesh.x_labels(width as usize / 90 + 1)
            .y_labels(y_count)
            .x_label_formatter(&|&x| self.x.mark(x))
            .y_label_formatter(&|&y| self.y.mark(y))
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .axis_style(pen.line(INK, 0.5))
            .bold_line_style(pen.line(GRID, 0.5))
            .light_line_style(plotters::style::TRANSPARENT)
            .max_light_lines(1)
            .set_all_tick_mark_size(pen.length(4.0))
            .label_style(pen.text(SMALL))
            .axis_desc_style(pen.text(SMALL))
            .draw()?;
        data.draw(&mut plot, pen)?;
        let (columns, rows) = plot.plotting_area().get_pixel_range();
        let above = (i32::midpoint(columns.start, columns.end), rows.start - pen.length(12.0));
        write(area, &self.title, above, &pen.text(LARGE), (HPos::Center, VPos::Bottom))?;
        self.draw_legend(area, pen, (columns.end + pen.length(16.0), rows.start))
    }

    fn legend_width(&self, pen: Pen) -> i32 {
        if self.legend.is_empty() {
            return 0;
        }
        let texts = self.legend.iter().map(|(text, _)| text.as_str());
        pen.width(texts, SMALL) + pen.length(SWATCH + 14.0)
    }

    fn draw_legend<B: DrawingBackend>(
        &self,
        area: &Area<B>,
        pen: Pen,
        (left, top): (i32, i32),
    ) -> Drawn<B> {
        let side = pen.length(SWATCH);
        let line = pen.length(SMALL + 8.0);
        for ((text, color), top) in self.legend.iter().zip((top..).step_by(line as usize)) {
            let corners = [(left, top), (left + side, top + side)];
            area.draw(&Rectangle::new(corners, color.filled()))?;
            let at = (left + side + pen.length(7.0), top + side / 2 + pen.length(1.5));
            write(area, text, at, &pen.text(SMALL), (HPos::Left, VPos::Center))?;
        }
        Ok(())
    }
}

/// An axis that has room for all these values, and some more beside them.
pub(super) fn around(values: impl Iterator<Item = f64>, scale: Scale) -> Option<Axis> {
    let ends = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
    let (low, high) =
        values.filter(|x| x.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), ends);
    if low > high {
        return None;
    }
    if scale == Scale::Log {
        let room = (high / low).powf(0.04).max(1.1);
        return Some(Axis { from: low / room, to: high * room, scale });
    }
    let length = high - low;
    let room = if length > 0.0 { length * 0.04 } else { low.abs().max(1.0) * 0.5 };
    Some(Axis { from: low - room, to: high + room, scale })
}

/// Draws something whose points are pixels; points beyond the axes are moved to their ends.
pub(super) fn draw_in<B, E>(plot: &Plot<'_, B>, element: E) -> Drawn<B>
where
    B: DrawingBackend,
    for<'a> &'a E: PointCollection<'a, (i32, i32)>,
    E: Drawable<B>,
{
    plot.plotting_area().use_screen_coord().draw(&element)
}
