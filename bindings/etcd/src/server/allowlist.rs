//! The allowed origins (CORS) and hosts of requests that are not gRPC.
//!
//! A browser sends simple requests to any address, even for a page that must not read the response.
//! So a request with another origin is refused before it is executed, unless its origin is allowed.

use http::{HeaderValue, Request, header};
use libkv::{Code, Error, Result};

use super::options::Serve;
use super::port::Port;

/// Allowed origins and hosts.
#[derive(Debug, Default)]
pub(crate) struct Allowlist {
    /// `*` allows all.
    cors: Vec<String>,
    /// `*` or an empty list allows all.
    hosts: Vec<String>,
}

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum AllowlistError {
    Host(String),
    Origin(String),
}

impl Allowlist {
    /// # Errors
    ///
    /// `invalid_argument`, naming the text that is not an origin.
    pub fn new(options: &Serve) -> Result<Allowlist> {
        if let Some(bad) = options
            .cors
            .iter()
            .find(|origin| *origin != "*" && !origin.contains("://"))
        {
            let message = format!("cors: {bad:?} is no origin: https://example.com, or * for all");
            return Err(Error::new(Code::InvalidArgument, message));
        }
        Ok(Allowlist {
            cors: options.cors.clone(),
            hosts: options.host_whitelist.clone(),
        })
    }

    /// Checks a request. Returns the origin for the CORS headers of the response, if it needs any.
    pub fn check<B>(
        &self,
        request: &Request<B>,
        port: Port,
    ) -> std::result::Result<Option<HeaderValue>, AllowlistError> {
        let header = |name| {
            request
                .headers()
                .get(name)
                .map(|value: &HeaderValue| value.to_str().unwrap_or("?"))
        };
        let host = request
            .uri()
            .authority()
            .map(|authority| authority.as_str())
            .or(header(header::HOST));
        let host = host.unwrap_or_default();
        if !port.encrypted && !self.allows_host(host) {
            let host = without_port(host);
            return Err(AllowlistError::Host(format!(
                "the host {host:?} is not in the list of hosts (--host-whitelist) of plain HTTP \
                 requests, which protects against DNS rebinding; add it to the list, or use TLS"
            )));
        }
        if self.cors.iter().any(|allowed| allowed == "*") {
            return Ok(Some(HeaderValue::from_static("*")));
        }
        let Some(origin) = header(header::ORIGIN) else {
            return Ok(None);
        };
        if self
            .cors
            .iter()
            .any(|allowed| normal(allowed).eq_ignore_ascii_case(normal(origin)))
        {
            return Ok(request.headers().get(header::ORIGIN).cloned());
        }
        match origin.split_once("://") {
            Some((_, own)) if own.eq_ignore_ascii_case(host) => Ok(None),
            _ => Err(AllowlistError::Origin(format!(
                "the origin {origin:?} is not allowed: see --cors"
            ))),
        }
    }

    fn allows_host(&self, host: &str) -> bool {
        let is =
            |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(without_port(host));
        self.hosts.is_empty() || self.hosts.iter().any(is)
    }
}

/// The name or address in an authority.
fn without_port(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    match name.strip_prefix('[') {
        Some(address) => address.trim_end_matches(']'),
        None => name,
    }
}

/// An origin as browsers write it: without the default port of its scheme. etcd's option requires
/// the port.
fn normal(origin: &str) -> &str {
    let origin = origin.trim_end_matches('/');
    let port = if origin.starts_with("https://") {
        ":443"
    } else {
        ":80"
    };
    origin.strip_suffix(port).unwrap_or(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Port = Port {
        encrypted: false,
        pages_only: false,
    };

    /// The allowed origin, or the check that refused the request.
    fn check(
        options: Serve,
        port: Port,
        host: &str,
        origin: &str,
    ) -> std::result::Result<Option<String>, String> {
        let mut request = Request::get("/").header("host", host);
        if !origin.is_empty() {
            request = request.header("origin", origin);
        }
        let request = request.body(()).expect("a request");
        let allowed = Allowlist::new(&options)
            .expect("they are origins")
            .check(&request, port);
        match allowed {
            Ok(origin) => Ok(origin.map(|origin| origin.to_str().expect("text").into())),
            Err(AllowlistError::Host(_)) => Err("host".into()),
            Err(AllowlistError::Origin(_)) => Err("origin".into()),
        }
    }

    #[test]
    fn origins_allowed_are_the_servers_own_and_the_configured_ones() {
        let none = || Serve::new("127.0.0.1:0");
        let all = || none().cors(["*"]);
        let some = || none().cors(["https://page/", "http://other:80"]);
        let allowed = |origin: &str| Ok(Some(origin.to_string()));
        for (options, origin, should) in [
            (none(), "", Ok(None)),
            (none(), "http://kv:2379", Ok(None)),
            (none(), "http://kv", Err("origin".to_string())),
            (none(), "http://page", Err("origin".to_string())),
            (none(), "null", Err("origin".to_string())),
            (all(), "", allowed("*")),
            (all(), "http://page", allowed("*")),
            (some(), "", Ok(None)),
            (some(), "https://page", allowed("https://page")),
            (some(), "https://page:443", allowed("https://page:443")),
            (some(), "http://other", allowed("http://other")),
            (some(), "http://page", Err("origin".to_string())),
            (some(), "https://page.example", Err("origin".to_string())),
        ] {
            assert_eq!(
                check(options.clone(), PLAIN, "kv:2379", origin),
                should,
                "{:?} {origin}",
                options.cors
            );
        }
    }

    #[test]
    fn hosts_are_checked_without_tls() {
        let options = || Serve::new("127.0.0.1:0").host_whitelist(["kv", "::1"]);
        for host in ["kv", "KV:2379", "[::1]:2379", "[::1]"] {
            assert_eq!(check(options(), PLAIN, host, ""), Ok(None), "{host}");
        }
        for host in ["", "evil", "evil:2379", "kv.evil", "127.0.0.1:2379"] {
            assert_eq!(
                check(options(), PLAIN, host, ""),
                Err("host".into()),
                "{host}"
            );
            assert_eq!(
                check(
                    options(),
                    Port {
                        encrypted: true,
                        ..PLAIN
                    },
                    host,
                    ""
                ),
                Ok(None),
                "{host}"
            );
            assert_eq!(
                check(options().host_whitelist(["*"]), PLAIN, host, ""),
                Ok(None),
                "{host}"
            );
        }
    }

    #[test]
    fn origins_that_are_invalid_are_refused() {
        let error = Allowlist::new(&Serve::new("127.0.0.1:0").cors(["example.com"]))
            .expect_err("it is no origin");
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(
            error.message().contains("example.com"),
            "{}",
            error.message()
        );
    }
}
