//! How an array is cut into pieces, and which process has which: pure arithmetic, no messages.
//!
//! The pieces form a grid, whose positions are counted as ndarray counts elements: the last
//! dimension runs fastest.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::error::{ArrayError, Shape};

/// How an array is cut into pieces, and which process has which.
///
/// ```
/// use parcell::arrays::Layout;
///
/// let layout = Layout::new(&[50, 8], &[2, 3, 4, 5], &[4, 1])?;
/// assert_eq!(layout.cuts()[0], [0, 13, 26, 38, 50]); // the first pieces get the remainder
/// assert_eq!(layout.ranges(1), [13..26, 0..8]);
/// assert_eq!(layout.owner(&[13, 7]), Some(3));
/// # Ok::<(), parcell::arrays::ArrayError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Layout {
    /// For each dimension where its chunks begin, and its extent at the end.
    cuts: Vec<Vec<usize>>,
    /// The owners of the pieces, in the order of the grid.
    procs: Vec<usize>,
}

impl Layout {
    /// Cuts a shape evenly into `grid[d]` chunks along each dimension `d`; where that leaves a
    /// remainder, the leading chunks are one longer. The pieces go to `procs` in the order of the
    /// grid, last dimension fastest; processes that are left over get nothing.
    ///
    /// # Errors
    /// [`ArrayError::Layout`] if the grid has another rank than the shape, more chunks along a
    /// dimension than elements, or more pieces than there are processes.
    ///
    /// # Source
    /// `DArray(init, dims, procs, dist)`, DistributedArrays.jl, whose arrays and grids are
    /// column-major.
    pub fn new(shape: &[usize], procs: &[usize], grid: &[usize]) -> Result<Layout, ArrayError> {
        let refused = |why: String| Err(ArrayError::Layout { what: why });
        if grid.len() != shape.len() {
            let (rank, given) = (shape.len(), grid.len());
            return refused(format!("a grid of {given} numbers for an array of rank {rank}"));
        }
        for (dimension, (&chunks, &extent)) in grid.iter().zip(shape).enumerate() {
            if chunks == 0 || chunks > extent.max(1) {
                return refused(format!(
                    "{chunks} chunks along dimension {dimension}, whose extent is {extent}: take \
                     from 1 to {}",
                    extent.max(1)
                ));
            }
        }
        let pieces = grid.iter().product::<usize>();
        if pieces > procs.len() {
            let (grid, given) = (Shape(grid), procs.len());
            return refused(format!("a grid of {grid} = {pieces} pieces for {given} processes"));
        }
        let cuts = shape.iter().zip(grid).map(|(&extent, &chunks)| even_cuts(extent, chunks));
        Ok(Layout { cuts: cuts.collect(), procs: procs[..pieces].to_vec() })
    }

    /// The layout that an array gets if nothing else is asked for: as many of `procs` as the
    /// longest dimension has elements, in a grid as [`default_grid`] makes it.
    ///
    /// # Errors
    /// [`ArrayError::Layout`] if there are no processes.
    ///
    /// # Source
    /// `DArray(init, dims)`, DistributedArrays.jl.
    pub fn even(shape: &[usize], procs: &[usize]) -> Result<Layout, ArrayError> {
        let longest = shape.iter().copied().max().unwrap_or(1).max(1);
        let procs = &procs[..procs.len().min(longest)];
        if procs.is_empty() {
            return Err(ArrayError::Layout { what: "no process for the pieces".to_owned() });
        }
        Layout::new(shape, procs, &default_grid(shape, procs.len()))
    }

    /// Cuts at given places: for each dimension where the chunks begin, from 0, and the extent at
    /// the end. `procs` are the owners of the pieces in the order of the grid.
    ///
    /// # Errors
    /// [`ArrayError::Layout`] if the cuts do not ascend from 0, or the number of processes is
    /// another than that of the pieces.
    pub fn with_cuts(cuts: Vec<Vec<usize>>, procs: Vec<usize>) -> Result<Layout, ArrayError> {
        for (dimension, cuts) in cuts.iter().enumerate() {
            let ascending = cuts.len() > 1 && cuts[0] == 0 && cuts.is_sorted();
            if !ascending {
                let what =
                    format!("the cuts {cuts:?} of dimension {dimension} do not ascend from 0");
                return Err(ArrayError::Layout { what });
            }
        }
        let pieces: usize = cuts.iter().map(|cuts| cuts.len() - 1).product();
        if pieces != procs.len() {
            let what = format!("{pieces} pieces for {} processes", procs.len());
            return Err(ArrayError::Layout { what });
        }
        Ok(Layout { cuts, procs })
    }

