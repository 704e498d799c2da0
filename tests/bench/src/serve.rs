//! Compares `kv serve` with a real etcd 3.5.1 on the same disk: one client, one connection,
//! alternating rounds.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;

use crate::bench::{Bench, ROUNDS, VALUE, key};
use crate::report::{Row, time};
use crate::wire::{Client, Watching, field, first_put, memory};

const NAMES: [&str; 8] = [
    "serve_put_1",
    "serve_put_64",
    "serve_get_64",
    "serve_range_1000",
    "serve_watch_latency",
    "serve_watch_fanout",
    "serve_start",
    "serve_memory",
];
/// Keys in both stores, of [`VALUE`]s.
const KEYS: u64 = 100_000;
/// The number of concurrent requests in the rows with many.
const AT_ONCE: u64 = 64;
/// Watches of one key, on one stream.
const WATCHES: usize = 100;

/// A server in another process.
struct Served {
    child: Child,
    port: u16,
}

impl Served {
    /// Starts a server. Returns it with a connection and the time until the first put.
    fn start(runtime: &Runtime, command: &mut Command, port: u16) -> (Served, Client, Duration) {
        let began = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let served = Served {
            child: child.expect("the server starts"),
            port,
        };
        let wait = async { tokio::time::timeout(Duration::from_secs(60), first_put(port)).await };
        let client = runtime.block_on(wait).expect("a response within a minute");
        (served, client, began.elapsed())
    }

