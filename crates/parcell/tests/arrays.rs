//! Distributed arrays over real workers, beside ndarray: every operation with random shapes, layouts
//! and element types gives what ndarray gives, and nothing is left when the handles are dropped.

// ndarray's slices count negative ends from the end.
#![allow(clippy::reversed_empty_ranges)]

mod common;

use common::{Check, nothing_is_left, start_workers};
use std::fmt::Debug;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ndarray::{Array, Array1, Array2, Array3, ArrayD, Axis, IxDyn, s};
use num_complex::Complex;
use parcell::arrays::{Dims, Element, Layout, try_conjugate_gradients, try_distribute_over};
use parcell::distributed::{census, init};
use parcell::interrupt::{self, Interrupted};
use parcell::prelude::*;
use parcell::threads::timedwait;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde::{Deserialize, Serialize};

use parcell::{ndarray, num_complex, serde};

const WORKERS: usize = 3;

fn main() {
    init();
    on_this_process_alone();
    start_workers(WORKERS);
    allow_scalar(false);
    let checks: &[Check] = &[
        ("constructors", constructors),
        ("layouts that are asked for", layouts_that_are_asked_for),
        ("arrays there and back", there_and_back),
        ("pieces that were computed", pieces_that_were_computed),
        ("slices", slices),
        ("copies between layouts", copies_between_layouts),
        ("maps", maps),
        ("two and three arrays", several_arrays),
        ("operators", operators),
        ("reductions", reductions),
        ("reductions along axes", axes),
        ("products and norms", products_and_norms),
        ("matrix products", matrix_products),
        ("systems of equations", systems_of_equations),
        ("conjugate gradients", conjugate_gradients_converge),
        ("transposition", transposition),
        ("sorting", sorting),
        ("functions of lanes", functions_of_lanes),
        ("files for numpy", files_for_numpy),
        ("margins", margins),
        ("a stencil", a_stencil),
        ("own pieces", own_pieces),
        ("handles travel", handles_travel),
        ("errors tell what is wrong", errors),
        ("an interrupt", an_interrupt),
        ("a closed array", a_closed_array),
        ("a dead worker", a_dead_worker),
    ];
    common::run(checks, Vec::new);
}

/// Runs a check on random inputs.
fn on_random<S: Strategy>(cases: u32, inputs: S, check: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let checked = |input| {
        let outcome = catch_unwind(AssertUnwindSafe(|| check(input)));
        outcome.map_err(|_| TestCaseError::fail("see the panic above"))
    };
    TestRunner::new(config).run(&inputs, checked).unwrap();
}

/// A shape, and how to cut it: nothing said, some processes, or a grid of them.
#[derive(Debug, Clone)]
struct Plan {
    shape: Vec<usize>,
    procs: Vec<usize>,
    grid: Option<Vec<usize>>,
}

impl Plan {
    fn dims(&self) -> Dims<IxDyn> {
        let dims = dims(&self.shape[..]);
        match &self.grid {
            _ if self.procs.is_empty() => dims,
            Some(grid) => dims.procs(&self.procs).dist(grid),
            None => dims.procs(&self.procs),
        }
    }

    fn array<T>(&self, element: impl Fn(usize) -> T) -> ArrayD<T> {
        let n = self.shape.iter().product();
        ArrayD::from_shape_vec(&self.shape[..], (0..n).map(element).collect()).unwrap()
    }

    fn spread<T: Element>(&self, element: impl Fn(usize) -> T) -> (ArrayD<T>, DArray<T, IxDyn>) {
        let array = self.array(element);
        let spread = distribute_over(&array, self.dims());
        (array, spread)
    }
}

/// Layouts of a shape. Processes may be listed several times, the driver among them, and be more
/// than there are rows.
fn layouts(shape: Vec<usize>) -> impl Strategy<Value = Plan> {
    let procs = prop::collection::vec(1..=WORKERS + 1, 0..7);
    let grid = shape.iter().map(|extent| 1..=(*extent).clamp(1, 3)).collect::<Vec<_>>();
    (procs, prop::option::of(grid)).prop_map(move |(mut procs, grid)| {
        if let Some(grid) = &grid {
            let pieces: usize = grid.iter().product();
            procs = (0..pieces).map(|k| *procs.get(k).unwrap_or(&(2 + k % WORKERS))).collect();
        }
        Plan { shape: shape.clone(), procs, grid }
    })
}

fn shapes(ranks: Range<usize>) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1 => Just(0_usize), 9 => 1_usize..9], ranks)
}

fn plans() -> impl Strategy<Value = Plan> {
    shapes(1..5).prop_flat_map(layouts)
}

/// Two layouts of a shape.
fn pairs() -> impl Strategy<Value = (Plan, Plan)> {
    shapes(1..5).prop_flat_map(|shape| (layouts(shape.clone()), layouts(shape)))
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(crate = "parcell::serde")]
struct Named {
    name: String,
    value: f64,
}

fn named(i: usize) -> Named {
    Named { name: format!("number {i}"), value: i as f64 / 7.0 }
}

fn float(i: usize) -> f64 {
    (i as f64 * 0.7).sin()
}

/// Without workers the driver does it all.
fn on_this_process_alone() {
    let a = DArray::from_fn((20, 3), |(i, j): (usize, usize)| i + j);
    assert_eq!((a.procs(), a.is_local()), (&[1][..], true));
    assert_eq!(a.map(|x: usize| 2 * x).sum(), 2 * a.to_array().sum());
    drop(a);
    assert!(timedwait(nothing_is_left, 20), "{:?}", census());
}

