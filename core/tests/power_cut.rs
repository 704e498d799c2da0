//! What each commit flushes, and what a power cut may leave.
//!
//! A worker runs under `preload/record.c`, which records what it does to its files. From the record
//! follow the flushes of each commit, and images of what the disk may hold when the power goes:
//! what was flushed, and of each write since then everything, nothing, or some of its sectors.
//!
//! `SEED=` repeats a run, `IMAGES=` sets how many images are opened.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use libkv_test_support::deadline::{deadline, deadline_times};
use libkv_test_support::dice::Dice;
use libkv_test_support::{seed, setting};

const IMAGES: usize = 12_000;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// What the page cache flushes together.
const PAGE: usize = 4_096;
/// Images that one process opens, and how many processes do so at once.
const BATCH: usize = 50;
const CHECKERS: usize = 2;
const WORKER: &str = env!("CARGO_BIN_EXE_cut_worker");

/// One thing that the worker did.
struct Record {
    kind: u8,
    /// On a descriptor opened with O_DSYNC.
    flushed: bool,
    path: String,
    offset: usize,
    data: Vec<u8>,
}

impl Record {
    fn is(&self, kind: u8, path: &str) -> bool {
        self.kind == kind && self.path == path
    }

    /// The lines that it adds to the worker's acknowledgements.
    fn acks(&self) -> &str {
        if self.is(b'w', "acks") {
            std::str::from_utf8(&self.data).expect("acks are text")
        } else {
            ""
        }
    }
}

fn read_record(log: &Path) -> Vec<Record> {
    let bytes = fs::read(log).unwrap_or_default();
    let mut rest = &bytes[..];
    let mut records = Vec::new();
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |n, byte| n << 8 | usize::from(*byte))
    };
    while let Some((head, body)) = rest.split_first_chunk::<20>() {
        let (path, body) = body.split_at(number(&head[2..4]));
        let (data, body) = body.split_at(number(&head[12..]));
        records.push(Record {
            kind: head[0],
            flushed: head[1] != 0,
            path: String::from_utf8_lossy(path).into_owned(),
            offset: number(&head[4..12]),
            data: data.to_vec(),
        });
        rest = body;
    }
    records
}

/// A directory in memory for one test; the disk is not what is tested.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory
        } else {
            Path::new(env!("CARGO_TARGET_TMPDIR"))
        };
        let path = parent.join(format!("libkv-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory in memory");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Builds the recorder, or says why not.
fn recorder(name: &str) -> Result<PathBuf, String> {
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.so"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/record.c");
    let built = Command::new("cc")
        .args([
            "-std=c99", "-Wall", "-Wextra", "-O1", "-shared", "-fPIC", "-o",
        ])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .map_err(|e| format!("cc: {e}"))?;
    match built.status.success() {
        true => Ok(library),
        // a compiler that refuses it is an error of ours, one that is missing is not
        false => panic!("{}", String::from_utf8_lossy(&built.stderr)),
    }
}

/// The record of a worker, or why there is none. It may begin with what a cut left, under the boot
/// after it.
fn recorded(
    library: &Path,
    base: &Path,
    args: &[&str],
    left: Option<&Disk>,
) -> Result<Vec<Record>, String> {
    let dir = base.join("recorded");
    fs::create_dir(&dir).expect("a directory");
    let log = base.join("record");
    let mut command = Command::new(WORKER);
    if let Some(left) = left {
        left.cut(&dir, &mut Dice(0));
        command.env("RECORD_BOOT_ID", boot(base, 1));
    }
    let status = command
        .args([args[0], dir.to_str().expect("its name is text")])
        .args(&args[1..])
        .env("LD_PRELOAD", library)
        .env("RECORD_DIR", &dir)
        .env("RECORD_LOG", &log)
        .status()
        .expect("the worker starts");
    assert!(status.success(), "the worker ended with {status}");
    let records = read_record(&log);
    let _ = fs::remove_dir_all(&dir);
    let _ = fs::remove_file(&log);
    match records.iter().any(|record| record.path == "acks") {
        true => Ok(records),
        false => Err("LD_PRELOAD does not take".into()),
    }
}

