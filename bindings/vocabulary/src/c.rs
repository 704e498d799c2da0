//! The parts of the C interface; `include/kv.h` is generated from them by the build of `libkv-ffi`.

use std::fmt::Write as _;

use crate::output::Output;
use crate::table::Table;
use crate::text::{comment, plain};

/// `ffi/src/codes.rs`.
pub fn codes(table: &Table) -> Output {
    let (mut constants, mut names) = (String::new(), String::new());
    for code in &table.codes {
        constants += &comment("///", &plain(&code.doc));
        _ = writeln!(
            constants,
            "pub const KV_{}: KvCode = {};",
            code.name.to_uppercase(),
            code.number
        );
        _ = writeln!(
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
