//! What parcell adds to rayon, against the serial answer: in pools of one, two and five threads,
//! on slices of random length, also empty and of one item, with few, many and no repetitions.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::interrupt::{self, Interrupted};
use crate::prelude::*;

/// Calls the check in each pool with slices of numbers below a bound that is sometimes small.
fn on_random_slices(check: impl Fn(&[u64]) + Sync) {
    crate::interrupt::testing::quiet();
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut rng = StdRng::seed_from_u64(threads as u64);
        for longest in [2, 20, 5000, 100_000] {
            for distinct in [1, 2, 10, 3000, 50_000, u64::MAX] {
                let n = rng.random_range(0..longest);
                let numbers: Vec<u64> = (0..n).map(|_| rng.random_range(0..distinct)).collect();
                pool.install(|| check(&numbers));
            }
        }
        pool.install(|| check(&[]));
        pool.install(|| check(&[7]));
        pool.install(|| check(&(0..70_000).collect::<Vec<u64>>()));
    }
}

fn firsts<T: Clone, K: Eq + std::hash::Hash>(items: &[T], key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = HashSet::new();
    items.iter().filter(|item| seen.insert(key(item))).cloned().collect()
}

/// Like `f64`'s `partial_cmp` in its gaps: some numbers become NaN, some equal.
fn float(x: u64) -> f64 {
    if x % 4099 == 4098 { f64::NAN } else { (x % 1000) as f64 - 500.0 }
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

#[test]
fn unique_keeps_first_occurrences_in_order() {
    on_random_slices(|numbers| {
        assert_eq!(numbers.par_unique(), firsts(numbers, |x| *x));
        let by = |x: &u64| x % 100;
        assert_eq!(numbers.par_unique_by_key(by), firsts(numbers, by));
        let words: Vec<String> = numbers.iter().map(u64::to_string).collect();
        assert_eq!(words.par_unique(), firsts(&words, String::clone));
        assert_eq!(words.par_unique_by_key(|w| &w[..1]), firsts(&words, |w| w.as_bytes()[0]));
    });
}

#[test]
fn equal_hashes_do_not_make_items_equal() {
    crate::interrupt::testing::quiet();
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct SameHash(u64);
    impl std::hash::Hash for SameHash {
        fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
    }
    let numbers: Vec<SameHash> = (0..6000).map(|i| SameHash(i * i % 50)).collect();
    assert_eq!(numbers.par_unique(), firsts(&numbers, |x| x.0));
}

#[test]
fn sortedness_is_what_the_standard_library_says() {
    on_random_slices(|numbers| {
        let mut sorted = numbers.to_vec();
        sorted.sort_unstable();
        for numbers in [numbers, &sorted] {
            assert_eq!(numbers.par_is_sorted(), numbers.is_sorted());
            let (by, key) = (|a: &u64, b: &u64| a < b, |x: &u64| x / 1000);
            assert_eq!(numbers.par_is_sorted_by(by), numbers.is_sorted_by(by));
            assert_eq!(numbers.par_is_sorted_by_key(key), numbers.is_sorted_by_key(key));
        }
        let floats: Vec<f64> = sorted.iter().map(|&x| float(x)).collect();
        assert_eq!(floats.par_is_sorted(), floats.is_sorted());
    });
}

#[test]
fn one_step_down_is_found_wherever_it_is() {
    crate::interrupt::testing::quiet();
    let mut numbers: Vec<usize> = (0..20_000).collect();
    for at in [0, 1, 4094, 4095, 4096, 8191, 8192, 19_998] {
        numbers.swap(at, at + 1);
        assert!(!numbers.par_is_sorted(), "{at}");
        numbers.swap(at, at + 1);
    }
    assert!(numbers.par_is_sorted());
}

#[test]
fn a_step_down_ends_the_search() {
    crate::interrupt::testing::quiet();
    let looked = AtomicUsize::new(0);
    let numbers: Vec<u32> = (0..10_000_000).rev().collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let in_order = |a: &u32, b: &u32| {
        looked.fetch_add(1, Ordering::Relaxed);
        a <= b
    };
    assert!(!pool.install(|| numbers.par_is_sorted_by(in_order)));
    assert_eq!(looked.into_inner(), 1);
}

#[test]
fn extrema_are_the_least_and_the_greatest() {
    on_random_slices(|numbers| {
        let both = numbers.iter().min().copied().zip(numbers.iter().max().copied());
        assert_eq!(numbers.par_iter().copied().extrema(), both);
        let words: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let both = words.iter().min().cloned().zip(words.iter().max().cloned());
        assert_eq!(words.clone().into_par_iter().extrema(), both);
        let even = words.par_iter().filter(|word| word.len() % 2 == 0);
        let serial: Vec<_> = words.iter().filter(|word| word.len() % 2 == 0).collect();
        assert_eq!(even.extrema(), serial.iter().min().copied().zip(serial.iter().max().copied()));
    });
}

#[test]
fn a_nan_anywhere_is_both_extrema_and_the_first_one_is_found() {
    on_random_slices(|numbers| {
        let floats: Vec<f64> = numbers.iter().map(|&x| float(x)).collect();
        let nan = floats.iter().position(|x| x.is_nan());
        let (least, greatest) = (f64::min, f64::max);
        let best =
            |of: fn(f64, f64) -> f64| nan.map(|i| floats[i]).or(floats.iter().copied().reduce(of));
        match (floats.par_iter().copied().extrema(), best(least), best(greatest)) {
            (Some((a, b)), Some(least), Some(greatest)) => {
                assert!(same(a, least) && same(b, greatest));
            }
            (extrema, _, _) => assert!(extrema.is_none() && floats.is_empty()),
        }
        let position =
            |best: Option<f64>| floats.iter().position(|&x| Some(true) == best.map(|b| same(x, b)));
        assert_eq!(floats.par_iter().argmin(), position(best(least)));
        assert_eq!(floats.par_iter().argmax(), position(best(greatest)));
    });
}

#[test]
fn the_first_of_the_best_is_found_with_its_value() {
    on_random_slices(|numbers| {
        let words: Vec<String> = numbers.iter().map(|x| (x % 500).to_string()).collect();
        for best in [words.par_iter().find_max(), words.par_iter().find_min()] {
            assert_eq!(
                best.map(|(i, _)| i),
                words.iter().position(|x| Some(x) == best.map(|b| b.1))
            );
        }
        assert_eq!(words.par_iter().find_max().map(|best| best.1), words.iter().max());
        assert_eq!(words.par_iter().find_min().map(|best| best.1), words.iter().min());
    });
}

#[test]
fn scans_are_running_totals() {
    /// Associative and not commutative.
    fn affine(a: &(u64, u64), b: &(u64, u64)) -> (u64, u64) {
        (a.0.wrapping_mul(b.0), a.1.wrapping_mul(b.0).wrapping_add(b.1))
    }
    on_random_slices(|numbers| {
        let mut total = 0_u64;
        let sums = numbers.iter().map(|x| {
            total = total.wrapping_add(*x);
            total
        });
        assert_eq!(numbers.par_scan(|a, b| a.wrapping_add(*b)), sums.collect::<Vec<_>>());
        let maps: Vec<(u64, u64)> = numbers.iter().map(|&x| (x | 1, x)).collect();
        let mut serial = maps.clone();
        (1..serial.len()).for_each(|i| serial[i] = affine(&serial[i - 1], &serial[i]));
        let mut parallel = maps;
        parallel.par_scan_mut(affine);
        assert_eq!(parallel, serial);
    });
}

#[test]
fn scans_go_on_from_stretch_to_stretch_and_clone_what_they_must() {
    crate::interrupt::testing::quiet();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let ones = vec![1_u64; 1_000_003];
    let sums = pool.install(|| ones.par_scan(|a, b| a + b));
    assert!(sums.iter().zip(1..).all(|(sum, n)| *sum == n));
    let longest = |a: &String, b: &String| if b.len() > a.len() { b } else { a }.clone();
    let words: Vec<String> = (0..3000_u32).map(|i| (i * i % 1009).to_string()).collect();
    let totals = pool.install(|| words.par_scan(longest));
    let serial = words.iter().scan(String::new(), |total, word| {
        *total = longest(total, word);
        Some(total.clone())
    });
    assert_eq!(totals, serial.collect::<Vec<_>>());
}

#[test]
fn counting_sorts_as_sorting_does() {
    fn check<T: crate::threads::Integer + std::fmt::Debug>(numbers: &[u64], to: impl Fn(u64) -> T) {
        let mut counted: Vec<T> = numbers.iter().map(|&x| to(x)).collect();
        let mut sorted = counted.clone();
        sorted.sort_unstable();
        counted.par_sort_counting();
        assert_eq!(counted, sorted);
    }
    on_random_slices(|numbers| {
        check(numbers, |x| x as u8);
        check(numbers, |x| x as i8);
        check(numbers, |x| x as i16);
        check(numbers, |x| (x % 1000) as i32 - 500);
        check(numbers, |x| x);
        check(numbers, |x| u64::MAX - x % 3);
        check(numbers, |x| i128::MIN + i128::from(x % 7));
        check(numbers, |x| if x % 2 == 0 { i128::MIN } else { i128::MAX });
        check(numbers, |x| if x % 2 == 0 { i64::MIN } else { i64::MAX });
    });
}

#[test]
fn par_map_keeps_the_order() {
    on_random_slices(|numbers| {
        let serial: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let source = numbers.iter().filter(|_| true);
        assert_eq!(source.clone().par_map(u64::to_string).collect::<Vec<_>>(), serial);
        let some = source.par_map(u64::to_string).look_ahead(3).take(100);
        assert_eq!(some.collect::<Vec<_>>(), serial[..serial.len().min(100)]);
    });
}

#[test]
fn par_map_needs_no_sendable_source_and_no_end() {
    crate::interrupt::testing::quiet();
    let count = Rc::new(std::cell::Cell::new(0_usize));
    let counter = count.clone();
    let source = std::iter::repeat_with(move || counter.replace(counter.get() + 1));
    let mut squares = source.par_map(|x| x * x).look_ahead(64);
    for n in 0..1000 {
        assert_eq!(squares.next(), Some(n * n));
        assert!(count.get() <= n + 64);
    }
}

#[test]
fn par_map_stays_ended() {
    crate::interrupt::testing::quiet();
    let mut results = (0..5).par_map(|x| x);
    assert_eq!(results.size_hint(), (5, Some(5)));
    assert_eq!(results.by_ref().count(), 5);
    assert_eq!((results.next(), results.size_hint()), (None, (0, Some(0))));
    let mut failing = (0..100).par_map(|x| assert!(x != 40, "item 40")).look_ahead(1);
    assert_eq!(failing.by_ref().take(40).count(), 40);
    let payload = catch_unwind(AssertUnwindSafe(|| failing.next())).unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"item 40"));
    assert_eq!(failing.next(), None);
}

