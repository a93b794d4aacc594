//! How the value of a cell's last expression is shown, whatever its type. Called by generated
//! code through the crate's macros; names and shapes change with it.
//!
//! The macros choose among several implementations by method lookup: a method on `&&Probe` is
//! found before one on `&Probe`, and one whose bounds do not hold is passed over. So each trait
//! below stands one reference higher than the next best.

use std::any::type_name;
use std::fmt::{Debug, Display};

use parcell_link::Publication;

use super::{Bundle, Rich, Table, bounded, evcxr};
use crate::link;

/// Shows the value of a variable as the cell's result.
#[doc(hidden)]
#[macro_export]
macro_rules! __show_result {
    ($value:ident) => {
        $crate::display::result::show_result($crate::__bundle!($value))
    };
}

/// The representations of a variable of any type.
#[doc(hidden)]
#[macro_export]
macro_rules! __bundle {
    ($value:ident) => {{
        #[allow(unused_imports)]
        use $crate::display::result::{
            Peel as _, PeelNothing as _, ViaBoth as _, ViaDebug as _, ViaDisplay as _,
            ViaName as _, ViaRich as _, ViaSlice as _, WithoutEvcxr as _,
        };
        let value = &$value;
        match $crate::display::result::evcxr(|| {
            value.__parcell_peel().__parcell_peel().evcxr_display()
        }) {
            Some(bundle) => bundle,
            None => (&&&&&&$crate::display::result::Probe(value)).__parcell_bundle(),
        }
    }};
}

/// Shows a value of any type as an output of its own, the way the value of a cell's last
/// expression is shown: rich types as themselves, lists of structs and matrices as tables, others
/// by `Debug` or `Display`. Returns a [`DisplayHandle`](crate::display::DisplayHandle).
///
/// ```
/// use parcell::prelude::*;
///
/// let points = vec![(1, 2.0), (2, 4.0)];
/// show!(points);
/// show!(Some("any") );
/// ```
#[macro_export]
macro_rules! show {
    ($value:expr $(,)?) => {
        match &$value {
            value => $crate::display::show::<$crate::display::Bundle>(&$crate::__bundle!(value)),
        }
    };
}

/// Publishes the result of a cell; an empty bundle shows nothing.
pub fn show_result(bundle: Bundle) {
    if !bundle.data.is_empty() {
        link::publish(Publication::Result { bundle });
    }
}

/// Returned in place of what `evcxr_display` returns where a type has no such method.
#[derive(Debug)]
pub struct Missing;

/// Calls `evcxr_display` and catches its pictures, unless the type has no such method.
pub fn evcxr<R>(call: impl FnOnce() -> R) -> Option<Bundle> {
    // `R` may borrow from the cell, so it has no `TypeId`.
    if type_name::<R>() == type_name::<Missing>() {
        return None;
    }
    let mut call = Some(call);
    Some(captured(&mut || drop(call.take().map(|call| call()))))
}

/// Not generic, so that it is compiled here once and not in every cell.
#[inline(never)]
fn captured(call: &mut dyn FnMut()) -> Bundle {
    evcxr::capture(call)
}

/// Found by method lookup only where a type has no `evcxr_display` of its own.
pub trait WithoutEvcxr {
    /// Tells so.
    fn evcxr_display(self) -> Missing;
}

impl<T: ?Sized> WithoutEvcxr for &mut &T {
    fn evcxr_display(self) -> Missing {
        Missing
    }
}

/// Looks behind a reference or box.
pub trait Peel<'a> {
    /// What is behind.
    type Inner: ?Sized;
    /// Looks behind.
    fn __parcell_peel(self) -> &'a Self::Inner;
}

impl<'a, T: ?Sized> Peel<'a> for &'a &T {
    type Inner = T;
    fn __parcell_peel(self) -> &'a T {
        self
    }
}

impl<'a, T: ?Sized> Peel<'a> for &'a Box<T> {
    type Inner = T;
    fn __parcell_peel(self) -> &'a T {
        self
    }
}

/// Found by method lookup where there is nothing to look behind.
pub trait PeelNothing<'a> {
    /// The value.
    type Inner: ?Sized;
    /// The value itself.
    fn __parcell_peel(self) -> &'a Self::Inner;
}

impl<'a, T: ?Sized> PeelNothing<'a> for &mut &'a T {
    type Inner = T;
    fn __parcell_peel(self) -> &'a T {
        self
    }
}

/// Holds the value while a way to show it is looked up.
#[derive(Debug)]
pub struct Probe<'a, T: ?Sized>(pub &'a T);

/// First choice: the type's own representations.
pub trait ViaRich {
    /// The bundle.
    fn __parcell_bundle(&self) -> Bundle;
}

impl<T: Rich + ?Sized> ViaRich for &&&&&Probe<'_, T> {
    fn __parcell_bundle(&self) -> Bundle {
        self.0.result()
    }
}

