//! What holds for every rpc: names, messages, limits, compression, deadlines.

use std::time::Duration;

use libkv::{Db, Options, Put};
use libkv_etcd::Serve;
use libkv_etcd::pb::etcdserverpb as pb;
use libkv_etcd::pb::health::HealthCheckRequest;
use libkv_test_support::deadline::deadline;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request};

use crate::support::{Served, refused, run};
use crate::{op, put};

/// Calls any method, even an unknown one, with a message of raw bytes.
async fn call(
    served: &Served,
    path: &'static str,
    message: Vec<u8>,
) -> Result<Vec<u8>, tonic::Status> {
    let mut grpc = tonic::client::Grpc::new(served.channel.clone());
    grpc.ready().await.expect("open");
    let path = http::uri::PathAndQuery::from_static(path);
    grpc.unary(Request::new(message), path, raw::Codec)
        .await
        .map(tonic::Response::into_inner)
}

/// A codec that passes bytes unchanged.
mod raw {
    use bytes::{Buf, BufMut};
    use tonic::Status;
    use tonic::codec::{DecodeBuf, Decoder, EncodeBuf, Encoder};

    #[derive(Default)]
    pub struct Codec;

    impl tonic::codec::Codec for Codec {
        type Encode = Vec<u8>;
        type Decode = Vec<u8>;
        type Encoder = Codec;
        type Decoder = Codec;

        fn encoder(&mut self) -> Codec {
            Codec
        }

        fn decoder(&mut self) -> Codec {
            Codec
        }
    }

    impl Encoder for Codec {
        type Item = Vec<u8>;
        type Error = Status;

        fn encode(&mut self, message: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
            to.put_slice(&message);
            Ok(())
        }
    }

    impl Decoder for Codec {
        type Item = Vec<u8>;
        type Error = Status;

        fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
            let length = from.remaining();
            Ok(Some(from.copy_to_bytes(length).to_vec()))
        }
    }
}

#[test]
fn methods_that_do_not_exist_are_named() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        for (path, text) in [
            (
                "/etcdserverpb.KV/Nothing",
                "unknown method Nothing for service etcdserverpb.KV",
            ),
            (
                "/etcdserverpb.Nothing/Range",
                "unknown service etcdserverpb.Nothing",
            ),
            (
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                "unknown service grpc.reflection.v1.ServerReflection",
            ),
        ] {
            refused(call(&served, path, vec![]).await, Code::Unimplemented, text);
        }
    });
}

#[test]
fn messages_that_cannot_be_decoded_are_refused() {
    let _deadline = deadline();
    use pb::request_op::Request as Op;
    use prost::Message;
    run(async {
        let served = Served::new().await;
        // field 1 is bytes, but is sent as a varint
        let status = call(&served, "/etcdserverpb.KV/Range", vec![0x08, 0x01])
            .await
            .expect_err("garbage");
        assert_eq!(status.code(), Code::Internal);
        assert!(
            status
                .message()
                .starts_with("grpc: error unmarshalling request: "),
            "{}",
            status.message()
        );
        // each txn nests two more messages
        let mut deep = pb::TxnRequest {
            success: vec![op(Op::RequestPut(put("a", "1")))],
            ..Default::default()
        };
        for _ in 0..49 {
            deep = pb::TxnRequest {
                success: vec![op(Op::RequestTxn(deep))],
                ..Default::default()
            };
        }
        call(&served, "/etcdserverpb.KV/Txn", deep.encode_to_vec())
            .await
            .expect("the greatest depth that is allowed");
        deep = pb::TxnRequest {
            success: vec![op(Op::RequestTxn(deep))],
            ..Default::default()
        };
        let text = "grpc: error unmarshalling request: TxnRequest.success: ...: recursion limit reached: \
            messages are nested at most 100 deep, and so txns at most 49 deep";
        refused(served.kv().txn(deep).await, Code::Internal, text);
        let large = call(&served, "/etcdserverpb.KV/Put", vec![0; 2_097_153]).await;
        refused(
            large,
            Code::ResourceExhausted,
            "grpc: received message larger than max (2097153 vs. 2097152)",
        );
        let most = call(&served, "/etcdserverpb.KV/Put", vec![0; 2_097_152])
            .await
            .expect_err("not a message");
        assert_eq!(most.code(), Code::Internal, "14: it was read");
        // the limit can be raised
        let how = Serve::new("127.0.0.1:0").max_request_bytes(4 << 20);
        let served = Served::how(how).await;
        let large = call(
            &served,
            "/etcdserverpb.KV/Put",
            vec![0; (4 << 20) + (512 << 10) + 1],
        )
        .await;
        let text = "grpc: received message larger than max (4718593 vs. 4718592)";
        refused(large, Code::ResourceExhausted, text);
    });
}

