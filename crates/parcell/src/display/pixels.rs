//! Arrays and slices as pixels.

use ndarray::{ArrayBase, Data, Ix2, Ix3};

use super::Pixels;
use super::grid::rows_of;
use super::image::level;

/// A pixel: a brightness or a colour.
///
/// ```
/// use parcell::display::Pixel;
///
/// assert_eq!(0.5_f32.rgba(), [128, 128, 128, 255]);
/// assert_eq!(true.rgba(), [255; 4]);
/// assert_eq!([255, 0, 0].rgba(), [255, 0, 0, 255]);
/// ```
pub trait Pixel: Copy {
    /// Red, green, blue and opacity.
    fn rgba(self) -> [u8; 4];
}

fn grey(level: u8) -> [u8; 4] {
    [level, level, level, 255]
}

/// Black to white.
impl Pixel for u8 {
    fn rgba(self) -> [u8; 4] {
        grey(self)
    }
}

/// `false` is black, `true` white.
impl Pixel for bool {
    fn rgba(self) -> [u8; 4] {
        grey(if self { 255 } else { 0 })
    }
}

/// 0 is black, 1 white; what lies outside is cut off, NaN is black.
impl Pixel for f64 {
    fn rgba(self) -> [u8; 4] {
        grey(level(self))
    }
}

/// 0 is black, 1 white; what lies outside is cut off, NaN is black.
impl Pixel for f32 {
    fn rgba(self) -> [u8; 4] {
        grey(level(self.into()))
    }
}

/// Red, green, blue.
impl Pixel for [u8; 3] {
    fn rgba(self) -> [u8; 4] {
        [self[0], self[1], self[2], 255]
    }
}

/// Red, green, blue.
impl Pixel for (u8, u8, u8) {
    fn rgba(self) -> [u8; 4] {
        [self.0, self.1, self.2, 255]
    }
}

/// Red, green, blue, opacity.
impl Pixel for [u8; 4] {
    fn rgba(self) -> [u8; 4] {
        self
    }
}

impl<P: Pixels + ?Sized> Pixels for &P {
    fn size(&self) -> (u32, u32) {
        (**self).size()
    }

    fn rgba(&self, x: u32, y: u32) -> [u8; 4] {
        (**self).rgba(x, y)
    }
}

/// Rows from the top.
impl<P: Pixel, S: Data<Elem = P>> Pixels for ArrayBase<S, Ix2> {
    fn size(&self) -> (u32, u32) {
        (side(self.ncols()), side(self.nrows()))
    }

    fn rgba(&self, x: u32, y: u32) -> [u8; 4] {
        self[[y as usize, x as usize]].rgba()
    }
}

/// Height, width and 1, 3 or 4 channels: grey; red, green, blue; these and opacity.
impl<S: Data<Elem = u8>> Pixels for ArrayBase<S, Ix3> {
    /// # Panics
    /// If there is another number of channels.
    fn size(&self) -> (u32, u32) {
        let (height, width, channels) = self.dim();
        assert!(
            matches!(channels, 1 | 3 | 4),
            "an array of shape [{height}, {width}, {channels}] is no picture: its last side must \
             be 1 (grey), 3 (red, green, blue) or 4 (with opacity)"
        );
        (side(width), side(height))
    }

    fn rgba(&self, x: u32, y: u32) -> [u8; 4] {
        let channel = |c| self[[y as usize, x as usize, c]];
        match self.dim().2 {
            1 => grey(channel(0)),
            3 => [channel(0), channel(1), channel(2), 255],
            _ => [channel(0), channel(1), channel(2), channel(3)],
        }
    }
}

/// Pixels, rows from the top, and their number in a row.
impl<P: Pixel> Pixels for (&[P], usize) {
    /// # Panics
    /// If the pixels do not fill whole rows.
    fn size(&self) -> (u32, u32) {
        let (rows, columns) = rows_of(self.0.len(), self.1).unwrap_or_else(|e| panic!("{e}"));
        (side(columns), side(rows))
    }

    fn rgba(&self, x: u32, y: u32) -> [u8; 4] {
        self.0[y as usize * self.1 + x as usize].rgba()
    }
}

/// Pixels, rows from the top, and their number in a row.
impl<P: Pixel> Pixels for (&Vec<P>, usize) {
    fn size(&self) -> (u32, u32) {
        (self.0.as_slice(), self.1).size()
    }

    fn rgba(&self, x: u32, y: u32) -> [u8; 4] {
        (self.0.as_slice(), self.1).rgba(x, y)
    }
}

/// Pixels, rows from the top, and their number in a row.
impl<P: Pixel, const N: usize> Pixels for (&[P; N], usize) {
    fn size(&self) -> (u32, u32) {
        (self.0.as_slice(), self.1).size()
    }

    fn rgba(&self, x: u32, y: u32) -> [u8; 4] {
        (self.0.as_slice(), self.1).rgba(x, y)
    }
}

fn side(n: usize) -> u32 {
    u32::try_from(n).unwrap_or_else(|_| panic!("{n} pixels exceed a picture"))
}

#[cfg(test)]
mod tests {
    use super::super::Image;
    use super::super::image::decoded;
    use ndarray::{Array3, array};

    #[test]
    fn arrays_and_slices_are_pictures() {
        let grey = Image::new(array![[0_u8, 100], [200, 255]]);
        assert_eq!(decoded(&grey), [0, 100, 200, 255], "grey stays one byte per pixel");
        assert_eq!(decoded(&Image::new(array![[0.0, 0.5, 7.0]].t())), [0, 128, 255]);
        assert_eq!(decoded(&Image::new((&[true, false], 1))), [255, 0]);
        assert_eq!(decoded(&Image::new((&vec![[1, 2, 3], [4, 5, 6]], 2))), [1, 2, 3, 4, 5, 6]);
        let glass = Image::new(array![[[1, 1, 1, 128_u8]]]);
        assert_eq!(decoded(&glass), [1, 1, 1, 128]);
        let deep = Array3::from_shape_fn((2, 3, 3), |(i, j, c)| (100 * i + 10 * j + c) as u8);
        let image = Image::new(&deep);
        assert_eq!(image.size(), Some((3, 2)));
        assert_eq!(decoded(&image)[..6], [0, 1, 2, 10, 11, 12]);
    }

    #[test]
    #[should_panic(expected = "shape [4, 5, 2] is no picture")]
    fn a_wrong_number_of_channels_names_the_shape() {
        let _wrong = Image::new(Array3::<u8>::zeros((4, 5, 2)));
    }

    #[test]
    #[should_panic(expected = "3 elements do not make whole rows of 2 columns")]
    fn a_wrong_length_names_all_numbers() {
        let _wrong = Image::new((&[0_u8; 3], 2));
    }
}
