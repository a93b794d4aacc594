//! What pictures are made of: numbers of any type, and grids of them.

use std::time::Duration;

use ndarray::{ArrayBase, ArrayRef, Data, Ix2};

/// A number of any type, as pictures see it. Implement it to draw numbers of your own.
///
/// ```
/// use parcell::display::Number;
///
/// assert_eq!(Number::to_f64(3_u8), 3.0);
/// assert_eq!(Number::to_f64(true), 1.0);
/// assert_eq!(Number::to_f64(std::time::Duration::from_millis(1500)), 1.5);
/// ```
pub trait Number: Copy {
    /// The nearest `f64`; a duration in seconds.
    fn to_f64(self) -> f64;
}

macro_rules! number {
    ($($type:ty)*) => {$(
        impl Number for $type {
            #[allow(clippy::cast_lossless, reason = "one line for all types")]
            #[allow(clippy::cast_precision_loss, reason = "a picture shows few digits")]
            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    )*};
}

number!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize f32 f64);

impl Number for bool {
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
}

impl Number for Duration {
    fn to_f64(self) -> f64 {
        self.as_secs_f64()
    }
}

impl<T: Number> Number for &T {
    fn to_f64(self) -> f64 {
        (*self).to_f64()
    }
}

/// Why something is no grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GridError {
    /// There is nothing in it.
    #[error("a grid of {rows} rows and {columns} columns has nothing to show")]
    Empty {
        /// Number of rows.
        rows: usize,
        /// Number of columns.
        columns: usize,
    },
    /// A slice does not fill its last row.
    #[error(
        "{length} elements do not make whole rows of {columns} columns: {} full rows and {} \
         elements more",
        length / columns, length % columns
    )]
    Uneven {
        /// Number of elements.
        length: usize,
        /// Number of columns.
        columns: usize,
    },
    /// A row is longer or shorter than the first one.
    #[error(
        "row {row} has {length} elements, row 0 has {expected}: a grid's rows are equally long"
    )]
    Ragged {
        /// The first such row.
        row: usize,
        /// Its length.
        length: usize,
        /// The length of row 0.
        expected: usize,
    },
}

/// Numbers in rows and columns: an ndarray `Array2` or view, a list of rows, or a pair of a slice
/// and its number of columns.
///
/// ```
/// use parcell::display::{Grid, GridError};
/// use parcell::ndarray::Array2;
///
/// assert_eq!(Array2::<f64>::zeros((2, 3)).rows_and_columns(), Ok((2, 3)));
/// assert_eq!(vec![vec![1, 2], vec![3, 4]].rows_and_columns(), Ok((2, 2)));
/// assert_eq!((&[1_u8, 2, 3, 4, 5, 6], 3).rows_and_columns(), Ok((2, 3)));
/// let uneven = (&[1, 2, 3][..], 2).rows_and_columns();
/// assert_eq!(uneven, Err(GridError::Uneven { length: 3, columns: 2 }));
/// ```
pub trait Grid {
    /// The numbers of rows and columns.
    ///
    /// # Errors
    /// If the elements fill no rectangle.
    fn rows_and_columns(&self) -> Result<(usize, usize), GridError>;

    /// Writes a row's elements to `into`, which has as many places as there are columns.
    fn read_row(&self, row: usize, into: &mut [f64]);
}

impl<G: Grid + ?Sized> Grid for &G {
    fn rows_and_columns(&self) -> Result<(usize, usize), GridError> {
        (**self).rows_and_columns()
    }

    fn read_row(&self, row: usize, into: &mut [f64]) {
        (**self).read_row(row, into);
    }
}

impl<T: Number> Grid for ArrayRef<T, Ix2> {
    fn rows_and_columns(&self) -> Result<(usize, usize), GridError> {
        Ok(self.dim())
    }

    fn read_row(&self, row: usize, into: &mut [f64]) {
        read(self.row(row), into);
    }
}

impl<T: Number, S: Data<Elem = T>> Grid for ArrayBase<S, Ix2> {
    fn rows_and_columns(&self) -> Result<(usize, usize), GridError> {
        Ok(self.dim())
    }

    fn read_row(&self, row: usize, into: &mut [f64]) {
        read(self.row(row), into);
    }
}

impl<T: Number> Grid for (&[T], usize) {
    fn rows_and_columns(&self) -> Result<(usize, usize), GridError> {
        rows_of(self.0.len(), self.1)
    }

    fn read_row(&self, row: usize, into: &mut [f64]) {
        read(&self.0[row * self.1..(row + 1) * self.1], into);
    }
}

impl<T: Number> Grid for (&Vec<T>, usize) {
    fn rows_and_columns(&self) -> Result<(usize, usize), GridError> {
        (self.0.as_slice(), self.1).rows_and_columns()
    }

