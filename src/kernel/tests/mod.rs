//! The kernel's promises, shown over the in-memory connection and a session's double.

mod double;

use serde_json::{Value, json};

use crate::kernel::dispatch::Event;
use crate::server::Channel;
use crate::wire::{Incoming, Signer, Writer};
use double::{Client, Gate};

/// Every type that a client may send, and some that do not exist.
const TYPES: [&str; 19] = [
    "execute_request",
    "input_reply",
    "complete_request",
    "inspect_request",
    "is_complete_request",
    "history_request",
    "kernel_info_request",
    "connect_request",
    "usage_request",
    "interrupt_request",
    "shutdown_request",
    "comm_info_request",
    "comm_open",
    "comm_msg",
    "comm_close",
    "debug_request",
    "create_subshell_request",
    "nonsense_request",
    "nonsense",
];

fn types(messages: &[Incoming]) -> Vec<&str> {
    messages.iter().map(|message| message.header.msg_type.as_str()).collect()
}

/// Sends a request and expects busy, the reply that its type has, and idle.
#[track_caller]
fn check_ends(client: &mut Client, channel: Channel, msg_type: &str, content: &Value) -> Value {
    let id = client.send(channel, msg_type, content);
    let expected = msg_type.strip_suffix("_request").map(|base| format!("{base}_reply"));
    let reply = expected.map(|expected| {
        let (on, reply) = client.reply();
        let header = &reply.header;
        assert_eq!((on, &header.msg_type), (channel, &expected), "{msg_type} {content}");
        assert_eq!(reply.identities, [b"client"], "{msg_type} {content}");
        reply.content
    });
    client.outputs(&id);
    reply.unwrap_or_default()
}

#[test]
fn idle_follows_every_malformed_request_on_shell_and_control() {
    let mut client = Client::new();
    for channel in [Channel::Shell, Channel::Control] {
        for msg_type in TYPES.iter().filter(|t| **t != "input_reply") {
            for content in [json!([]), json!(5), json!(null), json!({"code": 5, "restart": 5})] {
                check_ends(&mut client, channel, msg_type, &content);
            }
        }
    }
    let (reply, _) = client.run("ok", &json!({}));
    assert_eq!(reply["execution_count"], 1, "no malformed cell was counted");
}

#[test]
fn idle_follows_a_failing_handler() {
    let mut client = Client::of_a_broken_kernel();
    let content = json!({"code": "x"});
    for channel in [Channel::Shell, Channel::Control] {
        for (msg_type, status) in [
            ("execute_request", "error"),
            ("complete_request", "error"),
            ("inspect_request", "error"),
            ("is_complete_request", "unknown"),
            ("usage_request", "error"),
            ("interrupt_request", "error"),
            ("history_request", "error"),
            ("debug_request", "error"),
            ("nonsense_request", "error"),
        ] {
            let reply = check_ends(&mut client, channel, msg_type, &content);
            assert_eq!(reply["status"], status, "{msg_type}: {reply}");
            assert!(!reply["ename"].as_str().unwrap().is_empty(), "{msg_type}: {reply}");
            assert!(!reply["evalue"].as_str().unwrap().is_empty(), "{msg_type}: {reply}");
            assert!(reply["traceback"].is_array(), "{msg_type}: {reply}");
        }
    }
}

#[test]
fn headers_are_the_kernels_own_and_parents_are_passed_on_verbatim() {
    let mut client = Client::new();
    let (_, mut frames) = client.request("kernel_info_request", &json!({}));
    let mut header: Value = serde_json::from_slice(&frames[3]).unwrap();
    header["x-extra"] = json!([1.0, {"a": null}]);
    header["version"] = json!("5.0");
    frames[3] = serde_json::to_vec(&header).unwrap();
    let signature = Signer::new("key").sign(frames[3..].iter().map(Vec::as_slice));
    frames[2] = signature.into_bytes();
    client.peer.outgoing.send((Channel::Shell, frames)).unwrap();
    let (_, reply) = client.reply();
    for message in [client.published(), reply, client.published()] {
        assert_eq!(message.answers, header);
        assert_eq!(message.header.username, "kernel");
        assert_eq!(message.header.version, "5.5");
        assert_ne!(message.header.session, client.writer.session());
        assert_eq!(message.header.session.len(), 36);
        if message.header.msg_type == "status" {
            let topic = format!("kernel.{}.status", message.header.session);
            assert_eq!(message.identities, [topic.into_bytes()]);
        }
    }
}

