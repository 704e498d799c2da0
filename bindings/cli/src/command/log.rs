//! The log of `kv serve`: one line for each event, as text or as JSON.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use clap::ValueEnum;
use serde::Serialize;
use time::OffsetDateTime;

use crate::failure::{Failure, Result};

/// The level of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    Dpanic,
    Panic,
    Fatal,
}

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Console,
    Json,
}

/// Writes lines of a level and above. Clones write to the same places.
#[derive(Clone)]
pub struct Log {
    level: LogLevel,
    format: Format,
    outputs: Arc<Vec<Output>>,
}

/// A destination of lines.
#[derive(Debug)]
enum Output {
    Stderr,
    Stdout,
    File(File),
}

/// A line in JSON, with the fields of etcd's log.
#[derive(Serialize)]
struct LogLine<'a> {
    level: &'a str,
    ts: &'a str,
    msg: &'a str,
}

impl Log {
    /// A log to these outputs, by their names in etcd; to standard error if there are none. Lines
    /// are appended to a file, which is created if needed.
    ///
    /// # Errors
    ///
    /// A file that cannot be opened, with its path.
    pub fn new<'a>(
        level: LogLevel,
        format: Format,
        outputs: impl IntoIterator<Item = &'a str>,
    ) -> Result<Log> {
        let mut open: Vec<Output> = outputs
            .into_iter()
            .map(Output::new)
            .collect::<Result<_>>()?;
        if open.is_empty() {
            open.push(Output::Stderr);
        }
        Ok(Log {
            level,
            format,
            outputs: Arc::new(open),
        })
    }

    /// Writes a line if its level is high enough.
    pub fn line(&self, level: LogLevel, message: &str) {
        if level as u8 >= self.level as u8 {
            self.write(level, message);
        }
    }

    /// Writes the line that scripts wait for, unless the level is above `warn`.
    pub fn ready(&self, message: &str) {
        if self.level as u8 <= LogLevel::Warn as u8 {
            self.write(LogLevel::Info, message);
        }
    }

    fn write(&self, level: LogLevel, message: &str) {
        let line = self.format.line(SystemTime::now(), level, message);
        for output in &*self.outputs {
            // one write for each line, so that lines of several threads are not mixed
            let _ = match output {
                Output::Stderr => io::stderr().write_all(line.as_bytes()),
                Output::Stdout => io::stdout().write_all(line.as_bytes()),
                Output::File(file) => (&*file).write_all(line.as_bytes()),
            };
        }
    }
}

impl Output {
    fn new(name: &str) -> Result<Output> {
        match name {
            // systemd writes standard error to its journal
            "default" | "stderr" | "systemd/journal" => Ok(Output::Stderr),
            "stdout" => Ok(Output::Stdout),
            path => {
                let file = OpenOptions::new().append(true).create(true).open(path);
                file.map(Output::File)
                    .map_err(Failure::io(format!("--log-outputs {path}")))
            }
        }
    }
}

impl Format {
    fn line(self, now: SystemTime, level: LogLevel, message: &str) -> String {
        let level = match level {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            _ => "error",
        };
        let ts = timestamp(now);
        match self {
            Format::Json => {
                let line = serde_json::to_string(&LogLine {
                    level,
                    ts: &ts,
                    msg: message,
                });
                format!("{}\n", line.unwrap_or_default())
            }
            Format::Console => format!("{ts} {level} {message}\n"),
        }
    }
}

/// RFC 3339 in UTC, always with three digits of milliseconds, so that the columns are aligned.
fn timestamp(now: SystemTime) -> String {
    let now = OffsetDateTime::from(now);
    let (date, time) = (now.date(), now.time());
    let (hour, minute, second, ms) = time.as_hms_milli();
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn timestamp_has_three_digits_of_milliseconds() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_779_000_000_210, "2026-05-17T06:40:00.210Z"),
            (1_779_000_000_007, "2026-05-17T06:40:00.007Z"),
            (1_779_000_000_826, "2026-05-17T06:40:00.826Z"),
        ] {
            let now = UNIX_EPOCH + Duration::from_millis(ms) + Duration::from_nanos(1);
            assert_eq!(timestamp(now), text);
            assert_eq!(
                Format::Console.line(now, LogLevel::Warn, "a"),
                format!("{text} warn a\n")
            );
        }
    }

    #[test]
    fn output_that_cannot_be_opened_is_named() {
        let refused = Output::new("/no/such/folder/log")
            .expect_err("no folder")
            .to_string();
        assert!(
            refused.starts_with("--log-outputs /no/such/folder/log: "),
            "{refused}"
        );
    }
}
