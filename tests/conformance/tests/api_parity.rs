//! API parity: every method of the Rust API exists in every language, with the same name.
//!
//! The test reads text: the public methods in `core/src`, `include/kv.h`, the stubs of Python, the
//! types of Node. A method that exists only in Rust fails the test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A class, and its name in each language. In C it is the prefix of the functions.
struct Class {
    rust: &'static str,
    /// The file of its methods. `Db` has more methods: each recipe adds its own.
    file: &'static str,
    c: &'static str,
    python: &'static str,
    node: &'static str,
    /// Methods with another name in C (`-`: without a counterpart), and the reason.
    c_names: &'static [(&'static str, &'static str)],
}

const CLASSES: &[Class] = &[
    Class {
        rust: "Db",
        file: "db.rs",
        c: "kv_",
        python: "Db",
        node: "Db",
        c_names: &[
            // a function that makes a handle ends in _open: kv_scan is the type
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
    Class {
        rust: "Watcher",
        file: "recipe/watcher.rs",
        c: "kv_watcher_",
        python: "Watcher",
        node: "Watcher",
        // try_next is next with KV_NO_WAIT; kv_watcher_free closes
        c_names: &[
            ("try_next", "kv_watcher_next"),
            ("close", "kv_watcher_free"),
        ],
    },
    Class {
        rust: "Lease",
        file: "recipe/lease.rs",
        c: "kv_lease_",
        python: "Lease",
        node: "Lease",
        // the library makes no callback in C; kv_lease_lost returns the state
        c_names: &[("on_lost", "-")],
    },
    Class {
        rust: "Lock",
        file: "recipe/lock.rs",
        c: "kv_lock_",
        python: "Lock",
        node: "Lock",
        c_names: &[],
    },
    Class {
        rust: "Election",
        file: "recipe/election.rs",
        c: "kv_election_",
        python: "Election",
        node: "Election",
        c_names: &[],
    },
    Class {
        rust: "Leaders",
        file: "recipe/election.rs",
        c: "kv_leaders_",
        python: "Leaders",
        node: "Leaders",
        c_names: &[("close", "kv_leaders_free")],
    },
    Class {
        rust: "Snapshot",
        file: "recipe/snapshot.rs",
        c: "kv_snapshot_",
        python: "Snapshot",
        node: "Snapshot",
        c_names: &[],
    },
    Class {
        rust: "Transaction",
        file: "recipe/transact.rs",
        c: "kv_transaction_",
        python: "Transaction",
        node: "Transaction",
        c_names: &[],
    },
    Class {
        rust: "Server",
        file: "../../bindings/etcd/src/server/serve.rs",
        c: "kv_server_",
        python: "Server",
        node: "Server",
        c_names: &[("close", "kv_server_free")],
    },
    Class {
        rust: "Clock",
        file: "options.rs",
        c: "kv_clock_",
        python: "Clock",
        node: "Clock",
        c_names: &[],
    },
];

/// Methods that exist only in Rust, and the reason.
const RUST_ONLY: &[(&str, &str)] = &[
    ("Db::engine", "only Rust has the interface of engines"),
    ("Db::from_engine", "for an engine in another crate"),
    (
        "Db::call_unless",
        "for the bindings: interrupts a waiting call",
    ),
    (
        "Db::until",
        "for the time limits of locks, elections and leaders",
    ),
    ("Db::submit", "for the promises of the bindings"),
    ("Db::submit_all", ""),
    ("Db::range_each", "for the lists of the bindings"),
    (
        "Db::transaction",
        "for transact of the bindings, as are the next two",
    ),
    ("Transaction::txn", ""),
    ("Transaction::is_overtaken", ""),
    ("Db::get_at", "get with a revision"),
    (
        "Db::alarm",
        "alarm_list, alarm_activate and alarm_disarm cover all requests",
    ),
    ("Db::commit_times", "for the metrics of a server"),
    ("Db::side", "for metadata of the parts of libkv"),
    (
        "Db::is_remote",
        "for the bindings: chooses the thread of a call",
    ),
    (
        "Db::is_closed",
        "a freed handle in C has no state; `closed` in Python and Node",
    ),
    ("Watcher::set_waker", "for the event loops of the bindings"),
    (
        "Watcher::try_next_briefly",
        "for tasks that share a thread; the server follows many watchers with it",
    ),
    (
        "Watcher::caught_up",
        "for the progress reports of the server",
    ),
    ("Watcher::canceller", "cancel may be called from any thread"),
    (
        "Watcher::fd",
        "kv_watcher_fd in C, fileno in Python; Node has its own loop",
    ),
    (
        "Lease::adopt",
        "for the handles of the bindings, as is the next",
    ),
    ("Lease::stop", ""),
    ("Leaders::watcher", ""),
    ("Leaders::try_next", "next without waiting"),
    (
        "Leaders::next_unless",
        "for the bindings: interrupts a waiting call",
    ),
    ("Leaders::try_next_unless", ""),
    (
        "Server::addresses",
        "the bindings listen at one address; several only in kv serve",
    ),
    (
        "Server::metrics_addresses",
        "the bindings serve the metrics at their one address",
    ),
    ("Clock::system", "the default, without a clock argument"),
    ("Clock::unix_ms", "the caller sets the time itself"),
    ("Clock::is_manual", ""),
    ("Clock::same", ""),
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The modules of libkv.aio.
fn aio() -> String {
    let folder = "bindings/python/python/libkv/aio";
    let entries = fs::read_dir(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(folder),
    )
    .unwrap_or_else(|e| panic!("{folder}: {e}"));
    entries
        .map(|entry| entry.expect("a folder entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".py"))
        .map(|name| read(&format!("{folder}/{name}")))
        .collect()
}

/// The lines of a block: from a line for which `begins` is true to the closing brace, or, in
/// Python, to the next line that is not indented.
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

/// The name that follows `lead`.
fn name_after<'t>(line: &'t str, lead: &str) -> Option<&'t str> {
    let rest = line.strip_prefix(lead)?;
    let end = rest
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(rest.len());
    (end > 0).then_some(&rest[..end])
}

fn rust_methods(class: &Class) -> BTreeSet<String> {
    let begins = format!("impl {} {{", class.rust);
    let mut files = vec![class.file.to_string()];
    if class.rust == "Db" {
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
    let aio = aio();
    let types = read("bindings/node/index.d.ts");
    let mut missing = Vec::new();
    for class in CLASSES {
        let methods = rust_methods(class);
        assert!(
            !methods.is_empty(),
            "core/src/{} has no methods of {}",
            class.file,
            class.rust
        );
        let python = python_names(&stub, class.python);
        let awaitable = python_names(&aio, class.python);
        let node = node_names(&types, class.node);
        for method in methods {
            let full = format!("{}::{method}", class.rust);
            if RUST_ONLY.iter().any(|(name, _)| *name == full) {
                continue;
            }
            let renamed = class
                .c_names
                .iter()
                .find(|(rust, _)| *rust == method)
                .map(|(_, c)| *c);
            let in_c = renamed.map_or_else(|| format!("{}{method}", class.c), str::to_string);
            if in_c != "-" && !c.contains(&in_c) {
                missing.push(format!("{full}: include/kv.h has no {in_c}"));
            }
            let constructor = method == "new";
            if !(constructor || python.contains(&method)) {
                missing.push(format!("{full}: Python's {} has no {method}", class.python));
            }
            if !(constructor || class.rust == "Clock" || awaitable.contains(&method)) {
                missing.push(format!(
                    "{full}: Python's aio.{} has no {method}",
                    class.python
                ));
            }
            let in_node = if constructor {
                "constructor".to_string()
            } else {
                camel(&method)
            };
            if !node.contains(&in_node) {
                missing.push(format!("{full}: Node's {} has no {in_node}", class.node));
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
    for (full, _) in RUST_ONLY {
        let (rust, method) = full.split_once("::").expect("a class and a method");
        let class = CLASSES
            .iter()
            .find(|class| class.rust == rust)
            .unwrap_or_else(|| panic!("{full}: unknown class"));
        assert!(
            rust_methods(class).contains(method),
            "{full} is in RUST_ONLY but does not exist"
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
    let aio = aio();
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
        for (path, text, begins) in [
            ("bindings/etcd/src/lib.rs", None, ""),
            ("bindings/python/python/libkv/_libkv.pyi", None, "def "),
            ("libkv.aio", Some(aio()), "async def "),
            ("bindings/node/index.d.ts", None, "export function "),
        ] {
            let lead = format!("{begins}{function}");
            let named = |line: &str| line.starts_with("pub use") && line.contains(function);
            let text = text.unwrap_or_else(|| read(path));
            let found = text.lines().any(|line| {
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