fn constructors() {
    let a = dzeros((5, 7));
    assert_eq!((a.shape(), a.ndim(), a.len()), (vec![5, 7], 2, 35));
    assert_eq!(a.procs(), [2, 3, 4]);
    assert_eq!(a.to_array(), Array2::<f64>::zeros((5, 7)));
    assert_eq!(dones(9).to_array(), Array1::<f64>::ones(9));
    assert_eq!(dfill(named(3), (2, 3, 2)).to_array(), Array3::from_elem((2, 3, 2), named(3)));
    assert_eq!(DArray::<i8, _>::ones([3, 3]).sum(), 9);
    let index = |(i, j, k): (usize, usize, usize)| 100 * i + 10 * j + k;
    assert_eq!(
        DArray::from_fn((4, 5, 6), index).to_array(),
        Array3::from_shape_fn((4, 5, 6), index)
    );
    let shift = 5;
    let shifted = DArray::from_fn(1000, remote!(|i: usize| i + shift));
    assert_eq!(shifted.to_array(), Array1::from_iter(5..1005));
    let blocks = DArray::from_blocks((10, 4), |ranges: Vec<Range<usize>>| {
        Array2::from_shape_fn((ranges[0].len(), ranges[1].len()), |(i, j)| {
            (ranges[0].start + i, ranges[1].start + j, myid())
        })
    });
    assert_eq!(blocks.slice(s![9, 3]).to_array()[()], (9, 3, 4));
    on_random(30, plans(), |plan| {
        let seeded = |plan: &Plan| DArray::<f64, _>::random(plan.dims().seed(7)).to_array();
        let same = Plan { procs: vec![1], grid: None, ..plan.clone() };
        assert_eq!(seeded(&plan), seeded(&same), "random numbers do not depend on the layout");
        assert_eq!(drandn(plan.dims().seed(7)), drandn(same.dims().seed(7)));
    });
    let normal = drandn(dims(100_000).seed(1));
    let mean = normal.mean().unwrap();
    let variance = normal.map(|x: f64| x * x).mean().unwrap();
    assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean}, {variance}");
    let uniform = drand(100_000);
    assert!((uniform.mean().unwrap() - 0.5).abs() < 0.01);
    assert_ne!(uniform, drand(100_000));
}

fn layouts_that_are_asked_for() {
    let a = dzeros(dims((8, 6)).procs(&[1, 2, 3, 4]).dist(&[2, 2]));
    assert_eq!(a.layout().grid(), [2, 2]);
    assert_eq!((a.owner([0, 0]), a.owner([0, 3]), a.owner([7, 0])), (1, 2, 3));
    assert_eq!(a.local_indices(), [0..4, 0..3]);
    let few = dzeros(2);
    assert_eq!(few.procs(), [2, 3], "more processes than elements");
    let irregular = Layout::with_cuts(vec![vec![0, 3, 10]], vec![4, 2]).unwrap();
    let b = dfill(1_u8, dims(10).layout(&irregular));
    assert_eq!((b.procs(), b.owner(3)), (&[4, 2][..], 2));
    assert_eq!(b.filled_like(2.5).layout(), &irregular);
}

fn same_there_and_back<T: Element + PartialEq + Debug>(plan: &Plan, element: fn(usize) -> T) {
    let (array, spread) = plan.spread(element);
    assert_eq!(spread.shape(), array.shape());
    assert_eq!(spread.to_array(), array);
    assert!(spread == array);
    let like = distribute_like(&array, &spread);
    assert_eq!(like.layout(), spread.layout());
}

fn there_and_back() {
    on_random(60, plans(), |plan| {
        same_there_and_back(&plan, float);
        same_there_and_back(&plan, |i| i as u8);
        same_there_and_back(&plan, |i| Complex::new(i as f32, -1.0));
        same_there_and_back(&plan, named);
        same_there_and_back(&plan, |i| i % 2 == 0);
        same_there_and_back(&plan, |i| vec![i; i % 3]);
    });
    let large = Array2::from_shape_fn((1000, 700), |(i, j)| (i * 1000 + j) as f64);
    for grid in [[3, 1], [1, 3], [2, 1]] {
        let spread = distribute_over(&large, dims((1000, 700)).dist(&grid));
        assert_eq!(spread.to_array(), large);
    }
    let turned = large.clone().reversed_axes();
    assert_eq!(distribute(&turned).to_array(), turned, "column-major arrays, too");
    let six = Array::from_shape_fn((2, 3, 2, 3, 2, 3), |(a, b, c, d, e, f)| {
        a + 10 * b + 100 * c + 1000 * d + 10_000 * e + 100_000 * f
    });
    assert_eq!(distribute(&six).to_array(), six);
}

fn pieces_that_were_computed() {
    let part = |rows: usize, columns: usize, id: usize| {
        spawn_at!(id, Array2::from_shape_fn((rows, columns), |(i, j)| (id, i, j)))
    };
    let parts = vec![part(3, 2, 2), part(3, 5, 3), part(7, 2, 3), part(7, 5, 4)];
    let a = DArray::from_parts(parts, (2, 2));
    assert_eq!(a.shape(), [10, 7]);
    assert_eq!(a.layout().cuts(), [vec![0, 3, 10], vec![0, 2, 7]]);
    let whole = a.to_array();
    assert_eq!((whole[[9, 6]], whole[[3, 0]]), ((4, 6, 4), (3, 0, 0)));
    let other = distribute_like(&whole, &a);
    assert_eq!(other, a);
    let misfit = DArray::try_from_parts(vec![part(3, 2, 2), part(3, 3, 3)], (2, 1)).unwrap_err();
    let told = misfit.to_string();
    assert!(told.contains("part 1") && told.contains("3×3"), "{told}");
    let fails = spawn_at!(2, Array1::from_vec([1.0, 2.0].repeat(usize::MAX)));
    let error = DArray::try_from_parts(vec![fails], 1).unwrap_err();
    assert!(error.to_string().contains("capacity overflow"), "{error}");
    // Column-major results are put in order.
    let turned = spawn_at!(2, Array2::from_shape_fn((3, 2), |(i, j)| 10 * i + j).reversed_axes());
    let turned = DArray::from_parts(vec![turned], (1, 1));
    assert_eq!(turned.to_array(), ndarray::array![[0, 10, 20], [1, 11, 21]]);
}

fn slices() {
    on_random(60, (shapes(2..3).prop_flat_map(layouts), any::<[usize; 4]>()), |(plan, ends)| {
        let (array, spread) = plan.spread(|i| i);
        let end = |k: usize, extent: usize| ends[k] % (extent + 1);
        let (r, c) = (plan.shape[0], plan.shape[1]);
        let rows = end(0, r).min(end(1, r))..end(0, r).max(end(1, r));
        let columns = end(2, c).min(end(3, c))..end(2, c).max(end(3, c));
        let part = s![rows.clone(), columns.clone()];
        let array2 = array.into_dimensionality::<ndarray::Ix2>().unwrap();
        let spread2 = spread.slice(part);
        assert_eq!(spread2.shape(), [rows.len(), columns.len()]);
        assert_eq!(spread2.to_array(), array2.slice(part));
        let own = spread2.to_darray();
        assert_eq!(own.to_array(), array2.slice(part));
        let stepped = s![rows;2, columns;-1];
        assert_eq!(spread.slice(stepped).to_array(), array2.slice(stepped));
        assert_eq!(spread.slice(stepped).to_darray().to_array(), array2.slice(stepped));
    });
    let a = DArray::from_fn((6, 6), |(i, j): (usize, usize)| 10 * i + j);
    assert_eq!(a.slice(s![2, ..]).to_darray().to_array(), Array1::from_iter(20..26));
    assert_eq!(fetch_from!(3, a.slice(s![.., 5]).to_array().sum()), 5 + 15 + 25 + 35 + 45 + 55);
    let error = a.try_slice(s![..7, ..]).unwrap_err();
    assert!(error.to_string().contains("6×6"), "{error}");
}

