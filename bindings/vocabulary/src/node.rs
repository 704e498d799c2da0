//! The parts of the Node package: types, and the messages between JavaScript and Rust.

use std::fmt::Write as _;

use crate::output::{HEAD, Output};
use crate::table::{Enum, Kind, Opt, Request, Table, pascal};
use crate::text::{comment, renamed};

/// The widest line of JavaScript.
const LINE_MAX: usize = 100;

/// The regions of `index.d.ts`.
pub fn types(table: &Table) -> Output {
    let mut codes = String::from(
        "/** The condition that a {@link KvError} reports; see the README for each. */\nexport type ErrorCode =\n",
    );
    for code in &table.codes {
        _ = writeln!(codes, "  | '{}'", code.name.to_uppercase());
    }
    let mut words = String::new();
    for known in table.enums.iter().filter(|known| known.words) {
        let name = pascal(&known.name);
        if !["Limits", "EventKind"].contains(&name.as_str()) {
            words += &meanings(table, known);
            _ = writeln!(words, "export type {name} = {}", union(known));
        }
    }
    let output = Output::regions("bindings/node/index.d.ts")
        .region("ErrorCode", codes)
        .region("words", words);
    let output = table.calls.iter().fold(output, |output, call| {
        let lines = call.options.iter().map(|option| {
            let of_cluster = if option.cluster { "For clusters: " } else { "" };
            let doc = format!("{of_cluster}{}", doc(table, &option.doc));
            let takes = match option.kind.as_str() {
                "flag" => "boolean".to_string(),
                "ms" | "integer" => "number".to_string(),
                "path" => "string | Uint8Array | URL".to_string(),
                "text" => "string".to_string(),
                "clock" => "Clock".to_string(),
                "auto_compaction" => {
                    "number | { revisions: number } | { seconds: number }".to_string()
                }
                "limits" => "'etcd'".to_string(),
                name => pascal(name),
            };
            format!("{}{}?: {takes}\n", comment_of(&doc), camel(&option.name))
        });
        output.region(&call.name, lines.collect())
    });
    table.requests.iter().fold(output, |output, request| {
        let mut lines = String::new();
        for (option, kind) in table.options(request) {
            let doc = doc(table, &option.doc);
            lines += &comment_of(&doc);
            let name = camel(&option.name);
            let takes = match kind {
                Kind::Flag => "boolean".to_string(),
                Kind::Revision => "Revision".to_string(),
                Kind::Number => "number".to_string(),
                Kind::Lease => "bigint".to_string(),
                Kind::Enum(known) => pascal(&known.name),
            };
            _ = writeln!(lines, "{name}?: {takes}");
        }
        output.region(&request.name, lines)
    })
}

/// A comment over a member: on one line if it fits.
fn comment_of(doc: &str) -> String {
    let line = format!("/** {doc} */\n");
    match line.chars().count() < LINE_MAX {
        true => line,
        false => format!("/**\n{} */\n", comment(" *", doc)),
    }
}

/// The comment of an enumeration: the meaning of each word, unless the word explains itself.
fn meanings(table: &Table, known: &Enum) -> String {
    let values = known
        .values
        .iter()
        .filter(|value| value.doc != value.word());
    let lines: String = values
        .map(|value| {
            comment(
                " *",
                &format!("`'{}'`: {}", value.word(), doc(table, &value.doc)),
            )
        })
        .collect();
    match lines.is_empty() {
        true => lines,
        false => format!("/**\n{lines} */\n"),
    }
}

/// A sentence with the names that JavaScript has.
pub fn doc(table: &Table, doc: &str) -> String {
    renamed(doc, |name| match table.code(name) {
        Some(code) => format!("`{}`", code.name.to_uppercase()),
        None => format!("`{}`", camel(name)),
    })
}

fn union(known: &Enum) -> String {
    let words: Vec<String> = known
        .values
        .iter()
        .map(|v| format!("'{}'", v.word()))
        .collect();
    words.join(" | ")
}

/// `lib/numbers.js`.
pub fn numbers(table: &Table) -> Output {
    let mut text =
        format!("// {HEAD}\n'use strict'\n\n/** The kind of a request: its first byte. */\n");
    text += &object(
        "KIND",
        table.node.kinds.iter().map(|name| camel(name)).enumerate(),
    );
    text += "/** What a response begins with. */\n";
    text += &object(
        "RESPONSE",
        table
            .node
            .responses
            .iter()
            .map(|name| camel(name))
            .enumerate(),
    );
    let mut exports = vec!["KIND".to_string(), "RESPONSE".to_string()];
    for known in &table.enums {
        if known.words {
            let name = known.words_name();
            // the number of a word is its place
            let mut words = vec!["null".to_string(); usize::from(known.values[0].number)];
            words.extend(known.values.iter().map(|value| quoted(value.word())));
            text += &list(&name, &words);
            exports.push(name);
        } else if NUMBERED.contains(&known.name.as_str()) {
            let name = known.name.to_uppercase();
            let values = known.values.iter();
            text += &object(
                &name,
                values.map(|v| (usize::from(v.number), camel(&v.name))),
            );
            exports.push(name);
        }
    }
    text += &exported(exports);
    Output::whole("bindings/node/lib/numbers.js", text)
}

