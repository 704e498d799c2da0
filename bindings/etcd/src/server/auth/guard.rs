//! Verifies callers, and logs users in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use libkv::support::{hash_password, verify_password};
use libkv::{AuthStamp, Db, PASSWORD_BYTES_MAX, Password};
use tokio::sync::Semaphore;
use tonic::Status;

use super::caller::{Caller, PeerName};
use super::caller_rights::{CallerRights, Who, no_user};
use super::jwt::Jwt;
use super::policy::Policy;
use super::rights::Rights;
use super::token_spec::TokenSpec;
use super::tokens::Tokens;
use crate::convert::refusal;
use crate::sync::lock;

/// Passwords that are hashed at a time. Each takes a processor for 50 ms or more.
const HASHING_MAX: usize = 2;

/// The end of a hash for logins of users that do not exist: they take as long as others.
const NO_USER_HASH_END: &str = "N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";

#[cfg(test)]
impl Guard {
    /// A guard with the defaults.
    pub fn for_tests(db: &Db) -> Guard {
        Guard::new(
            db.clone(),
            TokenSpec::Simple,
            Duration::from_secs(300),
            libkv::support::BCRYPT_COST,
        )
        .expect("tokens in memory need no keys")
    }
}

/// Verifies the callers of one server.
pub(crate) struct Guard {
    db: Db,
    tokens: TokenKind,
    bcrypt_cost: u32,
    /// The rights that were read last.
    rights: Mutex<Option<Arc<Rights>>>,
    hashing: Semaphore,
}

enum TokenKind {
    Simple(Tokens),
    Jwt(Box<Jwt>),
    Off,
}

fn bad_token() -> Status {
    Status::unauthenticated("etcdserver: invalid auth token")
}

fn stale() -> Status {
    Status::invalid_argument("etcdserver: revision of auth store is old")
}

fn wrong_password() -> Status {
    Status::invalid_argument("etcdserver: authentication failed, invalid user ID or password")
}

impl Guard {
    /// # Errors
    ///
    /// `invalid_argument` for keys of tokens that cannot be used.
    pub fn new(
        db: Db,
        spec: TokenSpec,
        token_ttl: Duration,
        bcrypt_cost: u32,
    ) -> libkv::Result<Guard> {
        let tokens = match spec {
            TokenSpec::Simple => TokenKind::Simple(Tokens::new(token_ttl)),
            TokenSpec::Jwt(spec) => TokenKind::Jwt(Box::new(Jwt::new(spec)?)),
            TokenSpec::Off => TokenKind::Off,
        };
        Ok(Guard {
            db,
            tokens,
            bcrypt_cost,
            rights: Mutex::new(None),
            hashing: Semaphore::new(HASHING_MAX),
        })
    }

    fn stamp(&self) -> Result<AuthStamp, Status> {
        self.db.engine().auth_stamp().map_err(refusal)
    }

    /// The rights of this state, or of a newer one.
    fn all_rights(&self, stamp: AuthStamp) -> Result<Arc<Rights>, Status> {
        if let Some(rights) = lock(&self.rights).as_ref()
            && rights.stamp == stamp
        {
            return Ok(rights.clone());
        }
        let data = self.db.engine().auth_data().map_err(refusal)?;
        let rights = Arc::new(Rights::new(data));
        *lock(&self.rights) = Some(rights.clone());
        Ok(rights)
    }

    /// Verifies a caller. While authentication is off every call is permitted, whatever the
    /// token.
    pub fn rights(&self, caller: &Caller) -> Result<CallerRights, Status> {
        let stamp = self.stamp()?;
        if !stamp.enabled {
            return Ok(CallerRights {
                stamp,
                who: Who::Unrestricted,
            });
        }
        let rights = self.all_rights(stamp)?;
        let name = match caller {
            Caller::Anonymous => None,
            Caller::Token(token) => Some(self.user_of(token, &rights)?),
            Caller::Certificate(PeerName(name)) => name.clone(),
        };
        Ok(CallerRights {
            stamp: rights.stamp,
            who: match name {
                Some(name) => Who::User { name, rights },
                None => Who::Anonymous {
                    has_certificate: matches!(caller, Caller::Certificate(_)),
                },
            },
        })
    }

