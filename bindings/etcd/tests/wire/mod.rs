//! Shared by the suites of this crate: our server in this process or in another, a real etcd, and
//! plain clients.
// each suite uses a part
#![allow(dead_code, missing_docs)]

use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use libkv::{Db, LimitsPreset, Options};
use libkv_etcd::pb::etcdserverpb::kv_client::KvClient;
use libkv_etcd::pb::etcdserverpb::lease_client::LeaseClient;
use libkv_etcd::pb::etcdserverpb::watch_client::WatchClient;
use libkv_etcd::pb::etcdserverpb::watch_request::RequestUnion;
use libkv_etcd::pb::etcdserverpb::*;
use libkv_etcd::{Serve, Server};
use libkv_test_support::etcd::{self, Etcd};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

/// The deadline of every wait.
pub const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// Waits until a future is done, up to the deadline.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT_LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("timed out waiting for {what}"))
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads")
}

fn folder(name: &str) -> PathBuf {
    let dir =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    dir
}

/// Our server of a store in memory.
pub fn serve(options: Options, how: Serve) -> (Db, Server) {
    let db = Db::open(":memory:", options.limits(LimitsPreset::Etcd)).expect("a store in memory");
    let server = libkv_etcd::serve(&db, how).expect("a server");
    (db, server)
}

/// A real etcd that reports progress often. If etcd is not available, prints a line `not run: …`
/// and returns `None`.
pub fn real_etcd(name: &str) -> Option<Etcd> {
    let flags = ["--experimental-watch-progress-notify-interval", "200ms"];
    match etcd::program() {
        Ok(program) => Some(Etcd::start_with(&program, name, 1, &flags)),
        Err(why) => {
            println!("not run: {name} on a real etcd ({why})");
            None
        }
    }
}

pub async fn connect(url: &str) -> Channel {
    let endpoint = Endpoint::from_shared(url.to_string()).expect("a URL");
    soon("a connection", endpoint.connect())
        .await
        .expect("a server")
}

/// Text as bytes.
pub fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// The KV calls that tests need.
#[derive(Clone)]
pub struct Kv(pub KvClient<Channel>);

impl Kv {
    pub fn new(channel: &Channel) -> Kv {
        Kv(KvClient::new(channel.clone()))
    }

    pub async fn put(&mut self, key: &str, value: &str) -> i64 {
        self.put_with(PutRequest {
            key: b(key),
            value: b(value),
            ..Default::default()
        })
        .await
    }

    pub async fn put_with(&mut self, put: PutRequest) -> i64 {
        self.0
            .put(put)
            .await
            .expect("put")
            .into_inner()
            .header
            .expect("a header")
            .revision
    }

    pub async fn delete(&mut self, key: &str, range_end: &str) -> i64 {
        let delete = DeleteRangeRequest {
            key: b(key),
            range_end: b(range_end),
            prev_kv: false,
        };
        self.0
            .delete_range(delete)
            .await
            .expect("delete")
            .into_inner()
            .header
            .expect("a header")
            .revision
    }

    pub async fn txn(&mut self, ops: Vec<RequestOp>) -> i64 {
        let txn = TxnRequest {
            success: ops,
            ..Default::default()
        };
        self.0
            .txn(txn)
            .await
            .expect("txn")
            .into_inner()
            .header
            .expect("a header")
            .revision
    }

    pub async fn compact(&mut self, revision: i64) {
        self.0
            .compact(CompactionRequest {
                revision,
                physical: true,
            })
            .await
            .expect("compact");
    }

    pub async fn get(&mut self, key: &str) -> Option<libkv_etcd::pb::mvccpb::KeyValue> {
        let range = RangeRequest {
            key: b(key),
            ..Default::default()
        };
        self.0
            .range(range)
            .await
            .expect("range")
            .into_inner()
            .kvs
            .into_iter()
            .next()
    }

    pub async fn revision(&mut self) -> i64 {
        let range = RangeRequest {
            key: "k".into(),
            count_only: true,
            ..Default::default()
        };
        self.0
            .range(range)
            .await
            .expect("range")
            .into_inner()
            .header
            .expect("a header")
            .revision
    }
}

pub fn put_op(key: &str, value: &str) -> RequestOp {
    let put = PutRequest {
        key: b(key),
        value: b(value),
        ..Default::default()
    };
    RequestOp {
        request: Some(request_op::Request::RequestPut(put)),
    }
}

pub fn delete_op(key: &str) -> RequestOp {
    let delete = DeleteRangeRequest {
        key: b(key),
        ..Default::default()
    };
    RequestOp {
        request: Some(request_op::Request::RequestDeleteRange(delete)),
    }
}

/// Operations in a nested txn.
pub fn nested(ops: Vec<RequestOp>) -> RequestOp {
    let txn = TxnRequest {
        success: ops,
        ..Default::default()
    };
    RequestOp {
        request: Some(request_op::Request::RequestTxn(txn)),
    }
}

