//! `get` and `range`: read pairs.

use clap::ValueEnum;
use libkv::{Db, KeyRange, KeyValue, Range, SortOrder, SortTarget};
use serde::Serialize;

use crate::command::Context;
use crate::failure::{Failure, Result};
use crate::json::Pair;
use crate::notation::Notation;
use crate::output::{Ink, Out, numbers};
use crate::selection::{AtOption, Scope, Selection};
use crate::target::Access;

const GET_HELP: &str = "\
Prints the key and the value on separate lines, like etcdctl. Text is printed unchanged; other
bytes are escaped (\\xNN), unless --raw is given.

Examples:
  kv get greeting
  kv get greeting --at 17                     at revision 17
  kv get greeting --at 10m                    ten minutes ago
  kv get --prefix users/ --limit 10
  kv get users/1 users/5                      users/1 <= key < users/5
  kv get logo.png --print-value-only --raw >logo.png
  kv get --json --prefix '' | jq .value       one pair on each line

Exit status: 1 if a single key is requested and absent; 0 for an empty range.";

const RANGE_HELP: &str = "\
Prints one line for each pair: key, tab, value. Bytes that are not plain text are escaped (a
backslash is \\\\), so each line is exactly one pair. `--escaped` reads this notation.

Examples:
  kv range                                    all pairs
  kv range --prefix users/ -l                 with mod revision, create revision, version and lease
  kv range --order descend --sort-by modify --limit 10
  kv range --keys-only | sort | uniq -c";

/// The order of the pairs.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    Ascend,
    Descend,
}

/// The field that pairs are sorted by.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SortBy {
    Key,
    Version,
    Create,
    #[value(alias = "mod")]
    Modify,
    Value,
}

/// How a cluster reads.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Consistency {
    /// The newest data (linearizable)
    #[value(name = "l")]
    Linearizable,
    /// The data of one member (serializable)
    #[value(name = "s")]
    Serializable,
}

/// The options of both commands, with the names of etcdctl.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    at: AtOption,
    /// The maximum number of pairs
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    limit: i64,
    /// ascend or descend
    #[arg(long, value_name = "ORDER", ignore_case = true)]
    order: Option<Order>,
    /// key, version, create, modify or value
    #[arg(long, value_name = "WHAT", ignore_case = true)]
    sort_by: Option<SortBy>,
    /// Omit the values
    #[arg(long)]
    keys_only: bool,
    /// Show only the count
    #[arg(long)]
    count_only: bool,
    /// Only pairs with a mod revision of at least this
    #[arg(
        long,
        value_name = "REVISION",
        default_value_t = 0,
        hide_default_value = true
    )]
    min_mod_rev: i64,
    /// Only pairs with a mod revision of at most this
    #[arg(
        long,
        value_name = "REVISION",
        default_value_t = 0,
        hide_default_value = true
    )]
    max_mod_rev: i64,
    /// Only pairs with a create revision of at least this
    #[arg(
        long,
        value_name = "REVISION",
        default_value_t = 0,
        hide_default_value = true
    )]
    min_create_rev: i64,
    /// Only pairs with a create revision of at most this
    #[arg(
        long,
        value_name = "REVISION",
        default_value_t = 0,
        hide_default_value = true
    )]
    max_create_rev: i64,
    /// Clusters only: l (linearizable: the newest data) or s (serializable: the data of one member,
    /// which may be stale)
    #[arg(
        long,
        value_name = "L|S",
        default_value = "l",
        hide_default_value = true,
        hide_possible_values = true
    )]
    consistency: Consistency,
}

/// `kv get`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = GET_HELP)]
pub struct Get {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    options: Options,
    /// Print only the values; unchanged to a pipe or file, and with --raw without a line end
    #[arg(long, conflicts_with_all = ["keys_only", "count_only"])]
    print_value_only: bool,
}

/// `kv range`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = RANGE_HELP)]
pub struct List {
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    options: Options,
    /// Show mod revision, create revision, version and lease before the key
    #[arg(long, short)]
    long: bool,
}

/// The output of `--count-only --json`.
#[derive(Serialize)]
struct CountJson {
    revision: i64,
    count: i64,
}

