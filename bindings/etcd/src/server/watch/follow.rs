//! One watch: what it takes from its watcher for one answer, and how an answer is cut.

use std::sync::Arc;
use std::task::Waker;

use libkv::{Event, Result, Revision, WatchBatch, Watcher};
use prost::Message;

use super::marks::Mark;
use crate::convert::event_out;
use crate::pb::etcdserverpb as pb;
use crate::pb::mvccpb;
use crate::server::Store;

/// Revisions of the past that share an answer, at most: etcd's batch.
const PAST_REVISIONS: usize = 1_000;
/// Events and bytes of a batch that are in memory at a time. The rest follows in further fragments of the
/// same answer, or in another answer if the client did not ask for fragments.
const PAST_EVENTS: usize = 1_000;
const PAST_BYTES: usize = 256 << 10;
/// Who is so many revisions behind gets them as the past, many at a time; etcd's queue is as long.
const BEHIND: Revision = 128;

/// A watch that goes on.
pub(super) struct Followed {
    watcher: Watcher,
    pub mark: Arc<Mark>,
    fragment: bool,
    /// Events up to this revision are the past: they may share answers.
    past_upto: Revision,
    /// Taken from the watcher, and not sent.
    kept: Option<WatchBatch>,
    /// The batch whose last fragment said that more follows; `kept` is its next revision.
    open: Option<Open>,
}

/// A batch of the past that is sent in fragments.
struct Open {
    /// The revision in the header of each fragment.
    header: Revision,
    /// Revisions that were sent of it.
    revisions: usize,
}

/// What there is to send.
pub(super) enum Found {
    Nothing,
    /// Some events, at the revision that the answer's header says. Where `more` of the same answer follows,
    /// it must be taken next: clients take nothing else in between.
    Events {
        revision: Revision,
        events: Vec<Event>,
        more: bool,
    },
    Progress(Revision),
}

impl Followed {
    /// Follows with a watcher that was made while the store was at `revision`.
    pub fn new(watcher: Watcher, mark: Arc<Mark>, fragment: bool, revision: Revision) -> Followed {
        // marks it at once if it has something already
        watcher.set_waker(Some(Waker::from(mark.clone())));
        Followed {
            watcher,
            mark,
            fragment,
            past_upto: revision,
            kept: None,
            open: None,
        }
    }

    /// Takes what goes into one answer: a revision, or some of the past.
    pub fn take(&mut self, store: &Store) -> Result<Found> {
        let batch = match self.kept.take() {
            Some(batch) => batch,
            None => match self.watcher.try_next_briefly()? {
                Some(batch) => batch,
                None => return Ok(Found::Nothing),
            },
        };
        let WatchBatch {
            revision,
            mut events,
        } = batch;
        if events.is_empty() {
            return Ok(Found::Progress(revision));
        }
        let current = store.revision().unwrap_or(revision);
        if revision > self.past_upto {
            if current - revision < BEHIND {
                return Ok(Found::Events {
                    revision,
                    events,
                    more: false,
                });
            }
            self.past_upto = current;
        }
        let Open {
            header,
            mut revisions,
        } = self.open.take().unwrap_or(Open {
            header: current,
            revisions: 0,
        });
        revisions += 1;
        let (mut bytes, mut last) = (events_bytes(&events), revision);
        let more = loop {
            if revisions == PAST_REVISIONS {
                break false;
            }
            // an error comes again the next time, after these
            self.kept = self.watcher.try_next_briefly().unwrap_or_default();
            let upto = self.past_upto;
            let is_past = |next: &mut WatchBatch| !next.events.is_empty() && next.revision <= upto;
            let Some(mut next) = self.kept.take_if(is_past) else {
                break false;
            };
            let size = events_bytes(&next.events);
            if bytes + size > PAST_BYTES || events.len() + next.events.len() > PAST_EVENTS {
                self.kept = Some(next);
                break self.fragment;
            }
            (bytes, last, revisions) = (bytes + size, next.revision, revisions + 1);
            events.append(&mut next.events);
        };
        // what was taken is sent, also while the store cannot be asked
        let header = header.max(last);
        self.open = more.then_some(Open { header, revisions });
        Ok(Found::Events {
            revision: header,
            events,
            more,
        })
    }

    /// Whether everything up to `revision` that matches has been taken, or it begins later.
    pub fn is_caught_up(&self, revision: Revision) -> bool {
        self.kept.is_none()
            && (self
                .watcher
                .caught_up()
                .is_some_and(|upto| upto >= revision)
                || self.watcher.resume_revision() > revision)
    }

    /// The answers that bring these events: one, or, if they are too many bytes for one and the client
    /// asked for it, pieces of which all but the last say that more follows (contract 10.14). `answer.fragment`
    /// is what the last one says.
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

/// About what an event takes on the wire.
fn event_bytes(event: &Event) -> usize {
    let before = event
        .prev_kv
        .as_ref()
        .map_or(0, |kv| kv.key.len() + kv.value.len() + 32);
    event.kv.key.len() + event.kv.value.len() + before + 32
}
