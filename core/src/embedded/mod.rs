//! The engine in this process: [`Embedded`] is one handle on a [`Store`].
//!
//! Modules, the lowest layer first. A module uses only modules listed before it, except that `mvcc`
//! uses the lower half of `lease` (`entries`, `slot`):
//!
//! | module | contents |
//! |---|---|
//! | `os` | system calls: file locks, space, clocks, forks |
//! | `shards` | a value behind several locks, for readers on many processors |
//! | `codec` | the bytes of every entry of the trees |
//! | `guard` | the file that processes share: write lock, commit signal, presence, lease slots |
//! | `lmdb` | environment, transactions, cursors, raw pages |
//! | `lease` | entries and deadlines of leases (its `keeper` and `restore` are above `commit`) |
//! | `mvcc` | the meaning of each request within a transaction |
//! | `commit` | queue, leader, groups, durability, worker thread |
//! | `watch` | watchers: filters and positions, and the hub that finds them |
//! | `background` | the background thread: waits for the commit signal and for the next deadline |
//! | `store_meta` | the facts about a store in `meta` |
//! | `store` | one open environment with all of the above, shared by the handles of a process |
//! | `opening` | from a path to a store: checks, creation, recovery after a reboot |
//! | `check` | the invariants of `core/DESIGN.md`, verified on one read transaction |
//! | `one_member` | a store as a cluster of one member |
//!
//! Paths:
//!
//! - **put**, in eight calls: `Db::put` → `Embedded::call` (validates) → `Committer::run` (joins
//!   the queue) → `Committer::lead` (takes the write lock) → `GroupCommit::run` → `Writer::apply` →
//!   `Writer::put` → `WriteTxn::insert`. Then the group commits; the leader wakes its members and
//!   gives the commit signal.
//! - **get**: `Db::get` → `Embedded::get` → a parked read transaction of `lmdb::env` →
//!   `mvcc::walk`.
//! - **watch event**: commit signal → `background` → `watch::hub` finds the watchers → their wakers
//!   → `Watcher::next` → `watch::stream` reads the log with `mvcc::history`.
//! - **lease expiry**: `background` finds with `lease::keeper` that a deadline has passed →
//!   `Committer::expire_leases_soon` → worker → `GroupCommit::run` → `mvcc::lease` deletes the keys
//!   in one revision.

mod background;
mod check;
mod codec;
mod commit;
mod guard;
mod lease;
mod lmdb;
mod mvcc;
mod one_member;
mod opening;
pub(crate) mod os;
mod shards;
mod store;
mod store_meta;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::commit::{Batch, Terms, Work};
use self::lmdb::Tree;
use self::mvcc::conditions::Conditions;
use self::mvcc::pairs::PairCallback;
use self::mvcc::{history, read, txn, walk};
use self::shards::Shards;
use self::store::Store;
use crate::auth::{Auth, AuthData, AuthStamp, Password, UserAdd};
use crate::db::Db;
use crate::engine::{
    Completion, DiffPage, Engine, EventsPage, HistoryPart, Interrupt, KeepAlive, Page, Submission,
    WatchStream,
};
use crate::error::{Code, Error, Result};
use crate::member::{HashKvResponse, Member};
use crate::model::{Event, KeyRange, KeyValue, LeaseId, PairRef, Revision};
use crate::options::Options;
use crate::password;
use crate::request::*;
use crate::validate::{Limits, check_range, validate, validate_watch};

impl Db {
    /// Opens the store in the directory `path`, and creates it if it does not exist.
    ///
    /// `:memory:` is a new store in memory, which accepts every durability; `file:` URLs are paths.
    /// Handles of one process on one store share one environment.
    ///
    /// ```
    /// use libkv::{Db, Durability, Options, Put};
    ///
    /// # let path = std::env::temp_dir().join(format!("libkv-open-{}", std::process::id()));
    /// let options = Options::new().durability(Durability::Lazy);
    /// let db = Db::open(&path, options)?;
    /// db.put(Put::new("a", "1"))?;
    /// # drop(db);
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `not_found` (no store, and `create` is false or `read_only` true), `not_a_store`,
    /// `incompatible`, `busy`, `permission_denied`, `invalid_argument` (an option that differs from
    /// the environment that is open), `unsupported` (an option or address that this version does
    /// not support), `full`, `io`. After an error existing files are unchanged.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Db> {
        let store = opening::open(path.as_ref(), &options)?;
        let handle = Embedded::new(store, &options)?;
        if let Some(max_bytes) = options.max_bytes {
            handle.keep_max_bytes(max_bytes)?;
        }
        Ok(Db::from_engine(Arc::new(handle)))
    }
}

