//! The table, `vocabulary.toml`, as values.

use std::fs;
use std::path::Path;

use serde::Deserialize;

/// The longest doc of a code: it is one line of a Python docstring.
const CODE_DOC_MAX: usize = 90;

/// The contents of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The error codes.
    #[serde(rename = "code")]
    pub codes: Vec<Code>,
    /// Errors in etcd's protocol.
    pub etcd: Etcd,
    /// The exit statuses of `kv`.
    #[serde(rename = "exit")]
    pub exits: Vec<Exit>,
    /// The enumerations.
    #[serde(rename = "enum")]
    pub enums: Vec<Enum>,
    /// The requests.
    #[serde(rename = "request")]
    pub requests: Vec<Request>,
    /// `open` and `serve`.
    #[serde(rename = "call")]
    pub calls: Vec<Call>,
    /// What the halves of the Node package send each other.
    pub node: Wire,
}

/// An error code.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// C's `kv_code`.
    pub number: i32,
    /// `not_found`.
    pub name: String,
    /// When it is returned.
    pub doc: String,
    /// The status of gRPC.
    pub grpc: String,
    /// The exit status of `kv`.
    pub exit: u8,
    /// A built-in exception that Python's class also derives from.
    pub python: Option<String>,
    /// The name of the number that Python's exception carries.
    pub errno: Option<String>,
}

/// Errors in etcd's protocol.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Etcd {
    /// The text of etcd.
    pub texts: Vec<EtcdText>,
    /// The statuses of gRPC.
    pub statuses: Vec<Status>,
}

/// A text that etcd has for an error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdText {
    /// `LEASE_NOT_FOUND`.
    pub name: String,
    /// The code of the error.
    pub code: String,
    /// The status of gRPC, if it is not that of the code.
    pub grpc: Option<String>,
    /// The text, without etcd's prefix.
    pub text: String,
}

/// A status of gRPC.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// `NotFound`.
    pub name: String,
    /// The code of a refusal whose text is not known.
    pub code: String,
    /// Whether a write that is refused with it was certainly not done.
    #[serde(default)]
    pub definite: bool,
}

/// An exit status of `kv`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// The number.
    pub status: u8,
    /// What it means.
    pub doc: String,
}

/// An enumeration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enum {
    /// `sort_order`.
    pub name: String,
    /// The type in libkv.
    pub rust: Option<String>,
    /// What the constants of C begin with.
    pub c: String,
    /// Whether Python and Node name the values by words.
    #[serde(default)]
    pub words: bool,
    /// The values, by ascending number.
    pub values: Vec<Value>,
}

/// A value of an enumeration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// The number in C and between the halves of Node.
    pub number: u8,
    /// `from_key`.
    pub name: String,
    /// The variant in libkv, if it is not the name in another case.
    pub rust: Option<String>,
    /// The word in Python and Node, if it is not the name.
    pub word: Option<String>,
    /// What it means.
    pub doc: String,
}

/// A request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `put`.
    pub name: String,
    /// The type in libkv.
    pub rust: String,
    /// The fields that are no options of every language.
    pub fields: Vec<String>,
    /// The options.
    pub options: Vec<Opt>,
}

/// An option of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opt {
    /// `ignore_lease`.
    pub name: String,
    /// What it takes.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it does.
    pub doc: String,
    /// Whether it also exists inside `transact`.
    #[serde(default)]
    pub transaction: bool,
}

/// `open` or `serve`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// `open`.
    pub name: String,
    /// The type of its options in libkv.
    pub rust: String,
    /// Where that type is, if its fields are the options.
    pub source: Option<String>,
    /// The struct of its options in C, which is written by hand.
    pub c: String,
    /// Where that struct is.
    pub c_source: String,
    /// The options.
    pub options: Vec<CallOption>,
}

/// An option of `open` or `serve`; each may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallOption {
    /// `read_only`.
    pub name: String,
    /// What it takes.
    #[serde(rename = "type")]
    pub kind: String,
    /// What Python shows as its default.
    pub default: Option<String>,
    /// Whether it belongs to a cluster.
    #[serde(default)]
    pub cluster: bool,
    /// What it does.
    pub doc: String,
}

/// What the halves of the Node package send each other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wire {
    /// Kinds of requests.
    pub kinds: Vec<String>,
    /// Kinds of responses.
    pub responses: Vec<String>,
}

/// What an option takes.
pub enum Kind<'t> {
    /// A boolean, false by default.
    Flag,
    /// A revision, 0 by default.
    Revision,
    /// Another integer, 0 by default.
    Number,
    /// The id of a lease, 0 by default.
    Lease,
    /// A value of an enumeration.
    Enum(&'t Enum),
}

impl Table {
    /// Reads the table and verifies the rules that its types cannot express.
    pub fn read(path: &Path) -> Result<Table, String> {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let table: Table = toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        for (at, code) in table.codes.iter().enumerate() {
            if code.number != at as i32 + 1 {
                return Err(format!(
                    "code {} has the number {}, not {}",
                    code.name,
                    code.number,
                    at + 1
                ));
            }
            if code.doc.chars().count() > CODE_DOC_MAX {
                return Err(format!("the doc of code {} is too long", code.name));
            }
            if !table.exits.iter().any(|exit| exit.status == code.exit) {
                return Err(format!(
                    "code {}: no exit status is {}",
                    code.name, code.exit
                ));
            }
        }
        table.verify_etcd()?;
        for request in &table.requests {
            for option in &request.options {
                table.kind(option).map_err(|wrong| {
                    format!("option {} of {}: {wrong}", option.name, request.name)
                })?;
            }
        }
        Ok(table)
    }

