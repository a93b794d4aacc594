//! Which message type is handled how: the table, and the handlers that answer at once.

use serde_json::{Map, Value, json};

use super::dispatch::Kernel;
use super::evaluator::Handle;
use super::info;
use super::request::Request;
use crate::stage::Failure;
use crate::wire::content::{CommClose, CommOpen, ShutdownReply, ShutdownRequest};

/// How a message is handled.
pub(super) enum Handler<H> {
    /// By the loop itself: the content of the reply, which types without one ignore.
    Answer(fn(&mut Kernel<H>, &Request) -> Result<Value, Failure>),
    /// By the analyst's threads.
    Analyse,
    /// By the thread that keeps the history.
    Remember,
    /// After the cells before it, by the thread that runs cells.
    Queue,
    /// As the answer to a question that a cell asks.
    Input,
}

/// The handler of a message type.
pub(super) fn find<H: Handle>(msg_type: &str) -> Option<&'static Handler<H>> {
    let mut table = Kernel::<H>::TABLE.iter();
    table.find(|(of, _)| *of == msg_type).map(|(_, handler)| handler)
}

impl<H: Handle> Kernel<H> {
    /// All message types that this kernel knows. Each works on shell and control alike.
    const TABLE: &'static [(&'static str, Handler<H>)] = &[
        ("execute_request", Handler::Queue),
        ("input_reply", Handler::Input),
        ("complete_request", Handler::Analyse),
        ("inspect_request", Handler::Analyse),
        ("is_complete_request", Handler::Analyse),
        ("history_request", Handler::Remember),
        ("kernel_info_request", Handler::Answer(|_, _| Ok(info::kernel_info()))),
        ("connect_request", Handler::Answer(connect)),
        ("usage_request", Handler::Answer(usage)),
        ("interrupt_request", Handler::Answer(interrupt)),
        ("shutdown_request", Handler::Answer(shutdown)),
        ("comm_info_request", Handler::Answer(comm_info)),
        ("comm_open", Handler::Answer(comm_open)),
        ("comm_msg", Handler::Answer(nothing)),
        ("comm_close", Handler::Answer(nothing)),
    ];
}

fn nothing<H: Handle>(_: &mut Kernel<H>, _: &Request) -> Result<Value, Failure> {
    Ok(Value::Null)
}

fn connect<H: Handle>(kernel: &mut Kernel<H>, _: &Request) -> Result<Value, Failure> {
    Ok(json!(kernel.ports))
}

fn usage<H: Handle>(kernel: &mut Kernel<H>, _: &Request) -> Result<Value, Failure> {
    let processes = kernel.remote.processes();
    Ok(kernel.usage.measure(&processes))
}

fn interrupt<H: Handle>(kernel: &mut Kernel<H>, _: &Request) -> Result<Value, Failure> {
    kernel.interrupt();
    Ok(json!({}))
}

/// All clients hear of the end, not only the one that asked for it.
fn shutdown<H: Handle>(kernel: &mut Kernel<H>, request: &Request) -> Result<Value, Failure> {
    let ShutdownRequest { restart } = request.content()?;
    request.publish(&ShutdownReply { status: "ok", restart });
    kernel.end();
    Ok(json!({"restart": restart}))
}

/// Asked by front ends that people type into, not by tools that run notebooks: completion will be
/// wanted, so the analyst gets ready.
fn comm_info<H: Handle>(kernel: &mut Kernel<H>, _: &Request) -> Result<Value, Failure> {
    kernel.remote.expect_questions();
    Ok(json!({"comms": {}}))
}

/// No comm has a target here, so the protocol wants each closed at once.
fn comm_open<H: Handle>(_: &mut Kernel<H>, request: &Request) -> Result<Value, Failure> {
    let CommOpen { comm_id } = request.content()?;
    request.publish(&CommClose { comm_id, data: Map::new() });
    Ok(Value::Null)
}
