//! What can execute a step: the Rust API on a store, or a program that reads steps and
//! prints responses (the drivers in other languages).

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use libkv::*;

use crate::script::{self, Step};

/// The Rust face on a store, or on a cluster.
pub struct Rust {
    /// None is a cluster: it is not reopened, and has no manual clock.
    store: Option<Store>,
    db: Db,
    watchers: HashMap<String, Watcher>,
    locks: HashMap<Vec<u8>, Lock>,
    elections: HashMap<Vec<u8>, Election>,
}

/// What a store is opened with, again and again.
struct Store {
    path: PathBuf,
    options: Options,
    clock: Clock,
}

impl Rust {
    /// Opens a store with a manual clock: a directory, or `:memory:` (which cannot be reopened).
    ///
    /// # Errors
    ///
    /// Those of [`Db::open`].
    pub fn open(path: impl Into<PathBuf>, options: Options) -> Result<Rust> {
        let (path, clock) = (path.into(), Clock::new(script::CLOCK_START_MS));
        let options = options.clock(clock.clone());
        let db = Db::open(&path, options.clone())?;
        Ok(Rust {
            store: Some(Store {
                path,
                options,
                clock,
            }),
            ..Rust::over(db)
        })
    }

    /// A handle on a cluster: what needs a store's own clock, or to be reopened, cannot be done
    /// with it.
    pub fn over(db: Db) -> Rust {
        let (watchers, locks, elections) = Default::default();
        Rust {
            store: None,
            db,
            watchers,
            locks,
            elections,
        }
    }

    /// The handle.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Does one step and returns its line.
    pub fn run(&mut self, step: &Step) -> String {
        self.step(step)
            .unwrap_or_else(|error| script::error(&error))
    }

    fn step(&mut self, step: &Step) -> Result<String> {
        let db = &self.db;
        Ok(match step {
            Step::Request(Request::LeaseGrant(grant)) => script::granted(
                grant.id,
                &db.lease_grant(LeaseGrant::new(grant.ttl_seconds).id(grant.id))?,
            ),
            Step::Request(request) => script::response(&request_through(db, request)?),
            Step::Get(key, revision) => script::found(db.get_at(key, *revision)?.as_ref()),
            Step::GetInto(key, size) => {
                let mut buffer = vec![0; *size];
                let len = db.get_into(key, &mut buffer)?;
                script::value(len.map(|len| (len, buffer.get(..len))))
            }
            Step::Scan(range) => {
                script::scanned(&db.scan(range.clone())?.collect::<Result<Vec<_>>>()?)
            }
            Step::History(key, limit) => script::events(&db.history(key, *limit)?),
            Step::Events(after, upto, range) => script::events(
                &db.events(*after, *upto, range.clone())
                    .collect::<Result<Vec<_>>>()?,
            ),
            Step::Diff(a, b, range) => script::differences(
                &db.diff(*a, *b, range.clone())?
                    .collect::<Result<Vec<_>>>()?,
            ),
            Step::Status => {
                let status = db.status()?;
                script::status(status.revision, status.compacted_revision, status.keys)
            }
            Step::Check => {
                let report = db.check()?;
                let details: String = report
                    .problems
                    .iter()
                    .map(|problem| format!(" {problem:?}"))
                    .collect();
                format!("check problems={}{details}", report.problems.len())
            }
            Step::Reopen => {
                self.db.close();
                self.watchers.clear();
                self.locks.clear();
                self.elections.clear();
                let store = self.store.as_ref().expect("a store is reopened");
                self.db = Db::open(&store.path, store.options.clone())?;
                "reopened".into()
            }
            Step::KeepAlive(id) => script::kept(&db.lease_keep_alive(*id)?),
            Step::TimeToLive(id, keys) => {
                script::time_to_live(&db.lease_time_to_live(LeaseTimeToLive::new(*id).keys(*keys))?)
            }
            Step::LeaseList => script::leases(&db.lease_list()?),
            Step::Advance(seconds) => {
                self.store
                    .as_ref()
                    .expect("a store has a manual clock")
                    .clock
                    .advance(seconds * 1_000);
                "advanced".into()
            }
            Step::RevisionAt(seconds) => {
                let ms = u64::try_from(script::CLOCK_START_MS + seconds * 1_000).unwrap_or(0);
                format!(
                    "revision {}",
                    db.revision_at(UNIX_EPOCH + Duration::from_millis(ms))?
                )
            }
            Step::Watch(..) | Step::Next(_) | Step::Idle(_) | Step::Resume(_) | Step::Cancel(_) => {
                self.watch(step)?
            }
            Step::Lock(_) | Step::Unlock(_) => self.lock(step)?,
            Step::Campaign(..) | Step::Proclaim(..) | Step::Leader(_) | Step::Resign(_) => {
                self.election(step)?
            }
            Step::AlarmList => script::alarms(&db.alarm_list()?),
            Step::AlarmActivate(kind, member) => {
                script::alarms(&db.alarm_activate(*kind, *member)?)
            }
            Step::AlarmDisarm(member, kind) => script::alarms(&db.alarm_disarm(*member, *kind)?),
        })
    }

