//! The parts of the Python package.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::output::{HEAD, Output};
use crate::table::{CallOption, Enum, Kind, Table, pascal};
use crate::text::{renamed, wrapped};

/// A sentence with the names that Python has.
fn doc(table: &Table, doc: &str) -> String {
    renamed(doc, |name| match table.code(name) {
        Some(code) => code.exception(),
        None => name.to_string(),
    })
}

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
            "\n\nclass {name}(Error{parent}):{excuse}\n    {}\n\n    code = \"{}\"\n",
            docstring(&doc(table, &code.doc)).replace('\n', "\n    "),
            code.name
        );
        if let Some(errno) = &code.errno {
            _ = writeln!(text, "    errno = {errno}");
        }
    }
    text += "\n\n_CLASSES: list[type[Error]] = [Error, *Error.__subclasses__()]\n\n\
             BY_CODE = {cls.code: cls for cls in _CLASSES}\n\
             \"\"\"The class of each code; the native part raises these.\"\"\"\n\n\
             for _cls in _CLASSES:\n    \
             _cls.__module__ = \"libkv\"  # where programs find them, also for pickle\n";
    Output::whole("bindings/python/python/libkv/_codes.py", text)
}

/// Enumerations that Python takes by their words.
fn worded(table: &Table) -> impl Iterator<Item = (&Enum, &String)> {
    let used = |known: &&Enum| known.words && known.name != "event_kind";
    let known = table.enums.iter().filter(used);
    known.filter_map(|known| Some((known, known.rust.as_ref()?)))
}

/// `src/words.rs`.
pub fn words(table: &Table) -> Output {
    let mut text = String::from(
        "
        //! The words that arguments take, and the values that they mean.

        use libkv::*;
        ",
    );
    for (known, rust) in worded(table) {
        let values = known.values.iter();
        let pairs: String = values
            .map(|value| format!("({:?}, {rust}::{}),\n", value.word(), value.variant()))
            .collect();
        _ = writeln!(
            text,
            "\npub const {}: [(&str, {rust}); {}] = [{pairs}];",
            known.words_name(),
            known.values.len()
        );
    }
    Output::rust("bindings/python/src/words.rs", &text)
}

