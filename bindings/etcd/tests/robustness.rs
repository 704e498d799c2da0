//! Bad requests and connections: the server returns etcd's error or closes the connection, and
//! serves the next client.

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
/// An empty settings frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

fn put(key: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_string().into(),
        value: "v".into(),
        ..Default::default()
    }
}

fn host(address: &str) -> &str {
    address.strip_prefix("http://").expect("an address of TCP")
}

/// The numbers of open connections and of active requests and streams, from `/metrics`. The
/// connection and the request that read them are included.
fn load(address: &str) -> (u64, u64) {
    let text = Http::to(address).call("GET", "/metrics", b"").text();
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

/// Waits until the server has no more connections and requests than before.
fn load_returns_to(address: &str, before: (u64, u64)) {
    let mut now = before;
    until("the server closes what clients left open", || {
        now = load(address);
        now.0 <= before.0 && now.1 <= before.1
    });
    println!("{now:?} connections and requests, {before:?} before");
}

/// Opens a connection and sends these bytes.
fn sent(address: &str, sent: &[&[u8]]) -> TcpStream {
    let mut stream = TcpStream::connect(host(address)).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a time-out");
    for bytes in sent {
        // the server may have closed it already
        let _ = stream.write_all(bytes);
    }
    stream
}

/// Sends these bytes and closes the sending side. Returns what the server sends until it closes
/// the connection.
fn response(address: &str, bytes: &[&[u8]]) -> Vec<u8> {
    let stream = sent(address, bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    rest(stream)
}

/// Everything that the server sends until it closes the connection.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut response = Vec::new();
    if let Err(error) = stream.read_to_end(&mut response) {
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "the server closes the connection in time"
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
        // a frame with a length above the maximum, and a frame that is cut
        response(
            address,
            &[PREFACE, SETTINGS, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]],
        );
        response(
            address,
            &[PREFACE, SETTINGS, &[0, 0, 100, 1, 4, 0, 0, 0, 1, 0x82]],
        );
        response(address, &[&PREFACE[..10]]);
        served
            .kv()
            .put(put("a"))
            .await
            .expect("other clients are served");
        assert_eq!(served.db.status().expect("open").revision, 2);
    });
}

#[test]
fn http_1_on_grpc_paths_is_not_found() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let request = b"POST /etcdserverpb.KV/Range HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        // the client keeps its sending side open: the server may drop a request whose client closed
        // it
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
        served
            .kv()
            .put(put("a"))
            .await
            .expect("other clients are served");
    });
}

/// A client of plain HTTP/2.
async fn http2(address: &str) -> h2::client::SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(host(address))
        .await
        .expect("connected");
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    client.ready().await.expect("open")
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
                .release_capacity(data.expect("data").len());
        }
        headers = body.trailers().await.expect("received").expect("trailers");
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
            let (response, mut body) = client.send_request(sent, false).expect("open");
            body.send_data(Bytes::copy_from_slice(&head), false)
                .expect("open");
            let (found, message) = outcome(response).await;
            assert!(found == code && message.contains(text), "{found} {message}");
        }
        served
            .kv()
            .put(put("a"))
            .await
            .expect("other clients are served");
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
        // a body that is never sent
        let (response, _body) = client.send_request(sent, false).expect("open");
        assert_eq!(
            outcome(response).await,
            (4, "context deadline exceeded".to_string())
        );
        let sent = request("/etcdserverpb.KV/Put")
            .header("grpc-timeout", "soon")
            .body(())
            .expect("a request");
        let (response, _body) = client.send_request(sent, false).expect("open");
        assert_eq!(outcome(response).await.0, 13);
        assert_eq!(served.db.status().expect("open").revision, 1);
    });
}

#[test]
fn clients_that_disconnect_free_their_resources() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let address = served.server.address();
        let before = load(address);
        let mut clients = Vec::new();
        for _ in 0..50 {
            let channel = connect(address).await;
            let mut lease = pb::lease_client::LeaseClient::new(channel.clone());
            let (requests, receiver) = tokio::sync::mpsc::channel(1);
            requests
                .send(pb::LeaseKeepAliveRequest { id: 1 })
                .await
                .expect("open");
            let mut kept = lease
                .lease_keep_alive(ReceiverStream::new(receiver))
                .await
                .expect("a stream")
                .into_inner();
            kept.message().await.expect("open").expect("a response");
            // only the beginning of a request
            let mut stream = TcpStream::connect(host(address)).expect("connected");
            stream.write_all(PREFACE).expect("sent");
            clients.push((channel, requests, kept, stream));
        }
        until(
            "all connections are open and all streams are active",
            || {
                let (connections, requests) = load(address);
                connections >= before.0 + 100 && requests >= before.1 + 50
            },
        );
        drop(clients);
        served
            .kv()
            .put(put("a"))
            .await
            .expect("other clients are served");
        load_returns_to(address, before);
        served.server.close();
    });
}

/// A client that never reads: its responses wait in the server, and other clients are served.
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
            let (response, mut body) = slow.send_request(sent, false).expect("open");
            body.send_data(Bytes::copy_from_slice(&message), true)
                .expect("open");
            waiting.push(response);
        }
        for _ in 0..100 {
            served
                .kv()
                .put(put("a"))
                .await
                .expect("other clients are served");
        }
        let (_, requests) = load(address);
        assert!(
            requests >= before.1 + 40,
            "only {requests} of 50 requests are still active: the reader is not slow"
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
            let mut stream = TcpStream::connect(host(address)).expect("connected");
            if number % 2 == 0 {
                stream
                    .write_all(PREFACE)
                    .and_then(|()| stream.write_all(SETTINGS))
                    .expect("sent");
            }
            held.push(stream);
        }
        served
            .kv()
            .put(put("a"))
            .await
            .expect("other clients are served");
        // the server sent its settings to each client that sent a preface
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
        served
            .kv()
            .put(put("a"))
            .await
            .expect("other clients are served");
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
        assert_eq!(served.db.status().expect("open").keys, Some(5_000));
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
                        // an error of the server, or the end of the connection, which this client
                        // reports with different codes
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
        // close while writes are in flight
        until("100 writes", || {
            served.db.status().expect("open").revision >= 100
        });
        tokio::task::block_in_place(|| served.server.close());
        for writer in writers {
            for key in writer.await.expect("no panic") {
                assert!(
                    served.db.get(&key).expect("open").is_some(),
                    "{key} was acknowledged"
                );
            }
        }
    });
}

/// Run by the next test in a new process with few descriptors.
#[test]
fn descriptors_child() {
    let _deadline = deadline();
    if std::env::var_os("FEW_DESCRIPTORS").is_none() {
        return;
    }
    let how = Serve::new("127.0.0.1:0").log(|level, line| println!("\nlog {level:?} {line}"));
    let server = serve(&store(), how).expect("a server");
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
            .unwrap_or_else(|| panic!("the server ended before {what:?}"))
            .expect("text");
        if let Some(rest) = line.strip_prefix(what) {
            return rest.to_string();
        }
    };
    let address = find("address ");
    let held: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(host(&address)).expect("room in the backlog"))
        .collect();
    assert!(find("log Error ").contains("no connection can be accepted"));
    drop(held);
    run(async {
        let mut kv = pb::kv_client::KvClient::new(connect(&address).await);
        kv.put(put("a")).await.expect("the server continues");
    });
    drop(child.stdin.take());
    find("closed");
    assert!(child.wait().expect("the server ends").success());
}
