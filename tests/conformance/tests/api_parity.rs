//! One vocabulary: what the Rust face can do, every face can do, under the same name.
//!
//! The sources of truth are read as text: the public methods in `core/src`, `include/kv.h`, the
//! stubs of Python, the types of Node. A method that is added to Rust alone fails here by its name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A noun, and where each face has it. In C the functions begin with the prefix.
struct Noun {
    rust: &'static str,
    /// Where its methods are. `Db` has more: each recipe adds its own.
    file: &'static str,
    c: &'static str,
    python: &'static str,
    node: &'static str,
    /// Methods whose name is another one in C (a `-` is none), and why.
    c_names: &'static [(&'static str, &'static str)],
}

const NOUNS: &[Noun] = &[
    Noun {
        rust: "Db",
        file: "db.rs",
        c: "kv_",
        python: "Db",
        node: "Db",
        c_names: &[
            // what needs a handle is opened: kv_scan is the type
            ("scan", "kv_scan_open"),
            ("snapshot", "kv_snapshot_open"),
            ("snapshot_at", "kv_snapshot_open"),
            ("diff", "kv_diff_open"),
            ("txn", "kv_txn_run"),
            ("status", "kv_status_get"),
            ("lease", "kv_lease_open"),
            ("lock", "kv_lock_open"),
            ("election", "kv_election_open"),
        ],
    },
    Noun {
        rust: "Watcher",
        file: "recipe/watcher.rs",
        c: "kv_watcher_",
        python: "Watcher",
        node: "Watcher",
        // next with KV_NO_WAIT; what is freed is closed
        c_names: &[
            ("try_next", "kv_watcher_next"),
            ("close", "kv_watcher_free"),
        ],
    },
    Noun {
        rust: "Lease",
        file: "recipe/lease.rs",
        c: "kv_lease_",
        python: "Lease",
        node: "Lease",
        // the library makes no callback in C: kv_lease_lost is asked
        c_names: &[("on_lost", "-")],
    },
    Noun {
        rust: "Lock",
        file: "recipe/lock.rs",
        c: "kv_lock_",
        python: "Lock",
        node: "Lock",
        c_names: &[],
    },
    Noun {
        rust: "Election",
        file: "recipe/election.rs",
        c: "kv_election_",
        python: "Election",
        node: "Election",
        c_names: &[],
    },
    Noun {
        rust: "Leaders",
        file: "recipe/election.rs",
        c: "kv_leaders_",
        python: "Leaders",
        node: "Leaders",
        c_names: &[("close", "kv_leaders_free")],
    },
    Noun {
        rust: "Snapshot",
        file: "recipe/snapshot.rs",
        c: "kv_snapshot_",
        python: "Snapshot",
        node: "Snapshot",
        c_names: &[],
    },
    Noun {
        rust: "Transaction",
        file: "recipe/transact.rs",
        c: "kv_transaction_",
        python: "Transaction",
        node: "Transaction",
        c_names: &[],
    },
    Noun {
        rust: "Server",
        file: "../../bindings/etcd/src/server/serve.rs",
        c: "kv_server_",
        python: "Server",
        node: "Server",
        c_names: &[("close", "kv_server_free")],
    },
    Noun {
        rust: "Clock",
        file: "options.rs",
        c: "kv_clock_",
        python: "Clock",
        node: "Clock",
        c_names: &[],
    },
];

