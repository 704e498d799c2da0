//! Each service of the server, tested with a plain gRPC client: responses, headers, error texts.
//! Numbers such as 7.4 are rows of `tests/contract.md`.

mod addresses;
mod auth;
mod cluster;
mod health;
mod kv;
mod lease;
mod log;
mod maintenance;
mod range_stream;
mod rpc;
#[path = "../support/mod.rs"]
mod support;

use bytes::Bytes;
use libkv_etcd::pb::etcdserverpb as pb;

fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_string().into(),
        value: value.to_string().into(),
        ..Default::default()
    }
}

fn range(key: &str) -> pb::RangeRequest {
    pb::RangeRequest {
        key: key.to_string().into(),
        ..Default::default()
    }
}

fn all() -> pb::RangeRequest {
    pb::RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        ..Default::default()
    }
}

fn op(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(request),
    }
}

fn revision(header: &Option<pb::ResponseHeader>) -> i64 {
    header.as_ref().expect("a header").revision
}
