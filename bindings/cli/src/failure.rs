//! The result of a command: [`Failure`] and the exit statuses, which scripts depend on.

use std::fmt;
use std::io;

use libkv::Error;

use crate::exit_status::status_of;
use crate::notation::{NotationError, lease_text};

/// The result of a command.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why the exit status of a command is not 0.
#[derive(Debug)]
pub enum Failure {
    /// The result is negative. The output shows it, or there is no output.
    No,
    /// The command line or a line of input is invalid.
    Usage(String),
    /// An error of the store or the cluster.
    Db(Error),
    /// An error of a file or stream outside the store.
    Io(String, io::Error),
    /// Damaged input: an export that fails its checks.
    Damaged(String),
    /// The reader of the output has closed the pipe.
    ClosedPipe,
    /// A signal with this number. The exit status is 128 plus the number, as in shells.
    Signal(i32),
    /// The exit status of another program or command.
    Passed(u8),
}

impl Failure {
    /// A usage error.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }

    /// For `map_err`: an error of the operating system that concerns this file.
    pub fn io(what: impl fmt::Display) -> impl FnOnce(io::Error) -> Failure {
        let what = what.to_string();
        move |error| Failure::Io(what, error)
    }

    /// For `map_err`: an error of reading a line of standard input.
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
    /// The message; empty if there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::No | Failure::ClosedPipe | Failure::Signal(_) | Failure::Passed(_) => Ok(()),
            Failure::Usage(message) | Failure::Damaged(message) => f.write_str(message),
            Failure::Db(error) => match error.lease() {
                // the library writes the id as a decimal number, the command line reads it as
                // `LeaseText`
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

impl From<NotationError> for Failure {
    fn from(NotationError(message): NotationError) -> Failure {
        Failure::Usage(message)
    }
}
