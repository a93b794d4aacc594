use parcell::arrays::Boundary;
use parcell::mpi::traits::*;
use std::time::Instant;

/// The median of several runs, in microseconds.
fn median(runs: usize, mut run: impl FnMut()) -> f64 {
    run();
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[runs / 2]
}

/// How often something of so many bytes is done.
fn runs(bytes: usize) -> usize {
    (200_000_000 / bytes.max(1)).clamp(11, 201)
}

fn sum(bytes: usize) -> f64 {
    let x = dfill(1.5, bytes / 8);
    median(runs(bytes), || _ = std::hint::black_box(x.sum()))
}

/// Two pieces that exchange both of their edges, each of so many bytes.
fn halo(bytes: usize) -> f64 {
    let x = dzeros(dims((16, bytes / 8)).dist(&[2, 1]));
    let x = x.with_halo(1, Boundary::Periodic);
    median(runs(bytes), || x.exchange())
}

/// From one worker to another and back, half of the time.
fn letters(bytes: usize) -> f64 {
    fn run(c: Spmd, bytes: usize) -> f64 {
        let mut ball = vec![1.0_f64; bytes / 8];
        c.barrier();
        let time = median(runs(bytes), || {
            if c.rank() == 0 {
                c.send_to(1, std::mem::take(&mut ball));
                ball = c.recv_from(1);
            } else {
                let back: Vec<f64> = c.recv_from(0);
                c.send_to(0, back);
            }
        });
        time / 2.0
    }
    spmd(remote!(|c: Spmd| run(c, bytes)))[0]
}

fn all_reduce(bytes: usize) -> f64 {
    fn add(mut a: Vec<f64>, b: Vec<f64>) -> Vec<f64> {
        a.iter_mut().zip(&b).for_each(|(a, b)| *a += b);
        a
    }
    fn run(c: Spmd, bytes: usize) -> f64 {
        let mine = vec![1.0_f64; bytes / 8];
        c.barrier();
        median(runs(bytes), || _ = std::hint::black_box(c.all_reduce(mine.clone(), add)))
    }
    spmd(remote!(|c: Spmd| run(c, bytes)))[0]
}

/// As `letters`, by MPI itself.
fn raw(bytes: usize) -> f64 {
    fn run(c: Spmd, bytes: usize) -> f64 {
        let world = world();
        let other = world.process_at_rank(1 - world.rank());
        let mut ball = vec![1.0_f64; bytes / 8];
        c.barrier();
        let time = median(runs(bytes), || {
            if c.rank() == 0 {
                other.send(&ball[..]);
                other.receive_into(&mut ball[..]);
            } else {
                other.receive_into(&mut ball[..]);
                other.send(&ball[..]);
            }
        });
        time / 2.0
    }
    spmd(remote!(|c: Spmd| run(c, bytes)))[0]
}

/// As `all_reduce`, by MPI itself.
fn raw_all_reduce(bytes: usize) -> f64 {
    fn run(c: Spmd, bytes: usize) -> f64 {
        use parcell::mpi::collective::SystemOperation;
        let (world, mine) = (world(), vec![1.0_f64; bytes / 8]);
        let mut sum = vec![0.0; bytes / 8];
        c.barrier();
        median(runs(bytes), || world.all_reduce_into(&mine[..], &mut sum[..], SystemOperation::sum()))
    }
    spmd(remote!(|c: Spmd| run(c, bytes)))[0]
}
