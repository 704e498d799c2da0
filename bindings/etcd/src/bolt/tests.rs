use std::io::Cursor;

use super::format::*;
use super::{Database, Writer};
use libkv::Code;

type Entry = (Vec<u8>, Vec<u8>);

fn written(buckets: &[(&str, Vec<Entry>)]) -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new())).expect("begun");
    for (name, entries) in buckets {
        writer.bucket(name).expect("a bucket");
        for (key, value) in entries {
            writer.put(key, value).expect("an entry");
        }
    }
    let (len, out) = writer.finish().expect("written");
    let bytes = out.into_inner();
    assert_eq!(len, bytes.len() as u64);
    bytes
}

fn read(bytes: &[u8]) -> libkv::Result<Vec<(Vec<u8>, Vec<Entry>)>> {
    let database = Database::open(bytes, bytes.len() as u64)?;
    database.verify()?;
    let mut found = Vec::new();
    for (name, bucket) in database.buckets()? {
        let mut entries = database.entries(&bucket)?;
        let mut list = Vec::new();
        while let Some((key, value)) = entries.next()? {
            list.push((key.to_vec(), value.to_vec()));
        }
        found.push((name, list));
    }
    Ok(found)
}

fn entries(count: u32, key_bytes: usize, value_bytes: usize) -> Vec<Entry> {
    (0..count)
        .map(|i| {
            let mut key = i.to_be_bytes().to_vec();
            key.resize(key_bytes.max(4), b'k');
            (key, vec![i as u8; value_bytes * (i as usize % 7)])
        })
        .collect()
}

#[test]
fn round_trip_of_every_tree_size() {
    for count in [0, 1, 2, 3, 100, 255, 256, 257, 5_000, 20_000] {
        let large = vec![(b"a".to_vec(), vec![7; 9_000]), (b"b".to_vec(), Vec::new())];
        let buckets = [
            ("auth", vec![]),
            ("key", entries(count, 17, 10)),
            ("large", large),
            ("long", entries(count.min(300), 2_000, 900)),
        ];
        let found = read(&written(&buckets)).expect("a file without damage");
        for ((name, entries), (found_name, found)) in buckets.iter().zip(&found) {
            assert_eq!(name.as_bytes(), found_name);
            assert!(entries == found, "{count} entries of {name}");
        }
        assert_eq!(found.len(), buckets.len());
    }
}

#[test]
fn writer_refuses_wrong_order_and_lengths() {
    let mut writer = Writer::new(Cursor::new(Vec::new())).expect("begun");
    assert!(writer.put(b"a", b"").is_err(), "no bucket");
    writer.bucket("m").expect("a bucket");
    assert!(writer.put(b"", b"").is_err());
    assert!(writer.put(&vec![b'k'; KEY_BYTES_MAX + 1], b"").is_err());
    writer.put(b"b", b"").expect("an entry");
    assert!(writer.put(b"b", b"").is_err());
    assert!(writer.put(b"a", b"").is_err());
    assert!(writer.bucket("m").is_err());
    assert!(writer.bucket("a").is_err());
}

#[test]
fn reader_takes_the_newer_valid_meta() {
    let bytes = written(&[("key", entries(100, 17, 10))]);
    for damaged in 0..2 {
        let mut bytes = bytes.clone();
        bytes[damaged * 4096 + 20] ^= 1;
        assert!(read(&bytes).is_ok(), "meta {damaged} is damaged");
    }
    let mut both = bytes.clone();
    both[20] ^= 1;
    both[4096 + 20] ^= 1;
    assert_eq!(read(&both).expect_err("no meta").code(), Code::Corrupt);
}

#[test]
fn reader_takes_inline_buckets_and_a_stored_free_list() {
    let bytes = written(&[("a", vec![]), ("b", entries(3, 8, 1))]);
    let found = read(&bytes).expect("a file without damage");
    assert_eq!(found[0], (b"a".to_vec(), vec![]));
    // a free list on a page of its own at the end, with the count in the header
    let mut bytes = bytes;
    let page = (bytes.len() / 4096) as u64;
    let header = PageHeader {
        id: page,
        flags: FREE_LIST,
        count: 0,
        overflow: 0,
    };
    bytes.extend(header.encode());
    bytes.resize((page as usize + 1) * 4096, 0);
    let mut meta = Meta::decode(&bytes[4096 + HEADER_BYTES..]).expect("a meta");
    (meta.free_list, meta.high_water) = (page, page + 1);
    bytes[4096 + HEADER_BYTES..][..META_BYTES + 8].copy_from_slice(&meta.encode());
    assert!(read(&bytes).is_ok());
    // page 2 is in use: it must not be listed as free
    bytes[page as usize * 4096 + 10] = 1;
    bytes[page as usize * 4096 + 16] = 2;
    let error = read(&bytes).expect_err("a page both free and used");
    assert!(error.message().contains("page 2 is used twice"), "{error}");
}

#[test]
fn damaged_files_are_refused_or_read_and_never_panic() {
    let whole = written(&[
        ("key", entries(2_000, 17, 40)),
        ("lease", entries(2, 8, 3)),
        ("meta", vec![]),
    ]);
    let expected = read(&whole).expect("a file without damage");
    for len in (0..whole.len()).step_by(509) {
        assert!(read(&whole[..len]).is_err(), "cut at {len}");
    }
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let mut noticed = 0;
    for _ in 0..2_000 {
        let mut bytes = whole.clone();
        let headers = [0, 2, 3, whole.len() / 4096 - 1];
        for _ in 0..=next(3) {
            let at = match next(2) {
                0 => headers[next(4)] * 4096 + next(64),
                _ => next(bytes.len()),
            };
            bytes[at] = next(256) as u8;
        }
        match read(&bytes) {
            Ok(found) => noticed += usize::from(found != expected),
            Err(error) => {
                assert_eq!(error.code(), Code::Corrupt);
                noticed += 1;
            }
        }
    }
    assert!(noticed > 200, "only {noticed} damaged files were noticed");
}

#[test]
fn circles_in_a_tree_are_noticed() {
    let mut bytes = written(&[("key", entries(2_000, 17, 40))]);
    let database = Database::open(&bytes[..], bytes.len() as u64).expect("open");
    let root = database.meta.root as usize;
    let pages = bytes.len() / 4096;
    let branch = (2..pages).find(|&page| bytes[page * 4096 + 8] == BRANCH as u8);
    let branch = branch.expect("a branch");
    assert_ne!(branch, root);
    // the first child of the branch is the branch itself
    bytes[branch * 4096 + HEADER_BYTES + 8..][..8].copy_from_slice(&(branch as u64).to_le_bytes());
    assert_eq!(read(&bytes).expect_err("a circle").code(), Code::Corrupt);
    let database = Database::open(&bytes[..], bytes.len() as u64).expect("open");
    let (_, bucket) = database.buckets().expect("readable").remove(0);
    let mut entries = database.entries(&bucket).expect("a walk");
    let error = loop {
        match entries.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the walk ended without an error"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Code::Corrupt);
}
