//! Shared arrays over real workers: parts, handles that travel, deaths, and what is left at the
//! end: no value on any process, no mapping, no open file.

mod common;

use common::Check;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ndarray::Array1;
use parcell::arrays::{SharedCell, SharedError};
use parcell::distributed::init;
use parcell::num_complex::Complex;
use parcell::prelude::*;
use parcell::threads::timedwait;
use parcell::{bytemuck, ndarray};

fn main() {
    init();
    addprocs(3);
    let checks: &[Check] = &[
        ("a loop over processes writes elements", a_loop_writes),
        ("parts are Julia's", parts),
        ("constructors", constructors),
        ("all ranks", ranks),
        ("own types", own_types),
        ("what processes compute", computations),
        ("chosen processes, and others that get a handle", chosen_processes),
        ("handles travel in calls, channels and maps", handles_travel),
        ("changes in one step lose nothing", one_step),
        ("errors tell what is wrong", errors),
        ("sizes too large are refused", too_large),
        ("many arrays leave nothing", many_arrays),
        ("an array is frozen", an_array_is_frozen),
        ("what others could write is not frozen", what_is_not_frozen),
        ("files are written by all", files),
        ("a dead worker", a_dead_worker),
        ("a dead maker", a_dead_maker),
    ];
    common::run(checks, leftovers);
}

/// Mappings and open files of shared arrays, of all processes.
fn leftovers() -> Vec<String> {
    fn here() -> Vec<String> {
        let maps = fs::read_to_string("/proc/self/maps").expect("procfs is mounted");
        let files = fs::read_dir("/proc/self/fd").expect("procfs is mounted").flatten();
        let files = files.filter_map(|file| fs::read_link(file.path()).ok());
        let files = files.map(|target| target.to_string_lossy().into_owned());
        let lines = maps.lines().map(str::to_owned).chain(files);
        lines.filter(|line| line.contains("parcell-shared-array")).collect()
    }
    let all = procs().into_iter().flat_map(|id| {
        let there: Vec<String> = remotecall_fetch(here, id, ());
        there.into_iter().map(move |line| format!("{id}: {line}"))
    });
    all.collect()
}

fn panic_of(what: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(what)).unwrap_err();
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<SharedError>().map(ToString::to_string));
    let text = text.or_else(|| payload.downcast_ref::<ArrayError>().map(ToString::to_string));
    let text = text.or_else(|| payload.downcast_ref::<RemoteError>().map(ToString::to_string));
    text.or_else(|| payload.downcast_ref::<CompositeError>().map(ToString::to_string))
        .expect("panics say something")
}

fn a_loop_writes() {
    let s = SharedVector::<f64>::zeros(1000);
    distributed!(for i in 0..1000 {
        s.set([i], (i * i) as f64)
    })
    .wait();
    assert_eq!(s.to_array(), Array1::from_shape_fn(1000, |i| (i * i) as f64));
    let m = SharedMatrix::<u64>::zeros((40, 50));
    distributed!(for i in 0..40 {
        for j in 0..50 {
            m.set([i, j], (myid() * 10_000 + i * 100 + j) as u64);
        }
    })
    .wait();
    let a = m.to_array();
    assert!(a.indexed_iter().all(|((i, j), x)| x % 10_000 == (i * 100 + j) as u64));
    assert_eq!(a.iter().map(|x| x / 10_000).max(), Some(4));
}

fn parts() {
    let s = SharedVector::<u64>::zeros(11);
    assert_eq!((s.procs(), s.index_in_procs(), s.local_indices()), (vec![2, 3, 4], None, 0..0));
    let there = everywhere!(&[2, 3, 4], (s.local_indices(), s.index_in_procs(), s.local().len()));
    assert_eq!(there, [(0..3, Some(0), 3), (3..6, Some(1), 3), (6..11, Some(2), 5)]);
    let short = SharedVector::<u64>::zeros(2);
    assert_eq!(everywhere!(&[2, 3, 4], short.local_indices()), [0..1, 1..2, 2..2]);
    let rows = SharedMatrix::<u8>::zeros((7, 5));
    assert_eq!(everywhere!(&[2, 3, 4], rows.local_rows()), [0..2, 2..4, 4..7]);
    everywhere!(&[2, 3, 4], s.local().iter().for_each(|cell| cell.set(myid() as u64)));
    assert_eq!(s.to_array().to_vec(), [2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4]);
}

