//! Sorting by samples: each owner sorts its piece, samples of all pieces say where to cut, each
//! owner fetches what belongs between two cuts and merges it.

use std::cmp::Ordering;
use std::ops::Range;
use std::panic::Location;

use ndarray::{Array1, Ix1};

use super::block::fetch;
use super::darray::DArray;
use super::element::Element;
use super::error::{ArrayError, OrRaise};
use super::layout::Layout;
use super::parallel;
use super::parts::{Job, Parts, Shared, slice};
use super::work::{Outcome, code, nothing, read, values};
use crate::distributed::blob::{BlobReader, BlobWriter};
use crate::distributed::function::hold;

/// So many elements of each piece, at most, say where to cut.
const SAMPLES: usize = 512;

impl<T: Element + PartialOrd> DArray<T, Ix1> {
    /// The elements in ascending order; NaN comes last. Equal elements keep their order. The pieces
    /// of the result are as large as the samples have guessed well, and processes that would get
    /// nothing have none. Blocks until all is done.
    ///
    /// Costs three messages to each owner, up to 512 elements of each to this process, and each
    /// element once from where it was to where it belongs.
    ///
    /// # Panics
    /// If an owner is gone, or the array is closed.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = distribute(&ndarray::array![3.0, f64::NAN, 1.0, 2.0]).sort().to_array();
    /// assert_eq!(a.as_slice().unwrap()[..3], [1.0, 2.0, 3.0]);
    /// ```
    ///
    /// # Source
    /// `sort(d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn sort(&self) -> DArray<T, Ix1> {
        self.try_sort().or_raise()
    }

    /// As [`DArray::sort`].
    ///
    /// # Errors
    /// [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_sort(&self) -> Result<DArray<T, Ix1>, ArrayError> {
        let (parts, place) = (self.open()?, Location::caller());
        let code_of_pieces = code(sort_piece::<T>);
        let (sorted, answers) =
            Shared::make_and_tell(parts.layout.clone(), &[parts], place, code_of_pieces, &mut {
                |_, to: &mut BlobWriter| parts.write(to)
            })?;
        let bounds = bounds(values::<Vec<T>>(answers)?, parts.layout.pieces());
        let write = &mut |_, to: &mut BlobWriter| to.write(&bounds);
        let answers = sorted.each(&[], place, code(find_bounds::<T>), write)?;
        let plan = Plan::new(&sorted.parts.layout, &values::<Vec<usize>>(answers)?)?;
        let write = &mut |piece: usize, to: &mut BlobWriter| {
            to.write(&sorted.parts)?;
            to.write(&plan.wanted[piece])
        };
        let merged =
            Shared::make(plan.layout.clone(), &[&sorted.parts], place, code(merge::<T>), write)?;
        Ok(DArray::of(merged))
    }
}

/// An order of all values: what cannot be compared, NaN, is greater than all else.
fn order<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    let alone = |x: &T| x.partial_cmp(x).is_none();
    a.partial_cmp(b).unwrap_or_else(|| alone(a).cmp(&alone(b)))
}

fn sort_piece<T: Element + PartialOrd>(from: &mut BlobReader<'_>) -> Outcome {
    let (job, source) = (Job::read(from)?, Parts::read(from)?);
    let mut elements = slice(&*source.share::<T, Ix1>(job.piece)?).to_vec();
    parallel::sort(&mut elements, order);
    let samples = samples(&elements);
    job.keep(Array1::from_vec(elements))?;
    Ok(hold(samples))
}

/// Some elements at even distances.
fn samples<T: Clone>(elements: &[T]) -> Vec<T> {
    let count = elements.len().min(SAMPLES);
    (0..count).map(|k| elements[k * elements.len() / count].clone()).collect()
}

/// The elements at which the sorted array is cut into so many parts, or less.
fn bounds<T: PartialOrd + Clone>(samples: Vec<Vec<T>>, parts: usize) -> Vec<T> {
    let mut all: Vec<T> = samples.into_iter().flatten().collect();
    if all.is_empty() {
        return all;
    }
    all.sort_by(order);
    (1..parts).map(|k| all[k * all.len() / parts].clone()).collect()
}

