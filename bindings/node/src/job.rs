//! Work that may take long, on libuv's pool of threads: opening, closing, checking, ranges, pages.
//! The pool is Node's own, of a fixed size, so there is no thread per call.

use libkv::{Db, Result};
use napi::bindgen_prelude::{AsyncTask, Buffer, Env};

use crate::state::{Handle, guarded, with_state};
use crate::wire::Writer;

/// What work on the pool brings back.
pub enum Done {
    /// An answer, or its error.
    Answer(Writer),
    /// A store, to be given a number in the thread that asked.
    Opened(Db),
}

type Work = Box<dyn FnOnce() -> Done + Send>;

/// One piece of it.
pub struct Job(Option<Work>);

/// A promise of the answer, as bytes.
pub type Later = AsyncTask<Job>;

/// Lets `work` write an answer on the pool.
pub fn later(work: impl FnOnce(&mut Writer) -> Result<()> + Send + 'static) -> Later {
    AsyncTask::new(Job(Some(Box::new(move || Done::Answer(written(work))))))
}

/// Opens a store on the pool; the answer is its number.
pub fn open_later(open: impl FnOnce() -> Result<Db> + Send + 'static) -> Later {
    AsyncTask::new(Job(Some(Box::new(move || match guarded(open) {
        Ok(db) => Done::Opened(db),
        Err(error) => Done::Answer(written(|_| Err(error))),
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
        let work = self.0.take().ok_or_else(|| napi::Error::from_reason("libkv: a job ran twice"))?;
        Ok(work())
    }

    fn resolve(&mut self, _: Env, done: Done) -> napi::Result<Buffer> {
        let answer = match done {
            Done::Answer(answer) => answer,
            Done::Opened(db) => {
                let number = with_state(|state| state.add(Handle::Db(db)))?;
                written(|writer| {
                    writer.just(number.into());
                    Ok(())
                })
            }
        };
        Ok(answer.bytes.into())
    }
}
