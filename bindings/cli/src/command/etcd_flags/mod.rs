//! etcd's flags, variables and configuration file for `kv serve`, which are read before clap reads
//! the other arguments. `table.rs` has the effect of every flag of etcd 3.4 to 3.7, and of every
//! key of a file. A flag is written like in Go programs: `-flag`, `--flag`, `--flag=value`,
//! `--flag value`; the last one counts.

mod config_file;
mod given;
mod table;
mod yaml;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

pub use self::given::CommandLine;
use self::given::{GivenFlag, GivenFlags, Source};
use self::table::{Flag, Kind, find};
use crate::failure::{Failure, Result};

/// Translates etcd's flags in the arguments of `kv serve`, ETCD_… variables and a configuration
/// file for clap: each flag that has an effect once, as `--flag=value`. The arguments of other
/// commands are unchanged. `root` is the definition of the program.
///
/// # Errors
///
/// A flag, variable or key that is refused, a flag without its value, a bad `true` or `false`, a
/// configuration file that cannot be read.
pub fn prepare(
    mut arguments: Vec<OsString>,
    variables: impl Iterator<Item = (OsString, OsString)>,
    root: &clap::Command,
) -> Result<CommandLine> {
    let Some(serve_at) = find_command(&arguments, root).filter(|at| arguments[*at] == "serve")
    else {
        return Ok(CommandLine {
            arguments,
            ..CommandLine::default()
        });
    };
    let rest = arguments.split_off(serve_at + 1);
    let (mut given, others) = read_line(rest, root)?;
    let mut prepared = CommandLine {
        arguments,
        ..CommandLine::default()
    };
    let variables = variables.filter(|(_, value)| !value.is_empty()).collect();
    match config_file(&given, &variables) {
        Some(file) => {
            note_without_effect(&given, &variables, &mut prepared.notes);
            given = config_file::read(&file, &mut prepared.notes)?;
            let mut argument = OsString::from("--config-file=");
            argument.push(&file);
            prepared.arguments.push(argument);
            prepared.config_file = Some(file);
        }
        None => read_variables(variables, &mut given, &mut prepared.notes)?,
    }
    for given in given.into_values() {
        given.put(&mut prepared)?;
    }
    prepared.arguments.extend(others);
    Ok(prepared)
}

/// The variables that are not empty. etcd ignores empty ones.
type Variables = BTreeMap<OsString, OsString>;

const CONFIG_FILE_VARIABLE: &str = "ETCD_CONFIG_FILE";

/// The configuration file. Like in etcd, an empty flag is as if it were not given.
fn config_file(given: &GivenFlags, variables: &Variables) -> Option<OsString> {
    given
        .get("config-file")
        .map(|given| &given.value)
        .filter(|file| !file.is_empty())
        .or_else(|| variables.get(OsStr::new(CONFIG_FILE_VARIABLE)))
        .cloned()
}

/// Notes the flags and variables that a configuration file makes useless.
fn note_without_effect(given: &GivenFlags, variables: &Variables, notes: &mut Vec<String>) {
    let flag_given = given
        .get("config-file")
        .is_some_and(|given| !given.value.is_empty());
    let flags = given
        .values()
        .map(|given| given.shown.as_str())
        .filter(|shown| *shown != "--config-file");
    let variables = variables
        .keys()
        .filter_map(|variable| variable.to_str())
        .filter(|variable| flag_of_variable(variable).is_some())
        .filter(|variable| flag_given || *variable != CONFIG_FILE_VARIABLE);
    let names: Vec<&str> = flags.chain(variables).collect();
    if !names.is_empty() {
        notes.push(format!(
            "a configuration file is given: these have no effect: {}",
            names.join(", ")
        ));
    }
}