/// Values that lie in one row. Formatting a list visits every element even after the text is
/// full; of these only as many are formatted as the text can hold.
pub trait Sliced {
    /// The elements' type.
    type Item: Debug;
    /// The elements.
    fn items(&self) -> &[Self::Item];
}

impl<T: Debug> Sliced for [T] {
    type Item = T;
    fn items(&self) -> &[T] {
        self
    }
}

impl<T: Debug, const N: usize> Sliced for [T; N] {
    type Item = T;
    fn items(&self) -> &[T] {
        self
    }
}

impl<T: Debug> Sliced for Vec<T> {
    type Item = T;
    fn items(&self) -> &[T] {
        self
    }
}

impl<S: Sliced + ?Sized> Sliced for &S {
    type Item = S::Item;
    fn items(&self) -> &[S::Item] {
        (**self).items()
    }
}

impl<S: Sliced + ?Sized> Sliced for Box<S> {
    type Item = S::Item;
    fn items(&self) -> &[S::Item] {
        (**self).items()
    }
}

/// Second choice: as many elements as fit.
pub trait ViaSlice {
    /// The bundle.
    fn __parcell_bundle(&self) -> Bundle;
}

impl<T: Sliced + ?Sized> ViaSlice for &&&&Probe<'_, T> {
    fn __parcell_bundle(&self) -> Bundle {
        let items = self.0.items();
        sliced(&&items[..items.len().min(bounded::ELEMENTS)], items.len())
    }
}

/// Third choice: the better of `Debug` and `Display`.
pub trait ViaBoth {
    /// The bundle.
    fn __parcell_bundle(&self) -> Bundle;
}

impl<T: Debug + Display + ?Sized> ViaBoth for &&&Probe<'_, T> {
    fn __parcell_bundle(&self) -> Bundle {
        both(&self.0, &self.0, type_name::<T>())
    }
}

/// Fourth choice: `Debug`.
pub trait ViaDebug {
    /// The bundle.
    fn __parcell_bundle(&self) -> Bundle;
}

impl<T: Debug + ?Sized> ViaDebug for &&Probe<'_, T> {
    fn __parcell_bundle(&self) -> Bundle {
        debug_only(&self.0, type_name::<T>())
    }
}

/// Fifth choice: `Display`.
pub trait ViaDisplay {
    /// The bundle.
    fn __parcell_bundle(&self) -> Bundle;
}

impl<T: Display + ?Sized> ViaDisplay for &Probe<'_, T> {
    fn __parcell_bundle(&self) -> Bundle {
        Bundle::text(bounded::display(&self.0))
    }
}

/// Last choice: the type's name.
pub trait ViaName {
    /// The bundle.
    fn __parcell_bundle(&self) -> Bundle;
}

impl<T: ?Sized> ViaName for Probe<'_, T> {
    fn __parcell_bundle(&self) -> Bundle {
        Bundle::text(name_only(type_name::<T>().trim_start_matches('&')))
    }
}

fn sliced(elements: &dyn Debug, length: usize) -> Bundle {
    let plain = bounded::text(format_args!("{elements:?}"));
    let table = Table::from_debug(&plain.text, Some(length));
    with_table(plain.noted(), table)
}

fn both(debug: &dyn Debug, display: &dyn Display, type_name: &str) -> Bundle {
    let bundle = debug_only(debug, type_name);
    let text = bundle.get("text/plain").unwrap_or_default();
    let better = if is_array(type_name) {
        // The shape stands after the elements; those may contain anything.
        let shape = text.rfind(", shape=").map_or("", |at| &text[at..]);
        format!("{}{shape}", bounded::display(display))
    } else if looks_like_struct(text) {
        bounded::display(display)
    } else {
        return bundle;
    };
    replace_text(bundle, better)
}

fn replace_text(mut bundle: Bundle, text: String) -> Bundle {
    for (mime, data) in &mut bundle.data {
        if mime == "text/plain" {
            *data = text;
            break;
        }
    }
    bundle
}

fn debug_only(debug: &dyn Debug, type_name: &str) -> Bundle {
    let plain = bounded::text(format_args!("{debug:?}"));
    let table = table(&plain.text, debug, type_name);
    let mut text = plain.noted();
    if is_array(type_name)
        && let Some(layout) = text.rfind(", strides=")
    {
        text.truncate(layout);
    }
    with_table(text, table)
}

fn with_table(text: String, table: Option<Table>) -> Bundle {
    let html = table.and_then(|table| table.bundle().get("text/html").map(str::to_owned));
    let bundle = Bundle::text(text);
    match html {
        Some(html) => bundle.with("text/html", html),
        None => bundle,
    }
}

