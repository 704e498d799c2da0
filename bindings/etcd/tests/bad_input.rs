//! Invalid HTTP/2, invalid TLS and floods of either. The server must return an error or close the
//! connection, bound its memory, leave the store unchanged and serve other clients meanwhile.
//! Invalid JSON is tested in `gateway_abuse.rs`, floods of watches in `watch_load.rs`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libkv::{Db, LimitsPreset, Options, Put};
use libkv_etcd::Serve;
use libkv_test_support::dice::Dice;

use libkv_test_support::certificates::Certificates;
use libkv_test_support::deadline::deadline;
use libkv_test_support::http::Http;
use libkv_test_support::served::Served;

const WAIT_LIMIT: Duration = Duration::from_secs(20);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// The headers of a Range, without a body yet.
fn range_headers() -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x44, 22];
    block.extend(b"/etcdserverpb.KV/Range");
    block.extend(*b"\x41\x01x\x40\x02te\x08trailers\x40\x0ccontent-type\x10application/grpc");
    block
}

fn connect(served: &Served) -> TcpStream {
    let stream =
        TcpStream::connect(served.url().split_once("://").expect("a URL").1).expect("it listens");
    stream
        .set_read_timeout(Some(WAIT_LIMIT))
        .expect("a time-out");
    stream
        .set_write_timeout(Some(WAIT_LIMIT))
        .expect("a time-out");
    stream
}

/// Sends these bytes until the server stops reading. Returns whether the server then closed the
/// connection or left it open.
fn sent(served: &Served, bytes: &[u8]) -> &'static str {
    let mut stream = connect(served);
    let _ = stream.write_all(bytes);
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => "closed",
        Err(error) if matches!(error.kind(), std::io::ErrorKind::ConnectionReset) => "closed",
        Err(_) => "open",
    }
}

/// Asserts that other clients are served, and that the store is unchanged.
fn check_unchanged(served: &Served, revision: i64) {
    let cluster = libkv_etcd::open(served.url(), Options::new()).expect("connected");
    assert_eq!(
        cluster
            .range(libkv::Range::new("k"))
            .expect("a range")
            .revision,
        revision
    );
    assert_eq!(served.db.check().expect("a check").problems, []);
}

#[test]
fn frames_that_are_invalid_end_their_connection() {
    let _deadline = deadline();
    let served = Served::start("frames");
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let then = |frames: &[Vec<u8>]| [hello.clone(), frames.concat()].concat();
    let huge = [&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1][..], &[0; 100_000]].concat();
    for (name, bytes) in [
        (
            "a preface with a wrong end",
            [&PREFACE[..20], b"XX\r\n\r\n"].concat(),
        ),
        (
            "a first frame that is not settings",
            [PREFACE, &frame(DATA, 0, 1, b"x")].concat(),
        ),
        ("a frame of 16 MiB", then(&[huge])),
        ("data on stream 0", then(&[frame(DATA, 0, 0, b"x")])),
        (
            "data of a stream that was never opened",
            then(&[frame(DATA, 0, 7, b"x")]),
        ),
        (
            "a stream with an even number",
            then(&[frame(HEADERS, END_HEADERS, 2, &range_headers())]),
        ),
        (
            "headers that cannot be decoded",
            then(&[frame(HEADERS, END_HEADERS, 1, &[0xff; 64])]),
        ),
        (
            "a header with an unknown index",
            then(&[frame(HEADERS, END_HEADERS, 1, &[0xfe])]),
        ),
        (
            "another frame between headers and their continuation",
            then(&[
                frame(HEADERS, 0, 1, &range_headers()),
                frame(PING, 0, 0, &[0; 8]),
            ]),
        ),
        (
            "a continuation without headers",
            then(&[frame(CONTINUATION, END_HEADERS, 1, &[0x83])]),
        ),
        (
            "padding longer than the frame",
            then(&[frame(HEADERS, END_HEADERS | 8, 1, &[200, 0x83])]),
        ),
        ("a ping of seven bytes", then(&[frame(PING, 0, 0, &[0; 7])])),
        (
            "settings of five bytes",
            then(&[frame(SETTINGS, 0, 0, &[0; 5])]),
        ),
        (
            "a window of more than 2^31",
            then(&[frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])]),
        ),
        (
            "a reset of stream 0",
            then(&[frame(RST_STREAM, 0, 0, &[0; 4])]),
        ),
        (
            "headers without an end",
            then(
                &[
                    vec![frame(HEADERS, 0, 1, &range_headers())],
                    vec![frame(CONTINUATION, 0, 1, b"\x40\x01a\x7f\xff\x80\x01"); 200_000],
                ]
                .concat(),
            ),
        ),
    ] {
        assert_eq!(sent(&served, &bytes), "closed", "{name}");
    }
    check_unchanged(&served, 1);
}

