//! Flags that are given, and what becomes of them.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::table::Effect::{Gone, Honoured, Ignored, Only, Refused};
use super::table::{Flag, Kind};
use crate::failure::{Failure, Result};

/// The command line of `kv serve` for clap, and lines for the log.
#[derive(Debug, Default)]
pub struct CommandLine {
    pub arguments: Vec<OsString>,
    pub notes: Vec<String>,
    /// The configuration file that was read.
    pub config_file: Option<OsString>,
}

/// Where a flag was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    Argument,
    Variable,
    File,
}

/// A flag with the value that counts.
pub struct GivenFlag {
    flag: &'static Flag,
    /// For messages: `--flag`, `ETCD_FLAG (--flag)` or `FILE: key`.
    pub shown: String,
    pub source: Source,
    pub value: OsString,
}

/// The flags that were given, by their names in the table.
pub type GivenFlags = BTreeMap<&'static str, GivenFlag>;

impl GivenFlag {
    /// Reads Go's notation of a switch. An empty value is the default, like in a variable.
    pub fn new(
        flag: &'static Flag,
        shown: String,
        source: Source,
        value: OsString,
    ) -> Result<GivenFlag> {
        let value = match value.to_str().filter(|_| flag.kind == Kind::Switch) {
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => "true".into(),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => "false".into(),
            Some(other) => {
                return Err(Failure::usage(format!(
                    "{shown}: {other:?} is neither true nor false"
                )));
            }
            None => value,
        };
        Ok(GivenFlag {
            flag,
            shown,
            source,
            value,
        })
    }

    /// Adds the flag to the command line, or a line to the log.
    pub fn put(self, prepared: &mut CommandLine) -> Result<()> {
        let GivenFlag {
            flag,
            shown,
            source,
            value,
        } = self;
        if value.is_empty() {
            return Ok(());
        }
        let no_effect = |why: &str| format!("{shown} has no effect: {why}");
        let equals = |other: &str| value == other;
        match flag.effect {
            Honoured => {
                let mut argument = OsString::from(format!("--{}=", flag.name));
                argument.push(&value);
                prepared.arguments.push(argument);
            }
            Ignored(why) => prepared.notes.push(no_effect(why)),
            Only(default, why) | Gone(default, why) if equals(default) => {
                prepared.notes.push(no_effect(why))
            }
            Gone(_, why) if source != Source::Argument => prepared.notes.push(no_effect(why)),
            Only(_, why) | Gone(_, why) => {
                return Err(Failure::usage(format!(
                    "{shown}={} is refused: {why}",
                    value.to_string_lossy()
                )));
            }
            Refused(why) => return Err(Failure::usage(format!("{shown} is refused: {why}"))),
        }
        Ok(())
    }
}