#[test]
fn late_output_belongs_to_the_cell_that_caused_it() {
    let mut client = Client::new();
    let early = client.execute("keep");
    client.reply();
    client.outputs(&early);
    let present = client.execute("late hello");
    client.reply();
    let messages: Vec<Incoming> = std::iter::repeat_with(|| client.published()).take(4).collect();
    assert_eq!(types(&messages), ["status", "execute_input", "stream", "status"]);
    assert_eq!(messages[2].answers["msg_id"], early);
    assert_eq!(messages[2].content["text"], "hello");
    assert_eq!(messages[3].answers["msg_id"], present);
}

#[test]
fn messages_that_are_not_for_this_kernel_are_dropped_and_do_not_end_it() {
    let mut client = Client::new();
    let (_, replayed) = client.request("kernel_info_request", &json!({}));
    let stranger = Writer::new(Signer::new("another key"));
    let wrong = stranger.write(&[], "shutdown_request", &json!({}), &json!({"restart": false}));
    let (_, mut binary) = client.request("kernel_info_request", &json!({}));
    binary[6] = vec![0xff; 9];
    let short = replayed[..4].to_vec();
    let all = [replayed.clone(), replayed, wrong.frames, binary, short, Vec::new()];
    for frames in all {
        client.peer.outgoing.send((Channel::Shell, frames)).unwrap();
    }
    assert_eq!(client.reply().1.header.msg_type, "kernel_info_reply");
    let id = client.send(Channel::Shell, "connect_request", &json!({}));
    let (_, reply) = client.reply();
    assert_eq!((&reply.answers["msg_id"], &reply.content["shell_port"]), (&json!(id), &json!(1)));
}

#[test]
fn a_cell_shows_its_input_and_outputs_in_order() {
    let mut client = Client::new();
    let (reply, outputs) =
        client.run("value 5", &json!({"user_expressions": {"a": "b", "c": "d"}}));
    assert_eq!(types(&outputs), ["execute_input", "execute_result"]);
    assert_eq!(outputs[0].content, json!({"code": "value 5", "execution_count": 1}));
    let result = json!({
        "execution_count": 1, "data": {"text/plain": "5"}, "metadata": {}, "transient": {},
    });
    assert_eq!(outputs[1].content, result);
    assert_eq!((&reply["status"], &reply["payload"]), (&json!("ok"), &json!([])));
    assert_eq!(reply["user_expressions"]["c"]["data"]["text/plain"], "d");
}

#[test]
fn each_kind_of_output_has_its_message() {
    for (code, msg_type, content) in [
        ("print a\r", "stream", json!({"name": "stdout", "text": "a\r"})),
        ("eprint a", "stream", json!({"name": "stderr", "text": "a"})),
        (
            "display",
            "display_data",
            json!({"data": {"text/plain": "d"}, "metadata": {}, "transient": {}}),
        ),
        (
            "display_as x",
            "display_data",
            json!({"data": {"text/plain": "d"}, "metadata": {}, "transient": {"display_id": "x"}}),
        ),
        (
            "update x",
            "update_display_data",
            json!({"data": {"text/plain": "u"}, "metadata": {}, "transient": {"display_id": "x"}}),
        ),
        ("clear", "clear_output", json!({"wait": true})),
    ] {
        let (_, outputs) = Client::new().run(code, &json!({}));
        assert_eq!(types(&outputs), ["execute_input", msg_type], "{code}");
        assert_eq!(outputs[1].content, content, "{code}");
    }
}

