//! What a cluster's address says: which endpoints there are, and which of them speak TLS.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use libkv::{Code, Error, Result};

/// etcd's port for clients.
const PORT: u16 = 2379;

/// Where a member of a cluster listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub place: Place,
    pub tls: bool,
}

/// As the operating system knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A name or an address (of IPv6 without brackets), and a port.
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Endpoint {
    /// Whether it is reached over a network without TLS.
    pub fn is_plain(&self) -> bool {
        !self.tls && matches!(self.place, Place::Tcp(..))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match &self.place {
            Place::Tcp(host, port) if host.contains(':') => write!(f, "{scheme}://[{host}]:{port}"),
            Place::Tcp(host, port) => write!(f, "{scheme}://{host}:{port}"),
            Place::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Reads an address: `etcd://h1:2379,h2`, `http://…`, `https://a,b`, `unix:///path`. Each endpoint may have a
/// scheme of its own, and has the first one's else. With `etcd` it is TLS if `tls_wanted`.
///
/// # Errors
///
/// `invalid_argument`, naming the part that is wrong.
pub(crate) fn parse(address: &str, tls_wanted: bool) -> Result<Vec<Endpoint>> {
    let (first, rest) = address.split_once("://").ok_or_else(|| bad(address, "it has no scheme"))?;
    // `etcd://unix:///path` is an endpoint with a scheme of its own
    let endpoints: Vec<Endpoint> = rest
        .split(',')
        .map(|part| match part.split_once("://") {
            Some((scheme, rest)) => endpoint(part, scheme, rest, tls_wanted),
            None => endpoint(part, first, part, tls_wanted),
        })
        .collect::<Result<_>>()?;
    if tls_wanted && !endpoints.iter().any(|endpoint| endpoint.tls) {
        let message = format!("{address}: options of TLS are given, but no endpoint of this address has TLS");
        return Err(Error::new(Code::InvalidArgument, message));
    }
    Ok(endpoints)
}

fn endpoint(part: &str, scheme: &str, rest: &str, tls_wanted: bool) -> Result<Endpoint> {
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "etcd" => tls_wanted,
        "http" => false,
        "https" | "etcds" => true,
        "unix" if rest.len() > 1 && rest.starts_with('/') => {
            return Ok(Endpoint { place: Place::Unix(rest.into()), tls: false });
        }
        "unix" => return Err(bad(part, "the path of a Unix socket must begin with a /")),
        other => return Err(bad(part, format_args!("unknown scheme {other}"))),
    };
    // whoever copies an address from elsewhere has a slash behind it
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return Err(bad("…@…", "a user belongs into the options user and password"));
    }
    if let Some(tail) = rest.find(['/', '?', '#']) {
        return Err(bad(part, format_args!("an endpoint has a host and a port, and no {}", &rest[tail..])));
    }
    let (host, port) = split_port(part, rest)?;
    let port = match port {
        None => PORT,
        Some(port) => match port.parse::<u16>() {
            Ok(number @ 1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => number,
            _ => return Err(bad(part, format_args!("{port:?} is no port"))),
        },
    };
    Ok(Endpoint { place: Place::Tcp(host, port), tls })
}

fn split_port<'a>(part: &str, rest: &'a str) -> Result<(String, Option<&'a str>)> {
    if let Some(rest) = rest.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(|| bad(part, "a [ without its ]"))?;
        host.parse::<Ipv6Addr>().map_err(|_| bad(part, format_args!("{host:?} is no address of IPv6")))?;
        return match port.strip_prefix(':') {
            Some(port) => Ok((host.into(), Some(port))),
            None if port.is_empty() => Ok((host.into(), None)),
            None => Err(bad(part, format_args!("{port:?} behind the ]"))),
        };
    }
    let (host, port) = match rest.split_once(':') {
        Some((_, port)) if port.contains(':') => return Err(bad(part, "an address of IPv6 stands in brackets")),
        Some((host, port)) => (host, Some(port)),
        None => (rest, None),
    };
    if host.is_empty() {
        return Err(bad(part, "an endpoint without a host"));
    }
    if let Some(byte) = host.bytes().find(|byte| !(byte.is_ascii_alphanumeric() || b"-._".contains(byte))) {
        return Err(bad(part, format_args!("{:?} in the host", char::from(byte))));
    }
    Ok((host.into(), port))
}

fn bad(part: &str, why: impl fmt::Display) -> Error {
    Error::new(Code::InvalidArgument, format!("bad address of a cluster: {part:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str, tls_wanted: bool) -> String {
        match parse(address, tls_wanted) {
            Ok(endpoints) => endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => {
                assert_eq!(error.code(), Code::InvalidArgument, "{address}");
                error.message().to_string()
            }
        }
    }

    #[test]
    fn endpoints_have_the_first_ones_scheme_or_their_own() {
        for (address, tls, expected) in [
            ("etcd://a", false, "http://a:2379"),
            ("etcd://a:1,b", false, "http://a:1 http://b:2379"),
            ("etcd://a:1,b", true, "https://a:1 https://b:2379"),
            ("etcds://a", false, "https://a:2379"),
            ("HTTP://a/", false, "http://a:2379"),
            ("https://a,http://b:5,c:65535", false, "https://a:2379 http://b:5 https://c:65535"),
            ("etcd://[::1],[fe80::2]:7", false, "http://[::1]:2379 http://[fe80::2]:7"),
            ("http://127.0.0.1:2379", false, "http://127.0.0.1:2379"),
            ("unix:///run/a,/run/b", false, "unix:///run/a unix:///run/b"),
            ("etcd://unix:///run/a,b", false, "unix:///run/a http://b:2379"),
        ] {
            assert_eq!(read(address, tls), expected, "{address}");
        }
    }

    #[test]
    fn a_bad_address_names_its_part() {
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
            ("etcd://::1", "in brackets"),
            ("etcd://[::1", "without its ]"),
            ("etcd://[x]", "\"x\" is no address"),
            ("etcd://[::1]5", "behind the ]"),
            ("http://a/path", "no /path"),
            ("http://a?q", "no ?q"),
            ("http://user:secret@a", "options user and password"),
            ("http://a,ftp://b", "unknown scheme ftp"),
            ("unix://relative", "begin with a /"),
        ] {
            let message = read(address, false);
            assert!(message.contains(part) && !message.contains("secret"), "{address}: {message}");
        }
        assert!(read("http://a,unix:///b", true).contains("no endpoint of this address has TLS"));
    }
}
