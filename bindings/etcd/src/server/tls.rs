//! TLS for `https://` addresses. Certificates can be renewed while a server runs: as in etcd, a new
//! connection uses the current content of the files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use libkv::{Code, Error, Result};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
};
use x509_cert::Certificate;
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::der::{Decode, Tag, Tagged};

use super::auth::PeerName;
use super::options::{Level, Serve};
use crate::sync::lock;

/// The files, and the configuration that was read from them.
pub(super) struct Tls {
    options: Serve,
    read: Mutex<(Vec<FileStamp>, TlsAcceptor)>,
}

/// The number of the attribute "common name".
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Identifies the content of a file: its inode, size and time of change. `None` if the file cannot
/// be examined.
type FileStamp = Option<(u64, u64, i64, i64)>;

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// `invalid_argument`, naming the file or the option that is missing.
    pub fn new(options: &Serve) -> Result<Tls> {
        let tls = Tls {
            options: options.clone(),
            read: Mutex::new((stamps(options), acceptor(options)?)),
        };
        if let Some(log) = &options.log {
            for name in options
                .cipher_suites
                .iter()
                .filter(|name| !is_available(name))
            {
                log(
                    Level::Warn,
                    &format!("the cipher suite {name} is not available and is ignored"),
                );
            }
        }
        Ok(tls)
    }

    /// The name in the certificate of a client. `None` if clients are not identified by their
    /// certificates.
    pub fn peer_name(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<PeerName> {
        let own = chain?.first().filter(|_| self.options.client_cert_auth)?;
        Some(PeerName(common_name(own)))
    }

    /// The acceptor for a new connection. Files that have changed are read again. The error is the
    /// reason why they cannot be used; it is returned once for each change, and the previous
    /// content stays in use.
    pub fn acceptor(&self) -> (TlsAcceptor, Option<Error>) {
        let mut read = lock(&self.read);
        // before the files are read: a later change is then detected by the next call
        let now = stamps(&self.options);
        let mut failed = None;
        if read.0 != now {
            read.0 = now;
            match acceptor(&self.options) {
                Ok(acceptor) => read.1 = acceptor,
                Err(error) => failed = Some(error),
            }
        }
        (read.1.clone(), failed)
    }
}

fn stamps(options: &Serve) -> Vec<FileStamp> {
    let files = [
        &options.cert_file,
        &options.key_file,
        &options.trusted_ca_file,
    ];
    let stamp = |file: &PathBuf| {
        let found = fs::metadata(file).ok()?;
        Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    files.into_iter().flatten().map(stamp).collect()
}

/// The common name of a certificate's subject; the last one if there are several, as in Go.
fn common_name(certificate: &[u8]) -> Option<Arc<str>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let names = certificate.tbs_certificate().subject().iter();
    let name = names
        .filter(|attribute| attribute.oid == COMMON_NAME)
        .last()?;
    let text = |value: &Any| -> Option<Arc<str>> {
        let bytes = value.value();
        match value.tag() {
            // the text types that certificates use for names
            Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString => {
                Some(std::str::from_utf8(bytes).ok()?.into())
            }
            _ => None,
        }
    };
    text(&name.value).filter(|name| !name.is_empty())
}

