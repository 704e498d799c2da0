//! The documents of `--json`: one type for each noun, in the output of all commands.
//!
//! Bytes are the field `key` (or `value`) if they are UTF-8, otherwise `key_base64`: exactly one of
//! the two is present, and no byte is lost. Leases are hexadecimal digits, as on the command line.

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

/// A key without its value.
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
pub struct EventJson<'a> {
    revision: i64,
    r#type: &'static str,
    #[serde(flatten)]
    key: Key<'a>,
    /// The new pair, for a put.
    kv: Option<Pair<'a>>,
    /// The pair before the event, if it was requested.
    prev_kv: Option<Pair<'a>>,
}

impl<'a> From<&'a Event> for EventJson<'a> {
    fn from(event: &'a Event) -> EventJson<'a> {
        EventJson {
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
pub struct DifferenceJson<'a> {
    #[serde(flatten)]
    key: Key<'a>,
    before: Option<Pair<'a>>,
    after: Option<Pair<'a>>,
}

impl<'a> From<&'a Difference> for DifferenceJson<'a> {
    fn from(difference: &'a Difference) -> DifferenceJson<'a> {
        DifferenceJson {
            key: Key::from(&difference.key[..]),
            before: difference.before.as_ref().map(Pair::from),
            after: difference.after.as_ref().map(Pair::from),
        }
    }
}

/// The response to a put.
#[derive(Serialize)]
pub struct PutResponseJson<'a> {
    revision: i64,
    prev_kv: Option<Pair<'a>>,
}

impl<'a> From<&'a PutResponse> for PutResponseJson<'a> {
    fn from(response: &'a PutResponse) -> PutResponseJson<'a> {
        PutResponseJson {
            revision: response.revision,
            prev_kv: response.prev_kv.as_ref().map(Pair::from),
        }
    }
}

/// The response to a deletion.
#[derive(Serialize)]
pub struct DeleteResponseJson<'a> {
    revision: i64,
    deleted: i64,
    prev_kvs: Vec<Pair<'a>>,
}

impl<'a> From<&'a DeleteResponse> for DeleteResponseJson<'a> {
    fn from(response: &'a DeleteResponse) -> DeleteResponseJson<'a> {
        DeleteResponseJson {
            revision: response.revision,
            deleted: response.deleted,
            prev_kvs: response.prev_kvs.iter().map(Pair::from).collect(),
        }
    }
}

/// The response to a range inside a txn.
#[derive(Serialize)]
pub struct RangeResponseJson<'a> {
    revision: i64,
    count: i64,
    more: bool,
    kvs: Vec<Pair<'a>>,
}

impl<'a> From<&'a RangeResponse> for RangeResponseJson<'a> {
    fn from(response: &'a RangeResponse) -> RangeResponseJson<'a> {
        RangeResponseJson {
            revision: response.revision,
            count: response.count,
            more: response.more,
            kvs: response.kvs.iter().map(Pair::from).collect(),
        }
    }
}

/// The response to one operation of a txn: an object with one field, named after the operation.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OpResponseJson<'a> {
    Get(RangeResponseJson<'a>),
    Put(PutResponseJson<'a>),
    Del(DeleteResponseJson<'a>),
    Txn(TxnResponseJson<'a>),
}

impl<'a> From<&'a OpResponse> for OpResponseJson<'a> {
    fn from(response: &'a OpResponse) -> OpResponseJson<'a> {
        match response {
            OpResponse::Range(range) => OpResponseJson::Get(range.into()),
            OpResponse::Put(put) => OpResponseJson::Put(put.into()),
            OpResponse::Delete(delete) => OpResponseJson::Del(delete.into()),
            OpResponse::Txn(txn) => OpResponseJson::Txn(txn.into()),
        }
    }
}

/// The response to a txn.
#[derive(Serialize)]
pub struct TxnResponseJson<'a> {
    succeeded: bool,
    revision: i64,
    responses: Vec<OpResponseJson<'a>>,
}

impl<'a> From<&'a TxnResponse> for TxnResponseJson<'a> {
    fn from(response: &'a TxnResponse) -> TxnResponseJson<'a> {
        TxnResponseJson {
            succeeded: response.succeeded,
            revision: response.revision,
            responses: response
                .responses
                .iter()
                .map(OpResponseJson::from)
                .collect(),
        }
    }
}
