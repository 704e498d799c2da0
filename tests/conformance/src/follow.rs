//! What a process that follows a store writes down of what it has seen, so that it can be killed at
//! any moment and goes on from there.

use std::fs;
use std::io::Write;

use libkv::*;

/// What there is to follow until the key `end` is put.
pub struct End;

impl End {
    /// Everything, or only the puts under `a/` (and `end`).
    pub fn watch(how: &str) -> Watch {
        match how {
            "puts" => Watch::new(KeyRange::between("a/", "f")).no_delete(true),
            _ => Watch::new(KeyRange::all()),
        }
    }
}

/// A batch as one line: its revision, how many events, and the CRC-32 of all that they say: of each
/// its key, a byte that is 1 for a deletion, its value, and create_revision, mod_revision and
/// version as 8 bytes each, the lowest first.
pub fn say(batch: &WatchBatch) -> String {
    let mut sum = !0;
    for event in &batch.events {
        let kv = &event.kv;
        sum = crc32(sum, &kv.key);
        sum = crc32(sum, &[event.kind as u8]);
        sum = crc32(sum, &kv.value);
        for number in [kv.create_revision, kv.mod_revision, kv.version] {
            sum = crc32(sum, &number.to_le_bytes());
        }
    }
    format!("{} {} {:08x}\n", batch.revision, batch.events.len(), !sum)
}

/// The checksum of zlib, which other languages have at hand.
fn crc32(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, byte| {
        let mut low = (sum ^ u32::from(*byte)) & 0xff;
        for _ in 0..8 {
            low = low >> 1 ^ (0xedb8_8320 & (low & 1).wrapping_neg());
        }
        sum >> 8 ^ low
    })
}

/// Opens the file of a follower, without the line that a kill may have cut, and returns the
/// revision to go on from.
pub fn resume_file(path: &str) -> (fs::File, Revision) {
    let mut text = fs::read_to_string(path).unwrap_or_default();
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    let last = text
        .lines()
        .last()
        .and_then(|line| line.split(' ').next()?.parse::<Revision>().ok());
    // written again beside it and renamed, as it may be killed here too
    let beside = format!("{path}.new");
    fs::write(&beside, &text).expect("written");
    fs::rename(&beside, path).expect("renamed");
    let mut file = fs::File::options()
        .append(true)
        .open(path)
        .expect("the file");
    file.flush().expect("nothing to flush");
    (file, last.map_or(1, |last| last + 1))
}