fn copies_between_layouts() {
    on_random(60, pairs(), |(one, other)| {
        let (array, from) = one.spread(float);
        let to = DArray::<f64, _>::zeros(other.dims());
        to.copy_from(&from);
        assert_eq!(to.to_array(), array);
        assert!(to == from);
        assert_eq!(from.relaid(other.dims()).layout(), to.layout());
        let twice = array.mapv(|x| 2.0 * x);
        to.copy_from(&twice);
        assert_eq!(to.to_array(), twice);
        assert_eq!(to == from, array.iter().all(|x| *x == 0.0));
    });
    let a = dones(10);
    let b = a.copy();
    b.fill(2.0);
    assert_eq!((a.sum(), b.sum()), (10.0, 20.0), "copies are independent");
}

fn maps() {
    let factor = 1.5;
    on_random(40, plans(), |plan| {
        let (array, spread) = plan.spread(float);
        assert_eq!(spread.map(|x: f64| x * x + 1.0).to_array(), array.mapv(|x| x * x + 1.0));
        let scaled = spread.map(remote!(|x: f64| x * factor));
        assert_eq!(scaled.to_array(), array.mapv(|x| x * factor));
        assert_eq!(spread.map(|x: f64| x.to_string()).to_array(), array.mapv(|x| x.to_string()));
        assert_eq!(spread.map(f64::sin).layout(), spread.layout());
        spread.map_inplace(remote!(|x: f64| x - factor));
        assert_eq!(spread.to_array(), array.mapv(|x| x - factor));
        spread.fill(0.25);
        assert_eq!(spread.to_array(), array.mapv(|_| 0.25));
        let (array, spread) = plan.spread(named);
        let names = spread.map(|one: Named| one.name + "!");
        assert_eq!(names.to_array(), array.mapv(|one| one.name + "!"));
        let twice = spread.map_local(|piece: &ArrayD<Named>| piece.map(|one| 2.0 * one.value));
        assert_eq!(twice.to_array(), array.map(|one| 2.0 * one.value));
    });
    let long = DArray::from_fn(300_000, |i: usize| i as f64);
    assert_eq!(long.map(remote!(|x: f64| x * factor)).sum(), long.map(|x: f64| x * 1.5).sum());
    let pieces = long.map_local(remote!(|piece: Array1<f64>| piece * factor));
    assert_eq!(pieces, long.map(|x: f64| x * 1.5));
    let columns = DArray::from_fn((40, 30), |(i, j): (usize, usize)| i * 100 + j);
    let turned = columns.map_local(|piece: &Array2<usize>| {
        // Column-major results are put in order.
        let mut turned = Array2::zeros((piece.ncols(), piece.nrows()));
        turned.assign(&piece.t());
        turned.reversed_axes()
    });
    assert_eq!(turned, columns);
}

fn several_arrays() {
    on_random(60, pairs(), |(one, other)| {
        let (a, da) = one.spread(float);
        let (b, db) = other.spread(|i| i as i32 - 5);
        let product = |a: &ArrayD<f64>| {
            Array::from_shape_vec(
                a.raw_dim(),
                a.iter().zip(&b).map(|(x, y)| x * f64::from(*y)).collect(),
            )
            .unwrap()
        };
        let f = |x: f64, y: i32| x * f64::from(y);
        let mapped = da.zip_map(&db, f);
        assert_eq!(mapped.layout(), da.layout());
        assert_eq!(mapped.to_array(), product(&a));
        assert_eq!(da.zip_map(&b, f).to_array(), product(&a));
        assert_eq!(da.zip_map(b.view(), f).to_array(), product(&a));
        let shift = 0.5;
        let three =
            da.zip_map3(&db, &a, remote!(|x: f64, y: i32, z: f64| x * f64::from(y) + z + shift));
        assert_eq!(three.to_array(), product(&a) + &a + shift);
        da.zip_inplace(&db, f);
        assert_eq!(da.to_array(), product(&a));
    });
    // One element along a dimension stands for all.
    let a = DArray::from_fn((6, 4), |(i, j): (usize, usize)| 10 * i + j);
    let row = Array2::from_shape_fn((1, 4), |(_, j)| j);
    let column = distribute(&Array2::from_shape_fn((6, 1), |(i, _)| 10 * i));
    let left = a.zip_map3(&row, &column, |x: usize, r: usize, c: usize| x - r - c);
    assert_eq!(left.sum(), 0);
}

fn operators() {
    on_random(40, pairs(), |(one, other)| {
        let ((a, da), (b, db)) = (one.spread(float), other.spread(|i| float(i + 3) + 2.0));
        assert_eq!((&da + &db).to_array(), &a + &b);
        assert_eq!((&da - &b).to_array(), &a - &b);
        assert_eq!((da.clone() * db.clone()).to_array(), &a * &b);
        assert_eq!((&da / &db).to_array(), &a / &b);
        assert_eq!((2.0 - &da * 3.0).to_array(), 2.0 - &a * 3.0);
        assert_eq!((1.0 / (&db + 0.5)).to_array(), 1.0 / (&b + 0.5));
        assert_eq!((-&da).to_array(), -&a);
        let mut c = da.copy();
        c += &db;
        c *= 2.0;
        c -= &b;
        c /= &db;
        assert_eq!(c.to_array(), ((&a + &b) * 2.0 - &b) / &b);
        assert_eq!(da.to_array(), a);
    });
    let counts = DArray::from_fn(7, |i: usize| i as i64);
    assert_eq!((10 * &counts - &counts).sum(), 9 * 21);
}