impl Limits {
    /// The limits of this handle; `None` for a cluster, whose servers have their own.
    pub fn of(db: &Db) -> Option<Limits> {
        db.engine().limits()
    }
}

/// One handle: its own limits and durability, on a store that all handles of the process share.
struct Embedded {
    /// `None` once closed. A read holds it shared for about a microsecond; a write clones the
    /// store.
    store: Shards<Arc<Store>>,
    limits: Limits,
    read_only: bool,
    durability: Durability,
    timeout: Option<Duration>,
    /// Identifies the watchers and leases that were made from this handle.
    number: u64,
    /// The fork generation that it was opened in.
    generation: u64,
}

impl Embedded {
    fn new(store: Arc<Store>, options: &Options) -> Result<Embedded> {
        let requested = options.durability;
        let durability = durability(
            &store,
            requested.unwrap_or(Durability::Sync),
            requested.is_some(),
        )?;
        let timeout = match options.busy_timeout_ms.unwrap_or(store::BUSY_TIMEOUT_MS) {
            u64::MAX => None,
            ms => Some(Duration::from_millis(ms)),
        };
        let read_only = options.read_only.unwrap_or(false);
        Ok(Embedded {
            store: Shards::new(store),
            limits: Limits::from_options(options),
            read_only,
            number: watch::new_handle(),
            durability,
            timeout,
            generation: os::fork_generation(),
        })
    }

    /// Runs `work` on the store, unless the handle is closed or was opened before a fork.
    #[inline]
    fn with<T>(&self, work: impl FnOnce(&Arc<Store>) -> Result<T>) -> Result<T> {
        if os::fork_generation() != self.generation {
            return Err(forked());
        }
        match &*self.store.read() {
            Some(store) => {
                if !self.read_only && store.background().leases().is_due() {
                    store.background().start()?;
                }
                work(store)
            }
            None => Err(closed()),
        }
    }

