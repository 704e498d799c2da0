//! etcd's configuration file (`--config-file`): YAML whose keys are flags. Values have types like
//! in etcd, which accepts no text for a number and no number for a text.

use std::ffi::OsStr;

use super::given::{GivenFlag, GivenFlags, Source};
use super::table::Effect::Gone;
use super::table::{Flag, Kind, SECTIONS, Section, find, find_in, section_of};
use super::yaml::{self, Node};
use crate::failure::{Failure, Result};

/// Reads a file. A key that etcd does not have is a line in `notes`; etcd ignores it.
///
/// # Errors
///
/// The file cannot be read, it is not YAML, or a value has the wrong type.
pub fn read(path: &OsStr, notes: &mut Vec<String>) -> Result<GivenFlags> {
    let file = path.to_string_lossy();
    let refused = |why: String| Failure::usage(format!("--config-file: {file}: {why}"));
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let document = yaml::parse(&text).map_err(|why| refused(format!("this is not YAML: {why}")))?;
    let mut reader = Reader {
        file: &file,
        given: GivenFlags::new(),
        notes,
    };
    match document {
        Node::Nothing => {}
        Node::Map(entries) => {
            for (key, value) in entries {
                reader.setting(&key, value)?;
            }
        }
        other => {
            return Err(refused(format!(
                "expected keys with values (name: default), found {}",
                other.description()
            )));
        }
    }
    Ok(reader.given)
}

struct Reader<'a> {
    file: &'a str,
    given: GivenFlags,
    notes: &'a mut Vec<String>,
}

impl Reader<'_> {
    /// Reads a key of the file. Like in etcd, capitals and small letters are the same.
    fn setting(&mut self, key: &str, value: Node) -> Result<()> {
        let name = key.to_ascii_lowercase();
        if let Some(section) = SECTIONS.iter().find(|section| section.name == name) {
            return self.section(section, value);
        }
        let Some(flag) = find(&name).filter(|flag| flag.name != "config-file") else {
            self.unknown(key);
            return Ok(());
        };
        match section_of(flag) {
            Some((section, in_section)) => {
                self.no_effect(key, &format!("the key is {in_section} in {section}"));
                Ok(())
            }
            None => self.add(flag, key, &value),
        }
    }

    fn section(&mut self, section: &Section, value: Node) -> Result<()> {
        let entries = match value {
            Node::Nothing => Vec::new(),
            Node::Map(entries) => entries,
            other => return Err(self.wrong(section.name, "keys with values", &other)),
        };
        for (key, value) in entries {
            let shown = format!("{}.{key}", section.name);
            match (
                find_in(section, &key.to_ascii_lowercase()),
                section.others_refused,
            ) {
                (Some(flag), _) => self.add(flag, &shown, &value)?,
                (None, None) => self.unknown(&shown),
                (None, Some(_)) if value == Node::Nothing => {}
                (None, Some(why)) => {
                    let file = self.file;
                    return Err(Failure::usage(format!("{file}: {shown} is refused: {why}")));
                }
            }
        }
        Ok(())
    }

    /// Adds a flag with the value as on a command line. The last one counts.
    fn add(&mut self, flag: &'static Flag, key: &str, value: &Node) -> Result<()> {
        if *value == Node::Nothing {
            self.given.remove(flag.name);
            return Ok(());
        }
        if let Gone(_, why) = flag.effect {
            self.no_effect(key, why);
            return Ok(());
        }
        let text = argument(flag.kind, value)
            .ok_or_else(|| self.wrong(key, expected(flag.kind), value))?;
        let shown = format!("{}: {key}", self.file);
        let given = GivenFlag::new(flag, shown, Source::File, text.into())?;
        self.given.insert(flag.name, given);
        Ok(())
    }

    fn unknown(&mut self, key: &str) {
        self.no_effect(key, "etcd's configuration has no such key");
    }

    fn no_effect(&mut self, key: &str, why: &str) {
        self.notes
            .push(format!("{}: {key} has no effect: {why}", self.file));
    }

    fn wrong(&self, key: &str, expected: &str, found: &Node) -> Failure {
        Failure::usage(format!(
            "{}: {key}: expected {expected}, found {}",
            self.file,
            found.description()
        ))
    }
}

