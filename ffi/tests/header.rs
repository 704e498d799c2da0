//! The header equals the one generated from the sources. Every call has a comment with four parts
//! and a guard against panics. The libraries export only names that begin with `kv_`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

fn header() -> String {
    fs::read_to_string(root().join("include/kv.h")).expect("include/kv.h")
}

/// An entry point: its name, the comment over it, and its body.
struct Entry {
    name: String,
    comment: String,
    body: String,
}

fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for file in fs::read_dir(root().join("ffi/src")).expect("ffi/src") {
        let source = fs::read_to_string(file.expect("an entry").path()).expect("a source");
        let lines: Vec<&str> = source.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((_, rest)) = line
                .split_once("extern \"C\" fn kv_")
                .filter(|_| line.starts_with("pub "))
            else {
                continue;
            };
            let name = format!("kv_{}", rest.split('(').next().expect("a name"));
            let comment: Vec<&str> = lines[..at]
                .iter()
                .rev()
                .take_while(|line| line.starts_with("///") || line.starts_with("#["))
                .copied()
                .collect();
            let body: Vec<&str> = lines[at..]
                .iter()
                .take_while(|line| **line != "}")
                .copied()
                .collect();
            entries.push(Entry {
                name,
                comment: comment.into_iter().rev().collect::<Vec<_>>().join("\n"),
                body: body.join("\n"),
            });
        }
    }
    assert!(
        entries.len() > 60,
        "only {} entry points were found",
        entries.len()
    );
    entries
}

#[test]
fn header_is_the_generated_one() {
    let generated = fs::read_to_string(env!("KV_HEADER")).expect("the generated header");
    assert!(
        generated == header(),
        "include/kv.h is out of date: KV_UPDATE_HEADER=1 cargo build -p libkv-ffi"
    );
}

#[test]
fn header_documents_owner_threads_and_errors_of_every_call() {
    for entry in entries() {
        let mut at = 0;
        for part in ["/// ", "/// Owner: ", "/// Threads: ", "/// Errors: "] {
            let found = entry.comment[at..].find(part);
            at += found.unwrap_or_else(|| {
                panic!(
                    "{}: its comment has no part {part:?}, or not at its place",
                    entry.name
                )
            }) + part.len();
        }
    }
}

#[test]
fn source_of_every_call_has_a_guard() {
    for entry in entries() {
        let guarded = ["guard!(error", "guard_value!(", "free!(", "value("]
            .iter()
            .any(|guard| entry.body.contains(guard));
        assert!(guarded, "{}: no guard catches its panics", entry.name);
    }
}

#[test]
fn header_has_the_calls_of_the_sources() {
    let header = header();
    let words = header.split(|c: char| !c.is_alphanumeric() && c != '_');
    let declared: BTreeSet<String> = header
        .lines()
        .filter(|line| !line.starts_with("static inline"))
        .flat_map(|line| line.match_indices("kv_").map(move |(at, _)| &line[at..]))
        .filter_map(|rest| rest.split_once('(').map(|(name, _)| name.to_string()))
        .filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        .collect();
    let known: BTreeSet<&str> = words.collect();
    for entry in entries() {
        assert!(
            known.contains(entry.name.as_str()),
            "{} is not in include/kv.h",
            entry.name
        );
    }
    let sources: BTreeSet<String> = entries().into_iter().map(|entry| entry.name).collect();
    let inline = [
        "kv_begin",
        "kv_str",
        "kv_buf",
        "kv_range_of_kind",
        "kv_key",
        "kv_prefix",
        "kv_between",
        "kv_from_key",
        "kv_all",
    ];
    let unknown: Vec<_> = declared
        .iter()
        .filter(|name| !sources.contains(*name) && !inline.contains(&name.as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        "in include/kv.h but not in ffi/src: {unknown:?}"
    );
}

fn built(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target folder")
        .join("release")
        .join(name);
    if !path.exists() {
        println!("not run: the symbols of {name} (it is not built: run make)");
        return None;
    }
    Some(path)
}

fn output(program: &str, args: &[&str], path: &Path) -> String {
    let done = Command::new(program)
        .args(args)
        .arg(path)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        done.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn symbols_of_the_libraries_begin_with_kv() {
    for (name, args) in [
        ("libkv.so", &["-D", "--defined-only"][..]),
        ("libkv.a", &["-g", "--defined-only"]),
    ] {
        let Some(path) = built(name) else { continue };
        let listed = output("nm", args, &path);
        let symbols: Vec<&str> = listed
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2))
            .collect();
        assert!(
            symbols.len() > 60,
            "{name} exports {} symbols",
            symbols.len()
        );
        let foreign: Vec<&&str> = symbols
            .iter()
            .filter(|symbol| !symbol.starts_with("kv_"))
            .collect();
        assert!(foreign.is_empty(), "{name} exports {foreign:?}");
    }
}

#[test]
fn soname_is_that_of_the_abi() {
    let Some(path) = built("libkv.so") else {
        return;
    };
    let dynamic = output("readelf", &["-d"], &path);
    assert!(
        dynamic.contains("Library soname: [libkv.so.0]"),
        "{dynamic}"
    );
}
