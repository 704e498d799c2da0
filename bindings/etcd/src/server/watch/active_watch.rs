//! One watch: reads the events of one response from its watcher, and splits responses into
//! fragments.

use std::sync::Arc;
use std::task::Waker;

use libkv::{Event, KeyRange, Result, Revision, WatchBatch, Watcher};
use prost::Message;
use tonic::Status;

use super::ready_queue::ReadySignal;
use crate::convert::event_out;
use crate::pb::etcdserverpb as pb;
use crate::pb::mvccpb;
use crate::server::auth::{Caller, CallerRights};
use crate::server::store::Store;

/// The most past revisions in one response: etcd's batch.
const PAST_REVISIONS: usize = 1_000;
/// Events and bytes of a batch that are in memory at a time. The rest follows in further fragments
/// of the same response, or in another response if the client did not request fragments.
const PAST_EVENTS: usize = 1_000;
const PAST_BYTES: usize = 256 << 10;
/// A watch that is this many revisions behind gets past revisions in batches. etcd's queue is as
/// long.
const BEHIND_REVISIONS: Revision = 128;

/// A watch that has not ended.
pub(super) struct ActiveWatch {
    watcher: Watcher,
    pub signal: Arc<ReadySignal>,
    fragment: bool,
    checked: CheckedRange,
    /// Events up to this revision are past: several of them may share a response.
    past_upto: Revision,
    /// Taken from the watcher, and not sent.
    pending: Option<WatchBatch>,
    /// The batch whose last fragment announced more; `pending` is its next revision.
    open: Option<OpenBatch>,
}

/// The keys of a watch, and its caller's rights when they were checked last.
pub(super) struct CheckedRange {
    pub range: KeyRange,
    pub rights: CallerRights,
}

/// A batch of past revisions that is sent in fragments.
struct OpenBatch {
    /// The revision in the header of each fragment.
    header: Revision,
    /// Revisions of it that were sent.
    revisions: usize,
}

/// The output of a watch for one response.
pub(super) enum WatchOutput {
    Nothing,
    /// Some events, at the revision for the response's header. If `more` of the same response
    /// follows, it must be taken next: clients accept nothing else in between.
    Events {
        revision: Revision,
        events: Vec<Event>,
        more: bool,
    },
    Progress(Revision),
}

impl ActiveWatch {
    /// Takes a watcher that was made while the store was at `revision`.
    pub fn new(
        watcher: Watcher,
        signal: Arc<ReadySignal>,
        fragment: bool,
        revision: Revision,
        checked: CheckedRange,
    ) -> ActiveWatch {
        // sets the signal at once if the watcher has something already
        watcher.set_waker(Some(Waker::from(signal.clone())));
        ActiveWatch {
            watcher,
            signal,
            fragment,
            checked,
            past_upto: revision,
            pending: None,
            open: None,
        }
    }

    /// Refuses a watch whose caller has lost the right to it since it was checked last. Called
    /// before each response.
    pub fn check(&mut self, store: &Store, caller: &Caller) -> std::result::Result<(), Status> {
        let CheckedRange { range, rights } = &mut self.checked;
        if store.guard.has_changed(rights)? {
            *rights = store.guard.rights(caller)?;
            rights.read(range)?;
        }
        Ok(())
    }

    /// Takes the content of one response: one revision, or several past ones.
    pub fn take(&mut self, store: &Store) -> Result<WatchOutput> {
        let batch = match self.pending.take() {
            Some(batch) => batch,
            None => match self.watcher.try_next_briefly()? {
                Some(batch) => batch,
                None => return Ok(WatchOutput::Nothing),
            },
        };
        let WatchBatch {
            revision,
            mut events,
            ..
        } = batch;
        if events.is_empty() {
            return Ok(WatchOutput::Progress(revision));
        }
        let current = store.revision().unwrap_or(revision);
        if revision > self.past_upto {
            if current - revision < BEHIND_REVISIONS {
                return Ok(WatchOutput::Events {
                    revision,
                    events,
                    more: false,
                });
            }
            self.past_upto = current;
        }
        let OpenBatch {
            header,
            mut revisions,
        } = self.open.take().unwrap_or(OpenBatch {
            header: current,
            revisions: 0,
        });
        revisions += 1;
        let (mut bytes, mut last) = (events_bytes(&events), revision);
        let more = loop {
            if revisions == PAST_REVISIONS {
                break false;
            }
            // an error is returned again by the next call, after these events
            self.pending = self.watcher.try_next_briefly().unwrap_or_default();
            let upto = self.past_upto;
            let is_past = |next: &mut WatchBatch| !next.events.is_empty() && next.revision <= upto;
            let Some(mut next) = self.pending.take_if(is_past) else {
                break false;
            };
            let size = events_bytes(&next.events);
            if bytes + size > PAST_BYTES || events.len() + next.events.len() > PAST_EVENTS {
                self.pending = Some(next);
                break self.fragment;
            }
            (bytes, last, revisions) = (bytes + size, next.revision, revisions + 1);
            events.append(&mut next.events);
        };
        // the events that were taken are sent even if the store's revision cannot be read
        let header = header.max(last);
        self.open = more.then_some(OpenBatch { header, revisions });
        Ok(WatchOutput::Events {
            revision: header,
            events,
            more,
        })
    }

    /// Whether all matching events up to `revision` were taken, or the watch begins later.
    pub fn is_caught_up(&self, revision: Revision) -> bool {
        self.pending.is_none()
            && (self
                .watcher
                .caught_up()
                .is_some_and(|upto| upto >= revision)
                || self.watcher.resume_revision() > revision)
    }

    /// The responses with these events: one, or, if they are too large for one and the client
    /// requested fragments, several of which all but the last announce more (contract 10.14).
    /// `response.fragment` is the value in the last one.
    pub fn responses(
        &self,
        response: pb::WatchResponse,
        events: Vec<Event>,
        bytes_max: usize,
    ) -> Vec<pb::WatchResponse> {
        let more = response.fragment;
        let events: Vec<mvccpb::Event> = events.into_iter().map(event_out).collect();
        let whole = pb::WatchResponse { events, ..response };
        if !self.fragment || whole.encoded_len() < bytes_max {
            return vec![whole];
        }
        let bare = pb::WatchResponse {
            events: Vec::new(),
            fragment: true,
            ..whole
        };
        let bare_bytes = bare.encoded_len();
        let mut pieces = vec![bare.clone()];
        let mut bytes = bare_bytes;
        for event in whole.events {
            let size = event.encoded_len();
            // with the field's number and length
            let size = size + 1 + prost::length_delimiter_len(size);
            let full = pieces.last().is_some_and(|piece| !piece.events.is_empty())
                && bytes + size >= bytes_max;
            if full {
                pieces.push(bare.clone());
                bytes = bare_bytes;
            }
            bytes += size;
            if let Some(piece) = pieces.last_mut() {
                piece.events.push(event);
            }
        }
        if let Some(last) = pieces.last_mut() {
            last.fragment = more;
        }
        pieces
    }
}

fn events_bytes(events: &[Event]) -> usize {
    events.iter().map(event_bytes).sum()
}

/// The approximate size of an event on the wire.
fn event_bytes(event: &Event) -> usize {
    let before = event
        .prev_kv
        .as_ref()
        .map_or(0, |kv| kv.key.len() + kv.value.len() + 32);
    event.kv.key.len() + event.kv.value.len() + before + 32
}