    /// Runs `work` on a read transaction of the newest commit.
    #[inline]
    fn read<T>(&self, work: impl FnOnce(&lmdb::Txn<'_>) -> Result<T>) -> Result<T> {
        self.with(|store| work(&*store.env().read()?))
    }

    /// Fails if this handle cannot write.
    fn check_writable(&self, store: &Store) -> Result<()> {
        if self.read_only || store.is_read_only_medium() {
            let message = format!(
                "{} was opened read-only by this handle",
                store.env().path().display()
            );
            return Err(Error::new(Code::ReadOnly, message));
        }
        Ok(())
    }

    /// Stores the quota, unless the store has this one.
    fn keep_max_bytes(&self, max_bytes: u64) -> Result<()> {
        if self.read(mvcc::bounds)?.max_bytes == max_bytes {
            return Ok(());
        }
        let store = self.with(|store| Ok(store.clone()))?;
        self.check_writable(&store)
            .map_err(|error| error.context("option max_bytes is kept in the store"))?;
        let terms = Terms::own(self.durability, self.timeout);
        store.commit().run(Work::MaxBytes(max_bytes), terms)?;
        Ok(())
    }

    /// The store and the terms of a write. While the write waits, the caller keeps the store open,
    /// but not the handle.
    fn writable(&self, request: &Request) -> Result<(Arc<Store>, Terms<'static>)> {
        let store = self.with(|store| Ok(store.clone()))?;
        self.check_writable(&store)?;
        match request {
            // the process that grants a lease also looks for its end
            Request::LeaseGrant(_) => store.background().start()?,
            Request::Compact(_) => store.background().examine_writes(),
            _ => {}
        }
        let requested = match request {
            Request::Put(put) => put.durability,
            Request::Delete(delete) => delete.durability,
            Request::Txn(txn) => txn.durability,
            _ => None,
        };
        let durability = match requested {
            Some(requested) => durability(&store, requested, true)?,
            None => self.durability,
        };
        let conditions = Conditions {
            raises_alarm: self.limits.etcd_rules,
            auth: None,
        };
        Ok((
            store,
            Terms {
                conditions,
                ..Terms::own(durability, self.timeout)
            },
        ))
    }

    /// Prepares a submitted request for the queue of writers. A read is run here, and its
    /// completion is called; so is that of a refused request.
    fn to_queue(
        &self,
        request: Request,
        completion: Completion,
    ) -> Option<(Arc<Store>, Terms<'static>, Request, Completion)> {
        let prepared = self.prepare(request).and_then(|request| {
            if let Some(response) = self.read_response(&request) {
                return response.map(Err);
            }
            let (store, terms) = self.writable(&request)?;
            Ok(Ok((store, terms, request)))
        });
        match prepared {
            Ok(Ok((store, terms, request))) => return Some((store, terms, request, completion)),
            Ok(Err(response)) => completion(Ok(response)),
            Err(error) => completion(Err(error)),
        }
        None
    }

    fn range(&self, request: &Range) -> Result<RangeResponse> {
        self.read(|txn| {
            let revision = mvcc::current_revision(txn)?;
            let at = mvcc::readable(txn, request.revision, revision)?;
            Ok(RangeResponse {
                revision,
                ..read::range(txn, request, at)?
            })
        })
    }
}

/// Replaces the password of a request by its hash, before the request waits for a writer.
fn hash_password(request: &mut Auth) -> Result<()> {
    let (Auth::UserAdd(UserAdd {
        password: Some(password),
        ..
    })
    | Auth::UserChangePassword { password, .. }) = request
    else {
        return Ok(());
    };
    if let Password::Plain(text) = password {
        *password = Password::Hash(password::hash_password(text, password::BCRYPT_COST)?);
    }
    Ok(())
}

fn closed() -> Error {
    Error::new(Code::Closed, "the store's handle is closed")
}

fn forked() -> Error {
    Error::new(
        Code::Forked,
        "this handle was opened before fork(): open the store again in the child",
    )
}

/// The durability of a write with this option in this store.
fn durability(store: &Store, requested: Durability, explicit: bool) -> Result<Durability> {
    match (store.is_unsynced(), requested) {
        (true, Durability::None) => Ok(Durability::None),
        (true, _) if !explicit => Ok(Durability::None),
        // the store ends with its handles, with any durability
        (true, _) if store.settings().in_memory => Ok(requested),
        (true, _) => Err(Error::new(
            Code::InvalidArgument,
            "the store was made with durability none, which no handle and no write can raise",
        )),
        (false, Durability::None) => Err(Error::new(
            Code::InvalidArgument,
            "durability none is chosen when a store is made, and this store was made without it",
        )),
        (false, _) => Ok(requested),
    }
}

impl Embedded {
    /// The request as it will run: validated, with the values that the handle sets.
    fn prepare(&self, mut request: Request) -> Result<Request> {
        validate(&request, &self.limits)?;
        if let Request::LeaseGrant(grant) = &mut request {
            grant.ttl_seconds = grant.ttl_seconds.max(self.limits.lease_ttl_min_seconds);
        }
        if let Request::Auth(request) = &mut request {
            hash_password(request)?;
        }
        Ok(request)
    }

    /// The response to a request that needs no write transaction; `None` for a request that does.
    fn read_response(&self, request: &Request) -> Option<Result<Response>> {
        let response = match request {
            Request::Range(range) => self.range(range).map(Response::Range),
            Request::Txn(txn) if txn.is_read_only() => self
                .read(|store| txn::run_read_only(store, txn, mvcc::current_revision(store)?))
                .map(Response::Txn),
            Request::Alarm(alarm) if alarm.action == AlarmAction::Get => self
                .read(|txn| mvcc::alarm::list(txn, alarm.kind))
                .map(Response::Alarm),
            Request::Auth(request) if request.is_read() => self
                .read(|txn| mvcc::auth::read(txn, request))
                .map(Response::Auth),
            Request::Side(side @ (Side::Get { .. } | Side::Scan { .. })) => self
                .read(|txn| mvcc::side::read(txn, side))
                .map(Response::Side),
            _ => return None,
        };
        Some(response)
    }
}

impl Engine for Embedded {
    fn limits(&self) -> Option<Limits> {
        Some(self.limits)
    }

    fn call(&self, request: Request, interrupt: Option<Interrupt>) -> Result<Response> {
        let request = self.prepare(request)?;
        if let Some(response) = self.read_response(&request) {
            return response;
        }
        let (store, terms) = self.writable(&request)?;
        let terms = Terms { interrupt, ..terms };
        store
            .commit()
            .run(Work::Request(request), terms)?
            .response()
    }

    fn submit(&self, request: Request, completion: Completion) -> Submission {
        match self.to_queue(request, completion) {
            Some((store, terms, request, completion)) => {
                store.commit().submit(request, terms, completion)
            }
            None => Submission::finished(),
        }
    }

    fn submit_if(&self, auth: AuthStamp, request: Request, completion: Completion) -> Submission {
        match self.to_queue(request, completion) {
            Some((store, mut terms, request, completion)) => {
                terms.conditions.auth = Some(auth);
                store.commit().submit(request, terms, completion)
            }
            None => Submission::finished(),
        }
    }

