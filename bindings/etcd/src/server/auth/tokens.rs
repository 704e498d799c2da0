//! Tokens in the server's memory: a random text for each login.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::rights::Rights;
use crate::sync::lock;

const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LETTERS_IN_TOKEN: usize = 16;
/// Expired tokens are removed when this many were added since the last time.
const ADDED_BEFORE_REMOVAL: usize = 256;

/// The tokens of one server.
pub(super) struct Tokens {
    /// How long a token is valid after its last use.
    ttl: Duration,
    issued: Mutex<Issued>,
}

#[derive(Default)]
struct Issued {
    tokens: HashMap<Arc<str>, Issue>,
    added: usize,
}

/// A login.
struct Issue {
    user: Arc<str>,
    /// Of the password at the login. The token ends with that password, and with the user: a user
    /// of the same name that is created later has another hash.
    hash: Arc<str>,
    expires: Instant,
}

impl Tokens {
    pub fn new(ttl: Duration) -> Tokens {
        Tokens {
            ttl,
            issued: Mutex::default(),
        }
    }

    /// A token for a user whose password, with this hash, was verified. It ends in a number, as
    /// etcd's tokens do.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers.
    pub fn issue(&self, user: &str, hash: &str, number: i64) -> Result<String, getrandom::Error> {
        let mut random = [0; 8 * LETTERS_IN_TOKEN];
        getrandom::fill(&mut random)?;
        // 64 bits for each letter: the remainder is even enough
        let letters = random.chunks_exact(8).map(|bytes| {
            let number = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
            char::from(LETTERS[(number % LETTERS.len() as u64) as usize])
        });
        let token = format!("{}.{number}", letters.collect::<String>());
        let mut issued = lock(&self.issued);
        let now = Instant::now();
        issued.added += 1;
        if issued.added == ADDED_BEFORE_REMOVAL {
            issued.added = 0;
            issued.tokens.retain(|_, issue| issue.expires > now);
        }
        let issue = Issue {
            user: user.into(),
            hash: hash.into(),
            expires: now + self.ttl,
        };
        issued.tokens.insert(token.as_str().into(), issue);
        Ok(token)
    }

    /// The user of a valid token, whose time begins again.
    pub fn user(&self, token: &str, rights: &Rights) -> Option<Arc<str>> {
        let mut issued = lock(&self.issued);
        let issue = issued.tokens.get_mut(token)?;
        let now = Instant::now();
        let is_current = |issue: &Issue| {
            issue.expires > now
                && rights
                    .user(&issue.user)
                    .is_some_and(|user| user.hash == *issue.hash)
        };
        if !is_current(issue) {
            issued.tokens.remove(token);
            return None;
        }
        issue.expires = now + self.ttl;
        Some(issue.user.clone())
    }

    /// Ends all tokens.
    pub fn clear(&self) {
        lock(&self.issued).tokens.clear();
    }
}
