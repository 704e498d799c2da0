//! Standard output: buffered, in colour on a terminal, without an error if the reader closes the
//! pipe.

use std::io::{self, BufWriter, IsTerminal, Write};

use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};
use libkv::{Event, EventKind, KeyValue};
use serde::Serialize;

use crate::failure::{Failure, Result};
use crate::json::EventJson;
use crate::notation::{self, Notation, is_harmless, lease_text};

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The purpose of a colour.
#[derive(Clone, Copy)]
pub enum Ink {
    Key,
    Plus,
    Minus,
    Faint,
    Bad,
}

impl Ink {
    fn style(self) -> Style {
        match self {
            Ink::Key => AnsiColor::Cyan.on_default(),
            Ink::Plus => AnsiColor::Green.on_default(),
            Ink::Minus => AnsiColor::Red.on_default(),
            Ink::Faint => Style::new().dimmed(),
            Ink::Bad => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// The output of a command.
pub struct Out {
    writer: BufWriter<io::Stdout>,
    /// Whether standard output is a terminal.
    pub terminal: bool,
    colour: bool,
    pub json: bool,
    pub notation: Notation,
}

#[derive(Serialize)]
struct Changed {
    revision: i64,
}

impl Out {
    /// Standard output.
    pub fn new(json: bool, colour: Colour, notation: Notation) -> Out {
        let terminal = io::stdout().is_terminal();
        let colour = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
                    || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
                terminal && !unwanted
            }
        };
        Out {
            writer: BufWriter::with_capacity(64 << 10, io::stdout()),
            terminal,
            colour,
            json,
            notation,
        }
    }

    /// Writes bytes unchanged.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).map_err(closed)
    }

    /// Writes bytes and ends the line.
    pub fn line(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.bytes(bytes.as_ref())?;
        self.bytes(b"\n")
    }

    /// Writes bytes in a colour.
    pub fn ink(&mut self, ink: Ink, bytes: impl AsRef<[u8]>) -> Result<()> {
        match self.colour {
            true => {
                let style = ink.style();
                self.bytes(style.render().to_string().as_bytes())?;
                self.bytes(bytes.as_ref())?;
                self.bytes(style.render_reset().to_string().as_bytes())
            }
            false => self.bytes(bytes.as_ref()),
        }
    }

    /// Writes a JSON document on one line.
    pub fn json(&mut self, document: &impl Serialize) -> Result<()> {
        let mut serializer = serde_json::Serializer::with_formatter(&mut self.writer, Harmless);
        document
            .serialize(&mut serializer)
            .map_err(|error| closed(error.into()))?;
        self.bytes(b"\n")
    }

    /// The result of a change that has no other result than its revision: a sentence, or the
    /// revision in JSON.
    pub fn changed(&mut self, revision: i64, sentence: impl AsRef<[u8]>) -> Result<()> {
        match self.json {
            true => self.json(&Changed { revision }),
            false => self.line(sentence),
        }
    }

    /// Names, one on each line, or a list in JSON.
    pub fn names(&mut self, names: &[String]) -> Result<()> {
        match self.json {
            true => self.json(&names),
            false => names
                .iter()
                .try_for_each(|name| self.line(notation::escape(name.as_bytes()))),
        }
    }

    /// A key on a separate line.
    pub fn key_line(&mut self, key: &[u8]) -> Result<()> {
        let key = self.notation.block(key);
        self.ink(Ink::Key, key)?;
        self.bytes(b"\n")
    }

    /// A value on separate lines.
    pub fn value_line(&mut self, value: &[u8]) -> Result<()> {
        let value = self.notation.block(value);
        self.line(value)
    }

    /// A key and its value, printed like in etcdctl.
    pub fn pair_lines(&mut self, kv: &KeyValue) -> Result<()> {
        self.key_line(&kv.key)?;
        self.value_line(&kv.value)
    }

    /// A key within a line.
    pub fn key_inline(&mut self, key: &[u8]) -> Result<()> {
        let key = self.notation.inline(key);
        self.ink(Ink::Key, key)
    }

    /// A value within a line.
    pub fn value_inline(&mut self, value: &[u8]) -> Result<()> {
        let value = self.notation.inline(value);
        self.bytes(&value)
    }

    /// An event on one line: revision, kind, key, value.
    pub fn event_line(&mut self, event: &Event) -> Result<()> {
        if self.json {
            return self.json(&EventJson::from(event));
        }
        let put = event.kind == EventKind::Put;
        self.bytes(format!("{}\t", event.kv.mod_revision).as_bytes())?;
        let (ink, word) = if put {
            (Ink::Plus, "PUT")
        } else {
            (Ink::Minus, "DELETE")
        };
        self.ink(ink, word)?;
        self.bytes(b"\t")?;
        self.key_inline(&event.kv.key)?;
        if put {
            self.bytes(b"\t")?;
            self.value_inline(&event.kv.value)?;
        }
        self.bytes(b"\n")
    }

    /// Writes out the buffer.
    pub fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(closed)
    }
}

/// The numbers of a pair, as a part of a line.
pub fn numbers(kv: &KeyValue) -> String {
    let lease = if kv.lease == 0 {
        "-".into()
    } else {
        lease_text(kv.lease)
    };
    format!(
        "{}\t{}\t{}\t{lease}",
        kv.mod_revision, kv.create_revision, kv.version
    )
}

fn closed(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::Io("the output".into(), error),
    }
}

/// A number of bytes with its unit.
pub fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if size < 1024.0 || unit == "GiB" {
            return if unit == "bytes" {
                format!("{bytes} bytes")
            } else {
                format!("{size:.1} {unit}")
            };
        }
        size /= 1024.0;
    }
    unreachable!("the loop ends at GiB")
}

/// A number of things: `1 pair`, `2 pairs`.
pub fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Prints a message to standard error.
pub fn note(message: impl std::fmt::Display) {
    // standard error may be closed
    let _ = writeln!(
        io::stderr(),
        "kv: {}",
        notation::message(&message.to_string())
    );
}

/// JSON without characters that control a terminal. serde_json escapes only those of ASCII.
struct Harmless;

impl serde_json::ser::Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut written = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| !is_harmless(*c)) {
            writer.write_all(&fragment.as_bytes()[written..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            written = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }
}
