//! The conformance cases: the model, Rust (in memory and in a directory), the other languages, and
//! a real etcd must all return the response in the case. `tests/conformance/README.md` describes
//! the language.

use std::collections::BTreeSet;
use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use libkv::{LimitsPreset, Options};
use libkv_conformance::driver::{Program, Rust};
use libkv_conformance::gateway::Gateway;
use libkv_conformance::model::Model;
use libkv_conformance::script;

use libkv_conformance::programs;
use libkv_test_support::deadline::deadline;
use libkv_test_support::etcd::{self, Etcd};
use libkv_test_support::scratch;
use libkv_test_support::served::Served;

struct Case {
    /// File, line, rows and title.
    name: String,
    rows: Vec<String>,
    /// Raw messages: only for a server.
    wire: bool,
    not_etcd: bool,
    deviates: bool,
    lines: Vec<Line>,
}

struct Line {
    step: String,
    expected: String,
    /// The response of a real etcd, where libkv differs on purpose.
    etcd: Option<String>,
}

/// Repeats the text of `{text}N` N times, with # counting from 0.
fn expand(line: &str) -> String {
    let Some((before, rest)) = line
        .split_once('{')
        .filter(|_| !line.trim_start().starts_with("json") && !line.starts_with("= json"))
    else {
        return line.to_string();
    };
    let (text, rest) = rest.split_once('}').expect("a } after {");
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let times: usize = rest[..digits].parse().expect("a number after }");
    let all: String = (0..times)
        .map(|at| text.replace('#', &at.to_string()))
        .collect();
    expand(&format!("{before}{all}{}", &rest[digits..]))
}

fn cases() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .expect("tests/conformance/cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files.iter().flat_map(|file| read_cases(file)).collect()
}

fn read_cases(file: &Path) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (at, line) in fs::read_to_string(file)
        .expect("a case file")
        .lines()
        .enumerate()
    {
        let line = expand(line);
        let place = format!("{}:{}", file.file_name().expect("a name").display(), at + 1);
        if let Some(title) = line.strip_prefix("case ") {
            let is_row = |word: &&str| {
                word.contains('.') && word.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            };
            let rows = title
                .split(' ')
                .take_while(is_row)
                .map(str::to_string)
                .collect();
            let name = format!("{place} {title}");
            cases.push(Case {
                name,
                rows,
                wire: false,
                not_etcd: false,
                deviates: false,
                lines: Vec::new(),
            });
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let case = cases
            .last_mut()
            .unwrap_or_else(|| panic!("{place}: before the first case"));
        match line.as_str() {
            "wire" => case.wire = true,
            "not etcd" => case.not_etcd = true,
            "deviates" => case.deviates = true,
            _ => {
                if let Some(step) = line.strip_prefix("  ") {
                    case.lines.push(Line {
                        step: step.trim().into(),
                        expected: String::new(),
                        etcd: None,
                    });
                } else if let Some(response) = line.strip_prefix("=etcd ") {
                    case.lines.last_mut().expect("a step first").etcd =
                        Some(response.trim().into());
                } else if let Some(response) = line.strip_prefix("= ") {
                    case.lines.last_mut().expect("a step first").expected = response.trim().into();
                } else {
                    panic!("{place}: {line} is neither step nor response");
                }
            }
        }
    }
    cases
}

/// Runs every case for which `may` is true; returns the number of cases and the differences.
fn differences(
    may: impl Fn(&Case) -> bool,
    mut start: impl FnMut(&Case) -> Box<dyn FnMut(&Line) -> Option<(String, String)>>,
) -> (usize, Vec<String>) {
    let (mut ran, mut found) = (0, Vec::new());
    for case in cases().iter().filter(|case| may(case)) {
        ran += 1;
        let mut run = start(case);
        for line in &case.lines {
            let Some((is, should)) = run(line) else {
                continue;
            };
            if is != should {
                let cut = |text: &str| text.chars().take(400).collect::<String>();
                found.push(format!(
                    "{}\n  {}\n  should: {}\n  is:     {}",
                    case.name,
                    cut(&line.step),
                    cut(&should),
                    cut(&is)
                ));
            }
        }
    }
    (ran, found)
}

