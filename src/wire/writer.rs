//! Builds and signs the messages that go out.

use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{DELIMITER, Frames, Header, PROTOCOL_VERSION, Signer};

/// Writes messages in the name of one kernel process.
#[derive(Debug, Clone)]
pub struct Writer {
    session: String,
    signer: Signer,
}

/// A message ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The id in its header.
    pub msg_id: String,
    /// All its frames.
    pub frames: Frames,
}

impl Writer {
    /// A writer with a new session id of its own.
    pub fn new(signer: Signer) -> Writer {
        Writer { session: Uuid::new_v4().to_string(), signer }
    }

    /// The session id in every header.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// One message: `address` (routing identities or a topic) before the delimiter, `parent` the
    /// verbatim header of the message that caused it, `{}` or null if none did.
    ///
    /// # Panics
    /// If `content` does not serialise to JSON, which no type of this crate does.
    pub fn write(
        &self,
        address: &[Vec<u8>],
        msg_type: &str,
        parent: &Value,
        content: &impl Serialize,
    ) -> Written {
        let header = self.header(msg_type);
        let none = Value::Object(Map::new());
        let parent = if parent.is_null() { &none } else { parent };
        let signed = [json(&header), json(parent), json(&none), json(content)];
        let signature = self.signer.sign(signed.iter().map(Vec::as_slice));
        let mut frames = address.to_vec();
        frames.extend([DELIMITER.to_vec(), signature.into_bytes()]);
        frames.extend(signed);
        Written { msg_id: header.msg_id, frames }
    }

    fn header(&self, msg_type: &str) -> Header {
        Header {
            msg_id: Uuid::new_v4().to_string(),
            session: self.session.clone(),
            username: "kernel".to_owned(),
            // Jupyter's own parser takes six digits of a second, not nine.
            date: Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
            msg_type: msg_type.to_owned(),
            version: PROTOCOL_VERSION.to_owned(),
        }
    }
}

fn json(part: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(part).expect("parts of messages have string keys only")
}