/// The table of a list whose `Debug` text this is.
fn table(text: &str, debug: &dyn Debug, type_name: &str) -> Option<Table> {
    if is_array(type_name) {
        let shape = shape(text)?;
        // `{:?}` leaves out the middle of large arrays, `{:#?}` does not.
        let whole = bounded::text(format_args!("{debug:#?}")).text;
        return Table::from_debug(&whole, shape.first().copied());
    }
    is_list(type_name).then(|| Table::from_debug(text, None)).flatten()
}

fn is_array(type_name: &str) -> bool {
    let name = behind_references(type_name);
    ["ndarray::ArrayBase<", "ndarray::ArrayRef<"].iter().any(|a| name.starts_with(a))
}

fn is_list(type_name: &str) -> bool {
    let lists = ["[", "alloc::vec::Vec<", "alloc::collections::vec_deque::VecDeque<"];
    lists.iter().any(|list| behind_references(type_name).starts_with(list))
}

fn behind_references(type_name: &str) -> &str {
    let mut name = type_name;
    let wrappers = ["&mut ", "&", "alloc::boxed::Box<", "alloc::sync::Arc<", "alloc::rc::Rc<"];
    while let Some(inner) = wrappers.iter().find_map(|w| name.strip_prefix(w)) {
        name = inner;
    }
    name
}

/// The lengths in `…, shape=[2, 3], strides=…`.
fn shape(text: &str) -> Option<Vec<usize>> {
    let (_, after) = text.rsplit_once(", shape=[")?;
    let (lengths, _) = after.split_once(']')?;
    lengths.split(", ").map(|length| length.parse().ok()).collect()
}

/// `Name { …` or `Name(…`.
fn looks_like_struct(debug: &str) -> bool {
    let end = debug.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(debug.len());
    let starts_a_name = debug.starts_with(|c: char| c.is_alphabetic() || c == '_');
    starts_a_name && (debug[end..].starts_with(" {") || debug[end..].starts_with('('))
}

fn name_only(type_name: &str) -> String {
    let name = short_name(type_name);
    let is_type = name.starts_with(char::is_uppercase);
    let hint = if is_type { " (`#[derive(Debug)]` shows its fields)" } else { "" };
    format!("<{name}>{hint}")
}

