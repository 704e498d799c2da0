//! How a command ends: [`Failure`] and the exit statuses, which are a promise to scripts.

use std::fmt;
use std::io;

use libkv::Error;

use crate::exit_status::status_of;
use crate::notation::lease_text;

/// A command's answer.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why a command does not end with status 0.
#[derive(Debug)]
pub enum Failure {
    /// The answer is no: said already, or nothing to say.
    No,
    /// The command line, or a line of input, cannot be understood.
    Usage(String),
    /// The store or the cluster refused or failed.
    Db(Error),
    /// A file or stream that is not the store's.
    Io(String, io::Error),
    /// Input that is damaged: an export that fails its checks.
    Damaged(String),
    /// Whoever read the output has gone.
    ClosedPipe,
    /// Ended by a signal, as shells count it: 128 and its number.
    Signal(i32),
    /// The status of a program that was run.
    Passed(u8),
}

impl Failure {
    /// A usage error.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }

    /// For `map_err`: an error of the operating system, about this file.
    pub fn io(what: impl fmt::Display) -> impl FnOnce(io::Error) -> Failure {
        let what = what.to_string();
        move |error| Failure::Io(what, error)
    }

    /// For `map_err`: of a line of standard input that was to be read.
    pub fn line(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::InvalidData => {
                Failure::usage("this line is not UTF-8 (in double quotes, \\xNN is any byte)")
            }
            _ => Failure::Io("standard input".into(), error),
        }
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Failure::No => 1,
            Failure::Usage(_) => 2,
            Failure::Db(error) => status_of(error.code()),
            Failure::Io(_, error) => match error.kind() {
                io::ErrorKind::NotFound => 4,
                io::ErrorKind::PermissionDenied => 5,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => 7,
                _ => 8,
            },
            Failure::Damaged(_) => 8,
            Failure::ClosedPipe => 141,
            Failure::Signal(signal) => 128 + *signal as u8,
            Failure::Passed(status) => *status,
        }
    }
}

impl fmt::Display for Failure {
    /// What is said of it; empty if nothing is to be said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::No | Failure::ClosedPipe | Failure::Signal(_) | Failure::Passed(_) => Ok(()),
            Failure::Usage(message) | Failure::Damaged(message) => f.write_str(message),
            Failure::Db(error) => match error.lease() {
                // the library writes the id as a decimal number, the command line reads it as `LeaseText`
                Some(id) => {
                    let (code, summary) = (error.code(), error.summary());
                    write!(f, "{code}: {summary} (lease {})", lease_text(id))
                }
                None => write!(f, "{error}"),
            },
            Failure::Io(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Db(error)
    }
}
