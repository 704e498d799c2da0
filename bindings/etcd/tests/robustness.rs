//! What comes in badly: an error in etcd's words or a closed connection, and the next client is
//! served.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use libkv_etcd::pb::etcdserverpb as pb;
use libkv_etcd::{Serve, serve};
use libkv_test_support::deadline::{deadline, until};
use libkv_test_support::http::Http;
use support::{Served, connect, run, store};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A frame of no settings.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

fn put(key: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_string().into(),
        value: "v".into(),
        ..Default::default()
    }
}

fn host(address: &str) -> &str {
    address.strip_prefix("http://").expect("it is TCP")
}

/// What the server says of itself in `/metrics`: open connections, and requests and streams under
/// way. The connection and the request that ask are among them.
fn load(address: &str) -> (u64, u64) {
    let text = Http::to(address).ask("GET", "/metrics", b"").text();
    let gauge = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.trim().parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    (
        gauge("libkv_server_connections "),
        gauge("libkv_server_requests "),
    )
}

/// Waits until the server has no more connections and requests than it had.
fn load_returns_to(address: &str, before: (u64, u64)) {
    let mut now = before;
    until("the server lets go of what clients left", || {
        now = load(address);
        now.0 <= before.0 && now.1 <= before.1
    });
    println!("{now:?} connections and requests, {before:?} before");
}

/// A connection on which these bytes were sent.
fn sent(address: &str, sent: &[&[u8]]) -> TcpStream {
    let mut stream = TcpStream::connect(host(address)).expect("it is let in");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a time-out");
    for bytes in sent {
        // it may have closed already
        let _ = stream.write_all(bytes);
    }
    stream
}

/// What the server answers these bytes, and that nothing follows, until it closes the connection.
fn response(address: &str, bytes: &[&[u8]]) -> Vec<u8> {
    let stream = sent(address, bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    rest(stream)
}

/// What comes until the server closes the connection.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut response = Vec::new();
    if let Err(error) = stream.read_to_end(&mut response) {
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "it is closed in time"
        );
    }
    response
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let address = served.server.address();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut noise = |length: usize| -> Vec<u8> {
            (0..length)
                .map(|_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    random as u8
                })
                .collect()
        };
        for round in 0..20 {
            let noise = noise(1 << (round % 14));
            response(address, &[&noise]);
            response(address, &[PREFACE, &noise]);
            response(address, &[PREFACE, SETTINGS, &noise]);
        }
        // a frame that says it is longer than any may be, and one cut in the middle
        response(
            address,
            &[PREFACE, SETTINGS, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]],
        );
        response(
            address,
            &[PREFACE, SETTINGS, &[0, 0, 100, 1, 4, 0, 0, 0, 1, 0x82]],
        );
        response(address, &[&PREFACE[..10]]);
        served.kv().put(put("a")).await.expect("the others go on");
        assert_eq!(served.db.status().expect("it is open").revision, 2);
    });
}

#[test]
fn http_1_on_the_paths_of_grpc_finds_nothing() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let request = b"POST /etcdserverpb.KV/Range HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        // whoever has closed their side may have gone, and is not waited for
        let found = rest(sent(served.server.address(), &[request]));
        assert!(
            found.starts_with(b"HTTP/1.1 404"),
            "{}",
            found.escape_ascii()
        );
        let found = response(served.server.address(), &[b"\x01\x02 not http\r\n\r\n"]);
        assert!(
            found.is_empty() || found.starts_with(b"HTTP/1.1 400"),
            "{}",
            found.escape_ascii()
        );
        let mut long = b"GET / HTTP/1.1\r\nx: ".to_vec();
        long.resize(1 << 20, b'x');
        let found = response(served.server.address(), &[&long]);
        assert!(
            found.is_empty() || found.starts_with(b"HTTP/1.1 4"),
            "{}",
            found.escape_ascii()
        );
        served.kv().put(put("a")).await.expect("the others go on");
    });
}

/// A client of plain HTTP/2.
async fn http2(address: &str) -> h2::client::SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(host(address))
        .await
        .expect("it is let in");
    let (client, connection) = h2::client::handshake(stream)
        .await
        .expect("it speaks HTTP/2");
    tokio::spawn(connection);
    client.ready().await.expect("it is open")
}