/// A file with the id of another boot than the machine's.
fn boot(dir: &Path, number: u32) -> PathBuf {
    let file = dir.join("boot_id");
    fs::write(&file, format!("c0ffee00-0000-4000-8000-{number:012}\n"))
        .expect("a boot can be written");
    file
}

/// Past the harness, which keeps what a test that passes prints to itself.
fn not_run(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "not run: {what} ({why})");
}

/// Flushes in a stretch of a record.
#[derive(Debug, Default, PartialEq)]
struct Flushes {
    /// fdatasync of the data file.
    data: usize,
    /// Writes of it on a descriptor opened with O_DSYNC.
    meta: usize,
    /// Any other.
    other: usize,
}

fn flushes(records: &[Record]) -> Flushes {
    let mut flushes = Flushes::default();
    for record in records {
        let data = record.path == "store/data.mdb";
        match record.kind {
            b'd' if data => flushes.data += 1,
            b'w' if data && record.flushed => flushes.meta += 1,
            b'd' | b's' | b'm' => flushes.other += 1,
            b'w' if record.flushed => flushes.other += 1,
            _ => {}
        }
    }
    flushes
}

fn place_of(records: &[Record], line: &str) -> usize {
    records
        .iter()
        .position(|record| record.acks().lines().any(|said| said == line))
        .expect("the worker said it")
}

#[test]
fn commit_makes_the_flushes_of_its_durability() {
    let _deadline = deadline();
    let library = match recorder("flushes") {
        Ok(library) => library,
        Err(why) => return not_run("flush counts", &why),
    };
    for (durability, each) in [
        (
            "sync",
            Flushes {
                data: 1,
                meta: 1,
                other: 0,
            },
        ),
        (
            "lazy",
            Flushes {
                data: 1,
                meta: 0,
                other: 0,
            },
        ),
        ("none", Flushes::default()),
    ] {
        let scratch = Scratch::new(&format!("flushes-{durability}"));
        let records = match recorded(&library, &scratch.0, &["count", durability], None) {
            Ok(records) => records,
            Err(why) => return not_run("flush counts", &why),
        };
        if durability == "none" {
            assert_eq!(
                flushes(&records),
                Flushes::default(),
                "a store without flushes, from creation to closing"
            );
        }
        let (single, end) = (place_of(&records, "single"), place_of(&records, "end"));
        let group = place_of(&records, "group");
        // before its first commit a lazy store notes, synced, under which boot it is lazy
        let first = flushes(&records[place_of(&records, "open")..single]);
        let note = usize::from(durability == "lazy");
        let should = Flushes {
            data: each.data + note,
            meta: each.meta + note,
            other: 0,
        };
        assert_eq!(first, should, "{durability}: the first commit");
        // each part up to a response is one commit
        let (mut begin, mut commits) = (single + 1, 0);
        for at in single + 1..group {
            if !records[at].acks().is_empty() {
                assert_eq!(
                    flushes(&records[begin..at]),
                    each,
                    "{durability}: up to {}",
                    records[at].acks().trim_end()
                );
                (begin, commits) = (at + 1, commits + 1);
            }
        }
        // 40 puts and the one that opens the group
        assert_eq!(commits, 41, "{durability}: commits before the group");

        let responses = records[group + 1..end]
            .iter()
            .filter(|record| record.acks().starts_with("ack "))
            .count();
        assert_eq!(responses, 64, "{durability}: members of the group");
        let meta_page =
            |record: &&Record| record.is(b'w', "store/data.mdb") && record.offset < 2 * PAGE;
        let commits = records[group + 1..end].iter().filter(meta_page).count();
        assert!(
            (1..10).contains(&commits),
            "{durability}: {commits} commits for a group of 64"
        );
        let should = Flushes {
            data: each.data * commits,
            meta: each.meta * commits,
            other: 0,
        };
        assert_eq!(
            flushes(&records[group + 1..end]),
            should,
            "{durability}: {commits} commits of a group"
        );
        println!("{durability}: {each:?} a commit, {commits} commits for a group of 64");
    }
}

