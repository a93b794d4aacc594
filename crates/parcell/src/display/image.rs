//! Pictures made of pixels.

use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ndarray::ArrayView2;

use super::{Bundle, Rich};

/// A picture, kept as an encoded file.
///
/// ```
/// use parcell::prelude::*;
///
/// let gradient = Image::from_fn(64, 32, |x, y| x as f64 / 64.0 * y as f64 / 32.0);
/// show(&gradient);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    mime: &'static str,
    size: Option<(u32, u32)>,
    /// Pixels of the file per pixel of the page.
    density: u32,
    file: Vec<u8>,
}

/// Anything that has pixels: implement it to show picture types of other crates.
///
/// ```
/// use parcell::display::{Image, Pixels};
///
/// struct Checkers(u32);
///
/// impl Pixels for Checkers {
///     fn size(&self) -> (u32, u32) {
///         (self.0, self.0)
///     }
///
///     fn rgba(&self, x: u32, y: u32) -> [u8; 4] {
///         if (x + y) % 2 == 0 { [255; 4] } else { [0, 0, 0, 255] }
///     }
/// }
///
/// assert_eq!(Image::from_pixels(&Checkers(8)).size(), Some((8, 8)));
/// ```
pub trait Pixels {
    /// Width and height.
    fn size(&self) -> (u32, u32);
    /// Red, green, blue and opacity of a pixel; (0, 0) is at the upper left.
    fn rgba(&self, x: u32, y: u32) -> [u8; 4];
}

