//! The file that `export` writes and `import` reads: JSON lines, each with a checksum of the file
//! up to that line.
//!
//! ```text
//! {"kv_export":1,"store_id":"…","revision":9,"compacted_revision":-1,"key":"\u0000",
//!  "range_end":"\u0000","sum":"…"}
//! {"lease_id":"390da20fb970430f","granted_ttl_seconds":60,"sum":"…"}
//! {"key":"a","value":"1","create_revision":2,"mod_revision":2,"version":1,
//!  "lease":"390da20fb970430f","sum":"…"}
//! {"end":true,"count":1,"sum":"…"}
//! ```
//!
//! Long lines are broken here only.
//!
//! `sum` is the CRC-32C, in eight hexadecimal digits, of every byte of the file before the
//! `,"sum":` of its line. Altered, lost, repeated and moved lines are found at that line, and a
//! truncated file is valid up to its end. A lease comes before the first pair that is attached to
//! it; leases that no longer exist are omitted.

use std::borrow::Cow;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::time::Duration;

use data_encoding::BASE64;
use indicatif::{ProgressBar, ProgressStyle};
use libkv::{KeyRange, KeyValue, LeaseId};
use serde::{Deserialize, Serialize};

use crate::notation::{parse_lease, text_or_base64};

/// The number of this format.
pub const VERSION: u32 = 1;
/// The length of the end of a line: the sum and the brace.
const TAIL_BYTES: usize = r#","sum":"12345678"}"#.len();
/// The maximum length of a line. The values of a store are shorter.
const LINE_BYTES_MAX: u64 = 1 << 30;

/// The first line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub kv_export: u32,
    pub store_id: String,
    pub revision: i64,
    pub compacted_revision: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_end: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_end_base64: Option<String>,
}

impl Header {
    /// The same header with the range that is exported.
    pub fn with_range(mut self, range: &KeyRange) -> Header {
        let owned = |bytes| -> (Option<String>, Option<String>) {
            let (text, base64) = text_or_base64(bytes);
            (text.map(str::to_string), base64)
        };
        (self.key, self.key_base64) = owned(&range.key);
        (self.range_end, self.range_end_base64) = owned(&range.range_end);
        self
    }
}

/// A lease that pairs are attached to.
#[derive(Serialize)]
pub struct LeaseLine {
    pub lease_id: String,
    pub granted_ttl_seconds: i64,
}

/// The last line.
#[derive(Serialize)]
pub struct Footer {
    pub end: bool,
    pub count: u64,
}

/// Writes lines with their checksums.
pub struct Writer<W> {
    to: W,
    sum: u32,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Continues after lines with this checksum; 0 if there are none.
    pub fn new(to: W, sum: u32) -> Writer<W> {
        Writer {
            to,
            sum,
            line: Vec::new(),
        }
    }

    /// Writes one line.
    pub fn line(&mut self, line: &impl Serialize) -> std::io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.pop();
        let sum = crc32c::crc32c_append(self.sum, &self.line);
        let body_bytes = self.line.len();
        writeln!(self.line, ",\"sum\":\"{sum:08x}\"}}")?;
        self.sum = crc32c::crc32c_append(sum, &self.line[body_bytes..]);
        self.to.write_all(&self.line)
    }

    /// The underlying writer.
    pub fn into_inner(self) -> W {
        self.to
    }
}

/// A line of an export.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    Header(Header),
    Lease {
        id: LeaseId,
        granted_ttl_seconds: i64,
    },
    Pair(KeyValue),
    /// The number of pairs before it.
    End(u64),
}

/// The fields of all kinds of lines.
#[derive(Deserialize)]
#[serde(default)]
struct Fields<'a> {
    kv_export: Option<u32>,
    store_id: Option<String>,
    revision: i64,
    compacted_revision: i64,
    end: bool,
    count: Option<u64>,
    lease_id: Option<String>,
    granted_ttl_seconds: i64,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    key_base64: Option<String>,
    range_end: Option<String>,
    range_end_base64: Option<String>,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
    value_base64: Option<String>,
    create_revision: i64,
    mod_revision: i64,
    version: i64,
    lease: Option<String>,
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Fields {
            kv_export: None,
            store_id: None,
            revision: 0,
            compacted_revision: -1,
            end: false,
            count: None,
            lease_id: None,
            granted_ttl_seconds: 0,
            key: None,
            key_base64: None,
            range_end: None,
            range_end_base64: None,
            value: None,
            value_base64: None,
            create_revision: 0,
            mod_revision: 0,
            version: 0,
            lease: None,
        }
    }
}