/// Sends a put with this path, and reads the frames of its stream: their kinds, up to the end.
fn put_at(served: &Served, path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x04, path.len() as u8];
    block.extend(path.bytes());
    block.extend(*b"\x41\x01x\x40\x02te\x08trailers\x40\x0ccontent-type\x10application/grpc");
    let message = b"\0\0\0\0\x03\x0a\x01k";
    let mut stream = connect(served);
    let frames = [
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &block),
        frame(DATA, END_STREAM, 1, message),
    ];
    stream
        .write_all(&[PREFACE, &frames.concat()].concat())
        .expect("sent");
    let mut kinds = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream
            .read_exact(&mut vec![0; length as usize])
            .expect("its payload");
        if head[5..] == 1_u32.to_be_bytes() {
            kinds.push(head[3]);
            if head[3] == RST_STREAM || (head[3] <= HEADERS && head[4] & END_STREAM != 0) {
                return kinds;
            }
        }
    }
}

/// Proxies and policies that check paths do not recognise a path without its slash.
#[test]
fn path_without_a_slash_is_not_served() {
    let _deadline = deadline();
    let served = Served::start("path");
    let kinds = put_at(&served, "etcdserverpb.KV/Put");
    assert_eq!(kinds, [RST_STREAM]);
    assert_eq!(
        served.db.status().expect("a status").revision,
        1,
        "nothing was written"
    );
    assert_eq!(
        put_at(&served, "/etcdserverpb.KV/Put"),
        [HEADERS, DATA, HEADERS]
    );
    assert_eq!(served.db.status().expect("a status").revision, 2);
}

#[test]
fn random_bytes_end_their_connection() {
    let _deadline = deadline();
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    println!("SEED={seed}");
    let mut dice = Dice(seed);
    let served = Served::start("random-bytes");
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    for round in 0..300 {
        let mut bytes = if round % 3 == 0 {
            Vec::new()
        } else {
            hello.clone()
        };
        for _ in 0..dice.below(8) {
            let length = dice.below(200) as usize;
            let payload = dice.bytes(length);
            match round % 3 {
                2 => bytes.extend(frame(
                    dice.below(12) as u8,
                    dice.roll() as u8,
                    dice.below(6) as u32,
                    &payload,
                )),
                _ => bytes.extend(payload),
            }
        }
        let mut stream = connect(&served);
        let _ = stream.write_all(&bytes);
        // half of the clients close the connection; half only stop sending and wait for the end
        if round % 2 == 0 {
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let ended = stream.read_to_end(&mut Vec::new());
            let open = ended.is_err_and(|e| matches!(e.kind(), std::io::ErrorKind::WouldBlock));
            assert!(
                !open,
                "round {round} of SEED={seed}: the connection stays open"
            );
        }
    }
    check_unchanged(&served, 1);
}

/// Streams that are opened and reset at once. Pings and settings from a client that never reads.
#[test]
fn frame_floods_do_not_stop_others() {
    let _deadline = deadline();
    let served = Served::start("floods");
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let resets = (0..100_000).flat_map(|at| {
        let stream = at * 2 + 1;
        [
            frame(HEADERS, END_HEADERS, stream, &range_headers()),
            frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
        ]
        .concat()
    });
    let floods: [(&str, Vec<u8>); 3] = [
        ("resets", resets.collect()),
        ("pings", frame(PING, 0, 0, &[7; 8]).repeat(1_000_000)),
        (
            "settings",
            frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(500_000),
        ),
    ];
    let before = anonymous_bytes("self");
    for (name, flood) in floods {
        let mut stream = connect(&served);
        stream
            .set_write_timeout(Some(Duration::from_secs(1)))
            .expect("a time-out");
        let _ = stream
            .write_all(&hello)
            .and_then(|()| stream.write_all(&flood));
        check_unchanged(&served, 1);
        drop(flood);
        let grown = anonymous_bytes("self").saturating_sub(before);
        println!("after the flood of {name}: {} kB more memory", grown / 1024);
        assert!(grown < 200 << 20, "the flood of {name} costs {grown} bytes");
    }
}

#[test]
fn http_1_on_grpc_paths_is_refused() {
    let _deadline = deadline();
    let served = Served::start("http1");
    for content in [
        "application/grpc",
        "application/grpc+proto",
        "application/json",
    ] {
        for path in [
            "/etcdserverpb.KV/Range",
            "/etcdserverpb.Watch/Watch",
            "/nothing.At/All",
        ] {
            let content_type = format!("Content-Type: {content}");
            let mut http = Http::to(&served.url());
            http.request(
                "POST",
                path,
                &[&content_type, "Connection: close"],
                &[0, 0, 0, 0, 3, 10, 1, b'k'],
            );
            let status = http.response(true).expect("a response").status;
            assert!(
                (400..500).contains(&status),
                "{path} as {content}: {status}"
            );
        }
    }
    check_unchanged(&served, 1);
}