fn reductions() {
    on_random(60, plans(), |plan| {
        let (array, spread) = plan.spread(|i| (i as i64 * 7919) % 101 - 50);
        assert_eq!(spread.sum(), array.sum());
        assert_eq!(spread.map(|x: i64| 1 + x % 2).product(), array.mapv(|x| 1 + x % 2).product());
        assert_eq!(spread.min(), array.iter().min().copied());
        assert_eq!(spread.max(), array.iter().max().copied());
        assert_eq!(spread.any(|x: i64| x == 3), array.iter().any(|x| *x == 3));
        assert_eq!(spread.all(|x: i64| x > -50), array.iter().all(|x| *x > -50));
        let limit = 10;
        let above = spread.count(remote!(|x: i64| x > limit));
        assert_eq!(above, array.iter().filter(|x| **x > limit).count());
        let squares = spread.map_reduce(|x: i64| x * x, |a: i64, b: i64| a + b, 5);
        assert_eq!(squares, 5 + array.iter().map(|x| x * x).sum::<i64>());
        let (array, spread) = plan.spread(float);
        assert!((spread.sum() - array.sum()).abs() <= 1e-12 * array.len() as f64);
        assert_eq!(spread.sum(), spread.sum(), "the same from run to run");
        assert_eq!(spread.mean().is_none(), array.is_empty());
    });
    // Where only the first dimension is cut, operations need not commute.
    let words = DArray::from_fn(500, |i: usize| i.to_string());
    let joined = words.map_reduce(|w: String| w, |a: String, b: String| a + &b, String::from(">"));
    assert_eq!(joined, (0..500).fold(String::from(">"), |all, i| all + &i.to_string()));
    let nan = dones(100);
    assert_eq!(nan.extrema(), Some((1.0, 1.0)));
    fetch_from!(3, nan.local_part_mut(|mut piece| piece[5] = f64::NAN));
    assert!(nan.min().unwrap().is_nan() && nan.max().unwrap().is_nan());
}

fn axes() {
    on_random(60, (plans(), any::<usize>()), |(plan, axis)| {
        let axis = axis % plan.shape.len();
        let (array, spread) = plan.spread(|i| (i as i64 * 7919) % 101 - 50);
        if array.shape()[axis] == 0 {
            let error = spread.try_reduce_axis(Axis(axis), |a: i64, b: i64| a + b).unwrap_err();
            assert!(error.to_string().contains("no elements"), "{error}");
            return;
        }
        if array.is_empty() {
            return;
        }
        assert_eq!(spread.sum_axis(Axis(axis)).to_array(), array.sum_axis(Axis(axis)));
        let greatest = array.map_axis(Axis(axis), |lane| *lane.iter().max().unwrap());
        assert_eq!(spread.max_axis(Axis(axis)).to_array(), greatest);
        let least = array.map_axis(Axis(axis), |lane| *lane.iter().min().unwrap());
        assert_eq!(spread.min_axis(Axis(axis)).to_array(), least);
        // Neighbours in their order: taking the last one is associative and does not commute.
        let last = spread.reduce_axis(Axis(axis), |_: i64, b: i64| b).to_array();
        assert_eq!(last, array.index_axis(Axis(axis), array.shape()[axis] - 1));
    });
    let a = DArray::from_fn((8, 5), |(i, j): (usize, usize)| (i * 5 + j) as f64);
    assert_eq!(a.mean_axis(Axis(0)).to_array(), a.to_array().mean_axis(Axis(0)).unwrap());
    let error = a.try_reduce_axis(Axis(2), |a: f64, b: f64| a + b).unwrap_err();
    assert!(error.to_string().contains("axis 2 of an array of rank 2"), "{error}");
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * (1.0 + a.abs().max(b.abs()))
}

fn products_and_norms() {
    on_random(60, pairs(), |(one, other)| {
        let ((a, da), (b, db)) = (one.spread(float), other.spread(|i| float(i + 7)));
        let product: f64 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
        assert!(close(da.dot(&db), product) && close(da.dot(&b), product));
        let squares: f64 = a.iter().map(|x| x * x).sum();
        assert!(close(da.norm(), squares.sqrt()));
        assert!(close(da.norm_l1(), a.iter().map(|x| x.abs()).sum()));
        assert_eq!(da.norm_max(), a.iter().fold(0.0, |m, x| x.abs().max(m)));
        db.axpy(0.5, &da);
        assert_eq!(db.to_array(), 0.5 * &a + &b);
        db.scale(2.0);
        assert_eq!(db.to_array(), (0.5 * &a + &b) * 2.0);
        // Whole numbers are the same in any order.
        let (a, da) = one.spread(|i| i as i64 - 40);
        assert_eq!(da.dot(&da), a.iter().map(|x| x * x).sum());
    });
    let tiny = distribute(&ndarray::array![3e-200_f64, 4e-200]);
    assert!((tiny.norm() / 5e-200 - 1.0).abs() < 1e-12);
    assert!(dfill(f64::NAN, 4).norm().is_nan() && dzeros(4).norm() == 0.0);
    assert_eq!(dfill(f64::NEG_INFINITY, 4).norm(), f64::INFINITY);
    assert!(message(dones(4).try_dot(&dones(5))).contains("the shapes 4 and 5"));
}

fn matrix_products() {
    let sizes = (0_usize..12, 0_usize..12, 0_usize..12);
    let plans = sizes
        .prop_flat_map(|(n, k, m)| (layouts(vec![n, k]), layouts(vec![k, m]), layouts(vec![k])));
    on_random(60, plans, |(left, right, vector)| {
        let matrix = |plan: &Plan, first: i64| {
            let (a, d) = plan.spread(|i| (i as i64 * 31 + first) % 17 - 8);
            (a.into_dimensionality::<ndarray::Ix2>().unwrap(), two(&d))
        };
        let ((a, da), (b, db)) = (matrix(&left, 3), matrix(&right, 5));
        assert_eq!(da.matmul(&db).to_array(), a.dot(&b));
        assert_eq!(da.matmul(&b).to_array(), a.dot(&b));
        assert_eq!(da.matmul(&db).layout().cuts()[0], da.layout().cuts()[0]);
        if a.ncols() > 0 && a.nrows() > 0 {
            let x = vector.array(|i| i as i64 - 3).into_dimensionality::<ndarray::Ix1>().unwrap();
            let dx = distribute(&x);
            assert_eq!(da.matvec(&dx).to_array(), a.dot(&x));
            assert_eq!(da.matvec(&x).to_array(), a.dot(&x));
        }
        let factors = Array1::from_iter(0..a.nrows() as i64);
        da.scale_rows(&factors);
        assert_eq!(da.to_array(), &a * &factors.view().insert_axis(Axis(1)));
        let factors = Array1::from_iter(0..b.ncols() as i64);
        db.scale_columns(&factors);
        assert_eq!(db.to_array(), &b * &factors);
    });
    let (a, b) = (drandn((130, 70)), drandn((70, 90)));
    let difference = a.matmul(&b).to_array() - a.to_array().dot(&b.to_array());
    assert!(difference.iter().all(|x| x.abs() < 1e-12), "floats, to rounding");
    let told = message(a.try_matmul(&a));
    assert!(told.contains("matmul: the shapes 130×70 and 130×70"), "{told}");
    let told = message(a.try_matvec(dones(3)));
    assert!(told.contains("matvec: the shapes 130×70 and 3"), "{told}");
}

