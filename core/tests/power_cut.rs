//! The flushes of each commit, and the possible states of the disk after a power cut.
//!
//! A worker runs under `programs/record.c`, which records its calls on files. From the record the
//! tests derive the flushes of each commit, and images of the disk after a power cut: everything
//! that was flushed, and of each later write everything, nothing, or some of its sectors.
//!
//! `SEED=` repeats a run, `IMAGES=` sets the number of images.

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
/// The unit that a disk writes completely or not at all.
const SECTOR: usize = 512;
/// The unit that the page cache flushes.
const PAGE: usize = 4_096;
/// The number of images for each process, and of processes at a time.
const BATCH: usize = 50;
const CHECKERS: usize = 2;
const WORKER: &str = env!("CARGO_BIN_EXE_cut_worker");

/// One call of the worker.
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

    /// The lines that this call adds to the worker's acknowledgements.
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

/// A directory in memory for one test.
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

/// Builds the recorder, or returns the reason why that is not possible.
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
        // a compiler error is a failure, a missing compiler is not
        false => panic!("{}", String::from_utf8_lossy(&built.stderr)),
    }
}

/// Runs a worker and returns its record, or the reason why there is none. The worker may start with
/// the image of a cut, under the next boot id.
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
        .args([args[0], dir.to_str().expect("a path in UTF-8")])
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
        false => Err("LD_PRELOAD has no effect".into()),
    }
}

/// A file with a boot id that differs from the machine's.
fn boot(dir: &Path, number: u32) -> PathBuf {
    let file = dir.join("boot_id");
    fs::write(&file, format!("c0ffee00-0000-4000-8000-{number:012}\n"))
        .expect("the file of the boot id");
    file
}

/// Writes to standard error directly, because the harness hides the output of a passing test.
fn not_run(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "not run: {what} ({why})");
}

/// The flushes in a part of a record.
#[derive(Debug, Default, PartialEq)]
struct Flushes {
    /// fdatasync of the data file.
    data: usize,
    /// Writes of the data file on a descriptor opened with O_DSYNC.
    meta: usize,
    /// All other flushes.
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
        .position(|record| record.acks().lines().any(|ack| ack == line))
        .expect("the line of the worker")
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
        // before its first commit a lazy store records its boot id in a synced commit
        let first = flushes(&records[place_of(&records, "open")..single]);
        let note = usize::from(durability == "lazy");
        let should = Flushes {
            data: each.data + note,
            meta: each.meta + note,
            other: 0,
        };
        assert_eq!(first, should, "{durability}: the first commit");
        // the calls up to each response are one commit
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
        // 40 puts, and the put that starts the group
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

/// A write that may or may not be on the disk.
#[derive(Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone, Default)]
struct FileContent {
    flushed: Vec<u8>,
    pending: Vec<Pending>,
}

fn write_at(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl Pending {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Pending::Write(offset, data) => write_at(bytes, *offset, data),
            Pending::Length(length) => bytes.resize(*length, 0),
        }
    }