impl Options {
    /// The request for these keys at this revision.
    fn request(&self, range: KeyRange, revision: i64) -> Range {
        let order = match self.order {
            None => SortOrder::None,
            Some(Order::Ascend) => SortOrder::Ascend,
            Some(Order::Descend) => SortOrder::Descend,
        };
        let target = match self.sort_by {
            None | Some(SortBy::Key) => SortTarget::Key,
            Some(SortBy::Version) => SortTarget::Version,
            Some(SortBy::Create) => SortTarget::Create,
            Some(SortBy::Modify) => SortTarget::Mod,
            Some(SortBy::Value) => SortTarget::Value,
        };
        Range::new(range)
            .revision(revision)
            .limit(self.limit)
            .sort(target, order)
            .keys_only(self.keys_only)
            .count_only(self.count_only)
            .mod_revisions(self.min_mod_rev, self.max_mod_rev)
            .create_revisions(self.min_create_rev, self.max_create_rev)
            .serializable(self.consistency == Consistency::Serializable)
    }

    /// Calls `each` for each pair, or prints the count; returns the number of pairs.
    fn read(
        &self,
        db: &Db,
        range: KeyRange,
        out: &mut Out,
        mut each: impl FnMut(&mut Out, &KeyValue) -> Result<()>,
    ) -> Result<u64> {
        let request = self.request(range, self.at.revision(db)?);
        if self.count_only {
            let response = db.range(request)?;
            let (revision, count) = (response.revision, response.count);
            match out.json {
                true => out.json(&CountJson { revision, count })?,
                false => out.line(count.to_string())?,
            }
            return Ok(count as u64);
        }
        let by_key =
            request.sort_target == SortTarget::Key && request.sort_order != SortOrder::Descend;
        let mut pairs = 0;
        let mut take = |kv: &KeyValue| {
            pairs += 1;
            if out.json {
                out.json(&Pair::from(kv))
            } else {
                each(out, kv)
            }
        };
        // sorted by key, a range of any size is read in pages; otherwise it is sorted as a whole
        match by_key && !request.range.is_single() {
            true => db.scan(request)?.try_for_each(|kv| take(&kv?))?,
            false => db.range(request)?.kvs.iter().try_for_each(take)?,
        }
        Ok(pairs)
    }
}

impl Get {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let range = self.selection.range(context.global.notation)?;
        let single = range.is_single();
        let db = context.open(Access::Read)?;
        let pairs = self.options.read(&db, range, &mut context.out, |out, kv| {
            if self.print_value_only {
                return print_value(out, &kv.value);
            }
            out.key_line(&kv.key)?;
            if self.options.keys_only {
                Ok(())
            } else {
                out.value_line(&kv.value)
            }
        })?;
        if single && pairs == 0 {
            Err(Failure::No)
        } else {
            Ok(())
        }
    }

    /// The request, for a txn.
    pub fn into_request(self, notation: Notation) -> Result<Range> {
        let range = self.selection.range(notation)?;
        match self.options.at.at {
            None => Ok(self.options.request(range, 0)),
            Some(crate::selection::At::Revision(revision)) => {
                Ok(self.options.request(range, revision))
            }
            Some(_) => Err(Failure::usage("in a txn --at takes a revision, not a time")),
        }
    }
}

/// A value alone: unchanged, unless standard output is a terminal.
fn print_value(out: &mut Out, value: &[u8]) -> Result<()> {
    match out.notation {
        Notation { raw: true, .. } => out.bytes(value),
        Notation {
            hex: false,
            escaped: false,
            ..
        } if !out.terminal => out.line(value),
        _ => out.value_line(value),
    }
}

impl List {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let range = self.scope.range(context.global.notation)?;
        let db = context.open(Access::Read)?;
        let out = &mut context.out;
        if self.long && out.terminal && !out.json && !self.options.count_only {
            out.ink(Ink::Faint, "mod\tcreate\tversion\tlease\tkey\tvalue\n")?;
        }
        self.options.read(&db, range, out, |out, kv| {
            if self.long {
                out.ink(Ink::Faint, format!("{}\t", numbers(kv)))?;
            }
            out.key_inline(&kv.key)?;
            if !self.options.keys_only {
                out.bytes(b"\t")?;
                out.value_inline(&kv.value)?;
            }
            out.bytes(b"\n")
        })?;
        Ok(())
    }
}
