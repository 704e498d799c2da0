//! A claim that a command waits for and then holds: the common part of `lock` and `elect`.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libkv::support::{Claim, ClaimCanceller, ClaimRequest, claim_blocking};
use libkv::{Code, Db, Error, KeyValue, WaitLimit};

use crate::command::Context;
use crate::failure::{Failure, Result};
use crate::notation::escape;
use crate::signal::Interrupt;
use crate::target::Access;

/// What happens while a claim is held.
#[derive(Debug)]
pub enum Event {
    /// This signal was received.
    Signal(i32),
    /// The lease is lost.
    Loss,
    /// The program that was run has ended.
    Exit(std::io::Result<std::process::ExitStatus>),
}

/// A claim that is held, until it is dropped.
pub struct Holding {
    db: Db,
    /// `None` once it is given up.
    claim: Option<Claim>,
    interrupt: Interrupt,
    pub sender: Sender<Event>,
    pub events: Receiver<Event>,
}

/// What is claimed, and for how long the command waits.
pub struct Wanted<'a> {
    pub name: &'a [u8],
    pub value: Vec<u8>,
    pub ttl_seconds: i64,
    /// `None`: no limit.
    pub timeout_ms: Option<u64>,
    pub only_if_free: bool,
}

impl Wanted<'_> {
    fn request(self, db: &Db, wait_limit: WaitLimit) -> ClaimRequest {
        let request = ClaimRequest::new(db, self.name, self.ttl_seconds)
            .value(self.value)
            .wait_limit(wait_limit);
        match self.only_if_free {
            true => request.only_if_free(),
            false => request,
        }
    }

    /// The error of a store that was not opened in time.
    fn timeout(&self, error: &Error) -> Failure {
        let (name, ms) = (escape(self.name), self.timeout_ms.unwrap_or_default());
        let why = error.message();
        let message = format!("{name} was not acquired within {ms} ms ({why})");
        Error::new(Code::Timeout, message).into()
    }
}

impl Holding {
    /// Opens the store and waits for the claim. `None`: it was to be taken only if it is free, and
    /// is not.
    pub fn wait(context: &Context, wanted: Wanted) -> Result<Option<Holding>> {
        let wait_limit = WaitLimit::new(wanted.timeout_ms.map(Duration::from_millis));
        let db = match context.open_within(Access::Create, wanted.timeout_ms) {
            Err(Failure::Db(error)) if wait_limit.has_ended(error.code()) => {
                return Err(wanted.timeout(&error));
            }
            db => db?,
        };
        let (sender, events) = mpsc::channel();
        let canceller: Arc<Mutex<Option<ClaimCanceller>>> = Arc::default();
        let (signals, cancels) = (sender.clone(), canceller.clone());
        let interrupt = Interrupt::new(move |signal| {
            let _ = signals.send(Event::Signal(signal));
            if let Some(canceller) = &*lock(&cancels) {
                canceller.cancel();
            }
        })?;
        let claim = claim_blocking(wanted.request(&db, wait_limit), |new| {
            *lock(&canceller) = Some(new.clone());
            // a signal that was received before
            if interrupt.signal() != 0 {
                new.cancel();
            }
        });
        if claim.is_err() {
            // the error means only that a signal ended the wait
            interrupt.check()?;
        }
        let Some(claim) = claim? else {
            return Ok(None);
        };
        if let Some(lease) = claim.lease() {
            let sender = sender.clone();
            lease.on_lost(move || drop(sender.send(Event::Loss)));
        }
        let holding = Holding {
            db,
            claim: Some(claim),
            interrupt,
            sender,
            events,
        };
        holding.interrupt.check()?;
        Ok(Some(holding))
    }

    /// Its pair in the store with the value that it was claimed with. A read could wait for a
    /// cluster.
    pub fn pair(&self, value: Vec<u8>) -> KeyValue {
        let revision = self.revision();
        KeyValue {
            key: self.key().to_vec().into(),
            value: value.into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: self.claim.as_ref().map_or(0, Claim::lease_id),
        }
    }

    /// Its key in the store.
    pub fn key(&self) -> &[u8] {
        self.claim.as_ref().map_or(&[], Claim::key)
    }

    /// The revision that created its key.
    pub fn revision(&self) -> i64 {
        self.claim.as_ref().map_or(0, Claim::revision)
    }

    /// Gives it up in the store. After a signal, or if the lease is lost, this waits only for a
    /// moment: a cluster that does not respond then revokes the lease by its TTL.
    pub fn leave(&mut self) -> Result<()> {
        let Some(claim) = self.claim.take() else {
            return Ok(());
        };
        let is_brief = self.interrupt.signal() != 0 || !claim.is_held();
        let Some(revoke) = claim.leave() else {
            return Ok(());
        };
        let db = match is_brief {
            true => WaitLimit::grace(&self.db),
            false => self.db.clone(),
        };
        match db.call_unless(revoke, &|| !is_brief && self.interrupt.signal() != 0) {
            Err(error)
                if is_brief && matches!(error.code(), Code::Timeout | Code::UnknownOutcome) =>
            {
                Ok(())
            }
            Err(error) if error.code() != Code::LeaseNotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The error of a claim whose lease is lost.
    pub fn lost(&self) -> Failure {
        match &self.claim {
            Some(claim) => claim.lost().into(),
            None => Failure::No,
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        // no error can be shown here: the lease then ends with its TTL
        let _ = self.leave();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