#[test]
fn limits_are_the_lower_of_handle_and_server() {
    let _deadline = deadline();
    use pb::request_op::Request as Op;
    const MIB: usize = 1 << 20;
    let handle = || {
        Db::open(
            ":memory:",
            Options::new()
                .max_request_bytes(16 * MIB as u64)
                .max_txn_ops(300),
        )
    };
    let txn = |ops: usize| pb::TxnRequest {
        success: (0..ops)
            .map(|n| op(Op::RequestPut(put(&format!("{n:04}"), "v"))))
            .collect(),
        ..Default::default()
    };
    let reads = |ops: usize| pb::TxnRequest {
        success: vec![
            op(Op::RequestRange(pb::RangeRequest {
                key: "a".into(),
                range_end: "b".into(),
                ..Default::default()
            }));
            ops
        ],
        ..Default::default()
    };
    run(async {
        // the limits of the handle
        let served = Served::of(handle().expect("a store"), "127.0.0.1:0").await;
        served
            .kv()
            .put(put("a", &"x".repeat(15 * MIB)))
            .await
            .expect("within the handle's limit");
        let text = "etcdserver: request is too large";
        refused(
            served.kv().put(put("a", &"x".repeat(16 * MIB))).await,
            Code::InvalidArgument,
            text,
        );
        served
            .kv()
            .txn(txn(300))
            .await
            .expect("within the handle's limit");
        let text = "etcdserver: too many operations in txn request";
        refused(served.kv().txn(txn(301)).await, Code::InvalidArgument, text);
        refused(
            served.kv().txn(reads(301)).await,
            Code::InvalidArgument,
            text,
        );
        // lower limits of the server
        let how = Serve::new("127.0.0.1:0")
            .max_request_bytes(MIB as u64)
            .max_txn_ops(3);
        let served = Served::of(handle().expect("a store"), how).await;
        let revision = served.db.status().expect("a status").revision;
        let large = served.kv().put(put("a", &"x".repeat(MIB))).await;
        refused(
            large,
            Code::InvalidArgument,
            "etcdserver: request is too large",
        );
        refused(served.kv().txn(txn(4)).await, Code::InvalidArgument, text);
        refused(served.kv().txn(reads(4)).await, Code::InvalidArgument, text);
        assert_eq!(
            served.db.status().expect("a status").revision,
            revision,
            "nothing was written"
        );
        served
            .kv()
            .txn(txn(3))
            .await
            .expect("within the server's limit");
        served
            .kv()
            .txn(reads(3))
            .await
            .expect("within the server's limit");
        served
            .db
            .put(Put::new("a", "x".repeat(MIB)))
            .expect("within the handle's limit");
        // limits of the server above the handle's
        let how = Serve::new("127.0.0.1:0")
            .max_request_bytes(64 * MIB as u64)
            .max_txn_ops(1000);
        let served = Served::of(handle().expect("a store"), how).await;
        let large = served.kv().put(put("a", &"x".repeat(17 * MIB))).await;
        refused(
            large,
            Code::InvalidArgument,
            "etcdserver: request is too large",
        );
        refused(served.kv().txn(txn(301)).await, Code::InvalidArgument, text);
    });
}

#[test]
fn compressed_requests_are_accepted() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut kv = served.kv().send_compressed(CompressionEncoding::Gzip);
        kv.put(put("a", &"x".repeat(1 << 20))).await.expect("a put");
        assert_eq!(
            served
                .db
                .get("a")
                .expect("a get")
                .expect("the key exists")
                .value
                .len(),
            1 << 20
        );
        // small when compressed, large when decompressed
        let bomb = kv
            .put(put("a", &"x".repeat(8 << 20)))
            .await
            .expect_err("too large");
        assert_eq!(bomb.code(), Code::ResourceExhausted);
        let text = "grpc: received message after decompression larger than max 2097152";
        assert_eq!(bomb.message(), text);
    });
}

#[test]
fn deadline_of_a_client_is_kept() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut request = Request::new(HealthCheckRequest::default());
        request.set_timeout(Duration::from_millis(20));
        // this client sets no timer of its own: only the header ends the stream
        let mut watched = served
            .health()
            .watch(request)
            .await
            .expect("a stream")
            .into_inner();
        watched.message().await.expect("open").expect("a response");
        let status = watched.message().await.expect_err("too late");
        assert!(
            matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
            "{status:?}"
        );
    });
}
