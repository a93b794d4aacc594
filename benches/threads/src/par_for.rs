// The rows written with `par_for`, which only cells have.

fn series_loop(n: u64) -> f64 {
    par_for(1..=n).map_reduce(term, |a, b| a + b, 0.0)
}

fn julia_loop(image: &mut [u8], n: usize) {
    let scaled = |i: usize| 1.2 * (2.0 * i as f64 / n as f64 - 1.0);
    par_for_iter(image.chunks_mut(n).enumerate()).for_each(|(row, points)| {
        let y = scaled(row);
        for (column, point) in points.iter_mut().enumerate() {
            *point = escape(scaled(column), y);
        }
    });
}

fn log10_loop(values: &mut [f64]) {
    const BLOCK: usize = 100_000;
    par_for_iter(values.chunks_mut(BLOCK).enumerate()).for_each(|(block, values)| {
        let mut i = (block * BLOCK) as f64;
        for value in values {
            i += 1.0;
            *value = i.log10();
        }
    });
}

fn sum_loop(values: &[f64]) -> f64 {
    let chunks = values.chunks(100_000);
    par_for_iter(chunks).map_reduce(|chunk| ndarray::aview1(chunk).sum(), |a, b| a + b, 0.0)
}