fn assert_no_difference(who: &str, (ran, found): (usize, Vec<String>)) {
    println!("{who}: {ran} cases");
    assert!(ran > 50, "{who}: only {ran} cases ran");
    assert!(
        found.is_empty(),
        "{who}: {} differences\n{}",
        found.len(),
        found.join("\n")
    );
}

fn options() -> Options {
    Options::new().limits(LimitsPreset::Etcd)
}

fn parsed(line: &Line) -> script::Step {
    script::parse(&line.step).unwrap_or_else(|e| panic!("{}: {e}", line.step))
}

#[test]
fn model() {
    let _deadline = deadline();
    // keys over 480 bytes are a limit of the engine, not of the model
    let may =
        |case: &Case| !case.wire && !case.deviates && !case.rows.iter().any(|row| row == "14.1");
    let found = differences(may, |_| {
        let mut model = Model::new(true);
        Box::new(move |line| Some((model.run(&parsed(line)), line.expected.clone())))
    });
    assert_no_difference("model", found);
}

#[test]
fn rust_in_memory() {
    let _deadline = deadline();
    let may = |case: &Case| !case.wire && !case.lines.iter().any(|line| line.step == "reopen");
    let found = differences(may, |_| {
        let mut rust = Rust::open(":memory:", options()).expect("a store in memory");
        Box::new(move |line| Some((rust.run(&parsed(line)), line.expected.clone())))
    });
    assert_no_difference("rust in memory", found);
}

#[test]
fn rust_in_a_directory() {
    let _deadline = deadline();
    let path = scratch("rust");
    let found = differences(
        |case| !case.wire,
        |_| {
            let _ = fs::remove_dir_all(&path);
            let mut rust = Rust::open(&path, options()).expect("a new store");
            Box::new(move |line| Some((rust.run(&parsed(line)), line.expected.clone())))
        },
    );
    let _ = fs::remove_dir_all(&path);
    assert_no_difference("rust in a directory", found);
}

/// Runs every case in a program. `command` starts it, or has the reason why it cannot start.
fn run_program(name: &str, command: Result<Vec<String>, String>) {
    let command = match command {
        Ok(command) => command,
        Err(why) => return println!("not run: conformance cases in {name} ({why})"),
    };
    let path = scratch(name);
    let found = differences(
        |case| !case.wire,
        |_| {
            let _ = fs::remove_dir_all(&path);
            let mut program = Program::start(&command, &path, true).expect("the driver starts");
            Box::new(move |line| Some((program.run(&line.step), line.expected.clone())))
        },
    );
    let _ = fs::remove_dir_all(&path);
    assert_no_difference(name, found);
}

#[test]
fn c() {
    let _deadline = deadline();
    run_program("c", programs::c());
}

#[test]
fn python() {
    let _deadline = deadline();
    run_program("python", programs::python(&[]));
}

#[test]
fn python_aio() {
    let _deadline = deadline();
    run_program("python-aio", programs::python(&["--aio"]));
}

#[test]
fn node() {
    let _deadline = deadline();
    run_program("node", programs::node(&[]));
}

#[test]
fn node_sync() {
    let _deadline = deadline();
    run_program("node-sync", programs::node(&["--sync"]));
}

/// Whether a cluster has the step. `idle` and `resume` are left out: the client of a cluster has
/// no position of a watcher without events; see [`libkv_etcd`].
fn cluster_can(step: &script::Step) -> bool {
    use script::Step;
    !matches!(
        step,
        Step::Status
            | Step::Check
            | Step::Reopen
            | Step::Advance(_)
            | Step::RevisionAt(_)
            | Step::Idle(_)
            | Step::Resume(_)
    )
}

/// Runs every case in a program on our server.
fn run_program_on_a_cluster(name: &str, command: Result<Vec<String>, String>) {
    let command = match command {
        Ok(command) => command,
        Err(why) => {
            return println!("not run: conformance cases in {name} over our server ({why})");
        }
    };
    let found = differences(
        |case| !case.wire && !case.not_etcd,
        |_| {
            let served = Served::start(name);
            let address = served.server.address().to_string();
            let mut program =
                Program::start(&command, Path::new(&address), true).expect("the driver starts");
            Box::new(move |line| {
                let _ = &served;
                cluster_can(&parsed(line)).then(|| (program.run(&line.step), line.expected.clone()))
            })
        },
    );
    assert_no_difference(&format!("{name} over our server"), found);
}