/// Numbers without a pattern.
fn rough(i: usize) -> f64 {
    ((i * i * 7 + i * 131 + 1) as f64).sin()
}

/// Whether a solution is as accurate as pivoting makes it.
fn solves(a: &Array2<f64>, x: &Array2<f64>, b: &Array2<f64>) -> bool {
    let largest = |array: &Array2<f64>| array.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let scale = largest(a) * largest(x) * a.nrows() as f64 + largest(b);
    largest(&(a.dot(x) - b)) <= 1e-13 * scale
}

fn systems_of_equations() {
    // Sizes of no block, of one and of several.
    let size = prop_oneof![0_usize..40, Just(64), 65_usize..200];
    let plans = (size, 0_usize..9)
        .prop_flat_map(|(n, m)| (layouts(vec![n, n]), layouts(vec![n, m]), layouts(vec![n])));
    on_random(40, plans, |(matrix, several, one)| {
        let (a, da) = matrix.spread(rough);
        let (a, da) = (a.into_dimensionality::<ndarray::Ix2>().unwrap(), two(&da));
        let (b, db) = several.spread(float);
        let db = two(&db);
        let x = da.solve(&db);
        assert_eq!(x.layout(), db.layout());
        let b = b.into_dimensionality().unwrap();
        assert!(solves(&a, &x.to_array(), &b), "{} of {}", b.ncols(), a.nrows());
        assert_eq!(da.solve(&b), x, "bit for bit");
        let b = one.array(float).into_dimensionality::<ndarray::Ix1>().unwrap();
        let x = da.solve(&b);
        assert_eq!(x.layout(), distribute(&b).layout());
        assert!(solves(&a, &x.to_array().insert_axis(Axis(1)), &b.insert_axis(Axis(1))));
        assert_eq!(da.to_array(), a, "the matrix is as it was");
    });
    let a = distribute(&ndarray::array![[0.0_f32, 2.0], [3.0, 0.0]]);
    assert_eq!(a.solve(&ndarray::array![4.0_f32, 6.0]).to_array(), ndarray::array![2.0, 2.0]);
    let a = DArray::from_fn((100, 100), |(i, j): (usize, usize)| {
        if j == 70 { 0.0 } else { ((i * 131 + j * 37 + 1) as f64).sin() }
    });
    let Err(ArrayError::Singular { column, .. }) = a.try_solve(dones(100)) else {
        panic!("a column of zeros")
    };
    assert_eq!(column, 70);
    let told = message(dzeros((4, 4)).try_solve(&Array1::zeros(4)));
    assert!(told.contains("(4×4) is singular: no pivot is left in column 0"), "{told}");
    assert!(message(dones((4, 3)).try_solve(dones(4))).contains("solve: the shapes 4×3 and 4"));
    assert!(message(dones((4, 4)).try_solve(dones(5))).contains("the shapes 4×4 and 5"));
    let eye = distribute(&Array2::<f64>::eye(40));
    assert!(eye.solve(dfill(f64::NAN, 40)).all(f64::is_nan));
}

fn conjugate_gradients_converge() {
    on_random(15, (1_usize..60).prop_flat_map(|n| layouts(vec![n])), |plan| {
        let n = plan.shape[0];
        let root = Array2::from_shape_fn((n, n), |(i, j)| rough(i * n + j));
        let matrix = root.t().dot(&root) + n as f64 * Array2::<f64>::eye(n);
        let spread = distribute(&matrix);
        let (b, _) = plan.spread(float);
        let b = b.into_dimensionality::<ndarray::Ix1>().unwrap();
        let db = distribute_over(&b, dims(n).procs(&[2, 3]));
        let found = conjugate_gradients(|x| spread.matvec(x), &db, 1e-12);
        assert!(found.converged && found.residuals.len() <= n + 10);
        assert!(found.residuals[found.residuals.len() - 1] <= 1e-12 * db.norm());
        assert_eq!(found.solution.layout(), db.layout());
        let difference = matrix.dot(&found.solution.to_array()) - &b;
        assert!(difference.iter().all(|x| x.abs() < 1e-9), "{n}");
        assert_eq!(db.to_array(), b, "the right side is as it was");
    });
    // Of rank 2, and in f32.
    let factors = DArray::from_fn((6, 5), |(i, j): (usize, usize)| (1 + i + j) as f32);
    let found = conjugate_gradients(|x| &factors * x, &factors, 1e-6);
    assert!(found.solution.all(|x: f32| (x - 1.0).abs() < 1e-4));
    let nothing = conjugate_gradients(|x| -x, &dzeros(7), 1e-9);
    assert!(nothing.converged && nothing.solution.sum() == 0.0);
    let told = message(try_conjugate_gradients(|x| -x, &dones(7), 1e-9));
    assert!(told.contains("not positive definite: in step 1") && told.contains("-7e0"), "{told}");
    let told = message(try_conjugate_gradients(|_| dones(3), &dones(7), 1e-9));
    assert!(told.contains("the shapes 7 and 3"), "{told}");
    // Not symmetric, so it does not come to an end.
    let shift = distribute(&ndarray::array![[1.0, 9.0], [-9.0, 1.0]]);
    let told = message(try_conjugate_gradients(|x| shift.matvec(x), &dones(2), 1e-9));
    assert!(told.contains("not converged after 20 steps"), "{told}");
}

