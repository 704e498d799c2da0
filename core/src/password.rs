//! Hashes of passwords, by bcrypt.

use crate::error::{Code, Error, Result};

/// The cost of a new hash, as etcd's. Each step doubles the time; 10 needs about 50 ms.
pub const BCRYPT_COST: u32 = 10;

/// The costs that bcrypt has.
pub const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// Hashes a password, in the form `$2a$10$…`. Slow by design: not for a thread that must not block.
///
/// # Errors
///
/// `internal` if the system has no random numbers.
pub fn hash_password(password: &str, cost: u32) -> Result<String> {
    let hashed = bcrypt::hash_with_result(password, cost).map_err(|error| {
        Error::new(
            Code::Internal,
            format!("hashing a password failed: {error}"),
        )
    })?;
    Ok(hashed.format_for_version(bcrypt::Version::TwoA))
}

/// Whether the password has this hash. Slow by design, as [`hash_password`]. False for a text that
/// is not a hash.
pub fn verify_password(password: &str, hash: &str) -> bool {
    bcrypt::verify(password, hash).unwrap_or(false)
}

/// Whether the text is a hash of bcrypt.
pub(crate) fn is_hash(text: &str) -> bool {
    let kinds = ["$2a$", "$2b$", "$2y$"];
    let Some(rest) = kinds.iter().find_map(|kind| text.strip_prefix(kind)) else {
        return false;
    };
    let Some((cost, data)) = rest.split_once('$') else {
        return false;
    };
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    let is_cost = cost.len() == 2 && cost.parse().is_ok_and(|cost| BCRYPT_COSTS.contains(&cost));
    is_cost && data.len() == 53 && data.bytes().all(is_base64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_of_a_hash_is_accepted() {
        let hash = hash_password("secret", 4).unwrap();
        assert!(hash.starts_with("$2a$04$") && is_hash(&hash), "{hash}");
        assert!(verify_password("secret", &hash));
        assert!(!verify_password("Secret", &hash) && !verify_password("secret", ""));
        assert!(verify_password("", &hash_password("", 4).unwrap()));
    }

    #[test]
    fn a_hash_has_version_cost_and_53_characters() {
        let data = "a".repeat(53);
        assert!(is_hash(&format!("$2y$31${data}")));
        for text in [
            String::new(),
            "secret".into(),
            format!("$2x$10${data}"),
            format!("$2a$03${data}"),
            format!("$2a$4${data}"),
            format!("$2a$10${data}a"),
            format!("$2a$10${}!", &data[1..]),
        ] {
            assert!(!is_hash(&text), "{text}");
        }
    }
}