#[test]
fn c_on_a_cluster() {
    let _deadline = deadline();
    run_program_on_a_cluster("c", programs::c());
}

#[test]
fn python_on_a_cluster() {
    let _deadline = deadline();
    run_program_on_a_cluster("python", programs::python(&[]));
}

#[test]
fn python_aio_on_a_cluster() {
    let _deadline = deadline();
    run_program_on_a_cluster("python-aio", programs::python(&["--aio"]));
}

#[test]
fn node_on_a_cluster() {
    let _deadline = deadline();
    run_program_on_a_cluster("node", programs::node(&[]));
}

/// The client and the server of libkv: the network adds no difference.
#[test]
fn rust_on_our_server() {
    let _deadline = deadline();
    let found = differences(
        |case| !case.wire && !case.not_etcd,
        |_| {
            let served = Served::start("rust");
            let mut rust =
                Rust::over(libkv_etcd::open(served.url(), Options::new()).expect("a cluster"));
            Box::new(move |line| {
                let _alive = &served;
                let step = parsed(line);
                cluster_can(&step).then(|| (rust.run(&step), line.expected.clone()))
            })
        },
    );
    assert_no_difference("rust over our server", found);
}

/// The Rust API on a real etcd returns the responses of etcd, except for what the client checks.
#[test]
fn rust_on_a_cluster() {
    let _deadline = deadline();
    let program = match etcd::program() {
        Ok(program) => program,
        Err(why) => return println!("not run: conformance cases in Rust over a cluster ({why})"),
    };
    let found = differences(
        |case| !case.wire && !case.not_etcd,
        |case| {
            let etcd = Etcd::start(&program, "cluster");
            let mut rust =
                Rust::over(libkv_etcd::open(etcd.url(), Options::new()).expect("a cluster"));
            // the client refuses a negative start
            let own = case.rows.iter().any(|row| row == "10.3");
            Box::new(move |line| {
                let _alive = &etcd;
                let step = parsed(line);
                let should = line
                    .etcd
                    .as_ref()
                    .filter(|_| !own)
                    .unwrap_or(&line.expected)
                    .clone();
                cluster_can(&step).then(|| (rust.run(&step), should))
            })
        },
    );
    assert_no_difference("rust on a cluster", found);
}

#[test]
fn real_etcd() {
    let _deadline = deadline();
    let program = match etcd::program() {
        Ok(program) => program,
        Err(why) => {
            println!("not run: conformance cases against a real etcd ({why})");
            return;
        }
    };
    let found = differences(
        |case| !case.not_etcd,
        |_| {
            let etcd = Etcd::start(&program, "cases");
            let gateway = Gateway::at(&etcd.url());
            Box::new(move |line| {
                let _alive = &etcd;
                json_step(&gateway, line, line.etcd.as_ref().unwrap_or(&line.expected))
            })
        },
    );
    assert_no_difference("real etcd", found);
}

/// The driver for a real etcd, on our server: it must return what libkv returns.
#[test]
fn json_gateway() {
    let _deadline = deadline();
    // users and roles are not implemented yet; another test checks the server's error
    let may = |case: &Case| !case.not_etcd && !case.rows.iter().any(|row| row == "1.11");
    let found = differences(may, |_| {
        let served = Served::start("cases");
        let gateway = Gateway::at(&served.url());
        Box::new(move |line| {
            let _ = &served;
            json_step(&gateway, line, &line.expected)
        })
    });
    assert_no_difference("json gateway of our server", found);
}