fn functions_of_lanes() {
    on_random(60, shapes(1..4).prop_flat_map(layouts), |plan| {
        for axis in 0..plan.shape.len() {
            let (array, spread) = plan.spread(|i| (i * 37 % 101) as i64);
            if plan.shape[axis] == 0 {
                let told = message(spread.try_map_slices(Axis(axis), |lane: Array1<i64>| lane));
                assert!(told.contains(&format!("axis {axis} has no elements")), "{told}");
                continue;
            }
            // Same, shorter and longer lanes.
            let sums = spread.map_slices(Axis(axis), |mut lane: Array1<i64>| {
                lane.accumulate_axis_inplace(Axis(0), |before, x| *x += before);
                lane
            });
            let mut wanted = array.clone();
            wanted.accumulate_axis_inplace(Axis(axis), |before, x| *x += before);
            assert_eq!(sums.to_array(), wanted);
            let first = spread.map_slices(Axis(axis), |lane: Array1<i64>| {
                Array1::from_elem(1, lane.sum() as f64)
            });
            let kept = array.sum_axis(Axis(axis)).mapv(|x| x as f64).insert_axis(Axis(axis));
            if !array.is_empty() {
                assert_eq!(first.to_array(), kept);
            }
            let shift = 5;
            let twice = spread.map_slices(
                Axis(axis),
                remote!(|lane: Array1<i64>| {
                    lane.iter().chain(&lane).map(|x| x + shift).collect::<Array1<i64>>()
                }),
            );
            if !array.is_empty() {
                let both = [array.view(), array.view()];
                assert_eq!(twice.to_array(), ndarray::concatenate(Axis(axis), &both).unwrap() + 5);
                assert_eq!(twice.map(|x: i64| x).shape(), twice.shape());
            }
        }
    });
    let rows = dones(dims((6, 4)).dist(&[3, 1]));
    let same = rows.map_slices(Axis(1), |lane: Array1<f64>| lane);
    assert_eq!(same.layout(), rows.layout(), "nothing is moved");
    let a = DArray::from_fn((4, 4), |(i, _): (usize, usize)| i);
    let told =
        message(a.try_map_slices(Axis(1), |lane: Array1<usize>| Array1::<u8>::zeros(lane[0])));
    assert!(told.contains("map_slices: two lanes: the shapes 0 and"), "{told}");
    assert!(message(a.try_map_slices(Axis(2), |lane: Array1<usize>| lane)).contains("axis 2"));
}

/// A folder that is removed with what is in it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Folder {
        let name = format!("parcell-arrays-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn files_for_numpy() {
    fn there_and_back<T: parcell::arrays::NpyElement + PartialEq + Debug>(
        file: &std::path::Path,
        plan: &Plan,
        element: fn(usize) -> T,
    ) {
        let (array, spread) = plan.spread(element);
        spread.save_npy(file);
        let loaded = DArray::<T, IxDyn>::load_npy(file);
        assert_eq!(loaded.to_array(), array);
        let again: DArray<T, IxDyn> = DArray::load_npy_over(file, plan.dims());
        assert_eq!((again.layout(), again.to_array()), (spread.layout(), array));
    }
    let folder = Folder::new();
    let file = folder.0.join("a.npy");
    on_random(40, plans(), |plan| {
        there_and_back(&file, &plan, float);
        there_and_back(&file, &plan, |i| i as u8);
        there_and_back(&file, &plan, |i| Complex::new(i as f32, -1.0));
        there_and_back(&file, &plan, |i| i % 3 == 0);
    });
    let files = std::fs::read_dir(&folder.0).unwrap().count();
    assert_eq!(files, 1, "nothing but the last file is left");
    // More than one buffer, cut along both dimensions; the bytes are those that numpy writes.
    let large = drand(dims((700, 900)).procs(&[2, 3, 4, 2]).dist(&[2, 2]));
    large.save_npy(&file);
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(bytes.len(), 128 + 8 * 700 * 900);
    let wanted = "{'descr': '<f8', 'fortran_order': False, 'shape': (700, 900), }";
    assert_eq!(bytes[..10], *b"\x93NUMPY\x01\x00\x76\x00");
    assert_eq!(bytes[10..128], *format!("{wanted:<117}\n").as_bytes());
    let elements = bytes[128..].chunks_exact(8).map(|x| f64::from_le_bytes(x.try_into().unwrap()));
    assert!(elements.eq(large.to_array()), "row by row");
    assert_eq!(DArray2::<f64>::load_npy(&file), large);
    unreadable_files(&folder);
}

fn unreadable_files(folder: &Folder) {
    let file = folder.0.join("b.npy");
    dones((3, 4)).save_npy(&file);
    let told = message(DArray2::<f32>::try_load_npy(&file));
    assert!(told.contains("its elements are '<f8', and f32 is '<f4'"), "{told}");
    let told = message(DArray1::<f64>::try_load_npy(&file));
    assert!(told.contains("its shape 3×4 has rank 2, and rank 1 was asked for"), "{told}");
    let told = message(DArray2::<f64>::try_load_npy_over(&file, dims((4, 3))));
    assert!(told.contains("b.npy: the shapes 3×4 and 4×3"), "{told}");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..200]).unwrap();
    let told = message(DArray2::<f64>::try_load_npy(&file));
    assert!(told.contains("it has 200 bytes, and its shape 3×4 needs 224"), "{told}");
    let by_columns = String::from_utf8_lossy(&bytes[10..128]).replace("False", "True ");
    std::fs::write(&file, [&bytes[..10], by_columns.as_bytes(), &bytes[128..]].concat()).unwrap();
    let told = message(DArray2::<f64>::try_load_npy(&file));
    assert!(told.contains("stored by columns"), "{told}");
    std::fs::write(&file, "words").unwrap();
    let told = message(DArray2::<f64>::try_load_npy(&file));
    assert!(told.contains("b.npy: it is not a .npy file"), "{told}");
    let nowhere = folder.0.join("none").join("c.npy");
    assert!(message(DArray2::<f64>::try_load_npy(&nowhere)).contains("No such file"));
    assert!(message(dones(3).try_save_npy(&nowhere)).contains("c.npy: it cannot be made"));
    assert!(message(dones(3).try_save_npy(&folder.0)).contains("this is a folder"));
    let closed = dones(3);
    closed.close();
    assert!(message(closed.try_save_npy(&file)).contains("is closed"));
    assert_eq!(std::fs::read(&file).unwrap(), b"words", "what was there stays");
}

/// The same array with its rank known.
fn two<T: Element>(d: &DArray<T, IxDyn>) -> DArray2<T> {
    let copy = d.slice(s![.., ..]).to_darray();
    copy.relaid(dims((d.shape()[0], d.shape()[1])).layout(d.layout()))
}

