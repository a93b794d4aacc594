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
fn slow(n: u64) -> f64 {
    (1..=n).map(term).sum()
}

fn slow_parallel(n: u64) -> f64 {
    (1..=n).into_par_iter().map(term).sum()
}

/// Prints seconds and result of a call.
fn measure(sum: fn(u64) -> f64, n: u64) {
    let begin = std::time::Instant::now();
    let result = std::hint::black_box(sum)(std::hint::black_box(n));
    println!("{} {result}", begin.elapsed().as_secs_f64());
}
