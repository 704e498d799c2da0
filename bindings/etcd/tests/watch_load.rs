//! Watches over the wire under load: compared with an oracle while connections are cut, a thousand
//! streams, a client that does not read, floods of requests.
//!
//! The seed is printed; `SEED=` repeats a run.

mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libkv::Options;
use libkv_etcd::Serve;
use libkv_etcd::pb::etcdserverpb::watch_create_request::FilterType;
use libkv_etcd::pb::etcdserverpb::*;
use libkv_etcd::pb::mvccpb;
use libkv_etcd::pb::mvccpb::event::EventType;
use libkv_test_support::dice::Dice;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch as signal;

use self::wire::*;
use libkv_test_support::deadline::deadline;

/// Forwards connections, until they are cut.
struct Proxy {
    url: String,
    cut: signal::Sender<u64>,
}

impl Proxy {
    async fn start(server: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port on loopback");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = server.strip_prefix("http://").expect("a URL").to_string();
        let (cut, _) = signal::channel(0);
        let cuts = cut.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (server, mut cuts) = (server.clone(), cuts.subscribe());
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(server).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Proxy { url, cut }
    }

    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

/// An event of the oracle: key, value (`None` for a deletion), revision.
type OracleEvent = (String, Option<String>, i64);

/// A watch that is created again, at its position, whenever its connection was cut.
#[derive(Clone)]
struct WatchState {
    id: i64,
    key: String,
    range_end: String,
    filters: Vec<FilterType>,
    fragment: bool,
    /// The next revision.
    from: i64,
    seen: Vec<OracleEvent>,
    /// Events of a revision of which more fragments follow.
    partial: Vec<OracleEvent>,
}

impl WatchState {
    fn draw(dice: &mut Dice, id: i64) -> WatchState {
        let letter = |dice: &mut Dice| char::from(b'a' + dice.below(8) as u8).to_string();
        let key = letter(dice);
        let range_end = match dice.below(4) {
            0 => String::new(),
            1 => "\0".to_string(),
            _ => format!("{key}{}", letter(dice)).max(letter(dice)),
        };
        let filters = match dice.below(4) {
            0 => vec![FilterType::Noput],
            1 => vec![FilterType::Nodelete],
            _ => vec![],
        };
        let fragment = dice.one_in(2);
        WatchState {
            id,
            key,
            range_end,
            filters,
            fragment,
            from: 1,
            seen: vec![],
            partial: vec![],
        }
    }

    fn matches(&self, (key, value, _): &OracleEvent) -> bool {
        let inside = match self.range_end.as_str() {
            "" => *key == self.key,
            "\0" => *key >= self.key,
            end => *key >= self.key && key.as_str() < end,
        };
        let filter = if value.is_some() {
            FilterType::Noput
        } else {
            FilterType::Nodelete
        };
        inside && !self.filters.contains(&filter)
    }

    fn request(&self) -> WatchCreateRequest {
        WatchCreateRequest {
            watch_id: self.id,
            start_revision: self.from,
            filters: self.filters.iter().map(|filter| *filter as i32).collect(),
            fragment: self.fragment,
            ..watch(&self.key, &self.range_end)
        }
    }