fn transposition() {
    on_random(60, plans(), |plan| {
        let (a, da) = plan.spread(float);
        let turned = da.transpose();
        assert_eq!(turned.to_array(), a.t());
        assert_eq!(turned.layout(), &da.layout().transposed());
        let (a, da) = plan.spread(named);
        assert_eq!(da.transpose().to_array(), a.t());
    });
}

fn sorting() {
    let random =
        (prop::collection::vec(-50_i32..50, 0..60), prop::collection::vec(2..=4_usize, 0..9));
    on_random(80, random, |(values, procs)| {
        let array = Array1::from_vec(values.clone());
        let size = dims(values.len());
        let spread =
            distribute_over(&array, if procs.is_empty() { size } else { size.procs(&procs) });
        let mut wanted = values;
        wanted.sort_unstable();
        assert_eq!(spread.sort().to_array().to_vec(), wanted);
        assert_eq!(spread.to_array(), array, "the array itself is as it was");
    });
    for exponent in 0..6 {
        let n = 10_usize.pow(exponent);
        let floats = drandn(n);
        let sorted = floats.sort().to_array();
        let mut wanted = floats.to_array().to_vec();
        wanted.sort_unstable_by(f64::total_cmp);
        assert_eq!(sorted.to_vec(), wanted);
    }
    // Of very uneven ones, and of all the same, some processes get nothing.
    let same = dfill(5, 1000).sort();
    assert_eq!((same.to_array(), same.layout().pieces()), (Array1::from_elem(1000, 5), 1));
    let words = DArray::from_fn(300, |i: usize| (i * 7919 % 300).to_string());
    let mut wanted = words.to_array().to_vec();
    wanted.sort();
    assert_eq!(words.sort().to_array().to_vec(), wanted);
}

/// An array with margins all around, by ndarray.
fn around(array: &ArrayD<i64>, width: usize, boundary: &Boundary<i64>) -> ArrayD<i64> {
    let shape: Vec<usize> = array.shape().iter().map(|extent| extent + 2 * width).collect();
    ArrayD::from_shape_fn(shape, |index| {
        let mut inside = index.clone();
        for axis in 0..array.ndim() {
            let extent = array.shape()[axis] as i64;
            let at = index[axis] as i64 - width as i64;
            inside[axis] = match boundary {
                Boundary::Periodic => at.rem_euclid(extent) as usize,
                Boundary::Nearest => at.clamp(0, extent - 1) as usize,
                Boundary::Value(_) if (0..extent).contains(&at) => at as usize,
                Boundary::Value(_) => usize::MAX,
            };
        }
        match boundary {
            Boundary::Value(value) if ndarray::Dimension::slice(&inside).contains(&usize::MAX) => {
                *value
            }
            _ => array[inside],
        }
    })
}

fn margins() {
    let boundary =
        prop_oneof![Just(Boundary::Periodic), Just(Boundary::Nearest), Just(Boundary::Value(-7))];
    let plans = prop::collection::vec(1_usize..7, 1..4).prop_flat_map(layouts);
    on_random(60, (plans, 0_usize..4, boundary), |(plan, width, boundary)| {
        let (array, spread) = plan.spread(|i| i as i64);
        let halo = spread.with_halo(width, boundary.clone());
        // Each piece becomes the sum of all that its elements see.
        let sums = |padded: &ArrayD<i64>, width: usize| {
            let shape: Vec<usize> =
                padded.shape().iter().map(|extent| extent - 2 * width).collect();
            let windows = padded.windows(vec![2 * width + 1; padded.ndim()]);
            Array::from_shape_vec(shape, windows.into_iter().map(|w| w.sum()).collect()).unwrap()
        };
        let wanted = sums(&around(&array, width, &boundary), width);
        halo.update(remote!(|padded: ArrayD<i64>| {
            let shape: Vec<usize> =
                padded.shape().iter().map(|extent| extent - 2 * width).collect();
            let windows = padded.windows(vec![2 * width + 1; padded.ndim()]);
            Array::from_shape_vec(shape, windows.into_iter().map(|w| w.sum()).collect()).unwrap()
        }));
        assert_eq!(halo.to_darray().to_array(), wanted);
        halo.exchange();
        halo.update(remote!(|padded: ArrayD<i64>| {
            let shape: Vec<usize> =
                padded.shape().iter().map(|extent| extent - 2 * width).collect();
            let windows = padded.windows(vec![2 * width + 1; padded.ndim()]);
            Array::from_shape_vec(shape, windows.into_iter().map(|w| w.sum()).collect()).unwrap()
        }));
        let wanted = sums(&around(&wanted, width, &boundary), width);
        assert_eq!(halo.to_darray().to_array(), wanted);
        assert_eq!(spread.to_array(), array, "the array itself is as it was");
    });
    let empty = dzeros((0, 3)).with_halo(1, Boundary::Nearest);
    empty.exchange();
    empty.update(|u: &Array2<f64>| u.clone());
    assert_eq!(empty.to_darray().shape(), [0, 3]);
    let told =
        message(dones(9).with_halo(1, Boundary::Nearest).try_update(|u: &Array1<f64>| u.clone()));
    assert!(told.contains("the shapes 3 and 5"), "{told}");
}

fn a_stencil() {
    fn step(u: &Array2<f64>) -> Array2<f64> {
        let (n, m) = u.dim();
        let at = |i: usize, j: usize| u.slice(s![i..n - 2 + i, j..m - 2 + j]);
        let around = &at(0, 1) + &at(2, 1) + at(1, 0) + at(1, 2);
        &at(1, 1) + 0.1 * (around - 4.0 * &at(1, 1))
    }
    let start = Array2::from_shape_fn((40, 30), |(i, j)| float(i * 30 + j));
    let mut serial = Array2::zeros((42, 32));
    serial.slice_mut(s![1..-1, 1..-1]).assign(&start);
    for _ in 0..20 {
        let next = step(&serial);
        serial.slice_mut(s![1..-1, 1..-1]).assign(&next);
    }
    for grid in [[3, 1], [1, 3], [1, 1]] {
        let halo =
            distribute_over(&start, dims((40, 30)).dist(&grid)).with_halo(1, Boundary::Value(0.0));
        for _ in 0..20 {
            halo.update(step);
            halo.exchange();
        }
        let wanted = serial.slice(s![1..-1, 1..-1]);
        assert_eq!(halo.to_darray().to_array(), wanted, "bit for bit");
    }
}

