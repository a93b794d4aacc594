"""The translator alone; rustc confirms that what it writes compiles and has the right value."""

import shutil
import subprocess

import pytest
from papermill.translators import papermill_translators

import parcell_papermill
from parcell_papermill.translator import RustTranslator, Untranslatable


def line(value, name="x"):
    header, statement = RustTranslator.codify({name: value}).splitlines()
    assert header == "// Parameters"
    return statement


@pytest.mark.parametrize(
    "value, expected",
    [
        (3, "let x: i64 = 3;"),
        (-(2**63), "let x: i64 = -9223372036854775808;"),
        (2**63, "let x: i128 = 9223372036854775808;"),
        (True, "let x: bool = true;"),
        (1.0, "let x: f64 = 1.0;"),
        (1e300, "let x: f64 = 1e+300;"),
        (float("nan"), "let x: f64 = f64::NAN;"),
        (float("-inf"), "let x: f64 = f64::NEG_INFINITY;"),
        ('a"\\\n\0', 'let x: String = "a\\"\\\\\\n\\0".to_string();'),
        ("größe {x} 😀", 'let x: String = "größe {x} 😀".to_string();'),
        ("\u202e\x1b", 'let x: String = "\\u{202e}\\u{1b}".to_string();'),
        (None, "let x: Option<f64> = None;"),
        ([], "let x: Vec<f64> = vec![];"),
        ([1, 2], "let x: Vec<i64> = vec![1, 2];"),
        ([1, 2.5], "let x: Vec<f64> = vec![1.0, 2.5];"),
        ([1, 2**64], "let x: Vec<i128> = vec![1, 18446744073709551616];"),
        ((True,), "let x: Vec<bool> = vec![true];"),
        ([1, None], "let x: Vec<Option<i64>> = vec![Some(1), None];"),
        ([None, 1, 2.0], "let x: Vec<Option<f64>> = vec![None, Some(1.0), Some(2.0)];"),
        ([[], [1]], "let x: Vec<Vec<i64>> = vec![vec![], vec![1]];"),
        ([[1], [0.5, None]], "let x: Vec<Vec<Option<f64>>> = "
                             "vec![vec![Some(1.0)], vec![Some(0.5), None]];"),
        ({"k": 1}, "let x: std::collections::BTreeMap<String, i64> = "
                   'std::collections::BTreeMap::from([("k".to_string(), 1)]);'),
    ],
)
def test_values(value, expected):
    assert line(value) == expected


@pytest.mark.parametrize(
    "value", [[1, "a"], [True, 1], [[1], 2], {1: 2}, {"a": 1, "b": "c"}, object(), 2**200, "\ud800"]
)
def test_values_without_a_counterpart_are_refused(value):
    with pytest.raises(Untranslatable):
        line(value)


def test_names():
    assert line(1, "type").startswith("let r#type: i64")
    for name in ["self", "_", "a-b", "1a", "größe", "x; panic!()"]:
        with pytest.raises(Untranslatable):
            line(1, name)


def test_importing_registers_the_translator():
    assert papermill_translators.find_translator("parcell", "rust") is parcell_papermill.RustTranslator


def test_a_single_value():
    assert RustTranslator.translate([1.5]) == "vec![1.5]"
    assert RustTranslator.assign("fn", "1") == "let r#fn = 1;"


@pytest.mark.skipif(shutil.which("rustc") is None, reason="needs rustc")
def test_rustc_reads_what_python_meant(tmp_path):
    text = "".join(map(chr, range(0x20, 0x250))) + "\n\r\t\0\x1b\u202e\u2028😀"
    parameters = {
        "text": text, "small": -(2**63), "wide": -(2**127), "tiny": 5e-324, "huge": 1e16,
        "mixed": [1, 2.5, None], "nested": [[1], []], "map": {"a\"b": [True]}, "type": 7,
        "none": None, "empty": [],
    }
    checks = f"""
        let bytes: Vec<u8> = vec!{list(text.encode())};
        assert_eq!(text.as_bytes(), bytes);
        assert_eq!(small, i64::MIN);
        assert_eq!(wide, i128::MIN);
        assert_eq!(tiny, f64::from_bits(1));
        assert_eq!(huge, 10_f64.powi(16));
        assert_eq!(mixed, [Some(1.0), Some(2.5), None]);
        assert_eq!(nested, [vec![1], vec![]]);
        assert_eq!(map["a\\"b"], [true]);
        assert_eq!(r#type, 7);
        assert!(none.is_none() && empty.is_empty());
    """
    source = tmp_path / "main.rs"
    source.write_text(f"fn main() {{\n{RustTranslator.codify(parameters)}\n{checks}\n}}\n")
    program = tmp_path / "main"
    subprocess.run(["rustc", "--edition=2024", "-o", program, source], check=True)
    subprocess.run([program], check=True)
