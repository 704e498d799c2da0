//! Signed tokens: a server that has the key verifies them without memory, also after a restart.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use libkv::{Code, Error, Result};
use serde::{Deserialize, Serialize};

use super::token_spec::JwtSpec;

/// Longer tokens are refused before they are parsed.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// The keys of signed tokens.
pub(super) struct Jwt {
    spec: JwtSpec,
    /// `None`: tokens are only verified.
    signs: Option<EncodingKey>,
    verifies: DecodingKey,
}

/// The content of a token. A claim of another type makes the token invalid.
#[derive(Serialize, Deserialize)]
struct Claims {
    username: String,
    /// The revision of users and roles when it was signed.
    revision: u64,
    /// The second since 1970 from which on it is invalid.
    exp: Option<f64>,
    /// The second since 1970 before which it is invalid.
    #[serde(skip_serializing)]
    nbf: Option<f64>,
}

impl Jwt {
    /// Reads the keys, and checks that they belong together.
    ///
    /// # Errors
    ///
    /// `invalid_argument`, naming the file.
    pub fn new(spec: JwtSpec) -> Result<Jwt> {
        let signs = spec
            .private_key
            .as_deref()
            .map(|path| signing_key(path, spec.algorithm))
            .transpose()?;
        let verifies = match (&spec.public_key, &spec.private_key) {
            (_, Some(private)) if is_hmac(spec.algorithm) => {
                DecodingKey::from_secret(&read(private)?)
            }
            (Some(public), _) => verifying_key(public, spec.algorithm)?,
            (None, _) => {
                let message = "auth_token: jwt needs pub-key=FILE to verify tokens";
                return Err(Error::new(Code::InvalidArgument, message));
            }
        };
        let jwt = Jwt {
            spec,
            signs,
            verifies,
        };
        if let Some(Ok(token)) = jwt.sign("check", 1)
            && jwt.verify(&token).is_none()
        {
            let message = "auth_token: priv-key and pub-key do not belong together";
            return Err(Error::new(Code::InvalidArgument, message));
        }
        Ok(jwt)
    }

    /// A token for a user; `None` without a key that signs.
    pub fn sign(&self, user: &str, revision: u64) -> Option<jsonwebtoken::errors::Result<String>> {
        let claims = Claims {
            username: user.into(),
            revision,
            exp: Some((now() + self.spec.ttl.as_secs_f64()).floor()),
            nbf: None,
        };
        let key = self.signs.as_ref()?;
        Some(jsonwebtoken::encode(
            &Header::new(self.spec.algorithm),
            &claims,
            key,
        ))
    }

    /// The user of a valid token, and the revision of users and roles when it was signed.
    pub fn verify(&self, token: &str) -> Option<(String, u64)> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        // the library ignores times of a wrong type, so the claims are checked here
        let mut validation = Validation::new(self.spec.algorithm);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Claims>(token, &self.verifies, &validation)
            .ok()?
            .claims;
        let now = now();
        let is_over = claims.exp.is_some_and(|exp| exp <= now);
        let is_ahead = claims.nbf.is_some_and(|nbf| nbf > now);
        (!is_over && !is_ahead).then_some((claims.username, claims.revision))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

fn is_hmac(algorithm: Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512
    )
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        Error::new(
            Code::InvalidArgument,
            format!("auth_token: {}: {error}", path.display()),
        )
    })
}

fn wrong_key(path: &Path, algorithm: Algorithm, error: &jsonwebtoken::errors::Error) -> Error {
    Error::new(
        Code::InvalidArgument,
        format!(
            "auth_token: {} has no key for {algorithm:?}: {error}",
            path.display()
        ),
    )
}

fn signing_key(path: &Path, algorithm: Algorithm) -> Result<EncodingKey> {
    use Algorithm::*;
    let pem = read(path)?;
    let key = match algorithm {
        HS256 | HS384 | HS512 => Ok(EncodingKey::from_secret(&pem)),
        ES256 | ES384 => EncodingKey::from_ec_pem(&pem),
        EdDSA => EncodingKey::from_ed_pem(&pem),
        RS256 | RS384 | RS512 | PS256 | PS384 | PS512 => EncodingKey::from_rsa_pem(&pem),
    };
    key.map_err(|error| wrong_key(path, algorithm, &error))
}

fn verifying_key(path: &Path, algorithm: Algorithm) -> Result<DecodingKey> {
    use Algorithm::*;
    let pem = read(path)?;
    let key = match algorithm {
        HS256 | HS384 | HS512 => Ok(DecodingKey::from_secret(&pem)),
        ES256 | ES384 => DecodingKey::from_ec_pem(&pem),
        EdDSA => DecodingKey::from_ed_pem(&pem),
        RS256 | RS384 | RS512 | PS256 | PS384 | PS512 => DecodingKey::from_rsa_pem(&pem),
    };
    key.map_err(|error| wrong_key(path, algorithm, &error))
}
