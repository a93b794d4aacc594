//! The rows as a plain program with rayon: `threads ROW N TIMES`, see `rows.rs`.
//! `RAYON_NUM_THREADS` says how many threads.

include!("rows.rs");

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |i: usize| arguments[i].parse().expect("a number");
    let (n, times) = (number(2), number(3));
    // The threads start before the clock does.
    rayon::broadcast(|_| ());
    match arguments[1].as_str() {
        "series" => measure_series(series, n, times),
        "julia" => measure_julia(julia, n, times),
        "sort" => measure_sort(sort, n, times),
        "log10" => measure_log10(log10, n, times),
        "sum" => measure_sum(sum, n, times),
        row => panic!("no row is called {row}"),
    }
}
