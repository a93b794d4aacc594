//! The server over real sockets, against clients made of the same library.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use zmq::{Context, DEALER, SUB, Socket};

use super::*;

fn client(kind: zmq::SocketType, file: &ConnectionFile, port: u16) -> Socket {
    let socket = Context::new().socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(5_000).unwrap();
    let endpoint = match file.transport {
        Transport::Tcp => format!("tcp://{}:{port}", file.ip),
        Transport::Ipc => format!("ipc://{}", file.ipc_path(port).display()),
    };
    socket.connect(&endpoint).unwrap();
    socket
}

fn subscriber(file: &ConnectionFile, topic: &str) -> Socket {
    let socket = client(SUB, file, file.ports.iopub);
    socket.set_subscribe(topic.as_bytes()).unwrap();
    assert_eq!(text(&socket), format!("welcome {topic}"));
    socket
}

fn text(socket: &Socket) -> String {
    let frames = socket.recv_multipart(0).expect("a message within 5 s");
    frames.iter().map(|f| String::from_utf8_lossy(f)).collect::<Vec<_>>().join(" ")
}

fn frames(parts: &[&str]) -> Frames {
    parts.iter().map(|part| part.as_bytes().to_vec()).collect()
}

fn started(mut file: ConnectionFile) -> (Server, Connection, ConnectionFile) {
    let welcome = |topic: &[u8]| vec![b"welcome".to_vec(), topic.to_vec()];
    // The subscription must match the topic of the welcome.
    let welcome = move |topic: &[u8]| match topic {
        b"" => vec![b"welcome ".to_vec()],
        _ => {
            let greeting = welcome(topic);
            vec![[greeting[0].clone(), b" ".to_vec(), greeting[1].clone()].concat()]
        }
    };
    let (server, connection) = start(&mut file, Duration::from_millis(300), welcome).unwrap();
    (server, connection, file)
}

#[test]
fn requests_and_replies_find_their_way_over_both_transports() {
    let folder = tempfile::tempdir().unwrap();
    let ip = folder.path().join("kernel").display().to_string();
    let ipc = ConnectionFile { transport: Transport::Ipc, ip, ..ConnectionFile::new() };
    for file in [ConnectionFile::new(), ipc] {
        let (server, connection, file) = started(file);
        for port in [file.ports.shell, file.ports.control, file.ports.stdin] {
            let socket = client(DEALER, &file, port);
            socket.send_multipart(["a", "b"], 0).unwrap();
            let (channel, mut request) = connection.incoming.recv().unwrap();
            assert_eq!(request.split_off(1), frames(&["a", "b"]));
            request.push(b"reply".to_vec());
            connection.outlet.reply(channel, request);
            assert_eq!(text(&socket), "reply");
        }
        drop(server);
        assert!(file.socket_files().iter().all(|socket| !socket.exists()));
    }
}

#[test]
fn the_heartbeat_echoes_what_it_is_sent() {
    let (_server, _connection, file) = started(ConnectionFile::new());
    let socket = client(zmq::REQ, &file, file.ports.heartbeat);
    for beat in ["ping", "something else", ""] {
        socket.send(beat, 0).unwrap();
        assert_eq!(text(&socket), beat);
    }
}

#[test]
fn each_subscriber_is_welcomed_also_the_second_one_of_a_topic() {
    let (_server, connection, file) = started(ConnectionFile::new());
    let first = subscriber(&file, "");
    let second = subscriber(&file, "");
    assert_eq!(text(&first), "welcome ", "it sees the other one's");
    connection.outlet.publish(frames(&["topic", "x"]));
    assert_eq!((text(&first), text(&second)), ("topic x".into(), "topic x".into()));
}

#[test]
fn a_hundred_megabytes_reach_a_slow_reader_whole_and_in_order() {
    let (_server, connection, file) = started(ConnectionFile::new());
    let socket = subscriber(&file, "");
    const MESSAGES: u32 = 1_600;
    let outlet = connection.outlet.clone();
    let cell = thread::spawn(move || {
        for number in 0..MESSAGES {
            let output = vec![number.to_le_bytes().to_vec(), vec![b'x'; 1 << 16]];
            outlet.publish_when_there_is_room(output);
        }
    });
    for number in 0..MESSAGES {
        let output = socket.recv_multipart(0).unwrap();
        assert_eq!(output[0], number.to_le_bytes());
    }
    cell.join().unwrap();
}

#[test]
fn a_subscriber_that_never_reads_does_not_stop_the_others() {
    let (_server, connection, file) = started(ConnectionFile::new());
    let stuck = subscriber(&file, "");
    stuck.set_rcvhwm(1).unwrap();
    let reader = subscriber(&file, "");
    let outlet = connection.outlet.clone();
    let cell = thread::spawn(move || {
        for _ in 0..2_000 {
            outlet.publish_when_there_is_room(vec![vec![b'x'; 1 << 16]]);
        }
        outlet.publish(frames(&["last"]));
    });
    while text(&reader) != "last" {}
    cell.join().unwrap();
    drop(stuck);
}

#[test]
fn what_is_still_on_its_way_is_pending() {
    let (_server, connection, file) = started(ConnectionFile::new());
    let socket = client(DEALER, &file, file.ports.shell);
    (0..200).for_each(|_| socket.send("request", 0).unwrap());
    connection.incoming.recv().unwrap();
    assert_eq!(connection.pending().len(), 199);
}

#[test]
fn replies_that_were_queued_before_the_end_are_still_sent() {
    let (server, connection, file) = started(ConnectionFile::new());
    let socket = client(DEALER, &file, file.ports.shell);
    socket.send("request", 0).unwrap();
    let (channel, request) = connection.incoming.recv().unwrap();
    for number in 0..200 {
        let mut reply = request[..1].to_vec();
        reply.push(format!("{number}").into_bytes());
        connection.outlet.reply(channel, reply);
    }
    drop(server);
    (0..200).for_each(|number| assert_eq!(text(&socket), format!("{number}")));
}

#[test]
fn an_oversized_frame_ends_only_the_connection_that_sent_it() {
    let (_server, connection, file) = started(ConnectionFile::new());
    let rude = client(DEALER, &file, file.ports.shell);
    rude.send(vec![0_u8; crate::wire::LIMIT + 1], 0).unwrap();
    let polite = client(DEALER, &file, file.ports.shell);
    polite.send("request", 0).unwrap();
    let (_, request) = connection.incoming.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(request[1], b"request");
}

#[test]
fn a_missing_connection_file_is_written_for_the_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernel.json");
    let (_server, _connection, file) = started(ConnectionFile::load(&path).unwrap());
    file.save(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let read = ConnectionFile::load(&path).unwrap();
    assert_eq!(read, file);
    assert!(read.ports.shell > 0 && !read.key.is_empty());
}

#[test]
fn a_connection_file_that_is_not_understood_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernel.json");
    for (text, expect) in [("{", "kernel.json"), (r#"{"signature_scheme": "md5"}"#, "md5")] {
        fs::write(&path, text).unwrap();
        let error = ConnectionFile::load(&path).unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
    }
    assert!(ConnectionFile::load(Path::new("/proc/self/mem/x")).is_err());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let (_server, _connection, file) = started(ConnectionFile::new());
    let error = start(&mut file.clone(), PATIENCE, |_: &[u8]| Vec::new()).err().unwrap();
    assert!(error.to_string().contains(&file.ports.control.to_string()), "{error}");
}
