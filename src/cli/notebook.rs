//! Notebook files, nbformat 4. Read into a JSON tree and written back with everything in it that
//! is not ours in its place, byte for byte as Jupyter writes it, so that a run changes only what
//! it has to. (The crate nbformat does not serve: it keeps unknown fields, but in hash maps, so
//! their order changes with every write.)

use std::collections::HashSet;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};

use super::Error;

/// A notebook file in memory.
#[derive(Debug, Clone)]
pub(super) struct Notebook {
    root: Value,
}

/// A code cell to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CodeCell {
    /// Its index among all cells of the file, from 0.
    pub(super) index: usize,
    /// Its source.
    pub(super) source: String,
    /// Its tags.
    pub(super) tags: Vec<String>,
}

impl CodeCell {
    /// Whether a run leaves the cell out: it is empty, or a tag says so.
    pub(super) fn skipped(&self) -> bool {
        self.source.trim().is_empty() || self.tagged(&["skip-execution", "nbval-skip"])
    }

    /// Whether a tag says that the cell may fail.
    pub(super) fn may_fail(&self) -> bool {
        self.tagged(&["raises-exception", "nbval-raises-exception"])
    }

    fn tagged(&self, tags: &[&str]) -> bool {
        self.tags.iter().any(|t| tags.contains(&t.as_str()))
    }
}

/// What a cell of a notebook is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AnyCell {
    /// Code.
    Code(CodeCell),
    /// Markdown text.
    Prose(String),
}

impl Notebook {
    /// Reads a notebook.
    pub(super) fn read(path: &Path) -> Result<Notebook, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        let bad = |problem| Error::Notebook { path: path.to_owned(), problem };
        Notebook::parse(&text).map_err(bad)
    }

    /// Takes the text of a notebook file; the error says what is wrong with it.
    fn parse(text: &str) -> Result<Notebook, String> {
        let root: Value = serde_json::from_str(text).map_err(|e| format!("it is no JSON ({e})"))?;
        match root["nbformat"].as_u64() {
            Some(4) => {}
            Some(older) => {
                return Err(format!(
                    "it has nbformat {older}, 4 is needed: `jupyter nbconvert --to notebook` \
                     converts it"
                ));
            }
            None => return Err("it has no nbformat number".to_owned()),
        }
        let cells = root["cells"].as_array().ok_or("it has no list of cells")?;
        match cells.iter().position(|c| !c.is_object()) {
            Some(odd) => Err(format!("its cell {} is not an object", odd + 1)),
            None => Ok(Notebook { root }),
        }
    }

    /// All code cells, in order.
    pub(super) fn code_cells(&self) -> Vec<CodeCell> {
        let cells = self.root["cells"].as_array().into_iter().flatten().enumerate();
        let code = cells.filter(|(_, c)| c["cell_type"] == "code");
        code.map(|(index, c)| CodeCell { index, source: joined(&c["source"]), tags: tags(c) })
            .collect()
    }

    /// All cells of code and text, in order.
    pub(super) fn cells(&self) -> Vec<AnyCell> {
        let mut code = self.code_cells().into_iter().peekable();
        let cells = self.root["cells"].as_array().into_iter().flatten().enumerate();
        let any = cells.filter_map(|(index, cell)| match code.next_if(|c| c.index == index) {
            Some(code) => Some(AnyCell::Code(code)),
            None if cell["cell_type"] == "markdown" => {
                Some(AnyCell::Prose(joined(&cell["source"])))
            }
            None => None,
        });
        any.collect()
    }

    /// The language that its cells are in, where the file tells.
    pub(super) fn language(&self) -> Option<&str> {
        let metadata = &self.root["metadata"];
        let named = [&metadata["language_info"]["name"], &metadata["kernelspec"]["language"]];
        named.into_iter().find_map(Value::as_str)
    }

    /// Sets what a run made of a cell; without a count the cell counts as not run.
    pub(super) fn record(&mut self, index: usize, count: Option<u32>, outputs: Vec<Value>) {
        if let Some(cell) = self.root["cells"].get_mut(index).and_then(Value::as_object_mut) {
            set(cell, "execution_count", json!(count));
            set(cell, "outputs", Value::Array(outputs));
        }
    }

    /// Completes what nbformat 4.5 wants: ids of cells, and the language of the kernel.
    pub(super) fn complete(&mut self, mut language_info: Value) {
        language_info.sort_all_objects();
        self.add_ids();
        let minor = self.root["nbformat_minor"].as_u64().unwrap_or(0);
        if let Some(root) = self.root.as_object_mut() {
            set(root, "nbformat_minor", json!(minor.max(5)));
            if !root.get("metadata").is_some_and(Value::is_object) {
                set(root, "metadata", json!({}));
            }
        }
        if let Some(metadata) = self.root["metadata"].as_object_mut() {
            set(metadata, "language_info", language_info);
        }
    }

    fn add_ids(&mut self) {
        let cells = self.root["cells"].as_array_mut().into_iter().flatten();
        let mut seen = HashSet::new();
        for cell in cells.filter_map(Value::as_object_mut) {
            let known = cell.get("id").and_then(Value::as_str).map(str::to_owned);
            if known.is_none_or(|id| !seen.insert(id)) {
                let id = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
                seen.insert(id.clone());
                set(cell, "id", Value::String(id));
            }
        }
    }

    /// The file's text, as Jupyter writes it: indented by one space, with a newline at the end.
    pub(super) fn text(&self) -> String {
        let mut bytes = Vec::new();
        let mut serializer = Serializer::with_formatter(&mut bytes, AsPython::new());
        self.root.serialize(&mut serializer).expect("a JSON tree can be written to memory");
        bytes.push(b'\n');
        String::from_utf8(bytes).expect("serde_json writes UTF-8")
    }
}

