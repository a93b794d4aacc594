"""What Rust in cells can do, and how values show."""

import pytest


def test_variables_live_on(kernel):
    kernel.ok("let a = 2; let mut b = vec![1]; let (c, d) = (3, \"four\".to_string());")
    kernel.ok("b.push(a); let a = a as f64 / 4.;")
    assert kernel.ok("(a, b.clone(), c, d.clone())").result == '(0.5, [1, 2], 3, "four")'


def test_a_variable_keeps_its_value_when_a_later_cell_fails(kernel):
    kernel.ok("let mut kept = vec![1];")
    kernel.run('kept.push(2); panic!("later")')
    assert kernel.ok("kept.len()").result == "2"
    kernel.run("kept.push(true)")
    assert kernel.ok("kept.len()").result == "2"


def test_a_moved_variable_is_gone_with_rustcs_own_words(kernel):
    kernel.ok("let treasure = vec![1];")
    kernel.ok("let thief = treasure;")
    text = kernel.run("treasure.len()").error_text
    assert "treasure" in text
    assert "moved" in text or "cannot find value" in text
    assert kernel.ok("thief.len()").result == "1"


def test_a_variable_moved_in_a_cell_that_does_not_compile_is_still_there(kernel):
    kernel.ok("let safe = vec![1];")
    kernel.run("drop(safe); let x: i32 = true;")
    assert kernel.ok("safe.len()").result == "1"


def test_a_variable_may_change_its_type(kernel):
    kernel.ok("let v = 1;")
    kernel.ok('let v = format!("{v}{v}");')
    assert kernel.ok("v.len()").result == "2"


def test_items_can_be_used_and_replaced(kernel):
    kernel.ok("fn twice(x: i32) -> i32 { 2 * x }\nconst K: i32 = 7;\nstatic S: &str = \"s\";")
    kernel.ok("fn four_times(x: i32) -> i32 { twice(twice(x)) }")
    assert kernel.ok("four_times(K)").result == "28"
    kernel.ok("fn twice(x: i32) -> i32 { 2 * x + 1 }")
    assert kernel.ok("twice(1)").result == "3"


def test_items_and_statements_mix_in_one_cell(kernel):
    code = """
        let n = square(3);
        fn square(x: i32) -> i32 { x * x }
        struct Wrapped(i32);
        let w = Wrapped(n);
        w.0
    """
    assert kernel.ok(code).result == "9"
    assert kernel.ok("w.0 + square(1)").result == "10"


def test_a_changed_struct_takes_the_variables_of_its_old_self(kernel):
    kernel.ok("#[derive(Debug)] struct Shape { a: i32 }\nlet shape = Shape { a: 1 };")
    kernel.ok("#[derive(Debug)] struct Shape { a: i32, b: i32 }")
    assert kernel.ok("Shape { a: 1, b: 2 }").result is not None
    assert "shape" in kernel.run("shape.a").error_text


def test_use_declarations_stay(kernel):
    kernel.ok("use std::collections::{BTreeMap, HashMap as Map};")
    assert kernel.ok("BTreeMap::from([(1, 2)])").result == "{1: 2}"
    assert kernel.ok("Map::<i32, i32>::new().len()").result == "0"


def test_macros_stay(kernel):
    kernel.ok("macro_rules! square { ($x:expr) => { $x * $x } }")
    assert kernel.ok("square!(5)").result == "25"
    kernel.ok("fn with_macro() -> i32 { square!(6) }")
    assert kernel.ok("with_macro()").result == "36"


def test_modules_traits_and_generics_work_across_cells(kernel):
    kernel.ok("mod geometry { pub const SIDES: i32 = 4; pub fn area(a: f64) -> f64 { a * a } }")
    kernel.ok("trait Named { fn name(&self) -> String; }")
    kernel.ok("struct Cat; impl Named for Cat { fn name(&self) -> String { \"cat\".into() } }")
    kernel.ok("fn shout<T: Named>(x: &T) -> String { x.name().to_uppercase() }")
    assert kernel.ok("shout(&Cat)").result == '"CAT"'
    assert kernel.ok("geometry::area(2.) + geometry::SIDES as f64").result == "8.0"
    kernel.ok("impl Named for i32 { fn name(&self) -> String { format!(\"int {self}\") } }")
    assert kernel.ok("let all: Vec<Box<dyn Named>> = vec![Box::new(Cat), Box::new(1)]; all[1].name()")


def test_a_generic_function_is_instantiated_later(kernel):
    kernel.ok("fn largest<T: PartialOrd + Copy>(v: &[T]) -> T { v.iter().copied().fold(v[0], |a, b| if b > a { b } else { a }) }")
    assert kernel.ok("largest(&[1, 5, 3])").result == "5"
    assert kernel.ok("largest(&[1.5, 0.5])").result == "1.5"


def test_closures_work_within_a_cell_and_boxed_ones_are_kept(kernel):
    assert kernel.ok("let step = 10; let add = move |x: i32| x + step; add(1)").result == "11"
    assert "Box<dyn Fn" in kernel.run("add(1)").error_text
    kernel.ok("let add: Box<dyn Fn(i32) -> i32> = Box::new(move |x| x + step);")
    assert kernel.ok("add(2)").result == "12"


def test_question_marks_give_values(kernel):
    assert kernel.ok('let n: i32 = "12".parse()?; n').result == "12"


def test_await_works_on_one_runtime(kernel):
    code = "tokio::time::sleep(std::time::Duration::from_millis(10)).await; 5"
    assert kernel.ok(code).result == "5"
    kernel.ok("let task = tokio::spawn(async { 6 * 7 });")
    assert kernel.ok("task.await?").result == "42"


