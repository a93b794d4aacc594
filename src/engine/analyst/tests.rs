//! Completion and inspection without rust-analyzer's process.

use std::sync::Arc;

use super::known::tests::library;
use super::known::{Known, Running};
use super::offers::View;
use crate::engine::{Outline, Variable};

const ITEMS: &str = "/// A point in the plane.\n#[derive(Debug, Clone)]\nstruct Point { x: f64, y: f64 }\n\
    impl Point {\n    /// At zero.\n    fn origin() -> Self { Point { x: 0., y: 0. } }\n    \
    fn norm(&self) -> f64 { self.x.hypot(self.y) }\n}\n\
    struct Wrapped<T> { inner: T }\n\
    enum Colour { Red, Green(u8) }\n\
    trait Area { fn area(&self) -> f64 { 0. } }\n\
    impl Area for Point {}\n\
    type Grid = Vec<Vec<Point>>;\n\
    mod geometry { pub fn distance() -> f64 { 0. } pub struct Line; }\n\
    fn nearest(all: &[Point], to: &Point) -> Option<Point> { None }\n\
    static LIMIT: usize = 3;\n\
    macro_rules! square { ($x:expr) => { $x * $x } }";

fn known() -> Known {
    let variable = |(name, type_name): (&str, &str)| Variable {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        mutable: false,
        place: parcell_link::Place::default(),
    };
    let variables = [
        ("p", "Point"),
        ("points", "std::vec::Vec<Point>"),
        ("grid", "Grid"),
        ("boxed", "Box<dyn Area>"),
        ("wrapped", "Wrapped<Point>"),
        ("table", "std::collections::HashMap<String, Point>"),
    ];
    let outline = Outline {
        items: ITEMS.to_owned(),
        variables: variables.map(variable).to_vec(),
        ..Outline::default()
    };
    Known::new(Arc::new(outline), library())
}

/// The offers at `|`.
fn offers_with(running: Option<&Running>, marked: &str) -> Vec<String> {
    let position = marked.find('|').unwrap();
    let code = marked.replacen('|', "", 1);
    let known = known();
    let view = View::at(&code, position, Some(&known), running);
    view.offers().into_iter().map(|offer| offer.text).collect()
}

fn offers(marked: &str) -> Vec<String> {
    offers_with(None, marked)
}

#[track_caller]
fn offered(marked: &str, name: &str) {
    let all = offers(marked);
    assert!(all.iter().any(|offer| offer == name), "{marked}: {all:?}");
}

#[test]
fn the_sessions_names_come_first() {
    assert_eq!(offers("let a = po|")[0], "points");
    assert_eq!(offers("let a = ne|")[0], "nearest");
    offered("squ|", "square!");
    offered("LI|", "LIMIT");
    offered("prin|", "println!");
    offered("let n = nthr|", "nthreads");
    offered("use ray|", "rayon");
    offered("let a: us|", "usize");
    assert!(offers("fn ne|").is_empty() && offers("// po|").is_empty());
}

#[test]
fn fields_and_methods_of_the_sessions_types_are_offered() {
    assert_eq!(offers("p.|")[..2], ["x", "y"]);
    for marked in ["p.|", "grid[0][1].|", "(&p).|", "Point::origin().|", "wrapped.inner.|"] {
        for name in ["x", "norm", "area", "clone"] {
            offered(marked, name);
        }
    }
    offered("points.iter().next().unwrap().no|", "norm");
    offered("nearest(&points, &p).unwrap().no|", "norm");
    offered("table[\"a\"].no|", "norm");
    offered("table.get(\"a\").unwrap().no|", "norm");
    offered("boxed.ar|", "area");
    assert!(!offers("p.|").contains(&"origin".to_owned()));
}

#[test]
fn paths_lead_to_variants_functions_and_modules() {
    assert_eq!(offers("Colour::|"), ["Red", "Green"]);
    offered("Point::|", "origin");
    offered("Point::|", "norm");
    offered("geometry::|", "distance");
    offered("String::wi|", "with_capacity");
    offered("std::collections::Ha|", "HashMap");
    offered("let g = Grid::ne|", "new");
}

#[test]
fn what_the_cell_itself_defines_is_known() {
    let cell = "struct A { abscissa: f64 }\nlet a = A { abscissa: 1. };\na.absc|\nlet q = 2;";
    assert_eq!(offers(cell), ["abscissa"]);
    offered("let s = \"e\u{301}\u{1f600}\".to_string(); s.to_upperc|", "to_uppercase");
    offered("let text = String::from(\"a\"); text.to_lowerc|", "to_lowercase");
    offered("for q in &points { q.no|", "norm");
    offered("for q in &points {\n    if q.no|\n}", "norm");
    offered("fn f<T: Area>(it: &T) -> f64 { it.ar|", "area");
    offered("impl Point { fn twice(&self) -> f64 { self.no| } }", "norm");
    offered("if let Some(near) = nearest(&points, &p) { near.no|", "norm");
    offered("let Point { x, .. } = p; x.sq|", "sqrt");
    offered("let counter = 1;\nprintln!(\"{coun|}\");", "counter");
    offered("let v = vec![1]; v.par_it|", "par_iter");
    offered("(0..10).into_par|", "into_par_iter");
    offered("let n: f64 = 2.; n.sq|", "sqrt");
    offered("#[derive(De|", "Debug");
    offered("use std::collections::{BTreeMap, Ha|", "HashMap");
    assert_eq!(offers("let q = Point { x: 1., |"), ["x", "y"]);
    offered("let q = Point { x: po|", "points");
}

#[test]
fn what_the_running_cell_defines_is_known() {
    let running = Running::new("fn helper() -> Point { p }\nlet mut sum = Point::origin();");
    let offers = |marked| offers_with(Some(&running), marked);
    assert_eq!(offers("help|"), ["helper"]);
    assert_eq!(offers("sum.no|"), ["norm"]);
    assert_eq!(offers("helper().no|"), ["norm"]);
}

/// The tooltip of the name before `|`.
fn described(marked: &str, detail: u8) -> Option<String> {
    let position = marked.find('|').unwrap();
    let code = marked.replacen('|', "", 1);
    let known = known();
    let bundle = View::at(&code, position, Some(&known), None).describe(detail)?;
    bundle.get("text/plain").map(str::to_owned)
}

#[test]
fn tooltips_tell_what_the_session_knows() {
    assert_eq!(described("points|", 0).unwrap(), "let points: Vec<Point>");
    let point = described("let q: Point|", 0).unwrap();
    assert_eq!(point, "struct Point { x: f64, y: f64 }\n\nA point in the plane.");
    let origin = described("Point::origin|", 0).unwrap();
    assert_eq!(origin, "// in Point\nfn origin() -> Self\n\nAt zero.");
    assert!(described("p.norm|", 1).unwrap().contains("hypot"));
    assert_eq!(described("p.x|", 0).unwrap(), "// in Point\nx: f64");
    assert!(described("square|", 0).unwrap().contains("macro_rules! square"));
    assert_eq!(described("let c = Colour::Green|", 0).unwrap(), "// in Colour\nGreen(u8)");
    for unknown in ["String::new|", "println|", "nothing|", "points.len|", "points.iter().map(|"] {
        assert_eq!(described(unknown, 0), None, "{unknown}");
    }
    // A parameter hides the session's variable.
    assert_eq!(described("fn f(points: i32) -> i32 { points| }", 0), None);
}