#[test]
fn a_failure_is_published_once_and_the_reply_says_the_same() {
    let mut client = Client::new();
    for (code, name) in [("fail boom", "Panic"), ("panic", "InternalError")] {
        let (mut reply, outputs) = client.run(code, &json!({}));
        assert_eq!(types(&outputs), ["execute_input", "error"]);
        assert_eq!((&reply["status"], &reply["ename"]), (&json!("error"), &json!(name)));
        let fields = reply.as_object_mut().unwrap();
        fields.retain(|key, _| key != "status" && key != "execution_count");
        assert_eq!(outputs[1].content, reply);
    }
    assert_eq!(client.run("ok", &json!({})).0["execution_count"], 3);
}

#[test]
fn counts_start_at_1_and_only_stored_cells_move_them() {
    let mut client = Client::new();
    for (fields, count) in [
        (json!({}), 1),
        (json!({"silent": true}), 2),
        (json!({"store_history": false}), 2),
        (json!({"silent": true, "store_history": true}), 2),
        (json!({"store_history": true}), 2),
        (json!({}), 3),
    ] {
        let (reply, outputs) = client.run("ok", &fields);
        assert_eq!(reply["execution_count"], count, "{fields}");
        let shown = outputs.first().map(|input| input.content["execution_count"].clone());
        let silent = fields["silent"] == true;
        assert_eq!(shown, (!silent).then(|| json!(count)), "{fields}");
    }
}

#[test]
fn a_silent_cell_publishes_nothing_but_its_status() {
    let mut client = Client::new();
    for (code, status) in [("value 5", "ok"), ("print x", "ok"), ("fail x", "error")] {
        let (reply, outputs) = client.run(code, &json!({"silent": true}));
        assert_eq!((&reply["status"], types(&outputs).len()), (&json!(status), 0), "{code}");
    }
}

#[test]
fn a_failure_aborts_what_is_queued_and_only_that() {
    let mut client = Client::new();
    let waiting = client.execute("wait");
    let failing = client.execute("fail x");
    let queued: Vec<String> = (0..3).map(|_| client.execute("print never")).collect();
    client.gate.send(Gate::Open).unwrap();
    assert_eq!(client.reply().1.content["status"], "ok");
    assert_eq!(client.reply().1.content["status"], "error");
    for id in &queued {
        let (_, reply) = client.reply();
        assert_eq!(reply.answers["msg_id"], json!(id));
        assert_eq!(reply.content, json!({"status": "aborted"}));
    }
    assert_eq!(types(&client.outputs(&waiting)), ["execute_input"]);
    assert_eq!(types(&client.outputs(&failing)), ["execute_input", "error"]);
    for id in &queued {
        assert_eq!(types(&client.outputs(id)).len(), 0, "an aborted cell is not echoed");
    }
    assert_eq!(client.run("ok", &json!({})).0["execution_count"], 3);
}

#[test]
fn without_stop_on_error_the_queue_goes_on() {
    let mut client = Client::new();
    let content = json!({"code": "fail x", "stop_on_error": false});
    client.send(Channel::Shell, "execute_request", &content);
    client.execute("ok");
    let statuses = [client.reply(), client.reply()].map(|(_, r)| r.content["status"].clone());
    assert_eq!(statuses, ["error", "ok"]);
}

#[test]
fn two_hundred_cells_at_once_run_in_order() {
    let mut client = Client::new();
    let sent: Vec<String> = (0..200).map(|n| client.execute(&format!("print {n}"))).collect();
    for (id, number) in sent.iter().zip(0..) {
        let outputs = client.outputs(id);
        assert_eq!(outputs[1].content["text"], format!("{number}"));
        let (_, reply) = client.reply();
        assert_eq!(reply.content["execution_count"], number + 1);
    }
}