    /// Ends the server with SIGTERM and waits for its end.
    fn stop(mut self) {
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let until = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The anonymous memory of each server.
fn private_bytes(served: &[Served; 2]) -> [u64; 2] {
    served.each_ref().map(|served| {
        memory(served.child.id())
            .get("RssAnon")
            .copied()
            .unwrap_or(0)
    })
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port on loopback");
    listener.local_addr().expect("an address").port()
}

/// The command that starts `kv serve` on this store.
fn kv_serve(program: &Path, store: &Path, port: u16) -> Command {
    let mut command = Command::new(program);
    command
        .arg("serve")
        .arg(store)
        .args(["--listen-client-urls", &format!("http://127.0.0.1:{port}")]);
    command
}

/// The command that starts etcd, with its defaults.
fn etcd(program: &Path, store: &Path, port: u16) -> Command {
    let (client, peer) = (
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{}", free_port()),
    );
    let mut command = Command::new(program);
    command.args([
        "--log-level",
        "panic",
        "--listen-client-urls",
        &client,
        "--advertise-client-urls",
        &client,
    ]);
    command.args([
        "--listen-peer-urls",
        &peer,
        "--initial-advertise-peer-urls",
        &peer,
    ]);
    command
        .args([
            "--initial-cluster",
            &format!("default={peer}"),
            "--data-dir",
        ])
        .arg(store);
    command
}

fn put(at: u64) -> Bytes {
    [field(1, &key(at)), field(2, &VALUE)].concat().into()
}

/// Both servers with their stores, and a connection to each.
struct Pair {
    runtime: Runtime,
    programs: [PathBuf; 2],
    stores: [PathBuf; 2],
    ours: Client,
    theirs: Client,
    served: [Served; 2],
}

impl Bench {
    /// All rows of the server.
    pub fn serving(&self, rows: &mut Vec<Row>) {
        if !self.selects(&NAMES) {
            return;
        }
        match self.pair_of_servers() {
            Ok(pair) => self.serve_rows(rows, pair),
            Err(why) => println!("{} NOT RUN: {why}", NAMES.join(", ")),
        }
    }

    fn pair_of_servers(&self) -> Result<Pair, String> {
        let target = self.dir.parent().unwrap_or(Path::new("target"));
        let kv = target.join("release/kv");
        if !kv.exists() {
            return Err(format!("{} is not built: run make", kv.display()));
        }
        let fetched = Command::new("tests/fetch_etcd.sh")
            .output()
            .map_err(|e| format!("tests/fetch_etcd.sh: {e}"))?;
        if !fetched.status.success() {
            return Err(format!(
                "no etcd: {}",
                String::from_utf8_lossy(&fetched.stderr).trim()
            ));
        }
        let program = PathBuf::from(String::from_utf8_lossy(&fetched.stdout).trim());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        let stores = [self.path("serve.kv"), self.path("serve.etcd")];
        let (ours, theirs) = (free_port(), free_port());
        let (our_server, ours, _) =
            Served::start(&runtime, &mut kv_serve(&kv, &stores[0], ours), ours);
        let (their_server, theirs, _) =
            Served::start(&runtime, &mut etcd(&program, &stores[1], theirs), theirs);
        let pair = Pair {
            runtime,
            programs: [kv, program],
            stores,
            ours,
            theirs,
            served: [our_server, their_server],
        };
        for client in [&pair.ours, &pair.theirs] {
            // below the maximum number of operations in a txn of etcd
            let txn = |at: u64| {
                let upto = (at * 100 + 100).min(KEYS);
                let ops: Vec<Bytes> = (at * 100..upto)
                    .map(|at| field(2, &field(2, &put(at))))
                    .collect();
                Bytes::from(ops.concat())
            };
            pair.runtime
                .block_on(client.many("KV/Txn", KEYS / 100, 16, txn));
        }
        Ok(pair)
    }

    fn serve_rows(&self, rows: &mut Vec<Row>, pair: Pair) {
        let loaded = private_bytes(&pair.served);
        let puts = 300 * self.scale;
        // libkv waits for two flushes, etcd for one
        rows.extend(self.requests(&pair, "serve_put_1", 2.0, puts, 1, "KV/Put", put));
        rows.extend(self.requests(
            &pair,
            "serve_put_64",
            1.0 / 1.4,
            puts * 20,
            AT_ONCE,
            "KV/Put",
            put,
        ));
        let get = |at: u64| field(1, &key(at * 7919 % KEYS));
        rows.extend(self.requests(
            &pair,
            "serve_get_64",
            1.0 / 1.2,
            20_000 * self.scale,
            AT_ONCE,
            "KV/Range",
            get,
        ));
        let mut sorted: Vec<[u8; 16]> = (0..KEYS).map(key).collect();
        sorted.sort_unstable();
        let range = move |at: u64| {
            let first = (at * 7919 % (KEYS - 1000)) as usize;
            Bytes::from([field(1, &sorted[first]), field(2, &sorted[first + 1000])].concat())
        };
        rows.extend(self.requests(
            &pair,
            "serve_range_1000",
            0.5,
            200 * self.scale,
            1,
            "KV/Range",
            range,
        ));
        self.watch_rows(rows, &pair);
        self.figures(rows, pair, loaded);
    }

    /// One row of requests. `None` if it is not selected.
    #[allow(clippy::too_many_arguments)]
    fn requests(
        &self,
        pair: &Pair,
        name: &str,
        reach: f64,
        n: u64,
        at_once: u64,
        method: &'static str,
        message: impl Fn(u64) -> Bytes + Clone + Send + Sync + 'static,
    ) -> Option<Row> {
        if !self.selects(&[name]) {
            return None;
        }
        let round = |client: &Client| {
            time(|| {
                pair.runtime
                    .block_on(client.many(method, n, at_once, message.clone()))
            })
        };
        let row = Row::new(name, "etcd 3.5.1", reach, n, VALUE.len());
        Some(row.rounds(ROUNDS, || round(&pair.ours), || round(&pair.theirs)))
    }

    fn watch_rows(&self, rows: &mut Vec<Row>, pair: &Pair) {
        let watch =
            |client: &Client, watches| pair.runtime.block_on(client.watch(b"watched", watches));
        let message = Bytes::from([field(1, b"watched"), field(2, &VALUE)].concat());
        let n = 200 * self.scale;
        if self.selects(&["serve_watch_latency"]) {
            // from the sending of the put to its event: the response may come before or after it
            let round = |client: &Client, watching: &mut Watching| {
                pair.runtime.block_on(async {
                    let mut took = Duration::ZERO;
                    for _ in 0..n {
                        let began = Instant::now();
                        let (_, event) =
                            tokio::join!(client.call("KV/Put", message.clone()), async {
                                watching.events(1).await;
                                began.elapsed()
                            });
                        took += event;
                    }
                    took
                })
            };
            let (mut ours, mut theirs) = (watch(&pair.ours, 1), watch(&pair.theirs, 1));
            let row = Row::new("serve_watch_latency", "etcd 3.5.1", 1.0, n, VALUE.len())
                .note("from a put to its event");
            rows.push(row.rounds(
                ROUNDS,
                || round(&pair.ours, &mut ours),
                || round(&pair.theirs, &mut theirs),
            ));
        }
        if self.selects(&["serve_watch_fanout"]) {
            let n = 640 * self.scale;
            let round = |client: &Client, watching: &mut Watching| {
                let message = message.clone();
                time(|| {
                    pair.runtime.block_on(async {
                        let put = client.many("KV/Put", n, AT_ONCE, move |_| message.clone());
                        tokio::join!(put, watching.events(n as usize * WATCHES));
                    });
                })
            };
            let (mut ours, mut theirs) = (watch(&pair.ours, WATCHES), watch(&pair.theirs, WATCHES));
            let row = Row::new(
                "serve_watch_fanout",
                "etcd 3.5.1",
                1.0,
                n * WATCHES as u64,
                VALUE.len(),
            );
            let row = row.note(format!("per event, one for each of {WATCHES} watches"));
            rows.push(row.rounds(
                ROUNDS,
                || round(&pair.ours, &mut ours),
                || round(&pair.theirs, &mut theirs),
            ));
        }
    }

    /// The memory of the servers when idle, and the time from their start to the first put.
    fn figures(&self, rows: &mut Vec<Row>, pair: Pair, loaded: [u64; 2]) {
        let Pair {
            runtime,
            programs,
            stores,
            ours,
            theirs,
            served,
        } = pair;
        drop((ours, theirs));
        if self.selects(&["serve_memory"]) {
            let after = private_bytes(&served)[0] / 1_000_000;
            let reached = if loaded[0] < 20_000_000 {
                "reached"
            } else {
                "SHORT"
            };
            let note = format!(
                "private bytes after {KEYS} puts; ours under 20 MB: {reached}; after the rows above: {after} MB"
            );
            rows.push(
                Row::new("serve_memory", "etcd 3.5.1", 1.0, 1, VALUE.len())
                    .note(note)
                    .sizes(loaded[0], loaded[1]),
            );
        }
        let ports = served.each_ref().map(|served| served.port);
        served.into_iter().for_each(Served::stop);
        if !self.selects(&["serve_start"]) {
            return;
        }
        let round = |command: &mut Command, port| {
            let (served, client, took) = Served::start(&runtime, command, port);
            drop(client);
            served.stop();
            took
        };
        let mut slowest = Duration::ZERO;
        let row = Row::new("serve_start", "etcd 3.5.1", 1.0, 1, VALUE.len()).note(format!(
            "from the start to the first put, with {KEYS} keys; the goal for libkv is 50 ms"
        ));
        let ours = || {
            let took = round(&mut kv_serve(&programs[0], &stores[0], ports[0]), ports[0]);
            slowest = slowest.max(took);
            took
        };
        rows.push(row.rounds(ROUNDS, ours, || {
            round(&mut etcd(&programs[1], &stores[1], ports[1]), ports[1])
        }));
        println!(
            "slowest start of libkv to the first put: {:.1} ms",
            slowest.as_secs_f64() * 1e3
        );
    }
}
