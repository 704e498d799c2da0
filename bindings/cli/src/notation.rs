//! The notations of keys and values: text, escapes, hexadecimal digits.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};

/// The notation of keys and values in arguments and in the output.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
#[command(next_help_heading = "Keys and values")]
pub struct Notation {
    /// Keys and values are hexadecimal digits, in arguments and output
    #[arg(long, global = true, conflicts_with_all = ["escaped", "raw"])]
    pub hex: bool,
    /// Keys and values are text with escapes (\n \t \\ \xNN), in arguments and output
    #[arg(long, global = true, conflicts_with = "raw")]
    pub escaped: bool,
    /// Show keys and values unchanged, also on a terminal
    #[arg(long, global = true)]
    pub raw: bool,
}

impl Notation {
    /// The bytes of an argument.
    pub fn parse(self, argument: &OsStr) -> Result<Vec<u8>, NotationError> {
        let bytes = argument.as_bytes();
        let read = match self {
            Notation { hex: true, .. } => parse_hex(bytes),
            Notation { escaped: true, .. } => unescape(bytes),
            _ => Ok(bytes.to_vec()),
        };
        read.map_err(|why| NotationError(format!("{}: {why}", escape(bytes))))
    }

    /// Bytes on separate lines: text unchanged, other bytes escaped.
    pub fn block(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Notation { raw: true, .. } => bytes.to_vec(),
            Notation { hex: true, .. } => HEXLOWER.encode(bytes).into_bytes(),
            Notation { escaped: false, .. } if is_text(bytes) => bytes.to_vec(),
            _ => escape(bytes).into_bytes(),
        }
    }

    /// Bytes as a part of one line, escaped so that they can be read back.
    pub fn inline(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Notation { raw: true, .. } => bytes.to_vec(),
            Notation { hex: true, .. } => HEXLOWER.encode(bytes).into_bytes(),
            _ => escape(bytes).into_bytes(),
        }
    }
}

/// An argument that does not follow its [`Notation`].
#[derive(Debug)]
pub struct NotationError(pub String);

/// Whether a terminal can show the bytes unchanged: UTF-8 without control characters other than
/// line ends and tabs.
pub fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| {
        text.chars()
            .all(|c| c == '\n' || c == '\t' || is_harmless(c))
    })
}

/// Whether a terminal only shows this character: it is no control character, and it does not change
/// the direction of writing.
pub fn is_harmless(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        | '\u{2028}' | '\u{2029}');
    !c.is_control() && !turns
}

/// Bytes on one line, without loss: `\\`, `\n`, `\r`, `\t`, and `\xNN` for characters that are not
/// [harmless](is_harmless) and for bytes that are not UTF-8. [`unescape`] reads it back.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if is_harmless(c) => out.push(c),
                c => escape_bytes(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        escape_bytes(&mut out, chunk.invalid());
    }
    out
}

/// A message, which may quote data: characters that are not [harmless](is_harmless) are escaped.
pub fn message(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if is_harmless(c) => out.push(c),
            c => escape_bytes(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}

fn escape_bytes(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// Reads the escapes of [`escape`] and those of Go, for users of etcdctl: `\"`, `\'`, `\a`, `\b`,
/// `\f`, `\v`, `\0` and other octal digits, `\uNNNN`.
pub fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&kind, after)) = rest.split_first() else {
            return Err("a single \\ at the end".into());
        };
        rest = after;
        match kind {
            b'\\' | b'"' | b'\'' => out.push(kind),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'v' => out.push(11),
            b'f' => out.push(12),
            b'x' => {
                out.push(digits(&mut rest, 2, 16).ok_or("\\x needs two hexadecimal digits")? as u8)
            }
            b'0'..=b'7' => {
                let more = rest
                    .iter()
                    .take(2)
                    .take_while(|digit| (b'0'..=b'7').contains(digit))
                    .count();
                let low = if more == 0 {
                    0
                } else {
                    digits(&mut rest, more, 8).unwrap_or(0)
                };
                let number = (u32::from(kind - b'0') << (3 * more)) | low;
                out.push(u8::try_from(number).map_err(|_| "an octal escape is at most \\377")?);
            }
            b'u' => {
                let c = digits(&mut rest, 4, 16)
                    .and_then(char::from_u32)
                    .ok_or("\\u needs four hexadecimal digits")?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => {
                return Err(format!(
                    "unknown escape \\{} (write \\\\ for a backslash)",
                    other.escape_ascii()
                ));
            }
        }
    }
    Ok(out)
}

