//! What a function is mapped over: one collection, or several side by side.

use super::super::portable::Portable;

/// What [`pmap`](super::pmap()) takes for functions of arguments `A`: anything that can be iterated
/// over, for functions of one argument; a tuple of two or three such, for functions of two or three,
/// which goes on until the shortest one ends.
///
/// ```
/// use parcell::prelude::*;
///
/// let powers = pmap(|x: f64, n: i32| x.powi(n), ([2.0, 3.0], 1..)).collect();
/// assert_eq!(powers, [2.0, 9.0]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` gives no arguments for this function",
    label = "not something to map this function over",
    note = "a function of one argument takes something to iterate over, one of two arguments a pair \
            of them: `pmap(f, (xs, ys))`"
)]
pub trait Inputs<'a, A> {
    /// The arguments of each call.
    fn arguments(self) -> Box<dyn Iterator<Item = A> + 'a>;
}

impl<'a, I: IntoIterator<Item: Portable, IntoIter: 'a>> Inputs<'a, (I::Item,)> for I {
    fn arguments(self) -> Box<dyn Iterator<Item = (I::Item,)> + 'a> {
        Box::new(self.into_iter().map(|item| (item,)))
    }
}

impl<'a, I, J> Inputs<'a, (I::Item, J::Item)> for (I, J)
where
    I: IntoIterator<Item: Portable, IntoIter: 'a>,
    J: IntoIterator<Item: Portable, IntoIter: 'a>,
{
    fn arguments(self) -> Box<dyn Iterator<Item = (I::Item, J::Item)> + 'a> {
        Box::new(self.0.into_iter().zip(self.1))
    }
}

impl<'a, I, J, K> Inputs<'a, (I::Item, J::Item, K::Item)> for (I, J, K)
where
    I: IntoIterator<Item: Portable, IntoIter: 'a>,
    J: IntoIterator<Item: Portable, IntoIter: 'a>,
    K: IntoIterator<Item: Portable, IntoIter: 'a>,
{
    fn arguments(self) -> Box<dyn Iterator<Item = (I::Item, J::Item, K::Item)> + 'a> {
        let pairs = self.0.into_iter().zip(self.1);
        Box::new(pairs.zip(self.2).map(|((a, b), c)| (a, b, c)))
    }
}
