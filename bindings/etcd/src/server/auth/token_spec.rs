//! The option `auth_token`: which kind of tokens a server gives to its users.

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use libkv::{Code, Error, Result};

/// The time that a signed token is valid by default.
const JWT_TTL: Duration = Duration::from_secs(300);

/// The parsed option.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenSpec {
    /// Random texts that the server keeps in memory.
    Simple,
    /// No tokens: users have certificates.
    Off,
    Jwt(JwtSpec),
}

/// The options of signed tokens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JwtSpec {
    pub algorithm: Algorithm,
    /// The key that signs: a file in PEM, or with HMAC the secret itself.
    pub private_key: Option<PathBuf>,
    /// The key that verifies.
    pub public_key: Option<PathBuf>,
    pub ttl: Duration,
}

fn invalid(what: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidArgument, format!("auth_token: {what}"))
}

impl TokenSpec {
    /// Parses etcd's form: `simple`, or `jwt,sign-method=RS256,priv-key=F,pub-key=F,ttl=5m`. The
    /// second result names options that are unknown and have no effect.
    pub fn parse(text: &str) -> Result<(TokenSpec, Vec<String>)> {
        let (kind, options) = text.split_once(',').unwrap_or((text, ""));
        match kind {
            "" => Ok((TokenSpec::Off, Vec::new())),
            "simple" => Ok((TokenSpec::Simple, Vec::new())),
            "jwt" => {
                let (spec, unknown) = jwt(options)?;
                Ok((TokenSpec::Jwt(spec), unknown))
            }
            _ => Err(invalid(format_args!(
                "{kind:?} is no kind of tokens: simple or jwt"
            ))),
        }
    }
}

fn jwt(options: &str) -> Result<(JwtSpec, Vec<String>)> {
    let (mut method, mut private_key, mut public_key, mut ttl) = (None, None, None, None);
    let mut unknown = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let Some((name, value)) = option.split_once('=') else {
            return Err(invalid(format_args!("{option:?} is not NAME=VALUE")));
        };
        let place = match name {
            "sign-method" => &mut method,
            "priv-key" => &mut private_key,
            "pub-key" => &mut public_key,
            "ttl" => &mut ttl,
            _ => {
                unknown.push(name.to_string());
                continue;
            }
        };
        if place.replace(value).is_some() {
            return Err(invalid(format_args!("{name} is given twice")));
        }
    }
    let method = method.ok_or_else(|| invalid("jwt needs sign-method=RS256 or another method"))?;
    if private_key.is_none() && public_key.is_none() {
        return Err(invalid("jwt needs priv-key=FILE, pub-key=FILE or both"));
    }
    let spec = JwtSpec {
        algorithm: algorithm(method)?,
        private_key: private_key.map(PathBuf::from),
        public_key: public_key.map(PathBuf::from),
        ttl: match ttl {
            Some(text) => duration(text)
                .ok_or_else(|| invalid(format_args!("ttl={text} is no time, such as 5m or 30s")))?,
            None => JWT_TTL,
        },
    };
    Ok((spec, unknown))
}

fn algorithm(method: &str) -> Result<Algorithm> {
    Ok(match method {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        "HS256" => Algorithm::HS256,
        "HS384" => Algorithm::HS384,
        "HS512" => Algorithm::HS512,
        "ES512" => return Err(invalid("sign-method ES512 is not supported: use ES384")),
        _ => return Err(invalid(format_args!("sign-method={method} is unknown"))),
    })
}

/// A time as Go writes it, `1h30m`, `300s`, `1.5h`. Positive and at least a millisecond.
fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..number_end].parse().ok()?;
        rest = &rest[number_end..];
        let units = [("ms", 1e-3), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
        let (unit, seconds) = units.iter().find(|(unit, _)| rest.starts_with(unit))?;
        total += number * seconds;
        rest = &rest[unit.len()..];
    }
    Duration::try_from_secs_f64(total)
        .ok()
        .filter(|time| time.as_millis() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> std::result::Result<TokenSpec, String> {
        TokenSpec::parse(text)
            .map(|(spec, _)| spec)
            .map_err(|error| error.message().to_string())
    }

    #[test]
    fn option_is_parsed_as_etcd_does() {
        assert_eq!(spec(""), Ok(TokenSpec::Off));
        assert_eq!(spec("simple,x=1"), Ok(TokenSpec::Simple));
        let jwt = JwtSpec {
            algorithm: Algorithm::RS256,
            private_key: Some("a".into()),
            public_key: None,
            ttl: Duration::from_secs(300),
        };
        let given = "jwt,priv-key=a,sign-method=RS256";
        assert_eq!(spec(given), Ok(TokenSpec::Jwt(jwt.clone())));
        let (_, unknown) = TokenSpec::parse(&format!("{given},odd=1")).unwrap();
        assert_eq!(unknown, ["odd"]);
        let Ok(TokenSpec::Jwt(with_ttl)) = spec(&format!("{given},ttl=1h30m")) else {
            panic!("a jwt");
        };
        assert_eq!(with_ttl.ttl, Duration::from_secs(5_400));
        for wrong in [
            "other",
            "jwt",
            "jwt,sign-method=RS256",
            "jwt,priv-key=a",
            "jwt,priv-key=a,sign-method=none",
            "jwt,priv-key=a,sign-method=ES512",
            "jwt,priv-key=a,sign-method=RS256,priv-key=b",
            "jwt,priv-key,sign-method=RS256",
            "jwt,priv-key=a,sign-method=RS256,ttl=",
            "jwt,priv-key=a,sign-method=RS256,ttl=5",
            "jwt,priv-key=a,sign-method=RS256,ttl=0s",
            "jwt,priv-key=a,sign-method=RS256,ttl=-5s",
        ] {
            assert!(spec(wrong).is_err(), "{wrong}");
        }
    }
}