    /// The layout of pieces that exist already: `shapes` in the order of the grid. Pieces beside
    /// each other must fit.
    ///
    /// # Errors
    /// [`ArrayError::Layout`] that names the first piece that does not fit.
    pub fn of_parts(
        shapes: &[Vec<usize>],
        grid: &[usize],
        procs: Vec<usize>,
    ) -> Result<Layout, ArrayError> {
        let wanted = grid.iter().product::<usize>();
        if wanted != shapes.len() || wanted == 0 {
            let (grid, given) = (Shape(grid), shapes.len());
            let what = format!("a grid of {grid} = {wanted} pieces, and {given} parts");
            return Err(ArrayError::Layout { what });
        }
        let mut cuts: Vec<Vec<usize>> = grid.iter().map(|_| vec![0]).collect();
        for (dimension, cuts) in cuts.iter_mut().enumerate() {
            // The extents are those of the pieces along the grid's edge.
            let stride: usize = grid[dimension + 1..].iter().product();
            for chunk in 0..grid[dimension] {
                let extent = shapes[chunk * stride].get(dimension).copied().unwrap_or(0);
                cuts.push(cuts[chunk] + extent);
            }
        }
        let layout = Layout::with_cuts(cuts, procs)?;
        for (piece, found) in shapes.iter().enumerate() {
            let wanted = layout.piece_shape(piece);
            if *found != wanted {
                let at = layout.position(piece);
                let (found, wanted) = (Shape(found), Shape(&wanted));
                let what = format!(
                    "part {piece}, at {at:?} in the grid, has the shape {found}, and the parts at \
                     the grid's edges make it {wanted}"
                );
                return Err(ArrayError::Layout { what });
            }
        }
        Ok(layout)
    }

