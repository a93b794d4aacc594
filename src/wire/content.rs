//! What messages carry. Requests parse leniently: a field that is absent or null gets the value
//! that the protocol gives it. What is published says its own type, so that content and header
//! cannot disagree.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Parses the content of a request.
///
/// # Errors
/// Where it is no object, a field that has no default is absent, or one has a wrong type.
pub fn parse<T: DeserializeOwned>(content: &Value) -> Result<T, serde_json::Error> {
    // Serde would take a list for a structure, too.
    let Some(fields) = content.as_object() else {
        return Err(serde_json::Error::custom("the content is no object"));
    };
    let given = fields.iter().filter(|(_, value)| !value.is_null());
    T::deserialize(given.map(|(name, value)| (name.clone(), value.clone())).collect::<Value>())
}

fn yes() -> bool {
    true
}

/// `execute_request`.
#[derive(Debug, Clone, Deserialize)]
pub struct ExecuteRequest {
    /// The cell.
    pub code: String,
    /// Run quietly: nothing on iopub but the status, no history, the count stays.
    #[serde(default)]
    pub silent: bool,
    /// Keep in history and count.
    #[serde(default = "yes")]
    pub store_history: bool,
    /// Expressions to evaluate after a success, by name.
    #[serde(default)]
    pub user_expressions: Map<String, Value>,
    /// Whether the client answers `input_request`.
    #[serde(default = "yes")]
    pub allow_stdin: bool,
    /// Whether a failure aborts what is queued behind.
    #[serde(default = "yes")]
    pub stop_on_error: bool,
}

/// `complete_request`.
#[derive(Debug, Clone, Deserialize)]
pub struct CompleteRequest {
    /// The source so far.
    pub code: String,
    /// Cursor in unicode code points; the end if absent.
    pub cursor_pos: Option<usize>,
}

/// `inspect_request`.
#[derive(Debug, Clone, Deserialize)]
pub struct InspectRequest {
    /// The source.
    pub code: String,
    /// Cursor in unicode code points; the end if absent.
    pub cursor_pos: Option<usize>,
    /// 1 asks for the source too.
    #[serde(default)]
    pub detail_level: u8,
}

/// `is_complete_request`.
#[derive(Debug, Clone, Deserialize)]
pub struct IsCompleteRequest {
    /// The source so far.
    pub code: String,
}

/// `history_request`.
#[derive(Debug, Clone, Deserialize)]
pub struct HistoryRequest {
    /// Whether entries carry the output too.
    #[serde(default)]
    pub output: bool,
    /// Which entries.
    #[serde(flatten)]
    pub access: HistoryAccess,
}

/// Which entries of the history are asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "hist_access_type", rename_all = "lowercase")]
pub enum HistoryAccess {
    /// The last ones.
    Tail {
        /// How many.
        #[serde(default = "ten")]
        n: u32,
    },
    /// Those of one session with numbers in `start..stop`.
    Range {
        /// 0 is this session, a negative number counts back from it.
        #[serde(default)]
        session: i64,
        /// First number; a negative one counts from the end.
        #[serde(default)]
        start: i64,
        /// One past the last number; the end if absent or 0.
        #[serde(default)]
        stop: i64,
    },
    /// Those that match a pattern.
    Search {
        /// With `*` and `?`.
        #[serde(default = "anything")]
        pattern: String,
        /// At most this many, the newest.
        n: Option<u32>,
        /// Each input once.
        #[serde(default)]
        unique: bool,
    },
}

fn ten() -> u32 {
    10
}

fn anything() -> String {
    "*".to_owned()
}

/// `shutdown_request`.
#[derive(Debug, Clone, Deserialize)]
pub struct ShutdownRequest {
    /// Whether a new kernel will follow.
    #[serde(default)]
    pub restart: bool,
}

/// `comm_open`, as far as it is read.
#[derive(Debug, Clone, Deserialize)]
pub struct CommOpen {
    /// The comm that the client has opened.
    pub comm_id: String,
}

/// `input_reply`.
#[derive(Debug, Clone, Deserialize)]
pub struct InputReply {
    /// The line.
    #[serde(default)]
    pub value: String,
}

