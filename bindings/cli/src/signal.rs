//! Signals that end a command: it is told, and ends in its own way.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::{Failure, Result};

type Tell = Arc<dyn Fn(i32) + Send + Sync>;

/// Whoever is to be told now.
static LISTENER: Mutex<Option<Tell>> = Mutex::new(None);
static START: Once = Once::new();

/// Tells a command of signals until it is dropped. While there is none, a signal ends the process.
pub struct Interrupt {
    came: Arc<AtomicI32>,
}

impl Interrupt {
    /// Runs `tell` with the number of each SIGINT, SIGTERM or SIGHUP, on a thread of its own.
    pub fn new(tell: impl Fn(i32) + Send + Sync + 'static) -> Result<Interrupt> {
        let came = Arc::new(AtomicI32::new(0));
        let mark = came.clone();
        let tell = move |signal| {
            mark.store(signal, Ordering::Release);
            tell(signal);
        };
        *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(tell));
        let mut failed = None;
        START.call_once(|| failed = listen().err());
        match failed {
            Some(error) => Err(Failure::Io("signals cannot be caught".into(), error)),
            None => Ok(Interrupt { came }),
        }
    }

    /// The signal that came last, or 0.
    pub fn signal(&self) -> i32 {
        self.came.load(Ordering::Acquire)
    }

    /// Refuses once a signal has come.
    pub fn check(&self) -> Result<()> {
        match self.signal() {
            0 => Ok(()),
            signal => Err(Failure::Signal(signal)),
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn listen() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let listen = move || {
        for signal in signals.forever() {
            let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match listener {
                Some(tell) => tell(signal),
                // as if it had never been caught
                None => {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen).map(|_| ())
}