    /// The whole array's shape.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.cuts.iter().map(|cuts| cuts[cuts.len() - 1]).collect()
    }

    /// How many elements the whole array has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether the array has no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many chunks there are along each dimension.
    #[must_use]
    pub fn grid(&self) -> Vec<usize> {
        self.cuts.iter().map(|cuts| cuts.len() - 1).collect()
    }

    /// For each dimension where its chunks begin, and its extent at the end.
    #[must_use]
    pub fn cuts(&self) -> &[Vec<usize>] {
        &self.cuts
    }

    /// The owners of the pieces, in the order of the grid: last dimension fastest.
    #[must_use]
    pub fn procs(&self) -> &[usize] {
        &self.procs
    }

    /// The number of pieces.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.procs.len()
    }

    /// The indices that a piece holds, for each dimension.
    ///
    /// # Panics
    /// If there are not so many pieces.
    #[must_use]
    pub fn ranges(&self, piece: usize) -> Vec<Range<usize>> {
        let position = self.position(piece);
        let range = |(cuts, at): (&Vec<usize>, usize)| cuts[at]..cuts[at + 1];
        self.cuts.iter().zip(position).map(range).collect()
    }

    /// A piece's shape.
    ///
    /// # Panics
    /// If there are not so many pieces.
    #[must_use]
    pub fn piece_shape(&self, piece: usize) -> Vec<usize> {
        extents(&self.ranges(piece))
    }

    /// Where in the grid a piece is.
    ///
    /// # Panics
    /// If there are not so many pieces.
    #[must_use]
    pub fn position(&self, piece: usize) -> Vec<usize> {
        assert!(piece < self.pieces(), "piece {piece} of {}", self.pieces());
        unravel(piece, &self.grid())
    }

    /// The piece that holds an element; `None` outside of the array.
    ///
    /// # Source
    /// `locate(d, i...)`, DistributedArrays.jl.
    #[must_use]
    pub fn piece_of(&self, index: &[usize]) -> Option<usize> {
        if index.len() != self.cuts.len() {
            return None;
        }
        let mut piece = 0;
        for (cuts, &i) in self.cuts.iter().zip(index) {
            if i >= cuts[cuts.len() - 1] {
                return None;
            }
            // Where chunks are empty, several begin at the same place: the last of them holds it.
            let chunk = cuts.partition_point(|start| *start <= i) - 1;
            piece = piece * (cuts.len() - 1) + chunk;
        }
        Some(piece)
    }

    /// The process that has an element; `None` outside of the array.
    #[must_use]
    pub fn owner(&self, index: &[usize]) -> Option<usize> {
        self.piece_of(index).map(|piece| self.procs[piece])
    }

    /// The pieces that have a part of a block, each with that part's indices, in the order of the
    /// grid. Parts are never empty.
    #[must_use]
    pub fn intersections(&self, block: &[Range<usize>]) -> Vec<(usize, Vec<Range<usize>>)> {
        let mut found = vec![(0, Vec::new())];
        for (cuts, wanted) in self.cuts.iter().zip(block) {
            let chunks = cuts.len() - 1;
            let parts: Vec<(usize, Range<usize>)> = (0..chunks)
                .map(|k| (k, cuts[k].max(wanted.start)..cuts[k + 1].min(wanted.end)))
                .filter(|(_, part)| part.start < part.end)
                .collect();
            let extend = |(piece, ranges): (usize, Vec<Range<usize>>)| {
                let one_more = move |(k, part): &(usize, Range<usize>)| {
                    let mut ranges = ranges.clone();
                    ranges.push(part.clone());
                    (piece * chunks + k, ranges)
                };
                parts.iter().map(one_more).collect::<Vec<_>>()
            };
            found = found.into_iter().flat_map(extend).collect();
        }
        found
    }

    /// Whether two arrays are cut at the same places, wherever the pieces are.
    #[must_use]
    pub fn same_cuts(&self, other: &Layout) -> bool {
        self.cuts == other.cuts
    }

    /// The layout of the transposed array: dimensions in reverse, every piece where it is.
    #[must_use]
    pub fn transposed(&self) -> Layout {
        let cuts: Vec<Vec<usize>> = self.cuts.iter().rev().cloned().collect();
        let grid: Vec<usize> = cuts.iter().map(|cuts| cuts.len() - 1).collect();
        let own_grid = self.grid();
        let owner = |piece| {
            let mut position = unravel(piece, &grid);
            position.reverse();
            self.procs[ravel(&position, &own_grid)]
        };
        Layout { procs: (0..self.pieces()).map(owner).collect(), cuts }
    }

    /// The layout without a dimension; each piece is where the first of those along it was.
    pub(crate) fn without(&self, dimension: usize) -> Layout {
        let mut cuts = self.cuts.clone();
        cuts.remove(dimension);
        let grid: Vec<usize> = cuts.iter().map(|cuts| cuts.len() - 1).collect();
        let own_grid = self.grid();
        let owner = |piece| {
            let mut position = unravel(piece, &grid);
            position.insert(dimension, 0);
            self.procs[ravel(&position, &own_grid)]
        };
        let pieces = grid.iter().product();
        Layout { procs: (0..pieces).map(owner).collect(), cuts }
    }

    /// The layout with other cuts along one dimension, as many as before.
    pub(crate) fn recut(&self, dimension: usize, cuts: Vec<usize>) -> Layout {
        debug_assert_eq!(cuts.len(), self.cuts[dimension].len());
        let mut layout = self.clone();
        layout.cuts[dimension] = cuts;
        layout
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shape, grid) = (self.shape(), self.grid());
        write!(f, "{} as {} pieces on {:?}", Shape(&shape), Shape(&grid), self.procs)
    }
}

/// The chunk grid that a shape gets on so many processes: the prime factors of their number, largest
/// first, each given to the dimension whose chunks are longest, the first of several; a factor
/// that is larger than those chunks is dropped.
///
/// ```
/// use parcell::arrays::default_grid;
///
/// assert_eq!(default_grid(&[100, 100], 4), [2, 2]);
/// assert_eq!(default_grid(&[100, 100], 2), [2, 1]); // blocks of whole rows
/// assert_eq!(default_grid(&[10, 100], 6), [1, 6]);
/// assert_eq!(default_grid(&[4, 3], 5), [1, 1]);
/// ```
///
/// # Source
/// `defaultdist(dims, pids)`, DistributedArrays.jl. There the last of several equally long
/// dimensions is cut, which leaves whole columns together as this leaves whole rows: what lies side
/// by side in memory.
#[must_use]
pub fn default_grid(shape: &[usize], processes: usize) -> Vec<usize> {
    let mut chunk_lengths = shape.to_vec();
    let mut grid = vec![1; shape.len()];
    for factor in prime_factors(processes) {
        let Some(&longest) = chunk_lengths.iter().max() else { break };
        let first = chunk_lengths.iter().position(|length| *length == longest).unwrap_or(0);
        if longest >= factor {
            chunk_lengths[first] /= factor;
            grid[first] *= factor;
        }
    }
    grid
}

