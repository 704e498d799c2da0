//! The service KV.

use std::iter::Peekable;
use std::sync::Arc;

use libkv::engine::check_key;
use libkv::{Error, KeyValue, Op, OpResponse, Range, Revision, SortOrder, SortTarget, Txn};
use tonic::{Extensions, Request, Response, Status};

use super::reply::{Call, LargeResponse, ServiceResult, caller};
use super::store::Store;
use crate::convert::{self, refusal};
use crate::pb::etcdserverpb::{self as pb, kv_server};

/// Responses with fewer bytes are not counted as large.
const LARGE_BYTES_MIN: usize = 64 << 10;
/// The most keys in the first message of a range stream. The limit doubles with each message, as in
/// etcd.
const CHUNK_KEYS_FIRST: usize = 10;
/// A message of a range stream ends with the pair that reaches this size. etcd has no such limit: a
/// few large values make a message of many megabytes there.
const CHUNK_BYTES: usize = 256 << 10;

/// Ranges, puts, deletions, txns and compactions.
pub(crate) struct Kv(pub Arc<Store>);

/// Runs a write. The response is sent even if it is large, because the write is committed by then.
macro_rules! run_write {
    ($self:ident, $caller:expr, $kind:ident, $request:expr, $bytes:expr, $out:expr) => {{
        let libkv::Response::$kind(response) = $self.0.call(&$caller, $request).await? else {
            return Err(convert::wrong_response());
        };
        let (bytes, header) = (
            $bytes(&response),
            $self.0.identity.header(response.revision),
        );
        Ok(large(
            Response::new($out(response, header)),
            LargeResponse::Write(bytes),
        ))
    }};
}

/// Refuses a write whose response may be large, before it is committed, while no memory is left for
/// responses.
fn ensure_room(extensions: &Extensions, may_be_large: bool) -> Result<(), Status> {
    match extensions.get::<Arc<Call>>() {
        Some(call) if may_be_large => call.ensure_room(),
        _ => Ok(()),
    }
}

#[tonic::async_trait]
impl kv_server::Kv for Kv {
    async fn range(&self, request: Request<pb::RangeRequest>) -> ServiceResult<pb::RangeResponse> {
        let caller = caller(&request).clone();
        let range = convert::range_in(request.into_inner()).map_err(refusal)?;
        let permit = self.0.permit_read(&caller, || range.clone().into())?;
        let response = match range.range.is_single() {
            true => self.0.db.range(range).map_err(refusal)?,
            false => self.0.read(move |db| db.range(range)).await?,
        };
        self.0.confirm(permit)?;
        let (bytes, header) = (
            pairs_bytes(&response.kvs),
            self.0.identity.header(response.revision),
        );
        Ok(large(
            Response::new(convert::range_out(response, header)),
            LargeResponse::Read(bytes),
        ))
    }