#[test]
fn an_interrupt_ends_each_of_them() {
    let _alone = crate::interrupt::testing::alone();
    let numbers: Vec<u64> = (0..100_000).map(|i| i % 5).collect();
    let interrupted = |work: &dyn Fn()| {
        interrupt::raise();
        let stopped = catch_unwind(AssertUnwindSafe(work));
        interrupt::clear();
        stopped.is_err_and(|payload| payload.is::<Interrupted>())
    };
    assert!(interrupted(&|| _ = numbers.par_unique()));
    assert!(interrupted(&|| _ = numbers.par_is_sorted()));
    assert!(interrupted(&|| _ = numbers.par_iter().extrema()));
    assert!(interrupted(&|| _ = numbers.par_iter().argmax()));
    assert!(interrupted(&|| _ = numbers.par_scan(|a, b| a + b)));
    assert!(interrupted(&|| numbers.clone().par_sort_counting()));
    assert!(interrupted(&|| _ = numbers.iter().par_map(|x| x + 1).next()));
}

#[test]
fn par_map_stops_in_the_middle_of_a_round() {
    let _alone = crate::interrupt::testing::alone();
    let begun = AtomicUsize::new(0);
    let work = |i: u64| {
        if begun.fetch_add(1, Ordering::Relaxed) == 1000 {
            interrupt::raise();
        }
        i
    };
    let stopped = catch_unwind(AssertUnwindSafe(|| (0..).par_map(work).count()));
    interrupt::clear();
    assert!(stopped.is_err_and(|payload| payload.is::<Interrupted>()));
}
