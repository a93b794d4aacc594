//! A table of expressions and the names that they capture and call.

use super::*;

/// Captured names, then called ones after `/`, as text.
fn found(code: &str) -> String {
    let mut expression: Expr = syn::parse_str(code).unwrap_or_else(|e| panic!("{code}: {e}"));
    let found = captures(&mut expression);
    let join = |names: &[Ident]| names.iter().map(Ident::to_string).collect::<Vec<_>>().join(" ");
    let errors = if found.errors.is_empty() { "" } else { "!" };
    match (join(&found.captured), join(&found.called)) {
        (captured, called) if called.is_empty() => errors.to_owned() + &captured,
        (captured, called) => format!("{errors}{captured} / {called}").trim_start().to_owned(),
    }
}

fn check(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter(|(code, expected)| found(code) != *expected)
        .map(|(code, expected)| format!("{code}\n    {:?}, expected {expected:?}", found(code)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_in_expressions() {
    check(&[
        ("1 + 2", ""),
        ("n", "n"),
        ("(n)", "n"),
        ("n + m * n", "n m"),
        ("-n", "n"),
        ("!flag && other", "flag other"),
        ("&n", "n"),
        ("&mut v", "v"),
        ("&raw const v", "v"),
        ("*pointer", "pointer"),
        ("a[i]", "a i"),
        ("a[i..j]", "a i j"),
        ("a[..]", "a"),
        ("lo..=hi", "lo hi"),
        ("p.x", "p"),
        ("p.0.1", "p"),
        ("v.len()", "v"),
        ("v.iter().zip(w.iter())", "v w"),
        ("n as f64", "n"),
        ("(a, b)", "a b"),
        ("[a, b]", "a b"),
        ("[x; N]", "x"),
        ("[x; n]", "x"),
        ("P { x: a, y }", "a y"),
        ("P { x, ..rest }", "x rest"),
        ("m::P { x }", "x"),
        ("x = y", "x y"),
        ("x += y", "x y"),
        ("(a, _) = pair", "a pair"),
        ("work()?", "/ work"),
        ("x?", "x"),
        ("future.await", "future"),
        ("_hidden", "_hidden"),
        ("r#type", "r#type"),
        ("größe + 數", "größe 數"),
        ("return n", "n"),
    ]);
}

#[test]
fn names_that_are_no_variables() {
    check(&[
        ("N", ""),
        ("LIMIT + n", "n"),
        ("_N", ""),
        ("None", ""),
        ("Some(n)", "n"),
        ("Wrapper(n)", "n"),
        ("Vec::new()", ""),
        ("Self::new()", ""),
        ("f64::sqrt(x)", "x"),
        ("std::f64::consts::PI", ""),
        ("module::value", ""),
        ("<T as Trait>::call(x)", "x"),
        ("size_of::<T>()", ""),
        ("make::<f64>(n)", "n"),
        ("v.iter().sum::<f64>()", "v"),
        ("S { length: 1 }", ""),
        ("'n'", ""),
        ("\"{n}\"", ""),
        ("Shape::Circle { radius }", "radius"),
        ("self.x + 1", "!"),
        ("self", "!"),
    ]);
}

#[test]
fn called_names() {
    check(&[
        ("slow(n)", "n / slow"),
        ("slow(slow(n))", "n / slow"),
        ("slow(n) + fast(n)", "n / slow fast"),
        ("(slow)(n)", "n / slow"),
        ("(s.f)(n)", "s n"),
        ("table[0](n)", "table n"),
        ("v.iter().map(slow).sum::<f64>()", "v / slow"),
        ("v.iter().map(|x| slow(*x))", "v / slow"),
        ("v.iter().fold(0.0, add)", "v / add"),
        ("v.iter().fold(start, add)", "v start / add"),
        ("pmap(slow, items)", "slow items / pmap"),
        ("v.iter().map(Some)", "v"),
        ("v.push(slow)", "v slow"),
        ("{ fn slow() {} slow() }", ""),
        ("{ let slow = |x| x + n; slow(1) }", "n"),
        ("{ use m::slow; slow() }", ""),
        ("{ use m::fast as slow; slow() + fast() }", "/ fast"),
        ("unsafe { danger(p) }", "p / danger"),
    ]);
}

#[test]
fn scopes() {
    check(&[
        ("{ let a = n; a + b }", "n b"),
        ("{ let a = a; a }", "a"),
        ("{ a; let a = 1; a }", "a"),
        ("{ { let a = 1; } a }", "a"),
        ("{ let (a, B { c, d: e }) = t; a + c + d + e }", "t d"),
        ("{ let [first, .., last] = v; first + last + middle }", "v middle"),
        ("{ let a @ Some(b) = o else { return c }; a; b }", "o c"),
        ("{ let Some(a) = o else { return a }; a }", "o a"),
        ("{ let a: [f64; N] = b; a }", "b"),
        ("{ let ref a = b; let mut c = 1; c += 1; a }", "b"),
        ("|x| x + n", "n"),
        ("|x: f64, (y, z)| x + y + z + w", "w"),
        ("|&x| x", ""),
        ("move || n", "n"),
        ("(|x| x)(x)", "x"),
        ("match o { Some(a) => a, None => b }", "o b"),
        ("match o { Some(a) if a > n => a, a => c }", "o n c"),
        ("match o { Ok(a) | Err(a) => a }", "o"),
        ("match n { 0..=9 => a, LIMIT => b, _ => c }", "n a b c"),
        ("match n { x @ 1..=5 => x, y => y }", "n"),
        ("match o { Some(a) if let Some(b) = f(a) => b, _ => b }", "o b / f"),
        ("if let Some(a) = o { a } else { a }", "o a"),
        ("if let Some(a) = o && let Some(b) = a && b > n { b } else { b }", "o n b"),
        ("if n > 0 { a } else if m > 0 { b } else { c }", "n a m b c"),
        ("while let Some(a) = stack.pop() { a; b }", "stack b"),
        ("while n > 0 { n -= 1 }", "n"),
        ("for i in 0..n { i + j }", "n j"),
        ("for i in i { i }", "i"),
        ("for (i, x) in v.iter().enumerate() { i + x }", "v"),
        ("'outer: loop { break 'outer n }", "n"),
        ("'block: { break 'block n }", "n"),
        ("{ const n: i32 = 1; n }", ""),
        ("{ static n: i32 = 1; n + m }", "m"),
        ("{ n; const n: i32 = 1; }", ""),
        ("{ fn inner(x: i32) -> i32 { x + y } inner(n) }", "n"),
        ("{ struct S; impl S { fn f(&self) { self; x } } S }", ""),
        ("async { a.await + b }", "a b"),
        ("async move { let a = 1; a + b }", "b"),
        ("async |x| x + n", "n"),
        ("unsafe { *p }", "p"),
        ("const { n }", ""),
        ("{ let f = |x| x + k; v.iter().map(f) }", "k v"),
    ]);
}

#[test]
fn names_in_macros() {
    check(&[
        ("println!(\"{x} {y:?} {0:>width$}\", z)", "x y width z"),
        ("println!(\"{x}\", x = a)", "a"),
        ("println!(\"{{x}}\")", ""),
        ("println!(\"{} {}\", \"{x}\", y)", "y"),
        ("format!(\"{x:.p$}\")", "x p"),
        ("write!(out, \"{x}\")", "out x"),
        ("writeln!(out, \"{x}\")", "out x"),
        ("panic!(\"{x}\")", "x"),
        ("assert!(a > b, \"{c}\")", "a b c"),
        ("assert_eq!(a, \"{b}\", \"{c}\")", "a c"),
        ("vec![a, b]", "a b"),
        ("vec![x; n]", "x n"),
        ("vec![]", ""),
        ("dbg!(x)", "x"),
        ("matches!(o, Some(a) if a > n)", "o n"),
        ("matches!(o, A | B)", "o"),
        ("stringify!(x)", ""),
        ("concat!(\"a\", \"{x}\")", ""),
        ("line!()", ""),
        ("env!(\"{x}\")", ""),
        ("array![[a, 1.0], [2.0, b]]", "a b"),
        ("s![.., i..j]", "i j"),
        ("s![1..; 2, n]", "n"),
        ("hashmap! { a => b, \"c\" => d }", "a b d"),
        ("json!({ \"a\": x, \"b\": [y, 1] })", "x y"),
        ("config! { a: x, b: f64 }", "x"),
        ("sql!(select name from table where id == x)", ""),
        ("with! { let a = n; a + b }", "n b"),
        ("{ let a = 1; println!(\"{a} {b}\") }", "b"),
        ("{ println!(\"{a}\"); let a = 1; }", "a"),
        ("println!(\"{}\", slow(n))", "n / slow"),
        ("fetch_from!(any, x + y)", "x y"),
        ("parcell::spawn_at!(w, x + y)", "w x y"),
        ("remote!(|x| x + n)", "n"),
        ("distributed!(+, for i in 0..n { i * k })", "n k"),
        ("distributed!(max, init = a, chunk = c, for (i, j) in v { i + j + k })", "c a v k"),
        ("log!(\"{x}\")", "x"),
        ("log!(target: name, \"{} {}\", x, y)", "name x y"),
    ]);
}

#[test]
fn what_never_has_a_value() {
    for code in ["panic!()", "{ f(); panic!() }", "{ todo!(); }", "std::process::exit(1)"] {
        assert!(diverges(&syn::parse_str(code).unwrap()), "{code}");
    }
    for code in ["f()", "{ panic!(); f() }", "exit", "{ }"] {
        assert!(!diverges(&syn::parse_str(code).unwrap()), "{code}");
    }
}

#[test]
fn only_the_first_call_is_checked_and_none_in_unsafe_blocks() {
    let checks = |code: &str| {
        let mut expression = syn::parse_str(code).unwrap();
        captures(&mut expression);
        quote::quote!(#expression).to_string().matches("fn (").count()
    };
    assert_eq!(checks("f(1) + f(2) + g(3, 4)"), 2);
    assert_eq!(checks("unsafe { f(1) }"), 0);
    assert_eq!(checks("f::<i32>(1) + Some(2) + m::f(3)"), 0);
    assert_eq!(checks("println!(\"{}\", f(1))"), 1);
}