/// `src/request_options.rs`.
pub fn options(table: &Table) -> Output {
    let mut text = String::from(
        "
        //! The options of requests: their names, how each is read, and those that a request has.

        use pyo3::prelude::*;

        use crate::arguments::Arguments;
        use crate::convert::{durability, flag, int, one_of};
        use crate::words::{SORT_ORDERS, SORT_TARGETS};
        ",
    );
    for request in &table.requests {
        let (name, rust, upper) = (&request.name, &request.rust, request.name.to_uppercase());
        let (mut names, mut sets, mut gets) = (String::new(), String::new(), String::new());
        for (option, kind) in table.options(request) {
            let name = &option.name;
            let (value, get) = match kind {
                Kind::Flag => (
                    "flag(name, given)?".to_string(),
                    format!("flag({name:?}, request.{name})"),
                ),
                Kind::Enum(known) if known.default_value().is_none() => (
                    format!("{}(given)?", known.name),
                    format!("{}(request.{name})", known.name),
                ),
                Kind::Enum(known) => {
                    let words = known.words_name();
                    (
                        format!("one_of(name, given, &{words})?"),
                        format!("one_of({name:?}, &request.{name}, &{words})"),
                    )
                }
                _ => (
                    "int(name, given)?".to_string(),
                    format!("int({name:?}, request.{name})"),
                ),
            };
            _ = write!(names, "{name:?},");
            _ = write!(sets, "{name:?} => request.{name} = {value},");
            gets += &format!(".{get}?");
        }
        let keys = match request.fields.iter().any(|field| field == "range") {
            true => "\"prefix\", \"start\", \"end\",",
            false => "",
        };
        _ = write!(
            text,
            "
            /// The keywords of a {name}.
            pub const {upper}_OPTIONS: &[&str] = &[{keys} {names}];

            /// Sets an option of a {name}; returns whether it is one.
            pub fn set_{name}(request: &mut libkv::{rust}, name: &str, given: &Bound<'_, PyAny>) -> PyResult<bool> {{
                match name {{
                    {sets}
                    _ => return Ok(false),
                }}
                Ok(true)
            }}
            "
        );
        let docs = request.options.iter().map(|option| {
            let lines = wrapped(&doc(table, &option.doc), 90).join("\n    ");
            format!("            {:?},\n", format!("{}: {lines}\n", option.name))
        });
        let docs: String = docs.collect();
        _ = write!(
            text,
            "
            /// What the options of a {name} do, for docstrings.
            macro_rules! {name}_docs {{\n    () => {{\n        concat!(\n{docs}        )\n    }};\n}}
            pub(crate) use {name}_docs;
            "
        );
        if request.name != "watch" {
            let gets = gets.strip_suffix('?').unwrap_or(&gets);
            _ = write!(
                text,
                "
                /// Adds the options of a {name} that are not at their defaults.
                pub fn {name}_arguments<'py>(arguments: Arguments<'py>, request: &libkv::{rust}) -> PyResult<Arguments<'py>> {{
                    arguments{gets}
                }}
                "
            );
        }
    }
    for call in &table.calls {
        let (name, upper) = (&call.name, call.name.to_uppercase());
        let names: String = call
            .options
            .iter()
            .map(|option| format!("{:?},\n", option.name))
            .collect();
        _ = write!(
            text,
            "
            /// The keywords of {name}().
            pub const {upper}_OPTIONS: &[&str] = &[{names}];
            "
        );
    }
    Output::rust("bindings/python/src/request_options.rs", &text)
}

/// The widest line of a docstring, without its indentation and quotes.
const LINE_MAX: usize = 90;

/// The docstring of a class or a member.
fn docstring(doc: &str) -> String {
    format!("\"\"\"{}\"\"\"", wrapped(doc, LINE_MAX).join("\n"))
}

/// What an option of `open` or `serve` is in the stubs.
fn call_annotation(table: &Table, option: &CallOption) -> String {
    let annotation = match option.kind.as_str() {
        "flag" => "bool",
        "ms" => "float",
        "integer" => "int",
        "path" => "Target",
        "text" => "str",
        "clock" => "Clock",
        "auto_compaction" => "int | timedelta",
        "limits" => "Literal[\"etcd\"]",
        name => {
            let known = table.enums.iter().find(|known| known.name == name);
            let known = known.unwrap_or_else(|| panic!("there is no type {name}"));
            return format!("{} | None", pascal(&known.name));
        }
    };
    format!("{annotation} | None")
}

/// What an option of `open` or `serve` is by default, in the stubs.
fn call_default(option: &CallOption) -> &str {
    option.default.as_deref().unwrap_or("None")
}

/// What an option is in the stubs, and its default.
fn stub(kind: &Kind) -> (String, String) {
    let (annotation, default) = match kind {
        Kind::Flag => ("bool", "False".to_string()),
        Kind::Enum(known) => {
            let name = pascal(&known.name);
            return match known.default_value() {
                Some(value) => (name, format!("\"{}\"", value.word())),
                None => (format!("{name} | None"), "None".to_string()),
            };
        }
        _ => ("int", "0".to_string()),
    };
    (annotation.to_string(), default)
}

/// The regions of `__init__.py`: the names of the exceptions. Type checkers read them only from a list
/// in the file itself.
pub fn exports(table: &Table) -> Output {
    let classes: BTreeSet<String> = table.codes.iter().map(|code| code.exception()).collect();
    let imports = classes.iter().map(|class| match class.as_str() {
        "TimeoutError" => format!("{class},  # noqa: A004 - it is a built-in TimeoutError too\n"),
        _ => format!("{class},\n"),
    });
    let names = classes.iter().map(|class| format!("\"{class}\",\n"));
    Output::regions("bindings/python/python/libkv/__init__.py")
        .region("imports", imports.collect())
        .region("names", names.collect())
}

