//! The service KV.

use std::sync::Arc;

use libkv::{Answer, KeyValue, Op, OpResult, Range, Revision, Scan, SortOrder, SortTarget};
use tonic::{Request, Response, Status};

use super::reply::Large;
use super::{Answered, Store};
use crate::convert::{self, refusal};
use crate::pb::etcdserverpb::{self as pb, kv_server};

/// Answers of fewer bytes are not counted as large.
const LARGE_BYTES_MIN: usize = 64 << 10;
/// About how many bytes a message of a range stream has.
const CHUNK_BYTES: usize = 256 << 10;

/// Ranges, puts, deletions, txns and compactions.
pub(crate) struct Kv(pub Arc<Store>);

macro_rules! answer {
    ($self:ident, $kind:ident, $request:expr, $bytes:expr, $out:expr) => {{
        let Answer::$kind(answer) = $self.0.call($request).await? else {
            return Err(convert::wrong_answer());
        };
        let (bytes, header) = ($bytes(&answer), $self.0.identity.header(answer.revision));
        Ok(large(Response::new($out(answer, header)), bytes))
    }};
}

#[tonic::async_trait]
impl kv_server::Kv for Kv {
    async fn range(&self, request: Request<pb::RangeRequest>) -> Answered<pb::RangeResponse> {
        let range = convert::range_in(request.into_inner()).map_err(refusal)?;
        let answer = match range.range.is_single() {
            true => self.0.db.range(range).map_err(refusal)?,
            false => self.0.read(move |db| db.range(range)).await?,
        };
        let (bytes, header) = (pairs_bytes(&answer.kvs), self.0.identity.header(answer.revision));
        Ok(large(Response::new(convert::range_out(answer, header)), bytes))
    }

    type RangeStreamStream = tokio_stream::Iter<Chunks>;

    async fn range_stream(&self, request: Request<pb::RangeRequest>) -> Answered<Self::RangeStreamStream> {
        let range = convert::range_in(request.into_inner()).map_err(refusal)?;
        let chunks = Chunks::new(self.0.clone(), range)?;
        Ok(Response::new(tokio_stream::iter(chunks)))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Answered<pb::PutResponse> {
        let bytes = |answer: &libkv::PutResult| answer.prev_kv.as_ref().map_or(0, pair_bytes);
        answer!(self, Put, convert::put_in(request.into_inner()), bytes, convert::put_out)
    }

    async fn delete_range(&self, request: Request<pb::DeleteRangeRequest>) -> Answered<pb::DeleteRangeResponse> {
        let bytes = |answer: &libkv::DeleteResult| pairs_bytes(&answer.prev_kvs);
        answer!(self, Delete, convert::delete_in(request.into_inner()), bytes, convert::delete_out)
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Answered<pb::TxnResponse> {
        let txn = convert::txn_in(request.into_inner()).map_err(refusal)?;
        let bytes = |answer: &libkv::TxnResult| ops_bytes(&answer.responses);
        if txn.is_read_only() && !txn.success.iter().chain(&txn.failure).all(is_single) {
            if self.0.limits.is_some() {
                self.0.check(&txn.clone().into())?;
            }
            let answer = self.0.read(move |db| db.txn(txn)).await?;
            let (bytes, header) = (bytes(&answer), self.0.identity.header(answer.revision));
            return Ok(large(Response::new(convert::txn_out(answer, header)), bytes));
        }
        answer!(self, Txn, txn, bytes, convert::txn_out)
    }

    async fn compact(&self, request: Request<pb::CompactionRequest>) -> Answered<pb::CompactionResponse> {
        let compact = convert::compact_in(request.into_inner());
        answer!(self, Compact, compact, |_| 0, |_, header| pb::CompactionResponse { header })
    }
}

/// Whether it reads one key.
fn is_single(op: &Op) -> bool {
    matches!(op, Op::Range(range) if range.range.is_single())
}

fn pair_bytes(kv: &KeyValue) -> usize {
    // the numbers beside them, about
    kv.key.len() + kv.value.len() + 64
}

fn pairs_bytes(kvs: &[KeyValue]) -> usize {
    kvs.iter().map(pair_bytes).sum()
}

fn ops_bytes(ops: &[OpResult]) -> usize {
    let of_one = |op: &OpResult| match op {
        OpResult::Range(range) => pairs_bytes(&range.kvs),
        OpResult::Put(put) => put.prev_kv.as_ref().map_or(0, pair_bytes),
        OpResult::Delete(delete) => pairs_bytes(&delete.prev_kvs),
        OpResult::Txn(txn) => ops_bytes(&txn.responses),
    };
    ops.iter().map(of_one).sum()
}

/// Marks an answer that takes much memory until its client has read it.
fn large<T>(mut response: Response<T>, bytes: usize) -> Response<T> {
    if bytes >= LARGE_BYTES_MIN {
        response.extensions_mut().insert(Large(bytes));
    }
    response
}

/// The messages of a range stream, each read when the client has room for it: the last has header and
/// count.
pub(crate) struct Chunks {
    store: Arc<Store>,
    range: Range,
    /// Where all of it is read; none once it is at its end.
    revision: Option<Revision>,
    scan: Option<Scan>,
    sent: i64,
}

impl Chunks {
    fn new(store: Arc<Store>, range: Range) -> Result<Chunks, Status> {
        if range.sort_target != SortTarget::Key || range.sort_order == SortOrder::Descend {
            return Err(Status::unimplemented("etcdserver: RangeStream does not support custom sort orders"));
        }
        let filters =
            [range.min_mod_revision, range.max_mod_revision, range.min_create_revision, range.max_create_revision];
        if filters != [0; 4] {
            return Err(Status::unimplemented("etcdserver: RangeStream does not support revision filters"));
        }
        // refuses what cannot be read before the first message goes out
        let revision = store.db.snapshot_at(range.revision).map_err(refusal)?.revision();
        let mut chunks =
            Chunks { range: range.revision(revision), revision: Some(revision), scan: None, sent: 0, store };
        if !chunks.range.count_only {
            chunks.scan = Some(chunks.store.db.scan(chunks.range.clone()).map_err(refusal)?);
        }
        Ok(chunks)
    }

    fn chunk(&mut self) -> Result<pb::RangeResponse, Status> {
        let mut chunk = pb::RangeResponse::default();
        let mut bytes = 0;
        if let Some(scan) = &mut self.scan {
            for kv in scan {
                let kv = kv.map_err(refusal)?;
                bytes += pair_bytes(&kv);
                chunk.kvs.push(convert::kv_out(kv));
                if bytes >= CHUNK_BYTES {
                    self.sent += chunk.kvs.len() as i64;
                    return Ok(chunk);
                }
            }
        }
        self.sent += chunk.kvs.len() as i64;
        let counted = self.store.db.range(self.range.clone().count_only(true)).map_err(refusal)?;
        chunk.header = self.store.identity.header(counted.revision);
        chunk.count = counted.count;
        chunk.more = !self.range.count_only && counted.count > self.sent;
        self.revision = None;
        Ok(chunk)
    }
}

impl Iterator for Chunks {
    type Item = Result<pb::RangeStreamResponse, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        self.revision?;
        let chunk = self.chunk();
        if chunk.is_err() {
            self.revision = None;
        }
        Some(chunk.map(|chunk| pb::RangeStreamResponse { range_response: Some(chunk) }))
    }
}