/// Sets a key. A new one goes where it belongs in alphabetical order: Jupyter sorts keys.
fn set(object: &mut Map<String, Value>, key: &str, value: Value) {
    if let Some(old) = object.get_mut(key) {
        *old = value;
        return;
    }
    let place = object.keys().position(|k| k.as_str() > key).unwrap_or(object.len());
    object.shift_insert(place, key.to_owned(), value);
}

/// Text that a notebook may hold as one string or as a list of lines.
fn joined(text: &Value) -> String {
    match text {
        Value::String(whole) => whole.clone(),
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}

fn tags(cell: &Value) -> Vec<String> {
    let tags = cell["metadata"]["tags"].as_array().into_iter().flatten();
    tags.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Text as the list of lines that a notebook holds, split where Python's `splitlines` does.
pub(super) fn lines(text: &str) -> Value {
    let ends = |c: char| {
        matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}')
            || matches!(c, '\u{2028}' | '\u{2029}')
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((at, end)) = rest.char_indices().find(|(_, c)| ends(*c)) {
        let pair = end == '\r' && rest[at + 1..].starts_with('\n');
        let length = at + end.len_utf8() + usize::from(pair);
        lines.push(json!(&rest[..length]));
        rest = &rest[length..];
    }
    if !rest.is_empty() {
        lines.push(json!(rest));
    }
    Value::Array(lines)
}

/// JSON as Python's `json.dumps(indent=1)` writes it; the two differ in floating-point numbers.
struct AsPython(PrettyFormatter<'static>);

impl AsPython {
    fn new() -> AsPython {
        AsPython(PrettyFormatter::with_indent(b" "))
    }
}

impl Formatter for AsPython {
    fn write_f64<W: ?Sized + io::Write>(&mut self, to: &mut W, value: f64) -> io::Result<()> {
        to.write_all(python_float(value).as_bytes())
    }
    fn begin_array<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.begin_array(to)
    }
    fn end_array<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.end_array(to)
    }
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, to: &mut W, f: bool) -> io::Result<()> {
        self.0.begin_array_value(to, f)
    }
    fn end_array_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.end_array_value(to)
    }
    fn begin_object<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.begin_object(to)
    }
    fn end_object<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.end_object(to)
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, to: &mut W, f: bool) -> io::Result<()> {
        self.0.begin_object_key(to, f)
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.begin_object_value(to)
    }
    fn end_object_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.end_object_value(to)
    }
}

