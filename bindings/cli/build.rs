//! Links GCC's unwinder into `kv`, so that glibc is the only shared library that it needs.
//!
//! Rust's standard library passes `-lgcc_s` to the linker, even with `-static-libgcc`. The linker
//! takes the first file of that name on its path: here a script with the static libraries.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    if variable("CARGO_CFG_TARGET_ENV") != "gnu" || variable("HOST") != variable("TARGET") {
        return;
    }
    // the shared unwinder is used if there is no static one
    if !has("libgcc_eh.a") {
        return;
    }
    let dir = PathBuf::from(variable("OUT_DIR")).join("static-gcc");
    let script = "INPUT(-lgcc_eh -lgcc)\n";
    let made = std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::write(dir.join("libgcc_s.so"), script));
    made.expect("the output directory is writable");
    println!("cargo::rustc-link-search=native={}", dir.display());
}

/// Whether the compiler has this file.
fn has(file: &str) -> bool {
    let found = Command::new("cc")
        .arg(format!("-print-file-name={file}"))
        .output();
    found.is_ok_and(|found| Path::new(String::from_utf8_lossy(&found.stdout).trim()).is_absolute())
}
