//! Iterators over a store: `Scan`, `EventScan`, `DiffScan`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec;

use libkv::{Error, Result};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;

use crate::error::raise;
use crate::guard::{detached, guard, not_pickled};
use crate::handle::Handle;
use crate::key_value::KeyValue;
use crate::response::{Difference, Event};
use crate::value::IntoField;

/// Items that are read while the interpreter is released once; the first time fewer.
const AHEAD_FIRST: usize = 64;
const AHEAD_MAX: usize = 1_024;

/// An iterator of the library that reads some items ahead.
struct ReadAhead<I: Iterator> {
    state: Mutex<State<I>>,
    db: Handle,
}

struct State<I: Iterator> {
    /// None at the end.
    source: Option<I>,
    ahead: vec::IntoIter<I::Item>,
    page: usize,
}

impl<T: Send, I: Iterator<Item = Result<T>> + Send> ReadAhead<I> {
    fn new(db: &Handle, source: I) -> ReadAhead<I> {
        let state = State {
            source: Some(source),
            ahead: Vec::new().into_iter(),
            page: AHEAD_FIRST,
        };
        ReadAhead {
            state: Mutex::new(state),
            db: db.clone(),
        }
    }

    /// The state. A thread that waits for another thread's step releases the interpreter.
    fn state(&self, py: Python<'_>) -> MutexGuard<'_, State<I>> {
        self.state
            .lock_py_attached(py)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, py: Python<'_>) -> PyResult<Option<T>> {
        self.filled(py)?.ahead.next().transpose().map_err(raise)
    }

    fn make_ready(&self, py: Python<'_>) -> PyResult<()> {
        self.filled(py).map(drop)
    }

    /// The state with at least one item, unless it is at its end.
    fn filled(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, State<I>>> {
        // first: in a forked child a lock of another thread is never released
        self.db.ensure_open()?;
        let mut state = self.state(py);
        if state.ahead.as_slice().is_empty() {
            state.fill(py)?;
        }
        Ok(state)
    }

    /// Whether the next step does not wait; false while another thread takes one.
    fn is_ready(&self) -> bool {
        // first: in a forked child a lock of another thread is never released
        self.db.is_closed()
            || self
                .state
                .try_lock()
                .is_ok_and(|state| state.source.is_none() || !state.ahead.as_slice().is_empty())
    }

    fn close(&self, py: Python<'_>) {
        let mut state = self.state(py);
        state.source = None;
        state.ahead = Vec::new().into_iter();
    }
}

impl<T: Send, I: Iterator<Item = Result<T>> + Send> State<I> {
    fn fill(&mut self, py: Python<'_>) -> PyResult<()> {
        let Some(source) = &mut self.source else {
            return Ok(());
        };
        let page = self.page;
        let (items, ended) = detached(py, || {
            let mut items: Vec<Result<T>> = Vec::new();
            let mut ended = false;
            while items.len() < page && !ended {
                match source.next() {
                    Some(item) => {
                        ended = item.is_err();
                        items.push(item);
                    }
                    None => ended = true,
                }
            }
            Ok::<_, Error>((items, ended))
        })?;
        if ended {
            self.source = None;
        }
        self.page = (page * 2).min(AHEAD_MAX);
        self.ahead = items.into_iter();
        Ok(())
    }
}

macro_rules! iterator {
    ($(#[$doc:meta])* $name:ident, $of:ty, $item:ty; $( $methods:tt )*) => {
        $(#[$doc])*
        #[pyclass(frozen, module = "libkv")]
        pub struct $name(ReadAhead<$of>);

        impl $name {
            pub fn new(db: &Handle, source: $of) -> $name {
                $name(ReadAhead::new(db, source))
            }
        }

        #[pymethods]
        impl $name {
            fn __iter__(slf: Py<Self>) -> Py<Self> {
                slf
            }

            fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<$item>>> {
                guard(|| self.0.next(py)?.into_field(py))
            }

            /// Ends the iteration. It holds no resource of the store, so this only frees memory.
            fn close(&self, py: Python<'_>) -> PyResult<()> {
                guard(|| {
                    self.0.close(py);
                    Ok(())
                })
            }

            /// Whether the next step does not wait, for libkv.aio.
            fn _is_ready(&self) -> bool {
                self.0.is_ready()
            }

            /// Reads ahead, so that the next step does not wait, for libkv.aio.
            fn _make_ready(&self, py: Python<'_>) -> PyResult<()> {
                guard(|| self.0.make_ready(py))
            }

            fn __reduce__(&self) -> PyResult<()> {
                Err(not_pickled(concat!("a ", stringify!($name)), "create another where it is needed"))
            }

            $( $methods )*
        }
    };
}

iterator! {
    /// The pairs of a range by key, all at one revision; created by Db.scan(). It ends after an
    /// error.
    Scan, libkv::Scan, KeyValue;
}

iterator! {
    /// The events of a range between two revisions; created by Db.events(). It ends after an error.
    EventScan, libkv::EventScan, Event;
}

iterator! {
    /// The keys that differ between two revisions; created by Db.diff(). It ends after an error.
    DiffScan, libkv::DiffScan, Difference;
}
