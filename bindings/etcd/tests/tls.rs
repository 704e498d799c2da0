//! Addresses with TLS: certificates of both sides, names, HTTP/1 and HTTP/2, failures.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use libkv::Code;
use libkv_etcd::pb::etcdserverpb as pb;
use libkv_etcd::pb::etcdserverpb::kv_client::KvClient;
use libkv_etcd::{Level, Serve, Server, serve};
use libkv_test_support::deadline::deadline;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use support::{run, store};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use tonic::transport::{Channel, Endpoint};

/// A certificate authority. It writes what it signs to a directory, which is removed at the end.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
            .expect("an authority");
        fs::write(directory.join("ca.pem"), issuer.pem()).expect("a file");
        Authority { issuer, directory }
    }

    /// Writes `<name>.pem` and `<name>.key`.
    fn sign(&self, name: &str, hosts: &[&str]) {
        let key = KeyPair::generate().expect("a key");
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let params = CertificateParams::new(hosts).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(self.file(&format!("{name}.pem")), certificate.pem()).expect("a file");
        fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).expect("a file");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn serve(&self) -> Serve {
        self.sign("server", &["localhost", "127.0.0.1"]);
        Serve::new("https://127.0.0.1:0")
            .cert_file(self.file("server.pem"))
            .key_file(self.file("server.key"))
    }

    /// A client that trusts this authority, with the certificate of this name if there is one.
    fn client(&self, certificate: Option<(&Authority, &str)>, alpn: &[&[u8]]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots
            .add(
                CertificateDer::from_pem_file(self.file("ca.pem"))
                    .expect("the certificate of the authority"),
            )
            .expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some((authority, name)) => {
                let chain = CertificateDer::from_pem_file(authority.file(&format!("{name}.pem")))
                    .expect("a signed file");
                let key = PrivateKeyDer::from_pem_file(authority.file(&format!("{name}.key")))
                    .expect("a signed file");
                builder
                    .with_client_auth_cert(vec![chain], key)
                    .expect("a certificate and its key")
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn host(server: &Server) -> String {
    server
        .address()
        .strip_prefix("https://")
        .expect("an address with TLS")
        .to_string()
}

async fn channel(
    server: &Server,
    tls: TlsConnector,
    name: &'static str,
) -> Result<Channel, tonic::transport::Error> {
    let host = host(server);
    let connector = tower::service_fn(move |_: http::Uri| {
        let (tls, host) = (tls.clone(), host.clone());
        async move {
            let stream = tokio::net::TcpStream::connect(&host).await?;
            let name = ServerName::try_from(name).expect("a name");
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
        }
    });
    Endpoint::from_static("http://encrypted")
        .connect_with_connector(connector)
        .await
}

async fn works(channel: Channel) -> bool {
    KvClient::new(channel)
        .range(pb::RangeRequest {
            key: "a".into(),
            ..Default::default()
        })
        .await
        .is_ok()
}

#[test]
fn tls_by_name_and_by_address() {
    let _deadline = deadline();
    run(async {
        let authority = Authority::new("names");
        let server = serve(&store(), authority.serve()).expect("a server");
        for name in ["localhost", "127.0.0.1"] {
            let channel = channel(&server, authority.client(None, &[b"h2"]), name)
                .await
                .expect(name);
            assert!(works(channel).await, "{name}");
        }
        let wrong = channel(&server, authority.client(None, &[b"h2"]), "elsewhere").await;
        assert!(wrong.is_err(), "the client refuses the wrong name");
        // a client without ALPN can use HTTP/2 too
        let silent = channel(&server, authority.client(None, &[]), "localhost")
            .await
            .expect("connected");
        assert!(works(silent).await);
    });
}

/// Node sends the IP address of the server as the server name, which the standard forbids.
#[test]
fn tls_with_an_ip_address_as_server_name() {
    let _deadline = deadline();
    let authority = Authority::new("ip");
    let server = serve(&store(), authority.serve()).expect("a server");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = "host.name";
    let name_to_be = ServerName::try_from(name).expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(config), name_to_be).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a hello");
    let at = hello
        .windows(name.len())
        .position(|window| window == name.as_bytes())
        .expect("the name in the hello");
    hello[at..at + name.len()].copy_from_slice(b"127.0.0.1");
    let mut stream = TcpStream::connect(host(&server)).expect("connected");
    stream.write_all(&hello).expect("sent");
    let mut record = [0; 1];
    stream.read_exact(&mut record).expect("a response");
    assert_eq!(
        record,
        [22],
        "the handshake continues; 21 would be an alert"
    );
}

#[test]
fn client_certificate_is_required_where_configured() {
    let _deadline = deadline();
    run(async {
        let (authority, other) = (Authority::new("mine"), Authority::new("other"));
        authority.sign("client", &["client"]);
        other.sign("client", &["client"]);
        let how = authority
            .serve()
            .trusted_ca_file(authority.file("ca.pem"))
            .client_cert_auth(true);
        let server = serve(&store(), how).expect("a server");
        let mine = authority.client(Some((&authority, "client")), &[b"h2"]);
        assert!(
            works(
                channel(&server, mine, "localhost")
                    .await
                    .expect("connected")
            )
            .await
        );
        for tls in [
            authority.client(None, &[b"h2"]),
            authority.client(Some((&other, "client")), &[b"h2"]),
        ] {
            // with TLS 1.3 a client gets the error at its first read
            let refused = match channel(&server, tls, "localhost").await {
                Ok(channel) => !works(channel).await,
                Err(_) => true,
            };
            assert!(refused);
        }
        let mine = authority.client(Some((&authority, "client")), &[b"h2"]);
        assert!(
            works(
                channel(&server, mine, "localhost")
                    .await
                    .expect("connected")
            )
            .await,
            "a permitted client is still served"
        );
    });
}

#[test]
fn tls_versions_and_cipher_suites_are_configured() {
    let _deadline = deadline();
    run(async {
        let authority = Authority::new("chosen");
        let negotiated = async |how: Serve| {
            let server = serve(&store(), how).expect("a server");
            let stream = tokio::net::TcpStream::connect(host(&server))
                .await
                .expect("connected");
            let name = ServerName::try_from("localhost").expect("a name");
            let stream = authority
                .client(None, &[b"h2"])
                .connect(name, stream)
                .await
                .expect("a handshake");
            let session = stream.get_ref().1;
            let suite = session.negotiated_cipher_suite().expect("a suite").suite();
            (
                session.protocol_version().expect("a version"),
                suite.as_str().expect("a name"),
            )
        };
        use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
        assert_eq!(negotiated(authority.serve()).await.0, TLSv1_3);
        assert_eq!(
            negotiated(authority.serve().tls_min_version("TLS1.3"))
                .await
                .0,
            TLSv1_3
        );
        let old = || authority.serve().tls_max_version("TLS1.2");
        assert_eq!(negotiated(old()).await.0, TLSv1_2);
        let log = Arc::new(Mutex::new(Vec::new()));
        for name in [
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        ] {
            let lines = log.clone();
            let how = old().cipher_suites([name, "TLS_RSA_WITH_AES_128_CBC_SHA"]);
            let how =
                how.log(move |_, line| lines.lock().expect("no panic").push(line.to_string()));
            assert!(negotiated(how).await.1.starts_with(name), "{name}");
        }
        let left_out =
            "the cipher suite TLS_RSA_WITH_AES_128_CBC_SHA is not available and is ignored";
        assert_eq!(
            log.lock()
                .expect("no panic")
                .iter()
                .filter(|line| *line == left_out)
                .count(),
            2
        );
        for (how, word) in [
            (old().tls_min_version("TLS1.3"), "above"),
            (authority.serve().tls_min_version("TLS1.1"), "TLS1.1"),
            (
                old().cipher_suites(["TLS_RSA_WITH_AES_128_CBC_SHA"]),
                "TLS_RSA_WITH_AES_128_CBC_SHA",
            ),
        ] {
            let refused = serve(&store(), how).expect_err(word);
            assert!(
                refused.code() == Code::InvalidArgument && refused.message().contains(word),
                "{refused}"
            );
        }
    });
}

#[test]
fn http_1_over_tls() {
    let _deadline = deadline();
    run(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let authority = Authority::new("http1");
        let server = serve(&store(), authority.serve()).expect("a server");
        for alpn in [&[&b"http/1.1"[..]][..], &[]] {
            let stream = tokio::net::TcpStream::connect(host(&server))
                .await
                .expect("connected");
            let name = ServerName::try_from("localhost").expect("a name");
            let mut stream = authority
                .client(None, alpn)
                .connect(name, stream)
                .await
                .expect("a handshake");
            let request = b"GET /version HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            stream.write_all(request).await.expect("sent");
            let mut response = Vec::new();
            stream.read_to_end(&mut response).await.expect("a response");
            assert!(
                response.starts_with(b"HTTP/1.1 200"),
                "{}",
                response.escape_ascii()
            );
        }
    });
}