/// The prime factors of a number, largest first.
fn prime_factors(mut number: usize) -> Vec<usize> {
    let mut factors = Vec::new();
    let mut factor = 2;
    while number > 1 {
        if factor * factor > number {
            factor = number;
        }
        if number.is_multiple_of(factor) {
            factors.push(factor);
            number /= factor;
        } else {
            factor += 1;
        }
    }
    factors.reverse();
    factors
}

/// Where chunks of as equal length as possible begin, and the extent; the leading ones are longer.
pub(crate) fn even_cuts(extent: usize, chunks: usize) -> Vec<usize> {
    let (length, remainder) = (extent / chunks, extent % chunks);
    (0..=chunks).map(|chunk| chunk * length + chunk.min(remainder)).collect()
}

/// The position of a number in a grid, last dimension fastest.
pub(crate) fn unravel(mut number: usize, grid: &[usize]) -> Vec<usize> {
    let mut position = vec![0; grid.len()];
    for (at, &extent) in position.iter_mut().zip(grid).rev() {
        *at = number % extent;
        number /= extent;
    }
    position
}

/// The reverse of [`unravel`].
pub(crate) fn ravel(position: &[usize], grid: &[usize]) -> usize {
    position.iter().zip(grid).fold(0, |number, (at, extent)| number * extent + at)
}

