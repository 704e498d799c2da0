//! The functions that the targets in `tests/fuzz` call.

use prost::Message as _;

use crate::convert;
use crate::pb::etcdserverpb as pb;
use crate::server::read_and_write_back;

/// A byte that selects a method, then the JSON of its request. A request that can be read must also
/// be written and read again as the same.
pub fn gateway(data: &[u8]) {
    if let Some((&method, json)) = data.split_first() {
        read_and_write_back(usize::from(method), json);
    }
}

/// A byte that selects a message, then its bytes, which are decoded and converted to a request of
/// the model.
pub fn requests(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    match kind % 6 {
        0 => drop(pb::RangeRequest::decode(bytes).map(convert::range_in)),
        1 => drop(pb::PutRequest::decode(bytes).map(convert::put_in)),
        2 => drop(pb::DeleteRangeRequest::decode(bytes).map(convert::delete_in)),
        3 => drop(pb::TxnRequest::decode(bytes).map(convert::txn_in)),
        4 => drop(pb::CompactionRequest::decode(bytes).map(convert::compact_in)),
        _ => drop(
            pb::WatchRequest::decode(bytes).map(|request| match request.request_union {
                Some(pb::watch_request::RequestUnion::CreateRequest(create)) => {
                    Some(convert::watch_in(create))
                }
                _ => None,
            }),
        ),
    }
}