/// How many elements of this process's sorted piece are less than each bound.
fn find_bounds<T: Element + PartialOrd>(from: &mut BlobReader<'_>) -> Outcome {
    let (job, bounds) = (Job::read(from)?, read::<Vec<T>>(from)?);
    let piece = job.share::<T, Ix1>()?;
    let below = |bound: &T| {
        slice(&piece).partition_point(|element| order(element, bound) == Ordering::Less)
    };
    Ok(hold(bounds.iter().map(below).collect::<Vec<usize>>()))
}

/// Parts of pieces, as indices of the whole array.
type Wanted = Vec<(usize, Range<usize>)>;

/// Who gets what of the sorted pieces.
struct Plan {
    layout: Layout,
    wanted: Vec<Wanted>,
}

impl Plan {
    /// `below[piece]` are the places within the piece at which it is cut.
    fn new(sorted: &Layout, below: &[Vec<usize>]) -> Result<Plan, ArrayError> {
        let starts = &sorted.cuts()[0];
        let mut plan = Vec::new();
        for bucket in 0..sorted.pieces() {
            let part = |piece: usize| {
                let (start, end) = (starts[piece], starts[piece + 1]);
                let cut = |k: usize| below[piece].get(k).map_or(end, |cut| start + cut);
                let first = if bucket == 0 { start } else { cut(bucket - 1) };
                (piece, first..cut(bucket).max(first))
            };
            let parts = (0..sorted.pieces()).map(part).filter(|(_, part)| !part.is_empty());
            plan.push((sorted.procs()[bucket], parts.collect::<Wanted>()));
        }
        let first = sorted.procs()[0];
        plan.retain(|(_, wanted)| !wanted.is_empty());
        if plan.is_empty() {
            plan.push((first, Wanted::new()));
        }
        let mut cuts = vec![0];
        for (_, wanted) in &plan {
            let length: usize = wanted.iter().map(|(_, part)| part.len()).sum();
            cuts.push(cuts[cuts.len() - 1] + length);
        }
        let (owners, wanted) = plan.into_iter().unzip();
        Ok(Plan { layout: Layout::with_cuts(vec![cuts], owners)?, wanted })
    }
}

fn merge<T: Element + PartialOrd>(from: &mut BlobReader<'_>) -> Outcome {
    let (job, source) = (Job::read(from)?, Parts::read(from)?);
    let wanted: Wanted = read(from)?;
    let wanted: Vec<_> =
        wanted.into_iter().map(|(piece, part)| (piece, std::iter::once(part).collect())).collect();
    let runs = fetch::<T, Ix1>(&source, &wanted, 0, Location::caller())?;
    let mut elements = Vec::with_capacity(runs.iter().map(|run| run.elements().len()).sum());
    runs.iter().for_each(|run| elements.extend_from_slice(run.elements()));
    // A stable sort finds the runs and merges them.
    parallel::sort(&mut elements, order);
    job.keep(Array1::from_vec(elements))?;
    nothing()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_comes_last() {
        let mut values = [f64::NAN, 2.0, f64::NAN, -1.0, f64::INFINITY];
        values.sort_by(order);
        assert_eq!(values[..3], [-1.0, 2.0, f64::INFINITY]);
    }

    #[test]
    fn the_plan_covers_everything_and_drops_idle_processes() {
        let sorted = Layout::new(&[10], &[2, 3, 4], &[3]).unwrap();
        let plan = Plan::new(&sorted, &[vec![4, 4], vec![0, 0], vec![1, 1]]).unwrap();
        assert_eq!(plan.layout.procs(), [2, 4], "the second gets nothing");
        assert_eq!(plan.layout.cuts(), [[0, 5, 10]]);
        assert_eq!(plan.wanted[0], [(0, 0..4), (2, 7..8)]);
        let empty = Layout::even(&[0], &[2]).unwrap();
        assert_eq!(Plan::new(&empty, &[vec![]]).unwrap().layout.cuts(), [[0, 0]]);
    }
}
