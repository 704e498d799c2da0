//! `shell`: runs commands interactively on one store.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use libkv::{Code, Db};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Editor, Helper};

use crate::command::{Context, Program, txn};
use crate::failure::{Failure, Result};
use crate::notation;
use crate::options::Global;
use crate::output::note;
use crate::target::Access;

const HELP: &str = "\
Runs the commands of this program, without the leading `kv`, on one store that stays open. Tab
completes, the arrow keys show earlier lines. Quotes are double (with escapes \\n \\xNN) or single
(without). The shell prints errors and continues. A pipe or file has one command on each line;
lines that begin with # are ignored.

Examples:
  kv shell
  kv -s etcd://host:2379 shell
  kv -s :memory: shell                        a temporary store in memory
  kv shell <commands.txt
  kv shell --stop <commands.txt               stop at the first failure

Exit status: for commands from a pipe or file, that of the first command that failed; a status of
1 is not a failure.";

/// The output of `help`.
const COMMANDS: &str = "\
The commands are those of `kv`: get put del range txn watch history events diff compact lease lock
elect status check alarm auth user role export import snapshot restore. `help COMMAND` has examples.
`exit` or Ctrl-D ends the shell.
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
            // a read-only store can still be read
            Err(Failure::Db(error)) if error.code() == Code::ReadOnly => {
                context.open(Access::Read)?
            }
            db => db?,
        };
        let mut session = Session {
            db,
            global: context.global.clone(),
            program: context.program,
        };
        // a command uses this store, unless it names another one
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
    /// The options of the shell, which are the defaults of each command.
    global: Global,
    program: Program,
}

/// The result of a line.
enum Outcome {
    Continue(Result<()>),
    Exit,
}

impl Session {
    fn read_lines(&mut self, stop: bool) -> Result<()> {
        let mut first_failure = None;
        loop {
            let mut line = String::new();
            // the lock is released: a command may read its input from here too
            let read = io::stdin()
                .lock()
                .read_line(&mut line)
                .map_err(Failure::line);
            let done = match read {
                Ok(0) => break,
                Ok(_) => self.run(&line),
                Err(failure @ Failure::Usage(_)) => Outcome::Continue(Err(failure)),
                Err(failure) => return Err(failure),
            };
            match done {
                Outcome::Exit => break,
                Outcome::Continue(Ok(())) => {}
                // the reader of the output has closed the pipe
                Outcome::Continue(Err(Failure::ClosedPipe)) => return Err(Failure::ClosedPipe),
                Outcome::Continue(Err(failure)) => {
                    print(&failure);
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
        let mut editor: Editor<Completion, DefaultHistory> =
            Editor::with_config(config.build()).map_err(terminal)?;
        editor.set_helper(Some(Completion::new((self.program.definition)())));
        let history = history_file();
        if let Some(path) = &history {
            // there is no history yet at the first start
            let _ = editor.load_history(path);
        }
        note(format!("{name}: `help` lists the commands, Ctrl-D ends"));
        loop {
            match editor.readline("kv> ") {
                Ok(line) => {
                    let _ = editor.add_history_entry(line.trim());
                    match self.run(&line) {
                        Outcome::Exit => break,
                        Outcome::Continue(done) => done.unwrap_or_else(|failure| print(&failure)),
                    }
                }
                // Ctrl-C discards the line
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(terminal(error)),
            }
        }
        if let Some(path) = &history {
            // a history that cannot be saved is not an error
            let _ = editor.save_history(path);
        }
        Ok(())
    }

    fn run(&mut self, line: &str) -> Outcome {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Outcome::Continue(Ok(()));
        }
        let words = match txn::words(line) {
            Ok(words) => words,
            Err(failure) => return Outcome::Continue(Err(failure)),
        };
        match words.first().map(Vec::as_slice) {
            Some(b"exit" | b"quit") => return Outcome::Exit,
            Some(b"help") if words.len() == 1 => {
                let written = io::stdout().write_all(COMMANDS.as_bytes());
                return Outcome::Continue(written.map_err(Failure::io("the output")));
            }
            _ => {}
        }
        Outcome::Continue(self.run_words(words))
    }

    fn run_words(&mut self, words: Vec<Vec<u8>>) -> Result<()> {
        // `kv get` is accepted too
        let skip = usize::from(words.first().is_some_and(|word| word == b"kv"));
        let arguments = std::iter::once(OsString::from("kv"))
            .chain(words.into_iter().skip(skip).map(OsString::from_vec));
        let matches = match (self.program.definition)().try_get_matches_from(arguments) {
            Ok(matches) => matches,
            Err(error) => {
                // clap writes help to standard output, errors to standard error; errors may quote
                // control characters
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
        (self.program.run)(&matches, &|own| {
            Context::new(self.program, self.merge(own), Some(self.db.clone()))
        })
    }

    /// The options of a command. Those that are not given are the options of the shell.
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

/// Prints the message of a failure, if it has one.
fn print(failure: &Failure) {
    let message = failure.to_string();
    if !message.is_empty() {
        note(message);
    }
}

/// The file of the history: `$XDG_STATE_HOME/kv/history`. Only the owner can read its directory.
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
struct Completion {
    commands: clap::Command,
}

impl Completion {
    fn new(mut commands: clap::Command) -> Completion {
        commands.build();
        Completion { commands }
    }

    /// The possible completions at the end of a line.
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

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Validator for Completion {}

impl Hinter for Completion {
    type Hint = String;
}

impl Completer for Completion {
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
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn commands_and_options_are_completed() {
        let completion = Completion::new(Cli::command());
        assert_eq!(completion.candidates(&[], "hi"), ["history"]);
        assert_eq!(
            completion.candidates(&["get"], "--pri"),
            ["--print-value-only"]
        );
        assert_eq!(completion.candidates(&["lease"], "gr"), ["grant"]);
        assert!(completion.candidates(&["get", "k"], "x").is_empty());
    }
}
