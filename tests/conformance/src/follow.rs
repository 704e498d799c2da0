//! The file that a follower writes: one line for each batch of a watcher. A follower that is killed
//! at any moment continues from its file.

use std::fs;
use std::io::Write;

use libkv::*;

/// The watches of followers. Each ends at the key `end`.
pub struct Follow;

impl Follow {
    /// Everything, or only the puts under `a/` (and `end`).
    pub fn watch(how: &str) -> Watch {
        match how {
            "puts" => Watch::new(KeyRange::between("a/", "f")).no_delete(true),
            _ => Watch::new(KeyRange::all()),
        }
    }
}

/// A batch as one line: its revision, the number of events, and a CRC-32 over all events. The
/// checksum covers for each event: the key, one byte that is 1 for a deletion, the value, and
/// create_revision, mod_revision and version as 8 bytes each, the lowest byte first.
pub fn line_of(batch: &WatchBatch) -> String {
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

/// The CRC-32 of zlib, which the other languages have in a library.
fn crc32(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, byte| {
        let mut low = (sum ^ u32::from(*byte)) & 0xff;
        for _ in 0..8 {
            low = low >> 1 ^ (0xedb8_8320 & (low & 1).wrapping_neg());
        }
        sum >> 8 ^ low
    })
}

/// Opens the file of a follower, removes an incomplete last line, and returns the revision to
/// continue from.
pub fn resume_file(path: &str) -> (fs::File, Revision) {
    let mut text = fs::read_to_string(path).unwrap_or_default();
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    let last = text
        .lines()
        .last()
        .and_then(|line| line.split(' ').next()?.parse::<Revision>().ok());
    // written to a new file and renamed: the follower may be killed here too
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
