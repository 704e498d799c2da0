//! Links the unwinder of GCC into `kv`, so that it needs no shared library but glibc's.
//!
//! Rust's standard library asks the linker for `-lgcc_s`, whatever `-static-libgcc` says. The linker takes the
//! first file of that name on its path: here a script that names the static libraries instead.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    if variable("CARGO_CFG_TARGET_ENV") != "gnu" || variable("HOST") != variable("TARGET") {
        return;
    }
    // without GCC's static unwinder the shared one is used
    if !has("libgcc_eh.a") {
        return;
    }
    let dir = PathBuf::from(variable("OUT_DIR")).join("static-gcc");
    let script = "INPUT(-lgcc_eh -lgcc)\n";
    let made = std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::write(dir.join("libgcc_s.so"), script));
    made.expect("the output directory can be written");
    println!("cargo::rustc-link-search=native={}", dir.display());
}

/// Whether the compiler that links has this file.
fn has(file: &str) -> bool {
    let found = Command::new("cc")
        .arg(format!("-print-file-name={file}"))
        .output();
    found.is_ok_and(|found| Path::new(String::from_utf8_lossy(&found.stdout).trim()).is_absolute())
}
