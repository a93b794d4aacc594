//! Checks and parses the messages that come in.

use std::collections::{HashSet, VecDeque};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{DELIMITER, Frames, Header, Incoming, LIMIT, Signer};

/// Signatures remembered against replay; Jupyter's own library keeps as many.
const REMEMBERED: usize = 1 << 16;

/// Reads messages signed with one key; refuses what it has read before.
#[derive(Debug)]
pub struct Reader {
    signer: Signer,
    seen: History,
}

/// Why frames are no message for this kernel.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// All frames together are too long.
    #[error("a message of {bytes} bytes exceeds {LIMIT}")]
    TooLong {
        /// How long they are.
        bytes: usize,
    },
    /// No frame is the delimiter.
    #[error("a message of {frames} frames lacks the delimiter")]
    NoDelimiter {
        /// How many frames came.
        frames: usize,
    },
    /// A signature and four JSON parts must follow the delimiter.
    #[error("a message has {frames} frames after the delimiter instead of 5 or more")]
    Truncated {
        /// How many frames follow.
        frames: usize,
    },
    /// The signature is missing or was made with another key.
    #[error("a message is not signed with this kernel's key")]
    WrongSignature,
    /// The signature has been seen before.
    #[error("a message was sent a second time")]
    Replayed,
    /// A part cannot be parsed.
    #[error("the {part} of a message cannot be read")]
    Unreadable {
        /// Which part.
        part: &'static str,
        /// What the parser said.
        source: serde_json::Error,
    },
}

impl Reader {
    /// A reader that has seen nothing yet.
    pub fn new(signer: Signer) -> Reader {
        Reader { signer, seen: History::default() }
    }

    /// Parses one message.
    ///
    /// # Errors
    /// A [`Fault`] for everything that is not a new, complete message signed with the key.
    pub fn read(&mut self, mut frames: Frames) -> Result<Incoming, Fault> {
        let bytes = frames.iter().map(Vec::len).sum();
        if bytes > LIMIT {
            return Err(Fault::TooLong { bytes });
        }
        let delimiter = frames.iter().position(|frame| frame == DELIMITER);
        let delimiter = delimiter.ok_or(Fault::NoDelimiter { frames: frames.len() })?;
        let mut parts = frames.split_off(delimiter + 1);
        frames.pop();
        if parts.len() < 5 {
            return Err(Fault::Truncated { frames: parts.len() });
        }
        let buffers = parts.split_off(5);
        self.check(&parts)?;
        parse(frames, &parts, buffers)
    }

    /// `parts` are the signature and what it signs.
    fn check(&mut self, parts: &[Vec<u8>]) -> Result<(), Fault> {
        if !self.signer.accepts(&parts[0], parts[1..].iter().map(Vec::as_slice)) {
            return Err(Fault::WrongSignature);
        }
        // Digits may be written in capitals, which would make a replay look new.
        let signature = parts[0].to_ascii_lowercase();
        if self.signer.signs() && !self.seen.insert(signature) {
            return Err(Fault::Replayed);
        }
        Ok(())
    }
}

fn parse(identities: Frames, parts: &[Vec<u8>], buffers: Frames) -> Result<Incoming, Fault> {
    Ok(Incoming {
        identities,
        header: json::<Header>("header", &parts[1])?,
        parent: json("header", &parts[1])?,
        answers: json("parent header", &parts[2])?,
        metadata: json("metadata", &parts[3])?,
        content: json::<Value>("content", &parts[4])?,
        buffers,
    })
}

fn json<T: DeserializeOwned>(part: &'static str, bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|source| Fault::Unreadable { part, source })
}

/// The last [`REMEMBERED`] signatures.
#[derive(Debug, Default)]
struct History {
    known: HashSet<Vec<u8>>,
    order: VecDeque<Vec<u8>>,
}