/// Executes a step through a JSON gateway; returns the response and the expected one. None if the
/// gateway has no such call.
fn json_step(gateway: &Gateway, line: &Line, should: &str) -> Option<(String, String)> {
    let is = if let Some(bytes) = line.step.strip_prefix("size ") {
        let value = "eHh4".repeat(bytes.parse::<usize>().expect("a size") / 3);
        gateway.raw(
            "/v3/kv/put",
            &format!("{{\"key\":\"aw==\",\"value\":\"{value}\"}}"),
            Some("error"),
        )
    } else if let Some(raw) = line.step.strip_prefix("json ") {
        let mut words = raw.splitn(2, ' ');
        let (path, rest) = (words.next().unwrap_or(""), words.next().unwrap_or("{}"));
        let (body, pick) = rest
            .rsplit_once(' ')
            .map_or((rest, None), |(body, pick)| (body, Some(pick)));
        stars(gateway.raw(path, body, pick), should)
    } else if let Some(raw) = line.step.strip_prefix("json_stream ") {
        stars(stream(gateway, raw), should)
    } else {
        gateway.run(&parsed(line))?
    };
    Some((is, should.to_string()))
}

/// Returns the first messages of a stream: `N PATH BODY [dotted.path]`.
fn stream(gateway: &Gateway, words: &str) -> String {
    let mut words = words.splitn(4, ' ');
    let mut word = || words.next().unwrap_or("");
    let (count, path, body, pick) = (word(), word(), word(), word());
    let mut lines = gateway.stream(path, body).lines();
    let mut response = String::from("json");
    for _ in 0..count.parse().expect("a number of messages") {
        let line = lines.next().and_then(Result::ok).unwrap_or_default();
        let mut message = serde_json::from_str(&line).unwrap_or(serde_json::Value::Null);
        for name in pick.split('.').filter(|name| !name.is_empty()) {
            message = message
                .get(name)
                .cloned()
                .unwrap_or(serde_json::Value::Null);
        }
        response += &format!(" {message}");
    }
    response
}

/// Replaces strings in `is` by `"*"` where `should` has `"*"`: ids of servers.
fn stars(is: String, should: &str) -> String {
    let mut out = is.clone();
    for part in should.split("\"*\"").collect::<Vec<_>>().windows(2) {
        let Some(at) = out.find(part[0]).map(|at| at + part[0].len()) else {
            return is;
        };
        let Some(end) = out[at..].strip_prefix('"').and_then(|rest| rest.find('"')) else {
            return is;
        };
        out.replace_range(at..at + end + 2, "\"*\"");
    }
    out
}

#[test]
fn contract_rows_all_have_a_case() {
    let _deadline = deadline();
    let contract = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../contract.md"))
        .expect("contract.md");
    let with_case: BTreeSet<String> = cases().into_iter().flat_map(|case| case.rows).collect();
    let mut missing = Vec::new();
    for line in contract.lines() {
        let row = line
            .strip_prefix("| ")
            .and_then(|rest| rest.split(' ').next())
            .unwrap_or("");
        let Some((section, number)) = row.split_once('.') else {
            continue;
        };
        let in_scope = matches!(section, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "10")
            && number.bytes().all(|b| b.is_ascii_digit());
        if in_scope && !with_case.contains(row) {
            missing.push(row.to_string());
        }
    }
    // the rows of sections 2 and 14 have no numbers and are counted from the top; section 12 is
    // prose
    missing.extend(
        (1..=5)
            .map(|n| format!("12.{n}"))
            .filter(|row| !with_case.contains(row)),
    );
    missing.extend(
        (1..=6)
            .map(|n| format!("2.{n}"))
            .filter(|row| !with_case.contains(row)),
    );
    missing.extend(
        (1..=6)
            .map(|n| format!("14.{n}"))
            .filter(|row| !with_case.contains(row)),
    );
    assert!(
        missing.is_empty(),
        "rows of the contract without a case: {missing:?}"
    );
}

#[test]
fn deviations_are_listed() {
    let _deadline = deadline();
    let listed = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deviations.md"))
        .expect("deviations.md");
    for case in cases() {
        let differs = case.lines.iter().any(|line| line.etcd.is_some());
        assert_eq!(
            differs, case.deviates,
            "{}: a case has the line `deviates` if and only if it has an =etcd line",
            case.name
        );
        if differs {
            for row in &case.rows {
                assert!(
                    listed.contains(&format!("| {row} |")),
                    "{}: tests/deviations.md has no row {row}",
                    case.name
                );
            }
        }
    }
}
