//! `check`: verifies the complete store.

use libkv::Problem;
use serde::Serialize;

use crate::command::Context;
use crate::failure::{Failure, Result};
use crate::json::Key;
use crate::output::{Ink, count};
use crate::target::Access;

const HELP: &str = "\
Reads the complete store with its history, and verifies every invariant of the design. Writers
are not blocked. Prints one line for each problem: the number of the invariant in core/DESIGN.md,
the key, the revision (- if it concerns none), a description.

Examples:
  kv check
  kv check --json | jq '.problems[]'

Exit status: 1 if there is a problem.";

/// `kv check`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Check {}

#[derive(Serialize)]
struct CheckJson<'a> {
    keys: u64,
    events: u64,
    problems: Vec<ProblemJson<'a>>,
}

#[derive(Serialize)]
struct ProblemJson<'a> {
    invariant: &'static str,
    #[serde(flatten)]
    key: Key<'a>,
    /// `null` if it concerns none.
    revision: Option<i64>,
    message: &'a str,
}

impl<'a> From<&'a Problem> for ProblemJson<'a> {
    fn from(problem: &'a Problem) -> ProblemJson<'a> {
        let Problem {
            invariant,
            ref key,
            revision,
            ref message,
            ..
        } = *problem;
        ProblemJson {
            invariant,
            key: Key::from(&key[..]),
            revision,
            message,
        }
    }
}

impl Check {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let db = context.open(Access::Read)?;
        let spinner = crate::command::transfer::spinner("checking");
        let report = db.check();
        spinner.finish_and_clear();
        let report = report?;
        let out = &mut context.out;
        if out.json {
            let problems = report.problems.iter().map(ProblemJson::from).collect();
            out.json(&CheckJson {
                keys: report.keys,
                events: report.events,
                problems,
            })?;
        } else {
            for problem in &report.problems {
                out.ink(Ink::Bad, problem.invariant)?;
                out.bytes(b"\t")?;
                out.key_inline(&problem.key)?;
                let revision = problem.revision.map_or("-".into(), |n| n.to_string());
                out.line(format!("\t{revision}\t{}", problem.message))?;
            }
            let found = match report.problems.len() as u64 {
                0 => "no problem".into(),
                many => count(many, "problem"),
            };
            let (keys, events) = (count(report.keys, "key"), count(report.events, "event"));
            out.line(format!("{keys} and {events}: {found}"))?;
        }
        if report.problems.is_empty() {
            Ok(())
        } else {
            Err(Failure::No)
        }
    }
}
