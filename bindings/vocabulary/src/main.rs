//! Writes the parts of every language that `vocabulary.toml` describes.
//!
//! `cargo vocabulary` writes them; `cargo vocabulary --check` fails if one is not current. The
//! files are checked in, so that a build needs neither this program nor the table.
//!
//! | file here | what it writes |
//! |---|---|
//! | rust.rs | `Code` and option names of the core, etcd's texts, gRPC statuses, exit statuses of `kv` |
//! | c.rs | constants, option structs and their conversion, for `include/kv.h` |
//! | python.rs | exception classes, option lists, stubs |
//! | node.rs | types, option checks, the numbers and bytes that JavaScript and Rust share |
//! | readme.rs | tables |

mod c;
mod node;
mod output;
mod python;
mod readme;
mod rust;
mod table;
mod text;

use std::path::Path;
use std::process::ExitCode;

use table::Table;

fn main() -> ExitCode {
    let check = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [only] if only == "--check" => true,
        _ => {
            eprintln!("usage: cargo vocabulary [--check]");
            return ExitCode::from(2);
        }
    };
    match run(check) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all files are current now.
fn run(check: bool) -> Result<bool, String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = Table::read(&here.join("vocabulary.toml"))?;
    let root = here.join("../..");
    table.compare(|path| {
        std::fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"))
    })?;
    let outputs = [
        rust::code(&table),
        rust::options(&table),
        rust::etcd_text(&table),
        rust::grpc_code(&table),
        rust::exit_status(&table),
        c::codes(&table),
        c::constants(&table),
        c::options(&table),
        python::codes(&table),
        python::words(&table),
        python::options(&table),
        python::exports(&table),
        python::types(&table),
        python::stubs(&table),
        python::signatures(&table, "bindings/python/src/db.rs"),
        python::signatures(&table, "bindings/python/src/request.rs"),
        python::signatures(&table, "bindings/python/src/snapshot.rs"),
        python::signatures(&table, "bindings/python/src/lib.rs"),
        node::types(&table),
        node::numbers(&table),
        node::numbers_of_rust(&table),
        node::options(&table),
        node::options_of_rust(&table),
        readme::python(&table),
        readme::node(&table),
        readme::cli(&table),
    ];
    let mut current = true;
    for output in outputs {
        current &= output.bring_up_to_date(&root, check)?;
    }
    Ok(current)
}
