//! Who works on which elements: Julia's split.

use std::ops::Range;

/// The elements of process `k` of `processes`: each has as many, the last has the rest besides.
/// Where there are fewer elements than processes, the first have one each.
pub(super) fn part(n: usize, processes: usize, k: usize) -> Range<usize> {
    if n < processes {
        return k.min(n)..(k + 1).min(n);
    }
    let each = n / processes.max(1);
    let end = if k + 1 == processes { n } else { (k + 1) * each };
    k * each..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(n: usize, processes: usize) -> Vec<Range<usize>> {
        (0..processes).map(|k| part(n, processes, k)).collect()
    }

    #[test]
    fn elements_are_split_as_in_julia() {
        assert_eq!(parts(12, 4), [0..3, 3..6, 6..9, 9..12]);
        assert_eq!(parts(10, 3), [0..3, 3..6, 6..10], "the rest goes to the last");
        assert_eq!(parts(11, 4), [0..2, 2..4, 4..6, 6..11]);
        assert_eq!(parts(2, 4), [0..1, 1..2, 2..2, 2..2], "the first have one each");
        assert_eq!(parts(0, 2), [0..0, 0..0]);
        assert_eq!(part(5, 1, 0), 0..5);
    }

    #[test]
    fn every_element_has_one_process() {
        for n in 0..40 {
            for processes in 1..10 {
                let all: Vec<usize> = parts(n, processes).into_iter().flatten().collect();
                assert_eq!(all, (0..n).collect::<Vec<_>>(), "{n} over {processes}");
            }
        }
    }
}
