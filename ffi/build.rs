//! Generates the C header from the sources and sets the name of the shared library.
//!
//! The header is written to the build directory. `KV_UPDATE_HEADER=1` also overwrites
//! `include/kv.h`, which is checked in and compared by a test.

use std::path::PathBuf;

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libkv.so.0");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-env-changed=KV_UPDATE_HEADER");
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("kv.h");
    let config =
        cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml can be read");
    let mut text = Vec::new();
    cbindgen::generate_with_config(&root, config)
        .expect("the header can be generated")
        .write(&mut text);
    let header = in_parentheses(&String::from_utf8(text).expect("cbindgen writes UTF-8"));
    std::fs::write(&out, &header).expect("the build directory is writable");
    println!("cargo:rustc-env=KV_HEADER={}", out.display());
    if std::env::var_os("KV_UPDATE_HEADER").is_some() {
        std::fs::write(root.join("../include/kv.h"), header).expect("include/kv.h is writable");
    }
}

/// Puts parentheses around negative constants, so that a macro is safe in any expression.
fn in_parentheses(header: &str) -> String {
    let mut out = String::with_capacity(header.len());
    for line in header.lines() {
        match line
            .strip_prefix("#define ")
            .and_then(|rest| rest.split_once(' '))
        {
            Some((name, value)) if value.starts_with('-') => {
                out.push_str(&format!("#define {name} ({value})"))
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}
