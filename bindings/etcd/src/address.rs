//! The address of one server. Servers and clients read it alike:
//!
//! - `http://host:port`, `https://host:port`; an IPv6 address needs brackets;
//! - `unix:PATH` or `unix://PATH`, a Unix socket; the path is absolute, or relative to the working
//!   directory (`unix:///run/s`, `unix:s`, `unix://localhost:1`, a file named `localhost:1`);
//! - `unixs:PATH` or `unixs://PATH`, the same with TLS.

use std::net::Ipv6Addr;
use std::path::PathBuf;

/// The location of a server, and whether it uses TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub location: Location,
    pub tls: bool,
}

/// A location in the terms of the operating system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A name or an address (of IPv6 without brackets), and a port if one is given.
    Tcp(String, Option<u16>),
    Unix(PathBuf),
}

/// The scheme in lower case, and the text after it. Without a scheme it is empty.
pub(crate) fn scheme(text: &str) -> (String, &str) {
    if let Some((scheme, rest)) = text.split_once(':') {
        let scheme = scheme.to_ascii_lowercase();
        match rest.strip_prefix("//") {
            Some(rest) => return (scheme, rest),
            None if is_unix(&scheme) => return (scheme, rest),
            None => {}
        }
    }
    (String::new(), text)
}

/// Whether a scheme is that of Unix sockets.
pub(crate) fn is_unix(scheme: &str) -> bool {
    scheme == "unix" || scheme == "unixs"
}

/// Reads an address. `tls_of` returns whether a scheme of hosts means TLS; the scheme of an address
/// without one is empty.
///
/// # Errors
///
/// The fault, as a text.
pub(crate) fn parse(text: &str, tls_of: impl Fn(&str) -> Option<bool>) -> Result<Address, String> {
    let (scheme, rest) = scheme(text);
    if is_unix(&scheme) {
        return match rest {
            "" | "/" => Err("the path of the socket is missing".into()),
            path => Ok(Address {
                location: Location::Unix(path.into()),
                tls: scheme == "unixs",
            }),
        };
    }
    let tls = tls_of(&scheme).ok_or_else(|| format!("unknown scheme {scheme}"))?;
    // an address that is copied from elsewhere may end with a slash
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if let Some(tail) = rest.find(['/', '?', '#']) {
        return Err(format!(
            "an address has a host and a port, and no {}",
            &rest[tail..]
        ));
    }
    let (host, port) = split_port(rest)?;
    let port = match port {
        None => None,
        Some(port) => match port.parse::<u16>() {
            Ok(number) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(number),
            _ => return Err(format!("{port:?} is no port")),
        },
    };
    Ok(Address {
        location: Location::Tcp(host, port),
        tls,
    })
}

fn split_port(text: &str) -> Result<(String, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("a [ without its ]")?;
        // an interface may follow after a %
        let is_address = host
            .split('%')
            .next()
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        if !is_address {
            return Err(format!("{host:?} is no address of IPv6"));
        }
        return match port.strip_prefix(':') {
            Some(port) => Ok((host.into(), Some(port))),
            None if port.is_empty() => Ok((host.into(), None)),
            None => Err(format!("{port:?} behind the ]")),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            return Err("an IPv6 address needs brackets".into());
        }
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if host.is_empty() {
        return Err("an address without a host".into());
    }
    if let Some(byte) = host
        .bytes()
        .find(|byte| !(byte.is_ascii_alphanumeric() || b"-._".contains(byte)))
    {
        return Err(format!("{:?} in the host", char::from(byte)));
    }
    Ok((host.into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_socket_has_one_notation() {
        for (text, path, tls) in [
            ("unix:k.sock", "k.sock", false),
            ("unix://k.sock", "k.sock", false),
            ("unix:///abs/k.sock", "/abs/k.sock", false),
            ("unix:/abs/k.sock", "/abs/k.sock", false),
            ("unix://localhost:1", "localhost:1", false),
            ("UNIX:k", "k", false),
            ("unixs://k.sock", "k.sock", true),
            ("unixs:k.sock", "k.sock", true),
        ] {
            let read = parse(text, |_| None);
            assert_eq!(
                read,
                Ok(Address {
                    location: Location::Unix(path.into()),
                    tls
                }),
                "{text}"
            );
        }
        for text in ["unix:", "unix://", "unix:///", "unixs:"] {
            assert_eq!(
                parse(text, |_| None),
                Err("the path of the socket is missing".into()),
                "{text}"
            );
        }
    }

    #[test]
    fn scheme_of_an_address() {
        for (text, expected) in [
            ("http://a:1", ("http", "a:1")),
            ("ETCD://a", ("etcd", "a")),
            ("a:1", ("", "a:1")),
            ("a", ("", "a")),
            ("[::1]:80", ("", "[::1]:80")),
            ("unix:a", ("unix", "a")),
        ] {
            assert_eq!(scheme(text), (expected.0.to_string(), expected.1), "{text}");
        }
    }
}
