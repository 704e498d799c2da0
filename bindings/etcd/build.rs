//! Generates Rust from `proto/`, without protoc: messages, services of both sides, and the tables
//! of `src/schema.rs`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

use protox::prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use protox::prost_reflect::prost_types::method_options::IdempotencyLevel;
use protox::prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
};

const FILES: [&str; 7] = [
    "kv.proto",
    "authpb.proto",
    "rpc.proto",
    "auth.proto",
    "lock.proto",
    "election.proto",
    "health.proto",
];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let files = protox::compile(FILES, ["proto"]).map_err(io::Error::other)?;

    fs::write(out.join("schema.rs"), schema(&files))?;

    tonic_prost_build::configure().bytes(".").compile_fds(files)
}

/// The tables whose types `src/schema.rs` declares.
fn schema(files: &FileDescriptorSet) -> String {
    let mut code = String::new();
    let mut rpcs = String::from("pub static RPCS: &[Rpc] = &[\n");
    for file in &files.file {
        for message in &file.message_type {
            message_schema(&format!(".{}", file.package()), message, &mut code);
        }
        for service in &file.service {
            for method in &service.method {
                let _ = writeln!(
                    rpcs,
                    "    Rpc {{ service: \"{}.{}\", name: \"{}\", input: &{}, output: &{}, \
                     client_streaming: {}, server_streaming: {}, writes: {} }},",
                    file.package(),
                    service.name(),
                    method.name(),
                    constant(method.input_type()),
                    constant(method.output_type()),
                    method.client_streaming(),
                    method.server_streaming(),
                    writes(method)
                );
            }
        }
        for kind in &file.enum_type {
            enum_schema(&format!(".{}", file.package()), kind, &mut code);
        }
    }
    code + &rpcs + "];\n"
}

/// Whether a method may write: every method without the option that it has no side effects.
fn writes(method: &MethodDescriptorProto) -> bool {
    method
        .options
        .as_ref()
        .is_none_or(|options| options.idempotency_level() != IdempotencyLevel::NoSideEffects)
}

fn message_schema(outer: &str, message: &DescriptorProto, code: &mut String) {
    let name = format!("{outer}.{}", message.name());
    let mut fields = String::new();
    for field in &message.field {
        let kind = match field.r#type() {
            Type::Message => format!("Message(&{})", constant(field.type_name())),
            Type::Enum => format!("Enum(&{})", constant(field.type_name())),
            plain => format!("{plain:?}"),
        };
        let _ = writeln!(
            fields,
            "    Field {{ number: {}, name: \"{}\", json_name: \"{}\", repeated: {}, oneof: {:?}, \
             kind: Kind::{kind} }},",
            field.number(),
            field.name(),
            json_name(field.name()),
            field.label() == Label::Repeated,
            field.oneof_index
        );
    }
    let _ = writeln!(
        code,
        "static {}: Message = Message {{ name: \"{}\", fields: &[\n{fields}] }};",
        constant(&name),
        &name[1..]
    );
    for nested in &message.nested_type {
        message_schema(&name, nested, code);
    }
    for kind in &message.enum_type {
        enum_schema(&name, kind, code);
    }
}

fn enum_schema(outer: &str, kind: &EnumDescriptorProto, code: &mut String) {
    let name = format!("{outer}.{}", kind.name());
    let values: Vec<_> = kind
        .value
        .iter()
        .map(|value| (value.name(), value.number()))
        .collect();
    let _ = writeln!(
        code,
        "static {}: Enum = Enum {{ name: \"{}\", values: &{values:?} }};",
        constant(&name),
        &name[1..]
    );
}

/// `.mvccpb.Event.EventType` as the name of a constant.
fn constant(name: &str) -> String {
    name.trim_start_matches('.')
        .replace('.', "_")
        .to_uppercase()
}

/// `prev_kv` as `prevKv`, protobuf's rule.
fn json_name(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}
