//! The arguments for keys and revisions, which commands share.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use libkv::{Db, KeyRange};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::duration::parse_go_duration_ms;
use crate::failure::Result;
use crate::notation::Notation;

/// One key, or a range of them.
#[derive(clap::Args, Clone, Debug)]
pub struct Selection {
    /// The key, or the first one of a range
    pub key: OsString,
    /// The first key after the range
    pub range_end: Option<OsString>,
    /// All keys that begin with KEY
    #[arg(long, conflicts_with = "range_end")]
    pub prefix: bool,
    /// All keys from KEY on
    #[arg(long, conflicts_with_all = ["range_end", "prefix"])]
    pub from_key: bool,
}

/// Like [`Selection`]; without a key it selects all keys.
#[derive(clap::Args, Clone, Debug)]
pub struct Scope {
    /// The key, or the first one of a range; without it, all keys
    key: Option<OsString>,
    /// The first key after the range
    range_end: Option<OsString>,
    /// All keys that begin with KEY
    #[arg(long, conflicts_with = "range_end")]
    prefix: bool,
    /// All keys from KEY on
    #[arg(long, conflicts_with_all = ["range_end", "prefix"])]
    from_key: bool,
}

impl Selection {
    /// The range in etcd's notation.
    pub fn range(&self, notation: Notation) -> Result<KeyRange> {
        let key = notation.parse(&self.key)?;
        if self.prefix {
            return Ok(KeyRange::prefix(key));
        }
        if self.from_key {
            return Ok(KeyRange::from_key(key));
        }
        let range_end = self
            .range_end
            .as_ref()
            .map(|end| notation.parse(end))
            .transpose()?
            .unwrap_or_default();
        // the empty key is invalid; as the start of a range it means the first key
        let key = if key.is_empty() && !range_end.is_empty() {
            vec![0]
        } else {
            key
        };
        Ok(KeyRange { key, range_end })
    }
}

impl Scope {
    /// The range in etcd's notation.
    pub fn range(&self, notation: Notation) -> Result<KeyRange> {
        let Scope {
            ref key,
            ref range_end,
            prefix,
            from_key,
        } = *self;
        match key {
            None => Ok(KeyRange::all()),
            Some(key) => Selection {
                key: key.clone(),
                range_end: range_end.clone(),
                prefix,
                from_key,
            }
            .range(notation),
        }
    }
}

/// A point in the history of a store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// By its number.
    Revision(i64),
    /// By the time.
    Time(SystemTime),
}

impl At {
    /// The revision.
    pub fn revision(self, db: &Db) -> Result<i64> {
        match self {
            At::Revision(revision) => Ok(revision),
            At::Time(time) => Ok(db.revision_at(time)?),
        }
    }
}

/// Reads a revision, a time, or an age.
pub fn parse_at(text: &str) -> std::result::Result<At, String> {
    if let Ok(revision) = text.parse::<i64>() {
        return match revision {
            0.. => Ok(At::Revision(revision)),
            _ => Err("a revision is at least 1 (0 is now)".into()),
        };
    }
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(At::Time(time.into()));
    }
    match parse_go_duration_ms(text) {
        Ok(ms) => {
            let then = SystemTime::now().checked_sub(Duration::from_millis(ms));
            then.map(At::Time)
                .ok_or_else(|| "the time is before 1970-01-01".into())
        }
        Err(_) => {
            Err("expected a revision (17), a time (2026-01-31T12:00:00Z), or an age (10m)".into())
        }
    }
}

/// `--at`.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct AtOption {
    /// Read the past: a revision (17), a time (2026-01-31T12:00:00Z), or an age (10m)
    #[arg(long, visible_alias = "rev", value_name = "REVISION", value_parser = parse_at)]
    pub at: Option<At>,
}

impl AtOption {
    /// The revision to read at; 0 is now.
    pub fn revision(self, db: &Db) -> Result<i64> {
        self.at.map_or(Ok(0), |at| at.revision(db))
    }
}

/// Whether an argument is `-`: standard input or output.
pub fn is_dash(argument: &OsStr) -> bool {
    argument.as_bytes() == b"-"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_history_are_revisions_times_and_ages() {
        assert_eq!(parse_at("17"), Ok(At::Revision(17)));
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        assert_eq!(parse_at("1970-01-02T02:00:00+02:00"), Ok(At::Time(epoch)));
        assert!(matches!(parse_at("10m"), Ok(At::Time(_))));
        for text in ["-1", "", "yesterday", "1970-01-02", "999999h99999999h"] {
            assert!(parse_at(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_empty_first_key_is_the_beginning() {
        let selection = |key: &str, end: Option<&str>, prefix, from_key| {
            Selection {
                key: key.into(),
                range_end: end.map(Into::into),
                prefix,
                from_key,
            }
            .range(Notation::default())
            .expect("text")
        };
        assert_eq!(selection("", None, true, false), KeyRange::all());
        assert_eq!(selection("", None, false, true), KeyRange::all());
        assert_eq!(
            selection("", Some("b"), false, false),
            KeyRange::between("", "b")
        );
        assert_eq!(selection("", None, false, false), KeyRange::key(""));
        assert_eq!(selection("a", None, false, false), KeyRange::key("a"));
    }
}
