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

/// A batch as one line: its revision, how many events, and a sum over all that they say.
pub fn say(batch: &WatchBatch) -> String {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let mut add =
        |bytes: &[u8]| bytes.iter().for_each(|byte| sum = (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    for event in &batch.events {
        add(&event.kv.key);
        add(&[event.kind as u8]);
        add(&event.kv.value);
        for number in [event.kv.create_revision, event.kv.mod_revision, event.kv.version] {
            add(&number.to_le_bytes());
        }
    }
    format!("{} {} {sum:016x}\n", batch.revision, batch.events.len())
}

/// Opens the file of a follower, without the line that a kill may have cut, and answers the revision
/// to go on from.
pub fn resume_file(path: &str) -> (fs::File, Revision) {
    let mut text = fs::read_to_string(path).unwrap_or_default();
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    let last = text.lines().last().and_then(|line| line.split(' ').next()?.parse::<Revision>().ok());
    // written anew beside it and renamed, as it may be killed here too
    let beside = format!("{path}.new");
    fs::write(&beside, &text).expect("written");
    fs::rename(&beside, path).expect("renamed");
    let mut file = fs::File::options().append(true).open(path).expect("the file");
    file.flush().expect("nothing to flush");
    (file, last.map_or(1, |last| last + 1))
}
