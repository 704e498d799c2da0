//! How to start the drivers of other languages, or why that cannot be.
// each suite needs some of them
#![allow(dead_code)]

use std::path::{Path, PathBuf};

fn target() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target folder")
        .to_path_buf()
}

/// `words`, if the first of them, a program, is there.
fn command(words: Vec<String>, missing: &str) -> Result<Vec<String>, String> {
    match Path::new(&words[0]).exists() {
        true => Ok(words),
        false => Err(format!("{} {missing}", words[0])),
    }
}

pub fn c() -> Result<Vec<String>, String> {
    command(
        vec![target().join("c/driver").display().to_string()],
        "is not built: run make",
    )
}

/// With `options` before the store.
pub fn python(options: &[&str]) -> Result<Vec<String>, String> {
    let python = target().join("venv/bin/python").display().to_string();
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bindings/python/tests/driver.py");
    let words = [python, driver.display().to_string()]
        .into_iter()
        .chain(options.iter().map(ToString::to_string));
    command(words.collect(), "is not there: run bindings/python/venv.sh")
}

/// With `options` before the store.
pub fn node(options: &[&str]) -> Result<Vec<String>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bindings/node");
    command(
        vec![folder.join("libkv.node").display().to_string()],
        "is not built: run bindings/node/build.sh",
    )?;
    let words = [
        "node".to_string(),
        folder.join("test/driver.js").display().to_string(),
    ];
    Ok(words
        .into_iter()
        .chain(options.iter().map(ToString::to_string))
        .collect())
}

/// The program of a language that does what `worker follow` does: `STORE HOW FILE` follow.
pub fn follower(language: &str) -> Result<Vec<String>, String> {
    let file = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(name)
            .display()
            .to_string()
    };
    match language {
        "c" => command(
            vec![target().join("c/follow").display().to_string()],
            "is not built: run make",
        ),
        "python" => python(&[])
            .map(|words| vec![words[0].clone(), file("bindings/python/tests/follower.py")]),
        "node" => {
            node(&[]).map(|words| vec![words[0].clone(), file("bindings/node/test/follow.js")])
        }
        _ => Err(format!("no follower in {language}")),
    }
}