impl Image {
    /// A picture of three bytes per pixel: red, green, blue; rows from the top.
    ///
    /// # Panics
    /// If a side is 0, or `data` has not `3 * width * height` bytes.
    ///
    /// ```
    /// use parcell::display::Image;
    ///
    /// let red = Image::rgb8(2, 1, &[255, 0, 0, 255, 0, 0]);
    /// assert_eq!(red.size(), Some((2, 1)));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn rgb8(width: u32, height: u32, data: &[u8]) -> Image {
        encode(width, height, png::ColorType::Rgb, data)
    }

    /// A picture of four bytes per pixel: red, green, blue, opacity; rows from the top.
    ///
    /// # Panics
    /// If a side is 0, or `data` has not `4 * width * height` bytes.
    ///
    /// ```
    /// let glass = parcell::display::Image::rgba8(1, 1, &[0, 0, 255, 128]);
    /// assert_eq!(glass.size(), Some((1, 1)));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn rgba8(width: u32, height: u32, data: &[u8]) -> Image {
        encode(width, height, png::ColorType::Rgba, data)
    }

    /// A picture of one byte per pixel, from black to white; rows from the top.
    ///
    /// # Panics
    /// If a side is 0, or `data` has not `width * height` bytes.
    ///
    /// ```
    /// let ramp: Vec<u8> = (0..=255).collect();
    /// assert_eq!(parcell::display::Image::gray8(16, 16, &ramp).size(), Some((16, 16)));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn gray8(width: u32, height: u32, data: &[u8]) -> Image {
        encode(width, height, png::ColorType::Grayscale, data)
    }

    /// A grey picture of a function of the pixel's column and row: 0 is black, 1 white; what lies
    /// outside is cut off.
    ///
    /// # Panics
    /// If a side is 0.
    ///
    /// ```
    /// use parcell::display::Image;
    ///
    /// let disc = Image::from_fn(32, 32, |x, y| {
    ///     let (x, y) = (x as f64 - 15.5, y as f64 - 15.5);
    ///     if x.hypot(y) < 12.0 { 1.0 } else { 0.0 }
    /// });
    /// assert_eq!(disc.size(), Some((32, 32)));
    /// ```
    #[must_use]
    pub fn from_fn(width: u32, height: u32, mut f: impl FnMut(u32, u32) -> f64) -> Image {
        let points = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let data: Vec<u8> = points.map(|(x, y)| level(f(x, y))).collect();
        Image::gray8(width, height, &data)
    }

    /// A grey picture of a matrix: the least element black, the greatest white, row 0 on top.
    /// Elements that are not finite do not count for the scale; NaN is black.
    ///
    /// # Panics
    /// If the matrix is empty, or a side exceeds `u32::MAX`.
    ///
    /// ```
    /// use parcell::display::Image;
    /// use parcell::ndarray::Array2;
    ///
    /// let waves = Array2::from_shape_fn((20, 30), |(i, j)| (i as f64 / 3.0).sin() + j as f64);
    /// assert_eq!(Image::from_array(waves.view()).size(), Some((30, 20)));
    /// ```
    #[must_use]
    pub fn from_array<T: Copy + Into<f64>>(array: ArrayView2<'_, T>) -> Image {
        let finite = || array.iter().map(|&x| x.into()).filter(|x| x.is_finite());
        let least = finite().fold(f64::INFINITY, f64::min);
        let greatest = finite().fold(f64::NEG_INFINITY, f64::max);
        let range = if greatest > least { greatest - least } else { 1.0 };
        let data: Vec<u8> = array.iter().map(|&x| level((x.into() - least) / range)).collect();
        let side = |n| u32::try_from(n).unwrap_or_else(|_| panic!("{n} pixels exceed a picture"));
        Image::gray8(side(array.ncols()), side(array.nrows()), &data)
    }

    /// A picture of anything with [`Pixels`].
    ///
    /// # Panics
    /// If a side is 0.
    ///
    /// See [`Pixels`] for an example.
    #[must_use]
    #[track_caller]
    pub fn from_pixels(pixels: &impl Pixels) -> Image {
        let (width, height) = pixels.size();
        let points = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        smallest(width, height, points.map(|(x, y)| pixels.rgba(x, y)).collect())
    }

    /// A picture of an array as it is: an ndarray of two dimensions with elements of type `u8`,
    /// `f32`, `f64` (0 is black, 1 white), `bool`, `[u8; 3]` (red, green, blue) or `[u8; 4]`; an
    /// ndarray of `u8` with the shape `[height, width, 3]`; or a pair of a slice and its number of
    /// pixels in a row. Row 0 is on top. For other numbers there are [`Image::from_array`], which
    /// finds black and white by itself, and [`heatmap`](super::heatmap()).
    ///
    /// # Panics
    /// If a side is 0, or the array's shape is not that of a picture.
    ///
    /// ```
    /// use parcell::prelude::*;
    /// use parcell::ndarray::{Array2, Array3};
    ///
    /// let flag = Array2::from_shape_fn((40, 60), |(_, j)| [255, 255, if j < 30 { 0 } else { 255 }]);
    /// show(&Image::new(&flag));
    /// show(&Image::new(Array3::<u8>::zeros((40, 60, 3))));
    /// show(&Image::new((&[0.0, 0.5, 1.0, 0.5], 2)).scale(16));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn new(pixels: impl Pixels) -> Image {
        Image::from_pixels(&pixels)
    }

    /// The picture enlarged without blurring: each pixel becomes a square of `n * n` pixels.
    ///
    /// # Panics
    /// If `n` is 0, the picture is a jpeg or no valid png, or the result had more than 2^28
    /// pixels.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(Image::gray8(2, 1, &[0, 255]).scale(50).size(), Some((100, 50)));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn scale(&self, n: u32) -> Image {
        let Some((width, height)) = self.size.filter(|_| self.mime == "image/png") else {
            panic!("{} cannot be scaled: only the pixels of a png are known", self.describe());
        };
        let pixels = u128::from(n).pow(2) * u128::from(width) * u128::from(height);
        assert!(
            (1..=1 << 28).contains(&pixels),
            "{} scaled by {n} has {pixels} pixels; it must be 1 to 2^28",
            self.describe()
        );
        let data = self.rgba().unwrap_or_else(|e| panic!("{} is damaged: {e}", self.describe()));
        let columns: Vec<usize> = (0..(width * n) as usize).map(|x| x / n as usize).collect();
        let row = |row: &[[u8; 4]]| columns.iter().map(|&x| row[x]).collect::<Vec<_>>();
        let rows = data.chunks_exact(width as usize);
        let scaled = rows.flat_map(|line| row(line).repeat(n as usize)).collect();
        smallest(width * n, height * n, scaled).dense(self.density)
    }

    /// Writes the encoded file. Blocks until it is written.
    ///
    /// # Errors
    /// If the file cannot be written, or its name ends like another kind of picture: a png is not
    /// converted to `.jpg`.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let file = std::env::temp_dir().join("parcell-example.png");
    /// Image::gray8(2, 1, &[0, 255]).save(&file)?;
    /// assert_eq!(std::fs::read(&file)?[1..4], *b"PNG");
    /// let refused = Image::gray8(2, 1, &[0, 255]).save("example.jpg").unwrap_err();
    /// assert_eq!(refused.to_string(), "example.jpg: this is a png picture, name it so");
    /// # std::fs::remove_file(file)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let kind = match ending.as_deref() {
            Some("png") => Some("image/png"),
            Some("jpg" | "jpeg") => Some("image/jpeg"),
            Some("svg" | "gif" | "webp" | "tif" | "tiff" | "bmp" | "pdf") => Some("another"),
            _ => None,
        };
        if kind.is_some_and(|kind| kind != self.mime) {
            let is = self.mime.trim_start_matches("image/");
            let text = format!("{}: this is a {is} picture, name it so", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        std::fs::write(path, &self.file)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
    }

    /// The pixels of a png file.
    pub(super) fn rgba(&self) -> Result<Vec<[u8; 4]>, png::DecodingError> {
        let mut decoder = png::Decoder::new(io::Cursor::new(&self.file));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info()?;
        let mut data = vec![0; reader.output_buffer_size().unwrap_or(0)];
        let frame = reader.next_frame(&mut data)?;
        let pixel = |p: &[u8]| match *p {
            [level] => [level, level, level, 255],
            [level, opacity] => [level, level, level, opacity],
            [red, green, blue] => [red, green, blue, 255],
            _ => [p[0], p[1], p[2], p[3]],
        };
        let data = &data[..frame.buffer_size()];
        Ok(data.chunks_exact(frame.color_type.samples()).map(pixel).collect())
    }

    /// The contents of a png file.
    ///
    /// ```
    /// use parcell::display::Image;
    ///
    /// let file = Image::gray8(1, 1, &[0]).file().to_vec();
    /// assert_eq!(Image::png_bytes(file).mime(), "image/png");
    /// ```
    #[must_use]
    pub fn png_bytes(file: Vec<u8>) -> Image {
        let decoder = png::Decoder::new(std::io::Cursor::new(&file));
        let size = decoder.read_info().ok().map(|reader| reader.info().size());
        Image { mime: "image/png", size, density: 1, file }
    }

    /// The contents of a jpeg file.
    ///
    /// ```no_run
    /// use parcell::prelude::*;
    ///
    /// show(&Image::jpeg_bytes(std::fs::read("photo.jpg")?));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn jpeg_bytes(file: Vec<u8>) -> Image {
        Image { mime: "image/jpeg", size: None, density: 1, file }
    }

    /// Width and height, where known.
    ///
    /// ```
    /// assert_eq!(parcell::display::Image::gray8(2, 1, &[0, 9]).size(), Some((2, 1)));
    /// ```
    #[must_use]
    pub fn size(&self) -> Option<(u32, u32)> {
        self.size
    }

    /// The MIME type.
    ///
    /// ```
    /// assert_eq!(parcell::display::Image::gray8(1, 1, &[0]).mime(), "image/png");
    /// ```
    #[must_use]
    pub fn mime(&self) -> &'static str {
        self.mime
    }

    /// The encoded file, to be written to disk as it is.
    ///
    /// ```
    /// let png = parcell::display::Image::gray8(1, 1, &[0]);
    /// assert!(png.file().starts_with(b"\x89PNG"));
    /// ```
    #[must_use]
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// The same file shown smaller, with so many pixels per pixel of the page.
    pub(super) fn dense(mut self, density: u32) -> Image {
        self.density = density;
        self
    }

    fn describe(&self) -> String {
        let kind = self.mime.trim_start_matches("image/");
        match self.size {
            Some((width, height)) => format!("<{kind}, {width} x {height} pixels>"),
            None => format!("<{kind}, {} bytes>", self.file.len()),
        }
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

impl Rich for Image {
    fn bundle(&self) -> Bundle {
        self.described(self.describe())
    }
}

impl Image {
    /// Width and height on the page, where known.
    pub(super) fn shown_size(&self) -> Option<(u32, u32)> {
        let shown = |side: u32| side.div_ceil(self.density);
        self.size.map(|(width, height)| (shown(width), shown(height)))
    }

    /// The picture with another text beside it.
    pub(super) fn described(&self, text: String) -> Bundle {
        let mut bundle = Bundle::text(text).with(self.mime, STANDARD.encode(&self.file));
        if let Some((width, height)) = self.shown_size() {
            let size = format!(r#"{{"width": {width}, "height": {height}}}"#);
            bundle.metadata.push((self.mime.to_owned(), size));
        }
        bundle
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the float is clamped to 0..=255 before; NaN becomes 0"
)]
pub(super) fn level(brightness: f64) -> u8 {
    (brightness.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// The picture with as few bytes per pixel as its colours need.
#[track_caller]
fn smallest(width: u32, height: u32, pixels: Vec<[u8; 4]>) -> Image {
    if pixels.iter().any(|&[.., opacity]| opacity < 255) {
        return Image::rgba8(width, height, pixels.as_flattened());
    }
    if pixels.iter().all(|&[red, green, blue, _]| red == green && green == blue) {
        let levels: Vec<u8> = pixels.into_iter().map(|[level, ..]| level).collect();
        return Image::gray8(width, height, &levels);
    }
    let colors: Vec<u8> = pixels.into_iter().flat_map(|[r, g, b, _]| [r, g, b]).collect();
    Image::rgb8(width, height, &colors)
}

#[track_caller]
fn encode(width: u32, height: u32, color: png::ColorType, data: &[u8]) -> Image {
    let expected = u64::from(width) * u64::from(height) * color.samples() as u64;
    assert!(
        expected > 0 && data.len() as u64 == expected,
        "a picture of {width} x {height} pixels of type {color:?} has {expected} bytes and at \
         least one pixel; {} bytes were given",
        data.len()
    );
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut w| w.write_image_data(data));
    written.expect("sizes were checked, and writing to memory does not fail");
    Image { mime: "image/png", size: Some((width, height)), density: 1, file }
}

/// The pixels of a png file.
#[cfg(test)]
pub(super) fn decoded(image: &Image) -> Vec<u8> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(image.file())).read_info().unwrap();
    let mut data = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut data).unwrap();
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_survive_the_encoding() {
        let data: Vec<u8> = (0..24).collect();
        assert_eq!(decoded(&Image::rgb8(4, 2, &data)), data);
        assert_eq!(decoded(&Image::rgba8(2, 3, &data)), data);
        assert_eq!(decoded(&Image::gray8(6, 4, &data)), data);
    }

    #[test]
    fn a_matrix_is_scaled_and_keeps_its_orientation() {
        let matrix = ndarray::array![[-1.0, 0.0, 1.0], [f64::NAN, 1.0, f64::INFINITY]];
        let image = Image::from_array(matrix.view());
        assert_eq!(image.size(), Some((3, 2)));
        assert_eq!(decoded(&image), [0, 128, 255, 0, 255, 255]);
        assert_eq!(decoded(&Image::from_array(ndarray::array![[7, 7]].view())), [0, 0]);
    }

    #[test]
    fn the_bundle_holds_the_file_and_its_size() {
        let image = Image::gray8(2, 1, &[0, 255]);
        let bundle = image.bundle();
        assert_eq!(bundle.get("text/plain"), Some("<png, 2 x 1 pixels>"));
        assert_eq!(STANDARD.decode(bundle.get("image/png").unwrap()).unwrap(), image.file());
        let size = r#"{"width": 2, "height": 1}"#;
        assert_eq!(bundle.metadata, [("image/png".to_owned(), size.to_owned())]);
        assert_eq!(Image::png_bytes(image.file().to_vec()), image);
    }

    #[test]
    fn scaling_repeats_pixels() {
        let image = Image::rgb8(2, 1, &[1, 2, 3, 4, 5, 6]).scale(2);
        let row = [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6];
        assert_eq!(decoded(&image), [row, row].as_flattened());
        assert_eq!(decoded(&Image::rgba8(1, 1, &[9, 9, 9, 7]).scale(1)), [9, 9, 9, 7]);
    }

    #[test]
    #[should_panic(expected = "<png, 2 x 1 pixels> scaled by 0 has 0 pixels")]
    fn scaling_to_nothing_is_refused() {
        let _wrong = Image::gray8(2, 1, &[0, 1]).scale(0);
    }

    #[test]
    #[should_panic(expected = "a picture of 2 x 2 pixels of type Rgb has 12 bytes")]
    fn a_wrong_size_names_all_numbers() {
        let _wrong = Image::rgb8(2, 2, &[0; 11]);
    }
}