fn digits(rest: &mut &[u8], count: usize, radix: u32) -> Option<u32> {
    let text = std::str::from_utf8(rest.get(..count)?).ok()?;
    // from_str_radix also accepts a sign
    let number = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric())
        .then(|| u32::from_str_radix(text, radix).ok())?;
    *rest = &rest[count..];
    number
}

fn parse_hex(text: &[u8]) -> Result<Vec<u8>, String> {
    HEXLOWER_PERMISSIVE.decode(text).map_err(|_| {
        "with --hex, keys and values are hexadecimal digits, two for each byte".to_string()
    })
}

/// The fields of JSON for bytes: their text, or else their base64.
pub fn text_or_base64(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(BASE64.encode(bytes))),
    }
}

/// The id of a lease as the command line writes it; `0` for none.
pub fn lease_text(id: i64) -> String {
    if id == 0 {
        "0".into()
    } else {
        format!("{id:016x}")
    }
}

/// Reads the id of a lease: up to 16 hexadecimal digits.
pub fn parse_lease(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    match digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => u64::from_str_radix(digits, 16)
            .map(|id| id as i64)
            .map_err(|_| "a lease id has 1 to 16 hexadecimal digits".into()),
        false => {
            Err("a lease id consists of hexadecimal digits, as `kv lease list` shows it".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        let tricky = [
            "",
            "a\\x41",
            "é\u{202e}",
            "\u{85}",
            "\u{7f}\u{1b}[31m",
            "\u{61c}",
        ];
        for bytes in tricky
            .iter()
            .map(|text| text.as_bytes())
            .chain([&all[..], b"\xffe\xcc"])
        {
            let text = escape(bytes);
            assert!(text.chars().all(is_harmless), "{text:?}");
            assert_eq!(unescape(text.as_bytes()).as_deref(), Ok(bytes), "{text}");
            assert_eq!(
                parse_hex(HEXLOWER.encode(bytes).as_bytes()).as_deref(),
                Ok(bytes)
            );
        }
    }

    #[test]
    fn escapes_of_go() {
        let cases: [(&str, &[u8]); 7] = [
            (r"\a\b\v\f", b"\x07\x08\x0b\x0c"),
            (r#"\"\'\\"#, b"\"'\\"),
            (r"\0\00\000\377", b"\0\0\0\xff"),
            (r"\0008", b"\x008"),
            (r"\18", b"\x018"),
            (r"\u00e9", "é".as_bytes()),
            (r"\x41b", b"Ab"),
        ];
        for (text, bytes) in cases {
            assert_eq!(unescape(text.as_bytes()).as_deref(), Ok(bytes), "{text}");
        }
        for text in [
            r"\", r"\x4", r"\xg0", r"\x+1", r"\400", r"\q", r"\u12", r"\ud800",
        ] {
            assert!(unescape(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn hexadecimal_digits_come_in_pairs() {
        for text in ["0", "0g", "abc", "+1"] {
            assert!(parse_hex(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn text_is_what_a_terminal_can_show() {
        for text in ["", "a\n\tb", "日本", "a\\b"] {
            assert!(is_text(text.as_bytes()), "{text:?}");
        }
        for bytes in [
            &b"a\0"[..],
            b"\xff",
            b"\x1b[2J",
            b"a\rb",
            "\u{202e}".as_bytes(),
            "\u{9b}".as_bytes(),
        ] {
            assert!(!is_text(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn leases_go_both_ways() {
        for id in [1, 0x390d_a20f_b970_430f, -1, i64::MIN] {
            assert_eq!(parse_lease(&lease_text(id)), Ok(id));
        }
        assert_eq!(parse_lease("0x1f"), Ok(31));
        for text in ["", "g", "-1", "12345678901234567", "+1"] {
            assert!(parse_lease(text).is_err(), "{text}");
        }
    }
}