    fn auth_stamp(&self) -> Result<AuthStamp> {
        self.with(|store| store.auth_stamp())
    }

    fn auth_data(&self) -> Result<AuthData> {
        self.read(mvcc::auth::data)
    }

    fn submit_all(&self, requests: Vec<(Request, Completion)>) -> Vec<Submission> {
        let (mut batch, mut queue) = (Batch::default(), None);
        let submit = |(request, completion)| {
            let Some((store, terms, request, completion)) = self.to_queue(request, completion)
            else {
                return Submission::finished();
            };
            let submission = store.commit().add(&mut batch, request, terms, completion);
            queue = Some(store);
            submission
        };
        let submissions = requests.into_iter().map(submit).collect();
        if let Some(store) = queue {
            store.commit().submit_batch(batch);
        }
        submissions
    }

    fn get(&self, key: &[u8], revision: Revision) -> Result<Option<KeyValue>> {
        self.read(|txn| {
            let at = match revision {
                ..=0 => mvcc::At::Now,
                _ => mvcc::readable(txn, revision, mvcc::current_revision(txn)?)?,
            };
            walk::item(txn, key, at)?
                .map(|item| item.pair(txn))
                .transpose()
        })
    }

    fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<usize>> {
        self.read(|txn| {
            read::with_value(txn, key, |value| {
                if let Some(place) = buffer.get_mut(..value.len()) {
                    place.copy_from_slice(value);
                }
                value.len()
            })
        })
    }

    fn range_each(&self, request: &Range, each: &mut dyn FnMut(PairRef)) -> Result<RangeResponse> {
        check_range(&request.range)?;
        self.read(|txn| {
            let revision = mvcc::current_revision(txn)?;
            let at = mvcc::readable(txn, request.revision, revision)?;
            let response = read::range_into(txn, request, at, &mut PairCallback::new(each))?;
            Ok(RangeResponse {
                revision,
                ..response
            })
        })
    }

    fn revision(&self) -> Result<Revision> {
        self.read(mvcc::current_revision)
    }

    fn page(&self, request: &Range) -> Result<Page> {
        self.read(|txn| {
            let revision = mvcc::current_revision(txn)?;
            let at = mvcc::readable(txn, request.revision, revision)?;
            let (kvs, next) = read::page(txn, request, at)?;
            Ok(Page {
                kvs,
                revision,
                next,
            })
        })
    }

    fn history(&self, key: &[u8], limit: i64) -> Result<Vec<Event>> {
        self.read(|txn| history::history(txn, key, limit))
    }

    fn dump(&self, each: &mut dyn FnMut(HistoryPart) -> Result<()>) -> Result<()> {
        // the store stays open during the dump, even if the handle is closed
        let store = self.with(|store| Ok(store.clone()))?;
        let txn = store.env().read()?;
        mvcc::dump::dump(&txn, each, &|id, slot| {
            store.background().leases().remaining_seconds(id, slot)
        })
    }

    fn load(&self, part: HistoryPart) -> Result<()> {
        let store = self.with(|store| Ok(store.clone()))?;
        self.check_writable(&store)?;
        if matches!(part, HistoryPart::Lease { .. }) {
            store.background().start()?;
        }
        let terms = Terms::own(self.durability, self.timeout);
        store.commit().run(Work::Load(part), terms).map(drop)
    }

    fn events(&self, request: &Events) -> Result<EventsPage> {
        check_range(&request.range)?;
        self.read(|txn| {
            let (events, upto) = history::events(txn, request)?;
            Ok(EventsPage { events, upto })
        })
    }

    fn diff(&self, before: Revision, after: Revision, range: &KeyRange) -> Result<DiffPage> {
        self.read(|txn| {
            let (differences, next) = history::diff(txn, before, after, range)?;
            Ok(DiffPage { differences, next })
        })
    }

    fn revision_at(&self, unix_ms: i64) -> Result<Revision> {
        self.read(|txn| mvcc::time::revision_at(txn, unix_ms))
    }

    fn watch(&self, request: Watch) -> Result<Arc<dyn WatchStream>> {
        let request = validate_watch(request)?;
        self.with(|store| {
            store.background().start()?;
            let subscription = store.background().hub().add(
                store.env(),
                self.number,
                request,
                store.commit().now_ns(),
            )?;
            let stream: Arc<dyn WatchStream> = Arc::new(watch::SubscriptionStream::new(
                Arc::downgrade(store),
                subscription,
            ));
            Ok(stream)
        })
    }