fn constructors() {
    let n = 30;
    let s = SharedArray::from_fn((5, n), remote!(|(i, j): (usize, usize)| (i * n + j) as u32));
    assert_eq!(s.reshape(150).to_array(), Array1::from_iter(0..150));
    let a = ndarray::Array2::from_shape_fn((300, 400), |(i, j)| (i * j) as f32);
    assert_eq!(SharedArray::from_array(&a).to_array(), a);
    assert_eq!(SharedArray::from_array(&a.t()).to_array(), a.t());
    let there = SharedArray::from_array(&a);
    assert_eq!(fetch_from!(3, there.get([299, 399])), 299.0 * 399.0);
    let s = SharedMatrix::<u64>::zeros((4, 4)).init(|s: SharedMatrix<u64>| {
        s.local().iter().for_each(|cell| cell.set(myid() as u64));
    });
    assert_eq!(s.to_array().iter().filter(|x| **x == 4).count(), 6);
    let offset = 100;
    let s = SharedVector::<u64>::zeros(3)
        .init(remote!(|s: SharedVector<u64>| s.local()[0].set(offset + myid() as u64)));
    assert_eq!(s.to_array().to_vec(), [102, 103, 104]);
    let inside = fetch_from!(2, SharedVector::<i32>::zeros(5));
    assert_eq!((inside.procs(), inside.to_array().sum()), (vec![2, 3, 4], 0));
    fetch_from!(4, inside.set([4], 7));
    assert_eq!(inside.get([4]), 7);
}

fn ranks() {
    fn check<D: parcell::arrays::Rank>(shape: D) {
        let n = shape.size();
        let s = SharedArray::<u64, D>::zeros(shape.clone());
        let cells = s.reshape(n);
        distributed!(for i in 0..n {
            cells.set(i, i as u64)
        })
        .wait();
        let a = s.to_array();
        assert_eq!((a.raw_dim(), s.ndim()), (shape.clone(), shape.ndim()));
        assert!(a.iter().enumerate().all(|(i, x)| *x == i as u64));
        let there = fetch_from!(2, s.to_array());
        assert_eq!(there, a);
    }
    use ndarray::{Dim, IxDyn};
    check(Dim([7]));
    check(Dim([3, 4]));
    check(Dim([2, 3, 4]));
    check(Dim([2, 3, 1, 4]));
    check(Dim([2, 3, 1, 4, 2]));
    check(Dim([2, 3, 1, 4, 2, 2]));
    check(IxDyn(&[2, 2, 2, 2, 2, 2, 2]));
    check(Dim([0]));
    check(Dim([3, 0, 2]));
    let nothing = SharedVector::<()>::zeros(1 << 40);
    assert_eq!(fetch_from!(2, nothing.len()), 1 << 40);
}

#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[bytemuck(crate = "parcell::bytemuck")]
#[repr(C)]
struct Body {
    position: [f64; 3],
    mass: f64,
}

fn own_types() {
    let bodies = SharedVector::<Body>::zeros(10);
    distributed!(for i in 0..10 {
        bodies.set(i, Body { position: [i as f64; 3], mass: 1.5 })
    })
    .wait();
    assert_eq!(bodies.get(9), Body { position: [9.0; 3], mass: 1.5 });
    bodies.fill(Body { position: [0.5; 3], mass: 2.0 });
    let mass = bodies.map_reduce(|b: Body| b.mass, |a: f64, b: f64| a + b, 0.0);
    assert_eq!((mass, bodies.get(4).position), (20.0, [0.5; 3]));
    let wave = SharedVector::<Complex<f64>>::zeros(100);
    wave.fill(Complex::new(0.0, 1.0));
    assert_eq!(wave.sum(), Complex::new(0.0, 100.0));
    for cell in SharedVector::<u128>::zeros(5).cells() {
        cell.set(u128::MAX);
        assert_eq!(cell.get(), u128::MAX);
    }
}