/// A number as Python's `repr`: the shortest digits, with an exponent below 1e-4 and from 1e16.
fn python_float(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        // Rust's `Debug` turns to exponents below 1e-5 only, so it is plain in this range.
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(negative) => ('-', negative),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by nbformat 5.11 from a notebook with everything that is easy to get wrong.
    const WRITTEN_BY_JUPYTER: &str = include_str!("written-by-jupyter.ipynb");

    fn notebook(text: &str) -> Notebook {
        Notebook::parse(text).unwrap()
    }

    #[test]
    fn a_file_that_jupyter_wrote_comes_back_byte_for_byte() {
        assert_eq!(notebook(WRITTEN_BY_JUPYTER).text(), WRITTEN_BY_JUPYTER);
    }

    #[test]
    fn recording_the_same_run_changes_nothing() {
        let mut again = notebook(WRITTEN_BY_JUPYTER);
        for cell in again.code_cells() {
            let old = again.root["cells"][cell.index].clone();
            let count = old["execution_count"].as_u64().map(|c| u32::try_from(c).unwrap());
            again.record(cell.index, count, old["outputs"].as_array().unwrap().clone());
        }
        again.complete(again.root["metadata"]["language_info"].clone());
        assert_eq!(again.text(), WRITTEN_BY_JUPYTER);
    }

    #[test]
    fn floats_are_written_as_python_writes_them() {
        let python = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1.5e-5, "1.5e-05"),
            (1e-7, "1e-07"),
            (-2.5e-300, "-2.5e-300"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (1e16, "1e+16"),
            (1.25e22, "1.25e+22"),
        ];
        for (value, text) in python {
            assert_eq!(python_float(value), text);
        }
    }

    #[test]
    fn lines_end_where_python_ends_them() {
        let text = "a\nb\r\nc\rd\u{b}e\u{2028}f\u{85}\n\ng";
        let expected =
            json!(["a\n", "b\r\n", "c\r", "d\u{b}", "e\u{2028}", "f\u{85}", "\n", "\n", "g"]);
        assert_eq!(lines(text), expected);
        assert_eq!(lines(""), json!([]));
        assert_eq!(lines("x\r"), json!(["x\r"]));
    }

    #[test]
    fn tags_decide_what_is_skipped_and_what_may_fail() {
        let cell = |source: &str, tags: &[&str]| {
            let cell = json!({"cell_type": "code", "metadata": {"tags": tags}, "source": [source]});
            let file = json!({"nbformat": 4, "cells": [{"cell_type": "markdown"}, cell]});
            notebook(&file.to_string()).code_cells().remove(0)
        };
        assert_eq!(cell("1", &[]).index, 1);
        assert!(!cell("1", &["hide-input"]).skipped() && !cell("1", &[]).may_fail());
        assert!(cell("1", &["x", "skip-execution"]).skipped());
        assert!(cell("1", &["nbval-skip"]).skipped());
        assert!(cell(" \n", &[]).skipped());
        assert!(cell("1", &["raises-exception"]).may_fail());
    }

    #[test]
    fn older_notebooks_gain_ids_and_language_where_they_belong() {
        let code = json!({"cell_type": "code", "metadata": {}, "outputs": [], "source": "1"});
        let file = json!({
            "cells": [code, {"cell_type": "raw", "id": "mine", "metadata": {}, "source": ""}],
            "metadata": {"kernelspec": {"name": "parcell"}, "zebra": 1},
            "nbformat": 4, "nbformat_minor": 2,
        });
        let mut file = notebook(&file.to_string());
        file.record(0, Some(3), vec![]);
        file.complete(json!({"name": "rust", "mimetype": "text/x-rust"}));
        let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let cell = &file.root["cells"][0];
        assert_eq!(
            keys(cell),
            ["cell_type", "execution_count", "id", "metadata", "outputs", "source"]
        );
        assert_eq!(cell["id"].as_str().unwrap().len(), 8);
        assert_eq!(file.root["cells"][1]["id"], "mine");
        assert_eq!(keys(&file.root["metadata"]), ["kernelspec", "language_info", "zebra"]);
        assert_eq!(keys(&file.root["metadata"]["language_info"]), ["mimetype", "name"]);
        assert_eq!(file.root["nbformat_minor"], 5);
    }

    #[test]
    fn a_repeated_id_is_replaced() {
        let cell = json!({"cell_type": "raw", "id": "same", "metadata": {}, "source": ""});
        let mut file = notebook(&json!({"nbformat": 4, "cells": [cell, cell]}).to_string());
        file.complete(json!({}));
        assert_eq!(file.root["cells"][0]["id"], "same");
        assert_ne!(file.root["cells"][1]["id"], "same");
    }

    #[test]
    fn what_is_no_notebook_is_refused_with_the_reason() {
        let problem = |text: &str| Notebook::parse(text).unwrap_err();
        assert!(problem("{").contains("no JSON"));
        assert!(problem("[]").contains("no nbformat number"));
        assert!(problem(r#"{"nbformat": 3}"#).contains("nbconvert"));
        assert!(problem(r#"{"nbformat": 4}"#).contains("no list of cells"));
        assert!(problem(r#"{"nbformat": 4, "cells": [{}, 1]}"#).contains("cell 2"));
    }
}
