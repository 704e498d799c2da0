//! Work that may take long, on libuv's pool of threads: opening, closing, checking, ranges, pages.
//! The pool is Node's own and has a fixed size, so there is no thread per call.

use std::sync::Arc;

use libkv::Result;
use napi::bindgen_prelude::{AsyncTask, Buffer, Env};

use crate::handles::Handle;
use crate::state::{guarded, with_state};
use crate::wire::Writer;

/// What a job returns to the thread that ordered it.
pub enum Outcome {
    /// A response, or an error, as bytes.
    Response(Writer),
    /// An object, which gets its number in that thread, and a text about it (a server's address).
    Handle(Arc<dyn Handle>, String),
}

type Work = Box<dyn FnOnce() -> Outcome + Send>;

/// One piece of work; none once it has run.
pub struct Job(Option<Work>);

/// A promise of a response in a `Buffer`.
pub type JobPromise = AsyncTask<Job>;

/// Runs `work` on the pool; it writes the response.
pub fn on_pool(work: impl FnOnce(&mut Writer) -> Result<()> + Send + 'static) -> JobPromise {
    AsyncTask::new(Job(Some(Box::new(move || {
        Outcome::Response(response(work))
    }))))
}

/// Creates an object on the pool; the response is its number.
pub fn handle_on_pool<T: Handle>(
    create: impl FnOnce() -> Result<T> + Send + 'static,
) -> JobPromise {
    handle_with_text_on_pool(move || Ok((create()?, String::new())))
}

/// Creates an object on the pool; the response is its number and a text.
pub fn handle_with_text_on_pool<T: Handle>(
    create: impl FnOnce() -> Result<(T, String)> + Send + 'static,
) -> JobPromise {
    AsyncTask::new(Job(Some(Box::new(move || match guarded(create) {
        Ok((object, text)) => Outcome::Handle(Arc::new(object), text),
        Err(error) => Outcome::Response(response(|_| Err(error))),
    }))))
}

fn response(work: impl FnOnce(&mut Writer) -> Result<()>) -> Writer {
    let mut writer = Writer::default();
    writer.write(|writer| guarded(|| work(writer)));
    writer
}

impl napi::Task for Job {
    type Output = Outcome;
    type JsValue = Buffer;

    fn compute(&mut self) -> napi::Result<Outcome> {
        let work = self
            .0
            .take()
            .ok_or_else(|| napi::Error::from_reason("libkv: a job ran twice"))?;
        Ok(work())
    }

    fn resolve(&mut self, _: Env, outcome: Outcome) -> napi::Result<Buffer> {
        let writer = match outcome {
            Outcome::Response(writer) => writer,
            Outcome::Handle(object, text) => {
                let number = with_state(|state| state.handles.add_shared(object))?;
                response(|writer| {
                    match text.is_empty() {
                        true => writer.just(number.into()),
                        false => writer.server(number, &text),
                    }
                    Ok(())
                })
            }
        };
        Ok(writer.bytes.into())
    }
}
