use ndarray::Array1;
use std::hint::black_box;
use std::time::Instant;

const N: usize = 100_000_000;

/// The shortest of several runs, in seconds.
fn best(runs: usize, mut run: impl FnMut()) -> f64 {
    let time = |()| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    std::iter::repeat_n((), runs).map(time).fold(f64::INFINITY, f64::min)
}

fn parts(x: &Array1<f64>) -> rayon::slice::Chunks<'_, f64> {
    x.as_slice().unwrap().par_chunks(1 << 16)
}

fn local_sum() -> f64 {
    let x = Array1::from_elem(N, 1.5);
    best(5, || _ = black_box(parts(&x).map(|part| ndarray::aview1(part).sum()).sum::<f64>()))
}

fn workers_sum() -> f64 {
    let x = dfill(1.5, N);
    best(5, || _ = black_box(x.sum()))
}

fn local_axpy() -> f64 {
    let (mut y, x) = (Array1::from_elem(N, 0.5), Array1::from_elem(N, 1.5));
    best(5, || {
        let (y, x) = (y.as_slice_mut().unwrap(), x.as_slice().unwrap());
        let parts = y.par_chunks_mut(1 << 16).zip(x.par_chunks(1 << 16));
        parts.for_each(|(y, x)| y.iter_mut().zip(x).for_each(|(y, x)| *y += 2.0 * x));
    })
}

fn workers_axpy() -> f64 {
    let (y, x) = (dfill(0.5, N), dfill(1.5, N));
    best(5, || y.axpy(2.0, &x))
}

fn local_fill() -> f64 {
    let mut x = vec![0.0; N];
    best(5, || x.par_chunks_mut(1 << 16).for_each(|part| part.fill(black_box(1.5))))
}

fn workers_fill() -> f64 {
    let x = dfill(0.0, N);
    best(5, || x.fill(1.5))
}

fn local_shared() -> f64 {
    let mut x = vec![0.0; N];
    best(5, || {
        x.par_chunks_mut(1 << 16).for_each(|part| part.fill(black_box(1.5)));
        black_box(x.par_chunks(1 << 16).map(|part| ndarray::aview1(part).sum()).sum::<f64>());
    })
}

fn workers_shared() -> f64 {
    let x = SharedVector::<f64>::zeros(N);
    x.fill(0.5);
    best(5, || {
        x.fill(1.5);
        black_box(x.sum());
    })
}

fn workers_matmul() -> f64 {
    let (a, b) = (drand(dims((2000, 2000)).seed(1)), drand(dims((2000, 2000)).seed(2)));
    best(3, || _ = black_box(a.matmul(&b)))
}

/// Halves of the rows on two threads, by the crate that workers use, too.
fn local_matmul() -> f64 {
    let (a, b) = (drand(dims((2000, 2000)).seed(1)).to_array(), drand(dims((2000, 2000)).seed(2)).to_array());
    best(3, || {
        let (upper, lower) = a.view().split_at(ndarray::Axis(0), 1000);
        _ = black_box(rayon::join(|| upper.dot(&b), || lower.dot(&b)));
    })
}

/// Seconds to gather the array, and to copy an array of its size.
fn workers_gather() -> f64 {
    let x = dfill(1.5, N);
    best(3, || _ = black_box(x.to_array()))
}

fn local_gather() -> f64 {
    let x = Array1::from_elem(N, 1.5);
    best(3, || _ = black_box(x.clone()))
}

/// Microseconds of a sum of 64 numbers.
fn tiny() -> f64 {
    let x = dones(64);
    best(200, || _ = black_box(x.sum())) * 1e6
}