pub async fn grant(channel: &Channel, id: i64, ttl_seconds: i64) -> i64 {
    let grant = LeaseGrantRequest {
        ttl: ttl_seconds,
        id,
    };
    LeaseClient::new(channel.clone())
        .lease_grant(grant)
        .await
        .expect("grant")
        .into_inner()
        .id
}

/// One stream of watches.
pub struct Watches {
    /// `None` after the client has closed its side.
    pub requests: Option<mpsc::UnboundedSender<WatchRequest>>,
    pub responses: Streaming<WatchResponse>,
}

impl Watches {
    pub async fn open(channel: &Channel) -> Watches {
        Watches::try_open(channel).await.expect("a stream")
    }

    pub async fn try_open(channel: &Channel) -> Result<Watches, tonic::Status> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let mut request = tonic::Request::new(UnboundedReceiverStream::new(receiver));
        request
            .metadata_mut()
            .insert("hasleader", "true".parse().expect("text"));
        // etcd sends nothing, not even headers, before the first request
        let mut client = WatchClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        requests
            .send(WatchRequest::default())
            .expect("the stream is open");
        let idle = WatchRequest {
            request_union: Some(RequestUnion::ProgressRequest(WatchProgressRequest {})),
        };
        requests.send(idle).expect("the stream is open");
        let mut responses = client.watch(request).await?.into_inner();
        let first = responses
            .message()
            .await?
            .ok_or_else(|| tonic::Status::unavailable("no response"))?;
        assert_eq!(
            (first.watch_id, first.events.len()),
            (-1, 0),
            "progress of a stream without watches"
        );
        Ok(Watches {
            requests: Some(requests),
            responses,
        })
    }

    pub fn send(&self, request: RequestUnion) {
        let request = WatchRequest {
            request_union: Some(request),
        };
        // if the stream was cut, reading it returns the error
        let _ = self
            .requests
            .as_ref()
            .expect("the client's side is open")
            .send(request);
    }

    pub fn cancel(&self, watch_id: i64) {
        self.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }));
    }

    pub fn progress(&self) {
        self.send(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    }

    /// Creates a watch and returns the next response, which must be the one to this request.
    pub async fn create(&mut self, create: WatchCreateRequest) -> WatchResponse {
        let what = format!("{create:?}");
        self.send(RequestUnion::CreateRequest(create));
        let response = self.next().await;
        assert!(response.created, "{what}: response {response:?}");
        response
    }

    pub async fn next(&mut self) -> WatchResponse {
        let response = soon("a response of the stream", self.responses.message()).await;
        response.expect("no error").expect("a response")
    }

    /// The next `many` events of a watch, in any number of responses.
    pub async fn events(
        &mut self,
        watch_id: i64,
        many: usize,
    ) -> Vec<libkv_etcd::pb::mvccpb::Event> {
        let mut events = Vec::new();
        while events.len() < many {
            let response = self.next().await;
            assert_eq!(
                (response.watch_id, response.canceled),
                (watch_id, false),
                "{response:?}"
            );
            events.extend(response.events);
        }
        assert_eq!(events.len(), many);
        events
    }
}

pub fn watch(key: &str, range_end: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: b(key),
        range_end: b(range_end),
        ..Default::default()
    }
}

/// Our server in another process, so that its memory can be measured. The process is this test
/// program, which runs only the test that calls [`Process::start`] with its own name. That test
/// must call [`Process::is_it`] first.
pub struct Process {
    child: Child,
    pub url: String,
    dir: PathBuf,
    /// Kept open, so that the process can still write.
    _lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Process {
    /// Whether this is the process of the server. If so, it returns when standard input is closed.
    pub fn is_it() -> bool {
        let Some(dir) = std::env::var_os("LIBKV_TEST_SERVE") else {
            return false;
        };
        let db = Db::open(dir, Options::new().limits(LimitsPreset::Etcd)).expect("a store");
        let server = libkv_etcd::serve(&db, "127.0.0.1:0").expect("a server");
        println!("\nserving {}", server.address());
        let _ = std::io::stdout().flush();
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        true
    }

    pub fn start(test: &str) -> Process {
        let dir = folder(test);
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env("LIBKV_TEST_SERVE", &dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let url = lines
            .find_map(|line| Some(line.expect("text").strip_prefix("serving ")?.to_string()))
            .expect("the line with the address");
        Process {
            child,
            url,
            dir,
            _lines: lines,
        }
    }

    /// The anonymous memory of the process in bytes: no files, nothing shared.
    pub fn private_bytes(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))
            .expect("the process runs");
        let number = |line: &str| {
            line.split_whitespace()
                .nth(1)
                .and_then(|kib| kib.parse::<u64>().ok())
                .unwrap_or(0)
        };
        rollup
            .lines()
            .filter(|line| line.starts_with("Anonymous:"))
            .map(number)
            .sum::<u64>()
            * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
