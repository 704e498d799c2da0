//! The one error type of libkv and its stable codes.
//!
//! The code is for programs; its number never changes. The message is for people; it names the key,
//! revision or path. A missing key is never an error.

use std::error::Error as StdError;
use std::fmt;

pub use crate::code::Code;
use crate::model::Revision;

impl Code {
    /// The number, as C's `kv_code`.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// The code with this number; `None` for 0 and for other numbers.
    pub fn from_number(number: i32) -> Option<Code> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        Code::ALL.get(index).copied()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error: a stable [`Code`], a message, and for some codes a revision.
///
/// It is one word wide and cheap to clone. If etcd has a text for the condition, the message is that
/// text without the prefix `etcdserver: `, followed by details in brackets.
#[derive(Clone)]
pub struct Error(std::sync::Arc<Inner>);

struct Inner {
    code: Code,
    message: String,
    revision: Revision,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of every call of libkv.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with this code and message.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error::made(Inner {
            code,
            message: message.into(),
            revision: 0,
            source: None,
        })
    }

    /// Errors are created in hundreds of places, none of which is hot.
    #[cold]
    #[inline(never)]
    fn made(inner: Inner) -> Error {
        Error(std::sync::Arc::new(inner))
    }

    /// The same error with a revision.
    pub fn with_revision(self, revision: Revision) -> Error {
        let mut inner = self.taken();
        inner.revision = revision;
        Error::made(inner)
    }

    /// The same error with its cause.
    pub fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Error {
        let mut inner = self.taken();
        inner.source = Some(Box::new(source));
        Error::made(inner)
    }

    /// The same error; its message begins with `context` and a colon.
    pub fn context(self, context: impl fmt::Display) -> Error {
        self.led_by(&context)
    }

    #[cold]
    fn led_by(self, context: &dyn fmt::Display) -> Error {
        let mut inner = self.taken();
        inner.message = format!("{context}: {}", inner.message);
        Error::made(inner)
    }

    /// The contents, to be changed; a copy without the source if the error is shared.
    #[cold]
    fn taken(self) -> Inner {
        std::sync::Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            code: shared.code,
            message: shared.message.clone(),
            revision: shared.revision,
            source: None,
        })
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The message, without the code.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// For [`Code::Compacted`] the compacted revision, for [`Code::FutureRevision`] the current
    /// one, otherwise 0.
    pub fn revision(&self) -> Revision {
        self.0.revision
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}: {})", self.0.code, self.0.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as _)
    }
}

/// A key or value for a message: printable text as it is, other bytes escaped, cut at 64 bytes and
/// followed by the full length.
pub(crate) fn show(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 64;
    let cut = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let text = cut.escape_ascii();
    if cut.len() < bytes.len() {
        format!("\"{text}…\" of {} bytes", bytes.len())
    } else {
        format!("\"{text}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_go_both_ways() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert_eq!(code.number(), index as i32 + 1, "{code}");
            assert_eq!(Code::from_number(code.number()), Some(*code));
        }
        assert_eq!(Code::from_number(0), None);
        assert_eq!(Code::from_number(-1), None);
        assert_eq!(Code::from_number(Code::ALL.len() as i32 + 1), None);
    }

    #[test]
    fn long_keys_are_cut_with_their_length() {
        assert_eq!(show(b"a\0b"), "\"a\\x00b\"");
        assert!(show(&[b'x'; 100]).ends_with("…\" of 100 bytes"));
    }
}
