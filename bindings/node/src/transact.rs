//! `transact` with an async body. JavaScript drives one attempt at a time, so that no thread waits
//! while the body awaits.

use std::sync::Mutex;

use libkv::{Code, Db, Error, Request, Response, Result, Retries, Transaction, Txn, TxnResponse};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::handles::Handle;
use crate::job::{JobPromise, on_pool};
use crate::state::{guarded, with_state};
use crate::submit::submit_to;
use crate::sync::lock;
use crate::wire::{Call, Writer};

/// One attempt of a transaction, and when to try again.
pub struct Attempt {
    db: Db,
    transaction: Transaction,
    retries: Retries,
}

impl Handle for Mutex<Attempt> {
    fn name() -> &'static str {
        "transaction"
    }
}

impl Attempt {
    /// The first attempt; at most `limit` retries, or any number.
    pub fn new(db: Db, limit: Option<u32>) -> Attempt {
        Attempt {
            transaction: db.transaction(),
            db,
            retries: Retries::new(limit),
        }
    }

    /// Runs a call of the body.
    pub fn call(&mut self, call: Call, writer: &mut Writer) -> Result<()> {
        let transaction = &mut self.transaction;
        match call {
            Call::Get(0, key) => writer.found(transaction.get(key)?.as_ref()),
            Call::Request(Request::Range(range)) => writer.range(&transaction.range(range)?),
            Call::Request(Request::Put(put)) => {
                transaction.put(put.durability(None))?;
                writer.nothing();
            }
            Call::Request(Request::Delete(delete)) => {
                writer.just(transaction.delete(delete.range)?)
            }
            _ => {
                return Err(Error::new(
                    Code::Internal,
                    "a transaction does not have this call",
                ));
            }
        }
        Ok(())
    }

    /// The txn that commits it, and its store; none if there is nothing to write.
    pub fn commit(&self) -> Option<(Db, Txn)> {
        self.transaction.txn().map(|txn| (self.db.clone(), txn))
    }

    /// Whether `compacted` from a read means that another writer was faster.
    pub fn is_overtaken(&self) -> bool {
        self.transaction
            .is_overtaken(&Error::new(Code::Compacted, ""))
    }

    /// Begins the next attempt. Returns the wait before it in milliseconds.
    pub fn retry(&mut self) -> Result<i64> {
        let wait = self.retries.after(&self.transaction)?;
        self.transaction = self.db.transaction();
        Ok(wait.as_millis() as i64)
    }
}

/// Begins a transaction with an async body. Negative `max_retries`: no limit.
#[napi(catch_unwind)]
pub fn attempt(db: u32, max_retries: f64) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let limit = (max_retries >= 0.0).then_some(max_retries as u32);
            let attempt = Attempt::new(state.handles.get::<Db>(db)?.clone(), limit);
            writer.just(state.handles.add(Mutex::new(attempt)).into());
            Ok(())
        })
    })
}

/// A call of a transaction's body, in the call.
#[napi(catch_unwind)]
pub fn attempt_call(attempt: u32, len: u32, large: Option<Buffer>) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let call = state.request(len, &large)?.call()?;
            lock(&*state.handles.share::<Mutex<Attempt>>(attempt)?).call(call, writer)
        })
    })
}

/// A call of a transaction's body, on the pool.
#[napi(catch_unwind)]
pub fn attempt_call_later(
    attempt: u32,
    len: u32,
    large: Option<Buffer>,
) -> napi::Result<JobPromise> {
    with_state(|state| {
        let arguments = guarded(|| {
            Ok((
                state.handles.share::<Mutex<Attempt>>(attempt)?,
                state.request(len, &large)?.call()?,
            ))
        });
        on_pool(move |writer| {
            let (attempt, call) = arguments?;
            lock(&attempt).call(call, writer)
        })
    })
}

/// Commits a transaction through the group queue. The promise `id` gets the response.
#[napi(catch_unwind)]
pub fn attempt_commit(attempt: u32, id: u32, cancellable: bool) -> napi::Result<()> {
    with_state(|state| {
        match guarded(|| Ok(lock(&*state.handles.share::<Mutex<Attempt>>(attempt)?).commit())) {
            Ok(None) => {
                let mut nothing_to_write = TxnResponse::default();
                nothing_to_write.succeeded = true;
                state.mailbox.post(id, Ok(Response::Txn(nothing_to_write)));
            }
            Ok(Some((db, txn))) => {
                submit_to(state, Ok(db), vec![(id, cancellable)], vec![txn.into()])
            }
            Err(error) => state.mailbox.post(id, Err::<Response, _>(error)),
        }
    })
}

/// Whether `compacted`, from a read of this transaction, means that another writer was faster.
#[napi(catch_unwind)]
pub fn attempt_overtaken(attempt: u32) -> napi::Result<bool> {
    with_state(|state| {
        guarded(|| Ok(lock(&*state.handles.share::<Mutex<Attempt>>(attempt)?).is_overtaken()))
            .unwrap_or(false)
    })
}

/// Begins the next attempt. The response is the wait before it in milliseconds.
#[napi(catch_unwind)]
pub fn attempt_retry(attempt: u32) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            writer.just(lock(&*state.handles.share::<Mutex<Attempt>>(attempt)?).retry()?);
            Ok(())
        })
    })
}