    /// Refuses a caller that a policy refuses, whatever the request.
    pub fn permit(&self, caller: &Caller, policy: Policy) -> Result<(), Status> {
        match policy {
            Policy::Free | Policy::ByRequest => Ok(()),
            Policy::AnyUser => self.rights(caller)?.any_user(),
            Policy::Root => self.rights(caller)?.root(),
        }
    }

    fn user_of(&self, token: &str, rights: &Rights) -> Result<Arc<str>, Status> {
        match &self.tokens {
            TokenKind::Simple(tokens) => tokens.user(token, rights).ok_or_else(bad_token),
            TokenKind::Jwt(jwt) => match jwt.verify(token) {
                None => Err(bad_token()),
                Some((_, 0)) => Err(no_user()),
                Some((_, revision)) if revision != rights.stamp.revision => Err(stale()),
                Some((name, _)) => Ok(name.into()),
            },
            TokenKind::Off => Err(bad_token()),
        }
    }

    /// Whether rights have changed since then.
    pub fn has_changed(&self, rights: &CallerRights) -> Result<bool, Status> {
        Ok(self.stamp()? != rights.stamp())
    }

    /// Ends all tokens in memory: authentication was turned off.
    pub fn end_tokens(&self) {
        if let TokenKind::Simple(tokens) = &self.tokens {
            tokens.clear();
        }
    }

    /// Returns a token for a user and password. `number` is the store's revision.
    pub async fn log_in(&self, name: &str, password: &str, number: i64) -> Result<String, Status> {
        let stamp = self.stamp()?;
        if !stamp.enabled {
            return Err(Status::failed_precondition(
                "etcdserver: authentication is not enabled",
            ));
        }
        let rights = self.all_rights(stamp)?;
        let user = rights.user(name);
        if user.is_some_and(|user| user.no_password) {
            return Err(Status::unknown(
                "auth: authentication failed, password was given for no password user",
            ));
        }
        let no_user_hash = format!("$2a${:02}${NO_USER_HASH_END}", self.bcrypt_cost);
        let hash = user.map_or(no_user_hash.as_str(), |user| user.hash.as_str());
        let is_right = self.verify(password, hash).await?;
        if user.is_none() || !is_right {
            return Err(wrong_password());
        }
        match &self.tokens {
            TokenKind::Simple(tokens) => tokens.issue(name, hash, number).map_err(|error| {
                Status::internal(format!("etcdserver: no random numbers: {error}"))
            }),
            TokenKind::Jwt(jwt) => match jwt.sign(name, rights.stamp.revision) {
                Some(Ok(token)) => Ok(token),
                Some(Err(error)) => Err(Status::internal(format!(
                    "etcdserver: the token could not be signed: {error}"
                ))),
                None => Err(Status::unknown(
                    "auth: token signing attempted with verify-only key",
                )),
            },
            TokenKind::Off => Err(bad_token()),
        }
    }

    async fn verify(&self, password: &str, hash: &str) -> Result<bool, Status> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let (password, hash) = (password.to_string(), hash.to_string());
        self.hash_on_thread(move || verify_password(&password, &hash))
            .await
    }

    /// The hash of a new password. A password that is too long is returned as it is: the store
    /// refuses it.
    pub async fn hash(&self, password: String) -> Result<Password, Status> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(Password::Plain(password));
        }
        let cost = self.bcrypt_cost;
        let hash = self
            .hash_on_thread(move || hash_password(&password, cost))
            .await?;
        Ok(Password::Hash(hash.map_err(refusal)?))
    }

    async fn hash_on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let _permit = self.hashing.acquire().await;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Status::internal(format!("etcdserver: hashing failed: {error}")))
    }
}