fn request(path: &str) -> http::request::Builder {
    http::Request::post(format!("http://a{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

/// gRPC's code and text, from the headers or the trailers.
async fn outcome(response: h2::client::ResponseFuture) -> (i32, String) {
    let mut response = response.await.expect("a response");
    let mut headers = response.headers().clone();
    if !headers.contains_key("grpc-status") {
        let body = response.body_mut();
        while let Some(data) = body.data().await {
            let _ = body
                .flow_control()
                .release_capacity(data.expect("it goes on").len());
        }
        headers = body
            .trailers()
            .await
            .expect("they come")
            .expect("there are some");
    }
    let text = |name: &str| {
        headers
            .get(name)
            .map(|text| text.to_str().expect("text").to_string())
            .unwrap_or_default()
    };
    (
        text("grpc-status").parse().expect("a number"),
        text("grpc-message").replace("%20", " "),
    )
}

#[test]
fn message_that_declares_a_huge_size_is_refused_at_once() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut client = http2(served.server.address()).await;
        for (head, code, text) in [
            (
                [0, 0xff, 0xff, 0xff, 0xff],
                8,
                "grpc: received message larger than max (4294967295 vs. 2097152)",
            ),
            ([9, 0, 0, 0, 0], 13, "invalid compression flag"),
            ([1, 0, 0, 0, 0], 13, "compressed-flag but no grpc-encoding"),
        ] {
            let sent = request("/etcdserverpb.KV/Put").body(()).expect("a request");
            // the body never ends
            let (response, mut body) = client.send_request(sent, false).expect("it is open");
            body.send_data(Bytes::copy_from_slice(&head), false)
                .expect("it is open");
            let (found, message) = outcome(response).await;
            assert!(found == code && message.contains(text), "{found} {message}");
        }
        served.kv().put(put("a")).await.expect("the others go on");
    });
}

#[test]
fn deadline_of_a_client_cancels_its_request() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut client = http2(served.server.address()).await;
        let sent = request("/etcdserverpb.KV/Put")
            .header("grpc-timeout", "20m")
            .body(())
            .expect("a request");
        // a body that does not come
        let (response, _body) = client.send_request(sent, false).expect("it is open");
        assert_eq!(
            outcome(response).await,
            (4, "context deadline exceeded".to_string())
        );
        let sent = request("/etcdserverpb.KV/Put")
            .header("grpc-timeout", "soon")
            .body(())
            .expect("a request");
        let (response, _body) = client.send_request(sent, false).expect("it is open");
        assert_eq!(outcome(response).await.0, 13);
        assert_eq!(served.db.status().expect("it is open").revision, 1);
    });
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let address = served.server.address();
        let before = load(address);
        let mut clients = Vec::new();
        for _ in 0..50 {
            let channel = connect(address).await;
            let mut lease = pb::lease_client::LeaseClient::new(channel.clone());
            let (ask, asked) = tokio::sync::mpsc::channel(1);
            ask.send(pb::LeaseKeepAliveRequest { id: 1 })
                .await
                .expect("it is open");
            let mut kept = lease
                .lease_keep_alive(ReceiverStream::new(asked))
                .await
                .expect("a stream")
                .into_inner();
            kept.message().await.expect("it lives").expect("a response");
            // half a request, and gone
            let mut stream = TcpStream::connect(host(address)).expect("it is let in");
            stream.write_all(PREFACE).expect("it is taken");
            clients.push((channel, ask, kept, stream));
        }
        until(
            "all connections are open, and all streams are under way",
            || {
                let (connections, requests) = load(address);
                connections >= before.0 + 100 && requests >= before.1 + 50
            },
        );
        drop(clients);
        served.kv().put(put("a")).await.expect("the others go on");
        load_returns_to(address, before);
        served.server.close();
    });
}

/// A client that reads nothing: what it asked for stays where it is, and others are served.
#[test]
fn slow_reader_does_not_delay_others() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        for number in 0..100 {
            served
                .db
                .put(libkv::Put::new(format!("{number:03}"), vec![b'x'; 10_000]))
                .expect("a put");
        }
        let address = served.server.address();
        let before = load(address);
        let mut slow = http2(address).await;
        let mut message = vec![0, 0, 0, 0, 6];
        message.extend_from_slice(&[0x0a, 1, 0, 0x12, 1, 0]);
        let mut waiting = Vec::new();
        for _ in 0..50 {
            let sent = request("/etcdserverpb.KV/Range")
                .body(())
                .expect("a request");
            let (response, mut body) = slow.send_request(sent, false).expect("it is open");
            body.send_data(Bytes::copy_from_slice(&message), true)
                .expect("it is open");
            waiting.push(response);
        }
        for _ in 0..100 {
            served.kv().put(put("a")).await.expect("the others go on");
        }
        let (_, requests) = load(address);
        assert!(
            requests >= before.1 + 40,
            "only {requests} of 50 requests are still under way: the reader is not slow"
        );
        drop((waiting, slow));
        load_returns_to(address, before);
        served.server.close();
    });
}

