//! The parts of the Node package.

use std::fmt::Write as _;

use crate::output::Output;
use crate::table::Table;

/// `index.d.ts`: the regions.
pub fn types(table: &Table) -> Output {
    let mut codes = String::from("export type ErrorCode =\n");
    for code in &table.codes {
        _ = writeln!(codes, "  | '{}'", code.name.to_uppercase());
    }
    Output::regions("bindings/node/index.d.ts").region("ErrorCode", codes)
}

/// `ignore_lease` as `ignoreLease`.
pub fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_string();
    words.fold(first, |name, word| {
        name + &word[..1].to_uppercase() + &word[1..]
    })
}
