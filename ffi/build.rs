//! Draws the C header from the sources, and names the shared library.
//!
//! The header goes to the build directory; `KV_UPDATE_HEADER=1` also overwrites `include/kv.h`,
//! which is checked in and compared by a test.

use std::path::PathBuf;

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libkv.so.0");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-env-changed=KV_UPDATE_HEADER");
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("kv.h");
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml can be read");
    let header = cbindgen::generate_with_config(&root, config).expect("the header can be drawn");
    header.write_to_file(&out);
    println!("cargo:rustc-env=KV_HEADER={}", out.display());
    if std::env::var_os("KV_UPDATE_HEADER").is_some() {
        header.write_to_file(root.join("../include/kv.h"));
    }
}