/// A write that is not on the disk for certain.
#[derive(Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone, Default)]
struct Content {
    flushed: Vec<u8>,
    pending: Vec<Pending>,
}

fn lay(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl Pending {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Pending::Write(offset, data) => lay(bytes, *offset, data),
            Pending::Length(length) => bytes.resize(*length, 0),
        }
    }

    /// As much of it as the dice leave.
    fn apply_perhaps(&self, bytes: &mut Vec<u8>, temper: u64, dice: &mut Dice) {
        let fate = match temper {
            // all are there, none is, or each has its own fate
            0 => 0,
            1 => 1,
            _ => dice.below(4),
        };
        match (fate, self) {
            (0, _) => self.apply(bytes),
            (1, _) => {}
            (_, Pending::Length(length)) if bytes.len() < *length => {
                let some = bytes.len() + dice.below((length - bytes.len()) as u64) as usize;
                bytes.resize(some / SECTOR * SECTOR, 0);
            }
            (_, Pending::Length(_)) => {}
            (fate, Pending::Write(offset, data)) => {
                let first = offset / SECTOR;
                let sectors = (offset + data.len()).div_ceil(SECTOR) - first;
                let edge = dice.below(sectors as u64 + 1) as usize;
                let beginning = dice.one_in(2);
                for sector in 0..sectors {
                    let there = if fate == 2 {
                        (sector < edge) == beginning
                    } else {
                        dice.one_in(2)
                    };
                    if there {
                        let begin = ((first + sector) * SECTOR).max(*offset);
                        let end = ((first + sector + 1) * SECTOR).min(offset + data.len());
                        lay(bytes, begin, &data[begin - offset..end - offset]);
                    }
                }
            }
        }
    }

    fn touches_page_of(&self, begin: usize, end: usize) -> bool {
        match self {
            Pending::Write(offset, data) => {
                offset / PAGE <= end / PAGE && begin / PAGE <= (offset + data.len()) / PAGE
            }
            Pending::Length(_) => false,
        }
    }
}

impl Content {
    fn flush(&mut self) {
        for pending in self.pending.drain(..) {
            pending.apply(&mut self.flushed);
        }
    }

    /// A write with O_DSYNC takes along what else its pages hold, and nothing more.
    fn write_through(&mut self, offset: usize, data: Vec<u8>) {
        let end = offset + data.len();
        self.pending.push(Pending::Write(offset, data));
        let (through, pending) = self
            .pending
            .drain(..)
            .partition(|pending| pending.touches_page_of(offset, end));
        self.pending = pending;
        let through: Vec<Pending> = through;
        for write in through {
            write.apply(&mut self.flushed);
        }
    }

    fn after_a_cut(&self, dice: &mut Dice) -> Vec<u8> {
        let temper = dice.below(8);
        let mut bytes = self.flushed.clone();
        for pending in &self.pending {
            pending.apply_perhaps(&mut bytes, temper, dice);
        }
        bytes
    }
}

/// A change of the directory; files are distinguished by number.
#[derive(Clone)]
enum Naming {
    Made(String, usize),
    Renamed(String, String),
    Unlinked(String),
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Naming::Made(name, file) => {
                names.insert(name.clone(), *file);
            }
            Naming::Renamed(from, to) => {
                let file = names.remove(from).expect("what is renamed is there");
                names.insert(to.clone(), file);
            }
            Naming::Unlinked(name) => {
                names.remove(name);
            }
        }
    }
}

/// What the disk holds for certain, and what it may hold. Only data files count: the others are
/// created again when they are not there.
#[derive(Clone, Default)]
struct Disk {
    files: Vec<Content>,
    /// As the processes see them.
    names: BTreeMap<String, usize>,
    flushed_names: BTreeMap<String, usize>,
    /// Since the directory was flushed.
    pending_names: Vec<Naming>,
    acks: String,
}

impl Disk {
    fn file(&mut self, name: &str) -> &mut Content {
        let file = self.names[name];
        &mut self.files[file]
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.pending_names.push(naming);
    }

