//! An election between processes.

use std::time::Duration;

use crate::db::Db;
use crate::engine::{Interrupt, wrong_response};
use crate::error::{Code, Result};
use crate::model::{KeyRange, KeyValue, Revision};
use crate::recipe::claim::holder_request;
use crate::recipe::claimant::Claimant;
use crate::recipe::wait_limit::WaitLimit;
use crate::recipe::watcher::Watcher;
use crate::request::{Response, Watch};

impl Db {
    /// Opens an election by name. It does not campaign yet. `ttl_seconds` as for [`Db::lock`].
    ///
    /// ```
    /// use libkv::{Db, Options};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let mut election = db.election("primary", 10)?;
    /// election.campaign("host-1", None)?;
    /// assert_eq!(election.leader()?.unwrap().value, "host-1");
    /// election.resign()?;
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` for an empty name.
    pub fn election(&self, name: impl Into<Vec<u8>>, ttl_seconds: i64) -> Result<Election> {
        Ok(Election {
            claimant: Claimant::new(self, name, ttl_seconds)?,
        })
    }
}

/// An election: one leader among all candidates for a name; made by
/// [`Db::election`](crate::Db::election). The keys are those of etcd's election service.
///
/// **Guarantees.** The leader is the candidate whose key was created first. The value of its key is
/// what the leader proclaims. If the leader resigns, or its process ends, the next candidate leads,
/// in the order in which they came.
///
/// **Limits.** A leader that is stopped for longer than the TTL may act for a moment as if it
/// still leads. [`Election::proclaim`] then fails. Fence other writes with [`Election::revision`],
/// as with [`Lock`](crate::Lock).
#[derive(Debug)]
pub struct Election {
    claimant: Claimant,
}

impl Election {
    /// Waits until this candidate leads, and proclaims `value`.
    ///
    /// # Errors
    ///
    /// `timeout` after `timeout` (none: never), `lease_lost`, and as [`Db::put`](crate::Db::put).
    /// After any of them it is not in the queue.
    pub fn campaign(
        &mut self,
        value: impl Into<Vec<u8>>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<()> {
        let value = value.into();
        if self.claimant.is_held() {
            return self.proclaim(value);
        }
        let request = self.claimant.request(value, WaitLimit::new(timeout.into()));
        self.claimant.acquire(request).map(drop)
    }

    /// Changes the value of the leader.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if it does not lead, `lease_lost` if it lost the leadership.
    pub fn proclaim(&mut self, value: impl Into<Vec<u8>>) -> Result<()> {
        let proclamation = self.claimant.proclamation(value)?;
        match self.claimant.db().txn(proclamation)?.succeeded {
            true => Ok(()),
            false => Err(self.claimant.lost()),
        }
    }

    /// Reads the leader's pair; `None` if there is no leader. The leader may be in another process.
    ///
    /// # Errors
    ///
    /// Only those that every call may return.
    pub fn leader(&self) -> Result<Option<KeyValue>> {
        self.claimant.holder()
    }

    /// Follows the election: the current leader, then each new leader and each new value.
    ///
    /// # Errors
    ///
    /// Same as [`Db::watch`](crate::Db::watch).
    pub fn observe(&self) -> Result<Leaders> {
        Leaders::new(self.claimant.db().clone(), self.claimant.prefix())
    }

    /// Resigns, or withdraws the candidature; does nothing if it is no candidate.
    ///
    /// # Errors
    ///
    /// Same as [`Db::lease_revoke`](crate::Db::lease_revoke). The candidature then ends with its
    /// TTL.
    pub fn resign(&mut self) -> Result<()> {
        self.claimant.release()
    }

    /// Whether it leads; false also once its lease is known to be lost.
    pub fn is_leader(&self) -> bool {
        self.claimant.is_held()
    }

    /// Its key in the store while it leads; otherwise empty.
    pub fn key(&self) -> &[u8] {
        self.claimant.key()
    }

    /// The revision at which its key was created, for fencing; `None` before it leads and after it
    /// resigns. A leader that lost its lease still has it, as with
    /// [`Lock::revision`](crate::Lock::revision).
    pub fn revision(&self) -> Option<Revision> {
        self.claimant.revision()
    }
}

/// The leaders of an election; made by [`Election::observe`]. The iterator waits for each, returns
/// an error once, and ends.
#[derive(Debug)]
pub struct Leaders {
    db: Db,
    prefix: Vec<u8>,
    watcher: Watcher,
    /// The last returned pair.
    last: Revision,
    /// Whether the leader must be read: at first, and after each change.
    look: bool,
    /// Whether the iterator has returned an error.
    ended: bool,
}

impl Leaders {
    fn new(db: Db, prefix: Vec<u8>) -> Result<Leaders> {
        let watcher = db.watch(Watch::new(KeyRange::prefix(&prefix[..])))?;
        Ok(Leaders {
            db,
            prefix,
            watcher,
            last: 0,
            look: true,
            ended: false,
        })
    }

    /// Returns the next leader's pair; `None` if `timeout` (`None`: no limit) passed. If changes
    /// come faster than they are read only the last is returned.
    ///
    /// # Errors
    ///
    /// Those of [`Watcher::next`] except `compacted`.
    pub fn next(&mut self, timeout: impl Into<Option<Duration>>) -> Result<Option<KeyValue>> {
        self.next_unless(WaitLimit::new(timeout.into()), &|| false)
    }

    /// As [`Leaders::next`]; a request under way is given up once `interrupted` is true. What waits
    /// for the next change is ended by cancelling [`Leaders::watcher`].
    ///
    /// # Errors
    ///
    /// As [`Leaders::next`]; `cancelled` if it was interrupted.
    pub fn next_unless(
        &mut self,
        wait_limit: WaitLimit,
        interrupted: Interrupt,
    ) -> Result<Option<KeyValue>> {
        self.follow(wait_limit, interrupted, || wait_limit.left())
    }

    /// As [`Leaders::try_next`], with a limit for requests to a cluster, as in
    /// [`Leaders::next_unless`].
    ///
    /// # Errors
    ///
    /// As [`Leaders::next_unless`].
    pub fn try_next_unless(
        &mut self,
        wait_limit: WaitLimit,
        interrupted: Interrupt,
    ) -> Result<Option<KeyValue>> {
        self.follow(wait_limit, interrupted, || Some(Duration::ZERO))
    }

    fn follow(
        &mut self,
        wait_limit: WaitLimit,
        interrupted: Interrupt,
        wait: impl Fn() -> Option<Duration>,
    ) -> Result<Option<KeyValue>> {
        let db = wait_limit.limit(&self.db);
        loop {
            match self.changed(&db, interrupted) {
                Ok(None) => {}
                Err(error) if wait_limit.has_ended(error.code()) => return Ok(None),
                changed => return changed,
            }
            match self.watcher.next(wait()) {
                Ok(None) => return Ok(None),
                Ok(Some(_)) => {
                    self.look = true;
                    // batches may come without an end; the leader that is read now is the current
                    // one
                    if wait().is_some_and(|left| left.is_zero()) {
                        return match self.changed(&db, interrupted) {
                            Err(error) if wait_limit.has_ended(error.code()) => Ok(None),
                            changed => changed,
                        };
                    }
                }
                Err(error) if error.code() == Code::Compacted => match self.restart(&db) {
                    Err(error) if wait_limit.has_ended(error.code()) => return Ok(None),
                    restarted => restarted?,
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the next leader's pair if there is one. Never waits.
    ///
    /// # Errors
    ///
    /// Same as [`Leaders::next`].
    pub fn try_next(&mut self) -> Result<Option<KeyValue>> {
        self.next(Duration::ZERO)
    }

    /// The watcher behind this stream, for callers that must not block: wait until
    /// [`Watcher::try_next`] may have something, then call [`Leaders::try_next`].
    pub fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    /// A compaction overtook this reader. Missed changes are over; the current leader counts.
    fn restart(&mut self, db: &Db) -> Result<()> {
        self.watcher = db.watch(Watch::new(KeyRange::prefix(&self.prefix[..])))?;
        self.look = true;
        Ok(())
    }

    fn changed(&mut self, db: &Db, interrupted: Interrupt) -> Result<Option<KeyValue>> {
        // after the end there is no leader to look up: the watcher has the error
        if !self.look || self.watcher.is_over() {
            return Ok(None);
        }
        let leader = match db.call_unless(holder_request(&self.prefix), interrupted)? {
            Response::Range(response) => response.kvs.into_iter().next(),
            other => return Err(wrong_response(&other)),
        };
        // only now: a read that failed is repeated by the next call
        self.look = false;
        Ok(leader
            .filter(|kv| std::mem::replace(&mut self.last, kv.mod_revision) != kv.mod_revision))
    }

    /// Ends the stream: every later call returns `closed`.
    pub fn close(&self) {
        self.watcher.close();
    }
}

impl Iterator for Leaders {
    type Item = Result<KeyValue>;

    fn next(&mut self) -> Option<Result<KeyValue>> {
        if self.ended {
            return None;
        }
        match Leaders::next(self, None) {
            Ok(leader) => leader.map(Ok),
            Err(error) => {
                self.ended = true;
                (!matches!(error.code(), Code::Cancelled | Code::Closed)).then_some(Err(error))
            }
        }
    }
}

/// With the feature `stream`: the same as the iterator, for async code of any kind. After a change
/// of leader a step reads the store, which takes microseconds.
#[cfg(feature = "stream")]
impl futures_core::Stream for Leaders {
    type Item = Result<KeyValue>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        use std::task::Poll;
        let leaders = self.get_mut();
        if leaders.ended {
            return Poll::Ready(None);
        }
        match leaders.try_next() {
            Ok(Some(leader)) => Poll::Ready(Some(Ok(leader))),
            Ok(None) => {
                // wakes at once if something has come since
                leaders.watcher.set_waker(Some(context.waker().clone()));
                Poll::Pending
            }
            Err(error) => {
                leaders.ended = true;
                let quiet = matches!(error.code(), Code::Cancelled | Code::Closed);
                Poll::Ready((!quiet).then_some(Err(error)))
            }
        }
    }
}