/// Reads lines and verifies them.
pub struct Reader<R> {
    from: R,
    verify: Verify,
    /// The number of the last line that was read, from 1.
    pub number: u64,
    /// The number of pairs that were read.
    pub pairs: u64,
    /// The checksum and the length of all valid lines.
    pub sum: u32,
    pub good_bytes: u64,
    ended: bool,
    line: Vec<u8>,
}

/// The checks of a [`Reader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// The lines need checksums, a header and a last line.
    Export,
    /// Lines of other programs are accepted.
    PairsOnly,
}

/// The description of an invalid line.
pub type Problem = String;

impl<R: BufRead> Reader<R> {
    /// Reads from the beginning of a file.
    pub fn new(from: R, verify: Verify) -> Reader<R> {
        Reader {
            from,
            verify,
            number: 0,
            pairs: 0,
            sum: 0,
            good_bytes: 0,
            ended: false,
            line: Vec::new(),
        }
    }

    /// The next line; `None` at the end of a complete file.
    ///
    /// # Errors
    ///
    /// The number of the line, and what is wrong with it.
    pub fn next_line(&mut self) -> Result<Option<Line>, Problem> {
        self.number += 1;
        let number = self.number;
        self.read()
            .map_err(|problem| format!("line {number}: {problem}"))
    }

    fn read(&mut self) -> Result<Option<Line>, Problem> {
        let strict = self.verify == Verify::Export;
        self.line.clear();
        let mut limited = Read::take(&mut self.from, LINE_BYTES_MAX);
        limited
            .read_until(b'\n', &mut self.line)
            .map_err(|error| error.to_string())?;
        if self.line.is_empty() {
            return match self.ended || !strict {
                true => Ok(None),
                false if self.number == 1 => Err("the file is empty".into()),
                false => {
                    Err("the file is truncated: the last line, with \"end\", is missing".into())
                }
            };
        }
        if self.ended && strict {
            return Err("there is data after the last line".into());
        }
        let complete = self.line.pop_if(|last| *last == b'\n').is_some();
        if !complete && strict {
            return Err("the file is truncated: it ends in the middle of this line".into());
        }
        let sum = if strict { self.check_sum()? } else { 0 };
        let line = self.parse()?;
        self.accept(&line)?;
        self.sum = sum;
        self.good_bytes += self.line.len() as u64 + 1;
        Ok(Some(line))
    }

    /// The checksum after this line, if its own is correct.
    fn check_sum(&self) -> Result<u32, Problem> {
        let no_sum = || {
            "this is not a line of an export: it does not end with a \"sum\" (--no-verify accepts it)"
                .to_string()
        };
        let body_bytes = self.line.len().checked_sub(TAIL_BYTES).ok_or_else(no_sum)?;
        let (body, tail) = self.line.split_at(body_bytes);
        let given = tail
            .strip_prefix(b",\"sum\":\"")
            .and_then(|rest| rest.strip_suffix(b"\"}"))
            .ok_or_else(no_sum)?;
        let sum = crc32c::crc32c_append(self.sum, body);
        let right = format!("{sum:08x}");
        if right.as_bytes() != given {
            return Err(format!(
                "its sum is {} instead of {right}: this line was altered, or an earlier one was lost, \
                 repeated or moved",
                given.escape_ascii()
            ));
        }
        Ok(crc32c::crc32c_append(
            crc32c::crc32c_append(sum, tail),
            b"\n",
        ))
    }