    fn take(&mut self, record: &Record) {
        self.acks += record.acks();
        if record.path == "store" && record.kind == b's' {
            self.pending_names.clear();
            self.flushed_names = self.names.clone();
        }
        let Some(name) = record
            .path
            .strip_prefix("store/")
            .filter(|name| name.starts_with("data.mdb"))
        else {
            return;
        };
        match record.kind {
            b'c' => {
                self.files.push(Content::default());
                self.name(Naming::Made(name.into(), self.files.len() - 1));
            }
            b'w' if record.flushed => self
                .file(name)
                .write_through(record.offset, record.data.clone()),
            b'w' => self
                .file(name)
                .pending
                .push(Pending::Write(record.offset, record.data.clone())),
            b't' => self.file(name).pending.push(Pending::Length(record.offset)),
            b'd' | b's' => self.file(name).flush(),
            b'u' => self.name(Naming::Unlinked(name.into())),
            b'r' => {
                let to = String::from_utf8_lossy(&record.data).into_owned();
                let to = to
                    .strip_prefix("store/")
                    .expect("it stays in the store")
                    .to_string();
                self.name(Naming::Renamed(name.into(), to));
            }
            other => panic!("no kind of record: {}", char::from(other)),
        }
    }

    /// Before a flushed write returns, it is a write like any other.
    fn begin(&mut self, record: &Record) {
        let name = record.path.strip_prefix("store/").unwrap_or_default();
        if record.kind == b'w' && record.flushed && self.names.contains_key(name) {
            self.file(name)
                .pending
                .push(Pending::Write(record.offset, record.data.clone()));
        }
    }

    /// One of the images that a cut may leave now.
    fn cut(&self, dir: &Path, dice: &mut Dice) {
        let store = dir.join("store");
        fs::create_dir_all(&store).expect("a directory");
        let mut names = self.flushed_names.clone();
        let done = dice.below(self.pending_names.len() as u64 + 1) as usize;
        for naming in &self.pending_names[..done] {
            naming.apply(&mut names);
        }
        for (name, file) in names {
            fs::write(store.join(name), self.files[file].after_a_cut(dice))
                .expect("an image can be written");
        }
        fs::write(dir.join("acks"), &self.acks).expect("an image can be written");
    }
}

/// A process that opens a batch of images.
struct Checker {
    child: Child,
    dir: PathBuf,
}

impl Checker {
    fn start(library: &Path, dir: PathBuf, images: &[String]) -> Checker {
        let list = dir.join("list");
        fs::write(&list, images.join("\n")).expect("a list can be written");
        // after a power cut it is another boot
        let boot = boot(&dir, 2);
        let child = Command::new(WORKER)
            .args([Path::new("check"), &list])
            .env("LD_PRELOAD", library)
            .env("RECORD_BOOT_ID", &boot)
            .env_remove("RECORD_DIR")
            .stdout(Stdio::piped())
            .spawn()
            .expect("a checker starts");
        Checker { child, dir }
    }

    /// What is wrong with its images, and how many were well; the most revisions that one lacked.
    fn finish(mut self, bad: &mut Vec<String>) -> (usize, usize) {
        let mut said = String::new();
        let mut output = self.child.stdout.take().expect("it is piped");
        output.read_to_string(&mut said).expect("it speaks text");
        let status = self.child.wait().expect("it ends");
        let (mut well, mut missing, mut open) = (0, 0, None);
        for line in said.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["begin", image] => open = Some(image),
                ["ok", _, lacks] => {
                    (well, open) = (well + 1, None);
                    missing = missing.max(lacks.parse().expect("a number"));
                }
                _ => {
                    open = None;
                    bad.push(line.into());
                }
            }
        }
        if !status.success() {
            let how = status
                .signal()
                .map_or(status.to_string(), |signal| format!("signal {signal}"));
            bad.push(format!(
                "bad {} ends its process by {how}",
                open.unwrap_or("(none)")
            ));
        }
        if bad.is_empty() {
            let _ = fs::remove_dir_all(&self.dir);
        }
        (well, missing)
    }
}

