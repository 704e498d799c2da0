//! Standing in a line until it is over or somebody interrupts: what `lock` and `elect` have in common.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libkv::{Answer, Canceller, Claim, ClaimStep, Code, Db, Watch};

use crate::failure::{Failure, Result};
use crate::signal::Interrupt;

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
    /// In the line for `name`; nothing is asked yet.
    pub fn new(db: Db, name: Vec<u8>, value: Vec<u8>, ttl_seconds: i64) -> Result<Standing> {
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
        Ok(Standing { db, claim, interrupt, waiting, tell, news })
    }

    /// Waits until it is first; false if the time (none: for ever) ran out.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<bool> {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut answer: Option<Answer> = None;
        loop {
            self.interrupt.check()?;
            match self.claim.step(answer.take())? {
                ClaimStep::Held => break,
                ClaimStep::Run(request) => {
                    answer = Some(self.db.call_unless(request, &|| self.interrupt.signal() != 0)?)
                }
                ClaimStep::Wait(_) if until.is_some_and(|until| until <= Instant::now()) => return Ok(false),
                ClaimStep::Wait(watch) => self.follow(watch, until)?,
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

    fn follow(&self, watch: Watch, until: Option<Instant>) -> Result<()> {
        let watcher = match self.db.watch(watch) {
            // whoever stood before may be gone, and the memory of it too: look again
            Err(error) if error.code() == Code::Compacted => return Ok(()),
            watcher => watcher?,
        };
        self.claim.wake_when_lost(&watcher);
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(watcher.canceller());
        // a signal that came before it could be cancelled
        self.interrupt.check()?;
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match watcher.next(left) {
            Err(error) if !matches!(error.code(), Code::Compacted | Code::Cancelled) => Err(error.into()),
            _ => Ok(()),
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

    /// Leaves the line, in the store too.
    pub fn leave(&mut self) -> Result<()> {
        let Some(revoke) = self.claim.leave() else { return Ok(()) };
        match self.db.lease_revoke(revoke.id) {
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