/// A type's name without module paths: `Vec<Point>` for `alloc::vec::Vec<cell_3::Point>`.
fn short_name(type_name: &str) -> String {
    let mut short = String::new();
    let mut word = 0;
    let mut rest = type_name;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("::") {
            short.truncate(word);
            rest = after;
            continue;
        }
        short.push(c);
        rest = &rest[c.len_utf8()..];
        if !(c.is_alphanumeric() || c == '_' || c == '{' || c == '}') {
            word = short.len();
        }
    }
    short.replace("{{closure}}", "closure")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::{Html, show};
    use std::collections::VecDeque;
    use std::fmt;
    use std::io::{self, Write};

    #[derive(Debug, Clone)]
    #[expect(dead_code, reason = "read by Debug only")]
    struct P {
        x: i32,
        y: &'static str,
    }

    struct Opaque;

    struct OnlyDisplay;

    impl fmt::Display for OnlyDisplay {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("only display")
        }
    }

    #[derive(Debug)]
    struct Plot;

    impl Plot {
        #[expect(clippy::unused_self, reason = "this is how evcxr wants it")]
        fn evcxr_display(&self) {
            let text = "EVCXR_BEGIN_CONTENT text/html\n<svg/>\nEVCXR_END_CONTENT\n";
            io::stdout().write_all(text.as_bytes()).unwrap();
        }
    }

    macro_rules! text {
        ($value:expr) => {{
            let value = $value;
            text_of(&$crate::__bundle!(value))
        }};
    }

    macro_rules! html {
        ($value:expr) => {{
            let value = $value;
            $crate::__bundle!(value).get("text/html").map(str::to_owned)
        }};
    }

    fn text_of(bundle: &Bundle) -> String {
        bundle.get("text/plain").unwrap_or("(none)").to_owned()
    }

    #[test]
    fn plain_values_show_their_debug_text() {
        assert_eq!(text!(1 + 2), "3");
        assert_eq!(text!(1.0), "1.0");
        assert_eq!(text!("a\"b"), r#""a\"b""#);
        assert_eq!(text!(String::from("s")), r#""s""#);
        assert_eq!(text!(&String::from("s")), r#""s""#);
        assert_eq!(text!('c'), "'c'");
        assert_eq!(text!(Some("x")), r#"Some("x")"#);
        assert_eq!(text!(None::<i32>), "None");
        assert_eq!(text!(Box::new(5)), "5");
        assert_eq!(text!(&mut 5), "5");
        assert_eq!(text!(&[1, 2, 3][..]), "[1, 2, 3]");
        assert_eq!(text!(vec![1, 2]), "[1, 2]");
        assert_eq!(text!(Box::<str>::from("b")), r#""b""#);
        assert_eq!(text!(P { x: 1, y: "a" }), r#"P { x: 1, y: "a" }"#);
    }

    #[test]
    fn display_is_preferred_to_the_text_of_a_struct() {
        assert_eq!(text!(crate::num_complex::Complex::new(1.0, -2.0)), "1-2i");
        assert_eq!(text!(std::num::Wrapping(3)), "3");
        assert_eq!(text!("x".parse::<i32>().unwrap_err()), "invalid digit found in string");
        assert_eq!(text!(OnlyDisplay), "only display");
    }

    #[test]
    fn types_that_show_nothing_are_named() {
        assert_eq!(text!(Opaque), "<Opaque> (`#[derive(Debug)]` shows its fields)");
        assert_eq!(text!(vec![Opaque]), "<Vec<Opaque>> (`#[derive(Debug)]` shows its fields)");
        assert_eq!(text!(|x: i32| x), "<closure>");
        assert_eq!(short_name("alloc::vec::Vec<(a::b::C, &[d::E])>"), "Vec<(C, &[E])>");
    }

    #[test]
    fn unit_and_handles_show_nothing() {
        assert_eq!(text!(()), "(none)");
        assert_eq!(text!(show("in a test")), "(none)");
    }

    #[test]
    fn rich_types_show_themselves_through_references_and_boxes() {
        assert_eq!(html!(Html("<b>")).unwrap(), "<b>");
        assert_eq!(html!(&Html("<b>")).unwrap(), "<b>");
        assert_eq!(html!(Box::new(Html("<b>")) as Box<dyn Rich>).unwrap(), "<b>");
    }

    #[test]
    fn evcxr_methods_are_found_on_values_references_and_boxes() {
        trait Draw {
            fn evcxr_display(&self);
        }
        impl Draw for Opaque {
            fn evcxr_display(&self) {
                Plot.evcxr_display();
            }
        }
        assert_eq!(html!(Plot).unwrap(), "<svg/>");
        assert_eq!(html!(&Plot).unwrap(), "<svg/>");
        assert_eq!(html!(&&Plot).unwrap(), "<svg/>");
        assert_eq!(html!(Box::new(Plot)).unwrap(), "<svg/>");
        assert_eq!(html!(Opaque).unwrap(), "<svg/>", "a trait's method counts, too");
        assert_eq!(text!(Some(Plot)), "Some(Plot)");
    }

    #[test]
    fn lists_of_structs_and_matrices_have_tables() {
        let rows = vec![P { x: 1, y: "a, {b}" }, P { x: 2, y: "c" }];
        assert_eq!(text!(rows.clone()), r#"[P { x: 1, y: "a, {b}" }, P { x: 2, y: "c" }]"#);
        for html in [
            html!(rows.clone()),
            html!(&rows),
            html!(&rows[..]),
            html!(VecDeque::from(rows.clone())),
            html!(rows.clone().into_boxed_slice()),
            html!(crate::ndarray::Array1::from(rows.clone())),
        ] {
            assert!(html.unwrap().contains("<td>a, {b}</td>"));
        }
        assert!(html!([[1, 2], [3, 4]]).unwrap().contains("<td>4</td>"));
        assert!(html!(vec![(1, 'a')]).unwrap().contains("<td>'a'</td>"));
        assert_eq!(html!(vec![1, 2]), None);
        assert_eq!(html!(vec![Some(1), Some(2)]), None);
    }

    #[test]
    fn arrays_show_elements_and_shape() {
        let matrix = crate::ndarray::array![[1.0, 2.5], [3.0, 4.0]];
        assert_eq!(text!(matrix.clone()), "[[1, 2.5],\n [3, 4]], shape=[2, 2]");
        assert_eq!(text!(matrix.view()), text!(&matrix));
        assert!(html!(matrix).unwrap().contains("<td>2.5</td>"));
        let large = crate::ndarray::Array2::from_shape_fn((1000, 40), |(i, j)| i * 100 + j);
        let html = html!(&large).unwrap();
        assert!(html.contains("<td>4929</td>"), "row 49, column 29");
        assert!(html.contains("… 950 more rows, 10 more columns"));
        let pairs = crate::ndarray::array![(1, 2)].mapv(Some);
        assert_eq!(text!(pairs), "[Some((1, 2))], shape=[1]");
    }

    #[test]
    fn a_huge_vector_is_cut() {
        let text = text!(vec![0_u8; 10_000_000]);
        assert!(text.len() < 70_000 && text.ends_with("… (truncated)"));
        assert!(html!(vec![(1, 2); 100_000]).unwrap().contains("… 99950 more rows"));
        let nothing = text!(vec![format_args!(""); 1_000_000]);
        assert!(nothing.ends_with("… (truncated)"), "also where elements take no room");
    }
}
