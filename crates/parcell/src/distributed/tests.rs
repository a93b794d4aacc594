//! The macros with the stub of `rt`: everything but the sending is real.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::prelude::*;

fn slow<T: Into<f64>>(x: T) -> f64 {
    x.into() + 0.5
}

fn length<T: AsRef<[f64]>>(values: T) -> usize {
    values.as_ref().len()
}

fn factorial(n: u64) -> u64 {
    if n < 2 { 1 } else { n * factorial(n - 1) }
}

fn apply<A, R>(function: impl Fn(A) -> R, argument: A) -> R {
    function(argument)
}

fn first<'a>(text: &'a str, _: &str) -> &'a str {
    &text[..1]
}

/// # Safety
/// None is needed.
unsafe fn twice(n: i32) -> i32 {
    2 * n
}

#[test]
fn variables_are_captured_by_value() {
    let n = 5;
    let mut v = vec![1, 2];
    let r = spawn_at!(2, {
        v.push(n);
        v.iter().sum::<i32>()
    });
    v.push(0);
    assert_eq!(r.fetch(), 8);
    assert_eq!((v, n), (vec![1, 2, 0], 5));
}

#[test]
fn types_are_inferred_as_in_a_closure() {
    let (n, x) = (200, 0.5);
    let empty = Vec::new();
    let sum = fetch_from!(any, {
        empty.push(1_u8);
        n + empty[0]
    });
    assert_eq!(sum, 201_u8);
    let single: f32 = fetch_from!(2, x + 1.0);
    assert_eq!(single, 1.5);
}

