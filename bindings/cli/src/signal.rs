//! Signals that end a command: the command is notified and ends by itself.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::{Failure, Result};

type Listener = Arc<dyn Fn(i32) + Send + Sync>;

/// The command that is notified.
static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);
static START: Once = Once::new();

/// Passes signals to a command until it is dropped. Without one, a signal ends the process. A
/// signal that was ignored when the program started (nohup, `&` in a script) stays ignored.
pub struct Interrupt {
    last: Arc<AtomicI32>,
}

impl Interrupt {
    /// Calls `notify` with the number of each SIGINT, SIGTERM and SIGHUP that is not ignored, on a
    /// separate thread.
    pub fn new(notify: impl Fn(i32) + Send + Sync + 'static) -> Result<Interrupt> {
        let last = Arc::new(AtomicI32::new(0));
        let stored = last.clone();
        let listener = move |signal| {
            stored.store(signal, Ordering::Release);
            notify(signal);
        };
        *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(listener));
        let mut failed = None;
        START.call_once(|| failed = listen().err());
        match failed {
            Some(error) => Err(Failure::Io("signals cannot be caught".into(), error)),
            None => Ok(Interrupt { last }),
        }
    }

    /// The last signal, or 0.
    pub fn signal(&self) -> i32 {
        self.last.load(Ordering::Acquire)
    }

    /// Returns an error after a signal.
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
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut signals = Signals::new(not_ignored(&status))?;
    let listen = move || {
        for signal in signals.forever() {
            let listener = LISTENER
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            match listener {
                Some(notify) => notify(signal),
                // as if the signal were not caught
                None => {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(listen)
        .map(|_| ())
}

/// The signals to catch: those that are not in the mask `SigIgn` of /proc/self/status, which is
/// hexadecimal, with bit 0 for signal 1. Without that line, all.
fn not_ignored(status: &str) -> Vec<i32> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = mask
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    [SIGINT, SIGTERM, SIGHUP]
        .into_iter()
        .filter(|signal| ignored >> (signal - 1) & 1 == 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_not_caught() {
        let caught = |mask: &str| {
            not_ignored(&format!(
                "Name:\tkv\nSigBlk:\tffff\nSigIgn:\t{mask}\nSigCgt:\t0\n"
            ))
        };
        assert_eq!(caught("0000000000001000"), [SIGINT, SIGTERM, SIGHUP]);
        assert_eq!(caught("0000000000000001"), [SIGINT, SIGTERM]);
        assert_eq!(caught("0000000000000006"), [SIGTERM, SIGHUP]);
        assert_eq!(caught("0000000000004000"), [SIGINT, SIGHUP]);
        assert!(caught("0000000000004003").is_empty());
        assert_eq!(not_ignored(""), [SIGINT, SIGTERM, SIGHUP]);
    }
}
