//! History of a cluster. etcd provides it only to watches: a watch from a past revision is read
//! until it has passed the requested revision.
//!
//! A watch sends nothing where nothing matches, so its end is hard to detect. Two ends are certain:
//! an event at the requested revision, and, for a watch of every key, any event at it, because each
//! revision has one. So the events are read in two parts: with a watch of the range alone up to the
//! last put that still exists at the end, and from there with a watch of all keys.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use libkv::engine::{DiffPage, EventsPage, check_key};
use libkv::*;
use tokio::time::timeout;

use super::call::Ticket;
use super::cluster::{Cluster, after};
use super::link::{Failure, failure};
use super::request;
use super::revision::{compacted_error, compacted_revision, current_revision, is_compacted};
use super::watch_rpc::{Assembler, cancel_status, open};
use crate::convert;
use crate::pb::etcdserverpb as pb;

/// A page is full with this many bytes of events. Each page begins a new watch, which takes the
/// cluster a tenth of a second.
const PAGE_BYTES: usize = 8 << 20;
/// The size of an event beside its bytes.
const EVENT_BYTES: usize = 128;
/// Pairs of each side that a page of a comparison reads.
const DIFF_PAIRS: i64 = 1_000;

async fn range(cluster: &Arc<Cluster>, range: Range) -> Result<RangeResponse> {
    match request::run(cluster.clone(), range.into(), Arc::<Ticket>::default()).await? {
        Response::Range(response) => Ok(response),
        _ => Err(Error::new(
            Code::Internal,
            "the response to a range is of another kind",
        )),
    }
}

/// The first events of `request`, in whole revisions.
pub(crate) async fn events(cluster: Arc<Cluster>, request: Events) -> Result<EventsPage> {
    let Events {
        after,
        upto,
        range: keys,
        ..
    } = request;
    check_key(&keys.key)?;
    let after = after.max(0);
    let upto = if upto > 0 {
        upto
    } else {
        current_revision(&cluster).await?
    };
    // the last put that still exists at the end; this also refuses revisions that cannot be read
    let newest = Range::new(keys.clone())
        .revision(upto)
        .sort(SortTarget::Mod, SortOrder::Descend)
        .keys_only(true)
        .limit(1);
    let last_put = range(&cluster, newest)
        .await?
        .kvs
        .first()
        .map_or(0, |kv| kv.mod_revision);
    if is_compacted(&cluster, &keys.key, after.max(1)).await? {
        return Err(compacted_error(
            after,
            compacted_revision(&cluster, &keys.key).await?,
        ));
    }
    if upto <= after {
        return Ok(EventsPage {
            events: Vec::new(),
            upto,
        });
    }
    let page = match last_put > after {
        true => events_between(&cluster, &keys, after + 1, last_put).await?,
        false => events_between(&cluster, &KeyRange::all(), after + 1, upto)
            .await
            .map_err(|error| explain_missing_right(&keys, error))?,
    };
    let events = page
        .events
        .into_iter()
        .filter(|event| keys.contains(&event.kv.key))
        .collect();
    Ok(EventsPage {
        events,
        upto: page.upto,
    })
}

/// Explains to a user that may read only the range which other right is needed. Without it, the
/// refusal would depend on the keys that other users wrote last.
fn explain_missing_right(keys: &KeyRange, error: Error) -> Error {
    if error.code() != Code::PermissionDenied || *keys == KeyRange::all() {
        return error;
    }
    let why =
        "the last deletions are only visible to a watch of all keys, which this user may not read";
    error.with_detail(why)
}

/// The events of a range from a revision on. One of them, or of the range `all`, is at `upto`; it
/// is the last, unless the page is full before.
async fn events_between(
    cluster: &Arc<Cluster>,
    keys: &KeyRange,
    from: Revision,
    upto: Revision,
) -> Result<EventsPage> {
    let until = after(cluster.request_timeout);
    loop {
        let link = cluster.link(until).await?;
        let token = cluster.token();
        let mut page = EventsPage {
            events: Vec::new(),
            upto: from - 1,
        };
        let Some(failed) = read_watch(cluster, &link, keys, from, upto, &mut page).await else {
            return Ok(page);
        };
        // the received revisions are complete, and the caller continues after them
        if !page.events.is_empty() {
            return Ok(page);
        }
        if failed.code() == tonic::Code::OutOfRange {
            return Err(compacted_error(
                from,
                compacted_revision(cluster, &keys.key).await?,
            ));
        }
        let passes =
            failure(&failed) != Failure::Refused || failed.code() == tonic::Code::Unavailable;
        match cluster.is_stale(&failed) {
            true => cluster.renew(&link, &token).await?,
            false if passes => cluster.leave(&link),
            false => return Err(convert::error_in(&failed, None)),
        }
        if tokio::time::Instant::now() >= until {
            return Err(Error::new(
                Code::Timeout,
                format!("{}: {}", link.name(), link.reason(&failed)),
            ));
        }
        tokio::time::sleep(super::cluster::PAUSE).await;
    }
}