    /// Applies everything, nothing or a random part of it.
    fn apply_perhaps(&self, bytes: &mut Vec<u8>, mode: u64, dice: &mut Dice) {
        let choice = match mode {
            // all writes are on the disk, none is, or each is decided separately
            0 => 0,
            1 => 1,
            _ => dice.below(4),
        };
        match (choice, self) {
            (0, _) => self.apply(bytes),
            (1, _) => {}
            (_, Pending::Length(length)) if bytes.len() < *length => {
                let some = bytes.len() + dice.below((length - bytes.len()) as u64) as usize;
                bytes.resize(some / SECTOR * SECTOR, 0);
            }
            (_, Pending::Length(_)) => {}
            (choice, Pending::Write(offset, data)) => {
                let first = offset / SECTOR;
                let sectors = (offset + data.len()).div_ceil(SECTOR) - first;
                let edge = dice.below(sectors as u64 + 1) as usize;
                let beginning = dice.one_in(2);
                for sector in 0..sectors {
                    let there = if choice == 2 {
                        (sector < edge) == beginning
                    } else {
                        dice.one_in(2)
                    };
                    if there {
                        let begin = ((first + sector) * SECTOR).max(*offset);
                        let end = ((first + sector + 1) * SECTOR).min(offset + data.len());
                        write_at(bytes, begin, &data[begin - offset..end - offset]);
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

impl FileContent {
    fn flush(&mut self) {
        for pending in self.pending.drain(..) {
            pending.apply(&mut self.flushed);
        }
    }

    /// A write with O_DSYNC also flushes the earlier writes to its pages, and no others.
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
        let mode = dice.below(8);
        let mut bytes = self.flushed.clone();
        for pending in &self.pending {
            pending.apply_perhaps(&mut bytes, mode, dice);
        }
        bytes
    }
}

/// A change of the directory; files are distinguished by number.
#[derive(Clone)]
enum DirectoryChange {
    Made(String, usize),
    Renamed(String, String),
    Unlinked(String),
}

impl DirectoryChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            DirectoryChange::Made(name, file) => {
                names.insert(name.clone(), *file);
            }
            DirectoryChange::Renamed(from, to) => {
                let file = names.remove(from).expect("the renamed file exists");
                names.insert(to.clone(), file);
            }
            DirectoryChange::Unlinked(name) => {
                names.remove(name);
            }
        }
    }
}

/// The contents of the disk: flushed and pending. Only data files matter: the others are created
/// again if they do not exist.
#[derive(Clone, Default)]
struct Disk {
    files: Vec<FileContent>,
    /// The names that the processes have.
    names: BTreeMap<String, usize>,
    flushed_names: BTreeMap<String, usize>,
    /// Changes since the directory was flushed.
    pending_names: Vec<DirectoryChange>,
    acks: String,
}

impl Disk {
    fn file(&mut self, name: &str) -> &mut FileContent {
        let file = self.names[name];
        &mut self.files[file]
    }

    fn name(&mut self, naming: DirectoryChange) {
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
                self.files.push(FileContent::default());
                self.name(DirectoryChange::Made(name.into(), self.files.len() - 1));
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
            b'u' => self.name(DirectoryChange::Unlinked(name.into())),
            b'r' => {
                let to = String::from_utf8_lossy(&record.data).into_owned();
                let to = to
                    .strip_prefix("store/")
                    .expect("a path in the store")
                    .to_string();
                self.name(DirectoryChange::Renamed(name.into(), to));
            }
            other => panic!("unknown kind of record: {}", char::from(other)),
        }
    }

    /// A write with O_DSYNC, before it returns, may be lost like any other.
    fn begin(&mut self, record: &Record) {
        let name = record.path.strip_prefix("store/").unwrap_or_default();
        if record.kind == b'w' && record.flushed && self.names.contains_key(name) {
            self.file(name)
                .pending
                .push(Pending::Write(record.offset, record.data.clone()));
        }
    }

    /// Writes a possible image of a power cut at this point.
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
                .expect("the image is written");
        }
        fs::write(dir.join("acks"), &self.acks).expect("the image is written");
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
        fs::write(&list, images.join("\n")).expect("the list is written");
        // after a power cut the boot id differs
        let boot = boot(&dir, 2);
        let child = Command::new(WORKER)
            .args([Path::new("check"), &list])
            .env("LD_PRELOAD", library)
            .env("RECORD_BOOT_ID", &boot)
            .env_remove("RECORD_DIR")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the checker starts");
        Checker { child, dir }
    }

    /// Adds the problems of its images to `bad`. Returns the number of good images, and the largest
    /// number of missing revisions.
    fn finish(mut self, bad: &mut Vec<String>) -> (usize, usize) {
        let mut text = String::new();
        let mut output = self.child.stdout.take().expect("piped");
        output.read_to_string(&mut text).expect("text");
        let status = self.child.wait().expect("the checker ends");
        let (mut well, mut missing, mut open) = (0, 0, None);
        for line in text.lines() {
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
                "bad {} killed its process with {how}",
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
fn power_cut_loses_nothing_acknowledged_as_durable() {
    let library = match recorder("power_cut") {
        Ok(library) => library,
        Err(why) => return not_run("power cuts", &why),
    };
    let seed = seed();
    let images = setting("IMAGES").unwrap_or(IMAGES as u64) as usize;
    println!("IMAGES={images}");
    let _deadline = deadline_times(1 + (images / IMAGES) as u64);
    let mut dice = Dice(seed);
    // the last run begins with an image that lacks the last group of the run before
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
            "{name}: {well} images at {} points, at most {missing} acknowledged revisions missing, {:.1?}",
            records.len() + 1,
            began.elapsed()
        );
        assert_eq!(
            well,
            images / 3,
            "{name}: every image was opened and checked"
        );
        // a commit flushes the one before it, so only the last commit can be lost: a group of 20,
        // or the one lazy write in a store that syncs
        let most = if durability == "lazy" { 20 } else { 1 };
        assert!(missing <= most, "{name}: {missing} revisions are missing");
        if images >= IMAGES {
            assert!(
                missing > 0,
                "{name}: no image lacks a lazy write, so the cuts had no effect"
            );
        }
        if name == "lazy" {
            left = Some(without_the_last_group(&records));
        }
    }
}

/// The disk of a lazy store after a power cut: its last group was acknowledged, and only flushed
/// writes are on the disk.
fn without_the_last_group(records: &[Record]) -> Disk {
    let group = records
        .iter()
        .rposition(|record| record.acks() == "group\n")
        .expect("a group of the worker");
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

/// Opens this number of images, spread evenly over the record.
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
            batch.push(path.to_str().expect("a path in UTF-8").to_string());
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
