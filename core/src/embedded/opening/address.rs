//! The address of a store: a path, or a `file:` URL.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Result};

/// The path of an address. Paths are bytes and need not be text.
pub(super) fn local_path(target: &Path) -> Result<PathBuf> {
    let invalid = |message: String| Err(Error::new(Code::InvalidArgument, message));
    let (bytes, shown) = (target.as_os_str().as_bytes(), target.display());
    if bytes.is_empty() {
        return invalid("the path of the store is empty".into());
    }
    if bytes.contains(&0) {
        return invalid(format!("the path {target:?} has a zero byte"));
    }
    match scheme(bytes) {
        Some("etcd" | "etcds" | "http" | "https" | "unix") => {
            let message = format!("{shown} is a cluster's address, which this build cannot open");
            return Err(Error::new(Code::Unsupported, message));
        }
        Some(other) if other != "file" => {
            return invalid(format!(
                "{shown}: {other}:// is not the address of a store or a cluster \
                 (for a directory with this name write ./{shown})"
            ));
        }
        _ => {}
    }
    let Some(rest) = bytes.strip_prefix(b"file:") else {
        return Ok(target.to_owned());
    };
    let path = match rest.strip_prefix(b"//") {
        Some(rest) if rest.starts_with(b"/") => rest,
        Some(rest) if rest.starts_with(b"localhost/") => &rest[b"localhost".len()..],
        Some(_) => {
            return invalid(format!(
                "{shown} names another host: write file:/path or file:///path"
            ));
        }
        None => rest,
    };
    percent_decoded(path).map_or_else(|| invalid(format!("{shown} is not a valid file: URL")), Ok)
}

/// The part before `://`, if it can be a scheme. `unix:` needs no slashes.
fn scheme(target: &[u8]) -> Option<&str> {
    if target.starts_with(b"unix:") || target.starts_with(b"unixs:") {
        return Some("unix");
    }
    let end = target.windows(3).position(|window| window == b"://")?;
    let scheme = str::from_utf8(&target[..end]).ok()?;
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(part))
        .then_some(scheme)
}

/// Decodes %XX. None if a code is incomplete or zero, or if nothing is left.
fn percent_decoded(text: &[u8]) -> Option<PathBuf> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::new();
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high << 4 | low)
                    .ok()
                    .filter(|byte| *byte != 0)?
            }
            byte => byte,
        });
    }
    (!bytes.is_empty()).then(|| PathBuf::from(OsString::from_vec(bytes)))
}