fn computations() {
    let s = SharedArray::from_fn((123, 45), |(i, j): (usize, usize)| (i * 45 + j) as f64);
    let a = s.to_array();
    assert_eq!(s.sum(), a.sum());
    assert_eq!(s.map_reduce(|x: f64| x, |x: f64, y: f64| x.max(y), 0.0), 5534.0);
    let half = 0.5;
    let t = s.deep_copy();
    t.map_from(remote!(|x: f64| x * half), &s);
    assert_eq!(t.to_array(), &a * 0.5);
    s.map_into(|x: f64| x + 1.0, &t);
    assert_eq!(t.to_array(), &a + 1.0);
    t.map_from(|x: f64| -x, &t);
    assert_eq!(t.to_array(), -(&a + 1.0));
    let other = SharedMatrix::<f64>::on(&[4, 1]).zeros((45, 123));
    other.copy_from(&s);
    assert_eq!(other.reshape((123, 45)).to_array(), a);
    other.fill(1.0);
    assert_eq!((other.sum(), s.sum()), (5535.0, a.sum()));
    let (r, all) = (SharedVector::<f64>::zeros(1000), SharedVector::on(&[1]).zeros(1000));
    r.rand(5);
    all.rand(5);
    assert_eq!(r.to_array(), all.to_array(), "the same however many processes there are");
    assert!(r.to_array().iter().all(|x| (0.0..1.0).contains(x)));
    all.randn(5);
    assert!(all.map_reduce(|x: f64| x, |x: f64, y: f64| x.min(y), 0.0) < -1.0);
}

fn chosen_processes() {
    let s = SharedVector::<u64>::on(&[4, 2]).zeros(10);
    assert_eq!(
        everywhere!((s.index_in_procs(), s.local_indices())),
        [(None, 0..0), (Some(1), 5..10), (None, 0..0), (Some(0), 0..5)]
    );
    // Process 3 has no part, and maps the memory when it first uses it.
    fetch_from!(3, s.set([7], 77));
    assert_eq!((s.get([7]), fetch_from!(2, s.local()[2].get())), (77, 77));
    let own = SharedVector::<u64>::on(&[1, 3]).from_fn(5, |i: usize| (i * myid()) as u64);
    assert_eq!(own.to_array().to_vec(), [0, 1, 6, 9, 12]);
}

fn handles_travel() {
    let s = SharedVector::<i64>::zeros(8);
    let add = |s: SharedVector<i64>, i: usize| s.cells()[i].fetch_add(1);
    assert_eq!(remotecall_fetch(add, 3, (s.clone(), 2)), 0);
    assert_eq!(remotecall_fetch(add, 3, (s.clone(), 2)), 1);
    let channel = RemoteChannel::new(2, 4);
    channel.put(Some(s.clone()));
    fetch_from!(2, channel.take().expect("an array").set([0], -5));
    assert_eq!((s.get(0), s.get(2)), (-5, 2));
    let arguments: Vec<(SharedVector<i64>, usize)> = (0..8).map(|i| (s.clone(), i)).collect();
    let old = pmap(|(s, i): (SharedVector<i64>, usize)| s.cells()[i].fetch_add(10), arguments);
    assert_eq!(old.collect(), [-5, 0, 2, 0, 0, 0, 0, 0]);
    assert_eq!(s.sum(), 77);
    // A handle that comes back is one to the same memory, which is mapped once.
    let back = fetch_from!(3, s.clone());
    back.set(1, 100);
    assert_eq!(s.get(1), 100);
    let held = WorkerLocal::new_from(&[2], s, |s| s);
    drop(back);
    assert_eq!(fetch_from!(2, held.with(|s| s.get(1))), 100, "one handle is left");
    let view: Vec<i64> =
        fetch_from!(2, held.with(|s| s.local().iter().map(SharedCell::get).collect()));
    assert_eq!(view, [5, 110 - 10]);
}

fn one_step() {
    let counts = SharedVector::<u64>::zeros(2);
    let sums = SharedVector::<f64>::zeros(1);
    everywhere!(
        &[2, 3, 4],
        for i in 0..10_000 {
            counts.cells()[i % 2].fetch_add(1);
            sums.cells()[0].update(|x| x + 0.5);
        }
    );
    assert_eq!((counts.get(0), counts.get(1), sums.get(0)), (15_000, 15_000, 15_000.0));
}

