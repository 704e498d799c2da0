//! `shell`: command after command on one store.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches};
use libkv::{Code, Db};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Editor, Helper};

use crate::cli::{Cli, Global};
use crate::command::{Context, txn};
use crate::failure::{Failure, Result};
use crate::notation;
use crate::output::note;
use crate::target::Access;

const HELP: &str = "\
Takes the commands of this program without the leading `kv`, on one store that stays open; Tab
completes them, the arrow keys bring back what was typed before. Quotes are double (with escapes
\\n \\xNN) or single (without). What fails is said, and the shell goes on. From a pipe or file it
reads one command a line; lines that begin with # are passed over.

Examples:
  kv shell
  kv -s etcd://host:2379 shell
  kv -s :memory: shell                        a store to play with, gone at the end
  kv shell <commands.txt
  kv shell --stop <commands.txt               end with the first failure

Exit status: of commands from a pipe or file, that of the first that failed; an answer of no (1)
is no failure.";

const WORDS: &str = "\
The commands are those of `kv`: get put del range txn watch history events diff compact lease lock elect
status check alarm export import. `help COMMAND` has examples. `exit` or Ctrl-D ends the shell.
";

/// `kv shell`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Shell {
    /// For commands from a pipe or file: stop at the first failure
    #[arg(long)]
    stop: bool,
}

impl Shell {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        if context.in_shell() {
            return Err(Failure::usage("this is a shell already"));
        }
        let db = match context.open(Access::Create) {
            // what may only be read can be looked at all the same
            Err(Failure::Db(error)) if error.code() == Code::ReadOnly => {
                context.open(Access::Read)?
            }
            db => db?,
        };
        let mut session = Session {
            db,
            global: context.global.clone(),
        };
        // each command names its own store, or means this one
        session.global.target = Default::default();
        match io::stdin().is_terminal() {
            true => session.converse(&context.global.target.name()?.to_string_lossy()),
            false => session.read_lines(self.stop),
        }
    }
}

/// What the commands of a shell share.
struct Session {
    db: Db,
    /// The options that the shell was started with: they hold for each command too.
    global: Global,
}

/// What a line came to.
enum Done {
    Goes(Result<()>),
    Ends,
}

impl Session {
    fn read_lines(&mut self, stop: bool) -> Result<()> {
        let mut first_failure = None;
        loop {
            let mut line = String::new();
            // not held on to: a command may read its input from here too
            let read = io::stdin()
                .lock()
                .read_line(&mut line)
                .map_err(Failure::line);
            let done = match read {
                Ok(0) => break,
                Ok(_) => self.run(&line),
                Err(failure @ Failure::Usage(_)) => Done::Goes(Err(failure)),
                Err(failure) => return Err(failure),
            };
            match done {
                Done::Ends => break,
                Done::Goes(Ok(())) => {}
                // nobody reads what comes
                Done::Goes(Err(Failure::ClosedPipe)) => return Err(Failure::ClosedPipe),
                Done::Goes(Err(failure)) => {
                    say(&failure);
                    if failure.status() > 1 {
                        let status = failure.status();
                        first_failure.get_or_insert(Failure::Passed(status));
                        if stop {
                            break;
                        }
                    }
                }
            }
        }
        first_failure.map_or(Ok(()), Err)
    }

    fn converse(&mut self, name: &str) -> Result<()> {
        let terminal =
            |error: ReadlineError| Failure::Io("the terminal".into(), io::Error::other(error));
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .max_history_size(10_000)
            .map_err(terminal)?;
        let mut editor: Editor<Words, DefaultHistory> =
            Editor::with_config(config.build()).map_err(terminal)?;
        editor.set_helper(Some(Words::new()));
        let history = history_file();
        if let Some(path) = &history {
            // the first time there is none
            let _ = editor.load_history(path);
        }
        note(format!("{name}: `help` lists the commands, Ctrl-D ends"));
        loop {
            match editor.readline("kv> ") {
                Ok(line) => {
                    let _ = editor.add_history_entry(line.trim());
                    match self.run(&line) {
                        Done::Ends => break,
                        Done::Goes(done) => done.unwrap_or_else(|failure| say(&failure)),
                    }
                }
                // Ctrl-C gives the line up
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(terminal(error)),
            }
        }
        if let Some(path) = &history {
            // a history that cannot be kept is no reason to fail
            let _ = editor.save_history(path);
        }
        Ok(())
    }