/// The acceptor of encrypted connections for HTTP/2 and HTTP/1.1. The certificate does not depend
/// on the name that a client requests: a client that connects to an IP address may send that as a
/// name (Node does), or none.
fn acceptor(options: &Serve) -> Result<TlsAcceptor> {
    let (Some(cert_file), Some(key_file)) = (&options.cert_file, &options.key_file) else {
        return Err(invalid(
            "an https address needs a certificate and its key (cert_file, key_file)",
        ));
    };
    let chain = certificates(cert_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file)
        .map_err(|error| unreadable(key_file, "private key", &error))?;
    let provider = Arc::new(provider(options)?);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(options)?)
        .map_err(|error| invalid(format!("TLS: {error}")))?;
    let builder = match &options.trusted_ca_file {
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(file)? {
                roots
                    .add(authority)
                    .map_err(|error| invalid(format!("{}: {error}", file.display())))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| invalid(format!("{}: {error}", file.display())))?;
            builder.with_client_cert_verifier(verifier)
        }
        None if options.client_cert_auth => {
            return Err(invalid(
                "client_cert_auth needs the authorities of the clients' certificates (trusted_ca_file)",
            ));
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        invalid(format!(
            "{} does not match {}: {error}",
            key_file.display(),
            cert_file.display()
        ))
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The versions from the lowest to the highest that were given.
fn versions(options: &Serve) -> Result<Vec<&'static SupportedProtocolVersion>> {
    let place = |given: &str, default: usize| match given {
        "" => Ok(default),
        "TLS1.2" => Ok(0),
        "TLS1.3" => Ok(1),
        other => Err(invalid(format!(
            "{other:?} is not a supported version of TLS: those are TLS1.2 and TLS1.3"
        ))),
    };
    let (min, max) = (
        place(&options.tls_min_version, 0)?,
        place(&options.tls_max_version, 1)?,
    );
    if min > max {
        return Err(invalid(
            "the lowest version of TLS (tls_min_version) is above the highest (tls_max_version)",
        ));
    }
    Ok([&TLS12, &TLS13][min..=max].to_vec())
}

/// The cryptography, with the selected cipher suites. Those of TLS 1.3 cannot be selected, as in
/// Go.
fn provider(options: &Serve) -> Result<CryptoProvider> {
    let mut provider = ring::default_provider();
    let chosen = &options.cipher_suites;
    if !chosen.is_empty() {
        if !chosen.iter().any(|name| is_available(name)) {
            return Err(invalid(format!(
                "none of the cipher suites is available: {}",
                chosen.join(", ")
            )));
        }
        provider.cipher_suites.retain(|suite| {
            suite.tls13().is_some() || chosen.iter().any(|name| is_named(suite, name))
        });
    }
    Ok(provider)
}

fn is_available(name: &str) -> bool {
    ring::default_provider()
        .cipher_suites
        .iter()
        .any(|suite| is_named(suite, name))
}

/// Whether this is the suite's name at IANA or in Go, which also has names that end with POLY1305.
fn is_named(suite: &SupportedCipherSuite, name: &str) -> bool {
    let known = suite
        .suite()
        .as_str()
        .unwrap_or_default()
        .replace("TLS13_", "TLS_");
    known == name
        || known
            .strip_suffix("_SHA256")
            .is_some_and(|known| known == name && name.ends_with("POLY1305"))
}

/// A warning for an address without TLS if options for certificates are given.
pub(super) fn unused(options: &Serve) -> Option<&'static str> {
    match (
        options.client_cert_auth || options.trusted_ca_file.is_some(),
        options.cert_file.is_some(),
    ) {
        (true, _) => Some(
            "is not encrypted, and accepts clients without a certificate: certificates are required at \
             https:// addresses",
        ),
        (false, true) => Some("is not encrypted: the certificate is for https:// addresses"),
        (false, false) => None,
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bad = |error| unreadable(file, "certificate", &error);
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .map_err(bad)?
        .collect::<std::result::Result<_, _>>()
        .map_err(bad)?;
    match certificates.is_empty() {
        true => Err(unreadable(file, "certificate", &PemError::NoItemsFound)),
        false => Ok(certificates),
    }
}

fn unreadable(file: &Path, what: &str, error: &PemError) -> Error {
    match error {
        PemError::Io(error) => {
            let code = match error.kind() {
                std::io::ErrorKind::PermissionDenied => Code::PermissionDenied,
                std::io::ErrorKind::NotFound => Code::InvalidArgument,
                _ => Code::Io,
            };
            Error::new(code, format!("{}: {error}", file.display()))
        }
        PemError::NoItemsFound => invalid(format!("{}: there is no {what} in it", file.display())),
        error => invalid(format!("{}: no {what} in PEM: {error}", file.display())),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidArgument, message)
}
