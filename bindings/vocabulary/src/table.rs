//! The table, `vocabulary.toml`, as values.

use std::fs;
use std::path::Path;

use serde::Deserialize;

/// Everything that the table says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The error codes.
    #[serde(rename = "code")]
    pub codes: Vec<Code>,
    /// The exit statuses of `kv`.
    #[serde(rename = "exit")]
    pub exits: Vec<Exit>,
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

/// An exit status of `kv`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// The number.
    pub status: u8,
    /// What it means.
    pub doc: String,
}

impl Table {
    /// Reads the table and verifies what its types do not say.
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
            if !table.exits.iter().any(|exit| exit.status == code.exit) {
                return Err(format!(
                    "code {}: no exit status is {}",
                    code.name, code.exit
                ));
            }
        }
        Ok(table)
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