    fn watch(&mut self, step: &Step) -> Result<String> {
        if let Step::Watch(name, watch) = step {
            self.watchers.remove(name);
            self.watchers
                .insert(name.clone(), self.db.watch(watch.clone())?);
            return Ok(format!("watching {name}"));
        }
        let (Step::Next(name) | Step::Idle(name) | Step::Resume(name) | Step::Cancel(name)) = step
        else {
            unreachable!("{step:?} is about no watcher")
        };
        let Some(watcher) = self.watchers.get(name) else {
            return Ok(format!("no watcher {name}"));
        };
        Ok(match step {
            Step::Next(_) => watcher
                .next(script::PATIENCE)?
                .as_ref()
                .map_or("nothing".into(), script::batch),
            Step::Cancel(_) => {
                watcher.cancel();
                "cancelled".into()
            }
            _ => match (settled(&self.db, watcher)?, step) {
                (Settled::Batch(batch), _) => script::batch(&batch),
                (Settled::Idle(resume), Step::Resume(_)) => format!("resume {resume}"),
                (Settled::Idle(_), _) => "idle".into(),
                (Settled::Never, _) => "nothing".into(),
            },
        })
    }

    fn lock(&mut self, step: &Step) -> Result<String> {
        let (Step::Lock(name) | Step::Unlock(name)) = step else {
            unreachable!("{step:?} is about no lock")
        };
        if !self.locks.contains_key(name) {
            self.locks.insert(
                name.clone(),
                self.db.lock(name.as_slice(), script::CLAIM_TTL_SECONDS)?,
            );
        }
        let lock = self.locks.get_mut(name).expect("it was just made");
        if let Step::Unlock(_) = step {
            lock.release()?;
            return Ok("unlocked".into());
        }
        lock.acquire(script::PATIENCE)?;
        Ok(script::locked(lock.key(), lock.revision()))
    }

    fn election(&mut self, step: &Step) -> Result<String> {
        let (Step::Campaign(name, _)
        | Step::Proclaim(name, _)
        | Step::Leader(name)
        | Step::Resign(name)) = step
        else {
            unreachable!("{step:?} is about no election")
        };
        if !self.elections.contains_key(name) {
            self.elections.insert(
                name.clone(),
                self.db
                    .election(name.as_slice(), script::CLAIM_TTL_SECONDS)?,
            );
        }
        let election = self.elections.get_mut(name).expect("it was just made");
        Ok(match step {
            Step::Campaign(_, value) => {
                election.campaign(value.as_slice(), script::PATIENCE)?;
                script::leads(election.key(), election.revision())
            }
            Step::Proclaim(_, value) => {
                election.proclaim(value.as_slice())?;
                "proclaimed".into()
            }
            Step::Leader(_) => script::leader(election.leader()?.as_ref()),
            _ => {
                election.resign()?;
                "resigned".into()
            }
        })
    }
}

