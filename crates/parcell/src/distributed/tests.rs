use crate::prelude::*;

fn slow<T: Into<f64>>(x: T) -> f64 {
    x.into() + 0.5
}

#[test]
fn variables_are_captured_by_value() {
    let n = 5;
    let mut v = vec![1, 2];
    let f = |x: i32| x + 1;
    let r = spawn_at!(2, {
        v.push(f(n));
        v.iter().sum::<i32>() as f64 + slow(n) + slow(1.0_f32)
    });
    v.push(0);
    assert_eq!(r.fetch(), 9.0 + 5.5 + 1.5);
    let total = distributed!(+, for i in 0..10 { i * n });
    assert_eq!(total, 225);
    let g = remote!(|x: f64| x * n as f64);
    assert_eq!(g.call((2.0,)), 10.0);
}
