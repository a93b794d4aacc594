//! What the operating system itself needs between two processes: the measure for `processes.py`.
//!
//! `processes pingpong N` prints the median microseconds of a round trip of 64 bytes over a Unix
//! socket; `processes transfer BYTES N` the shortest seconds of a transfer into fresh memory.
//! The other process is this program, started again.

use std::env;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Instant;

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let number = |i: usize| words[i].parse::<usize>().expect("a number");
    match words[0].as_str() {
        "pingpong" => println!("{:.3}", pingpong(number(1))),
        "transfer" => println!("{:.6}", transfer(number(1), number(2))),
        "echo" => echo(inherited()),
        "pour" => pour(inherited(), number(1)),
        other => panic!("{other}?"),
    }
}

/// Starts the other process with one end of a socket as its standard input.
fn other(words: &[&str]) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().expect("a socket");
    let program = env::current_exe().expect("this program");
    Command::new(program).args(words).stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).spawn().expect("a process");
    ours
}

fn inherited() -> UnixStream {
    // SAFETY: the parent gave the socket as standard input, which nothing else uses.
    unsafe { UnixStream::from_raw_fd(std::io::stdin().as_raw_fd()) }
}

fn pingpong(times: usize) -> f64 {
    let mut socket = other(&["echo"]);
    let mut buffer = [0; 64];
    let mut round = || {
        let start = Instant::now();
        socket.write_all(&buffer).expect("written");
        socket.read_exact(&mut buffer).expect("read");
        start.elapsed().as_secs_f64()
    };
    let mut all: Vec<f64> = (0..times).map(|_| round()).collect();
    all.sort_by(f64::total_cmp);
    all[times / 2] * 1e6
}

fn echo(mut socket: UnixStream) {
    let mut buffer = [0; 64];
    while socket.read_exact(&mut buffer).is_ok() {
        socket.write_all(&buffer).expect("written");
    }
}

/// Asks for the bytes and reads them into memory that was never touched, as whoever fetches an array.
fn transfer(bytes: usize, times: usize) -> f64 {
    let mut socket = other(&["pour", &bytes.to_string()]);
    let mut once = || {
        let start = Instant::now();
        socket.write_all(b"!").expect("asked");
        let mut memory = Vec::with_capacity(bytes);
        (&mut socket).take(bytes as u64).read_to_end(&mut memory).expect("read");
        let time = start.elapsed().as_secs_f64();
        assert_eq!(memory.len(), bytes);
        time
    };
    (0..times).map(|_| once()).fold(f64::MAX, f64::min)
}

fn pour(mut socket: UnixStream, bytes: usize) {
    let memory = vec![1_u8; bytes];
    let mut word = [0];
    while socket.read_exact(&mut word).is_ok() {
        if socket.write_all(&memory).is_err() {
            return;
        }
    }
}
