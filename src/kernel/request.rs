//! A request that is being handled. Making one publishes busy; dropping it sends the reply that
//! is still owed and publishes idle. A handler can fail, panic or forget: the client hears of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::caller::{Caller, Desk};
use crate::server::Channel;
use crate::stage::Failure;
use crate::wire::content::{self, Content, Status};
use crate::wire::{Header, Incoming};

/// The guard of one request.
#[derive(Debug)]
pub(super) struct Request {
    caller: Caller,
    header: Header,
    content: Value,
    answered: bool,
}

impl Request {
    /// Begins to handle `message`: publishes busy.
    pub(super) fn begin(desk: &Arc<Desk>, channel: Channel, message: Incoming) -> Request {
        let caller = Caller::of(desk.clone(), channel, &message);
        caller.publish(&Status { execution_state: "busy" });
        Request { caller, header: message.header, content: message.content, answered: false }
    }

    /// Its message type.
    pub(super) fn kind(&self) -> &str {
        &self.header.msg_type
    }

    /// Who sent it.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Its content.
    ///
    /// # Errors
    /// Where the content is not what this type of request carries.
    pub(super) fn content<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let malformed = |error| format!("{} is malformed: {error}", self.kind());
        content::parse(&self.content).map_err(|e| Failure::new("MalformedRequest", malformed(e)))
    }

    /// Publishes something that it caused.
    pub(super) fn publish<C: Content>(&self, content: &C) {
        self.caller.publish(content);
    }

    /// Replies, if this type has a reply and it was not sent; status is ok unless `content` says
    /// otherwise.
    pub(super) fn reply(&mut self, mut content: Value) {
        let Some(base) = self.header.msg_type.strip_suffix("_request") else { return };
        if !std::mem::replace(&mut self.answered, true) {
            if content.get("status").is_none() {
                content["status"] = json!("ok");
            }
            self.caller.reply(&format!("{base}_reply"), &content);
        }
    }

    /// Replies with what the handler came to.
    pub(super) fn conclude(mut self, result: Result<Value, Failure>) {
        match result {
            Ok(content) => self.reply(content),
            Err(failure) => {
                tracing::debug!(request = self.kind(), error = failure.value, "request failed");
                self.reply(self.describe(&failure));
            }
        }
    }

    /// The content of an error reply.
    fn describe(&self, failure: &Failure) -> Value {
        let mut content = describe(failure);
        if self.kind() == "is_complete_request" {
            // The one reply whose status has values of its own.
            content["status"] = json!("unknown");
        }
        content
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.answered {
            let failure = Failure::new("InternalError", "the kernel could not handle the request");
            self.reply(self.describe(&failure));
        }
        self.publish(&Status { execution_state: "idle" });
    }
}

/// A failure as the content of a reply.
pub(super) fn describe(failure: &Failure) -> Value {
    json!({
        "status": "error",
        "ename": failure.name,
        "evalue": failure.value,
        "traceback": failure.traceback,
    })
}

/// Runs `work`; a panic becomes a failure.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = text(panic.as_ref());
        Err(Failure::new("InternalError", format!("the kernel panicked: {said}")))
    })
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
