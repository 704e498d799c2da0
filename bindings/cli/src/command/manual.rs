//! `man` and `completions`: files that an installation needs.

use std::io::Write;
use std::path::PathBuf;

use clap_complete::Shell;

use crate::command::Context;
use crate::failure::{Failure, Result};

const COMPLETIONS_HELP: &str = "\
Examples:
  kv completions bash >/etc/bash_completion.d/kv
  kv completions zsh >\"${fpath[1]}/_kv\"
  kv completions fish >~/.config/fish/completions/kv.fish";

const MAN_HELP: &str = "\
Examples:
  kv man | man -l -
  kv man get | man -l -
  kv man --dir /usr/local/share/man/man1      a page for each command";

/// `kv completions`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = COMPLETIONS_HELP)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut (context.program.definition)(),
            "kv",
            &mut script,
        );
        context.out.bytes(&script)
    }
}

/// `kv man`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = MAN_HELP)]
pub struct Man {
    /// The page of this command
    #[arg(conflicts_with = "dir")]
    command: Option<String>,
    /// Write all pages into this directory, which is created if needed
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
}

impl Man {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let mut root = (context.program.definition)();
        if let Some(dir) = self.dir {
            root = root.disable_help_subcommand(true);
            root.build();
            std::fs::create_dir_all(&dir).map_err(Failure::io(dir.display()))?;
            return clap_mangen::generate_to(root, &dir).map_err(Failure::io(dir.display()));
        }
        root.build();
        let command = match &self.command {
            None => root,
            Some(name) => {
                let found = root.find_subcommand(name).cloned();
                found.ok_or_else(|| Failure::usage(format!("there is no command {name:?}")))?
            }
        };
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .map_err(Failure::io("the page"))?;
        page.flush().map_err(Failure::io("the page"))?;
        context.out.bytes(&page)
    }
}