/// Handshakes that are cut, that never begin, and bytes that are not a handshake.
#[test]
fn tls_handshakes_that_are_invalid() {
    let _deadline = deadline();
    let dir =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bad-tls-{}", std::process::id()));
    let files = Certificates::new(&dir);
    let how = Serve::new("https://127.0.0.1:0")
        .cert_file(&files.server)
        .key_file(&files.server_key);
    let served = Served::with("bad-tls", Options::new().limits(LimitsPreset::Etcd), how);
    // a ClientHello of TLS 1.2 without extensions: every prefix of it, and some more bytes after it
    let mut hello = vec![1, 0, 0, 41, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    let record = [&[22, 3, 1, 0, hello.len() as u8][..], &hello].concat();
    for length in 0..=record.len() {
        let mut stream = connect(&served);
        let _ = stream.write_all(&record[..length]);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(
            !ended.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock),
            "cut at {length}: left open"
        );
    }
    for (name, bytes) in [
        (
            "plain HTTP/1",
            b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        ),
        ("plain HTTP/2", PREFACE.to_vec()),
        (
            "a record that is too long",
            [&[22, 3, 1, 0xff, 0xff][..], &[0; 65535]].concat(),
        ),
        ("a record of an unknown type", vec![99; 1000]),
        ("an alert", vec![21, 3, 3, 0, 2, 2, 40]),
    ] {
        assert_eq!(sent(&served, &bytes), "closed", "{name}");
    }
    // more silent or half handshakes than the server allows at a time; a valid client is served
    let silent: Vec<TcpStream> = (0..600)
        .map(|at| {
            let mut stream = connect(&served);
            if at % 2 == 0 {
                stream.write_all(&record[..20]).expect("sent");
            }
            stream
        })
        .collect();
    let cluster =
        libkv_etcd::open(served.url(), Options::new().tls_ca(&files.ca)).expect("connected");
    assert_eq!(cluster.put(Put::new("k", "v")).expect("a put").revision, 2);
    drop(silent);
    assert_eq!(served.db.check().expect("a check").problems, []);
    fs::remove_dir_all(dir).expect("removed");
}

/// A server in another process, and its store.
struct Process {
    child: Child,
    url: String,
    store: PathBuf,
}

impl Process {
    fn start(name: &str) -> Process {
        let store = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&store);
        let mut command = Command::new(env!("CARGO_BIN_EXE_serve_worker"));
        let mut child = command
            .arg(&store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut url)
            .expect("its address");
        Process {
            child,
            url: url.trim().into(),
            store,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.store);
    }
}

/// The resident memory of a process that no file backs.
fn anonymous_bytes(pid: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .expect("RssAnon");
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse::<u64>()
        .expect("a number")
        * 1024
}

/// Raises the soft limit of descriptors of this process to the hard limit. Returns the limit, or 0
/// if it cannot be raised.
fn descriptors() -> u64 {
    let pid = std::process::id().to_string();
    let hard = || {
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"))?
            .split_whitespace()
            .nth(4)?;
        Some(if line == "unlimited" {
            1 << 20
        } else {
            line.parse::<u64>().ok()?
        })
    };
    let hard = hard().unwrap_or(0).min(1 << 20);
    let raised = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--nofile={hard}:{hard}")])
        .status();
    if raised.is_ok_and(|status| status.success()) {
        hard
    } else {
        0
    }
}

#[test]
fn connections_ten_thousand_at_once() {
    let _deadline = deadline();
    const CONNECTIONS: usize = 10_000;
    if descriptors() < CONNECTIONS as u64 + 500 {
        return println!(
            "not run: 10,000 connections to one server (the limit of descriptors is too low)"
        );
    }
    let server = Process::start("connections");
    let pid = server.child.id().to_string();
    let db = libkv_etcd::open(&server.url, Options::new()).expect("connected");
    db.put(Put::new("k", "v")).expect("a put");
    let (before, held_before) = (anonymous_bytes(&pid), opened(&pid));
    let address = server.url.trim_start_matches("http://");
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let all: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|at| {
            let mut stream =
                TcpStream::connect(address).unwrap_or_else(|e| panic!("connection {at}: {e}"));
            stream
                .set_read_timeout(Some(WAIT_LIMIT))
                .expect("a time-out");
            stream.write_all(&hello).expect("sent");
            stream
        })
        .collect();
    for (at, mut stream) in all.iter().enumerate() {
        // the server sends its settings on each connection
        let mut head = [0; 9];
        stream
            .read_exact(&mut head)
            .unwrap_or_else(|e| panic!("connection {at}: {e}"));
        assert_eq!(head[3], SETTINGS);
    }
    assert!(opened(&pid) >= held_before + CONNECTIONS);
    assert_eq!(
        db.put(Put::new("k", "w"))
            .expect("a put beside them")
            .revision,
        3
    );
    let each = (anonymous_bytes(&pid) - before) / CONNECTIONS as u64;
    println!("10,000 idle connections of HTTP/2: {each} bytes of memory for each");
    assert!(each < 64 << 10, "{each} bytes a connection");
    drop(all);
    let until = Instant::now() + WAIT_LIMIT;
    while opened(&pid) > held_before + 10 {
        assert!(
            Instant::now() < until,
            "the server still holds connections that were closed"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(
        db.get("k").expect("a get").expect("the key exists").value,
        "w"
    );
    let local = Db::open(&server.store, Options::new()).expect("the store opens");
    assert_eq!(local.check().expect("a check").problems, []);
}

fn opened(pid: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the process runs")
        .count()
}
