//! Repairs the `:authority` that Go's clients send, before HTTP/2 reads it.
//!
//! etcd's own clients put there the endpoint that they were given: the path of a Unix socket
//! (`/run/kv.sock`, etcdctl of any version), or a whole URL (`http://127.0.0.1:2379`, `endpoint
//! status` of etcdctl 3.4). Go's servers ignore it. The HTTP/2 library that this server uses
//! refuses such a request as malformed, without a hook that could accept it.
//!
//! The header tables of both ends must stay equal, so a name keeps its length, both plain and in
//! Huffman code: each character that is not allowed in a host is replaced by one whose code has the
//! same length.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use http::Version;
use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The head of a frame: three bytes of length, kind, flags, four bytes of the stream's number.
const HEAD: usize = 9;
/// The kind of frame that a request's headers begin with.
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The longest frame, because the server announces no other limit. Longer ones are refused later.
const FRAME_MAX: usize = 16 * 1024;
/// The index of `:authority` in the static table of HPACK.
const AUTHORITY: usize = 1;

/// HPACK's codes of up to 8 bits, by length: the first code, and the characters in the order of
/// their codes. Characters of longer codes occurred in no observed name; a name with one is not
/// changed.
const CODES: [(u32, u8, &[u8]); 4] = [
    (5, 0b0_0000, b"012aceiost"),
    (6, 0b01_0100, b" %-./3456789=A_bdfghlmnpru"),
    (7, 0b101_1100, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, 0b1111_1000, b"&*,;XZ"),
];

/// The first bytes that a client of HTTP/2 sends.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose requests have a valid `:authority` if it is HTTP/2. HTTP/1 passes unchanged.
pub(super) struct AuthorityRepair<S> {
    stream: S,
    version: Arc<OnceLock<Version>>,
    /// How many bytes of the preface have passed.
    preface: usize,
    /// Bytes that pass unchanged: the rest of the current frame.
    pass: usize,
    /// The beginning of an incomplete frame; at most one frame of headers and the bytes read with
    /// it.
    held: Vec<u8>,
    /// Bytes that were held and can be read now, from this index on.
    ready: (Vec<u8>, usize),
}

impl<S> AuthorityRepair<S> {
    pub fn new(stream: S) -> AuthorityRepair<S> {
        AuthorityRepair {
            stream,
            version: Arc::default(),
            preface: 0,
            pass: 0,
            held: Vec::new(),
            ready: (Vec::new(), 0),
        }
    }

    /// HTTP/1.1 or HTTP/2, once the first bytes have shown it.
    pub fn version(&self) -> Arc<OnceLock<Version>> {
        self.version.clone()
    }

    /// How many of the bytes come before the first frame: the preface, or all bytes of HTTP/1.
    fn skip_preface(&mut self, bytes: &[u8]) -> usize {
        if self.version.get() == Some(&Version::HTTP_2) {
            return 0;
        }
        let rest = &PREFACE[self.preface..];
        let length = rest.len().min(bytes.len());
        if self.version.get().is_some() || bytes[..length] != rest[..length] {
            let _ = self.version.set(Version::HTTP_11);
            return bytes.len();
        }
        self.preface += length;
        if self.preface == PREFACE.len() {
            let _ = self.version.set(Version::HTTP_2);
        }
        length
    }

