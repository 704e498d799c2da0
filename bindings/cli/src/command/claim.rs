//! Standing in a line until it is over or somebody interrupts: what `lock` and `elect` have in common.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libkv::{Canceller, Claim, ClaimStep, Code, Db, KeyValue, Lease, Patience, Response, Watch};

use crate::command::Context;
use crate::failure::{Failure, Result};
use crate::signal::Interrupt;
use crate::target::Access;

/// What happens to somebody who stands in a line, or has come to its head.
#[derive(Debug)]
pub enum News {
    /// This signal came.
    Signal(i32),
    /// The lease is lost, and the place with it.
    Lost,
    /// The command ended so.
    Ended(std::io::Result<std::process::ExitStatus>),
}

/// A place in a line that is left when this is dropped.
pub struct Standing {
    db: Db,
    claim: Claim,
    interrupt: Interrupt,
    /// What is waited for now.
    waiting: Arc<Mutex<Option<Canceller>>>,
    pub tell: Sender<News>,
    pub news: Receiver<News>,
}

impl Standing {
    /// Opens the store, and waits until it is first in the line for `name`; none if the time (none: no limit) ran out.
    pub fn first(
        context: &Context,
        name: &[u8],
        value: Vec<u8>,
        ttl_seconds: i64,
        timeout_ms: Option<u64>,
    ) -> Result<Option<Standing>> {
        let patience = Patience::new(timeout_ms.map(Duration::from_millis));
        let db = match context.open_within(Access::Create, timeout_ms) {
            Err(Failure::Db(error)) if patience.has_ended(error.code()) => return Ok(None),
            db => db?,
        };
        let mut standing = Standing::new(db, name.to_vec(), value, ttl_seconds)?;
        Ok(standing.wait(patience)?.then_some(standing))
    }

    /// In the line for `name`; nothing is asked yet.
    fn new(db: Db, name: Vec<u8>, value: Vec<u8>, ttl_seconds: i64) -> Result<Standing> {
        let mut claim = Claim::new(db.clone(), name, ttl_seconds)?;
        claim.set_value(value);
        let (tell, news) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(None::<Canceller>));
        let (wakes, told) = (waiting.clone(), tell.clone());
        let interrupt = Interrupt::new(move |signal| {
            let _ = told.send(News::Signal(signal));
            if let Some(waiting) = &*wakes.lock().unwrap_or_else(PoisonError::into_inner) {
                waiting.cancel();
            }
        })?;
        Ok(Standing {
            db,
            claim,
            interrupt,
            waiting,
            tell,
            news,
        })
    }

    /// Waits until it is first; false if the time ran out.
    fn wait(&mut self, patience: Patience) -> Result<bool> {
        match self.hold(patience) {
            Ok(true) => {}
            Err(Failure::Db(error)) if patience.has_ended(error.code()) => return Ok(false),
            ended => {
                // what a signal has ended is not worth another word
                self.interrupt.check()?;
                return ended;
            }
        }
        if let Some(lease) = self.claim.lease() {
            let tell = self.tell.clone();
            lease.on_lost(move || {
                let _ = tell.send(News::Lost);
            });
        }
        Ok(true)
    }

    fn hold(&mut self, patience: Patience) -> Result<bool> {
        let db = patience.limit(&self.db);
        let mut response: Option<Response> = None;
        loop {
            self.interrupt.check()?;
            match self.claim.step(response.take())? {
                ClaimStep::Held => return Ok(true),
                ClaimStep::Run(request) => {
                    response = Some(db.call_unless(request, &|| self.interrupt.signal() != 0)?)
                }
                ClaimStep::Wait(_) if patience.is_over() => return Ok(false),
                ClaimStep::Wait(watch) => self.follow(&db, watch, patience)?,
            }
        }
    }

    fn follow(&self, db: &Db, watch: Watch, patience: Patience) -> Result<()> {
        let watcher = match db.watch(watch) {
            // whoever stood before may be gone, and the memory of it too: look again
            Err(error) if error.code() == Code::Compacted => return Ok(()),
            watcher => watcher?,
        };
        self.claim.wake_when_lost(&watcher);
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(watcher.canceller());
        // a signal that came before it could be cancelled
        self.interrupt.check()?;
        match watcher.next(patience.left()) {
            Err(error) if !matches!(error.code(), Code::Compacted | Code::Cancelled) => {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }

    /// Its pair in the store, which has the value that it stands with. A read of it could wait for a cluster.
    pub fn pair(&self, value: Vec<u8>) -> KeyValue {
        let revision = self.claim.revision();
        KeyValue {
            key: self.claim.key().to_vec().into(),
            value: value.into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: self.claim.lease().map_or(0, Lease::id),
        }
    }

    /// Its key in the store.
    pub fn key(&self) -> &[u8] {
        self.claim.key()
    }

    /// The revision that created its key.
    pub fn revision(&self) -> i64 {
        self.claim.revision()
    }

    /// The error of a place that is lost.
    pub fn lost(&self) -> Failure {
        self.claim.lost().into()
    }

    /// Leaves the line, in the store too. After a signal, or without the name, it waits for a moment only: a cluster
    /// that does not answer by then revokes the lease by its TTL.
    pub fn leave(&mut self) -> Result<()> {
        let hurried = self.interrupt.signal() != 0 || !self.claim.is_held();
        let Some(revoke) = self.claim.leave() else {
            return Ok(());
        };
        let db = if hurried {
            Patience::grace(&self.db)
        } else {
            self.db.clone()
        };
        match db.call_unless(revoke, &|| !hurried && self.interrupt.signal() != 0) {
            Err(error)
                if hurried && matches!(error.code(), Code::Timeout | Code::UnknownOutcome) =>
            {
                Ok(())
            }
            Err(error) if error.code() != Code::LeaseNotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        // where nobody waits for the answer any more; else the lease ends with its TTL
        let _ = self.leave();
    }
}
