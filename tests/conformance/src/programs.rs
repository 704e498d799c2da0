//! The commands that start the drivers of other languages, or the reason why one cannot start.

use std::path::Path;

use libkv_test_support::target;

/// The path of a program in `drivers/`.
fn driver(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers");
    folder.join(name).display().to_string()
}

/// `words`, if the file that the first word names exists.
fn command(words: Vec<String>, missing: &str) -> Result<Vec<String>, String> {
    match Path::new(&words[0]).exists() {
        true => Ok(words),
        false => Err(format!("{} {missing}", words[0])),
    }
}

/// The driver in C.
pub fn c() -> Result<Vec<String>, String> {
    command(
        vec![target().join("c/driver").display().to_string()],
        "is not built: run make",
    )
}

/// The driver in Python, with `options` before the store.
pub fn python(options: &[&str]) -> Result<Vec<String>, String> {
    let python = target().join("venv/bin/python").display().to_string();
    let words = [python, driver("driver.py")]
        .into_iter()
        .chain(options.iter().map(ToString::to_string));
    command(
        words.collect(),
        "does not exist: run bindings/python/venv.sh",
    )
}

/// The driver in JavaScript, with `options` before the store.
pub fn node(options: &[&str]) -> Result<Vec<String>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bindings/node");
    command(
        vec![folder.join("libkv.node").display().to_string()],
        "is not built: run bindings/node/build.sh",
    )?;
    let words = ["node".to_string(), driver("driver.js")];
    Ok(words
        .into_iter()
        .chain(options.iter().map(ToString::to_string))
        .collect())
}

/// The follower of another language; it takes `STORE HOW FILE`.
pub fn follower(language: &str) -> Result<Vec<String>, String> {
    match language {
        "c" => command(
            vec![target().join("c/follower").display().to_string()],
            "is not built: run make",
        ),
        "python" => python(&[]).map(|words| vec![words[0].clone(), driver("follower.py")]),
        "node" => node(&[]).map(|words| vec![words[0].clone(), driver("follower.js")]),
        _ => Err(format!("no follower in {language}")),
    }
}
