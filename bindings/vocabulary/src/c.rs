//! The parts of the C interface; `include/kv.h` is generated from them by the build of `libkv-ffi`.

use std::fmt::Write as _;

use crate::output::Output;
use crate::table::{Enum, Kind, Table, Value};
use crate::text::{after, comment, renamed};

/// `ffi/src/codes.rs`.
pub fn codes(table: &Table) -> Output {
    let (mut constants, mut names) = (String::new(), String::new());
    for code in &table.codes {
        constants += &comment("///", &doc(table, &code.doc));
        _ = writeln!(
            constants,
            "pub const KV_{}: KvCode = {};",
            code.name.to_uppercase(),
            code.number
        );
        _ = write!(
            names,
            "KV_{} => c{:?},",
            code.name.to_uppercase(),
            code.name
        );
    }
    Output::rust(
        "ffi/src/codes.rs",
        &format!(
            "
            //! The error codes of the header and their names.

            use std::ffi::CStr;

            /// The return value of every call: KV_OK or an error code. The numbers never change.
            pub type KvCode = i32;

            /// Success.
            pub const KV_OK: KvCode = 0;
            {constants}

            /// The name of a code; `None` for other numbers.
            pub(crate) fn code_name(code: KvCode) -> Option<&'static CStr> {{
                Some(match code {{
                    KV_OK => c\"ok\",
                    {names}
                    _ => return None,
                }})
            }}"
        ),
    )
}

/// A sentence with the names that C has.
fn doc(table: &Table, doc: &str) -> String {
    renamed(doc, |name| match table.code(name) {
        Some(code) => format!("KV_{}", code.name.to_uppercase()),
        None => name.to_string(),
    })
}

/// Enumerations whose numbers C passes in.
const READ: &[&str] = &[
    "durability",
    "limits",
    "sort_order",
    "sort_target",
    "compare_result",
    "alarm_kind",
    "permission_type",
];
/// Enumerations whose numbers C gets.
const WRITTEN: &[&str] = &["durability", "event_kind", "alarm_kind", "permission_type"];
/// Enumerations that are `#[non_exhaustive]` in Rust: 0 is a value that C does not know.
const GROWING: &[&str] = &["durability"];

/// `ffi/src/constants.rs`.
pub fn constants(table: &Table) -> Output {
    let mut text = String::from(
        "
        //! The numbers of the header's enumerations, and the types of the library for them.

        use libkv::*;
        ",
    );
    for known in &table.enums {
        text.push('\n');
        for value in &known.values {
            text += &comment("///", &doc(table, &value.doc));
            let number = value.number;
            _ = writeln!(
                text,
                "pub const {}: i32 = {number};",
                constant(known, value)
            );
        }
    }
    for known in &table.enums {
        let Some(rust) = &known.rust else { continue };
        let (mut into, mut out) = (String::new(), String::new());
        for value in &known.values {
            let (name, variant) = (constant(known, value), value.variant());
            _ = write!(into, "{name} => {rust}::{variant},");
            _ = write!(out, "{rust}::{variant} => {name},");
        }
        let name = &known.name;
        if READ.contains(&name.as_str()) {
            _ = write!(
                text,
                "
                /// The value of a number; `None` for numbers without a meaning.
                pub(crate) fn {name}(number: i32) -> Option<{rust}> {{
                    Some(match number {{ {into} _ => return None }})
                }}
                "
            );
        }
        if GROWING.contains(&name.as_str()) {
            out += "_ => 0,";
        }
        if WRITTEN.contains(&name.as_str()) {
            _ = write!(
                text,
                "
                /// The number of a value.
                pub(crate) fn {name}_number(value: {rust}) -> i32 {{
                    match value {{ {out} }}
                }}
                "
            );
        }
    }
    Output::rust("ffi/src/constants.rs", &text)
}

fn constant(known: &Enum, value: &Value) -> String {
    format!("{}{}", known.c, value.name.to_uppercase())
}

/// `ffi/src/options.rs`.
pub fn options(table: &Table) -> Output {
    let mut text = String::from(
        "
        //! The option structs of requests.
        #![allow(unsafe_code)]

        use libkv::*;

        use crate::types::*;
        ",
    );
    for request in &table.requests {
        let (mut members, mut sets) = (String::new(), String::new());
        for (option, kind) in table.options(request) {
            let name = &option.name;
            let doc = doc(table, &option.doc);
            let (doc, member, value) = match kind {
                Kind::Flag => (
                    after("KV_YES", &doc),
                    "i32",
                    format!("flag_in(self.{name}, {name:?})?.unwrap_or(false)"),
                ),
                Kind::Enum(known) => (
                    after(&format!("{}…", known.c), &doc),
                    "i32",
                    format!("{}_in(self.{name})?", known.name),
                ),
                _ => (doc, "i64", format!("self.{name}")),
            };
            members += &comment("    ///", &doc);
            _ = writeln!(members, "    pub {name}: {member},");
            _ = write!(sets, "request.{name} = {value};");
        }
        let (name, rust) = (&request.name, &request.rust);
        let upper = name.to_uppercase();
        _ = write!(
            text,
            "
            /// Options of kv_{name}; initialise with KV_{upper}_OPTIONS_INIT.
            #[repr(C)]
            #[derive(Clone, Copy)]
            pub struct Kv{rust}Options {{
                /// sizeof(kv_{name}_options).
                pub size: usize,
                {members}
            }}

            // SAFETY: numbers only, size first.
            unsafe impl OptionStruct for Kv{rust}Options {{
                const NAME: &'static str = \"kv_{name}_options\";
            }}

            impl Kv{rust}Options {{
                /// Gives the request these options.
                pub(crate) fn set(&self, request: &mut {rust}) -> Result<()> {{
                    {}
                    Ok(())
                }}
            }}
            ",
            sets.trim_end()
        );
    }
    Output::rust("ffi/src/options.rs", &text)
}
