//! The cursor of a mirror: a key of the target with the position of the mirror in the source.
//!
//! The cursor is written in the txn of the data that it describes, with the condition that it is
//! unchanged. So an event is applied exactly once: a txn that was sent twice, or that arrives after
//! another mirror has started, changes nothing.

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use libkv::{Code, Compare, CompareResult, Db, Error, Op, OpResponse, Put, Range, Txn};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};
use crate::notation::escape;
use crate::output::note;
use crate::signal::Interrupt;

/// The number of this form of the value.
const FORM: u32 = 1;
/// The pause before a request is sent again.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a mirror takes over the cursor while another one writes it.
const CLAIMS_MAX: u32 = 16;

/// What the target has of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// All events up to this revision of the source were applied. During a copy: its revision.
    pub revision: i64,
    /// A revision after it, of which not all events were applied yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// A copy that is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<PartOfCopy>,
}

/// The value of the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Value {
    /// The form of this value.
    kv_mirror: u32,
    /// The id of the source.
    source: String,
    /// The prefix of the keys in the source.
    prefix_base64: String,
    /// The process that wrote this value.
    writer: String,
    #[serde(flatten)]
    position: Position,
}

/// The first events of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub revision: i64,
    /// How many events were applied.
    pub events: usize,
}

/// The first pairs of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartOfCopy {
    /// The last key of the source that was copied; none at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_base64: Option<String>,
    /// Whether keys of the target that the source does not have are deleted.
    pub deletes: bool,
}

impl PartOfCopy {
    /// The last key of the source that was copied.
    pub fn after(&self) -> Option<Vec<u8>> {
        BASE64.decode(self.after_base64.as_ref()?.as_bytes()).ok()
    }

    /// The copy up to this key.
    pub fn up_to(&self, key: &[u8]) -> PartOfCopy {
        PartOfCopy {
            after_base64: Some(BASE64.encode(key)),
            ..*self
        }
    }
}

/// Repeats a request until it succeeds or fails for good. Waits for stores that cannot be reached,
/// until a signal.
pub fn patiently<T>(
    interrupt: &Interrupt,
    what: &str,
    mut request: impl FnMut() -> libkv::Result<T>,
) -> Result<T> {
    let mut noted = false;
    loop {
        interrupt.check()?;
        match request() {
            Ok(response) => {
                if noted {
                    note(format!("{what} is available again"));
                }
                return Ok(response);
            }
            Err(error) if is_passing(&error) => {
                if !std::mem::replace(&mut noted, true) {
                    note(format!("{what} is not available, waiting: {error}"));
                }
            }
            Err(error) => return Err(error.context(what).into()),
        }
        interrupt.check()?;
        sleep(PAUSE);
    }
}

/// Whether an error is one of the moment: a lost connection, or a store that is busy.
pub fn is_passing(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::Unavailable | Code::Timeout | Code::Busy | Code::UnknownOutcome
    )
}

/// A cursor that this process writes.
pub struct Cursor<'a> {
    target: &'a Db,
    key: Vec<u8>,
    /// The value, as it is in the target.
    value: Value,
    /// The revision of the target that wrote the value.
    written_at: i64,
}

impl<'a> Cursor<'a> {
    /// Takes over the cursor of the target, or makes one with the position that `begin` returns.
    /// From then on the txns of an earlier process have no effect.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if the key is the cursor of another source or prefix, or no cursor.
    pub fn claim(
        target: &'a Db,
        key: Vec<u8>,
        source: &str,
        prefix: &[u8],
        interrupt: &Interrupt,
        begin: impl Fn() -> Result<Position>,
    ) -> Result<Cursor<'a>> {
        let mut value = Value {
            kv_mirror: FORM,
            source: source.into(),
            prefix_base64: BASE64.encode(prefix),
            writer: writer(),
            position: Position::default(),
        };
        for _ in 0..CLAIMS_MAX {
            let found = patiently(interrupt, "TARGET", || target.get(&key))?;
            let (position, written_at) = match found {
                None => (begin()?, 0),
                Some(kv) => {
                    let found = read(&key, &kv.value)?;
                    if found.source != value.source || found.prefix_base64 != value.prefix_base64 {
                        return Err(foreign(&key, &found));
                    }
                    (found.position, kv.mod_revision)
                }
            };
            value.position = position.clone();
            let mut cursor = Cursor {
                target,
                key: key.clone(),
                value: value.clone(),
                written_at,
            };
            if cursor.try_write(Vec::new(), position, interrupt)? {
                return Ok(cursor);
            }
        }
        Err(taken(&key))
    }

    /// What the target has.
    pub fn position(&self) -> &Position {
        &self.value.position
    }

    /// Writes data of the target together with the position that describes it.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if another process has written the cursor.
    pub fn write(&mut self, ops: Vec<Op>, position: Position, interrupt: &Interrupt) -> Result<()> {
        match self.try_write(ops, position, interrupt)? {
            true => Ok(()),
            false => Err(taken(&self.key)),
        }
    }

    /// False if another process has written the cursor.
    fn try_write(
        &mut self,
        ops: Vec<Op>,
        position: Position,
        interrupt: &Interrupt,
    ) -> Result<bool> {
        let next = Value {
            position,
            ..self.value.clone()
        };
        let value = serde_json::to_vec(&next).expect("numbers and text");
        let unchanged = Compare::mod_revision(&self.key[..], CompareResult::Equal, self.written_at);
        let txn = Txn::new()
            .when(unchanged)
            .and_then_all(ops)
            .and_then(Put::new(&self.key[..], &value[..]))
            .or_else(Range::new(&self.key[..]));
        // a txn with an unknown outcome can be sent again: if it was written, the condition fails
        let response = patiently(interrupt, "TARGET", || self.target.txn(txn.clone()))?;
        let mut written_at = response.succeeded.then_some(response.revision);
        if let (None, [OpResponse::Range(range)]) = (written_at, &response.responses[..]) {
            let found = range.kvs.first().filter(|kv| kv.value == value);
            written_at = found.map(|kv| kv.mod_revision);
        }
        let Some(written_at) = written_at else {
            return Ok(false);
        };
        (self.written_at, self.value) = (written_at, next);
        Ok(true)
    }
}

/// Reads the value of the key.
fn read(key: &[u8], value: &[u8]) -> Result<Value> {
    match serde_json::from_slice::<Value>(value) {
        Ok(value) if value.kv_mirror == FORM => Ok(value),
        _ => Err(refused(format!(
            "the key {} of TARGET is not a cursor that this version of `kv mirror` can read",
            escape(key)
        ))),
    }
}

fn foreign(key: &[u8], value: &Value) -> Failure {
    let prefix = BASE64
        .decode(value.prefix_base64.as_bytes())
        .unwrap_or_default();
    refused(format!(
        "TARGET has a cursor, and so data, of the store {} with the prefix \"{}\": use \
         another --dest-prefix, or delete the key {} to begin with this source",
        value.source,
        escape(&prefix),
        escape(key)
    ))
}

fn taken(key: &[u8]) -> Failure {
    refused(format!(
        "another writer has changed the cursor {}: another mirror into this TARGET runs, and \
         this one stops",
        escape(key)
    ))
}

fn refused(message: String) -> Failure {
    Error::new(Code::FailedPrecondition, message).into()
}

/// A name of this process that no other mirror has.
fn writer() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let random = std::hash::BuildHasher::hash_one(
        &std::collections::hash_map::RandomState::new(),
        now.as_nanos(),
    );
    format!("{:x}-{random:016x}", std::process::id())
}