/// Splits the arguments after `serve` into etcd's flags and those that clap reads.
fn read_line(rest: Vec<OsString>, root: &clap::Command) -> Result<(GivenFlags, Vec<OsString>)> {
    let (mut given, mut others) = (GivenFlags::new(), Vec::new());
    let mut rest = rest.into_iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            others.push(argument);
            others.extend(rest);
            break;
        }
        let Some((name, value)) = split(&argument) else {
            others.push(argument);
            continue;
        };
        match find(&name) {
            Some(flag) => {
                let value = match value {
                    Some(value) => value,
                    None if flag.kind == Kind::Switch => "true".into(),
                    None => rest
                        .next()
                        .ok_or_else(|| Failure::usage(format!("--{name} needs a value")))?,
                };
                given.insert(
                    flag.name,
                    GivenFlag::new(flag, format!("--{name}"), Source::Argument, value)?,
                );
            }
            None => {
                let more = takes_value(root, &argument.to_string_lossy())
                    .then(|| rest.next())
                    .flatten();
                others.push(argument);
                others.extend(more);
            }
        }
    }
    Ok((given, others))
}

/// The name and the value in `-name`, `--name` or `--name=value`. A single letter is an option of
/// kv.
fn split(argument: &OsStr) -> Option<(String, Option<OsString>)> {
    let bytes = argument.as_bytes().strip_prefix(b"-")?;
    let bytes = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (
            &bytes[..at],
            Some(OsString::from_vec(bytes[at + 1..].to_vec())),
        ),
        None => (bytes, None),
    };
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| name.len() > 1)?;
    Some((name.to_string(), value))
}

/// Adds the variables of flags that are not on the command line. Like in etcd, an unknown variable
/// is logged.
fn read_variables(
    variables: Variables,
    given: &mut GivenFlags,
    notes: &mut Vec<String>,
) -> Result<()> {
    for (variable, value) in variables {
        let Some(variable) = variable.to_str().filter(|name| name.starts_with("ETCD_")) else {
            continue;
        };
        match flag_of_variable(variable) {
            None => notes.push(format!("unrecognized environment variable {variable}")),
            Some((_, flag))
                if given
                    .get(flag.name)
                    .is_some_and(|given| given.source == Source::Argument) =>
            {
                notes.push(format!(
                    "{variable} has no effect: --{} is given",
                    flag.name
                ));
            }
            Some((name, flag)) => {
                let shown = format!("{variable} (--{name})");
                given.insert(
                    flag.name,
                    GivenFlag::new(flag, shown, Source::Variable, value)?,
                );
            }
        }
    }
    Ok(())
}

/// The flag of a variable, with the name that the variable has for it.
fn flag_of_variable(variable: &str) -> Option<(String, &'static Flag)> {
    let name = variable.strip_prefix("ETCD_")?;
    if name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    let name = name.to_ascii_lowercase().replace('_', "-");
    let flag = find(&name)?;
    Some((name, flag))
}

/// The position of the command's name: the first argument that is neither an option nor its value.
fn find_command(arguments: &[OsString], root: &clap::Command) -> Option<usize> {
    let mut at = 1;
    while let Some(argument) = arguments.get(at) {
        let text = argument.to_string_lossy();
        match text.starts_with('-') {
            true => at += if takes_value(root, &text) { 2 } else { 1 },
            false => return Some(at),
        }
    }
    None
}