#[test]
fn handshake_failures_do_not_stop_others() {
    let _deadline = deadline();
    run(async {
        let authority = Authority::new("broken");
        let server = serve(&store(), authority.serve()).expect("a server");
        let hello = {
            let roots = RootCertStore::empty();
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
            let name = ServerName::try_from("localhost").expect("a name");
            let mut client =
                rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
            let mut hello = Vec::new();
            client.write_tls(&mut hello).expect("a hello");
            hello
        };
        let mut held = Vec::new();
        for sent in [
            &hello[..1],
            &hello[..hello.len() / 2],
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[0x16, 3, 1, 0xff, 0xff],
            &[0; 4096],
        ] {
            let mut stream = TcpStream::connect(host(&server)).expect("connected");
            stream.write_all(sent).expect("sent");
            stream.shutdown(std::net::Shutdown::Write).expect("open");
            stream
                .set_read_timeout(Some(Duration::from_secs(30)))
                .expect("a time-out");
            let mut response = Vec::new();
            // the server sends an alert or nothing, then closes the connection
            if stream.read_to_end(&mut response).is_ok() {
                assert!(
                    response.is_empty() || response[0] == 21,
                    "{}",
                    response.escape_ascii()
                );
            }
            // many connections that stay in the middle of the handshake
            for _ in 0..50 {
                let mut stream = TcpStream::connect(host(&server)).expect("connected");
                let _ = stream.write_all(&hello[..hello.len() / 2]);
                held.push(stream);
            }
        }
        let channel = channel(&server, authority.client(None, &[b"h2"]), "localhost")
            .await
            .expect("connected");
        assert!(works(channel).await);
        server.close();
    });
}