#[test]
fn power_cut_loses_nothing_promised() {
    let library = match recorder("power_cut") {
        Ok(library) => library,
        Err(why) => return not_run("power cuts", &why),
    };
    let seed = seed();
    let images = setting("IMAGES").unwrap_or(IMAGES as u64) as usize;
    println!("IMAGES={images}");
    let _deadline = deadline_times(1 + (images / IMAGES) as u64);
    let mut dice = Dice(seed);
    // the last begins with a cut that took a group of the one before
    let mut left: Option<Disk> = None;
    for (name, durability) in [("sync", "sync"), ("lazy", "lazy"), ("cut before", "lazy")] {
        let began = Instant::now();
        let scratch = Scratch::new(&format!("cut-{}", name.replace(' ', "-")));
        let worker_seed = dice.below(1 << 32).to_string();
        let records = match recorded(
            &library,
            &scratch.0,
            &["run", durability, &worker_seed],
            left.as_ref(),
        ) {
            Ok(records) => records,
            Err(why) => return not_run("power cuts", &why),
        };
        let disk = left.take().unwrap_or_default();
        let (well, missing) =
            cut_everywhere(&library, &scratch.0, disk, &records, images / 3, &mut dice);
        println!(
            "{name}: {well} images at {} points, at most {missing} acknowledged revisions gone, {:.1?}",
            records.len() + 1,
            began.elapsed()
        );
        assert_eq!(
            well,
            images / 3,
            "{name}: images that were opened and checked"
        );
        // a commit flushes the one before it, so no more than the last is ever in danger: the 20 of
        // a group, or the one lazy write in a store that syncs
        let most = if durability == "lazy" { 20 } else { 1 };
        assert!(missing <= most, "{name}: {missing} revisions gone");
        if images >= IMAGES {
            assert!(
                missing > 0,
                "{name}: no image lacks a lazy write, so none was a cut in earnest"
            );
        }
        if name == "lazy" {
            left = Some(without_the_last_group(&records));
        }
    }
}

/// What is left of a lazy store when the power goes after its last group was acknowledged and
/// nothing more has reached the disk than had to.
fn without_the_last_group(records: &[Record]) -> Disk {
    let group = records
        .iter()
        .rposition(|record| record.acks() == "group\n")
        .expect("the worker makes groups");
    let is_response = |record: &Record| record.acks().starts_with("ack ");
    let responded = group
        + records[group..]
            .iter()
            .take_while(|record| !is_response(record))
            .count();
    let end = responded
        + records[responded..]
            .iter()
            .take_while(|record| is_response(record))
            .count();
    let mut disk = Disk::default();
    for record in &records[..end] {
        disk.take(record);
    }
    for file in &mut disk.files {
        file.pending.clear();
    }
    disk
}

/// Opens as many images, spread evenly over the points of a record.
fn cut_everywhere(
    library: &Path,
    scratch: &Path,
    mut disk: Disk,
    records: &[Record],
    images: usize,
    dice: &mut Dice,
) -> (usize, usize) {
    let points = records.len() + 1;
    let mut point = 0;
    let (mut checkers, mut bad) = (Vec::new(), Vec::new());
    let (mut well, mut missing) = (0, 0);
    for first in (0..images).step_by(BATCH) {
        let dir = scratch.join(format!("batch{first}"));
        let mut batch = Vec::new();
        for image in first..images.min(first + BATCH) {
            while point < image * points / images {
                disk.take(&records[point]);
                point += 1;
            }
            let path = dir.join(format!("image{image}-point{point}"));
            let mut cut = disk.clone();
            if let Some(record) = records.get(point) {
                cut.begin(record);
            }
            cut.cut(&path, dice);
            batch.push(path.to_str().expect("its name is text").to_string());
        }
        if checkers.len() == CHECKERS {
            let (more, lacks) = Checker::finish(checkers.remove(0), &mut bad);
            (well, missing) = (well + more, missing.max(lacks));
        }
        checkers.push(Checker::start(library, dir, &batch));
    }
    for checker in checkers {
        let (more, lacks) = checker.finish(&mut bad);
        (well, missing) = (well + more, missing.max(lacks));
    }
    assert!(
        bad.is_empty(),
        "{} bad images:\n{}",
        bad.len(),
        bad[..bad.len().min(20)].join("\n")
    );
    (well, missing)
}