#[test]
fn functions_need_no_capture() {
    let plain = |x: f64| x + 1.0;
    let values = vec![1.0, 2.0];
    assert_eq!(fetch_from!(2, slow(1_u8) + slow(1.0_f32)), 3.0);
    assert_eq!(fetch_from!(2, factorial(5)), 120);
    assert_eq!(fetch_from!(2, plain(plain(1.0))), 3.0);
    assert_eq!(fetch_from!(2, apply(plain, 1.0) + apply(slow, 1.0)), 3.5);
    assert_eq!(fetch_from!(2, values.iter().copied().map(plain).map(slow).sum::<f64>()), 6.0);
    assert_eq!(fetch_from!(2, first("abc", "d").to_owned()), "a");
    // SAFETY: the function needs none.
    assert_eq!(fetch_from!(2, unsafe { twice(4) }), 8);
    let one = Some(1);
    assert_eq!(fetch_from!(2, one.map(Some)), Some(Some(1)));
    // A generic function that is called with a reference to what the expression made itself.
    let count = fetch_from!(2, {
        let own = vec![1.0; 3];
        length(&own) + length(&values)
    });
    assert_eq!(count, 5);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[test]
fn any_portable_type_is_captured() {
    let (x, name) = (1.5, String::from("p"));
    let point = Point { x, y: 2.0 };
    let named = BTreeMap::from([(name.clone(), vec![Some(point.clone())])]);
    let moved = fetch_from!(2, {
        let Point { y, .. } = point;
        (Point { x, y }, named, format!("{name} at {x:.1}"))
    });
    assert_eq!(moved.0, point);
    assert_eq!(moved.1["p"][0].as_ref(), Some(&point));
    assert_eq!(moved.2, "p at 1.5");
}

/// A value that counts how often it is copied.
#[derive(Serialize, Deserialize)]
struct Large(Vec<u8>);

static COPIES: AtomicUsize = AtomicUsize::new(0);

impl Clone for Large {
    fn clone(&self) -> Large {
        COPIES.fetch_add(1, Ordering::Relaxed);
        Large(self.0.clone())
    }
}

#[test]
fn a_capture_is_written_from_where_it_is() {
    let large = Large(vec![1; 1000]);
    assert_eq!(fetch_from!(2, large.0.len()), 1000);
    assert_eq!(large.clone().0.len(), 1000);
    assert_eq!(COPIES.load(Ordering::Relaxed), 1);
}

#[test]
fn generic_functions_capture_what_is_portable() {
    fn doubled<T: crate::distributed::stub::Portable + Clone>(x: &T) -> Vec<T> {
        let x = x.clone();
        fetch_from!(2, vec![x.clone(), x])
    }
    assert_eq!(doubled(&"a".to_owned()), ["a", "a"]);
}

#[test]
fn the_target_is_evaluated_once_before_the_captures() {
    let mut order = vec![];
    let seen = fetch_from!(
        {
            order.push(2);
            order[0]
        },
        order.len()
    );
    assert_eq!((seen, order.len()), (1, 1));
}

#[test]
fn a_question_mark_and_a_return_leave_the_expression() {
    let text = "12x".to_owned();
    let parsed: Result<i32, String> = fetch_from!(2, {
        let n: i32 = text.parse().map_err(|_| format!("{text} is no number"))?;
        Ok(n)
    });
    assert_eq!(parsed, Err("12x is no number".to_owned()));
    let early = fetch_from!(2, {
        if text.len() == 3 {
            return 1;
        }
        2
    });
    assert_eq!(early, 1);
}

#[test]
fn everywhere_gives_all_values() {
    let n = 3;
    assert_eq!(everywhere!(n + 1), [4]);
    assert_eq!(everywhere!(&[2, 3], n + 1), [4, 4]);
    assert_eq!(everywhere!(vec![2], { n }), [3]);
}

#[test]
fn remote_functions_have_up_to_four_arguments() {
    let n = 2.0;
    let zero = remote!(|| n);
    let one = remote!(|x: f64| x * n);
    let two = remote!(move |x: f64, (y, z): (f64, f64)| -> f64 { x + y * z + n });
    let four = remote!(|a: u8, b: u8, c: u8, d: u8| [d, c, b, a]);
    assert_eq!((zero.call(()), one.call((3.0,)), two.call((1.0, (2.0, 3.0)))), (2.0, 6.0, 9.0));
    assert_eq!(four.clone().call((1, 2, 3, 4)), [4, 3, 2, 1]);
    let plain = |x: i32| x + 1;
    assert_eq!(remote!(factorial).call((5,)), 120);
    assert_eq!(remote!(plain).call((5,)), 6);
    assert_eq!(remote!(f64::powi).call((2.0, 3)), 8.0);
    assert_eq!(remote!(slow::<u8>).call((2,)), 2.5);
}

#[test]
fn loops_are_reduced_in_order() {
    let n = 2;
    assert_eq!(distributed!(+, for i in 0..10 { i * n }), 90);
    assert_eq!(distributed!(*, for i in 1..=5_u64 { i }), 120);
    assert_eq!(
        distributed!(
            max,
            for x in [1.0, 3.0, 2.0] {
                x
            }
        ),
        3.0
    );
    assert_eq!(
        distributed!(
            min,
            for x in vec![4, 3, 5] {
                x
            }
        ),
        3
    );
    assert!(distributed!(|, for i in 0..9 { i == 5 }));
    assert_eq!(distributed!(&, for i in [7, 6] { i }), 6);
    assert_eq!(distributed!(^, for i in [7, 6] { i }), 1);
    let joined = distributed!(
        |a: String, b: String| a + &b,
        for i in 0..10 {
            i.to_string()
        }
    );
    assert_eq!(joined, "0123456789");
    let join = |a: Vec<i32>, b: Vec<i32>| [a, b].concat();
    assert_eq!(
        distributed!(
            join,
            for i in 0..4 {
                vec![i; n]
            }
        ),
        [0, 0, 1, 1, 2, 2, 3, 3]
    );
    assert_eq!(
        distributed!(
            f64::max,
            for (i, x) in [(1, 0.5), (2, 0.25)] {
                i as f64 * x
            }
        ),
        0.5
    );
}

#[test]
fn options_of_loops_are_evaluated_here() {
    let (n, mut made) = (3, 0);
    let total = distributed!(
        schedule = Schedule::Dynamic,
        +,
        chunk = {
            made += 1;
            n
        },
        init = 100,
        pool = &made,
        for i in 0..n { i }
    );
    assert_eq!(total, 103);
    assert_eq!(distributed!(+, init = 7, for i in 0..0 { i }), 7);
    distributed!(for i in 0..n {
        assert!(i < n)
    });
    distributed!(
        chunk = 2,
        for (i, name) in [(0, "a"), (1, "b")] {
            assert_eq!(i, name.len() - 1 + i)
        }
    );
}

#[test]
fn not_a_number_is_neither_larger_nor_smaller() {
    let values = [1.0, f64::NAN, 3.0];
    assert!(
        distributed!(
            max,
            for x in values {
                x
            }
        )
        .is_nan()
    );
    assert!(
        distributed!(
            min,
            for x in values {
                x
            }
        )
        .is_nan()
    );
}

#[test]
fn calls_may_be_nested() {
    let (n, k) = (3, 4);
    assert_eq!(fetch_from!(2, fetch_from!(any, n + 1) + k), 8);
    assert_eq!(fetch_from!(2, distributed!(+, for i in 0..n { i * k })), 12);
    let f = fetch_from!(2, remote!(|x: i32| x + n).call((k,)));
    assert_eq!(f, 7);
}

#[test]
#[should_panic(expected = "a panic is no value")]
fn an_expression_may_have_no_value() {
    fetch_from!(2, panic!("a panic is no value"));
}

#[test]
#[should_panic(expected = "`unsendable` cannot be written for another process")]
fn a_capture_that_cannot_be_written_is_named() {
    struct Unsendable;
    impl Serialize for Unsendable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    impl<'de> Deserialize<'de> for Unsendable {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Unsendable, D::Error> {
            Ok(Unsendable)
        }
    }
    let unsendable = Unsendable;
    fetch_from!(2, size_of_val(&unsendable));
}
