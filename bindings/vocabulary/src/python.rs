//! The parts of the Python package.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::output::{HEAD, Output};
use crate::table::Table;
use crate::text::plain;

/// `_codes.py`: the exceptions.
pub fn codes(table: &Table) -> Output {
    let classes: BTreeSet<String> = table.codes.iter().map(|code| code.exception()).collect();
    let errnos: BTreeSet<&str> = table
        .codes
        .iter()
        .filter_map(|code| code.errno.as_deref())
        .collect();
    let errnos: Vec<&str> = errnos.into_iter().collect();
    let mut text = format!(
        "# {HEAD}\n\
         \"\"\"One exception class for each code, with the parent that Python programs expect.\"\"\"\n\n\
         import builtins\n\
         from errno import {}\n\n\
         from libkv._errors import Error\n",
        errnos.join(", ")
    );
    for code in &table.codes {
        let name = code.exception();
        let (parent, is_shadowed) = match &code.python {
            Some(parent) if classes.contains(parent) => (format!(", builtins.{parent}"), true),
            Some(parent) => (format!(", {parent}"), false),
            None => (String::new(), false),
        };
        let shadows = is_shadowed && code.python.as_ref() == Some(&name);
        let excuse = match shadows {
            true => "  # noqa: A001 - named after its code; it is the built-in one too",
            false => "",
        };
        _ = write!(
            text,
            "\n\nclass {name}(Error{parent}):{excuse}\n    \"\"\"{}\"\"\"\n\n    code = \"{}\"\n",
            plain(&code.doc),
            code.name
        );
        if let Some(errno) = &code.errno {
            _ = writeln!(text, "    errno = {errno}");
        }
    }
    text += "\n\nBY_CODE: dict[str, type[Error]] = {\n    \"error\": Error,\n";
    for code in &table.codes {
        _ = writeln!(text, "    \"{}\": {},", code.name, code.exception());
    }
    text += "}\n\"\"\"The class of each code; the native part raises these.\"\"\"\n\n\
             __all__ = [\n";
    for class in &classes {
        _ = writeln!(text, "    \"{class}\",");
    }
    text += "]\n\n\
             for _cls in BY_CODE.values():\n    \
             _cls.__module__ = \"libkv\"  # where programs find them, also for pickle\n";
    Output::whole("bindings/python/python/libkv/_codes.py", text)
}
