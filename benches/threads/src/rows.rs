use rayon::prelude::*;

/// Whether the decimal digits of `k` contain no 9.
fn allowed(mut k: u64) -> bool {
    while k > 0 {
        if k % 10 == 9 {
            return false;
        }
        k /= 10;
    }
    true
}

fn term(k: u64) -> f64 {
    if allowed(k) { 1.0 / k as f64 } else { 0.0 }
}

/// The slow series: the sum of 1/k over all k up to `n` without a 9 among their digits.
fn series(n: u64) -> f64 {
    (1..=n).into_par_iter().map(term).sum()
}

/// How many steps z ← z² + c takes to leave the circle of radius 4; at most 255.
fn escape(mut x: f64, mut y: f64) -> u8 {
    let mut count = 0;
    while count < 255 && x * x + y * y <= 16.0 {
        (x, y) = (x * x - y * y + 0.355, 2.0 * x * y + 0.355);
        count += 1;
    }
    count
}

/// The Julia set, `n` rows of `n` points.
fn julia(image: &mut [u8], n: usize) {
    let scaled = |i: usize| 1.2 * (2.0 * i as f64 / n as f64 - 1.0);
    image.par_chunks_mut(n).enumerate().for_each(|(row, points)| {
        let y = scaled(row);
        for (column, point) in points.iter_mut().enumerate() {
            *point = escape(scaled(column), y);
        }
    });
}

fn sort(values: &mut [f64]) {
    values.par_sort_unstable_by(f64::total_cmp);
}

/// Counts in floats, exactly: LLVM would convert eight integers at once and take the vector apart
/// again for each call, which takes 5 % longer than the same loop in C.
fn log10(values: &mut [f64]) {
    const BLOCK: usize = 100_000;
    values.par_chunks_mut(BLOCK).enumerate().for_each(|(block, values)| {
        let mut i = (block * BLOCK) as f64;
        for value in values {
            i += 1.0;
            *value = i.log10();
        }
    });
}

/// ndarray's sum adds in several lanes; that of an iterator must add in order.
fn sum(values: &[f64]) -> f64 {
    values.par_chunks(100_000).map(|chunk| ndarray::aview1(chunk).sum()).sum()
}

/// The `i`-th random number in [0, 1): splitmix64.
fn random_number(i: usize) -> f64 {
    let z = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 * 2f64.powi(-53)
}

/// A sum in which each place has another weight.
fn weighed<T: Copy + Into<f64>>(values: &[T]) -> f64 {
    values.iter().enumerate().map(|(i, &value)| value.into() * (i % 1000) as f64).sum()
}

/// The shortest time of some calls in seconds, and what the last returned. `prepare` is not timed.
fn shortest<T>(times: usize, mut prepare: impl FnMut(), mut call: impl FnMut() -> T) -> (f64, T) {
    let mut timed = || {
        prepare();
        let begin = std::time::Instant::now();
        let result = std::hint::black_box(call());
        (begin.elapsed().as_secs_f64(), result)
    };
    let mut best = timed();
    for _ in 1..times {
        let (seconds, result) = timed();
        best = (best.0.min(seconds), result);
    }
    best
}

fn report((seconds, check): (f64, f64)) {
    println!("{seconds:.9} {check}");
}

// Each of these calls a function some times with a problem of size `n` and prints the shortest time
// in seconds and a check of the result. Memory is allocated and written once before the clock
// starts.

fn measure_series(series: impl Fn(u64) -> f64, n: usize, times: usize) {
    report(shortest(times, || (), || series(n as u64)));
}

fn measure_julia(julia: impl Fn(&mut [u8], usize), n: usize, times: usize) {
    let mut image = vec![1_u8; n * n];
    let (seconds, ()) = shortest(times, || (), || julia(&mut image, n));
    report((seconds, weighed(&image)));
}

fn measure_sort(sort: impl Fn(&mut [f64]), n: usize, times: usize) {
    let values = std::cell::RefCell::new(vec![1.0; n]);
    let fill =
        || values.borrow_mut().iter_mut().enumerate().for_each(|(i, v)| *v = random_number(i));
    let (seconds, ()) = shortest(times, fill, || sort(&mut values.borrow_mut()));
    report((seconds, weighed(&values.borrow())));
}

fn measure_log10(log10: impl Fn(&mut [f64]), n: usize, times: usize) {
    let mut values = vec![1.0; n];
    let (seconds, ()) = shortest(times, || (), || log10(&mut values));
    report((seconds, weighed(&values)));
}

fn measure_sum(sum: impl Fn(&[f64]) -> f64, n: usize, times: usize) {
    let values: Vec<f64> = (0..n).map(|i| 0.5 * (i % 1000) as f64).collect();
    report(shortest(times, || (), || sum(&values)));
}