#[test]
fn a_question_goes_to_the_client_that_runs_the_cell() {
    let mut client = Client::new();
    let id = client.execute("ask Your name?");
    let (channel, question) = client.reply();
    assert_eq!(channel, Channel::Stdin);
    assert_eq!(question.header.msg_type, "input_request");
    assert_eq!(question.content, json!({"prompt": "Your name?", "password": true}));
    assert_eq!(
        (&question.answers["msg_id"], &question.identities[0]),
        (&json!(id), &b"client".to_vec())
    );
    let stale = Incoming { parent: json!({"msg_type": "x", "msg_id": "old"}), ..question.clone() };
    client.answer(&stale, "too late");
    client.answer(&question, "Ada");
    assert_eq!(client.outputs(&id)[1].content["text"], "Ada");
}

#[test]
fn nobody_is_asked_where_stdin_is_not_allowed() {
    let (_, outputs) = Client::new().run("ask x", &json!({"allow_stdin": false}));
    assert_eq!(outputs[1].content["text"], "nobody");
}

#[test]
fn an_interrupt_takes_a_question_back() {
    let mut client = Client::new();
    let id = client.execute("ask x");
    assert_eq!(client.reply().1.header.msg_type, "input_request");
    client.send(Channel::Control, "interrupt_request", &json!({}));
    assert_eq!(client.outputs(&id)[1].content["text"], "nobody");
}

#[test]
fn an_interrupt_is_answered_at_once_and_ends_the_running_cell() {
    for channel in [Channel::Control, Channel::Shell] {
        let mut client = Client::new();
        client.execute("wait");
        client.send(channel, "interrupt_request", &json!({}));
        let replies = [client.reply(), client.reply()].map(|(_, reply)| reply);
        assert_eq!(types(&replies), ["interrupt_reply", "execute_reply"]);
        assert_eq!(replies[1].content["ename"], "Interrupt");
    }
}

#[test]
fn sigint_interrupts_the_cell_and_not_the_kernel() {
    let mut client = Client::new();
    client.execute("wait");
    client.report.send(Event::Interrupted).unwrap();
    assert_eq!(client.reply().1.content["ename"], "Interrupt");
    assert_eq!(client.run("ok", &json!({})).0["status"], "ok");
}

#[test]
fn other_requests_are_answered_while_a_cell_runs() {
    let mut client = Client::new();
    client.execute("wait");
    let content = json!({"code": "x", "hist_access_type": "tail", "n": 3});
    for msg_type in
        ["complete", "inspect", "is_complete", "history", "kernel_info", "comm_info", "usage"]
    {
        client.send(Channel::Shell, &format!("{msg_type}_request"), &content);
        let (_, reply) = client.reply();
        assert_eq!(reply.header.msg_type, format!("{msg_type}_reply"));
        assert_ne!(reply.content["status"], "error", "{msg_type}");
    }
    client.gate.send(Gate::Open).unwrap();
    assert_eq!(client.reply().1.header.msg_type, "execute_reply");
}

#[test]
fn completions_carry_their_types() {
    let (reply, _) =
        Client::new().exchange("complete_request", &json!({"code": "äb", "cursor_pos": 99}));
    assert_eq!(reply["matches"], json!(["äb!"]));
    assert_eq!((&reply["cursor_start"], &reply["cursor_end"]), (&json!(0), &json!(2)));
    let typed = json!([{
        "start": 0, "end": 2, "text": "äb!", "type": "function", "signature": "fn()",
    }]);
    assert_eq!(reply["metadata"]["_jupyter_types_experimental"], typed);
}

#[test]
fn inspection_says_whether_something_was_found() {
    let mut client = Client::new();
    let content = json!({"code": "x", "cursor_pos": 1, "detail_level": 1});
    let (reply, _) = client.exchange("inspect_request", &content);
    let found = json!({
        "status": "ok", "found": true, "data": {"text/plain": "x 1 1"}, "metadata": {},
    });
    assert_eq!(reply, found);
    let (reply, _) = client.exchange("inspect_request", &json!({"code": "slow"}));
    assert_eq!(reply["data"]["text/plain"], "slow 4");
    let (reply, _) = client.exchange("inspect_request", &json!({"code": "unknown"}));
    assert_eq!((&reply["found"], &reply["data"]), (&json!(false), &json!({})));
}

