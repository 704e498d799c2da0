//! The service KV.

use std::sync::Arc;

use libkv::Answer;
use tonic::{Request, Response, Status};

use super::{Answered, Store};
use crate::convert;
use crate::pb::etcdserverpb::{self as pb, kv_server};

/// Ranges, puts, deletions, txns and compactions.
pub(crate) struct Kv(pub Arc<Store>);

macro_rules! answer {
    ($self:ident, $kind:ident, $request:expr, $out:expr) => {{
        let Answer::$kind(answer) = $self.0.call($request).await? else {
            return Err(Status::internal("etcdserver: an answer of another kind"));
        };
        let header = $self.0.identity.header(answer.revision);
        Ok(Response::new($out(answer, header)))
    }};
}

#[tonic::async_trait]
impl kv_server::Kv for Kv {
    async fn range(&self, request: Request<pb::RangeRequest>) -> Answered<pb::RangeResponse> {
        let range = convert::range_in(request.into_inner()).map_err(convert::refusal)?;
        answer!(self, Range, range, convert::range_out)
    }

    type RangeStreamStream = tokio_stream::Empty<Result<pb::RangeStreamResponse, Status>>;

    async fn range_stream(&self, _: Request<pb::RangeRequest>) -> Answered<Self::RangeStreamStream> {
        Err(Status::unimplemented("unknown method RangeStream for service etcdserverpb.KV"))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Answered<pb::PutResponse> {
        answer!(self, Put, convert::put_in(request.into_inner()), convert::put_out)
    }

    async fn delete_range(&self, request: Request<pb::DeleteRangeRequest>) -> Answered<pb::DeleteRangeResponse> {
        answer!(self, Delete, convert::delete_in(request.into_inner()), convert::delete_out)
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Answered<pb::TxnResponse> {
        let txn = convert::txn_in(request.into_inner()).map_err(convert::refusal)?;
        answer!(self, Txn, txn, convert::txn_out)
    }

    async fn compact(&self, request: Request<pb::CompactionRequest>) -> Answered<pb::CompactionResponse> {
        let compact = convert::compact_in(request.into_inner());
        answer!(self, Compact, compact, |_, header| pb::CompactionResponse { header })
    }
}