/// What is to be said of a watcher once it has seen everything.
pub enum Settled {
    /// It had something.
    Batch(WatchBatch),
    /// It would go on from this revision.
    Idle(Revision),
    /// It has seen too little after [`script::PATIENCE`].
    Never,
}

/// Waits until a watcher has a batch or has seen everything.
///
/// # Errors
///
/// Those of the watcher.
pub fn settled(db: &Db, watcher: &Watcher) -> Result<Settled> {
    let until = Instant::now() + script::PATIENCE;
    loop {
        if let Some(batch) = watcher.try_next()? {
            return Ok(Settled::Batch(batch));
        }
        // asked before the revision that it is held against
        let resume = watcher.resume_revision();
        if resume > db.range(Range::new("\0").count_only(true))?.revision {
            return Ok(Settled::Idle(resume));
        }
        if until <= Instant::now() {
            return Ok(Settled::Never);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Each request by its own method, so that the methods are what is tested.
fn request_through(db: &Db, request: &Request) -> Result<Response> {
    Ok(match request.clone() {
        Request::Range(range) => Response::Range(both_ranges(db, range)?),
        Request::Put(put) => Response::Put(db.put(put)?),
        Request::Delete(delete) => Response::Delete(db.delete(delete)?),
        Request::Txn(txn) => Response::Txn(db.txn(txn)?),
        Request::Compact(compact) => Response::Compact(
            db.compact(Compact::new(compact.revision).physical(compact.physical))?,
        ),
        Request::LeaseGrant(grant) => {
            Response::LeaseGrant(db.lease_grant(LeaseGrant::new(grant.ttl_seconds).id(grant.id))?)
        }
        Request::LeaseRevoke(revoke) => Response::LeaseRevoke(db.lease_revoke(revoke.id)?),
        Request::Alarm(alarm) => Response::Alarm(db.alarm(alarm)?),
        Request::Auth(auth) => db.engine().call(Request::Auth(auth), None)?,
        Request::Side(side) => Response::Side(db.side(side)?),
    })
}

/// A range, once with the pairs in the response and once with each handed over.
fn both_ranges(db: &Db, range: Range) -> Result<RangeResponse> {
    let mut kvs = Vec::new();
    let each = db.range_each(&range, |pair| {
        let PairRef {
            create_revision,
            mod_revision,
            version,
            lease,
            ..
        } = pair;
        let (key, value) = (pair.key.to_vec().into(), pair.value.to_vec().into());
        kvs.push(KeyValue {
            key,
            value,
            create_revision,
            mod_revision,
            version,
            lease,
        });
    });
    let each = each
        .map(|response| RangeResponse { kvs, ..response })
        .map_err(|error| error.to_string());
    let response = db.range(range);
    assert_eq!(each, response.clone().map_err(|error| error.to_string()));
    response
}

/// A program that reads a step a line and prints a response a line.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Program {
    /// Starts `program STORE [limits=etcd]`; the program may have words of its own before these.
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    pub fn start(program: &[String], store: &Path, etcd_limits: bool) -> std::io::Result<Program> {
        let mut command = Command::new(&program[0]);
        command
            .args(&program[1..])
            .arg(store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if etcd_limits {
            command.arg("limits=etcd");
        }
        let mut child = command.spawn()?;
        let (input, output) = (
            child.stdin.take(),
            child.stdout.take().expect("it is piped"),
        );
        Ok(Program {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    /// Has one step done and returns its line.
    pub fn run(&mut self, line: &str) -> String {
        let sent = self
            .input
            .as_mut()
            .map(|input| writeln!(input, "{line}").and_then(|()| input.flush()));
        let mut response = String::new();
        match (sent, self.output.read_line(&mut response)) {
            (Some(Ok(())), Ok(1..)) => response.trim_end().to_string(),
            (sent, read) => format!(
                "the driver died: {sent:?} {read:?} {:?}",
                self.child.try_wait()
            ),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}
