//! Values that share no cache line with their neighbours.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crossbeam_utils::CachePadded;

/// A value alone on its cache lines, so that threads which write to neighbours in a `Vec` do not
/// slow each other down ("false sharing"). Takes 128 bytes on x86-64 and AArch64, also if the
/// value is smaller. Use it as the value itself.
///
/// ```
/// use parcell::prelude::*;
///
/// let mut sums: Vec<Padded<u64>> = vec![Padded::new(0); 4];
/// sums.par_iter_mut().enumerate().for_each(|(i, sum)| {
///     for k in 0..100 {
///         **sum += k * i as u64;
///     }
/// });
/// assert_eq!(*sums[2], 9900);
/// assert!(std::mem::align_of_val(&sums[0]) >= 64);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Padded<T>(CachePadded<T>);

impl<T> Padded<T> {
    /// Pads a value.
    ///
    /// ```
    /// assert_eq!(*parcell::threads::Padded::new(7), 7);
    /// ```
    pub const fn new(value: T) -> Padded<T> {
        Padded(CachePadded::new(value))
    }

    /// Gives the value back.
    ///
    /// ```
    /// assert_eq!(parcell::threads::Padded::new(7).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T> Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Padded<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Padded<T> {
    fn from(value: T) -> Padded<T> {
        Padded::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Padded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for Padded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