    fn lease_keep_alive(&self, id: LeaseId) -> Result<LeaseKeepAliveResponse> {
        self.with(|store| {
            self.check_writable(store)?;
            store.background().start()?;
            store.background().leases().keep_alive(id)
        })
    }

    fn lease_time_to_live(&self, lease: LeaseTimeToLive) -> Result<LeaseTimeToLiveResponse> {
        self.with(|store| {
            store
                .background()
                .leases()
                .time_to_live(lease.id, lease.keys)
        })
    }

    fn lease_list(&self) -> Result<Vec<LeaseId>> {
        self.with(|store| store.background().leases().list())
    }

    fn lease_keep(
        &self,
        id: LeaseId,
        lost: Box<dyn FnOnce() + Send>,
    ) -> Result<Box<dyn KeepAlive>> {
        self.with(|store| {
            self.check_writable(store)?;
            store.background().start()?;
            store.background().leases().keep(self.number, id, lost)
        })
    }

    fn status(&self) -> Result<Status> {
        self.with(|store| {
            let readers = store.env().readers()?;
            let txn = store.env().read()?;
            let (writer_pid, writer_held_ms) = store.guard().writer_holder().unzip();
            let oldest = readers.reader_txns.iter().min();
            let compacted = mvcc::compacted_revision(&txn)?;
            let max_bytes = mvcc::bounds(&txn)?.max_bytes;
            Ok(Status {
                revision: mvcc::current_revision(&txn)?,
                compacted_revision: Some(compacted).filter(|at| *at != codec::NOT_COMPACTED),
                keys: Some(txn.entries(Tree::Live)?),
                bytes_on_disk: store.bytes_on_disk(),
                bytes_in_use: mvcc::alarm::bytes_in_use(&txn)?,
                readers: Some(readers.reader_txns.len() as u32 + readers.readers_idle),
                watchers: store.background().hub().len() as u64,
                leases: Some(txn.entries(Tree::Lease)?),
                format_version: Some(codec::FORMAT_VERSION),
                lmdb_version: Some(lmdb::version()),
                store_id: store.store_id(),
                durability: Some(self.durability),
                max_bytes: Some(max_bytes).filter(|bytes| *bytes != 0),
                alarms: mvcc::alarm::active(&txn)?,
                poisoned: store.guard().is_poisoned(),
                removed: store.is_removed(),
                writer_pid,
                writer_held_ms,
                oldest_reader: oldest.map(|oldest| readers.last_txn.saturating_sub(*oldest)),
            })
        })
    }

    fn commit_times(&self) -> Result<CommitTimes> {
        self.with(|store| Ok(store.commit().times()))
    }

    fn check(&self) -> Result<CheckReport> {
        self.read(check::check)
    }

    fn hash_kv(&self, revision: Revision) -> Result<HashKvResponse> {
        one_member::check_hash_revision(revision)?;
        self.read(|txn| mvcc::hash::hash_kv(txn, revision))
    }

    fn member_list(&self) -> Result<Vec<Member>> {
        self.with(|store| one_member::list(&store.store_id()))
    }

    fn member_add(&self, _: Vec<String>, _: bool) -> Result<Member> {
        self.with(|_| Err(one_member::unchangeable()))
    }

    fn member_remove(&self, _: u64) -> Result<()> {
        self.with(|_| Err(one_member::unchangeable()))
    }

    fn member_update(&self, _: u64, _: Vec<String>) -> Result<()> {
        self.with(|_| Err(one_member::unchangeable()))
    }

    fn member_promote(&self, _: u64) -> Result<()> {
        self.with(|_| Err(one_member::unchangeable()))
    }

    fn move_leader(&self, id: u64) -> Result<()> {
        self.with(|store| one_member::move_leader(&store.store_id(), id))
    }

    fn ensure_open(&self) -> Result<()> {
        self.with(|_| Ok(()))
    }

    fn close(&self) {
        if os::fork_generation() != self.generation {
            return;
        }
        // dropped outside the lock: the last handle closes the store, which takes some time
        let store = self.store.take();
        if let Some(store) = &store {
            let terms = Terms::own(self.durability, self.timeout);
            for id in store.background().leases().stop_keeping(self.number) {
                // the lease's handle closes with this one; a lease that is not revoked in time ends
                // with its TTL
                store
                    .commit()
                    .submit(LeaseRevoke { id }, terms, Box::new(|_| {}));
            }
            store.background().hub().end(Some(self.number), &closed());
        }
        drop(store);
    }
}