/// Whether this is a global option whose value is the next argument.
fn takes_value(root: &clap::Command, option: &str) -> bool {
    root.get_arguments()
        .filter(|arg| arg.get_action().takes_values())
        .any(|arg| {
            arg.get_long()
                .is_some_and(|long| option.strip_prefix("--") == Some(long))
                || arg.get_short().is_some_and(|short| {
                    option.strip_prefix('-') == Some(short.to_string().as_str())
                })
        })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::table::{Effect, FLAGS};
    use super::*;
    use crate::cli::Cli;

    fn prepared(line: &str, variables: &[(&str, &str)]) -> Result<(String, Vec<String>)> {
        let arguments = line.split(' ').map(OsString::from).collect();
        let variables = variables
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let CommandLine {
            arguments, notes, ..
        } = prepare(arguments, variables, &Cli::command())?;
        let arguments: Vec<_> = arguments
            .iter()
            .map(|argument| argument.to_string_lossy())
            .collect();
        Ok((arguments.join(" "), notes))
    }

    fn line(line: &str) -> String {
        prepared(line, &[]).expect(line).0
    }

    fn refused(line: &str, variables: &[(&str, &str)]) -> String {
        prepared(line, variables).expect_err(line).to_string()
    }

    #[test]
    fn flags_in_each_notation_of_go() {
        for same in [
            "kv get -name",
            "kv -s serve get -name",
            "kv serve -- -name",
            "kv serve -s x",
            "kv serve --json -",
        ] {
            assert_eq!(line(same), same);
        }
        for (given, read) in [
            ("kv serve x -name a", "kv serve --name=a x"),
            (
                "kv -s store --color never serve -name=a",
                "kv -s store --color never serve --name=a",
            ),
            ("kv serve --name -a", "kv serve --name=-a"),
            (
                "kv serve -client-cert-auth x",
                "kv serve --client-cert-auth=true x",
            ),
            (
                "kv serve --client-cert-auth=T",
                "kv serve --client-cert-auth=true",
            ),
            (
                "kv serve --busy-timeout -name x",
                "kv serve --busy-timeout -name x",
            ),
            (
                "kv serve --experimental-watch-progress-notify-interval=5s",
                "kv serve --watch-progress-notify-interval=5s",
            ),
            ("kv serve --cert-file=", "kv serve"),
            ("kv serve --no-such-flag", "kv serve --no-such-flag"),
        ] {
            assert_eq!(line(given), read, "{given}");
        }
        assert!(refused("kv serve --name", &[]).contains("--name needs a value"));
        assert!(refused("kv serve --pre-vote=maybe", &[]).contains("neither true nor false"));
    }

    #[test]
    fn last_flag_counts_and_a_flag_outweighs_its_variable() {
        assert_eq!(
            line("kv serve --name=a -name b --name c"),
            "kv serve --name=c"
        );
        assert_eq!(
            line("kv serve --enable-v2=true --enable-v2=false"),
            "kv serve"
        );
        assert_eq!(line("kv serve --name=a --name="), "kv serve");
        let both = prepared(
            "kv serve --name=a",
            &[("ETCD_NAME", "b"), ("ETCD_DATA_DIR", "d")],
        )
        .expect("both");
        assert_eq!(both.0, "kv serve --data-dir=d --name=a");
        assert_eq!(both.1, ["ETCD_NAME has no effect: --name is given"]);
        let variables = [
            ("ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL", "5s"),
            ("ETCD_CLIENT_CERT_AUTH", "1"),
        ];
        let read = prepared("kv serve", &variables).expect("two").0;
        assert_eq!(
            read,
            "kv serve --client-cert-auth=true --watch-progress-notify-interval=5s"
        );
    }

    #[test]
    fn variables_that_are_unknown_or_empty_do_no_harm() {
        let variables = [
            ("ETCD_VER", "v3.6"),
            ("ETCD_name", "a"),
            ("ETCDCTL_API", "3"),
            ("ETCD_NAME", ""),
            ("ETCD_WAL_DIR", ""),
        ];
        let (read, notes) = prepared("kv serve", &variables).expect("nothing");
        assert_eq!(read, "kv serve");
        assert_eq!(
            notes,
            [
                "unrecognized environment variable ETCD_VER",
                "unrecognized environment variable ETCD_name"
            ]
        );
        let (read, notes) =
            prepared("kv get a", &[("ETCD_WAL_DIR", "x")]).expect("another command");
        assert_eq!((read.as_str(), notes.len()), ("kv get a", 0));
    }

    #[test]
    fn flags_without_a_meaning_for_one_member_are_noted() {
        let (read, notes) = prepared(
            "kv serve --snapshot-count 5 --experimental-initial-corrupt-check -pre-vote x",
            &[],
        )
        .expect("they are taken");
        assert_eq!(read, "kv serve x");
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(
            notes
                .iter()
                .any(|note| note.starts_with("--snapshot-count has no effect: ")),
            "{notes:?}"
        );
        assert!(
            notes.iter().any(
                |note| note.starts_with("--experimental-initial-corrupt-check has no effect: ")
            )
        );
        let (_, notes) = prepared(
            "kv serve",
            &[("ETCD_ENABLE_V2", "true"), ("ETCD_SNAPSHOT_COUNT", "5")],
        )
        .expect("taken");
        assert_eq!(
            notes[0],
            "ETCD_ENABLE_V2 (--enable-v2) has no effect: only etcd's v3 API is served"
        );
        assert!(
            notes[1].starts_with("ETCD_SNAPSHOT_COUNT (--snapshot-count) has no effect: "),
            "{notes:?}"
        );
    }

    #[test]
    fn flags_that_cannot_be_honoured_are_refused_with_the_reason() {
        for flags in [
            "--wal-dir=x",
            "-wal-dir x",
            "--enable-v2",
            "--discovery=http://x",
        ] {
            let message = refused(&format!("kv serve store {flags}"), &[]);
            let name = flags
                .trim_matches('-')
                .split(['=', ' '])
                .next()
                .expect("a name");
            assert!(
                message.contains(&format!("--{name}")) && message.contains(" is refused: "),
                "{flags}: {message}"
            );
        }
        let message = refused("kv serve", &[("ETCD_AUTO_TLS", "true")]);
        assert!(
            message.contains("ETCD_AUTO_TLS (--auto-tls)=true is refused: "),
            "{message}"
        );
        let message = refused("kv serve", &[("ETCD_DISCOVERY", "x")]);
        assert!(
            message.contains("ETCD_DISCOVERY (--discovery) is refused: "),
            "{message}"
        );
    }

    #[test]
    fn configuration_file_outweighs_flags_and_variables() {
        let place = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = place.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let (a, b) = (file("a.yml", "name: a"), file("b.yml", "name: b"));
        let as_flag = format!("kv serve -config-file {a} x --name=c --wal-dir=d");
        let (read, notes) = prepared(
            &as_flag,
            &[
                ("ETCD_CONFIG_FILE", &b),
                ("ETCD_AUTO_TLS", "maybe"),
                ("ETCD_VER", "v3.7"),
            ],
        )
        .expect("read");
        assert_eq!(read, format!("kv serve --config-file={a} --name=a x"));
        assert_eq!(
            notes,
            ["a configuration file is given: these have no effect: \
                --name, --wal-dir, ETCD_AUTO_TLS, ETCD_CONFIG_FILE"]
        );
        let variable = [("ETCD_CONFIG_FILE", b.as_str())];
        for line in ["kv serve", "kv serve --config-file="] {
            let (read, notes) = prepared(line, &variable).expect("read");
            assert_eq!(read, format!("kv serve --config-file={b} --name=b"));
            assert!(notes.is_empty(), "{notes:?}");
        }
        let missing = refused("kv serve --config-file=/nonexistent/etcd.yml", &[]);
        assert!(
            missing.contains("--config-file: /nonexistent/etcd.yml: No such file"),
            "{missing}"
        );
    }

    #[test]
    fn table_and_arguments_of_serve_agree() {
        let root = Cli::command();
        let serve = root.find_subcommand("serve").expect("it is a command");
        let arguments: Vec<&str> = serve
            .get_arguments()
            .filter_map(|arg| arg.get_long())
            .collect();
        for flag in FLAGS {
            let honoured = matches!(flag.effect, Effect::Honoured);
            assert_eq!(arguments.contains(&flag.name), honoured, "{}", flag.name);
            assert_eq!(
                FLAGS.iter().filter(|other| other.name == flag.name).count(),
                1,
                "{}",
                flag.name
            );
        }
        for argument in arguments.into_iter().filter(|name| *name != "help") {
            assert!(find(argument).is_some(), "{argument}");
        }
    }
}
