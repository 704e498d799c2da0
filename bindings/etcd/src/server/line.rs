//! Standing in line for a name: what the services Lock and Election have in common (contract 12).
//!
//! Each who wants `name` has the key `name/<lease id in hexadecimal>`, on a lease that the client keeps
//! alive; whose key was created first has it. Nobody polls: who waits follows its own key, and the one
//! just before it. A [`Place`] that is dropped before its turn leaves the line, so that a client that is
//! gone holds nobody up.

use std::sync::Arc;

use libkv::*;
use tokio::sync::oneshot;
use tokio_stream::StreamExt;
use tonic::Status;

use super::store::Store;
use super::store::stopped;
use crate::convert::refusal;

/// What a client without a lease gets, in seconds. Nobody keeps it alive but the client.
const TTL_SECONDS: i64 = 60;

/// These services answer every refusal with the code that says nothing, as etcd's do.
pub(super) fn unknown(status: Status) -> Status {
    match status.code() {
        tonic::Code::Unavailable => status,
        _ => Status::unknown(status.message()),
    }
}

/// A refusal that has no code of its own.
pub(super) fn refused(text: &str) -> Status {
    Status::unknown(text)
}

/// Under what all keys of a name stand.
pub(super) fn prefix(name: &[u8]) -> Vec<u8> {
    [name, b"/"].concat()
}

/// Asks for the key that was created first.
pub(super) fn first_in_line(prefix: &[u8]) -> Range {
    Range::new(KeyRange::prefix(prefix))
        .sort(SortTarget::Create, SortOrder::Ascend)
        .limit(1)
}

/// The lease that a client named, or a new one.
pub(super) async fn lease_or_new(
    store: &Store,
    asked: LeaseId,
) -> std::result::Result<LeaseId, Status> {
    if asked != 0 {
        return Ok(asked);
    }
    let grant = LeaseGrant {
        ttl_seconds: TTL_SECONDS,
        id: 0,
        end_with_process: false,
    };
    match store.call(grant).await? {
        Response::LeaseGrant(granted) => Ok(granted.id),
        _ => Err(another_kind()),
    }
}

pub(super) fn another_kind() -> Status {
    Status::internal("etcdserver: a response of another kind")
}

/// A place in a line. Dropping it leaves the line, unless it was [kept](Place::keep).
pub(super) struct Place {
    store: Arc<Store>,
    prefix: Vec<u8>,
    pub key: Vec<u8>,
    /// The revision that created the key.
    pub created: Revision,
    /// The store's revision when the key was put, or found.
    pub revision: Revision,
    /// The value of a key that was there before; none if this call made it.
    pub found: Option<Vec<u8>>,
    kept: bool,
}

impl Place {
    /// Stands in line at the end, or where the lease stands already.
    pub async fn take(
        store: &Arc<Store>,
        name: &[u8],
        lease: LeaseId,
        value: &[u8],
    ) -> std::result::Result<Place, Status> {
        let prefix = prefix(name);
        let sign = if lease < 0 { "-" } else { "" };
        let key = [
            &prefix[..],
            format!("{sign}{:x}", lease.unsigned_abs()).as_bytes(),
        ]
        .concat();
        let enter = Txn::new()
            .when(Compare::create_revision(&key[..], CompareResult::Equal, 0))
            .and_then(Put::new(&key[..], value).lease(lease))
            .or_else(Range::new(&key[..]));
        let place = Place {
            store: store.clone(),
            prefix,
            key,
            created: 0,
            revision: 0,
            found: None,
            // until it is one
            kept: true,
        };
        let (tell, told) = oneshot::channel();
        store.db.submit(enter, move |answer| {
            // of a caller who is gone the place is dropped, here or in the channel
            let _ = tell.send(answer.and_then(|answer| place.taken(answer)));
        });
        told.await.map_err(|_| stopped())?.map_err(refusal)
    }

    fn taken(mut self, answer: Response) -> Result<Place> {
        let Response::Txn(answer) = answer else {
            return Err(Error::new(Code::Internal, "a response of another kind"));
        };
        (self.created, self.revision, self.kept) = (answer.revision, answer.revision, false);
        if let (false, Some(OpResponse::Range(range))) =
            (answer.succeeded, answer.responses.first())
        {
            let Some(kv) = range.kvs.first() else {
                return Err(Error::new(
                    Code::Internal,
                    "a key is neither there nor not there",
                ));
            };
            (self.created, self.found) = (kv.create_revision, Some(kv.value.to_vec()));
        }
        Ok(self)
    }

    /// Waits for its turn; answers the revision at which it had it, or none if its key is gone.
    pub async fn wait(&self) -> std::result::Result<Option<Revision>, Status> {
        let mut first = true;
        loop {
            let look = Txn::new()
                .and_then(Range::new(&self.key[..]))
                .and_then(self.before());
            let Response::Txn(seen) = self.store.call(look).await? else {
                return Err(another_kind());
            };
            let [OpResponse::Range(own), OpResponse::Range(before)] = &seen.responses[..] else {
                return Err(another_kind());
            };
            if own
                .kvs
                .first()
                .is_none_or(|own| own.create_revision != self.created)
            {
                return Ok(None);
            }
            let Some(before) = before.kvs.first() else {
                return Ok(Some(if first { self.revision } else { seen.revision }));
            };
            first = false;
            let gone = |key: &[u8]| {
                self.store.db.watch(
                    Watch::new(key)
                        .start_revision(seen.revision + 1)
                        .no_put(true),
                )
            };
            let (mut own, mut before) = match (gone(&self.key), gone(&before.key)) {
                (Ok(own), Ok(before)) => (own, before),
                // what has happened is forgotten already: look again
                (Err(error), _) | (_, Err(error)) if error.code() == Code::Compacted => continue,
                (Err(error), _) | (_, Err(error)) => return Err(refusal(error)),
            };
            let event = tokio::select! {
                event = StreamExt::next(&mut before) => event,
                event = StreamExt::next(&mut own) => event,
                () = self.store.closed() => return Err(stopped()),
            };
            match event {
                Some(Err(error)) if error.code() != Code::Compacted => return Err(refusal(error)),
                // the store itself was closed
                None => return Err(stopped()),
                _ => {}
            }
        }
    }

    /// The one just before it in the line.
    fn before(&self) -> Range {
        Range::new(KeyRange::prefix(&self.prefix[..]))
            .create_revisions(0, self.created - 1)
            .sort(SortTarget::Create, SortOrder::Descend)
            .limit(1)
    }

    /// It is its client's from here on.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.kept || self.found.is_some() {
            return;
        }
        let leave = Txn::new()
            .when(Compare::create_revision(
                &self.key[..],
                CompareResult::Equal,
                self.created,
            ))
            .and_then(Delete::new(&self.key[..]));
        // a drop does not wait; what cannot be deleted ends with its lease
        self.store.db.submit(leave, |_| {});
    }
}