fn errors() {
    let s = SharedMatrix::<f64>::zeros((3, 4));
    let told = panic_of(|| s.set([3, 0], 1.0));
    assert_eq!(told, "the index [3, 0] is outside of the array's shape 3×4");
    let there = spawn_at!(2, s.get([0, 4])).try_fetch().unwrap_err().to_string();
    assert!(there.contains("the index [0, 4] is outside of the array's shape 3×4"), "{there}");
    let failing = s.try_map_from(|x: f64| if myid() == 3 { panic!("no luck") } else { x }, &s);
    let told = failing.unwrap_err().to_string();
    assert!(told.contains("no luck") && told.contains("worker 3"), "{told}");
    let told = panic_of(|| drop(SharedVector::<f64>::on(&[2, 9]).zeros(3)));
    assert!(told.contains("there is no process 9"), "{told}");
    let told = panic_of(|| drop(s.reshape((2, 5))));
    assert_eq!(told, "reshape: the shapes 3×4 and 2×5 do not fit");
    let failing =
        SharedVector::<u8>::try_from_fn(9, |i: usize| if i > 3 { panic!("{i}") } else { 1 });
    assert!(matches!(failing, Err(SharedError::Array(_))));
}

fn too_large() {
    let error = SharedMatrix::<f64>::try_zeros((1 << 40, 1 << 40)).unwrap_err();
    assert!(matches!(error, SharedError::TooLarge { .. }), "{error}");
    let error = SharedVector::<f64>::try_zeros(1 << 40).unwrap_err();
    let SharedError::NoRoom { wanted, available, what } = &error else { panic!("{error}") };
    assert!(*wanted == 8 << 40 && *available < *wanted && *available > 0 && !what.is_empty());
    // What others will write counts.
    let half = SharedVector::<u8>::zeros(*available as usize / 8 * 5);
    let error = SharedVector::<u8>::try_zeros(half.len()).unwrap_err();
    assert!(matches!(error, SharedError::NoRoom { .. }), "{error}");
    drop(half);
}

fn many_arrays() {
    let kept: Vec<SharedVector<u64>> = (0..50).map(|_| SharedVector::zeros(1000)).collect();
    for (k, s) in kept.iter().cloned().enumerate() {
        fetch_from!(2 + k % 3, s.fill(k as u64));
    }
    assert_eq!(kept.iter().map(SharedArray::sum).sum::<u64>(), 1000 * 49 * 25);
    for _ in 0..100 {
        let s = SharedVector::<u8>::zeros(1 << 20);
        assert_eq!(fetch_from!(3, s.get(5)), 0);
    }
}

fn an_array_is_frozen() {
    let s = SharedMatrix::<f64>::zeros((100, 30));
    distributed!(for i in 0..100 {
        for j in 0..30 {
            s.set([i, j], (i * 30 + j) as f64);
        }
    })
    .wait();
    fetch_from!(1, s.get([0, 0]));
    let table = s.freeze();
    let sum = table.view().sum();
    assert_eq!(everywhere!(&[2, 3, 4], table.view().sum()), [sum; 3]);
    let late = addprocs(1)[0];
    assert_eq!(fetch_from!(late, table.view()[[99, 29]]), 2999.0, "one that has no part");
    let channel = RemoteChannel::new(1, 3);
    channel.put(table.clone());
    drop(table);
    assert_eq!(fetch_from!(late, channel.take().view()[[1, 0]]), 30.0);
    rmprocs(&[late]);
    let chosen = SharedVector::<u8>::on(&[3]).zeros(5).freeze();
    assert_eq!((chosen.view().len(), chosen.procs()), (5, vec![3]));
}

