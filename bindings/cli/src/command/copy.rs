//! `copy`: writes the present state of a store or a cluster into another.

use std::thread::sleep;
use std::time::Duration;

use libkv::{Code, Db, KeyValue, Txn};
use serde::Serialize;

use crate::command::Context;
use crate::command::replicate::{
    Counts, Ends, KeyMap, Limits, Pages, current_revision, pairs_at, puts_for,
};
use crate::command::transfer::{Unit, bar};
use crate::failure::{Failure, Result};
use crate::notation::escape;
use crate::output::count;

const HELP: &str = "\
SOURCE and TARGET are directories of stores or addresses of clusters, in any combination. All pairs
are of one revision of SOURCE, which is read page by page; its writers are not blocked. TARGET may
have data: its other keys stay, and pairs with the same value are not written again. So an
interrupted copy can be run again. Pairs are written in txns within the limits of TARGET (128
operations for a cluster).

Keys are copied without their leases; the number of such keys is shown. Revisions and versions are
those of TARGET. The cursors of mirrors (keys that begin with \\x00kv/mirror/) are not copied.

Examples:
  kv copy ./store etcd://host:2379
  kv copy etcd://host:2379 ./store --prefix config/
  kv copy ./a ./b --prefix users/ --dest-prefix old-users/
  kv copy ./a ./b --prefix users/ --no-dest-prefix
  kv copy ./a etcd://host:2379 --dest-user root --json

`kv mirror` copies and then follows the changes. `kv export` and `kv import` keep the leases.

Exit status: 3 if the revision was compacted during the copy.";

/// How often a page is written again whose outcome is not known.
const RETRIES_MAX: u32 = 10;
/// The pause before that.
const PAUSE: Duration = Duration::from_millis(500);

/// `kv copy`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Copy {
    #[command(flatten)]
    ends: Ends,
}

/// The result, in JSON.
#[derive(Serialize)]
struct CopyJson {
    revision: i64,
    #[serde(flatten)]
    counts: Counts,
}

impl Copy {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let map = self.ends.key_map(context)?;
        let (source, target) = self.ends.open(context)?;
        let range = map.source_range();
        let revision = current_revision(&source, &range)?;
        let bar = bar(pairs_at(&source, &range, revision)?, Unit::Pairs);
        let mut pages = Pages::new(&source, range, revision, Limits::of(&target), None);
        let mut counts = Counts::default();
        loop {
            let page = pages.next().map_err(|error| so_far(error, counts))?;
            let Some(first) = page.first() else { break };
            counts = write(&target, &map, &page, counts).map_err(|failure| match failure {
                Failure::Db(error) => so_far(
                    error.context(format!("pairs from {} on", escape(&first.key))),
                    counts,
                ),
                failure => failure,
            })?;
            bar.inc(page.len() as u64);
        }
        bar.finish_and_clear();
        match context.out.json {
            true => context.out.json(&CopyJson { revision, counts }),
            false => context
                .out
                .line(format!("revision {revision}: {}", text(counts))),
        }
    }
}

/// Adds the counts to an error.
fn so_far(error: libkv::Error, counts: Counts) -> Failure {
    error.context(format!("so far {}", text(counts))).into()
}

/// Writes a page. It is compared with the target again if the outcome of the txn is not known.
fn write(target: &Db, map: &KeyMap, page: &[KeyValue], before: Counts) -> Result<Counts> {
    let mut retries = 0;
    loop {
        let (puts, counts) = puts_for(target, map, page, before)?;
        if puts.is_empty() {
            return Ok(counts);
        }
        match target.txn(Txn::new().and_then_all(puts)) {
            Ok(_) => return Ok(counts),
            Err(error) if error.code() == Code::UnknownOutcome && retries < RETRIES_MAX => {
                retries += 1;
                sleep(PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The counts in words.
pub fn text(counts: Counts) -> String {
    let Counts {
        written,
        overwritten,
        same,
        without_lease,
    } = counts;
    let mut text = format!("{} written", count(written, "pair"));
    for (number, what) in [
        (overwritten, "overwritten"),
        (same, "unchanged"),
        (without_lease, "without their lease"),
    ] {
        if number > 0 {
            text += &format!(", {number} {what}");
        }
    }
    text
}
