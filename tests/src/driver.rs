//! Whoever can be asked to do a step: the Rust face on a store, or a program that reads steps and
//! prints answers (the C driver, and other languages').

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use libkv::*;

use crate::script::{self, Step};

/// The Rust face on a store.
pub struct Rust {
    path: PathBuf,
    options: Options,
    db: Db,
}

impl Rust {
    /// Opens a store: a directory, or `:memory:` (which cannot be reopened).
    pub fn open(path: impl Into<PathBuf>, options: Options) -> Result<Rust> {
        let path = path.into();
        let db = Db::open(&path, options.clone())?;
        Ok(Rust { path, options, db })
    }

    /// The handle.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Does one step and answers its line.
    pub fn run(&mut self, step: &Step) -> String {
        self.step(step).unwrap_or_else(|error| script::error(&error))
    }

    fn step(&mut self, step: &Step) -> Result<String> {
        let db = &self.db;
        Ok(match step {
            Step::Request(request) => script::answer(&request_through(db, request)?),
            Step::Get(key, revision) => script::found(db.get_at(key, *revision)?.as_ref()),
            Step::GetInto(key, size) => {
                let mut buffer = vec![0; *size];
                let len = db.get_into(key, &mut buffer)?;
                script::value(len.map(|len| (len, buffer.get(..len))))
            }
            Step::Scan(range) => script::scanned(&db.scan(range.clone())?.collect::<Result<Vec<_>>>()?),
            Step::History(key, limit) => script::events(&db.history(key, *limit)?),
            Step::Changes(after, upto, range) => {
                script::events(&db.changes(*after, *upto, range.clone()).collect::<Result<Vec<_>>>()?)
            }
            Step::Diff(a, b, range) => script::changes(&db.diff(*a, *b, range.clone())?.collect::<Result<Vec<_>>>()?),
            Step::Status => {
                let status = db.status()?;
                script::status(status.revision, status.compacted_revision, status.keys)
            }
            Step::Check => {
                let report = db.check()?;
                let details: String = report.problems.iter().map(|problem| format!(" {problem:?}")).collect();
                format!("check problems={}{details}", report.problems.len())
            }
            Step::Reopen => {
                self.db.close();
                self.db = Db::open(&self.path, self.options.clone())?;
                "reopened".into()
            }
        })
    }
}

/// Each request by its own method, so that the methods are what is tested.
fn request_through(db: &Db, request: &Request) -> Result<Answer> {
    Ok(match request.clone() {
        Request::Range(range) => Answer::Range(both_ranges(db, range)?),
        Request::Put(put) => Answer::Put(db.put(put)?),
        Request::Delete(delete) => Answer::Delete(db.delete(delete)?),
        Request::Txn(txn) => Answer::Txn(db.txn(txn)?),
        Request::Compact(compact) => Answer::Compact(db.compact(compact.revision, compact.physical)?),
    })
}

/// A range, once with the pairs in the answer and once with each handed over.
fn both_ranges(db: &Db, range: Range) -> Result<RangeResult> {
    let mut kvs = Vec::new();
    let each = db.range_each(&range, |pair| {
        let PairRef { create_revision, mod_revision, version, lease, .. } = pair;
        let (key, value) = (pair.key.to_vec().into(), pair.value.to_vec().into());
        kvs.push(KeyValue { key, value, create_revision, mod_revision, version, lease });
    });
    let each = each.map(|answer| RangeResult { kvs, ..answer }).map_err(|error| error.to_string());
    let answer = db.range(range);
    assert_eq!(each, answer.clone().map_err(|error| error.to_string()));
    answer
}

/// A program that reads a step a line and prints an answer a line.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Program {
    /// Starts `program STORE [limits=etcd]`; the program may have words of its own before these.
    pub fn start(program: &[String], store: &Path, etcd_limits: bool) -> std::io::Result<Program> {
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).arg(store).stdin(Stdio::piped()).stdout(Stdio::piped());
        if etcd_limits {
            command.arg("limits=etcd");
        }
        let mut child = command.spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("it is piped"));
        Ok(Program { child, input, output: BufReader::new(output) })
    }

    /// Has one step done and answers its line.
    pub fn run(&mut self, line: &str) -> String {
        let sent = self.input.as_mut().map(|input| writeln!(input, "{line}").and_then(|()| input.flush()));
        let mut answer = String::new();
        match (sent, self.output.read_line(&mut answer)) {
            (Some(Ok(())), Ok(1..)) => answer.trim_end().to_string(),
            (sent, read) => format!("the driver died: {sent:?} {read:?} {:?}", self.child.try_wait()),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}