/// Something that the kernel sends of its own accord, with its message type.
pub trait Content: Serialize {
    /// The `msg_type` of its header.
    const TYPE: &'static str;
}

/// Declares what the kernel sends: the structure and its message type.
macro_rules! sent {
    ($($(#[$doc:meta])* $name:ident = $type:literal { $($(#[$field_doc:meta])* $field:ident: $of:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct $name { $($(#[$field_doc])* pub $field: $of,)* }

        impl Content for $name {
            const TYPE: &'static str = $type;
        }
    )*};
}

sent! {
    /// What the kernel is doing.
    Status = "status" {
        /// `starting`, `busy` or `idle`.
        execution_state: &'static str,
    }
    /// Echo of a cell that starts.
    ExecuteInput = "execute_input" {
        /// The cell.
        code: String,
        /// Its number.
        execution_count: u32,
    }
    /// Printed text.
    Stream = "stream" {
        /// `stdout` or `stderr`.
        name: &'static str,
        /// The text.
        text: String,
    }
    /// A rich output.
    DisplayData = "display_data" {
        /// Representations by MIME type.
        data: Map<String, Value>,
        /// Metadata by MIME type.
        metadata: Map<String, Value>,
        /// `display_id` where it can be updated.
        transient: BTreeMap<&'static str, String>,
    }
    /// A change of a rich output.
    UpdateDisplayData = "update_display_data" {
        /// Representations by MIME type.
        data: Map<String, Value>,
        /// Metadata by MIME type.
        metadata: Map<String, Value>,
        /// `display_id` says which.
        transient: BTreeMap<&'static str, String>,
    }
    /// The value of a cell.
    ExecuteResult = "execute_result" {
        /// The cell's number.
        execution_count: u32,
        /// Representations by MIME type.
        data: Map<String, Value>,
        /// Metadata by MIME type.
        metadata: Map<String, Value>,
        /// Always empty.
        transient: BTreeMap<&'static str, String>,
    }
    /// Removes the outputs of the cell.
    ClearOutput = "clear_output" {
        /// Only when the next output comes.
        wait: bool,
    }
    /// The failure of a cell.
    ErrorOutput = "error" {
        /// Kind of the failure.
        ename: String,
        /// One line.
        evalue: String,
        /// What is shown.
        traceback: Vec<String>,
    }
    /// The kernel is about to end, for all clients to know.
    ShutdownReply = "shutdown_reply" {
        /// Always `ok`.
        status: &'static str,
        /// Whether a new kernel will follow.
        restart: bool,
    }
    /// A comm is closed.
    CommClose = "comm_close" {
        /// Which.
        comm_id: String,
        /// Always empty.
        data: Map<String, Value>,
    }
    /// Greets a subscriber of iopub.
    IopubWelcome = "iopub_welcome" {
        /// The topic subscribed to.
        subscription: String,
    }
    /// A question to the user, on stdin.
    InputRequest = "input_request" {
        /// What is asked.
        prompt: String,
        /// Whether to hide what is typed.
        password: bool,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_and_null_fields_of_execute_request_get_the_defaults_of_the_protocol() {
        for content in
            [json!({"code": "1"}), json!({"code": "1", "silent": null, "stop_on_error": null})]
        {
            let request: ExecuteRequest = parse(&content).unwrap();
            let flags = (request.silent, request.store_history);
            assert_eq!(
                (flags, request.allow_stdin, request.stop_on_error),
                ((false, true), true, true)
            );
        }
    }

    #[test]
    fn contents_of_a_wrong_type_are_refused() {
        for content in [json!({}), json!([]), json!(5), json!({"code": 5})] {
            assert!(parse::<ExecuteRequest>(&content).is_err(), "{content}");
        }
    }

    #[test]
    fn history_requests_are_told_apart() {
        let content =
            json!({"hist_access_type": "range", "session": -1, "stop": null, "output": true});
        let request: HistoryRequest = parse(&content).unwrap();
        assert!(request.output);
        assert!(matches!(request.access, HistoryAccess::Range { session: -1, start: 0, stop: 0 }));
        assert!(parse::<HistoryRequest>(&json!({"hist_access_type": "nonsense"})).is_err());
    }
}