/// New certificates are used while the server runs. Files that cannot be used are logged once, and
/// the old certificate stays in use.
#[test]
fn certificates_are_reloaded_for_new_connections() {
    let _deadline = deadline();
    run(async {
        let authority = Authority::new("renewed");
        let (sender, warnings) = std::sync::mpsc::channel();
        let how = authority.serve().log(move |level, line| {
            if level == Level::Warn {
                sender.send(line.to_string()).expect("the test receives");
            }
        });
        let server = serve(&store(), how).expect("a server");
        let comes = async |name| {
            let client = authority.client(None, &[b"h2"]);
            match channel(&server, client, name).await {
                Ok(channel) => works(channel).await,
                Err(_) => false,
            }
        };
        let old = channel(&server, authority.client(None, &[b"h2"]), "localhost")
            .await
            .expect("connected");
        assert!(works(old.clone()).await && !comes("renewed.example").await);

        fs::write(authority.file("server.key"), "half of a k").expect("a file");
        assert!(
            comes("localhost").await && comes("localhost").await,
            "the old certificate stays in use"
        );
        let line = warnings.try_recv().expect("a warning");
        assert!(
            line.contains("server.key") && line.contains("the old ones remain in use"),
            "{line}"
        );
        assert!(warnings.try_recv().is_err(), "one warning");

        authority.sign("server", &["renewed.example"]);
        assert!(comes("renewed.example").await && !comes("localhost").await);
        assert!(works(old).await, "an open connection continues");
    });
}

#[test]
fn certificate_file_errors_name_the_file() {
    let _deadline = deadline();
    let authority = Authority::new("files");
    authority.sign("server", &["localhost"]);
    authority.sign("another", &["localhost"]);
    fs::write(authority.file("empty"), "").expect("a file");
    let db = store();
    let refused = |how: Serve, text: &str| {
        let error = serve(&db, how).expect_err(text);
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains(text), "{error}");
    };
    let how = || Serve::new("https://127.0.0.1:0");
    refused(how(), "cert_file, key_file");
    refused(
        how().cert_file(authority.file("server.pem")),
        "cert_file, key_file",
    );
    let with = |certificate: &str, key: &str| {
        how()
            .cert_file(authority.file(certificate))
            .key_file(authority.file(key))
    };
    refused(with("none", "server.key"), "none: ");
    refused(with("empty", "server.key"), "there is no certificate in it");
    refused(
        with("server.pem", "server.pem"),
        "there is no private key in it",
    );
    refused(with("server.pem", "another.key"), "does not match");
    refused(
        with("server.pem", "server.key").client_cert_auth(true),
        "trusted_ca_file",
    );
    refused(
        with("server.pem", "server.key").trusted_ca_file(authority.file("empty")),
        "there is no certificate in it",
    );
}

/// An address that is not encrypted, or that does not require certificates of clients, although
/// these options were set: the server logs a warning.
#[test]
fn certificates_without_use_are_logged() {
    let _deadline = deadline();
    let authority = Authority::new("unused");
    authority.sign("server", &["localhost"]);
    let warned = |how: Serve| {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = lines.clone();
        let log = move |level, line: &str| {
            if level == Level::Warn {
                into.lock().expect("no panic").push(line.to_string());
            }
        };
        let server = serve(&store(), how.log(log)).expect("a server");
        let warnings = lines.lock().expect("no panic").clone();
        (server.addresses().to_vec(), warnings)
    };
    let files = |how: Serve| {
        how.cert_file(authority.file("server.pem"))
            .key_file(authority.file("server.key"))
    };
    let plain = || Serve::new("http://127.0.0.1:0");
    assert_eq!(warned(plain()).1, [""; 0]);
    assert_eq!(warned(files(Serve::new("https://127.0.0.1:0"))).1, [""; 0]);
    let (addresses, warnings) = warned(files(plain().listen("https://127.0.0.1:0")));
    assert_eq!(
        warnings,
        [format!(
            "{} is not encrypted: the certificate is for https:// addresses",
            addresses[0]
        )]
    );
    let (addresses, warnings) = warned(plain().client_cert_auth(true));
    let text = "is not encrypted, and accepts clients without a certificate: certificates are required at \
                https:// addresses";
    assert_eq!(warnings, [format!("{} {text}", addresses[0])]);
}
