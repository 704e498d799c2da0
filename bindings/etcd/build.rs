//! Turns `proto/` into Rust, without protoc: messages, services of both sides, their JSON form, and
//! a table of all methods for answering unknown ones as etcd does.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

const FILES: [&str; 6] = ["kv.proto", "auth.proto", "rpc.proto", "lock.proto", "election.proto", "health.proto"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let files = protox::compile(FILES, ["proto"]).map_err(io::Error::other)?;

    let mut methods = String::from("&[\n");
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                let _ = writeln!(methods, "    (\"{}.{}\", \"{}\"),", file.package(), service.name(), method.name());
            }
        }
    }
    methods.push_str("]\n");
    fs::write(out.join("methods.rs"), methods)?;

    // the descriptors without comments: those would become documentation of generated items
    let descriptors = out.join("descriptors.bin");
    let encoded = protox::prost::Message::encode_to_vec(&files);
    fs::write(&descriptors, &encoded)?;
    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .preserve_proto_field_names()
        .ignore_unknown_fields()
        .build(&[".mvccpb", ".authpb", ".etcdserverpb", ".v3lockpb", ".v3electionpb"])?;

    tonic_prost_build::configure().bytes(".").compile_fds(files)
}
