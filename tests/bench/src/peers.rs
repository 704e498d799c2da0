//! Rows of other languages: a program measures libkv and a peer, and prints the time of each round.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::report::Row;

/// Runs a program of `peers/` and reads its rows. `words` are the program and its first arguments.
/// The folder for its stores, rounds, scale and the arguments `after` follow.
pub fn rows(
    words: &[&str],
    after: &[&str],
    stores: &Path,
    rounds: usize,
    scale: u64,
) -> Result<Vec<Row>, String> {
    let [program, arguments @ ..] = words else {
        return Err("no program".into());
    };
    let output = Command::new(program)
        .args(arguments)
        .arg(stores)
        .args([rounds.to_string(), scale.to_string()])
        .args(after)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("{program}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{}: {}", words.join(" "), output.status));
    }
    let mut rows: Vec<Row> = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let bad = || format!("{}: unexpected line: {line}", words.join(" "));
        match fields.as_slice() {
            ["row", name, reference, reach, n, bytes, note] => {
                let numbers = reach
                    .parse()
                    .ok()
                    .zip(n.parse().ok())
                    .zip(bytes.parse().ok());
                let ((reach, n), bytes) = numbers.ok_or_else(bad)?;
                rows.push(Row::new(name, reference, reach, n, bytes).note(*note));
            }
            ["round", ours, reference] => {
                let (ours, reference) = ours
                    .parse()
                    .ok()
                    .zip(reference.parse().ok())
                    .ok_or_else(bad)?;
                rows.last_mut().ok_or_else(bad)?.add(ours, reference);
            }
            _ => return Err(bad()),
        }
    }
    rows.iter().for_each(Row::print);
    Ok(rows)
}