#[test]
fn connections_two_thousand_are_held_and_released() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let address = served.server.address();
        let before = load(address);
        let mut held = Vec::new();
        for number in 0..2_000 {
            let mut stream = TcpStream::connect(host(address)).expect("it is let in");
            if number % 2 == 0 {
                stream
                    .write_all(PREFACE)
                    .and_then(|()| stream.write_all(SETTINGS))
                    .expect("it is taken");
            }
            held.push(stream);
        }
        served.kv().put(put("a")).await.expect("the others go on");
        // the server has spoken to each that spoke
        for stream in held.iter_mut().step_by(2) {
            stream
                .set_read_timeout(Some(Duration::from_secs(30)))
                .expect("a time-out");
            stream.read_exact(&mut [0; 9]).expect("its settings");
        }
        until("2,000 connections are open", || {
            load(address).0 >= before.0 + 2_000
        });
        drop(held);
        served.kv().put(put("a")).await.expect("the others go on");
        load_returns_to(address, before);
    });
}

#[test]
fn requests_five_thousand_at_once_have_responses() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let puts = (0..5_000).map(|number| {
            let mut kv = served.kv();
            async move { kv.put(put(&format!("{number}"))).await }
        });
        for response in join_all(puts).await {
            response.expect("a put");
        }
        assert_eq!(served.db.status().expect("it is open").keys, Some(5_000));
    });
}

#[test]
fn requests_in_flight_at_close_have_responses() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let writers = (0..64).map(|writer| {
            let mut kv = served.kv();
            tokio::spawn(async move {
                let mut written = Vec::new();
                for number in 0.. {
                    let key = format!("{writer}-{number}");
                    match kv.put(put(&key)).await {
                        Ok(_) => written.push(key),
                        // the server says so, or the connection has ended: this client cannot tell
                        // more
                        Err(status) => {
                            assert!(
                                matches!(
                                    status.code(),
                                    Code::Unavailable
                                        | Code::Unknown
                                        | Code::Cancelled
                                        | Code::Internal
                                ),
                                "{status:?}"
                            );
                            break;
                        }
                    }
                }
                written
            })
        });
        let writers: Vec<_> = writers.collect();
        // when some have written
        until("100 writes", || {
            served.db.status().expect("it is open").revision >= 100
        });
        tokio::task::block_in_place(|| served.server.close());
        for writer in writers {
            for key in writer.await.expect("no panic") {
                assert!(
                    served.db.get(&key).expect("it is open").is_some(),
                    "{key} was acknowledged"
                );
            }
        }
    });
}

/// Run by the next test in a process of its own, which has few descriptors.
#[test]
fn descriptors_child() {
    let _deadline = deadline();
    if std::env::var_os("FEW_DESCRIPTORS").is_none() {
        return;
    }
    let how = Serve::new("127.0.0.1:0").log(|level, line| println!("\nlog {level:?} {line}"));
    let server = serve(&store(), how).expect("it serves");
    println!("\naddress {}", server.address());
    let _ = std::io::stdin().read(&mut [0]);
    server.close();
    println!("\nclosed");
}

#[test]
fn descriptors_exhausted_do_not_end_the_server() {
    let _deadline = deadline();
    let own = std::env::current_exe().expect("this program");
    let mut child = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 64 && exec \"$0\" --exact descriptors_child --nocapture",
        ])
        .arg(own)
        .env("FEW_DESCRIPTORS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(
        child.stdout.take().expect("its output"),
    ));
    let mut find = |what: &str| loop {
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("it ended before {what:?}"))
            .expect("text");
        if let Some(rest) = line.strip_prefix(what) {
            return rest.to_string();
        }
    };
    let address = find("address ");
    let held: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(host(&address)).expect("the backlog takes it"))
        .collect();
    assert!(find("log Error ").contains("no connection can be accepted"));
    drop(held);
    run(async {
        let mut kv = pb::kv_client::KvClient::new(connect(&address).await);
        kv.put(put("a")).await.expect("it goes on");
    });
    drop(child.stdin.take());
    find("closed");
    assert!(child.wait().expect("it ends").success());
}
