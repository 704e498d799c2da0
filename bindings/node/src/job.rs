//! Work that may take long, on libuv's pool of threads: opening, closing, checking, ranges, pages.
//! The pool is Node's own, of a fixed size, so there is no thread per call.

use libkv::Result;
use napi::bindgen_prelude::{AsyncTask, Buffer, Env};

use crate::state::{Handle, guarded, with_state};
use crate::wire::Writer;

/// What work on the pool brings back.
pub enum Done {
    /// An answer, or its error.
    Response(Writer),
    /// A handle, to be given a number in the thread that asked, and what is told of it beside that.
    Made(Handle, String),
}

type Work = Box<dyn FnOnce() -> Done + Send>;

/// One piece of it.
pub struct Job(Option<Work>);

/// A promise of the answer, as bytes.
pub type Later = AsyncTask<Job>;

/// Lets `work` write an answer on the pool.
pub fn later(work: impl FnOnce(&mut Writer) -> Result<()> + Send + 'static) -> Later {
    AsyncTask::new(Job(Some(Box::new(move || Done::Response(written(work))))))
}

/// Makes a handle on the pool; the answer is its number.
pub fn made_later(make: impl FnOnce() -> Result<Handle> + Send + 'static) -> Later {
    told_later(move || Ok((make()?, String::new())))
}

/// The same, with a text behind the number.
pub fn told_later(make: impl FnOnce() -> Result<(Handle, String)> + Send + 'static) -> Later {
    AsyncTask::new(Job(Some(Box::new(move || match guarded(make) {
        Ok((handle, text)) => Done::Made(handle, text),
        Err(error) => Done::Response(written(|_| Err(error))),
    }))))
}

fn written(work: impl FnOnce(&mut Writer) -> Result<()>) -> Writer {
    let mut writer = Writer::default();
    writer.write(|writer| guarded(|| work(writer)));
    writer
}

impl napi::Task for Job {
    type Output = Done;
    type JsValue = Buffer;

    fn compute(&mut self) -> napi::Result<Done> {
        let work = self
            .0
            .take()
            .ok_or_else(|| napi::Error::from_reason("libkv: a job ran twice"))?;
        Ok(work())
    }

    fn resolve(&mut self, _: Env, done: Done) -> napi::Result<Buffer> {
        let response = match done {
            Done::Response(response) => response,
            Done::Made(handle, text) => {
                let number = with_state(|state| state.add(handle))?;
                written(|writer| {
                    match text.is_empty() {
                        true => writer.just(number.into()),
                        false => writer.named(number, &text),
                    }
                    Ok(())
                })
            }
        };
        Ok(response.bytes.into())
    }
}
