//! What distributed arrays cost beside arrays of one process: the best of several runs of each on two
//! workers, and on two threads, in milliseconds, and their ratio.
//!
//! `cargo run --release -p parcell --example arrays [WORD]` measures what WORD is in the name of.

use std::hint::black_box;
use std::time::Instant;

use parcell::arrays::Boundary;
use parcell::distributed::init;
use parcell::ndarray::linalg::general_mat_mul;
use parcell::ndarray::{Array1, Array2, Axis, Zip, s};
use parcell::prelude::*;
use parcell::threads::Pool;

const N: usize = 100_000_000;
const ROUNDS: usize = 5;

fn main() {
    init();
    let pool = Pool::attach_current(2).expect("the main thread is in no pool yet");
    addprocs(2);
    println!("{:<28}{:>11}{:>11}{:>7}", "", "2 workers", "2 threads", "ratio");
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let all: [(&str, fn()); 5] = [
        ("vector", vectors),
        ("matrix", matrices),
        ("stencil", stencil),
        ("gather", gather),
        ("tiny", tiny),
    ];
    all.iter().filter(|(name, _)| name.contains(&wanted)).for_each(|(_, measure)| measure());
    pool.close();
}

/// The best of several runs, in milliseconds.
fn best(mut run: impl FnMut()) -> f64 {
    let time = |()| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e3
    };
    std::iter::repeat_n((), ROUNDS).map(time).fold(f64::INFINITY, f64::min)
}

fn compare(what: &str, there: impl FnMut(), here: impl FnMut()) {
    let (there, here) = (best(there), best(here));
    println!("{what:<28}{there:>11.2}{here:>11.2}{:>7.2}", there / here);
}

fn vectors() {
    let local = Array1::from_elem(N, 1.5);
    let spread = dfill(1.5, N);
    let pieces = |a: &Array1<f64>| {
        a.axis_chunks_iter(Axis(0), 1 << 15).into_par_iter().map(|c| c.sum()).sum::<f64>()
    };
    compare("sum", || _ = black_box(spread.sum()), || _ = black_box(pieces(&local)));
    let mut filled = local.clone();
    compare("fill", || spread.fill(2.5), || Zip::from(&mut filled).par_for_each(|x| *x = 2.5));
    let other = dfill(0.5, N);
    let here = Array1::from_elem(N, 0.5);
    compare(
        "a x + y, in place",
        || other.axpy(3.0, &spread),
        || Zip::from(&mut filled).and(&here).par_for_each(|y, x| *y += 3.0 * *x),
    );
    compare(
        "a x + y, new",
        || _ = black_box(spread.zip_map(&other, |x: f64, y: f64| 3.0 * x + y)),
        || _ = black_box(Zip::from(&local).and(&here).par_map_collect(|x, y| 3.0 * *x + *y)),
    );
    let factor = black_box(3.0);
    compare(
        "the same by remote!",
        || _ = black_box(spread.zip_map(&other, remote!(|x: f64, y: f64| factor * x + y))),
        || _ = black_box(Zip::from(&local).and(&here).par_map_collect(|x, y| factor * *x + *y)),
    );
}

fn matrices() {
    let (a, b) = (drandn((2000, 2000)), drandn((2000, 2000)));
    let (la, lb) = (a.to_array(), b.to_array());
    let mut lc = Array2::zeros((2000, 2000));
    compare(
        "matrix product, 2000²",
        || _ = black_box(a.matmul(&b)),
        || {
            let rows = lc.axis_chunks_iter_mut(Axis(0), 1000).into_par_iter();
            rows.zip(la.axis_chunks_iter(Axis(0), 1000)).for_each(|(mut c, a)| {
                general_mat_mul(1.0, &a, &lb, 0.0, &mut c);
            });
        },
    );
    compare(
        "transpose, 2000²",
        || _ = black_box(a.transpose()),
        || _ = black_box(la.t().as_standard_layout().into_owned()),
    );
}

fn stencil() {
    fn step(u: &Array2<f64>) -> Array2<f64> {
        let (n, m) = u.dim();
        let at = |i: usize, j: usize| u.slice(s![i..n - 2 + i, j..m - 2 + j]);
        Zip::from(at(1, 1)).and(at(0, 1)).and(at(2, 1)).and(at(1, 0)).and(at(1, 2)).map_collect(
            |x, north, south, west, east| x + 0.1 * (north + south + west + east - 4.0 * x),
        )
    }
    let halo = drand((4096, 4096)).with_halo(1, Boundary::Value(0.0));
    let local = Array2::<f64>::ones((4098, 4098));
    let half = local.slice(s![..2050, ..]).to_owned();
    compare(
        "stencil 4096²: step",
        || halo.update(step),
        || [0, 1].par_iter().for_each(|_| _ = black_box(step(&half))),
    );
    let step_time = best(|| halo.update(step));
    let exchange = best(|| halo.exchange());
    println!("stencil 4096²: the exchange is {:.1} % of the step", 100.0 * exchange / step_time);
}

fn gather() {
    let spread = dfill(1.5, N);
    let local = Array1::from_elem(N, 1.5);
    compare("gather 800 MB", || _ = black_box(spread.to_array()), || _ = black_box(local.clone()));
}

fn tiny() {
    for workers in [2, 8, 32] {
        let more = if workers > nworkers() { addprocs(workers - nworkers()) } else { Vec::new() };
        let a = dones(dims(64).procs(&parcell::distributed::workers()));
        assert_eq!((a.layout().pieces(), a.sum()), (workers, 64.0));
        let time = (0..10).map(|_| best(|| _ = black_box(a.sum()))).fold(f64::INFINITY, f64::min);
        println!(
            "sum of 64 numbers on {workers:>2} workers: {:.3} ms, {:.1} µs per worker",
            time,
            1e3 * time / workers as f64
        );
        drop(more);
    }
}
