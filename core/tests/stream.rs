//! Watchers and leaders as streams, for any async runtime. These tests use a minimal executor.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_core::Stream;
use libkv::*;
use libkv_test_support::deadline::deadline;

const WAIT_LIMIT: Duration = Duration::from_secs(20);

/// A waker that sends a message.
struct ChannelWaker(mpsc::SyncSender<()>);

impl Wake for ChannelWaker {
    fn wake(self: Arc<Self>) {
        let _ = self.0.try_send(());
    }
}

/// The next item; polls only when woken.
fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let waker = Waker::from(Arc::new(ChannelWaker(sender)));
    loop {
        match Pin::new(&mut *stream).poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(item) => return item,
            Poll::Pending => receiver.recv_timeout(WAIT_LIMIT).expect("woken in time"),
        }
    }
}

#[test]
fn watcher_is_a_stream_of_batches() {
    let _deadline = deadline();
    let db = Db::open(":memory:", Options::new()).expect("a store");
    let mut watcher = db.watch(Watch::new("a")).expect("watching");
    let writer = thread::spawn({
        let db = db.clone();
        move || {
            (0..200)
                .map(|n| db.put(Put::new("a", n.to_string())).expect("put").revision)
                .max()
        }
    });
    for revision in 2..202 {
        assert_eq!(
            next(&mut watcher)
                .expect("a batch")
                .expect("no error")
                .revision,
            revision
        );
    }
    assert_eq!(writer.join().expect("written"), Some(201));
    watcher.cancel();
    assert!(
        next(&mut watcher).is_none() && next(&mut watcher).is_none(),
        "cancelling ends the stream without an error"
    );

    let mut behind = db
        .watch(Watch::new("a").start_revision(1))
        .expect("watching");
    db.compact(Compact::new(201).physical(true))
        .expect("compacted");
    let error = next(&mut behind).expect("an end").expect_err("compacted");
    assert_eq!(
        (error.code(), error.revision()),
        (Code::Compacted, Some(201))
    );
    assert!(next(&mut behind).is_none(), "an error is returned once");
}

#[test]
fn leaders_are_a_stream_of_pairs() {
    let _deadline = deadline();
    let db = Db::open(":memory:", Options::new()).expect("a store");
    let mut election = db.election("e", 60).expect("an election");
    let mut leaders = election.observe().expect("observing");
    let leading = thread::spawn(move || {
        election.campaign("one", None).expect("the leader");
        election.proclaim("two").expect("the leader");
        election
    });
    // a value that is replaced at once may be omitted, but not the last one
    let mut seen = Vec::new();
    while seen.last().is_none_or(|value| *value != "two") {
        seen.push(
            next(&mut leaders)
                .expect("a leader")
                .expect("no error")
                .value,
        );
    }
    assert!(seen.len() <= 2, "{seen:?}");
    leading
        .join()
        .expect("an election")
        .resign()
        .expect("resigned");
    db.close();
    assert!(
        next(&mut leaders).is_none(),
        "a closed store ends the stream without an error"
    );
}