/// A value as it is written on a command line, if it has this type.
fn argument(kind: Kind, value: &Node) -> Option<String> {
    let within = |lowest: i128, highest: i128, number: i128| {
        (lowest..=highest).contains(&number).then_some(number)
    };
    match (kind, value) {
        (Kind::Text, Node::Text(text)) => Some(text.clone()),
        (Kind::Switch, Node::Bool(on)) => Some(on.to_string()),
        (Kind::Number, Node::Whole(number)) => {
            Some(within(0, u64::MAX.into(), *number)?.to_string())
        }
        (Kind::Integer, Node::Whole(number)) => {
            Some(within(i64::MIN.into(), i64::MAX.into(), *number)?.to_string())
        }
        (Kind::Duration, Node::Whole(number)) => {
            let nanoseconds = within(0, i64::MAX.into(), *number)?.unsigned_abs();
            Some(format!("{}ms", nanoseconds.div_ceil(1_000_000)))
        }
        (Kind::List, Node::List(items)) => {
            let items: Option<Vec<&str>> = items.iter().map(item).collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}

/// An element of a list. Commas separate the elements on the command line.
fn item(item: &Node) -> Option<&str> {
    match item {
        Node::Text(text) if !text.contains(',') => Some(text),
        _ => None,
    }
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text (in quotes if it looks like a number or like true or false)",
        Kind::Switch => "true or false",
        Kind::Number => "a whole number from 0",
        Kind::Integer => "a whole number",
        Kind::Duration => "a whole number of nanoseconds (600000000000 is 10 minutes)",
        Kind::List => "a list of texts without commas ([a, b])",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::given::CommandLine;
    use super::*;

    /// The arguments and notes of a file with this text, without the name of the file.
    fn read_text(text: &str) -> std::result::Result<(String, Vec<String>), String> {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("etcd.yml");
        fs::write(&path, text).expect("written");
        let shown = format!("{}: ", path.display());
        let strip = |line: String| line.replace(&shown, "");
        let mut line = CommandLine::default();
        let read = read(path.as_os_str(), &mut line.notes).and_then(|given| {
            given
                .into_values()
                .try_for_each(|given| given.put(&mut line))
        });
        read.map_err(|failure| strip(failure.to_string()))?;
        let arguments: Vec<_> = line
            .arguments
            .iter()
            .map(|argument| argument.to_string_lossy())
            .collect();
        Ok((
            arguments.join(" "),
            line.notes.into_iter().map(strip).collect(),
        ))
    }

    fn arguments(text: &str) -> String {
        let (arguments, notes) = read_text(text).expect(text);
        assert!(notes.is_empty(), "{text}: {notes:?}");
        arguments
    }

    fn note(text: &str) -> String {
        let (arguments, notes) = read_text(text).expect(text);
        assert_eq!(arguments, "", "{text}");
        notes.join("\n")
    }

    #[test]
    fn values_of_each_type() {
        for (text, line) in [
            ("", ""),
            ("# nothing\n", ""),
            ("name: a\nname: 'b c'", "--name=b c"),
            ("NAME: a", "--name=a"),
            ("name: ''", ""),
            ("name: a\nname:", ""),
            ("client-transport-security:\ndata-dir:", ""),
            ("enable-grpc-gateway: off", "--enable-grpc-gateway=false"),
            ("max-txn-ops: 200", "--max-txn-ops=200"),
            ("quota-backend-bytes: -1", "--quota-backend-bytes=-1"),
            (
                "grpc-keepalive-interval: 600000000000",
                "--grpc-keepalive-interval=600000ms",
            ),
            ("grpc-keepalive-timeout: 1", "--grpc-keepalive-timeout=1ms"),
            ("log-outputs: [stdout, 'a b']", "--log-outputs=stdout,a b"),
            ("log-outputs: []", ""),
            (
                "auto-compaction-retention: \"1\"",
                "--auto-compaction-retention=1",
            ),
            (
                "listen-client-urls: http://a:1,http://b:2",
                "--listen-client-urls=http://a:1,http://b:2",
            ),
            (
                "experimental-watch-progress-notify-interval: 5000000000",
                "--watch-progress-notify-interval=5000ms",
            ),
            (
                "client-transport-security: {cert-file: c, key-file: k, client-cert-auth: true}",
                "--cert-file=c --client-cert-auth=true --key-file=k",
            ),
            (
                "feature-gates: AllBeta=true",
                "--feature-gates=AllBeta=true",
            ),
        ] {
            assert_eq!(arguments(text), line, "{text}");
        }
    }

    #[test]
    fn values_of_the_wrong_type_are_refused() {
        for (text, message) in [
            (
                "- a",
                "expected keys with values (name: default), found a list",
            ),
            (
                "hello",
                "expected keys with values (name: default), found the text \"hello\"",
            ),
            ("a: [b", "this is not YAML: "),
            ("name: 123", "name: expected text (in quotes if "),
            ("auto-compaction-retention: 1", ", found the number 1"),
            ("name: [a]", ", found a list"),
            (
                "pre-vote: \"true\"",
                "pre-vote: expected true or false, found the text \"true\"",
            ),
            (
                "pre-vote: 1",
                "pre-vote: expected true or false, found the number 1",
            ),
            (
                "snapshot-count: \"10\"",
                "snapshot-count: expected a whole number from 0, found ",
            ),
            ("snapshot-count: -1", "found the number -1"),
            ("snapshot-count: 1.5", "found a number that is not whole"),
            (
                "quota-backend-bytes: off",
                "quota-backend-bytes: expected a whole number, found false",
            ),
            (
                "grpc-keepalive-interval: 10m",
                "expected a whole number of nanoseconds (",
            ),
            (
                "log-outputs: stderr",
                "log-outputs: expected a list of texts",
            ),
            (
                "cipher-suites: [1]",
                "cipher-suites: expected a list of texts",
            ),
            (
                "cipher-suites: ['a,b']",
                "cipher-suites: expected a list of texts",
            ),
            (
                "client-transport-security: x",
                "client-transport-security: expected keys with values",
            ),
            (
                "client-transport-security: {client-cert-auth: 'yes'}",
                "client-transport-security.client-cert-auth: expected true or false",
            ),
            ("feature-gates: {a: true}", "feature-gates: expected text"),
        ] {
            let refused = read_text(text).expect_err(text);
            assert!(refused.contains(message), "{text}: {refused}");
        }
    }

    #[test]
    fn keys_have_the_effects_of_flags() {
        for (text, message) in [
            (
                "wal-dir: x",
                "wal-dir is refused: a store has one directory",
            ),
            ("discovery: http://x", "discovery is refused: "),
            (
                "discovery-config: {token: x}",
                "discovery-config.token is refused: ",
            ),
            (
                "client-transport-security: {auto-tls: true}",
                "client-transport-security.auto-tls=true is refused: ",
            ),
            (
                "client-transport-security: {allowed-cn: [a]}",
                "client-transport-security.allowed-cn is refused: ",
            ),
            (
                "socket-options: {reuse-port: true}",
                "socket-options.reuse-port=true is refused: ",
            ),
        ] {
            let refused = read_text(text).expect_err(text);
            assert!(refused.starts_with(message), "{text}: {refused}");
        }
        for (text, line) in [
            (
                "snapshot-count: 5",
                "snapshot-count has no effect: the store has no log",
            ),
            ("enable-v2: true", "enable-v2 has no effect: only etcd's v3"),
            (
                "proxy: on",
                "proxy has no effect: this server is not a proxy",
            ),
            (
                "discovery-fallback: proxy",
                "discovery-fallback has no effect: ",
            ),
            (
                "peer-transport-security: {cert-file: x, allowed-cn: [a]}",
                "peer-transport-security.",
            ),
            (
                "cert-file: x",
                "cert-file has no effect: the key is cert-file in client-transport-security",
            ),
            (
                "nonsense: {a: 1}",
                "nonsense has no effect: etcd's configuration has no such key",
            ),
            (
                "config-file: x",
                "config-file has no effect: etcd's configuration has no such key",
            ),
            (
                "socket-options: {a: 1}",
                "socket-options.a has no effect: etcd's configuration",
            ),
        ] {
            let noted = note(text);
            assert!(noted.starts_with(line), "{text}: {noted}");
        }
        assert_eq!(note("discovery-config: {token: , client: }"), "");
    }

    #[test]
    fn keys_of_sections_have_a_row() {
        for section in SECTIONS {
            for (key, row) in section.keys {
                let flag = find_in(section, key).expect(key);
                assert_eq!(flag.name, *row);
            }
            assert!(find(section.name).is_none(), "{}", section.name);
        }
    }
}
