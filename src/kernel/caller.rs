//! To whom an answer goes: every message that a request causes is written here, so that none
//! lacks its parent, its topic or its way back.

use std::sync::Arc;

use serde_json::Value;

use crate::server::{Channel, Outlet};
use crate::wire::content::{Content, InputRequest};
use crate::wire::{Frames, Incoming, Writer};

/// Writes and sends, in the name of this kernel.
#[derive(Debug)]
pub(super) struct Desk {
    /// Gives messages their headers and signatures.
    pub(super) writer: Writer,
    /// The way to the sockets.
    pub(super) outlet: Outlet,
}

/// One request's sender, and the header that all answers refer to.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    desk: Arc<Desk>,
    channel: Channel,
    identities: Frames,
    parent: Value,
}

/// The topic of what the kernel publishes.
pub(super) fn topic(writer: &Writer, msg_type: &str) -> Vec<u8> {
    format!("kernel.{}.{msg_type}", writer.session()).into_bytes()
}

impl Desk {
    /// Publishes what no request has caused.
    pub(super) fn announce<C: Content>(&self, content: &C) {
        self.outlet.publish(self.publication(&Value::Null, content));
    }

    fn publication<C: Content>(&self, parent: &Value, content: &C) -> Frames {
        let topic = topic(&self.writer, C::TYPE);
        self.writer.write(&[topic], C::TYPE, parent, content).frames
    }
}

impl Caller {
    /// The sender of `message`.
    pub(super) fn of(desk: Arc<Desk>, channel: Channel, message: &Incoming) -> Caller {
        let (identities, parent) = (message.identities.clone(), message.parent.clone());
        Caller { desk, channel, identities, parent }
    }

    /// Publishes on iopub. Never blocks.
    pub(super) fn publish<C: Content>(&self, content: &C) {
        self.desk.outlet.publish(self.desk.publication(&self.parent, content));
    }

    /// Publishes an output on iopub; blocks while subscribers are slow.
    pub(super) fn show<C: Content>(&self, content: &C) {
        let publication = self.desk.publication(&self.parent, content);
        self.desk.outlet.publish_when_there_is_room(publication);
    }

    /// Replies on the channel that the request came from.
    pub(super) fn reply(&self, msg_type: &str, content: &Value) {
        let written = self.desk.writer.write(&self.identities, msg_type, &self.parent, content);
        self.desk.outlet.reply(self.channel, written.frames);
    }

    /// Asks the sender's user. The id says to which question an answer belongs.
    pub(super) fn ask(&self, question: &InputRequest) -> String {
        let msg_type = InputRequest::TYPE;
        let written = self.desk.writer.write(&self.identities, msg_type, &self.parent, question);
        self.desk.outlet.reply(Channel::Stdin, written.frames);
        written.msg_id
    }
}
