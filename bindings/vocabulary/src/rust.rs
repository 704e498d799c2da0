//! The parts in Rust: codes and options of the core, errors in etcd's protocol, the statuses of
//! `kv`.

use std::fmt::Write as _;

use crate::output::Output;
use crate::table::{Exit, Table, pascal};
use crate::text::{comment, wrapped};

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

/// The regions of `core/src/options.rs`: which options belong to what.
pub fn options(table: &Table) -> Output {
    let names = |cluster: bool| {
        let options = table.call("open").options.iter();
        let names = options.filter(|option| option.cluster == cluster);
        let names: Vec<&str> = names.map(|option| option.name.as_str()).collect();
        wrapped(&names.join(" "), 88).join("\n")
    };
    Output::regions("core/src/options.rs")
        .region("cluster options", names(true))
        .region("store options", names(false))
}

/// `core/src/etcd_text.rs`.
pub fn etcd_text(table: &Table) -> Output {
    let (mut constants, mut names) = (String::new(), String::new());
    for text in &table.etcd.texts {
        let name = &text.name;
        _ = writeln!(constants, "pub const {name}: &str = {:?};", text.text);
        _ = write!(names, "{name},");
    }
    Output::rust(
        "core/src/etcd_text.rs",
        &format!(
            "
            //! The texts that etcd has for its errors, without the prefix `etcdserver: `.
            //!
            //! etcd's clients compare them word by word, so they are part of the protocol. See
            //! [`Error::etcd`](crate::Error::etcd).
            #![allow(missing_docs, reason = \"the value describes it\")]

            {constants}
            const ALL: &[&str] = &[{names}];

            /// The text as a constant of this module, if it is one.
            pub fn find(text: &str) -> Option<&'static str> {{
                ALL.iter().copied().find(|known| *known == text)
            }}"
        ),
    )
}

/// `bindings/etcd/src/grpc_code.rs`.
pub fn grpc_code(table: &Table) -> Output {
    let (mut statuses, mut texts, mut codes) = (String::new(), String::new(), String::new());
    for text in &table.etcd.texts {
        let (code, name) = (pascal(&text.code), &text.name);
        if let Some(grpc) = &text.grpc {
            _ = write!(
                statuses,
                "(Code::{code}, Some(etcd_text::{name})) => Status::{grpc},"
            );
        }
        let status = table.status_of(text);
        _ = write!(
            texts,
            "(Status::{status}, etcd_text::{name}) => Code::{code},"
        );
    }
    for code in &table.codes {
        let variant = code.variant();
        _ = write!(statuses, "(Code::{variant}, _) => Status::{},", code.grpc);
    }
    let mut definite = Vec::new();
    for status in &table.etcd.statuses {
        let (name, code) = (&status.name, pascal(&status.code));
        _ = write!(codes, "Status::{name} => Code::{code},");
        if status.definite {
            definite.push(format!("Status::{name}"));
        }
    }
    let definite = definite.join(" | ");
    Output::rust(
        "bindings/etcd/src/grpc_code.rs",
        &format!(
            "
            //! The gRPC status of each error, and the error code of each status.

            use libkv::{{Code, etcd_text}};
            use tonic::Code as Status;

            /// The status that a server returns for an error with this code and this text of etcd.
            pub fn status_of(code: Code, text: Option<&str>) -> Status {{
                match (code, text) {{
                    {statuses} _ => Status::Unknown,
                }}
            }}

            /// The code of a refusal with this text of etcd, without its prefix; `None` if etcd has no
            /// such text with this status.
            pub fn code_of_text(status: Status, text: &str) -> Option<Code> {{
                Some(match (status, text) {{
                    {texts} _ => return None,
                }})
            }}

            /// The code of a refusal with this status and a text that is not known.
            pub fn code_of(status: Status) -> Code {{
                match status {{
                    {codes}
                }}
            }}

            /// Whether a write that is refused with this status was certainly not done.
            pub fn is_definite(status: Status) -> bool {{
                matches!(status, {definite})
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