    fn take(&mut self, response: WatchResponse) {
        assert!(!response.canceled, "{response:?}");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for mvccpb::Event { r#type, kv, .. } in response.events {
            let kv = kv.expect("a pair");
            let value = (r#type == EventType::Put as i32).then(|| text(&kv.value));
            self.partial.push((text(&kv.key), value, kv.mod_revision));
        }
        // the fragments of a revision count once they are complete
        if let (false, Some(last)) = (response.fragment, self.partial.last()) {
            self.from = last.2 + 1;
            self.seen.append(&mut self.partial);
        }
    }
}

/// Watches with one stream, which is opened again whenever it was cut. Ends when every watch has
/// as many events as `known` has for it.
async fn follow(
    url: String,
    mut watches: Vec<WatchState>,
    mut known: signal::Receiver<Option<Arc<Vec<OracleEvent>>>>,
    cuts: Arc<AtomicU64>,
) {
    loop {
        let attempt = async {
            let endpoint = tonic::transport::Endpoint::from_shared(url.clone()).expect("a URL");
            let channel = endpoint
                .connect()
                .await
                .map_err(|error| tonic::Status::unavailable(error.to_string()))?;
            let mut stream = Watches::try_open(&channel).await?;
            for state in &mut watches {
                state.partial.clear();
                stream.send(watch_request::RequestUnion::CreateRequest(state.request()));
            }
            loop {
                if let Some(known) = &*known.borrow()
                    && watches.iter().all(|f| {
                        f.seen.len() >= known.iter().filter(|event| f.matches(event)).count()
                    })
                {
                    return Ok(());
                }
                tokio::select! {
                    response = stream.responses.message() => {
                        let response = response?.ok_or_else(|| tonic::Status::unavailable("the end"))?;
                        let state = watches.iter_mut().find(|f| f.id == response.watch_id).expect("the id of a watch");
                        state.take(response);
                    }
                    _ = known.changed() => {}
                }
            }
        };
        let ended: Result<(), tonic::Status> = attempt.await;
        match ended {
            Ok(()) => break,
            Err(_) => cuts.fetch_add(1, Ordering::Relaxed),
        };
    }
    let known = known.borrow().clone().expect("the expected events");
    for state in watches {
        let expected: Vec<OracleEvent> = known
            .iter()
            .filter(|event| state.matches(event))
            .cloned()
            .collect();
        assert_eq!(
            state.seen, expected,
            "watch of {:?} to {:?}",
            state.key, state.range_end
        );
    }
}

/// Writes at random. Returns the events that watches must deliver.
async fn write(kv: &mut Kv, dice: &mut Dice, proxy: &Proxy, writes: u64) -> Vec<OracleEvent> {
    let mut live: BTreeMap<String, String> = BTreeMap::new();
    let mut known = Vec::new();
    for n in 0..writes {
        let letters = |dice: &mut Dice| -> String {
            (0..=dice.below(2))
                .map(|_| char::from(b'a' + dice.below(8) as u8))
                .collect()
        };
        let (key, other) = (letters(dice), letters(dice));
        match dice.below(6) {
            0 => {
                let gone: Vec<String> = live
                    .range(key.clone()..)
                    .map(|(k, _)| k.clone())
                    .filter(|k| *k < other)
                    .collect();
                if key < other {
                    let revision = kv.delete(&key, &other).await;
                    gone.iter().for_each(|key| drop(live.remove(key)));
                    known.extend(gone.into_iter().map(|key| (key, None, revision)));
                }
            }
            1 if key != other => {
                let ops = vec![
                    put_op(&other, &format!("t{n}")),
                    put_op(&key, &format!("t{n}")),
                ];
                let revision = kv.txn(ops).await;
                for key in [other, key] {
                    live.insert(key.clone(), String::new());
                    known.push((key, Some(format!("t{n}")), revision));
                }
            }
            _ => {
                let revision = kv.put(&key, &format!("{n}")).await;
                live.insert(key.clone(), String::new());
                known.push((key, Some(format!("{n}")), revision));
            }
        }
        if dice.one_in(40) {
            proxy.cut();
        }
    }
    known
}

/// Each watch delivers each of its events once, in order, although connections are cut.
#[test]
fn watch_over_cut_connections_loses_and_repeats_nothing() {
    let _deadline = deadline();
    const WRITES: u64 = 1_500;
    const STREAMS: i64 = 4;
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| {
        std::time::UNIX_EPOCH
            .elapsed()
            .map_or(1, |since| since.as_nanos() as u64)
    });
    println!("SEED={seed}");
    let mut dice = Dice(seed);
    let (_db, server) = serve(Options::new(), Serve::new("127.0.0.1:0"));
    runtime().block_on(async {
        let proxy = Proxy::start(server.address()).await;
        let (sender, known) = signal::channel(None);
        let cuts = Arc::new(AtomicU64::new(0));
        let followers: Vec<_> = (0..STREAMS)
            .map(|_| {
                let watches = (1..=6).map(|id| WatchState::draw(&mut dice, id)).collect();
                tokio::spawn(follow(
                    proxy.url.clone(),
                    watches,
                    known.clone(),
                    cuts.clone(),
                ))
            })
            .collect();
        let mut kv = Kv::new(&connect(server.address()).await);
        let written = write(&mut kv, &mut dice, &proxy, WRITES).await;
        proxy.cut();
        sender.send_replace(Some(Arc::new(written)));
        for follower in followers {
            soon("every event", follower)
                .await
                .expect("the expected events");
        }
        let cuts = cuts.load(Ordering::Relaxed);
        println!("{WRITES} writes, {cuts} streams cut");
        assert!(cuts > STREAMS as u64, "too few streams were cut: {cuts}");
    });
}

/// A thousand streams with ten watches each. The memory of the server for each watch is printed,
/// and an event that matches all watches is delivered to all.
#[test]
fn watch_streams_a_thousand_of_ten_watches() {
    let _deadline = deadline();
    const STREAMS: usize = 1_000;
    const WATCHES: i64 = 10;
    if Process::is_it() {
        return;
    }
    let server = Process::start("watch_streams_a_thousand_of_ten_watches");
    runtime().block_on(async {
        let mut channels = Vec::new();
        for _ in 0..10 {
            channels.push(connect(&server.url).await);
        }
        let mut streams = Vec::new();
        // the first ten streams are not measured: they create buffers and threads
        let open = async |streams: &mut Vec<Watches>, many: usize, base: usize| {
            for n in base..base + many {
                let mut stream = Watches::open(&channels[n % channels.len()]).await;
                for id in 1..=WATCHES {
                    let request = WatchCreateRequest { watch_id: id, ..watch(&format!("k{:02}", id), "l") };
                    stream.create(request).await;
                }
                streams.push(stream);
            }
        };
        open(&mut streams, 10, 0).await;
        let before = server.private_bytes();
        open(&mut streams, STREAMS, 10).await;
        let bytes = (server.private_bytes() - before) / (STREAMS as u64 * WATCHES as u64);
        println!("{STREAMS} streams of {WATCHES} watches: {bytes} bytes a watch, including its share of the stream");
        let revision = Kv::new(&channels[0]).put("kz", "v").await;
        let reached: Vec<_> = streams
            .into_iter()
            .map(|mut stream| {
                tokio::spawn(async move {
                    for _ in 0..WATCHES {
                        let response = stream.next().await;
                        assert_eq!(response.header.expect("a header").revision, revision);
                        assert_eq!(response.events.len(), 1);
                    }
                    stream
                })
            })
            .collect();
        for reached in reached {
            reached.await.expect("the event");
        }
        assert!(bytes < 4_096, "a watch costs {bytes} bytes");
    });
}

/// While 100 MB of events wait for a client that does not read, the server's memory does not grow,
/// and another client gets its events. When the slow client reads, it gets every event.
#[test]
fn watch_client_that_does_not_read_uses_no_memory() {
    let _deadline = deadline();
    const PUTS: usize = 1_000;
    const VALUE_BYTES: usize = 100_000;
    if Process::is_it() {
        return;
    }
    let server = Process::start("watch_client_that_does_not_read_uses_no_memory");
    runtime().block_on(async {
        let (slow_channel, channel) = (connect(&server.url).await, connect(&server.url).await);
        let (mut slow, mut other) = (
            Watches::open(&slow_channel).await,
            Watches::open(&channel).await,
        );
        slow.create(watch("k", "")).await;
        other.create(watch("k", "")).await;
        let mut kv = Kv::new(&channel);
        let value = "v".repeat(VALUE_BYTES);
        let first = kv.put("k", &value).await;
        other.events(0, 1).await;
        let before = server.private_bytes();
        for _ in 1..PUTS {
            kv.put("k", &value).await;
            other.events(0, 1).await;
        }
        let grown = server.private_bytes().saturating_sub(before);
        println!(
            "{} MB of events wait: the server's memory has grown by {} kB",
            PUTS * VALUE_BYTES / 1_000_000,
            grown / 1_000
        );
        assert!(
            grown < 16_000_000,
            "the server's memory has grown by {grown} bytes"
        );
        let revisions: Vec<i64> = slow
            .events(0, PUTS)
            .await
            .into_iter()
            .map(|e| e.kv.expect("a pair").mod_revision)
            .collect();
        assert_eq!(revisions, (first..first + PUTS as i64).collect::<Vec<_>>());
    });
}

/// A client that creates many watches and does not read is held back; other clients are not.
#[test]
fn watch_creation_flood_is_limited() {
    let _deadline = deadline();
    const FLOOD: usize = 200_000;
    if Process::is_it() {
        return;
    }
    let server = Process::start("watch_creation_flood_is_limited");
    runtime().block_on(async {
        let channel = connect(&server.url).await;
        let mut kv = Kv::new(&channel);
        let first = kv.put("k", "v").await;
        let last = kv.put("k", "v").await;
        kv.compact(last).await;
        let flooding = connect(&server.url).await;
        let mut flood = Watches::open(&flooding).await;
        let before = server.private_bytes();
        for n in 0..FLOOD {
            // a third is refused, a third is compacted at once, a third stays
            let start_revision = [-1, first, 0][n % 3];
            flood.send(watch_request::RequestUnion::CreateRequest(
                WatchCreateRequest {
                    start_revision,
                    ..watch("k", "")
                },
            ));
        }
        // other calls, while the flood is not read
        for _ in 0..200 {
            kv.put("k", "v").await;
        }
        let grown = server.private_bytes().saturating_sub(before);
        println!(
            "a flood of {FLOOD} unread watches: the server's memory has grown by {} kB",
            grown / 1_000
        );
        assert!(
            grown < 32_000_000,
            "the server's memory has grown by {grown} bytes"
        );
        // the responses arrive when the client reads
        let mut created = 0;
        while created < 1_000 {
            created += usize::from(flood.next().await.created);
        }
    });
}

/// Watches that scan a long history do not delay other calls, even in a runtime with few threads.
#[test]
fn watch_of_a_long_past_does_not_delay_others() {
    let _deadline = deadline();
    const TXNS: usize = 2_000;
    let (db, server) = serve(Options::new(), Serve::new("127.0.0.1:0"));
    for n in 0..TXNS {
        let puts = (0..100).fold(libkv::Txn::new(), |txn, at| {
            txn.and_then(libkv::Put::new(format!("o{at}"), n.to_string()))
        });
        db.txn(puts).expect("txn");
    }
    runtime().block_on(async {
        let channel = connect(server.address()).await;
        let mut kv = Kv::new(&channel);
        let found = kv.put("k", "v").await;
        let mut streams = Vec::new();
        for _ in 0..8 {
            let mut stream = Watches::open(&channel).await;
            stream
                .create(WatchCreateRequest {
                    start_revision: 2,
                    ..watch("k", "")
                })
                .await;
            streams.push(stream);
        }
        // a response comes although the watches still scan
        tokio::time::timeout(Duration::from_secs(20), kv.get("k"))
            .await
            .expect("a response")
            .expect("a pair");
        for stream in &mut streams {
            let event = stream.events(0, 1).await.remove(0);
            assert_eq!(event.kv.expect("a pair").mod_revision, found);
        }
        // past events come many revisions at a time
        let mut past = Watches::open(&channel).await;
        past.create(WatchCreateRequest {
            start_revision: 2,
            ..watch("o1", "")
        })
        .await;
        let (mut responses, mut events) = (0, 0);
        while events < TXNS {
            let response = past.next().await;
            assert_eq!(response.header.expect("a header").revision, found);
            (responses, events) = (responses + 1, events + response.events.len());
        }
        println!("{TXNS} revisions of the past in {responses} responses");
        assert!(responses <= TXNS / 50, "{responses} responses");
    });
}
