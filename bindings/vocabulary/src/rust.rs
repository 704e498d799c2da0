//! The parts in Rust: the codes of the core, of etcd's protocol and of `kv`.

use std::fmt::Write as _;

use crate::output::Output;
use crate::table::{Exit, Table};
use crate::text::comment;

/// `core/src/code.rs`.
pub fn code(table: &Table) -> Output {
    let (mut variants, mut all, mut names) = (String::new(), String::new(), String::new());
    for code in &table.codes {
        let variant = code.variant();
        variants += &comment("    ///", &code.doc);
        _ = writeln!(variants, "    {variant} = {},", code.number);
        _ = writeln!(all, "Code::{variant},");
        _ = write!(names, "Code::{variant} => {:?},", code.name);
    }
    Output::rust(
        "core/src/code.rs",
        &format!(
            "
            //! The stable codes of errors.

            /// The kind of an error, with a number that never changes.
            ///
            /// The number is C's `kv_code`. The name (see [`Code::name`]) is the same in every
            /// language. 0 means success and is not a `Code`.
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
            #[non_exhaustive]
            #[repr(i32)]
            pub enum Code {{
                {variants}
            }}

            impl Code {{
                /// All codes, in the order of their numbers.
                pub const ALL: &'static [Code] = &[{all}];

                /// The stable name: `invalid_argument`, `compacted`, …
                pub fn name(self) -> &'static str {{
                    match self {{ {names} }}
                }}
            }}"
        ),
    )
}

/// `bindings/etcd/src/grpc_code.rs`.
pub fn grpc_code(table: &Table) -> Output {
    let arms: String = table
        .codes
        .iter()
        .map(|code| format!("Code::{} => tonic::Code::{},", code.variant(), code.grpc))
        .collect();
    Output::rust(
        "bindings/etcd/src/grpc_code.rs",
        &format!(
            "
            //! The gRPC status of each error code.

            use libkv::Code;

            /// The status that a server returns for this code.
            pub fn grpc_code(code: Code) -> tonic::Code {{
                match code {{
                    {arms}
                    _ => tonic::Code::Unknown,
                }}
            }}"
        ),
    )
}

/// `bindings/cli/src/exit_status.rs`.
pub fn exit_status(table: &Table) -> Output {
    let (mut help, mut arms) = (String::new(), String::new());
    for exit in &table.exits {
        let status = exit.status.to_string();
        let text = comment("     ", &meaning(table, exit, str::to_string));
        _ = write!(help, "\n  {status:<4}{}", text.trim_start().trim_end());
        let variants: Vec<String> = table
            .codes
            .iter()
            .filter(|code| code.exit == exit.status)
            .map(|code| format!("Code::{}", code.variant()))
            .collect();
        if !variants.is_empty() {
            _ = write!(arms, "{} => {status},", variants.join(" | "));
        }
    }
    Output::rust(
        "bindings/cli/src/exit_status.rs",
        &format!(
            "
            //! The exit statuses of `kv`.

            use libkv::Code;

            /// The exit statuses, for the help of the program and its manual.
            pub const EXIT_STATUS: &str = \"\\\nExit status:{help}\";

            /// The exit status for an error with this code.
            pub fn status_of(code: Code) -> u8 {{
                match code {{
                    {arms}
                    _ => 8,
                }}
            }}"
        ),
    )
}

/// What a status means, followed by its codes.
pub fn meaning(table: &Table, exit: &Exit, show: impl Fn(&str) -> String) -> String {
    let codes = table.codes.iter().filter(|code| code.exit == exit.status);
    let names: Vec<String> = codes.map(|code| show(&code.name)).collect();
    match names.is_empty() {
        true => exit.doc.clone(),
        false => format!("{}: {}", exit.doc, names.join(", ")),
    }
}
