//! What pictures with text are drawn on: white paper, one font, axes.
//!
//! Paper is white under light and dark themes alike, as a printed figure is, so that saved
//! notebooks look the same wherever they are read. Pictures are png files with twice as many
//! pixels as they are shown with: front ends show png also where they trust no html or svg.

use std::ops::Range;
use std::sync::LazyLock;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{
    BoldPoints, KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter,
};
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::{
    BitMapBackend, Color, DrawingArea, DrawingBackend, IntoDrawingArea, RGBColor, ShapeStyle, Text,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, IntoFont, IntoTextStyle, TextStyle, register_font};

use super::Image;

/// Pixels of the file per pixel of the page.
pub(super) const DENSITY: u32 = 2;
/// Heights of letters, in pixels of the page.
pub(super) const SMALL: f64 = 13.0;
pub(super) const LARGE: f64 = 16.0;
/// The colour of text and axes.
pub(super) const INK: RGBColor = RGBColor(40, 40, 40);
/// The colour of lines behind the data.
pub(super) const GRID: RGBColor = RGBColor(222, 222, 222);

/// Colours that also eyes without one kind of cones tell apart: Okabe and Ito, Color Universal
/// Design (2008). Its yellow is left out, too pale for lines on white.
pub(super) const SERIES: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

pub(super) type Area<B> = DrawingArea<B, Shift>;
pub(super) type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// Lengths and letters at a resolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pen {
    scale: f64,
}

impl Pen {
    /// For png files.
    pub(super) const FINE: Pen = Pen { scale: DENSITY as f64 };

    /// For svg files, which have no pixels.
    pub(super) const PLAIN: Pen = Pen { scale: 1.0 };

    /// A length of the page in units of the file.
    #[expect(clippy::cast_possible_truncation, reason = "lengths are a few thousand at most")]
    pub(super) fn length(self, length: f64) -> i32 {
        (length * self.scale).round() as i32
    }

    /// Letters of a height.
    pub(super) fn text(self, height: f64) -> TextStyle<'static> {
        static FONT: LazyLock<()> = LazyLock::new(|| {
            let file = epaint_default_fonts::UBUNTU_LIGHT;
            let read = register_font("sans-serif", FontStyle::Normal, file);
            assert!(read.is_ok(), "the font is a constant");
        });
        LazyLock::force(&FONT);
        ("sans-serif", height * self.scale).into_font().color(&INK)
    }

    /// About how wide the longest of these texts is.
    pub(super) fn width<'a>(self, texts: impl IntoIterator<Item = &'a str>, height: f64) -> i32 {
        let letters = texts.into_iter().map(|text| text.chars().count()).max().unwrap_or(0);
        self.length(letters as f64 * height * 0.56)
    }

    /// A line of a thickness.
    pub(super) fn line(self, color: RGBColor, thickness: f64) -> ShapeStyle {
        color.stroke_width(self.length(thickness).max(1).cast_unsigned())
    }
}

/// Writes a text around a point.
pub(super) fn write<B: DrawingBackend>(
    area: &Area<B>,
    text: &str,
    (x, y): (i32, i32),
    style: &TextStyle<'_>,
    at: (HPos, VPos),
) -> Drawn<B> {
    let style = style.pos(Pos::new(at.0, at.1)).into_text_style(area);
    area.draw(&Text::new(text.to_owned(), (x, y), style))
}

/// A white sheet, its sizes in pixels of the file.
pub(super) struct Paper {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Paper {
    pub(super) fn new(width: u32, height: u32) -> Paper {
        Paper { width, height, pixels: vec![255; 3 * width as usize * height as usize] }
    }

    pub(super) fn draw(
        &mut self,
        picture: impl for<'a> FnOnce(&Area<BitMapBackend<'a>>) -> Drawn<BitMapBackend<'a>>,
    ) {
        let size = (self.width, self.height);
        let area = BitMapBackend::with_buffer(&mut self.pixels, size).into_drawing_area();
        picture(&area).expect("the font is built in, and drawing in memory does not fail");
    }

    /// Fills a rectangle that begins at a point.
    pub(super) fn fill(&mut self, (x, y): (u32, u32), (width, height): (u32, u32), rgb: [u8; 3]) {
        for row in y..(y + height).min(self.height) {
            let start = 3 * (row as usize * self.width as usize + x as usize);
            let length = 3 * width.min(self.width.saturating_sub(x)) as usize;
            for pixel in self.pixels[start..start + length].chunks_exact_mut(3) {
                pixel.copy_from_slice(&rgb);
            }
        }
    }

    pub(super) fn image(&self) -> Image {
        Image::rgb8(self.width, self.height, &self.pixels).dense(DENSITY)
    }
}

/// How an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    /// Only integers are marked.
    Whole,
    Log,
    /// Every integer is marked.
    Each,
}

/// An axis from one value to another, which may be the smaller one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) scale: Scale,
}

