//! The stage of one cell: what it shows becomes messages on iopub, what it asks one on stdin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use parcell_link::Bundle;
use serde_json::{Map, Value};

use super::caller::Caller;
use super::questions::Questions;
use crate::stage::{Output, Stage};
use crate::wire::content::{
    ClearOutput, DisplayData, ExecuteResult, InputRequest, Stream, UpdateDisplayData,
};

/// Shows the outputs of one cell to all clients.
#[derive(Debug)]
pub(super) struct IopubStage {
    caller: Caller,
    count: u32,
    silent: bool,
    /// Absent where the client cannot be asked.
    questions: Option<Arc<Questions>>,
    /// The result as plain text, for the history.
    result: Mutex<Option<String>>,
}

impl IopubStage {
    /// The stage of cell `count`.
    pub(super) fn new(
        caller: Caller,
        count: u32,
        silent: bool,
        questions: Option<Arc<Questions>>,
    ) -> IopubStage {
        IopubStage { caller, count, silent, questions, result: Mutex::default() }
    }

    /// The result as plain text, if the cell had one.
    pub(super) fn result(&self) -> Option<String> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show_display(&self, bundle: &Bundle, id: Option<String>) {
        let (data, metadata) = parts(bundle);
        self.caller.show(&DisplayData { data, metadata, transient: transient(id) });
    }

    fn show_update(&self, bundle: &Bundle, id: String) {
        let (data, metadata) = parts(bundle);
        self.caller.show(&UpdateDisplayData { data, metadata, transient: transient(Some(id)) });
    }

    fn show_result(&self, bundle: &Bundle) {
        let text = bundle.get("text/plain").map(str::to_owned);
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = text;
        let (data, metadata) = parts(bundle);
        let (execution_count, transient) = (self.count, transient(None));
        self.caller.show(&ExecuteResult { execution_count, data, metadata, transient });
    }
}

impl Stage for IopubStage {
    fn show(&self, output: Output) {
        if self.silent {
            return;
        }
        match output {
            Output::Text(stream, text) => self.caller.show(&Stream { name: stream.name(), text }),
            Output::Display(bundle, id) => self.show_display(&bundle, id),
            Output::Update(bundle, id) => self.show_update(&bundle, id),
            Output::Result(bundle) => self.show_result(&bundle),
            Output::Clear { wait } => self.caller.show(&ClearOutput { wait }),
        }
    }

    fn ask(&self, prompt: &str, password: bool) -> Option<String> {
        let question = InputRequest { prompt: prompt.to_owned(), password };
        self.questions.as_ref()?.ask(&self.caller, &question)
    }
}

fn transient(id: Option<String>) -> BTreeMap<&'static str, String> {
    id.map(|id| ("display_id", id)).into_iter().collect()
}

/// Data and metadata as the protocol has them.
pub(super) fn parts(bundle: &Bundle) -> (Map<String, Value>, Map<String, Value>) {
    let data = bundle.data.iter().map(|(mime, text)| (mime.clone(), representation(mime, text)));
    let metadata = bundle.metadata.iter().map(|(mime, text)| (mime.clone(), json(text)));
    (data.collect(), metadata.collect())
}

/// JSON types travel as JSON, all others as text.
fn representation(mime: &str, text: &str) -> Value {
    let is_json = mime == "application/json" || mime.ends_with("+json");
    if is_json { json(text) } else { Value::from(text) }
}

/// What is no JSON stays text: better shown than lost.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_types_travel_as_json_and_others_as_text() {
        let mut bundle = Bundle::text("5").with("application/json", "{\"a\": [1]}");
        bundle = bundle.with("application/geo+json", "[2]").with("application/json5", "[3]");
        bundle.metadata.push(("image/png".to_owned(), "{\"width\": 3}".to_owned()));
        let (data, metadata) = parts(&bundle);
        assert_eq!(data["text/plain"], json!("5"));
        assert_eq!(data["application/json"], json!({"a": [1]}));
        assert_eq!(data["application/geo+json"], json!([2]));
        assert_eq!(data["application/json5"], json!("[3]"));
        assert_eq!(metadata["image/png"], json!({"width": 3}));
    }
}