    /// Verifies that the texts and statuses of etcd's protocol name codes, and codes and texts
    /// statuses.
    fn verify_etcd(&self) -> Result<(), String> {
        let Etcd { texts, statuses } = &self.etcd;
        let codes = texts.iter().map(|text| &text.code);
        for code in codes.chain(statuses.iter().map(|status| &status.code)) {
            self.code(code).ok_or(format!("there is no code {code}"))?;
        }
        let named = self.codes.iter().map(|code| &code.grpc);
        for name in named.chain(texts.iter().filter_map(|text| text.grpc.as_ref())) {
            if !statuses.iter().any(|status| status.name == *name) {
                return Err(format!("there is no status {name}"));
            }
        }
        Ok(())
    }

    /// The status of a text.
    pub fn status_of<'t>(&'t self, text: &'t EtcdText) -> &'t str {
        let code = || &self.code(&text.code).expect("it was verified").grpc;
        text.grpc.as_ref().unwrap_or_else(code)
    }

    /// The code of this name.
    pub fn code(&self, name: &str) -> Option<&Code> {
        self.codes.iter().find(|code| code.name == name)
    }

    /// The request of this name.
    pub fn request(&self, name: &str) -> &Request {
        let found = self.requests.iter().find(|request| request.name == name);
        found.unwrap_or_else(|| panic!("the table has no request {name}"))
    }

    /// The call of this name.
    pub fn call(&self, name: &str) -> &Call {
        let found = self.calls.iter().find(|call| call.name == name);
        found.unwrap_or_else(|| panic!("the table has no call {name}"))
    }

    /// What an option takes.
    fn kind<'t>(&'t self, option: &Opt) -> Result<Kind<'t>, String> {
        Ok(match option.kind.as_str() {
            "flag" => Kind::Flag,
            "revision" => Kind::Revision,
            "number" => Kind::Number,
            "lease" => Kind::Lease,
            name => match self.enums.iter().find(|known| known.name == name) {
                Some(known) => Kind::Enum(known),
                None => return Err(format!("there is no type {name}")),
            },
        })
    }

    /// The options of a request with what they take.
    pub fn options<'t>(&'t self, request: &'t Request) -> Vec<(&'t Opt, Kind<'t>)> {
        let kind = |option| {
            self.kind(option)
                .expect("it was verified when the table was read")
        };
        let options = request.options.iter();
        options.map(|option| (option, kind(option))).collect()
    }

    /// Verifies that the types of the core have the fields of the table.
    pub fn compare(&self, read: impl Fn(&str) -> Result<String, String>) -> Result<(), String> {
        for request in &self.requests {
            let path = format!("core/src/request/{}.rs", request.name);
            let source = read(&path)?;
            let options = request.options.iter().map(|option| &option.name);
            let known = request.fields.iter().chain(options);
            same_fields(&path, &source, &request.rust, known)?;
        }
        for call in &self.calls {
            if let Some(path) = &call.source {
                let known = call.options.iter().map(|option| &option.name);
                same_fields(path, &read(path)?, &call.rust, known)?;
            }
            let members: Vec<String> = call.options.iter().flat_map(CallOption::members).collect();
            let size = "size".to_string();
            let known = members.iter().chain([&size]);
            same_fields(&call.c_source, &read(&call.c_source)?, &call.c, known)?;
        }
        Ok(())
    }
}

/// Verifies that a struct has these fields and no others.
fn same_fields<'t>(
    path: &str,
    source: &str,
    name: &str,
    known: impl Iterator<Item = &'t String>,
) -> Result<(), String> {
    let head = format!("pub struct {name} {{");
    let lines = source.lines().skip_while(|line| *line != head).skip(1);
    let mut fields: Vec<&str> = lines
        .take_while(|line| *line != "}")
        .filter_map(|line| line.strip_prefix("    pub ")?.split(':').next())
        .collect();
    let mut known: Vec<&str> = known.map(String::as_str).collect();
    fields.sort();
    known.sort();
    match fields == known {
        true => Ok(()),
        false => Err(format!(
            "{name} has the fields {fields:?} in {path} and {known:?} in vocabulary.toml"
        )),
    }
}

impl CallOption {
    /// The members of the C struct: two for the two kinds of automatic compaction.
    fn members(&self) -> Vec<String> {
        match self.kind.as_str() {
            "auto_compaction" => ["revisions", "seconds"]
                .map(|kind| format!("{}_{kind}", self.name))
                .to_vec(),
            _ => vec![self.name.clone()],
        }
    }
}

impl Enum {
    /// The words as a constant: `SORT_ORDERS`.
    pub fn words_name(&self) -> String {
        let name = self.name.to_uppercase();
        match name.strip_suffix('Y') {
            Some(stem) => format!("{stem}IES"),
            None if name.ends_with('S') => name,
            None => name + "S",
        }
    }

    /// The value that an option has by default, if it is no absence.
    pub fn default_value(&self) -> Option<&Value> {
        self.values.iter().find(|value| value.number == 0)
    }
}

impl Value {
    /// `NoSpace`.
    pub fn variant(&self) -> String {
        self.rust.clone().unwrap_or_else(|| pascal(&self.name))
    }

    /// `==`, `nospace`.
    pub fn word(&self) -> &str {
        self.word.as_ref().unwrap_or(&self.name)
    }
}

impl Code {
    /// `NotFound`.
    pub fn variant(&self) -> String {
        pascal(&self.name)
    }

    /// `NotFoundError`.
    pub fn exception(&self) -> String {
        format!("{}Error", self.variant())
    }
}

/// `ignore_lease` as `IgnoreLease`.
pub fn pascal(name: &str) -> String {
    name.split('_')
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect()
}
