//! Who a call comes from: its token, or the certificate of its connection.

use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderValue};

/// Metadata of calls that come through the gateway of a real etcd: the certificate of such a
/// connection is the gateway's, not the caller's.
const GATEWAY: &str = "grpcgateway-accept";

/// The common name of the verified certificate of a connection's client; `None` if the certificate
/// has none. An extension of the requests of such a connection.
#[derive(Clone, Debug)]
pub(crate) struct PeerName(pub Option<Arc<str>>);

/// What a call says about its user. Nothing of it is verified yet, except the certificate.
#[derive(Clone, Debug, Default)]
pub(crate) enum Caller {
    /// Neither a token nor a certificate.
    #[default]
    Nobody,
    Token(Arc<str>),
    Certificate(PeerName),
}

impl Caller {
    /// The token of the metadata, else the certificate of the connection.
    pub fn new(headers: &HeaderMap, extensions: &Extensions) -> Caller {
        if let Some(token) = headers
            .get("token")
            .or_else(|| headers.get("authorization"))
        {
            return Caller::Token(token_text(token).into());
        }
        match extensions.get::<PeerName>() {
            Some(name) if !headers.contains_key(GATEWAY) => Caller::Certificate(name.clone()),
            _ => Caller::Nobody,
        }
    }
}

/// The token without the word before it. A text that no token has is invalid later.
fn token_text(value: &HeaderValue) -> &str {
    let text = value.to_str().unwrap_or_default();
    text.strip_prefix("Bearer ").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(headers: &[(&'static str, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        match Caller::new(&map, &Extensions::new()) {
            Caller::Token(token) => Some(token.to_string()),
            _ => None,
        }
    }

    #[test]
    fn token_is_the_first_value_of_the_first_header() {
        let both = [("authorization", "b"), ("token", "a"), ("token", "c")];
        assert_eq!(token(&both).as_deref(), Some("a"));
        assert_eq!(
            token(&[("authorization", "Bearer b")]).as_deref(),
            Some("b")
        );
        assert_eq!(token(&[("token", "bearer b")]).as_deref(), Some("bearer b"));
        assert_eq!(token(&[("token", "")]).as_deref(), Some(""));
        assert_eq!(token(&[]), None);
    }

    #[test]
    fn certificate_counts_only_without_token_and_gateway() {
        let mut extensions = Extensions::new();
        extensions.insert(PeerName(Some("cn".into())));
        let mut headers = HeaderMap::new();
        let is_certificate = |headers: &HeaderMap| {
            matches!(Caller::new(headers, &extensions), Caller::Certificate(_))
        };
        assert!(is_certificate(&headers));
        headers.insert(GATEWAY, HeaderValue::from_static("x"));
        assert!(!is_certificate(&headers));
        headers.clear();
        headers.insert("token", HeaderValue::from_static("x"));
        assert!(!is_certificate(&headers));
    }
}