/// Enumerations that JavaScript uses by number.
const NUMBERED: &[&str] = &["range_kind", "compare_target"];
/// Enumerations that cross as their numbers.
const READ: &[&str] = &[
    "durability",
    "sort_order",
    "sort_target",
    "compare_result",
    "alarm_kind",
    "permission_type",
];

fn object(name: &str, members: impl IntoIterator<Item = (usize, String)>) -> String {
    let mut text = format!("const {name} = {{\n");
    for (number, member) in members {
        _ = writeln!(text, "  {member}: {number},");
    }
    text + "}\n"
}

fn quoted(word: &str) -> String {
    format!("'{word}'")
}

fn list(name: &str, words: &[String]) -> String {
    let line = format!("const {name} = [{}]\n", words.join(", "));
    match line.len() <= LINE_MAX {
        true => line,
        false => format!("const {name} = [\n  {},\n]\n", words.join(",\n  ")),
    }
}

fn exported(mut names: Vec<String>) -> String {
    names.sort();
    format!("\nmodule.exports = {{\n  {},\n}}\n", names.join(",\n  "))
}

/// `src/numbers.rs`.
pub fn numbers_of_rust(table: &Table) -> Output {
    let constants = |names: &[String]| -> String {
        let names = names.iter().enumerate();
        names
            .map(|(number, name)| format!("pub const {}: u8 = {number};\n", name.to_uppercase()))
            .collect()
    };
    let mut text = format!(
        "
        //! The numbers that requests and responses cross with; `lib/numbers.js` has the same.

        use libkv::*;

        /// The kind of a request: its first byte.
        pub mod kind {{ {} }}

        /// What a response begins with.
        pub mod response {{ {} }}
        ",
        constants(&table.node.kinds),
        constants(&table.node.responses)
    );
    for known in &table.enums {
        let name = &known.name;
        if NUMBERED.contains(&name.as_str()) {
            let values = known.values.iter();
            let values: String = values
                .map(|v| format!("pub const {}: u8 = {};\n", v.name.to_uppercase(), v.number))
                .collect();
            _ = writeln!(text, "\npub mod {name} {{ {values} }}");
        }
        let Some(rust) = known
            .rust
            .as_ref()
            .filter(|_| READ.contains(&name.as_str()))
        else {
            continue;
        };
        let values = known.values.iter();
        let into: String = values
            .map(|v| format!("{} => {rust}::{},\n", v.number, v.variant()))
            .collect();
        _ = write!(
            text,
            "
            /// The value of a number; `None` for numbers without a meaning.
            pub fn {name}(number: u8) -> Option<{rust}> {{
                Some(match number {{ {into} _ => return None }})
            }}
            "
        );
    }
    let alarm = table.enums.iter().find(|known| known.name == "alarm_kind");
    let alarms: String = alarm.map_or(String::new(), |known| {
        let values = known.values.iter();
        values
            .map(|v| format!("AlarmKind::{} => {},\n", v.variant(), v.number))
            .collect()
    });
    _ = write!(
        text,
        "
        /// The number of a kind of alarms.
        pub fn alarm_kind_number(kind: AlarmKind) -> u8 {{
            match kind {{ {alarms} }}
        }}
        "
    );
    Output::rust("bindings/node/src/numbers.rs", &text)
}

/// The options in the order in which they cross: all flags in one byte, then the others.
fn layout<'t>(table: &'t Table, request: &'t Request) -> (Vec<&'t Opt>, Vec<(&'t Opt, Kind<'t>)>) {
    let (mut flags, mut others) = (Vec::new(), Vec::new());
    for (option, kind) in table.options(request) {
        match kind {
            Kind::Flag => flags.push(option),
            kind => others.push((option, kind)),
        }
    }
    assert!(
        flags.len() <= 8,
        "the flags of a {} fill one byte",
        request.name
    );
    (flags, others)
}

