//! The address of a cluster: its endpoints, and which of them use TLS.

use std::fmt;

use libkv::{Code, Error, Result};

use crate::address::{self, Address, Location, scheme};

/// etcd's port for clients.
pub(crate) const PORT: u16 = 2379;

/// The location of a cluster's member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(Address);

impl Endpoint {
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    pub fn has_tls(&self) -> bool {
        self.0.tls
    }

    /// Whether it is reached over a network without TLS.
    pub fn is_plain(&self) -> bool {
        !self.0.tls && matches!(self.0.location, Location::Tcp(..))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.0.tls { "s" } else { "" };
        match &self.0.location {
            Location::Tcp(host, port) => write!(f, "http{s}://{}", host_and_port(host, *port)),
            Location::Unix(path) => write!(f, "unix{s}://{}", path.display()),
        }
    }
}

/// A host and its port as in a URL.
pub(crate) fn host_and_port(host: &str, port: Option<u16>) -> String {
    let port = port.unwrap_or(PORT);
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Reads an address: `etcd://h1:2379,h2`, `http://…`, `https://a,b`, `unix:///path`, `unix:path`.
/// Each endpoint may have a scheme of its own, otherwise that of the first. With `etcd` it is TLS
/// if `tls_wanted`.
///
/// # Errors
///
/// `invalid_argument`, naming the part that is wrong.
pub(crate) fn parse(address: &str, tls_wanted: bool) -> Result<Vec<Endpoint>> {
    let (first, rest) = scheme(address);
    if first.is_empty() {
        return Err(bad(address, "it has no scheme"));
    }
    // `etcd://unix:///path` is an endpoint with a scheme of its own
    let endpoints: Vec<Endpoint> = rest
        .split(',')
        .map(|part| match scheme(part).0.is_empty() {
            true => endpoint(part, &format!("{first}://{part}"), tls_wanted),
            false => endpoint(part, part, tls_wanted),
        })
        .collect::<Result<_>>()?;
    if tls_wanted && !endpoints.iter().any(Endpoint::has_tls) {
        let message =
            format!("{address}: options of TLS are given, but no endpoint of this address has TLS");
        return Err(Error::new(Code::InvalidArgument, message));
    }
    Ok(endpoints)
}

/// Reads one endpoint; `part` is its text in the address.
fn endpoint(part: &str, text: &str, tls_wanted: bool) -> Result<Endpoint> {
    let (scheme, rest) = scheme(text);
    if !address::is_unix(&scheme) && rest.contains('@') {
        return Err(bad(
            "…@…",
            "a user belongs into the options user and password",
        ));
    }
    let tls_of = |scheme: &str| match scheme {
        "etcd" => Some(tls_wanted),
        "http" => Some(false),
        "https" | "etcds" => Some(true),
        _ => None,
    };
    let address = address::parse(text, tls_of).map_err(|why| bad(part, why))?;
    match address.location {
        Location::Tcp(_, Some(0)) => Err(bad(part, "\"0\" is no port")),
        _ => Ok(Endpoint(address)),
    }
}

fn bad(part: &str, why: impl fmt::Display) -> Error {
    Error::new(
        Code::InvalidArgument,
        format!("bad address of a cluster: {part:?}: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str, tls_wanted: bool) -> String {
        match parse(address, tls_wanted) {
            Ok(endpoints) => endpoints
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => {
                assert_eq!(error.code(), Code::InvalidArgument, "{address}");
                error.message().to_string()
            }
        }
    }

    #[test]
    fn endpoint_has_its_own_scheme_or_the_first_ones() {
        for (address, tls, expected) in [
            ("etcd://a", false, "http://a:2379"),
            ("etcd://a:1,b", false, "http://a:1 http://b:2379"),
            ("etcd://a:1,b", true, "https://a:1 https://b:2379"),
            ("etcds://a", false, "https://a:2379"),
            ("HTTP://a/", false, "http://a:2379"),
            (
                "https://a,http://b:5,c:65535",
                false,
                "https://a:2379 http://b:5 https://c:65535",
            ),
            (
                "etcd://[::1],[fe80::2]:7",
                false,
                "http://[::1]:2379 http://[fe80::2]:7",
            ),
            ("http://127.0.0.1:2379", false, "http://127.0.0.1:2379"),
            ("unix:///run/a,/run/b", false, "unix:///run/a unix:///run/b"),
            (
                "etcd://unix:///run/a,b",
                false,
                "unix:///run/a http://b:2379",
            ),
            ("unix:k.sock", false, "unix://k.sock"),
            ("unix://k.sock", false, "unix://k.sock"),
            ("unix://localhost:1", false, "unix://localhost:1"),
            ("unixs://k.sock", true, "unixs://k.sock"),
            ("etcd://a,unix:k.sock", false, "http://a:2379 unix://k.sock"),
        ] {
            assert_eq!(read(address, tls), expected, "{address}");
        }
    }

    #[test]
    fn bad_address_names_its_part() {
        for (address, part) in [
            ("etcd://", "without a host"),
            ("etcd://a,", "without a host"),
            ("etcd://a,:5", "without a host"),
            ("etcd://a:0", "\"0\" is no port"),
            ("etcd://a:65536", "\"65536\" is no port"),
            ("etcd://a:+5", "\"+5\" is no port"),
            ("etcd://a:", "\"\" is no port"),
            ("etcd://a:b", "\"b\" is no port"),
            ("etcd://a b", "' ' in the host"),
            ("etcd://::1", "needs brackets"),
            ("etcd://[::1", "without its ]"),
            ("etcd://[x]", "\"x\" is no address"),
            ("etcd://[::1]5", "behind the ]"),
            ("http://a/path", "no /path"),
            ("http://a?q", "no ?q"),
            ("http://user:secret@a", "options user and password"),
            ("http://a,ftp://b", "unknown scheme ftp"),
            ("unix:///", "path of the socket is missing"),
            ("etcd://a,unix:", "path of the socket is missing"),
        ] {
            let message = read(address, false);
            assert!(
                message.contains(part) && !message.contains("secret"),
                "{address}: {message}"
            );
        }
        assert!(read("http://a,unix:///b", true).contains("no endpoint of this address has TLS"));
    }
}
