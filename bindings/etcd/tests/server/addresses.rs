//! The addresses of a server, from the start to the close.

use libkv_etcd::pb::etcdserverpb as pb;
use libkv_etcd::{Serve, serve};
use libkv_test_support::deadline::deadline;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::support::{Served, connect, refused, run, store};
use crate::{put, range};

/// A directory for one test.
fn tempdir(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("libkv-etcd-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a directory");
    path
}

#[test]
fn addresses_two_serve_one_store() {
    let _deadline = deadline();
    run(async {
        let directory = tempdir("two");
        let path = directory.join("socket");
        let how = Serve::new("127.0.0.1:0").listen(format!("unix://{}", path.display()));
        let served = Served::how(how).await;
        assert_eq!(served.server.addresses().len(), 2);
        assert_eq!(
            served.server.addresses()[1],
            format!("unix://{}", path.display())
        );
        served.kv().put(put("a", "1")).await.expect("a put");
        let other = connect(&served.server.addresses()[1]).await;
        let got = pb::kv_client::KvClient::new(other)
            .range(range("a"))
            .await
            .expect("a range")
            .into_inner();
        assert_eq!(got.count, 1);
        served.server.close();
        served.server.close();
        assert!(
            !path.exists(),
            "the file of the socket is removed with the server"
        );
        std::fs::remove_dir_all(directory).expect("removed");
    });
}

#[test]
fn addresses_that_cannot_be_served_are_named() {
    let _deadline = deadline();
    use libkv::Code;
    let db = store();
    let code_of = |address: &str| {
        let error = serve(&db, address).expect_err(address);
        assert!(
            error
                .message()
                .contains(address.trim_start_matches("http://")),
            "{error}"
        );
        error.code()
    };
    for address in [
        "",
        "localhost",
        "localhost:",
        "host:99999",
        "ftp://a:1",
        ":1",
        "::1:80",
        "unix:",
        "http://a/b:1",
    ] {
        assert_eq!(code_of(address), Code::InvalidArgument, "{address}");
    }
    let first = serve(&db, "127.0.0.1:0").expect("a free port");
    assert_eq!(code_of(first.address()), Code::Busy);
    assert_eq!(
        serve(&db, "https://127.0.0.1:0")
            .expect_err("no certificate")
            .code(),
        Code::InvalidArgument
    );

    let directory = tempdir("bad");
    let file = directory.join("file");
    std::fs::write(&file, "mine").expect("a file");
    let address = format!("unix:{}", file.display());
    assert_eq!(
        serve(&db, address.as_str()).expect_err("a file").code(),
        Code::InvalidArgument
    );
    assert_eq!(
        std::fs::read(&file).expect("the file still exists"),
        b"mine"
    );
    // a socket without a listener is replaced, a socket in use is not
    let socket = directory.join("socket");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    let address = format!("unix:{}", socket.display());
    let server = serve(&db, address.as_str()).expect("no process listens there");
    assert_eq!(
        serve(&db, address.as_str())
            .expect_err("the socket is in use")
            .code(),
        Code::Busy
    );
    assert!(socket.exists());
    server.close();
    std::fs::remove_dir_all(directory).expect("removed");

    db.close();
    assert_eq!(
        serve(&db, "127.0.0.1:0").expect_err("closed").code(),
        Code::Closed
    );
}

#[test]
fn address_in_use_is_named_within_a_runtime() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let error = serve(&served.db, served.server.address()).expect_err("the address is in use");
        assert_eq!(error.code(), libkv::Code::Busy);
    });
}

#[test]
fn close_ends_streams_and_frees_the_address() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut lease = served.lease();
        let (_requests, receiver) = tokio::sync::mpsc::channel(1);
        let mut kept = lease
            .lease_keep_alive(ReceiverStream::new(receiver))
            .await
            .expect("a stream")
            .into_inner();
        // within a runtime, while streams are open
        served.server.close();
        refused(
            kept.message().await,
            Code::Unavailable,
            "etcdserver: server stopped",
        );
        let address = served.server.address().to_string();
        let again = serve(&served.db, address.as_str()).expect("the address is free");
        assert_eq!(again.address(), address);
    });
}

#[test]
fn closed_store_refuses_calls() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        served.db.close();
        let status = served.kv().put(put("a", "1")).await.expect_err("closed");
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let status = served.kv().range(range("a")).await.expect_err("closed");
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    });
}
