//! Certificates of a test authority, in files.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// Paths of PEM files.
pub struct Certificates {
    /// The certificate of the authority.
    pub ca: String,
    /// A certificate for 127.0.0.1 and localhost.
    pub server: String,
    /// Its private key.
    pub server_key: String,
    /// A certificate of a client with the common name `client`.
    pub client: String,
    /// Its private key.
    pub client_key: String,
}

impl Certificates {
    /// Creates the files in a folder.
    pub fn new(dir: &Path) -> Certificates {
        let key = || KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = key();
        let ca = params.self_signed(&ca_key).expect("signed");
        let issuer = Issuer::new(params, ca_key);
        let signed = |names: &[&str], purpose| {
            let common_name = names[0];
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let mut params = CertificateParams::new(names).expect("names");
            params.extended_key_usages = vec![purpose];
            let names = &mut params.distinguished_name;
            names.push(DnType::CommonName, common_name);
            let key = key();
            (
                params.signed_by(&key, &issuer).expect("signed").pem(),
                key.serialize_pem(),
            )
        };
        fs::create_dir_all(dir).expect("a folder");
        let file = |name: &str, pem: String| {
            let path = dir.join(format!("{name}.pem"));
            fs::write(&path, pem).expect("written");
            path.display().to_string()
        };
        let (server, server_key) = signed(
            &["127.0.0.1", "localhost"],
            ExtendedKeyUsagePurpose::ServerAuth,
        );
        let (client, client_key) = signed(&["client"], ExtendedKeyUsagePurpose::ClientAuth);
        Certificates {
            ca: file("ca", ca.pem()),
            server: file("server", server),
            server_key: file("server-key", server_key),
            client: file("client", client),
            client_key: file("client-key", client_key),
        }
    }
}