    fn parse(&self) -> Result<Line, Problem> {
        let fields: Fields =
            serde_json::from_slice(&self.line).map_err(|error| error.to_string())?;
        if let Some(kv_export) = fields.kv_export {
            return Ok(Line::Header(Header {
                kv_export,
                store_id: fields.store_id.unwrap_or_default(),
                revision: fields.revision,
                compacted_revision: fields.compacted_revision,
                key: fields.key.map(Cow::into_owned),
                key_base64: fields.key_base64,
                range_end: fields.range_end,
                range_end_base64: fields.range_end_base64,
            }));
        }
        if let Some(id) = fields.lease_id {
            return Ok(Line::Lease {
                id: parse_lease(&id)?,
                granted_ttl_seconds: fields.granted_ttl_seconds,
            });
        }
        if fields.end {
            return Ok(Line::End(
                fields.count.ok_or("the last line has no \"count\"")?,
            ));
        }
        let key = bytes("key", fields.key, fields.key_base64)?
            .ok_or("it has neither \"key\" nor \"key_base64\"")?;
        let value = bytes("value", fields.value, fields.value_base64)?
            .ok_or("it has neither \"value\" nor \"value_base64\"")?;
        Ok(Line::Pair(KeyValue {
            key: key.into(),
            value: value.into(),
            create_revision: fields.create_revision,
            mod_revision: fields.mod_revision,
            version: fields.version,
            lease: fields.lease.as_deref().map_or(Ok(0), parse_lease)?,
        }))
    }

    /// Refuses a line that is not allowed at this place.
    fn accept(&mut self, line: &Line) -> Result<(), Problem> {
        match line {
            Line::Header(header) if header.kv_export != VERSION => {
                return Err(format!(
                    "format {} is not supported: this program reads format {VERSION}",
                    header.kv_export
                ));
            }
            Line::Header(_) if self.number > 1 => {
                return Err("this is a second header: the file has two exports".into());
            }
            Line::Header(_) => {}
            _ if self.number == 1 && self.verify == Verify::Export => {
                return Err("an export starts with a header".into());
            }
            Line::Lease { .. } => {}
            Line::Pair(kv) if kv.key.is_empty() => return Err("its key is empty".into()),
            Line::Pair(_) => self.pairs += 1,
            Line::End(count) if *count != self.pairs => {
                return Err(format!(
                    "its count is {count} pairs, but the file has {}",
                    self.pairs
                ));
            }
            Line::End(_) => self.ended = true,
        }
        Ok(())
    }

    /// Whether the last line was read.
    pub fn is_complete(&self) -> bool {
        self.ended
    }
}

fn bytes(
    name: &str,
    text: Option<Cow<str>>,
    base64: Option<String>,
) -> Result<Option<Vec<u8>>, Problem> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(format!("it has both \"{name}\" and \"{name}_base64\"")),
        (Some(text), None) => Ok(Some(text.into_owned().into_bytes())),
        (None, Some(base64)) => BASE64
            .decode(base64.as_bytes())
            .map(Some)
            .map_err(|error| format!("{name}_base64: {error}")),
        (None, None) => Ok(None),
    }
}

/// The unit of a progress bar.
#[derive(Clone, Copy)]
pub enum Unit {
    Bytes,
    Pairs,
}

/// A progress bar for work of known length, on standard error if that is a terminal.
pub fn bar(length: u64, unit: Unit) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match unit {
        Unit::Bytes => "{bar:40} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left",
        Unit::Pairs => "{bar:40} {human_pos}/{human_len} pairs, {eta} left",
    };
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

