//! TLS from the options, and the texts of its errors.

use std::io;
use std::path::Path;
use std::sync::Arc;

use libkv::{Code, Error, Options, Result};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, AlertDescription, CertificateError, ClientConfig, RootCertStore};

/// The TLS settings of a client.
pub(crate) struct Tls {
    pub config: Arc<ClientConfig>,
    /// The name that every server's certificate must have, instead of its host.
    pub server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Reads the files that the options name.
    ///
    /// # Errors
    ///
    /// `invalid_argument` or `permission_denied`, naming option and file.
    pub fn new(options: &Options) -> Result<Tls> {
        let builder =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|e| invalid(format!("TLS: {e}")))?
                .with_root_certificates(roots(options.tls_ca.as_deref())?);
        let mut config = match (&options.tls_cert, &options.tls_key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let chain = certificates("tls_cert", cert)?;
                let private =
                    PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable("tls_key", key, e))?;
                let wrong = |e| {
                    invalid(format!(
                        "tls_key {} with tls_cert {}: {e}",
                        key.display(),
                        cert.display()
                    ))
                };
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(wrong)?
            }
            (Some(_), None) => return Err(invalid("tls_cert needs tls_key")),
            (None, Some(_)) => return Err(invalid("tls_key needs tls_cert")),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let server_name = options.tls_server_name.as_deref().map(name).transpose()?;
        Ok(Tls {
            config: Arc::new(config),
            server_name,
        })
    }
}

/// A host in the form of certificates; an IP address is also one.
pub(crate) fn name(host: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(host.to_string())
        .map_err(|_| invalid(format!("{host:?} is not a valid server name (TLS)")))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidArgument, message)
}

fn unreadable(option: &str, path: &Path, error: pem::Error) -> Error {
    let code = match &error {
        pem::Error::Io(e) if e.kind() == io::ErrorKind::PermissionDenied => Code::PermissionDenied,
        _ => Code::InvalidArgument,
    };
    let why = match error {
        pem::Error::Io(e) => e.to_string(),
        pem::Error::NoItemsFound => "it contains no such item (PEM is expected)".into(),
        other => other.to_string(),
    };
    Error::new(code, format!("{option} {}: {why}", path.display()))
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let all: std::result::Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<std::result::Result<_, _>>);
    match all {
        Ok(all) if all.is_empty() => Err(unreadable(option, path, pem::Error::NoItemsFound)),
        all => all.map_err(|e| unreadable(option, path, e)),
    }
}

/// The authorities of a file, or those that the system trusts.
fn roots(file: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = file {
        for certificate in certificates("tls_ca", file)? {
            roots
                .add(certificate)
                .map_err(|e| invalid(format!("tls_ca {}: {e}", file.display())))?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found
            .errors
            .first()
            .map_or(String::new(), |e| format!(": {e}"));
        return Err(invalid(format!(
            "the system trusts no authority{why} (option tls_ca names a file of them)"
        )));
    }
    Ok(roots)
}

/// Why a handshake failed.
pub(crate) fn reason(error: &io::Error) -> String {
    let Some(error) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    else {
        return match error.kind() {
            // a server that closes with unread bytes resets the connection instead
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => {
                "it closed the connection before TLS began: it may not use TLS".into()
            }
            _ => error.to_string(),
        };
    };
    match error {
        rustls::Error::InvalidCertificate(why) => certificate(why),
        rustls::Error::AlertReceived(alert) => refused(*alert),
        rustls::Error::InvalidMessage(_) => "it does not use TLS".into(),
        other => format!("TLS: {other}"),
    }
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".into()
        }
        // an authority of the same name but with another key results in the second
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is from an authority that is not trusted".into()
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            // `DnsName("a")`, `IpAddress(1.2.3.4)`
            let bare = |name: &String| {
                let inner = name
                    .split_once('(')
                    .map_or(name.as_str(), |(_, rest)| rest.trim_end_matches(')'));
                inner.trim_matches('"').to_string()
            };
            let names = presented.iter().map(bare).collect::<Vec<_>>().join(", ");
            format!(
                "its certificate is not for {}, but for {names} (option tls_server_name)",
                expected.to_str()
            )
        }
        other => format!("its certificate is not accepted: {other}"),
    }
}

/// The meaning of an alert of the server.
fn refused(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => WANTS_CERTIFICATE.into(),
        // alerts of older servers for no certificate, or for one that they do not trust
        AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateUnknown => {
            format!(
                "it refuses this client's certificate, or requires one ({alert:?}; options tls_cert and \
                 tls_key)"
            )
        }
        AlertDescription::CertificateExpired => {
            "this client's certificate (tls_cert) has expired".into()
        }
        other => format!("it refused TLS: {other:?}"),
    }
}

const WANTS_CERTIFICATE: &str =
    "it requires a certificate from its clients (options tls_cert and tls_key)";

/// The same for an error that came through HTTP/2 as a text: in TLS 1.3 a server checks the
/// client's certificate after the client has begun to send.
pub(crate) fn reason_in(text: &str) -> Option<String> {
    let (_, alert) = text.split_once("received fatal alert: ")?;
    let known = [
        AlertDescription::CertificateRequired,
        AlertDescription::BadCertificate,
        AlertDescription::UnknownCA,
        AlertDescription::CertificateUnknown,
        AlertDescription::CertificateExpired,
    ];
    known
        .into_iter()
        .find(|known| alert.starts_with(&format!("{known:?}")))
        .map(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_that_closes_the_connection_may_not_speak_tls() {
        // which of them occurs depends on how much the server has read before it closes
        for kind in [
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe,
        ] {
            let message = reason(&io::Error::from(kind));
            assert!(message.contains("it may not use TLS"), "{message}");
        }
    }
}