    fn run(&mut self, line: &str) -> Done {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Done::Goes(Ok(()));
        }
        let words = match txn::words(line) {
            Ok(words) => words,
            Err(failure) => return Done::Goes(Err(failure)),
        };
        match words.first().map(Vec::as_slice) {
            Some(b"exit" | b"quit") => return Done::Ends,
            Some(b"help") if words.len() == 1 => {
                let said = io::stdout().write_all(WORDS.as_bytes());
                return Done::Goes(said.map_err(Failure::io("the output")));
            }
            _ => {}
        }
        Done::Goes(self.run_words(words))
    }

    fn run_words(&mut self, words: Vec<Vec<u8>>) -> Result<()> {
        // `kv get` is understood too
        let skip = usize::from(words.first().is_some_and(|word| word == b"kv"));
        let arguments = std::iter::once(OsString::from("kv"))
            .chain(words.into_iter().skip(skip).map(OsString::from_vec));
        let matches = match Cli::command().try_get_matches_from(arguments) {
            Ok(matches) => matches,
            Err(error) => {
                // help goes to standard output, a refusal to standard error; it cites what may steer a terminal
                let text = error.to_string();
                let _ = match notation::message(&text) {
                    shown if shown != text => io::stderr().write_all(shown.as_bytes()),
                    _ => error.print(),
                };
                return if error.use_stderr() {
                    Err(Failure::Passed(2))
                } else {
                    Ok(())
                };
            }
        };
        let cli =
            Cli::from_arg_matches(&matches).map_err(|error| Failure::usage(error.to_string()))?;
        let mut context = Context::new(self.merge(cli.global), Some(self.db.clone()));
        crate::run_in(&mut context, cli.command)
    }

    /// The options of a command, with those of the shell where it has none of its own.
    fn merge(&self, mut own: Global) -> Global {
        own.json |= self.global.json;
        if own.color == Default::default() {
            own.color = self.global.color;
        }
        let (mine, shells) = (&mut own.notation, self.global.notation);
        if !(mine.hex || mine.escaped || mine.raw) {
            *mine = shells;
        }
        own
    }
}

/// What went wrong, if it has not been said.
fn say(failure: &Failure) {
    let message = failure.to_string();
    if !message.is_empty() {
        note(message);
    }
}

/// Where the lines that were typed are kept: `$XDG_STATE_HOME/kv/history`, readable by its owner alone.
fn history_file() -> Option<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;

    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = std::env::var_os("XDG_STATE_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(home)?;
    let dir = state.join("kv");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .ok()?;
    Some(dir.join("history"))
}

/// Completes the names of commands and their options.
struct Words {
    commands: clap::Command,
}

impl Words {
    fn new() -> Words {
        let mut commands = Cli::command();
        commands.build();
        Words { commands }
    }

    /// What may stand at the end of a line.
    fn candidates(&self, before: &[&str], word: &str) -> Vec<String> {
        let mut command = &self.commands;
        for word in before {
            if let Some(found) = command.find_subcommand(word) {
                command = found;
            }
        }
        let options = command
            .get_arguments()
            .filter(|arg| !arg.is_hide_set())
            .filter_map(|arg| arg.get_long());
        let names = command
            .get_subcommands()
            .map(|command| command.get_name().to_string());
        let mut candidates: Vec<String> = match word.starts_with('-') {
            true => options.map(|option| format!("--{option}")).collect(),
            false if before.is_empty() => names.chain(["exit".into()]).collect(),
            false => names.collect(),
        };
        candidates.retain(|candidate| candidate.starts_with(word));
        candidates.sort();
        candidates.dedup();
        candidates
    }
}

impl Helper for Words {}
impl Highlighter for Words {}
impl Validator for Words {}

impl Hinter for Words {
    type Hint = String;
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let start = line[..at].rfind(' ').map_or(0, |space| space + 1);
        let before: Vec<&str> = line[..start].split_whitespace().collect();
        let candidates = self.candidates(&before, &line[start..at]);
        let pair = |word: String| Pair {
            display: word.clone(),
            replacement: format!("{word} "),
        };
        Ok((start, candidates.into_iter().map(pair).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_options_are_completed() {
        let words = Words::new();
        assert_eq!(words.candidates(&[], "hi"), ["history"]);
        assert_eq!(words.candidates(&["get"], "--pri"), ["--print-value-only"]);
        assert_eq!(words.candidates(&["lease"], "gr"), ["grant"]);
        assert!(words.candidates(&["get", "k"], "x").is_empty());
    }
}