/// Methods of the Rust face that are no calls of a user's program, and why.
const RUST_ALONE: &[(&str, &str)] = &[
    ("Db::engine", "the interface of engines is of Rust alone"),
    ("Db::from_engine", "for authors of an engine"),
    (
        "Db::call_unless",
        "what other faces interrupt a waiting call with",
    ),
    (
        "Db::until",
        "what the time limits of locks, elections and leaders are made of",
    ),
    ("Db::submit", "what other faces make their promises of"),
    ("Db::submit_all", ""),
    (
        "Db::range_each",
        "what other faces fill their own lists with",
    ),
    (
        "Db::transaction",
        "what other faces make transact of, as are the next two",
    ),
    ("Transaction::txn", ""),
    ("Transaction::is_overtaken", ""),
    ("Db::get_at", "get with a revision"),
    (
        "Db::alarm",
        "alarm_list, alarm_activate and alarm_disarm are all that is to be said with it",
    ),
    ("Db::commit_times", "what a server's metrics are made of"),
    ("Db::side", "what the parts of libkv keep beside the data"),
    ("Db::is_remote", "what other faces choose a thread by"),
    (
        "Db::is_closed",
        "a freed handle in C cannot be asked; closed in Python and Node",
    ),
    (
        "Watcher::set_waker",
        "what other faces wake their loops with",
    ),
    (
        "Watcher::try_next_briefly",
        "for tasks that share a thread; the server follows many watchers with it",
    ),
    (
        "Watcher::caught_up",
        "what the server reports progress of a stream with",
    ),
    ("Watcher::canceller", "cancel may be called from any thread"),
    (
        "Watcher::fd",
        "kv_watcher_fd, and fileno in Python; Node has a loop of its own",
    ),
    (
        "Lease::adopt",
        "what other faces make their handles of, as is the next",
    ),
    ("Lease::stop", ""),
    ("Leaders::watcher", ""),
    ("Leaders::try_next", "next without a wait"),
    (
        "Leaders::next_unless",
        "what other faces interrupt a waiting call with",
    ),
    ("Leaders::try_next_unless", ""),
    (
        "Server::addresses",
        "other faces listen at one address; a server of several is the program's, kv serve",
    ),
    (
        "Server::metrics_addresses",
        "the same: metrics of other faces are on their one address",
    ),
    ("Clock::system", "no clock given"),
    ("Clock::unix_ms", "its owner knows it"),
    ("Clock::is_manual", ""),
    ("Clock::same", ""),
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The lines of a block that begins with a line that `begins`, up to the brace that closes it, or,
/// in Python, to the next line that is not indented.
fn block(text: &str, begins: impl Fn(&str) -> bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if begins(line) {
            inside = true;
        } else if inside && !line.is_empty() && !line.starts_with([' ', '\t', ')', '#']) {
            inside = false;
        }
        if inside {
            lines.push(line);
        }
    }
    lines
}

/// The word before the first bracket or colon of what follows `lead`.
fn name_after<'t>(line: &'t str, lead: &str) -> Option<&'t str> {
    let rest = line.strip_prefix(lead)?;
    let end = rest
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(rest.len());
    (end > 0).then_some(&rest[..end])
}

fn rust_methods(noun: &Noun) -> BTreeSet<String> {
    let begins = format!("impl {} {{", noun.rust);
    let mut files = vec![noun.file.to_string()];
    if noun.rust == "Db" {
        files.push("db/members.rs".to_string());
        files.extend(recipes());
    }
    let methods_in = |file: &String| {
        let text = read(&format!("core/src/{file}"));
        block(&text, |line| line == begins)
            .iter()
            .filter_map(|line| name_after(line, "    pub fn "))
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    files.iter().flat_map(methods_in).collect()
}

/// The files of `core/src/recipe`, relative to `core/src`.
fn recipes() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../core/src/recipe");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries
        .map(|entry| entry.expect("an entry of the folder").file_name())
        .map(|name| format!("recipe/{}", name.to_string_lossy()))
        .filter(|name| name.ends_with(".rs"))
        .collect()
}

fn c_functions() -> BTreeSet<String> {
    let text = read("include/kv.h");
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("kv_"))
        .map(str::to_string)
        .collect()
}

fn python_names(stub: &str, class: &str) -> BTreeSet<String> {
    let lines = block(stub, |line| {
        line.starts_with(&format!("class {class}:")) || line.starts_with(&format!("class {class}("))
    });
    let names = lines.iter().filter_map(|line| {
        let line = line.trim_start();
        name_after(line, "def ").or_else(|| name_after(line, "async def "))
    });
    names.map(str::to_string).collect()
}

fn node_names(types: &str, class: &str) -> BTreeSet<String> {
    let heads = [
        format!("export class {class} "),
        format!("export interface {class} "),
    ];
    let lines = block(types, |line| {
        heads.iter().any(|head| line.starts_with(head))
    });
    let name = |line: &&str| {
        let line = line
            .trim_start()
            .trim_start_matches("readonly ")
            .trim_start_matches("get ");
        name_after(line, "").map(str::to_string)
    };
    lines.iter().filter_map(name).collect()
}

fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut up = false;
    for c in name.chars() {
        match c {
            '_' => up = true,
            c if up => {
                out.extend(c.to_uppercase());
                up = false;
            }
            c => out.push(c),
        }
    }
    out
}

#[test]
fn every_language_has_what_rust_has() {
    let c = c_functions();
    let stub = read("bindings/python/python/libkv/_libkv.pyi");
    let aio = read("bindings/python/python/libkv/aio.py");
    let types = read("bindings/node/index.d.ts");
    let mut missing = Vec::new();
    for noun in NOUNS {
        let methods = rust_methods(noun);
        assert!(
            !methods.is_empty(),
            "core/src/{} has no methods of {}",
            noun.file,
            noun.rust
        );
        let python = python_names(&stub, noun.python);
        let awaitable = python_names(&aio, noun.python);
        let node = node_names(&types, noun.node);
        for method in methods {
            let full = format!("{}::{method}", noun.rust);
            if RUST_ALONE.iter().any(|(name, _)| *name == full) {
                continue;
            }
            let renamed = noun
                .c_names
                .iter()
                .find(|(rust, _)| *rust == method)
                .map(|(_, c)| *c);
            let in_c = renamed.map_or_else(|| format!("{}{method}", noun.c), str::to_string);
            if in_c != "-" && !c.contains(&in_c) {
                missing.push(format!("{full}: include/kv.h has no {in_c}"));
            }
            let constructor = method == "new";
            if !(constructor || python.contains(&method)) {
                missing.push(format!("{full}: Python's {} has no {method}", noun.python));
            }
            if !(constructor || noun.rust == "Clock" || awaitable.contains(&method)) {
                missing.push(format!(
                    "{full}: Python's aio.{} has no {method}",
                    noun.python
                ));
            }
            let in_node = if constructor {
                "constructor".to_string()
            } else {
                camel(&method)
            };
            if !node.contains(&in_node) {
                missing.push(format!("{full}: Node's {} has no {in_node}", noun.node));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "{} without a counterpart:\n{}",
        missing.len(),
        missing.join("\n")
    );
}

#[test]
fn every_exception_is_a_method() {
    for (full, _) in RUST_ALONE {
        let (rust, method) = full.split_once("::").expect("a noun and a method");
        let noun = NOUNS
            .iter()
            .find(|noun| noun.rust == rust)
            .unwrap_or_else(|| panic!("{full}: no such noun"));
        assert!(
            rust_methods(noun).contains(method),
            "{full} is excused but does not exist"
        );
    }
}

/// Both are functions of `libkv-etcd` in Rust: the formats are etcd's.
#[test]
fn every_language_saves_and_restores_snapshots() {
    let c = c_functions();
    assert!(c.contains("kv_snapshot_save") && c.contains("kv_restore"));
    let rust = read("bindings/etcd/src/lib.rs");
    assert!(rust.contains("save as save_snapshot") && rust.contains("Restore,"));
    let stub = read("bindings/python/python/libkv/_libkv.pyi");
    let aio = read("bindings/python/python/libkv/aio.py");
    let types = read("bindings/node/index.d.ts");
    for text in [&stub, &aio] {
        assert!(python_names(text, "Db").contains("snapshot_save"));
    }
    assert!(node_names(&types, "Db").contains("snapshotSave"));
    for (text, begins) in [
        (&stub, "def restore("),
        (&aio, "async def restore("),
        (&types, "export function restore("),
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(begins)),
            "{begins}"
        );
    }
}

#[test]
fn every_language_opens_and_serves() {
    let c = c_functions();
    for function in ["open", "serve"] {
        assert!(
            c.contains(&format!("kv_{function}")),
            "include/kv.h has no kv_{function}"
        );
        for (path, begins) in [
            ("bindings/etcd/src/lib.rs", ""),
            ("bindings/python/python/libkv/_libkv.pyi", "def "),
            ("bindings/python/python/libkv/aio.py", "async def "),
            ("bindings/node/index.d.ts", "export function "),
        ] {
            let lead = format!("{begins}{function}");
            let named = |line: &str| line.starts_with("pub use") && line.contains(function);
            let found = read(path).lines().any(|line| {
                if begins.is_empty() {
                    named(line)
                } else {
                    line.starts_with(&lead)
                }
            });
            assert!(found, "{path} has no {function}");
        }
    }
}
