//! What the cells of a notebook showed, recorded as a notebook file stores it: text of one stream
//! joined, updates applied to the displays they name in whichever cell, clears carried out.

use std::collections::BTreeMap;

use parcell_link::Bundle;
use serde_json::{Map, Value, json};

use super::notebook::lines;
use crate::stage::{Failure, Output, Stream};

/// The record of all cells of one notebook.
#[derive(Debug, Default)]
pub(super) struct Tape {
    cells: BTreeMap<usize, Cell>,
}

#[derive(Debug, Default)]
struct Cell {
    outputs: Vec<Shown>,
    /// A `clear_output(wait)` that the next output carries out.
    clear_first: bool,
}

#[derive(Debug)]
enum Shown {
    Text(Stream, String),
    Display(Bundle, Option<String>),
    Result(Bundle),
    Failure(Failure),
}

impl Tape {
    /// Records an output of the cell with this index.
    pub(super) fn show(&mut self, cell: usize, output: Output) {
        match output {
            Output::Update(bundle, id) => self.update(&bundle, &id),
            Output::Clear { wait } => self.cells.entry(cell).or_default().clear(wait),
            Output::Text(stream, text) => self.cells.entry(cell).or_default().print(stream, &text),
            Output::Display(bundle, id) => self.push(cell, Shown::Display(bundle, id)),
            Output::Result(bundle) => self.push(cell, Shown::Result(bundle)),
        }
    }

    /// Records how a cell failed.
    pub(super) fn fail(&mut self, cell: usize, failure: Failure) {
        self.push(cell, Shown::Failure(failure));
    }

    fn push(&mut self, cell: usize, shown: Shown) {
        self.cells.entry(cell).or_default().push(shown);
    }

    fn update(&mut self, new: &Bundle, wanted: &str) {
        let outputs = self.cells.values_mut().flat_map(|c| &mut c.outputs);
        for output in outputs {
            match output {
                Shown::Display(bundle, Some(id)) if id == wanted => bundle.clone_from(new),
                _ => {}
            }
        }
    }

    /// The outputs of a cell as a notebook holds them.
    pub(super) fn outputs(&self, cell: usize, count: u32) -> Vec<Value> {
        let outputs = self.cells.get(&cell).map(|c| c.outputs.as_slice()).unwrap_or_default();
        outputs.iter().map(|o| o.json(count)).collect()
    }
}

impl Cell {
    fn clear(&mut self, wait: bool) {
        self.clear_first = wait;
        if !wait {
            self.outputs.clear();
        }
    }

    fn push(&mut self, shown: Shown) {
        if std::mem::take(&mut self.clear_first) {
            self.outputs.clear();
        }
        self.outputs.push(shown);
    }

    fn print(&mut self, stream: Stream, text: &str) {
        match self.outputs.last_mut() {
            Some(Shown::Text(last, so_far)) if *last == stream && !self.clear_first => {
                so_far.push_str(text);
            }
            _ => self.push(Shown::Text(stream, text.to_owned())),
        }
    }
}

impl Shown {
    /// Keys in the order in which Jupyter writes them.
    fn json(&self, count: u32) -> Value {
        match self {
            Shown::Text(stream, text) => json!({
                "name": stream.name(),
                "output_type": "stream",
                "text": lines(&overwritten(text)),
            }),
            Shown::Display(bundle, _) => json!({
                "data": data(bundle),
                "metadata": metadata(bundle),
                "output_type": "display_data",
            }),
            Shown::Result(bundle) => json!({
                "data": data(bundle),
                "execution_count": count,
                "metadata": metadata(bundle),
                "output_type": "execute_result",
            }),
            Shown::Failure(failure) => json!({
                "ename": failure.name,
                "evalue": failure.value,
                "output_type": "error",
                "traceback": failure.traceback,
            }),
        }
    }
}

fn data(bundle: &Bundle) -> Value {
    sorted(bundle.data.iter().map(|(mime, text)| (mime, stored(mime, text))))
}

fn metadata(bundle: &Bundle) -> Value {
    sorted(bundle.metadata.iter().map(|(mime, text)| (mime, json_or_text(text))))
}

fn sorted<'a>(entries: impl Iterator<Item = (&'a String, Value)>) -> Value {
    let entries: BTreeMap<String, Value> = entries.map(|(k, v)| (k.clone(), v)).collect();
    Value::Object(entries.into_iter().collect::<Map<_, _>>())
}

/// A representation as nbformat stores it: JSON as such, text by lines, all else as one string.
fn stored(mime: &str, text: &str) -> Value {
    let json =
        mime == "application/json" || (mime.starts_with("application/") && mime.ends_with("+json"));
    if json {
        return json_or_text(text);
    }
    let by_lines =
        mime.starts_with("text/") || matches!(mime, "application/javascript" | "image/svg+xml");
    if by_lines { lines(text) } else { json!(text) }
}

fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// Text after its backspaces and carriage returns took effect, as Jupyter's tools store it: of a
/// progress line that was drawn a thousand times the last state is kept.
fn overwritten(text: &str) -> String {
    if !text.contains(['\r', '\u{8}']) {
        return text.to_owned();
    }
    text.split_inclusive('\n').map(|line| after_return(&after_backspace(line)).to_owned()).collect()
}

fn after_backspace(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    for c in line.chars() {
        if c != '\u{8}' || kept.pop().is_none() {
            kept.push(c);
        }
    }
    kept
}

/// What stands after the last carriage return that something other than a newline follows.
fn after_return(line: &str) -> &str {
    let content = line.strip_suffix('\n').unwrap_or(line);
    let returned = content.strip_suffix('\r').unwrap_or(content);
    match returned.rfind('\r') {
        Some(at) => &line[at + 1..],
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(text: &str) -> Output {
        Output::Text(Stream::Stdout, text.to_owned())
    }

    fn display(text: &str, id: Option<&str>) -> Output {
        Output::Display(Bundle::text(text), id.map(str::to_owned))
    }

    fn recorded(outputs: impl IntoIterator<Item = Output>) -> Value {
        let mut tape = Tape::default();
        outputs.into_iter().for_each(|o| tape.show(0, o));
        Value::Array(tape.outputs(0, 7))
    }

    #[test]
    fn neighbouring_text_of_one_stream_is_one_output() {
        let err = Output::Text(Stream::Stderr, "e".into());
        let stream = |name: &str, lines: &[&str]| json!({"name": name, "output_type": "stream", "text": lines});
        assert_eq!(
            recorded([out("a"), out("b\nc"), err, out("d")]),
            json!([
                stream("stdout", &["ab\n", "c"]),
                stream("stderr", &["e"]),
                stream("stdout", &["d"])
            ])
        );
    }

    #[test]
    fn outputs_have_nbformats_keys_in_jupyters_order() {
        let rich =
            Bundle::text("t").with("application/json", "{\"a\": [1]}").with("image/png", "AA");
        let rich = Bundle { metadata: vec![("image/png".into(), "{\"width\":2}".into())], ..rich };
        let mut tape = Tape::default();
        tape.show(3, Output::Result(rich));
        tape.fail(
            3,
            Failure { name: "Panic".into(), value: "v".into(), traceback: vec!["l".into()] },
        );
        let text: Vec<String> = tape.outputs(3, 7).iter().map(Value::to_string).collect();
        let result = concat!(
            r#"{"data":{"application/json":{"a":[1]},"image/png":"AA","text/plain":["t"]},"#,
            r#""execution_count":7,"metadata":{"image/png":{"width":2}},"#,
            r#""output_type":"execute_result"}"#
        );
        let error = r#"{"ename":"Panic","evalue":"v","output_type":"error","traceback":["l"]}"#;
        assert_eq!(text, [result, error]);
    }

    #[test]
    fn an_update_reaches_displays_of_earlier_cells_and_adds_none() {
        let mut tape = Tape::default();
        tape.show(0, display("old", Some("x")));
        tape.show(0, display("other", Some("y")));
        tape.show(1, Output::Update(Bundle::text("new"), "x".into()));
        let texts: Vec<_> = tape.outputs(0, 1).iter().map(|o| o["data"].to_string()).collect();
        assert_eq!(texts, [r#"{"text/plain":["new"]}"#, r#"{"text/plain":["other"]}"#]);
        assert!(tape.outputs(1, 2).is_empty());
    }

    #[test]
    fn a_clear_happens_at_once_or_with_the_next_output() {
        let clear = |wait| Output::Clear { wait };
        assert_eq!(recorded([out("a"), clear(false)]), json!([]));
        assert_eq!(recorded([out("a"), clear(true)]), recorded([out("a")]));
        assert_eq!(recorded([out("a"), clear(true), out("b")]), recorded([out("b")]));
        let shown = recorded([display("d", None)]);
        assert_eq!(recorded([out("a"), clear(true), display("d", None)]), shown);
        assert_eq!(
            recorded([out("a"), clear(true), clear(false), out("b"), out("c")]),
            recorded([out("bc")])
        );
    }

    #[test]
    fn carriage_returns_and_backspaces_take_effect() {
        assert_eq!(overwritten("10%\r20%\r30%\ndone"), "30%\ndone");
        assert_eq!(overwritten("10%\r"), "10%\r");
        assert_eq!(overwritten("dos\r\nline\r\n"), "dos\r\nline\r\n");
        assert_eq!(overwritten("a\rb\r\n"), "b\r\n");
        assert_eq!(overwritten("abc\u{8}\u{8}d\n\u{8}e"), "ad\n\u{8}e");
        assert_eq!(recorded([out("1\r"), out("2")]), recorded([out("2")]));
    }
}