impl Axis {
    /// From 0 to 1.
    pub(super) const UNIT: Axis = Axis { from: 0.0, to: 1.0, scale: Scale::Linear };

    /// The marked values' texts.
    pub(super) fn labels(&self, count: usize) -> Vec<String> {
        self.values(count).into_iter().map(brief).collect()
    }

    /// The marked values.
    pub(super) fn values(&self, count: usize) -> Vec<f64> {
        self.key_points(BoldPoints(count))
    }

    /// How far along the axis a value lies: 0 at its start, 1 at its end.
    pub(super) fn position(&self, value: f64) -> f64 {
        let (from, to) = (self.from, self.to);
        match self.scale {
            Scale::Log => (value / from).ln() / (to / from).ln(),
            _ => (value - from) / (to - from),
        }
    }

    fn powers(low: f64, high: f64, count: usize) -> Vec<f64> {
        let (first, last) = (low.log10().floor(), high.log10().ceil());
        #[expect(clippy::cast_possible_truncation, reason = "exponents of f64 are below 400")]
        let exponents = || (first as i32)..=(last as i32);
        let inside = |x: &f64| *x >= low * (1.0 - 1e-9) && *x <= high * (1.0 + 1e-9);
        let step = (exponents().count().saturating_sub(2) / count.max(1) + 1).max(1);
        let tens = exponents().step_by(step).map(|e| 10_f64.powi(e));
        let between = |x: f64| [x, 2.0 * x, 5.0 * x];
        let points: Vec<f64> = if step == 1 && 3 * exponents().count() <= count + 3 {
            tens.flat_map(between).filter(inside).collect()
        } else {
            tens.filter(inside).collect()
        };
        if points.len() > 1 { points } else { linear(low, high, BoldPoints(count)) }
    }
}

fn linear(low: f64, high: f64, hint: impl KeyPointHint) -> Vec<f64> {
    let points = RangedCoordf64::from(low..high).key_points(hint);
    // They are counted up from the lowest; what rounding leaves where zero should be is no number.
    let nothing = 1e-9 * (high - low);
    points.into_iter().map(|x| if x.abs() < nothing { 0.0 } else { x }).collect()
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "a float beyond i32 becomes its end")]
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let length = f64::from(limit.1) - f64::from(limit.0);
        (f64::from(limit.0) + self.position(*value) * length).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        let (low, high) = (self.from.min(self.to), self.from.max(self.to));
        match self.scale {
            Scale::Log => Axis::powers(low, high, hint.bold_points()),
            Scale::Linear => linear(low, high, hint),
            #[expect(clippy::cast_possible_truncation, reason = "these are indices")]
            Scale::Each => (low.ceil() as i64..=high.floor() as i64).map(|i| i as f64).collect(),
            Scale::Whole => {
                let points = linear(low, high, hint);
                points.into_iter().filter(|x| (x - x.round()).abs() < 1e-9).collect()
            }
        }
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        brief(*value)
    }
}

/// A number in at most six digits; integers below a milliard exactly.
pub(super) fn brief(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || (value.fract() == 0.0 && size < 1e9) {
        // Adding 0 makes -0 positive.
        return format!("{}", value + 0.0);
    }
    let trimmed = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    if (1e-4..1e6).contains(&size) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 9")]
        let decimals = (5.0 - size.log10().floor()).max(0.0) as usize;
        return trimmed(&format!("{value:.decimals$}"));
    }
    let text = format!("{value:.5e}");
    let (digits, exponent) = text.split_once('e').expect("that is how `e` formats");
    format!("{}e{exponent}", trimmed(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_brief() {
        let numbers = [
            (0.0, "0"),
            (-0.0, "0"),
            (0.1 + 0.2, "0.3"),
            (-2.5, "-2.5"),
            (100_000_000.0, "100000000"),
            (2.5e9, "2.5e9"),
            (1.0 / 3.0, "0.333333"),
            (1e-7, "1e-7"),
            (0.000_123, "0.000123"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "NaN"),
        ];
        for (number, text) in numbers {
            assert_eq!(brief(number), text);
        }
    }

    #[test]
    fn axes_mark_round_values() {
        let axis = |from, to, scale| Axis { from, to, scale }.labels(6);
        assert_eq!(axis(0.0, 1.0, Scale::Linear), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(axis(2.5, -0.5, Scale::Whole), ["0", "1", "2"]);
        let fifths = Axis { from: -1.2, to: 1.2, scale: Scale::Linear }.labels(14);
        assert_eq!(fifths[3..7], ["-0.4", "-0.2", "0", "0.2"]);
        assert_eq!(
            axis(1.0, 1e6, Scale::Log),
            ["1", "10", "100", "1000", "10000", "100000", "1000000"]
        );
        assert_eq!(axis(1.0, 16.0, Scale::Log), ["1", "2", "5", "10"]);
        assert!(axis(3.0, 4.0, Scale::Log).len() > 1, "also within one power of ten");
        assert!(axis(1e-300, 1e300, Scale::Log).len() <= 8);
    }
}