    /// Repairs the frames that are complete, and returns how many of the bytes can be read.
    fn repair_frames(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = self.skip_preface(bytes);
        let pass = self.pass.min(bytes.len() - at);
        self.pass -= pass;
        at += pass;
        if self.version.get() != Some(&Version::HTTP_2) {
            return at;
        }
        while let Some(head) = bytes.get(at..at + HEAD) {
            let whole = HEAD
                + usize::from(head[0]) * 65_536
                + usize::from(head[1]) * 256
                + usize::from(head[2]);
            let (kind, flags) = (head[3], head[4]);
            if kind == HEADERS && whole <= HEAD + FRAME_MAX {
                let Some(frame) = bytes.get_mut(at..at + whole) else {
                    return at;
                };
                repair(flags, &mut frame[HEAD..]);
                at += whole;
            } else {
                let here = whole.min(bytes.len() - at);
                self.pass = whole - here;
                at += here;
            }
        }
        at
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AuthorityRepair<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = &mut *self;
        loop {
            let left = &me.ready.0[me.ready.1..];
            if !left.is_empty() {
                let taken = left.len().min(buf.remaining());
                buf.put_slice(&left[..taken]);
                me.ready.1 += taken;
                return Poll::Ready(Ok(()));
            }
            if me.held.is_empty() {
                let before = buf.filled().len();
                ready!(Pin::new(&mut me.stream).poll_read(cx, buf))?;
                let received = &mut buf.filled_mut()[before..];
                let length = received.len();
                let passed = me.repair_frames(received);
                me.held.extend_from_slice(&buf.filled()[before + passed..]);
                buf.set_filled(before + passed);
                if passed > 0 || length == 0 {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let mut more = [0; 4096];
            let mut more = ReadBuf::new(&mut more);
            ready!(Pin::new(&mut me.stream).poll_read(cx, &mut more))?;
            let mut held = std::mem::take(&mut me.held);
            held.extend_from_slice(more.filled());
            // the stream has ended: the reader finds an incomplete frame
            let passed = if more.filled().is_empty() {
                held.len()
            } else {
                me.repair_frames(&mut held)
            };
            me.held = held.split_off(passed);
            me.ready = (held, 0);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AuthorityRepair<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Repairs the payload of a frame of headers. Any other fault in it is left to HTTP/2.
fn repair(flags: u8, payload: &mut [u8]) {
    let (mut from, mut upto) = (0, payload.len());
    if flags & PADDED != 0 {
        let padding = payload.first().map_or(0, |&length| usize::from(length));
        (from, upto) = (1, upto.saturating_sub(padding));
    }
    if flags & PRIORITY != 0 {
        from += 5;
    }
    if let Some(block) = payload.get_mut(from..upto) {
        let _ = repair_block(block);
    }
}

/// Walks through the fields; `None` at a field that cannot be read.
fn repair_block(block: &mut [u8]) -> Option<()> {
    let mut at = 0;
    while let Some(&first) = block.get(at) {
        let bits = match first {
            _ if first & 0x80 != 0 => 7,
            _ if first & 0x40 != 0 => 6,
            _ if first & 0x20 != 0 => 5,
            _ => 4,
        };
        let index = integer(block, &mut at, bits)?;
        // an entry of a table, or the table's new size
        if bits == 7 || bits == 5 {
            continue;
        }
        if index == 0 {
            string(block, &mut at)?;
        }
        let (coded, value) = string(block, &mut at)?;
        if index == AUTHORITY {
            repair_name(coded, &mut block[value]);
        }
    }
    Some(())
}

/// A number that begins in the lower bits of a byte and continues in seven bits of each next byte.
fn integer(block: &[u8], at: &mut usize, bits: u32) -> Option<usize> {
    let most = (1 << bits) - 1;
    let mut number = usize::from(*block.get(*at)?) & most;
    *at += 1;
    if number < most {
        return Some(number);
    }
    for shift in [0, 7, 14] {
        let byte = *block.get(*at)?;
        *at += 1;
        number += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The place of a string, and whether it is in Huffman code.
fn string(block: &[u8], at: &mut usize) -> Option<(bool, std::ops::Range<usize>)> {
    let coded = block.get(*at)? & 0x80 != 0;
    let length = integer(block, at, 7)?;
    let place = *at..at.checked_add(length).filter(|end| *end <= block.len())?;
    *at = place.end;
    Some((coded, place))
}

/// Replaces a name that is not an authority by one of the same length.
fn repair_name(coded: bool, value: &mut [u8]) {
    let Some(mut letters) = letters(coded, value) else {
        return;
    };
    let name: Vec<u8> = letters.iter().map(|letter| letter.text).collect();
    if name.is_empty() || Authority::try_from(name.as_slice()).is_ok() {
        return;
    }
    for letter in &mut letters {
        let proper = letter.text.is_ascii_alphanumeric() || matches!(letter.text, b'-' | b'.');
        if proper {
            continue;
        }
        let instead = if letter.bits == 7 {
            b'x'
        } else if letter.bits == 6 {
            b'-'
        } else {
            b'X'
        };
        if coded {
            letter.write(value, instead);
        } else {
            value[letter.from / 8] = instead;
        }
    }
}

/// A character, and the place of its code, in bits.
struct Letter {
    text: u8,
    from: usize,
    bits: u32,
}

impl Letter {
    /// Replaces the character by another one whose code has the same length.
    fn write(&self, value: &mut [u8], text: u8) {
        let (_, first, texts) = CODES[self.bits as usize - 5];
        let Some(place) = texts.iter().position(|&known| known == text) else {
            return;
        };
        let code = usize::from(first) + place;
        for bit in 0..self.bits as usize {
            let (byte, mask) = ((self.from + bit) / 8, 0x80 >> ((self.from + bit) % 8));
            match code >> (self.bits as usize - 1 - bit) & 1 {
                1 => value[byte] |= mask,
                _ => value[byte] &= !mask,
            }
        }
    }
}

/// The characters of a name; `None` if one of them has no short code.
fn letters(coded: bool, value: &[u8]) -> Option<Vec<Letter>> {
    if !coded {
        let plain = |(at, &text): (usize, &u8)| Letter {
            text,
            from: at * 8,
            bits: 6,
        };
        return Some(value.iter().enumerate().map(plain).collect());
    }
    let mut letters = Vec::new();
    let mut from = 0;
    while from < value.len() * 8 {
        let bit = |at: usize| value.get(at / 8).map_or(1, |byte| byte >> (7 - at % 8) & 1);
        let ahead = |count: u32| {
            (0..count as usize).fold(0, |code, at| code << 1 | usize::from(bit(from + at)))
        };
        // ones fill the last byte after the last code
        let left = (value.len() * 8 - from) as u32;
        if left < 8 && ahead(left) == (1 << left) - 1 {
            break;
        }
        let found = CODES.iter().find_map(|&(bits, first, texts)| {
            let place = ahead(bits).checked_sub(usize::from(first))?;
            Some(Letter {
                text: *texts.get(place)?,
                from,
                bits,
            })
        });
        let letter = found.filter(|letter| letter.bits <= left)?;
        from += letter.bits as usize;
        letters.push(letter);
    }
    Some(letters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// `text` in Huffman code.
    fn huffman(text: &str) -> Vec<u8> {
        let mut bits = Vec::new();
        for c in text.bytes() {
            let code = CODES.iter().find_map(|&(bits, first, texts)| {
                Some((
                    bits,
                    usize::from(first) + texts.iter().position(|&known| known == c)?,
                ))
            });
            let (length, code) = code.expect("a short code");
            bits.extend((0..length).rev().map(|bit| code >> bit & 1));
        }
        bits.resize(bits.len().next_multiple_of(8), 1);
        bits.chunks(8)
            .map(|byte| byte.iter().fold(0, |value, &bit| value << 1 | bit as u8))
            .collect()
    }

    fn plain(coded: bool, value: &[u8]) -> String {
        letters(coded, value)
            .expect("short codes")
            .iter()
            .map(|letter| char::from(letter.text))
            .collect()
    }

    /// A frame of headers with this authority between other fields, and the place of its value.
    fn request(flags: u8, coded: bool, name: &str) -> (Vec<u8>, std::ops::Range<usize>) {
        let value = if coded {
            huffman(name)
        } else {
            name.as_bytes().to_vec()
        };
        let mut block = vec![0x83, 0x86, 0x3f, 0x41, 0x44, 0x02, b'/', b'a', 0x41];
        block.push(value.len() as u8 | if coded { 0x80 } else { 0 });
        let place = block.len()..block.len() + value.len();
        block.extend(value);
        block.extend(*b"\x40\x02te\x08trailers\x0f\x10\x01x");
        let mut payload = Vec::new();
        if flags & PADDED != 0 {
            payload.push(3);
        }
        if flags & PRIORITY != 0 {
            payload.extend([0; 5]);
        }
        let before = HEAD + payload.len();
        payload.extend(block);
        if flags & PADDED != 0 {
            payload.extend([0; 3]);
        }
        let mut frame = vec![0, 0, payload.len() as u8, HEADERS, flags | 0x4, 0, 0, 0, 1];
        frame.extend(payload);
        (frame, place.start + before..place.end + before)
    }

    #[test]
    fn huffman_codes_are_those_of_the_standard() {
        // RFC 7541, C.4.1
        assert_eq!(
            huffman("www.example.com"),
            b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"
        );
        assert_eq!(
            plain(true, b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
            "www.example.com"
        );
    }

    #[test]
    fn authority_that_is_no_host_becomes_one() {
        for (name, should) in [
            ("/tmp/kv.sock", "-tmp-kv.sock"),
            ("unix:///tmp/kv.sock", "unixx---tmp-kv.sock"),
            ("http://127.0.0.1:2379", "httpx--127.0.0.1x2379"),
            ("%2Ftmp%2Fkv.sock", "-2Ftmp-2Fkv.sock"),
            ("/a,b;c*d", "-aXbXcXd"),
        ] {
            for flags in [0, PADDED, PRIORITY, PADDED | PRIORITY] {
                let (mut frame, place) = request(flags, true, name);
                let before = frame.clone();
                repair(flags, &mut frame[HEAD..]);
                assert_eq!(plain(true, &frame[place.clone()]), should, "{flags}");
                frame[place.clone()].copy_from_slice(&before[place]);
                assert_eq!(frame, before, "nothing else changed");
                let (mut frame, place) = request(flags, false, name);
                repair(flags, &mut frame[HEAD..]);
                let repaired = plain(false, &frame[place]);
                assert_eq!(repaired.len(), name.len());
                assert!(Authority::try_from(repaired.as_str()).is_ok(), "{repaired}");
            }
        }
    }

    #[test]
    fn authority_that_is_a_host_is_unchanged() {
        for name in ["127.0.0.1:2379", "localhost", "example.com:1", "a_b"] {
            for coded in [true, false] {
                let (mut frame, _) = request(0, coded, name);
                let before = frame.clone();
                repair(0, &mut frame[HEAD..]);
                assert_eq!(frame, before, "{name}");
            }
        }
    }

    /// Bytes that are not a block of headers: a second repair changes nothing.
    #[test]
    fn repair_of_random_bytes_twice_is_the_same_as_once() {
        let mut x = 1_u64;
        let mut repaired = 0;
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
                x = x
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (x >> 56) as u8
            })
            .take(40)
            .collect();
            bytes[1] = 0x41;
            let (flags, before) = (bytes[0], bytes.clone());
            repair(flags, &mut bytes);
            repaired += usize::from(bytes != before);
            let once = bytes.clone();
            repair(flags, &mut bytes);
            assert_eq!(bytes, once, "flags {flags} of {before:x?}");
        }
        assert!(repaired > 100, "only {repaired} were repaired");
    }

    #[tokio::test]
    async fn version_is_detected_by_the_first_bytes() {
        for (sent, version) in [
            (&b""[..], None),
            (b"PRI", None),
            (b"POST / HTTP/1.1", Some(Version::HTTP_11)),
            (b"PRI * HTTP/1.1\r\n", Some(Version::HTTP_11)),
            (PREFACE, Some(Version::HTTP_2)),
        ] {
            let mut stream = AuthorityRepair::new(tokio::io::join(sent, tokio::io::sink()));
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.expect("it is read");
            assert_eq!(got, sent);
            assert_eq!(stream.version().get().copied(), version, "{sent:?}");
        }
    }

    #[tokio::test]
    async fn frames_are_repaired_in_any_pieces() {
        let (frame, place) = request(0, true, "/run/kv.sock");
        let mut sent = PREFACE.to_vec();
        let data = [&[0, 1, 0x2c, 0, 0, 0, 0, 0, 1][..], &[7; 300]].concat();
        for part in [&data, &frame, &data, &frame] {
            sent.extend(part);
        }
        sent.extend([0, 0, 9]); // cut in a head
        let mut should = sent.clone();
        let before = PREFACE.len() + data.len();
        for at in [before, before + data.len() + frame.len()] {
            let mut whole = frame.clone();
            repair(0, &mut whole[HEAD..]);
            assert_eq!(plain(true, &whole[place.clone()]), "-run-kv.sock");
            should[at..at + whole.len()].copy_from_slice(&whole);
        }
        for piece in [1, 2, 5, 9, 10, 64, 300, 5000] {
            let (near, far) = tokio::io::duplex(piece);
            let all = sent.clone();
            let writer = tokio::spawn(async move {
                let mut near = near;
                tokio::io::AsyncWriteExt::write_all(&mut near, &all).await
            });
            let mut got = Vec::new();
            AuthorityRepair::new(far)
                .read_to_end(&mut got)
                .await
                .expect("it is read");
            writer.await.expect("it ran").expect("it was written");
            assert_eq!(got, should, "in pieces of {piece}");
        }
    }
}