def test_serde_derives_work(kernel):
    kernel.ok(
        "#[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]\n"
        "struct Sample { id: u32, name: String }"
    )
    assert "Sample" in kernel.ok('Sample { id: 1, name: "a".into() }').result


def test_the_promised_crates_need_no_dep(kernel):
    code = """
        use ndarray::array;
        use rand::Rng;
        let z = num_complex::Complex::new(0., 1.);
        let m = array![[1., 2.], [3., 4.]];
        (m.sum(), (z * z).re, rayon::current_num_threads() > 0)
    """
    assert kernel.ok(code).result == "(10.0, -1.0, true)"


def test_a_dependency_can_be_added(kernel):
    kernel.ok("let before = 1;")
    kernel.ok(':dep itoa = "1"')
    assert kernel.ok('itoa::Buffer::new().format(1234).to_string()').result == '"1234"'
    assert kernel.ok("before").result == "1"


def test_a_dependency_that_does_not_exist_is_an_error(kernel):
    result = kernel.run(':dep there_is_no_such_crate_as_this = "99"')
    assert "there_is_no_such_crate_as_this" in result.error_text
    assert kernel.ok("1").result == "1"


def test_unicode_is_at_home(kernel):
    kernel.ok('let größe = "Größe: 3 µm, 日本語, 🦀";')
    result = kernel.ok('println!("{größe}"); größe.chars().count()')
    assert (result.stdout, result.result) == ("Größe: 3 µm, 日本語, 🦀\n", "19")


def test_errors_in_items_of_earlier_cells_name_that_cell(kernel):
    first = kernel.ok('fn brittle(v: &[i32]) -> i32 {\n    v[9]\n}').reply["execution_count"]
    assert f"[cell {first}, line 2]" in kernel.run("brittle(&[1])").error_text


def test_numeric_code_is_compiled_as_for_release(kernel):
    assert kernel.ok("let x = std::hint::black_box(255u8); x.wrapping_add(1)").result == "0"
    assert kernel.ok("cfg!(debug_assertions)").result == "false"
    assert kernel.ok("let x = std::hint::black_box(255u8); x + 1").result == "0"


# ---------------------------------------------------------------------------------------------
# How values show


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("1.0", "1.0"),
        ('"a\\n"', r'"a\n"'),
        ("Some(1)", "Some(1)"),
        ("'x'", "'x'"),
        ("[[1, 2], [3, 4]]", "[[1, 2], [3, 4]]"),
        ("(1, \"a\", 2.5)", '(1, "a", 2.5)'),
        ("&vec![1u8][..]", "[1]"),
        ("std::time::Duration::from_millis(5)", "5ms"),
    ],
)
def test_a_value_shows_as_debug_text(kernel, code, text):
    assert kernel.ok(code).result == text


def test_a_type_with_display_only_shows_it(kernel):
    code = """
        struct Celsius(f64);
        impl std::fmt::Display for Celsius {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result { write!(f, "{} °C", self.0) }
        }
        Celsius(20.5)
    """
    assert kernel.ok(code).result == "20.5 °C"


def test_a_type_that_cannot_be_shown_is_named(kernel):
    assert kernel.ok("struct Mute; Mute").result.startswith("<Mute>")


def test_a_slice_of_structs_is_a_table(kernel):
    code = """
        #[derive(Debug, serde::Serialize)] struct Run { threads: usize, seconds: f64 }
        vec![Run { threads: 1, seconds: 2.5 }, Run { threads: 2, seconds: 1.25 }]
    """
    html = kernel.ok(code).results[0]["text/html"]
    assert "<table" in html
    for word in ("threads", "seconds", "2.5", "1.25"):
        assert word in html


def test_a_two_dimensional_array_is_a_table(kernel):
    html = kernel.ok("ndarray::array![[1, 2], [3, 4]]").results[0]["text/html"]
    assert html.count("<tr") >= 2


def test_html_in_values_is_escaped(kernel):
    code = '#[derive(Debug, serde::Serialize)] struct T { s: String }\nvec![T { s: "<script>x</script>".into() }]'
    assert "<script>" not in kernel.ok(code).results[0]["text/html"]


def test_evcxr_display_of_other_crates_works(kernel):
    code = """
        struct Plot;
        impl Plot {
            pub fn evcxr_display(&self) {
                println!("EVCXR_BEGIN_CONTENT text/html\\n<em>plot</em>\\nEVCXR_END_CONTENT");
            }
        }
        Plot
    """
    result = kernel.ok(code)
    shown = result.results + result.displays
    assert any("<em>plot</em>" in bundle.get("text/html", "") for bundle in shown)


def test_progress_is_one_display_that_is_updated(kernel):
    result = kernel.ok("let mut sum = 0; for i in progress(0..50) { sleep(0.01); sum += i; } sum")
    assert result.result == "1225"
    assert len(result.displays) == 1
    assert len(result.of("update_display_data")) >= 2
    assert "50" in result.of("update_display_data")[-1]["data"]["text/plain"]


def test_a_table_is_made_of_rows(kernel):
    result = kernel.ok('table(vec![("one", 1), ("two", 2)])')
    assert "<table" in (result.results or result.displays)[0]["text/html"]


def test_btime_prints_a_time_and_gives_the_value(kernel):
    result = kernel.ok("btime!((0..1000u64).sum::<u64>())")
    assert result.result == "499500"
    assert any(unit in result.stdout for unit in ("ns", "µs", "ms"))
