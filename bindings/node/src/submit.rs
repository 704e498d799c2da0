//! Writes through the group queue, and the mailbox in which their responses arrive.

use libkv::{Code, Db, Error, Request, Response, Result};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::mailbox::Mail;
use crate::state::{State, guarded, with_state};
use crate::wire::{Call, Reader};

/// A write that goes to the queue.
struct Write {
    id: u32,
    cancellable: bool,
    db: u32,
    request: Request,
}

/// Submits the writes in the outbox, in their order, through the group queue. The outbox has for
/// each the number of its promise, its length, its store, whether it can be cancelled, and the
/// write. The writes of one store are queued together, so that they share a commit.
#[napi(catch_unwind)]
pub fn submit_all(len: u32) -> napi::Result<()> {
    with_state(|state| {
        let mut writes = outbox(state, len).into_iter().peekable();
        while let Some(first) = writes.next() {
            let db = first.db;
            let mut batch = vec![first];
            batch.extend(std::iter::from_fn(|| writes.next_if(|next| next.db == db)));
            submit_batch(state, batch);
        }
    })
}

fn outbox(state: &State, len: u32) -> Vec<Write> {
    let mut writes = Vec::new();
    let read = guarded(|| {
        let mut outbox = Reader::new(state.outbox.request(len)?);
        while let Some((id, db, cancellable, mut write)) = outbox.addressed()? {
            match write_request(&mut write) {
                Ok(request) => writes.push(Write {
                    id,
                    cancellable,
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

/// Submits a write that is too large for the outbox.
#[napi(catch_unwind)]
pub fn submit(db: u32, id: u32, cancellable: bool, write: Buffer) -> napi::Result<()> {
    with_state(|state| match write_request(&mut Reader::new(&write)) {
        Ok(request) => submit_batch(
            state,
            vec![Write {
                id,
                cancellable,
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
            "a submitted call is not a request",
        )),
    })
}

/// Submits writes, all to the same store.
fn submit_batch(state: &mut State, writes: Vec<Write>) {
    let promises: Vec<_> = writes
        .iter()
        .map(|write| (write.id, write.cancellable))
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

/// Submits requests for these promises. `true` with a promise: it can be cancelled.
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
            let cancellable = promises
                .into_iter()
                .zip(submitted)
                .filter(|((_, can_cancel), _)| *can_cancel);
            state
                .cancellable
                .extend(cancellable.map(|((id, _), submitted)| (id, submitted)));
        }
        Err(error) => promises
            .iter()
            .for_each(|&(id, _)| state.mailbox.post(id, Err::<Response, _>(error.clone()))),
    }
}

/// Cancels a write. Returns whether it was in time; its promise is then never settled from here.
#[napi(catch_unwind)]
pub fn cancel(id: u32) -> napi::Result<bool> {
    with_state(|state| {
        state
            .cancellable
            .remove(&id)
            .is_some_and(|submitted| submitted.cancel())
    })
}

/// The responses that have arrived: for each the number of its promise, its length, and the
/// response.
#[napi(catch_unwind)]
pub fn drain() -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            for (id, mail) in state.mailbox.take() {
                state.cancellable.remove(&id);
                writer.addressed(id, |writer| {
                    match mail? {
                        Mail::Response(response) => writer.response(&response),
                        Mail::Flag(flag) => writer.just(flag.into()),
                        Mail::Signal => writer.nothing(),
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