#[test]
fn completeness_has_its_own_statuses() {
    for (code, expect) in [
        ("x", json!({"status": "complete"})),
        ("{", json!({"status": "incomplete", "indent": "    "})),
        ("}", json!({"status": "invalid"})),
    ] {
        assert_eq!(Client::new().exchange("is_complete_request", &json!({"code": code})).0, expect);
    }
}

#[test]
fn the_history_holds_what_was_stored() {
    let mut client = Client::new();
    client.run("value 5", &json!({}));
    client.run("secret", &json!({"store_history": false}));
    client.run("ok", &json!({}));
    let content = json!({"hist_access_type": "tail", "n": 9, "output": true, "raw": true});
    let (reply, _) = client.exchange("history_request", &content);
    assert_eq!(reply["history"], json!([[1, 1, ["value 5", "5"]], [1, 2, ["ok", null]]]));
    let content = json!({"hist_access_type": "search", "pattern": "v*"});
    assert_eq!(
        client.exchange("history_request", &content).0["history"],
        json!([[1, 1, "value 5"]])
    );
}

#[test]
fn kernel_info_names_the_language_for_tools() {
    let mut client = Client::new();
    for channel in [Channel::Shell, Channel::Control] {
        let info = check_ends(&mut client, channel, "kernel_info_request", &json!({}));
        assert_eq!((&info["status"], &info["protocol_version"]), (&json!("ok"), &json!("5.5")));
        assert_eq!(
            (&info["implementation"], &info["supported_features"]),
            (&json!("parcell"), &json!([]))
        );
        let language = &info["language_info"];
        assert!(language["version"].as_str().unwrap().starts_with("1."), "{language}");
        assert_eq!(
            (&language["name"], &language["file_extension"]),
            (&json!("rust"), &json!(".rs"))
        );
    }
}

#[test]
fn a_comm_is_closed_when_it_opens() {
    let mut client = Client::new();
    let content = json!({"comm_id": "c1", "target_name": "any", "data": {}});
    let id = client.send(Channel::Shell, "comm_open", &content);
    let outputs = client.outputs(&id);
    assert_eq!(types(&outputs), ["comm_close"]);
    assert_eq!(outputs[0].content, json!({"comm_id": "c1", "data": {}}));
    assert_eq!(client.exchange("comm_info_request", &json!({})).0["comms"], json!({}));
}

#[test]
fn a_shutdown_answers_everybody_and_ends_also_while_a_cell_runs() {
    for (channel, restart) in [(Channel::Control, true), (Channel::Shell, false)] {
        let mut client = Client::new();
        let running = client.execute("wait");
        let queued = client.execute("ok");
        client.send(channel, "shutdown_request", &json!({"restart": restart}));
        let (on, reply) = client.reply();
        assert_eq!((on, reply.content), (channel, json!({"restart": restart, "status": "ok"})));
        let statuses = [client.reply(), client.reply()]
            .map(|(_, reply)| (reply.answers["msg_id"].clone(), reply.content["status"].clone()));
        assert_eq!(statuses, [(json!(queued), json!("aborted")), (json!(running), json!("error"))]);
        let told = |client: &mut Client| client.published().header.msg_type == "shutdown_reply";
        while !told(&mut client) {}
        client.wait_for_end();
    }
}

#[test]
fn sigterm_ends_the_kernel_also_while_a_cell_asks() {
    let mut client = Client::new();
    client.execute("ask x");
    assert_eq!(client.reply().1.header.msg_type, "input_request");
    client.report.send(Event::Ended).unwrap();
    assert_eq!(client.reply().1.content["status"], "ok", "the cell went on with no answer");
    client.wait_for_end();
}

#[test]
fn the_kernel_ends_when_its_connection_does() {
    let mut client = Client::new();
    let (outgoing, _) = crossbeam_channel::unbounded();
    client.peer.outgoing = outgoing;
    client.wait_for_end();
}