fn own_pieces() {
    let a = dzeros((10, 4));
    assert_eq!((a.is_local(), a.local_part().len()), (false, 0));
    for id in a.procs() {
        let (ranges, shape) = fetch_from!(id, (a.local_indices(), a.local_part().shape().to_vec()));
        assert_eq!(ranges.iter().map(ExactSizeIterator::len).collect::<Vec<_>>(), shape);
        fetch_from!(id, a.local_part_mut(|mut piece| piece.fill(myid() as f64)));
    }
    let rows = a.sum_axis(Axis(1)).to_array();
    assert_eq!(rows, ndarray::array![8., 8., 8., 8., 12., 12., 12., 16., 16., 16.]);
    // What was read stays as it was.
    let kept = fetch_from!(2, {
        let before = a.local_part();
        a.local_part_mut(|mut piece| piece.fill(-1.0));
        (before[[0, 0]], a.local_part()[[0, 0]])
    });
    assert_eq!(kept, (2.0, -1.0));
    let again = fetch_from!(2, a.local_part_mut(|_| a.try_local_part().unwrap_err().to_string()));
    assert!(again.contains("this thread uses its value already"), "{again}");
}

fn handles_travel() {
    let a = DArray::from_fn(100, |i: usize| i);
    let (sum, others) = fetch_from!(3, (a.sum(), a.map(|x: usize| x + 1).sum()));
    assert_eq!((sum, others), (4950, 5050));
    // Made by a worker, used by the driver and another worker.
    let made = fetch_from!(2, dfill(3_i32, dims(30)));
    assert_eq!(made.sum(), 90);
    assert_eq!(fetch_from!(4, made.sum()), 90);
    made.close();
    assert!(made.try_to_array().is_err());
    // Inside of what makes another.
    let b = DArray::from_blocks(
        100,
        remote!(|ranges: Vec<Range<usize>>| { a.slice(s![ranges[0].clone()]).to_array() }),
    );
    assert!(a == b);
    let channel = RemoteChannel::new(1, 3);
    channel.put(a.clone());
    drop(a);
    assert_eq!(channel.take().sum(), 4950);
}

fn message<T>(outcome: Result<T, ArrayError>) -> String {
    outcome.err().expect("an error").to_string()
}

fn errors() {
    let (a, b) = (dones((4, 3)), dones((3, 4)));
    let told = message(a.try_zip_map(&b, |x: f64, y: f64| x + y));
    assert!(told.contains("4×3") && told.contains("3×4"), "{told}");
    let panicked = catch_unwind(AssertUnwindSafe(|| &a + &b)).unwrap_err();
    let panicked = panicked.downcast_ref::<ArrayError>().expect("the error itself").to_string();
    assert!(panicked.contains("+: the shapes 4×3 and 3×4 do not fit"), "{panicked}");
    let told = message(try_distribute_over(&Array1::<f64>::zeros(4), dims(5)));
    assert!(told.contains('4') && told.contains('5'), "{told}");
    let told = message(DArray::try_filled(0, dims(5).procs(&[2, 9])));
    assert!(told.contains("there is no process 9"), "{told}");
    assert!(message(DArray::try_filled(0, dims(5).procs(&[]))).contains("no process"));
    let told = message(a.try_get([0, 0]));
    assert!(told.contains("switched off") && told.contains("local_part()"), "{told}");
    allow_scalar(true);
    assert_eq!((a.get([3, 2]), fetch_from!(3, a.get([0, 0]))), (1.0, 1.0));
    let told = message(a.try_get([4, 0]));
    assert!(told.contains("[4, 0] is outside") && told.contains("4×3"), "{told}");
    allow_scalar(false);
    let told = message(a.try_map(|x: f64| {
        assert!(x < 0.0, "not negative: {x}");
        x
    }));
    assert!(told.contains("not negative: 1"), "{told}");
    let wrong = |_: Vec<Range<usize>>| Array1::<f64>::zeros(3);
    assert!(message(DArray::try_from_blocks(30, wrong)).contains("the shapes 10 and 3"));
    assert_eq!(a.sum(), 12.0, "the arrays are as they were");
}

fn an_interrupt() {
    let a = dones(64);
    let begun = RemoteChannel::new(1000, 1);
    let endless = remote!(|x: f64| {
        begun.put(());
        loop {
            interrupt::check();
            if x < 0.0 {
                break x;
            }
        }
    });
    std::thread::scope(|scope| {
        let mapping = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| a.map(endless))));
        begun.take();
        interrupt::raise();
        let unwound = mapping.join().expect("the panic was caught").unwrap_err();
        interrupt::clear();
        assert!(unwound.is::<Interrupted>());
    });
    assert_eq!(a.map(|x: f64| x + 1.0).sum(), 128.0, "the workers go on");
}

fn a_closed_array() {
    let a = dzeros(10);
    let b = a.clone();
    let there = spawn_at!(2, a.clone()).fetch();
    a.close();
    a.close();
    for closed in [&a, &b] {
        assert!(message(closed.try_to_array()).contains("is closed"));
        assert!(message(closed.try_sum()).contains("(10) is closed"));
    }
    assert!(timedwait(|| census().values().all(|held| held.locals == 0), 20), "freed at once");
    assert!(message(there.try_sum()).contains("is closed"));
}

fn a_dead_worker() {
    let doomed = addprocs(1)[0];
    let a = DArray::from_fn(dims((9, 4)).procs(&[2, doomed, 3]), |(i, j): (usize, usize)| {
        (10 * i + j) as f64
    });
    drop(spawn_at!(
        doomed,
        if myid() > 1 {
            std::process::abort()
        }
    ));
    let Err(ArrayError::Lost(lost)) = a.try_sum() else { panic!("a piece is gone") };
    assert_eq!((lost.piece, lost.worker), (1, doomed));
    assert_eq!(lost.ranges, [3..6, 0..4]);
    assert_eq!(lost.left, [(0, 2), (2, 3)]);
    let told = lost.to_string();
    assert!(told.contains("(9×4)") && told.contains("12 elements [3..6, 0..4]"), "{told}");
    assert_eq!(a.slice(s![..3, ..]).to_array()[[2, 3]], 23.0, "the others can be read");
    assert!(matches!(a.slice(s![2..4, ..]).try_to_array(), Err(ArrayError::Lost(_))));
    // A worker that needs a piece of the dead one says the same.
    let b = dzeros(dims((9, 4)).procs(&[2, 3]));
    let told = message(b.try_copy_from(&a));
    assert!(told.contains("(9×4): piece 1") && told.contains("is lost"), "{told}");
}
