//! The tables of the READMEs.

use std::fmt::Write as _;

use crate::node::doc as node_doc;
use crate::output::Output;
use crate::rust::meaning;
use crate::table::{Code, Table};

/// The exceptions of Python.
pub fn python(table: &Table) -> Output {
    let mut rows = String::from("| class | also a | when |\n|---|---|---|\n");
    for code in &table.codes {
        let parent = code.python.as_ref().map(|parent| format!("`{parent}` "));
        _ = writeln!(
            rows,
            "| `{}` | {}| {} |",
            code.exception(),
            parent.unwrap_or_default(),
            code.doc
        );
    }
    Output::regions("bindings/python/README.md").region("errors", rows)
}

/// The codes of Node.
pub fn node(table: &Table) -> Output {
    let row = |code: &Code| {
        let name = format!("`{}`", code.name.to_uppercase());
        [name, node_doc(table, &code.doc)]
    };
    let mut rows = vec![["`code`".to_string(), "when".to_string()]];
    rows.extend(table.codes.iter().map(row));
    Output::regions("bindings/node/README.md").region("errors", padded(&rows))
}

/// A table with columns of one width, as the formatter of that folder writes it.
fn padded(rows: &[[String; 2]]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
    let [first, second] = [width(0).unwrap_or(0), width(1).unwrap_or(0)];
    let mut out = String::new();
    for (at, [left, right]) in rows.iter().enumerate() {
        _ = writeln!(out, "| {left:<first$} | {right:<second$} |");
        if at == 0 {
            _ = writeln!(out, "| {} | {} |", "-".repeat(first), "-".repeat(second));
        }
    }
    out
}

/// The exit statuses of `kv`.
pub fn cli(table: &Table) -> Output {
    let mut rows = String::from("| status | meaning |\n|---|---|\n");
    for exit in &table.exits {
        let meaning = meaning(table, exit, |name| format!("`{name}`"));
        _ = writeln!(rows, "| {} | {meaning} |", exit.status);
    }
    Output::regions("bindings/cli/README.md").region("exit statuses", rows)
}