    type RangeStreamStream = tokio_stream::Iter<Chunks>;

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> ServiceResult<Self::RangeStreamStream> {
        let caller = caller(&request).clone();
        let range = streamable(convert::range_in(request.into_inner()).map_err(refusal)?)?;
        let permit = self.0.permit_read(&caller, || range.clone().into())?;
        let chunks = Chunks::open(&self.0, range).await?;
        self.0.confirm(permit)?;
        Ok(Response::new(tokio_stream::iter(chunks)))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> ServiceResult<pb::PutResponse> {
        ensure_room(request.extensions(), request.get_ref().prev_kv)?;
        let bytes = |response: &libkv::PutResponse| response.prev_kv.as_ref().map_or(0, pair_bytes);
        run_write!(
            self,
            caller(&request).clone(),
            Put,
            convert::put_in(request.into_inner()),
            bytes,
            convert::put_out
        )
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> ServiceResult<pb::DeleteRangeResponse> {
        ensure_room(request.extensions(), request.get_ref().prev_kv)?;
        let bytes = |response: &libkv::DeleteResponse| pairs_bytes(&response.prev_kvs);
        run_write!(
            self,
            caller(&request).clone(),
            Delete,
            convert::delete_in(request.into_inner()),
            bytes,
            convert::delete_out
        )
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> ServiceResult<pb::TxnResponse> {
        let caller = caller(&request).clone();
        let (_, extensions, txn) = request.into_parts();
        let txn = convert::txn_in(txn).map_err(refusal)?;
        let bytes = |response: &libkv::TxnResponse| ops_bytes(&response.responses);
        if txn.is_read_only() && !txn.success.iter().chain(&txn.failure).all(is_single) {
            let permit = self.0.permit_read(&caller, || txn.clone().into())?;
            if self.0.limits.is_some() {
                self.0.check(&txn.clone().into())?;
            }
            let response = self.0.read(move |db| db.txn(txn)).await?;
            self.0.confirm(permit)?;
            self.0.counters.count_ops(&response.responses);
            let (bytes, header) = (bytes(&response), self.0.identity.header(response.revision));
            return Ok(large(
                Response::new(convert::txn_out(response, header)),
                LargeResponse::Read(bytes),
            ));
        }
        ensure_room(&extensions, returns_pairs(&txn))?;
        run_write!(self, caller, Txn, txn, bytes, convert::txn_out)
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> ServiceResult<pb::CompactionResponse> {
        let caller = caller(&request).clone();
        let compact = convert::compact_in(request.into_inner());
        run_write!(self, caller, Compact, compact, |_| 0, |_, header| {
            pb::CompactionResponse { header }
        })
    }
}

/// Whether its response may have pairs.
fn returns_pairs(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        Op::Range(range) => !range.count_only,
        Op::Put(put) => put.prev_kv,
        Op::Delete(delete) => delete.prev_kv,
        Op::Txn(txn) => returns_pairs(txn),
    })
}

/// Whether it reads one key.
fn is_single(op: &Op) -> bool {
    matches!(op, Op::Range(range) if range.range.is_single())
}

fn pair_bytes(kv: &KeyValue) -> usize {
    // with the approximate size of their numbers
    kv.key.len() + kv.value.len() + 64
}

fn pairs_bytes(kvs: &[KeyValue]) -> usize {
    kvs.iter().map(pair_bytes).sum()
}

fn ops_bytes(ops: &[OpResponse]) -> usize {
    let of_one = |op: &OpResponse| match op {
        OpResponse::Range(range) => pairs_bytes(&range.kvs),
        OpResponse::Put(put) => put.prev_kv.as_ref().map_or(0, pair_bytes),
        OpResponse::Delete(delete) => pairs_bytes(&delete.prev_kvs),
        OpResponse::Txn(txn) => ops_bytes(&txn.responses),
    };
    ops.iter().map(of_one).sum()
}

/// Marks a response that needs much memory until its client has read it.
fn large<T>(mut response: Response<T>, large: LargeResponse) -> Response<T> {
    if large.bytes() >= LARGE_BYTES_MIN {
        response.extensions_mut().insert(large);
    }
    response
}

/// The range, if a stream can serve it: in the default order of its target, without filters.
fn streamable(range: Range) -> Result<Range, Status> {
    check_key(&range.range.key).map_err(refusal)?;
    let is_default_order = match range.sort_order {
        SortOrder::None => true,
        SortOrder::Ascend => range.sort_target == SortTarget::Key,
        SortOrder::Descend => false,
    };
    if !is_default_order {
        return Err(Status::unimplemented(
            "RangeStream does not support custom sort orders",
        ));
    }
    let filters = [
        range.min_mod_revision,
        range.max_mod_revision,
        range.min_create_revision,
        range.max_create_revision,
    ];
    if filters != [0; 4] {
        return Err(Status::unimplemented(
            "RangeStream does not support revision filters",
        ));
    }
    Ok(range)
}

/// The pairs of a range stream, each read when it is needed.
type Pairs = Box<dyn Iterator<Item = Result<KeyValue, Error>> + Send>;

/// The messages of a range stream. Each is read when the client has room for it, all at one
/// revision; the last one has header, `more` and count.
///
/// No read transaction stays open between messages: with a slow client it would prevent the reuse
/// of free pages. So a compaction beyond that revision ends the stream, as in etcd. A range that is
/// sorted by another target than the key is read at once, as in Range: its first pair is known only
/// then.
pub(crate) struct Chunks {
    store: Arc<Store>,
    /// The store's revision when the stream was opened, for its header.
    revision: Revision,
    /// The pairs that are still to be sent; `None` if they are only counted.
    pairs: Option<Peekable<Pairs>>,
    /// The number of pairs of the range; `None` if all of them are sent.
    count: Option<i64>,
    sent: i64,
    /// The most keys in the next message.
    chunk_keys: usize,
    ended: bool,
}

impl Chunks {
    async fn open(store: &Arc<Store>, range: Range) -> Result<Chunks, Status> {
        let (revision, count, pairs) =
            match range.sort_target == SortTarget::Key || range.count_only {
                true => Chunks::by_key(store, range).await?,
                false => {
                    let sorted = store.read(move |db| db.range(range)).await?;
                    (
                        sorted.revision,
                        Some(sorted.count),
                        Some(Box::new(sorted.kvs.into_iter().map(Ok)) as Pairs),
                    )
                }
            };
        let (store, pairs) = (store.clone(), pairs.map(Iterator::peekable));
        Ok(Chunks {
            store,
            revision,
            pairs,
            count,
            sent: 0,
            chunk_keys: CHUNK_KEYS_FIRST,
            ended: false,
        })
    }

    /// The revision of the header, the count if not all pairs are sent, and the pairs unless they
    /// are only counted.
    async fn by_key(
        store: &Arc<Store>,
        range: Range,
    ) -> Result<(Revision, Option<i64>, Option<Pairs>), Status> {
        let (revision, count) = match range.count_only || range.limit > 0 {
            true => {
                let all = range.clone().count_only(true);
                let counted = store.read(move |db| db.range(all)).await?;
                (counted.revision, Some(counted.count))
            }
            false => {
                let at = store
                    .db
                    .snapshot_at(range.revision)
                    .map_err(refusal)?
                    .revision();
                (
                    if range.revision > 0 {
                        store.revision()?
                    } else {
                        at
                    },
                    None,
                )
            }
        };
        let at = if range.revision > 0 {
            range.revision
        } else {
            revision
        };
        let pairs = match range.count_only {
            true => None,
            false => Some(Box::new(store.db.scan(range.revision(at)).map_err(refusal)?) as Pairs),
        };
        Ok((revision, count, pairs))
    }

    fn chunk(&mut self) -> Result<pb::RangeResponse, Status> {
        let mut chunk = pb::RangeResponse::default();
        if let Some(pairs) = &mut self.pairs {
            let mut bytes = 0;
            while chunk.kvs.len() < self.chunk_keys && bytes < CHUNK_BYTES {
                let Some(kv) = pairs.next().transpose().map_err(refusal)? else {
                    break;
                };
                bytes += pair_bytes(&kv);
                chunk.kvs.push(convert::kv_out(kv));
            }
            self.sent += chunk.kvs.len() as i64;
            self.chunk_keys = self.chunk_keys.saturating_mul(2);
            // a read that failed is reported by the next message
            if pairs.peek().is_some() {
                return Ok(chunk);
            }
        }
        self.ended = true;
        chunk.header = self.store.identity.header(self.revision);
        chunk.count = self.count.unwrap_or(self.sent);
        chunk.more = self.pairs.is_some() && chunk.count > self.sent;
        Ok(chunk)
    }
}

impl Iterator for Chunks {
    type Item = Result<pb::RangeStreamResponse, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let chunk = self.chunk();
        self.ended |= chunk.is_err();
        Some(chunk.map(|chunk| pb::RangeStreamResponse {
            range_response: Some(chunk),
        }))
    }
}