/// Reads one watch into `page`; `None` when it is complete, otherwise why it ended.
async fn read_watch(
    cluster: &Arc<Cluster>,
    link: &super::link::Link,
    keys: &KeyRange,
    from: Revision,
    upto: Revision,
    page: &mut EventsPage,
) -> Option<tonic::Status> {
    let create = pb::WatchCreateRequest {
        key: Bytes::copy_from_slice(&keys.key),
        range_end: Bytes::copy_from_slice(&keys.range_end),
        start_revision: from,
        fragment: true,
        ..Default::default()
    };
    let silent = |_| tonic::Status::unavailable("the watch of the history does not respond");
    let token = cluster.token();
    let opened = timeout(cluster.request_timeout, open(link, create, &token))
        .await
        .map_err(silent);
    let mut stream = match opened.and_then(|opened| opened) {
        Ok(stream) => stream,
        Err(status) => return Some(status),
    };
    let (mut assembler, mut bytes) = (Assembler::default(), 0);
    loop {
        let message = timeout(cluster.request_timeout, stream.message())
            .await
            .map_err(silent);
        let message = match message.and_then(|message| message) {
            Ok(Some(message)) => message,
            Ok(None) => return Some(tonic::Status::unavailable("the watch of the history ended")),
            Err(status) => return Some(status),
        };
        if message.compact_revision > 0 {
            return Some(tonic::Status::out_of_range(
                "mvcc: required revision has been compacted",
            ));
        }
        if message.canceled {
            return Some(cancel_status(&message.cancel_reason));
        }
        for event in assembler.take(message) {
            if event.kv.mod_revision > upto {
                page.upto = upto;
                return None;
            }
            page.upto = event.kv.mod_revision;
            bytes += EVENT_BYTES + event.kv.key.len() + event.kv.value.len();
            page.events.push(event);
        }
        if page.upto >= upto || bytes >= PAGE_BYTES {
            return None;
        }
    }
}

/// The events of one key, newest first.
pub(crate) async fn history(cluster: Arc<Cluster>, key: Vec<u8>, limit: i64) -> Result<Vec<Event>> {
    let most = usize::try_from(limit)
        .ok()
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    let compacted = compacted_revision(&cluster, &key).await?;
    let mut events: VecDeque<Event> = VecDeque::new();
    let mut keep = |event: Event| {
        if events.len() == most {
            events.pop_back();
        }
        events.push_front(event);
    };
    if compacted > 0 {
        let at_compaction = range(&cluster, Range::new(key.as_slice()).revision(compacted)).await?;
        // the last earlier put, which is still visible; a watch that begins at the compaction does
        // not have it
        at_compaction.kvs.into_iter().for_each(|kv| {
            keep(Event {
                kind: EventKind::Put,
                kv,
                prev_kv: None,
            })
        });
    }
    let upto = current_revision(&cluster).await?;
    let mut request = Events::new(KeyRange::key(key)).after(compacted).upto(upto);
    while request.after < upto {
        let page = self::events(cluster.clone(), request.clone()).await?;
        page.events.into_iter().for_each(&mut keep);
        request.after = page.upto;
    }
    Ok(events.into())
}

/// The first keys that differ between two revisions: both are read in key order and merged.
pub(crate) async fn diff(
    cluster: Arc<Cluster>,
    before: Revision,
    after: Revision,
    keys: KeyRange,
) -> Result<DiffPage> {
    let side = |revision| {
        range(
            &cluster,
            Range::new(keys.clone())
                .revision(revision)
                .limit(DIFF_PAIRS),
        )
    };
    let (a, b) = (side(before).await?, side(after).await?);
    // beyond the lower of the two last keys only one side is known
    let last = |side: &RangeResponse| {
        side.kvs
            .last()
            .filter(|_| side.more)
            .map(|kv| kv.key.clone())
    };
    let bound = [last(&a), last(&b)].into_iter().flatten().min();
    let known = |kv: &KeyValue| bound.as_ref().is_none_or(|bound| kv.key <= *bound);
    let (mut a, mut b) = (a.kvs.into_iter().peekable(), b.kvs.into_iter().peekable());
    let mut differences = Vec::new();
    loop {
        let (x, y) = (
            a.peek().filter(|kv| known(kv)),
            b.peek().filter(|kv| known(kv)),
        );
        let key = match (x, y) {
            (None, None) => break,
            (Some(kv), None) | (None, Some(kv)) => kv.key.clone(),
            (Some(x), Some(y)) => x.key.clone().min(y.key.clone()),
        };
        let (before, after) = (a.next_if(|kv| kv.key == key), b.next_if(|kv| kv.key == key));
        if before.as_ref().map(|kv| kv.mod_revision) != after.as_ref().map(|kv| kv.mod_revision) {
            differences.push(Difference { key, before, after });
        }
    }
    Ok(DiffPage {
        differences,
        next: bound.map(|bound| [&bound[..], &[0]].concat()),
    })
}
