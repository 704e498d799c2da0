//! Watchers. A watcher is a filter and a position in the log. (I5)
//!
//! No queue holds events for it. The [`Hub`] of a store examines each new revision once, finds the
//! watchers whose filters match with its index, and notes the revision with them: a few numbers,
//! and beyond [`HITS_MAX`](subscription::HITS_MAX) of them only that there are more. A watcher that
//! is read reads the log itself: at the noted revisions, or all of a stretch if it starts in the
//! past or has fallen behind.
//!
//! For each watcher, in this order: revisions below `next` are done; those up to `scan_upto` must
//! be scanned; then come the `hits`, up to the hub's position, or, with `more`, up to the last hit.
//! An example: a watcher is created at revision 10 to start at 4. Its `next` is 4 and its
//! `scan_upto` 10. The hub notes 13. The watcher reads 4 to 10, then 13. Then it is at the hub's
//! position.
//!
//! | file | contents |
//! |---|---|
//! | `index` | finds the watchers of a key |
//! | `subscription` | the filter and the position of one watcher |
//! | `hub` | all watchers of a store |
//! | `stream` | what a watcher's owner reads: the engine's `WatchStream` |
//!
//! The hub's lock is taken before that of a subscription, never after it.

mod hub;
mod index;
mod stream;
mod subscription;

pub(crate) use hub::{Hub, HubOwner, new_handle};
pub(crate) use stream::SubscriptionStream;
