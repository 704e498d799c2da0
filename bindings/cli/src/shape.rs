//! What `--json` shows: one shape for each noun, whatever command shows it.
//!
//! Bytes are the field `key` (or `value`) if they are UTF-8, else `key_base64`: one of the two is there,
//! and no byte is lost. Leases are hexadecimal digits, as on the command line.

use std::borrow::Cow;

use libkv::{
    DeleteResponse, Difference, Event, EventKind, KeyValue, OpResponse, PutResponse, RangeResponse,
    TxnResponse,
};
use serde::Serialize;

use crate::notation::{lease_text, text_or_base64};

/// A pair.
#[derive(Serialize)]
pub struct Pair<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<Cow<'a, str>>,
    pub create_revision: i64,
    pub mod_revision: i64,
    pub version: i64,
    pub lease: String,
}

impl<'a> From<&'a KeyValue> for Pair<'a> {
    fn from(kv: &'a KeyValue) -> Pair<'a> {
        let (key, key_base64) = text_or_base64(&kv.key);
        let (value, value_base64) = text_or_base64(&kv.value);
        let KeyValue {
            create_revision,
            mod_revision,
            version,
            lease,
            ..
        } = *kv;
        Pair {
            key: key.map(Cow::Borrowed),
            key_base64: key_base64.map(Cow::Owned),
            value: value.map(Cow::Borrowed),
            value_base64: value_base64.map(Cow::Owned),
            create_revision,
            mod_revision,
            version,
            lease: lease_text(lease),
        }
    }
}

/// A key alone.
#[derive(Serialize)]
pub struct Key<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
}

impl<'a> From<&'a [u8]> for Key<'a> {
    fn from(key: &'a [u8]) -> Key<'a> {
        let (key, key_base64) = text_or_base64(key);
        Key { key, key_base64 }
    }
}

/// An event: `type` is `put` or `delete`.
#[derive(Serialize)]
pub struct EventShape<'a> {
    revision: i64,
    r#type: &'static str,
    #[serde(flatten)]
    key: Key<'a>,
    /// The new pair, of a put.
    kv: Option<Pair<'a>>,
    /// The pair before, where it was asked for.
    prev_kv: Option<Pair<'a>>,
}

impl<'a> From<&'a Event> for EventShape<'a> {
    fn from(event: &'a Event) -> EventShape<'a> {
        EventShape {
            revision: event.kv.mod_revision,
            r#type: if event.kind == EventKind::Put {
                "put"
            } else {
                "delete"
            },
            key: Key::from(&event.kv.key[..]),
            kv: (event.kind == EventKind::Put).then(|| Pair::from(&event.kv)),
            prev_kv: event.prev_kv.as_ref().map(Pair::from),
        }
    }
}

/// A key that differs between two revisions.
#[derive(Serialize)]
pub struct ChangeShape<'a> {
    #[serde(flatten)]
    key: Key<'a>,
    before: Option<Pair<'a>>,
    after: Option<Pair<'a>>,
}

impl<'a> From<&'a Difference> for ChangeShape<'a> {
    fn from(change: &'a Difference) -> ChangeShape<'a> {
        ChangeShape {
            key: Key::from(&change.key[..]),
            before: change.before.as_ref().map(Pair::from),
            after: change.after.as_ref().map(Pair::from),
        }
    }
}

/// The answer to a put.
#[derive(Serialize)]
pub struct PutShape<'a> {
    revision: i64,
    prev_kv: Option<Pair<'a>>,
}

impl<'a> From<&'a PutResponse> for PutShape<'a> {
    fn from(result: &'a PutResponse) -> PutShape<'a> {
        PutShape {
            revision: result.revision,
            prev_kv: result.prev_kv.as_ref().map(Pair::from),
        }
    }
}

/// The answer to a deletion.
#[derive(Serialize)]
pub struct DeleteShape<'a> {
    revision: i64,
    deleted: i64,
    prev_kvs: Vec<Pair<'a>>,
}

impl<'a> From<&'a DeleteResponse> for DeleteShape<'a> {
    fn from(result: &'a DeleteResponse) -> DeleteShape<'a> {
        DeleteShape {
            revision: result.revision,
            deleted: result.deleted,
            prev_kvs: result.prev_kvs.iter().map(Pair::from).collect(),
        }
    }
}

/// The answer to a range inside a txn.
#[derive(Serialize)]
pub struct RangeShape<'a> {
    revision: i64,
    count: i64,
    more: bool,
    kvs: Vec<Pair<'a>>,
}

impl<'a> From<&'a RangeResponse> for RangeShape<'a> {
    fn from(result: &'a RangeResponse) -> RangeShape<'a> {
        RangeShape {
            revision: result.revision,
            count: result.count,
            more: result.more,
            kvs: result.kvs.iter().map(Pair::from).collect(),
        }
    }
}

/// The answer to one operation of a txn: an object with one field, named after the operation.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Response<'a> {
    Get(RangeShape<'a>),
    Put(PutShape<'a>),
    Del(DeleteShape<'a>),
    Txn(TxnShape<'a>),
}

impl<'a> From<&'a OpResponse> for Response<'a> {
    fn from(result: &'a OpResponse) -> Response<'a> {
        match result {
            OpResponse::Range(range) => Response::Get(range.into()),
            OpResponse::Put(put) => Response::Put(put.into()),
            OpResponse::Delete(delete) => Response::Del(delete.into()),
            OpResponse::Txn(txn) => Response::Txn(txn.into()),
        }
    }
}

/// The answer to a txn.
#[derive(Serialize)]
pub struct TxnShape<'a> {
    succeeded: bool,
    revision: i64,
    responses: Vec<Response<'a>>,
}

impl<'a> From<&'a TxnResponse> for TxnShape<'a> {
    fn from(result: &'a TxnResponse) -> TxnShape<'a> {
        TxnShape {
            succeeded: result.succeeded,
            revision: result.revision,
            responses: result.responses.iter().map(Response::from).collect(),
        }
    }
}