/// A spinner for work of unknown length, on standard error if that is a terminal.
pub fn spinner(what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} {human_pos}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let spinner = ProgressBar::new_spinner()
        .with_style(style)
        .with_message(what);
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Pair;

    fn file() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), 0);
        let header = Header {
            kv_export: VERSION,
            store_id: "ab".into(),
            revision: 9,
            ..Header::default()
        };
        writer
            .line(&header.with_range(&KeyRange::prefix([0xff, 1])))
            .expect("memory");
        writer
            .line(&LeaseLine {
                lease_id: "000000000000001f".into(),
                granted_ttl_seconds: 60,
            })
            .expect("memory");
        for kv in pairs() {
            writer.line(&Pair::from(&kv)).expect("memory");
        }
        writer
            .line(&Footer {
                end: true,
                count: 3,
            })
            .expect("memory");
        writer.into_inner()
    }

    fn pairs() -> [KeyValue; 3] {
        let kv = |key: &'static [u8], value: &'static [u8], lease| KeyValue {
            key: key.into(),
            value: value.into(),
            create_revision: 2,
            mod_revision: 3,
            version: 2,
            lease,
        };
        [
            kv(b"\0", b"", 0),
            kv(b"a\"\n", "ü\u{2028}".as_bytes(), 31),
            kv(b"\xff", b"\xfe\0", -1),
        ]
    }

    fn read_all(bytes: &[u8], verify: Verify) -> Result<Vec<Line>, Problem> {
        let mut reader = Reader::new(bytes, verify);
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line()? {
            lines.push(line);
        }
        let complete = reader.is_complete() && reader.good_bytes == bytes.len() as u64;
        assert!(verify == Verify::PairsOnly || complete);
        Ok(lines)
    }

    #[test]
    fn written_lines_are_read() {
        let lines = read_all(&file(), Verify::Export).expect("it is complete");
        assert_eq!(lines.len(), 6);
        assert_eq!(
            lines[1],
            Line::Lease {
                id: 31,
                granted_ttl_seconds: 60
            }
        );
        assert_eq!(lines[2..5], pairs().map(Line::Pair));
        assert_eq!(lines[5], Line::End(3));
    }

    #[test]
    fn every_altered_byte_is_found_at_its_line_or_the_next() {
        let file = file();
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut altered = file.clone();
                altered[at] ^= 1 << bit;
                let line = 1 + file[..at].iter().filter(|byte| **byte == b'\n').count();
                let problem =
                    read_all(&altered, Verify::Export).expect_err(&format!("byte {at}, bit {bit}"));
                assert!(
                    problem.starts_with(&format!("line {line}: ")),
                    "byte {at}, bit {bit}: {problem}"
                );
            }
        }
    }

    #[test]
    fn every_cut_is_found() {
        let file = file();
        for length in 0..file.len() {
            let problem = read_all(&file[..length], Verify::Export)
                .expect_err(&format!("cut to {length} bytes"));
            let lines = file[..length].iter().filter(|byte| **byte == b'\n').count();
            assert!(
                problem.starts_with(&format!("line {}: ", lines + 1)),
                "cut to {length} bytes: {problem}"
            );
        }
    }

    #[test]
    fn lost_repeated_and_moved_lines_are_found() {
        let file = file();
        let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
        let joined = |order: &[usize]| {
            order
                .iter()
                .flat_map(|index| lines[*index])
                .copied()
                .collect::<Vec<u8>>()
        };
        for order in [
            &[0, 1, 2, 4, 5][..],
            &[0, 1, 2, 3, 3, 4, 5],
            &[0, 1, 3, 2, 4, 5],
            &[1, 2, 3, 4, 5],
            &[0, 1, 2, 3, 4, 5, 5],
        ] {
            assert!(
                read_all(&joined(order), Verify::Export).is_err(),
                "{order:?}"
            );
        }
        assert!(read_all(&joined(&[0, 1, 2, 3, 4, 5]), Verify::Export).is_ok());
    }

    #[test]
    fn lines_of_other_programs_are_accepted_on_request() {
        let text = "{\"key\":\"a\",\"value\":\"1\"}\n{\"value_base64\":\"/w==\",\"key\":\"b\"}";
        assert!(read_all(text.as_bytes(), Verify::Export).is_err());
        let lines =
            read_all(text.as_bytes(), Verify::PairsOnly).expect("they have keys and values");
        assert!(matches!(&lines[1], Line::Pair(kv) if kv.value == b"\xff"[..]));
        for text in [
            "{}",
            "{\"key\":\"a\"}",
            "[]",
            "{\"key\":\"\",\"value\":\"\"}",
            "{\"key\":\"a\",\"value_base64\":\"?\"}",
        ] {
            assert!(
                read_all(text.as_bytes(), Verify::PairsOnly).is_err(),
                "{text}"
            );
        }
    }
}