fn what_is_not_frozen() {
    let told = |s: SharedVector<u64>| {
        let failed = s.try_freeze().unwrap_err();
        (failed.to_string(), failed.array)
    };
    let s = SharedVector::<u64>::on(&[2, 3]).zeros(10);
    s.fill(5);
    let held = WorkerLocal::new_from(&[3], s.clone(), |s| s);
    let (what, s) = told(s);
    assert!(what.contains("process 3 has 1 more handle"), "{what}");
    fetch_from!(3, held.with(|s| s.set(9, 6)));
    assert_eq!((s.sum(), everywhere!(&[2, 3], s.get(9))), (51, vec![6, 6]), "as it was");
    drop(held);
    // One that is no member has it mapped, too.
    let held = WorkerLocal::new_from(&[4], s.clone(), |s| {
        s.set(0, 0);
        s
    });
    let (what, s) = told(s);
    assert!(what.contains("a process besides [2, 3] has a handle"), "{what}");
    s.fill(1);
    assert_eq!(fetch_from!(4, held.with(|s| s.sum())), 10);
    drop(held);
    let waiting = RemoteChannel::new(1, 4);
    waiting.put(s.clone());
    let s = s.try_freeze().map_err(|failed| failed.error).expect("what waits has not mapped it");
    assert_eq!(s.view().sum(), 10);
    let late = spawn_at!(4, waiting.take().get(0)).try_fetch().unwrap_err().to_string();
    assert!(late.contains("is gone"), "{late}");
    let elsewhere = fetch_from!(2, SharedVector::<u64>::zeros(3));
    let (what, _) = told(elsewhere);
    assert!(what.contains("process 2 has made it, and only that can freeze it, not 1"), "{what}");
}

fn files() {
    let path = std::env::temp_dir().join(format!("parcell-shared-{}.bin", std::process::id()));
    let s = SharedMatrix::<u32>::from_file(&path, (6, 4)).open();
    everywhere!(&[2, 3, 4], s.local().iter().for_each(|cell| cell.set(myid() as u32)));
    let written = fs::read(&path).expect("the file is there");
    assert_eq!(
        written.chunks(4).map(|word| word[0]).collect::<Vec<_>>().as_slice(),
        [[2; 8], [3; 8], [4; 8]].concat()
    );
    fetch_from!(2, s.flush());
    let failed = s.try_freeze().unwrap_err();
    assert!(failed.to_string().contains("other programs could write"), "{failed}");
    drop(failed);
    let part = SharedVector::<u32>::from_file(&path, 8).offset(32).mode("r").on(&[4, 2]).open();
    assert_eq!((part.sum(), part.procs()), (24, vec![4, 2]));
    let told = spawn_at!(4, part.set(0, 1)).try_fetch().unwrap_err().to_string();
    assert!(told.contains("opened with mode `r`"), "{told}");
    let told = spawn_at!(4, part.local().len()).try_fetch().unwrap_err().to_string();
    assert!(told.contains("opened with mode `r`"), "{told}");
    let there = fetch_from!(3, SharedVector::<u32>::from_file(&path, 24).open());
    fs::remove_file(&path).expect("the file is there");
    there.fill(9);
    assert_eq!(part.sum(), 72, "mappings outlive the name");
}

/// Ends a process without a chance to tidy up.
fn kill(id: usize) {
    let pid = fetch_from!(id, std::process::id());
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("a process has a number");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it may be killed");
    assert!(timedwait(|| !procs().contains(&id), 20));
}

fn a_dead_worker() {
    let s = SharedVector::<u64>::zeros(12);
    s.fill(7);
    kill(4);
    assert_eq!((s.get(11), s.to_array().sum()), (7, 84), "the memory is there");
    distributed!(for i in 0..12 {
        s.set(i, 1)
    })
    .wait();
    assert_eq!(s.to_array().sum(), 12);
    let told = s.try_fill(2).unwrap_err().to_string();
    assert!(told.contains("process 4 is gone"), "{told}");
    let again = SharedVector::<u64>::zeros(12);
    again.copy_from(&s);
    assert_eq!((again.procs(), again.sum() > 0), (vec![2, 3], true));
}

fn a_dead_maker() {
    let made = addprocs(1)[0];
    let s = fetch_from!(made, {
        let s = SharedVector::<u64>::on(&[2, made]).zeros(10);
        s.fill(9);
        s
    });
    assert_eq!(s.get(3), 9);
    let unused = s.clone();
    kill(made);
    assert_eq!((s.get(3), s.to_array().sum()), (9, 90), "mappings stay");
    s.set(3, 10);
    assert_eq!(unused.get(3), 10);
    let told = spawn_at!(3, unused.get(3)).try_fetch().unwrap_err().to_string();
    assert!(told.contains("is gone"), "{told}");
}