/// The regions of `_types.py`.
pub fn types(table: &Table) -> Output {
    let mut aliases = String::new();
    for (known, _) in worded(table) {
        if known.name == "limits" {
            continue;
        }
        let words: Vec<String> = known
            .values
            .iter()
            .map(|v| format!("\"{}\"", v.word()))
            .collect();
        let name = pascal(&known.name);
        _ = writeln!(aliases, "{name}: TypeAlias = Literal[{}]", words.join(", "));
    }
    let mut output =
        Output::regions("bindings/python/python/libkv/_types.py").region("words", aliases);
    for (request, name, transaction) in [
        ("put", "transaction put", Some(true)),
        ("put", "put", Some(false)),
        ("range", "transaction range", Some(true)),
        ("range", "range", Some(false)),
        ("delete", "delete", None),
        ("watch", "watch", None),
    ] {
        let mut lines = String::new();
        for (option, kind) in table.options(table.request(request)) {
            if transaction.is_none_or(|wanted| wanted == option.transaction) {
                _ = writeln!(
                    lines,
                    "{}: {}\n{}",
                    option.name,
                    stub(&kind).0,
                    docstring(&doc(table, &option.doc))
                );
            }
        }
        output = output.region(name, lines);
    }
    table.calls.iter().fold(output, |output, call| {
        let lines = call.options.iter().map(|option| {
            let annotation = match call_annotation(table, option) {
                // it is imported for the type checker alone
                clock if clock.starts_with("Clock") => format!("\"{clock}\""),
                annotation => annotation,
            };
            let of_cluster = if option.cluster { "For clusters: " } else { "" };
            let doc = format!("{of_cluster}{}", doc(table, &option.doc));
            format!("{}: {annotation}\n{}\n", option.name, docstring(&doc))
        });
        output.region(&call.name, lines.collect())
    })
}

/// The regions of `_libkv.pyi`.
pub fn stubs(table: &Table) -> Output {
    let output = Output::regions("bindings/python/python/libkv/_libkv.pyi");
    let output = table.calls.iter().fold(output, |output, call| {
        let lines = call.options.iter().map(|option| {
            let annotation = call_annotation(table, option);
            format!(
                "{}: {annotation} = {},\n",
                option.name,
                call_default(option)
            )
        });
        output.region(&call.name, lines.collect())
    });
    table.requests.iter().fold(output, |output, request| {
        let mut lines = String::new();
        for (option, kind) in table.options(request) {
            let (annotation, default) = stub(&kind);
            _ = writeln!(lines, "{}: {annotation} = {default},", option.name);
        }
        output.region(&request.name, lines)
    })
}

/// The signatures in the sources: the part after the hand-written arguments.
pub fn signatures(table: &Table, path: &'static str) -> Output {
    let requests = table.requests.iter().map(|request| {
        let options = table.options(request);
        let options = options
            .iter()
            .map(|(option, kind)| format!("{}={}", option.name, stub(kind).1.replace('"', "'")));
        (&request.name, options.collect::<Vec<_>>().join(", "))
    });
    let calls = table.calls.iter().map(|call| {
        let options = call.options.iter();
        let options = options.map(|option| format!("{}={}", option.name, call_default(option)));
        (&call.name, options.collect::<Vec<_>>().join(", "))
    });
    let regions = requests.chain(calls);
    regions.fold(Output::regions(path), |output, (name, options)| {
        output.perhaps(name, move |old| {
            let lead = ["end=..., ", "*, "].iter().find_map(|mark| {
                let at = old.find(mark)? + mark.len();
                Some(&old[..at])
            });
            format!("{}{options})\"\n", lead.unwrap_or(old.trim_end()))
        })
    })
}
