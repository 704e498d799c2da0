//! The one error type of libkv and its stable codes.
//!
//! The code is for programs; its number never changes. The message is for people; it names the key,
//! revision or path. A missing key is never an error.

use std::error::Error as StdError;
use std::fmt;

pub use crate::code::Code;
use crate::model::{LeaseId, Revision};

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

/// An error: a stable [`Code`], a message, and what the error concerns as fields.
///
/// It is one word wide and cheap to clone. The message consists of a summary and, in most cases, a
/// detail in brackets. If etcd has a text for the condition, the summary is that text. Programs read
/// the fields: [`Error::code`], [`Error::revision`], [`Error::lease`], [`Error::key`].
#[derive(Clone)]
pub struct Error(std::sync::Arc<Inner>);

struct Inner {
    code: Code,
    etcd_text: Option<&'static str>,
    summary: String,
    detail: Option<String>,
    /// The summary and the detail.
    message: String,
    revision: Option<Revision>,
    lease: Option<LeaseId>,
    key: Option<Vec<u8>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of every call of libkv.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error for which etcd has no text.
    pub fn new(code: Code, summary: impl Into<String>) -> Error {
        Error::from_summary(code, summary.into(), None)
    }

    /// An error for which etcd has a text. An etcd server sends this text and omits the detail,
    /// because clients compare it.
    pub fn etcd(code: Code, text: &'static str) -> Error {
        Error::from_summary(code, text.into(), Some(text))
    }

    fn from_summary(code: Code, summary: String, etcd_text: Option<&'static str>) -> Error {
        Error::from_inner(Inner {
            code,
            etcd_text,
            summary,
            detail: None,
            message: String::new(),
            revision: None,
            lease: None,
            key: None,
            source: None,
        })
    }

    /// Errors are created in hundreds of places, none of which is hot.
    #[cold]
    #[inline(never)]
    fn from_inner(mut inner: Inner) -> Error {
        inner.message = match &inner.detail {
            Some(detail) => format!("{} ({detail})", inner.summary),
            None => inner.summary.clone(),
        };
        Error(std::sync::Arc::new(inner))
    }

    /// The same error with a detail, which follows the summary in brackets.
    pub fn with_detail(self, detail: impl fmt::Display) -> Error {
        let mut inner = self.into_inner();
        inner.detail = Some(detail.to_string());
        Error::from_inner(inner)
    }

    /// The same error with a revision.
    pub fn with_revision(self, revision: Revision) -> Error {
        let mut inner = self.into_inner();
        inner.revision = Some(revision);
        Error::from_inner(inner)
    }

    /// The same error with the lease that it concerns.
    pub fn with_lease(self, lease: LeaseId) -> Error {
        let mut inner = self.into_inner();
        inner.lease = Some(lease);
        Error::from_inner(inner)
    }

    /// The same error with the key that it concerns.
    pub fn with_key(self, key: impl Into<Vec<u8>>) -> Error {
        let mut inner = self.into_inner();
        inner.key = Some(key.into());
        Error::from_inner(inner)
    }

    /// The same error with its cause.
    pub fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Error {
        let mut inner = self.into_inner();
        inner.source = Some(Box::new(source));
        Error::from_inner(inner)
    }

    /// The same error; its message begins with `context` and a colon.
    pub fn context(self, context: impl fmt::Display) -> Error {
        let mut inner = self.into_inner();
        inner.summary = format!("{context}: {}", inner.summary);
        Error::from_inner(inner)
    }

    /// The contents, to be changed; a copy without the source if the error is shared.
    #[cold]
    fn into_inner(self) -> Inner {
        std::sync::Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            code: shared.code,
            etcd_text: shared.etcd_text,
            summary: shared.summary.clone(),
            detail: shared.detail.clone(),
            message: String::new(),
            revision: shared.revision,
            lease: shared.lease,
            key: shared.key.clone(),
            source: None,
        })
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The message, without the code: the summary, and the detail in brackets.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The message without the detail.
    pub fn summary(&self) -> &str {
        &self.0.summary
    }

    /// The detail, if there is one: what is requested, what the limit is, how to continue.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The text of etcd for this condition, without the prefix `etcdserver: `.
    pub fn etcd_text(&self) -> Option<&'static str> {
        self.0.etcd_text
    }

    /// For [`Code::Compacted`] the compacted revision, for [`Code::FutureRevision`] the current one.
    /// `None` if no revision is concerned, or if a cluster did not return it.
    pub fn revision(&self) -> Option<Revision> {
        self.0.revision
    }

    /// The lease concerned, for [`Code::LeaseNotFound`], [`Code::LeaseExists`] and
    /// [`Code::LeaseLost`].
    pub fn lease(&self) -> Option<LeaseId> {
        self.0.lease
    }

    /// The key concerned, for [`Code::KeyNotFound`], [`Code::DuplicateKey`] and requests that are
    /// refused for one of their keys.
    pub fn key(&self) -> Option<&[u8]> {
        self.0.key.as_deref()
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
    fn message_is_summary_and_detail() {
        let plain = Error::etcd(Code::LeaseNotFound, "requested lease not found");
        assert_eq!(plain.message(), "requested lease not found");
        let shared = plain.clone();
        let error = plain
            .with_detail("lease 7")
            .with_lease(7)
            .context("renewal");
        assert_eq!(
            error.to_string(),
            "lease_not_found: renewal: requested lease not found (lease 7)"
        );
        assert_eq!(error.etcd_text(), Some("requested lease not found"));
        assert_eq!((error.lease(), error.revision()), (Some(7), None));
        assert_eq!((error.detail(), error.key()), (Some("lease 7"), None));
        assert_eq!((shared.detail(), shared.lease()), (None, None));
    }

    #[test]
    fn long_keys_are_cut_with_their_length() {
        assert_eq!(show(b"a\0b"), "\"a\\x00b\"");
        assert!(show(&[b'x'; 100]).ends_with("…\" of 100 bytes"));
    }
}