/// The lengths of ranges.
pub(crate) fn extents(ranges: &[Range<usize>]) -> Vec<usize> {
    ranges.iter().map(ExactSizeIterator::len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_remainder_goes_to_the_leading_chunks() {
        assert_eq!(even_cuts(50, 4), [0, 13, 26, 38, 50]);
        assert_eq!(even_cuts(0, 1), [0, 0]);
        assert_eq!(even_cuts(5, 5), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn grids_are_those_of_julia_mirrored() {
        // Julia's grids for the reversed shapes, reversed.
        let cases: [(&[usize], usize, &[usize]); 10] = [
            (&[100, 100], 4, &[2, 2]),
            (&[100], 4, &[4]),
            (&[100, 100], 6, &[3, 2]),
            (&[4, 100], 8, &[1, 8]),
            (&[100, 100, 100], 8, &[2, 2, 2]),
            (&[12, 100], 12, &[1, 12]),
            (&[7, 3], 7, &[7, 1]),
            (&[3, 3], 7, &[1, 1]),
            (&[1], 1, &[1]),
            (&[50, 50], 1, &[1, 1]),
        ];
        for (shape, processes, grid) in cases {
            assert_eq!(default_grid(shape, processes), grid, "{shape:?} on {processes}");
        }
    }

    #[test]
    fn more_processes_than_rows_leave_some_without_a_piece() {
        let layout = Layout::even(&[3], &[2, 3, 4, 5, 6]).unwrap();
        assert_eq!((layout.procs(), layout.grid()), (&[2, 3, 4][..], vec![3]));
        let empty = Layout::even(&[0, 5], &[2, 3, 4, 5, 6, 7]).unwrap();
        assert_eq!((empty.grid(), empty.len()), (vec![1, 5], 0));
    }

    #[test]
    fn impossible_layouts_are_refused_with_numbers() {
        let told = |layout: Result<Layout, ArrayError>| layout.unwrap_err().to_string();
        let grid = told(Layout::new(&[4, 4], &[2], &[2, 2]));
        assert!(grid.contains("2×2 = 4 pieces for 1 processes"), "{grid}");
        let chunks = told(Layout::new(&[4, 3], &[1; 9], &[1, 9]));
        assert!(chunks.contains("9 chunks along dimension 1, whose extent is 3"), "{chunks}");
        let rank = told(Layout::new(&[4, 3], &[1], &[1]));
        assert!(rank.contains("a grid of 1 numbers for an array of rank 2"), "{rank}");
        assert!(told(Layout::even(&[4], &[])).contains("no process"));
        let shapes = [vec![2, 3], vec![2, 2], vec![3, 3], vec![4, 2]];
        let part = told(Layout::of_parts(&shapes, &[2, 2], vec![2; 4]));
        assert!(part.contains("part 3, at [1, 1] in the grid, has the shape 4×2"), "{part}");
    }

    #[test]
    fn irregular_parts_make_irregular_cuts() {
        let shapes = [vec![3, 2], vec![3, 5], vec![7, 2], vec![7, 5]];
        let layout = Layout::of_parts(&shapes, &[2, 2], vec![2, 3, 2, 3]).unwrap();
        assert_eq!(layout.cuts(), [vec![0, 3, 10], vec![0, 2, 7]]);
        assert_eq!(layout.owner(&[9, 1]), Some(2));
    }

    fn shapes() -> impl Strategy<Value = Vec<usize>> {
        prop::collection::vec(0_usize..9, 1..=4)
    }

    proptest! {
        #[test]
        fn every_element_is_in_one_piece(shape in shapes(), processes in 1_usize..40) {
            let procs: Vec<usize> = (2..2 + processes).collect();
            let layout = Layout::even(&shape, &procs).unwrap();
            prop_assert_eq!(layout.shape(), shape.clone());
            let mut seen = vec![0; layout.len()];
            for piece in 0..layout.pieces() {
                let ranges = layout.ranges(piece);
                let parts = extents(&ranges);
                prop_assert_eq!(ravel(&layout.position(piece), &layout.grid()), piece);
                for number in 0..parts.iter().product() {
                    let inside = unravel(number, &parts);
                    let index: Vec<usize> =
                        inside.iter().zip(&ranges).map(|(i, range)| range.start + i).collect();
                    seen[ravel(&index, &shape)] += 1;
                    prop_assert_eq!(layout.piece_of(&index), Some(piece));
                    prop_assert_eq!(layout.owner(&index), Some(layout.procs()[piece]));
                }
            }
            prop_assert!(seen.iter().all(|times| *times == 1));
            prop_assert_eq!(layout.piece_of(&shape), None);
        }

        #[test]
        fn chunks_differ_by_one_at_most(shape in shapes(), processes in 1_usize..40) {
            let layout = Layout::even(&shape, &vec![2; processes]).unwrap();
            for cuts in layout.cuts() {
                let lengths: Vec<usize> = cuts.windows(2).map(|pair| pair[1] - pair[0]).collect();
                prop_assert!(lengths.is_sorted_by(|a, b| a >= b), "{:?}", lengths);
                prop_assert!(lengths[0] - lengths[lengths.len() - 1] <= 1);
            }
        }

        #[test]
        fn parts_of_a_block_cover_it_once(
            shape in shapes(),
            processes in 1_usize..20,
            ends in prop::collection::vec((0_usize..9, 0_usize..9), 4),
        ) {
            let layout = Layout::even(&shape, &vec![2; processes]).unwrap();
            let block: Vec<Range<usize>> = shape.iter().zip(ends)
                .map(|(&extent, (a, b))| a.min(b).min(extent)..a.max(b).min(extent))
                .collect();
            let parts = layout.intersections(&block);
            let elements: usize = parts.iter().map(|(_, p)| extents(p).iter().product::<usize>()).sum();
            prop_assert_eq!(elements, extents(&block).iter().product::<usize>());
            for (piece, part) in parts {
                let own = layout.ranges(piece);
                for ((part, own), block) in part.iter().zip(own).zip(&block) {
                    prop_assert!(part.start >= own.start && part.end <= own.end);
                    prop_assert!(part.start >= block.start && part.end <= block.end);
                }
            }
        }

        #[test]
        fn transposing_twice_changes_nothing(shape in shapes(), processes in 1_usize..20) {
            let procs: Vec<usize> = (1..=processes).collect();
            let layout = Layout::even(&shape, &procs).unwrap();
            let other = layout.transposed();
            prop_assert_eq!(other.transposed(), layout.clone());
            if !layout.is_empty() {
                let last: Vec<usize> = shape.iter().map(|extent| extent - 1).collect();
                let turned: Vec<usize> = last.iter().rev().copied().collect();
                prop_assert_eq!(layout.owner(&last), other.owner(&turned));
            }
        }
    }
}