impl History {
    /// Whether `signature` is new; it no longer is afterwards.
    fn insert(&mut self, signature: Vec<u8>) -> bool {
        if !self.known.insert(signature.clone()) {
            return false;
        }
        self.order.push_back(signature);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::Writer;

    fn request(key: &str) -> Frames {
        let writer = Writer::new(Signer::new(key));
        let parent = json!({});
        writer.write(&[b"id".to_vec()], "kernel_info_request", &parent, &json!({"x": 1})).frames
    }

    #[track_caller]
    fn check_wire(frames: Frames, expect: &str) {
        let mut reader = Reader::new(Signer::new("key"));
        let fault = reader.read(frames).expect_err("these frames must be refused");
        assert!(format!("{fault}").contains(expect), "{fault}");
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut frames = request("key");
        frames.push(b"\x00\xffbuffer".to_vec());
        let message = Reader::new(Signer::new("key")).read(frames).unwrap();
        assert_eq!(message.identities, [b"id"]);
        assert_eq!(message.header.msg_type, "kernel_info_request");
        assert_eq!(message.header.version, "5.5");
        assert_eq!(message.parent["msg_id"], message.header.msg_id.as_str());
        assert_eq!(message.answers, json!({}));
        assert_eq!(message.content, json!({"x": 1}));
        assert_eq!(message.buffers, [b"\x00\xffbuffer"]);
    }

    #[test]
    fn dates_are_iso_8601_with_six_digits() {
        let message = Reader::new(Signer::new("key")).read(request("key")).unwrap();
        let date = message.header.date;
        assert_eq!((date.len(), &date[10..11], &date[26..]), (27, "T", "Z"), "{date}");
    }

    #[test]
    fn truncated_messages_are_refused_at_every_length() {
        for length in 0..request("key").len() {
            let mut frames = request("key");
            frames.truncate(length);
            check_wire(frames, if length < 2 { "lacks the delimiter" } else { "instead of 5" });
        }
    }

    #[test]
    fn oversized_messages_are_refused() {
        let mut frames = request("key");
        frames.push(vec![0; LIMIT]);
        check_wire(frames, "exceeds");
    }

    #[test]
    fn unsigned_and_wrongly_signed_messages_are_refused() {
        check_wire(request(""), "not signed");
        check_wire(request("another key"), "not signed");
        let mut frames = request("key");
        frames[2] = b"not hexadecimal".to_vec();
        check_wire(frames, "not signed");
        let mut frames = request("key");
        frames[6] = b"{\"x\": 2}".to_vec();
        check_wire(frames, "not signed");
    }

    #[test]
    fn a_replayed_message_is_refused_however_its_signature_is_spelt() {
        let mut reader = Reader::new(Signer::new("key"));
        let mut frames = request("key");
        reader.read(frames.clone()).unwrap();
        assert!(matches!(reader.read(frames.clone()), Err(Fault::Replayed)));
        frames[2] = frames[2].to_ascii_uppercase();
        assert!(matches!(reader.read(frames), Err(Fault::Replayed)));
    }

    #[test]
    fn the_memory_of_signatures_is_bounded() {
        let mut history = History::default();
        let signature = |n: usize| n.to_le_bytes().to_vec();
        assert!((0..=REMEMBERED).all(|n| history.insert(signature(n))));
        assert_eq!((history.known.len(), history.order.len()), (REMEMBERED, REMEMBERED));
        assert!(history.insert(signature(0)), "the oldest one was forgotten");
        assert!(!history.insert(signature(REMEMBERED)), "the newest one was not");
    }

    #[test]
    fn an_empty_key_accepts_any_signature_any_number_of_times() {
        let mut reader = Reader::new(Signer::new(""));
        let frames = request("key");
        reader.read(frames.clone()).unwrap();
        reader.read(frames).unwrap();
    }

    #[test]
    fn parts_that_are_not_utf_8_or_not_json_are_refused_by_name() {
        for (index, part) in [(3, "header"), (4, "parent"), (5, "metadata"), (6, "content")] {
            for rubbish in [&b"\xff\xfe"[..], b"{", b""] {
                let mut frames = request("");
                frames[index] = rubbish.to_vec();
                let fault = Reader::new(Signer::new("")).read(frames).unwrap_err();
                assert!(format!("{fault}").contains(part), "{fault}");
            }
        }
        let mut frames = request("");
        frames[3] = b"[1]".to_vec();
        assert!(Reader::new(Signer::new("")).read(frames).is_err());
    }

    #[test]
    fn a_header_needs_only_its_type() {
        let mut frames = request("");
        frames[3] = br#"{"msg_type": "x", "extra": [1, 2]}"#.to_vec();
        let message = Reader::new(Signer::new("")).read(frames).unwrap();
        assert_eq!(message.header.msg_type, "x");
        assert_eq!(message.parent, json!({"msg_type": "x", "extra": [1, 2]}));
    }
}
