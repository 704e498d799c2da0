//! Writes through the group queue, and the mailbox in which their responses arrive.

use libkv::{Code, Db, Error, Request, Response, Result};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::mailbox::Mail;
use crate::state::{State, guarded, with_state};
use crate::wire::{Call, Reader};

/// A write on its way to the queue.
struct Write {
    id: u32,
    withdrawable: bool,
    db: u32,
    request: Request,
}

/// The writes in the outbox, in their order, through the group queue: of each the number of its
/// promise, its length, its store, whether it can be taken back, and itself. Those of one store are
/// queued at one moment, so that they share a commit.
#[napi(catch_unwind)]
pub fn submit_all(len: u32) -> napi::Result<()> {
    with_state(|state| {
        let mut writes = outbox(state, len).into_iter().peekable();
        while let Some(first) = writes.next() {
            let db = first.db;
            let mut together = vec![first];
            together.extend(std::iter::from_fn(|| writes.next_if(|next| next.db == db)));
            submit_together(state, together);
        }
    })
}

fn outbox(state: &State, len: u32) -> Vec<Write> {
    let mut writes = Vec::new();
    let read = guarded(|| {
        let mut outbox = Reader::new(state.outbox.request(len)?);
        while let Some((id, db, withdrawable, mut write)) = outbox.addressed()? {
            match write_request(&mut write) {
                Ok(request) => writes.push(Write {
                    id,
                    withdrawable,
                    db,
                    request,
                }),
                Err(error) => state.mailbox.post(id, Err::<Response, _>(error)),
            }
        }
        Ok(())
    });
    debug_assert!(read.is_ok(), "lib/wire.js wrote the outbox");
    writes
}

/// A write that is too large for the outbox.
#[napi(catch_unwind)]
pub fn submit(db: u32, id: u32, withdrawable: bool, write: Buffer) -> napi::Result<()> {
    with_state(|state| match write_request(&mut Reader::new(&write)) {
        Ok(request) => submit_together(
            state,
            vec![Write {
                id,
                withdrawable,
                db,
                request,
            }],
        ),
        Err(error) => state.mailbox.post(id, Err::<Response, _>(error)),
    })
}

fn write_request(write: &mut Reader) -> Result<Request> {
    guarded(|| match write.call()? {
        Call::Request(request) => Ok(request),
        _ => Err(Error::new(
            Code::Internal,
            "what was submitted is no request",
        )),
    })
}

/// Submits writes to the store of the first, which is that of all.
fn submit_together(state: &mut State, writes: Vec<Write>) {
    let promises: Vec<_> = writes
        .iter()
        .map(|write| (write.id, write.withdrawable))
        .collect();
    let db = writes.first().map_or(u32::MAX, |first| first.db);
    let db = state.handles.get::<Db>(db).cloned();
    submit_to(
        state,
        db,
        promises,
        writes.into_iter().map(|write| write.request).collect(),
    );
}

/// Submits requests for these promises; `true` with a promise says that it can be taken back.
pub(crate) fn submit_to(
    state: &mut State,
    db: Result<Db>,
    promises: Vec<(u32, bool)>,
    requests: Vec<Request>,
) {
    let submitted = db.and_then(|db| {
        let completion = |id| -> libkv::engine::Completion {
            let mailbox = state.mailbox.clone();
            Box::new(move |response| mailbox.post(id, response))
        };
        let requests = requests.into_iter().zip(&promises);
        let requests = requests
            .map(|(request, &(id, _))| (request, completion(id)))
            .collect();
        guarded(|| Ok(db.submit_all(requests)))
    });
    match submitted {
        Ok(submitted) => {
            let withdrawals = promises
                .into_iter()
                .zip(submitted)
                .filter(|((_, withdrawable), _)| *withdrawable);
            state
                .withdrawals
                .extend(withdrawals.map(|((id, _), submitted)| (id, submitted)));
        }
        Err(error) => promises
            .iter()
            .for_each(|&(id, _)| state.mailbox.post(id, Err::<Response, _>(error.clone()))),
    }
}

/// Takes a write back; whether it was in time. If so its promise is never settled from here.
#[napi(catch_unwind)]
pub fn withdraw(id: u32) -> napi::Result<bool> {
    with_state(|state| {
        state
            .withdrawals
            .remove(&id)
            .is_some_and(|submitted| submitted.cancel())
    })
}

/// The answers that have arrived: for each the number of its promise, its length, and itself.
#[napi(catch_unwind)]
pub fn drain() -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            for (id, mail) in state.mailbox.take() {
                state.withdrawals.remove(&id);
                writer.addressed(id, |writer| {
                    match mail? {
                        Mail::Response(response) => writer.response(&response),
                        Mail::Flag(yes) => writer.just(yes.into()),
                        Mail::Word => writer.nothing(),
                        Mail::Lease {
                            id,
                            ttl_seconds,
                            object,
                        } => writer.lease(state.handles.add_shared(object), id, ttl_seconds),
                    }
                    Ok(())
                });
            }
            Ok(())
        })
    })
}