    fn read_row(&self, row: usize, into: &mut [f64]) {
        (self.0.as_slice(), self.1).read_row(row, into);
    }
}

impl<T: Number, const N: usize> Grid for (&[T; N], usize) {
    fn rows_and_columns(&self) -> Result<(usize, usize), GridError> {
        (self.0.as_slice(), self.1).rows_and_columns()
    }

    fn read_row(&self, row: usize, into: &mut [f64]) {
        (self.0.as_slice(), self.1).read_row(row, into);
    }
}

impl<T: Number> Grid for [Vec<T>] {
    fn rows_and_columns(&self) -> Result<(usize, usize), GridError> {
        let expected = self.first().map_or(0, Vec::len);
        match self.iter().map(Vec::len).enumerate().find(|&(_, length)| length != expected) {
            Some((row, length)) => Err(GridError::Ragged { row, length, expected }),
            None => Ok((self.len(), expected)),
        }
    }

    fn read_row(&self, row: usize, into: &mut [f64]) {
        read(&self[row], into);
    }
}

impl<T: Number> Grid for Vec<Vec<T>> {
    fn rows_and_columns(&self) -> Result<(usize, usize), GridError> {
        self.as_slice().rows_and_columns()
    }

    fn read_row(&self, row: usize, into: &mut [f64]) {
        self.as_slice().read_row(row, into);
    }
}

impl<T: Number, const ROWS: usize, const COLUMNS: usize> Grid for [[T; COLUMNS]; ROWS] {
    fn rows_and_columns(&self) -> Result<(usize, usize), GridError> {
        Ok((ROWS, COLUMNS))
    }

    fn read_row(&self, row: usize, into: &mut [f64]) {
        read(&self[row], into);
    }
}

fn read<'a, T: Number + 'a>(row: impl IntoIterator<Item = &'a T>, into: &mut [f64]) {
    for (to, from) in into.iter_mut().zip(row) {
        *to = from.to_f64();
    }
}

/// Cuts a slice into rows.
pub(super) fn rows_of(length: usize, columns: usize) -> Result<(usize, usize), GridError> {
    if columns == 0 {
        return Err(GridError::Empty { rows: 0, columns });
    }
    if !length.is_multiple_of(columns) {
        return Err(GridError::Uneven { length, columns });
    }
    Ok((length / columns, columns))
}

/// The shape of a grid that has something in it.
pub(super) fn filled(shape: (usize, usize)) -> Result<(usize, usize), GridError> {
    let (rows, columns) = shape;
    if rows == 0 || columns == 0 { Err(GridError::Empty { rows, columns }) } else { Ok(shape) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(grid: impl Grid, row: usize) -> Vec<f64> {
        let mut values = vec![0.0; grid.rows_and_columns().unwrap().1];
        grid.read_row(row, &mut values);
        values
    }

    #[test]
    fn grids_of_all_kinds_read_alike() {
        let array = ndarray::array![[1_i64, 2, 3], [4, 5, 6]];
        let flat = vec![1_u8, 2, 3, 4, 5, 6];
        assert_eq!(row(&array, 1), [4.0, 5.0, 6.0]);
        assert_eq!(row(array.t(), 2), [3.0, 6.0]);
        assert_eq!(row(array.slice(ndarray::s![.., ..;2]), 0), [1.0, 3.0]);
        assert_eq!(row((&flat, 3), 1), [4.0, 5.0, 6.0]);
        assert_eq!(row((&flat[..4], 2), 1), [3.0, 4.0]);
        assert_eq!(row(vec![vec![true, false]], 0), [1.0, 0.0]);
        assert_eq!(row([[0.5_f32], [1.5]], 1), [1.5]);
    }

    #[test]
    fn what_is_no_grid_is_told_with_its_numbers() {
        let text = |shape: Result<(usize, usize), GridError>| {
            shape.and_then(filled).unwrap_err().to_string()
        };
        assert_eq!(
            text((&[0; 10], 4).rows_and_columns()),
            "10 elements do not make whole rows of 4 columns: 2 full rows and 2 elements more"
        );
        assert_eq!(
            text((&[0; 10], 0).rows_and_columns()),
            "a grid of 0 rows and 0 columns has nothing to show"
        );
        assert_eq!(
            text(vec![vec![1, 2], vec![3]].rows_and_columns()),
            "row 1 has 1 elements, row 0 has 2: a grid's rows are equally long"
        );
        assert_eq!(
            text(ndarray::Array2::<f32>::zeros((0, 7)).rows_and_columns()),
            "a grid of 0 rows and 7 columns has nothing to show"
        );
    }
}