/// `lib/options.js`.
pub fn options(table: &Table) -> Output {
    let mut text = format!(
        "// {HEAD}\n'use strict'\n\n\
         const {{ flag, integer, lease, oneOf }} = require('./arguments.js')\n\
         const {{ DURABILITIES, SORT_ORDERS, SORT_TARGETS }} = require('./numbers.js')\n"
    );
    let mut exports = vec!["optionWriters".to_string()];
    let mut writers = String::new();
    for request in &table.requests {
        let (name, upper) = (camel(&request.name), request.name.to_uppercase());
        let names: Vec<String> = request
            .options
            .iter()
            .map(|option| quoted(&camel(&option.name)))
            .collect();
        text.push('\n');
        text += &list(&format!("{upper}_OPTIONS"), &names);
        _ = writeln!(
            text,
            "\n/** The options of a {name}, checked. */\nconst {name}Options = (options) => ({{"
        );
        for (option, kind) in table.options(request) {
            let name = camel(&option.name);
            let given = format!("'option {name}', options.{name}");
            let check = match kind {
                Kind::Flag => format!("flag({given})"),
                Kind::Lease => format!("lease({given})"),
                Kind::Enum(known) => format!("oneOf({given}, {})", known.words_name()),
                _ => format!("integer({given}, 0)"),
            };
            _ = writeln!(text, "  {name}: {check},");
        }
        text += "})\n";
        let (flags, others) = layout(table, request);
        let flags: Vec<String> = flags
            .iter()
            .enumerate()
            .map(|(bit, flag)| match bit {
                0 => format!("request.{}", camel(&flag.name)),
                _ => format!("(request.{} << {bit})", camel(&flag.name)),
            })
            .collect();
        let flags = match flags.as_slice() {
            [only] => format!("{only} | 0"),
            all => all.join(" | "),
        };
        _ = writeln!(writers, "    {name}(request) {{");
        let line = format!("      u8({flags})");
        match line.len() <= LINE_MAX {
            true => _ = writeln!(writers, "{line}"),
            false => {
                _ = writeln!(
                    writers,
                    "      u8(\n        {},\n      )",
                    flags.replace(" | ", " |\n          ")
                )
            }
        }
        let mut defaults = String::from("      u8(0)\n");
        for (option, kind) in &others {
            let name = camel(&option.name);
            let (write, zero) = match kind {
                Kind::Lease => ("i64", "0n"),
                Kind::Enum(_) => ("u8", "0"),
                _ => ("f64", "0"),
            };
            _ = writeln!(writers, "      {write}(request.{name})");
            _ = writeln!(defaults, "      {write}({zero})");
        }
        writers += "    },\n";
        if request.name == "put" {
            _ = writeln!(writers, "    noPut() {{\n{defaults}    }},");
        }
        exports.extend([format!("{upper}_OPTIONS"), format!("{name}Options")]);
    }
    for call in &table.calls {
        let name = format!("{}_OPTIONS", call.name.to_uppercase());
        let names: Vec<String> = call
            .options
            .iter()
            .map(|option| quoted(&camel(&option.name)))
            .collect();
        text.push('\n');
        text += &list(&name, &names);
        exports.push(name);
    }
    _ = write!(
        text,
        "\n/** Writes options as src/request_options.rs reads them: the flags in a byte, then the others. */\n\
         function optionWriters({{ u8, f64, i64 }}) {{\n  return {{\n{writers}  }}\n}}\n"
    );
    text += &exported(exports);
    Output::whole("bindings/node/lib/options.js", text)
}

/// `src/request_options.rs`.
pub fn options_of_rust(table: &Table) -> Output {
    let mut text = String::from(
        "
        //! The options of requests, read as `lib/options.js` writes them.

        use libkv::*;

        use crate::wire::Reader;

        impl Reader<'_> {
        ",
    );
    for request in &table.requests {
        let (flags, others) = layout(table, request);
        let names: Vec<&str> = flags.iter().map(|flag| flag.name.as_str()).collect();
        let mut sets = String::new();
        for name in &names {
            _ = writeln!(sets, "request.{name} = {name};");
        }
        for (option, kind) in others {
            let read = match kind {
                Kind::Lease => "i64".to_string(),
                Kind::Enum(known) => known.name.clone(),
                _ => "number".to_string(),
            };
            _ = writeln!(sets, "request.{} = self.{read}()?;", option.name);
        }
        _ = write!(
            text,
            "
            /// The options of a {name}.
            pub fn {name}_options(&mut self, request: &mut {rust}) -> Result<()> {{
                let [{names}] = self.flags()?;
                {sets}
                Ok(())
            }}
            ",
            sets = sets.trim_end(),
            name = request.name,
            rust = request.rust,
            names = names.join(", ")
        );
    }
    text += "}\n";
    Output::rust("bindings/node/src/request_options.rs", &text)
}

/// `ignore_lease` as `ignoreLease`.
pub fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_string();
    words.fold(first, |name, word| {
        name + &word[..1].to_uppercase() + &word[1..]
    })
}
