//! Verifies the numbered invariants of `core/DESIGN.md` on one read transaction.
//!
//! I4 (acknowledged writes are durable), I5 (watchers) and I6 (leases) are about behaviour over
//! time and cannot be verified from the file; the tests verify them.

use crate::auth::{ROOT, User};
use crate::embedded::codec::{self, Header, LogEvent, Rev};
use crate::embedded::lease::entries;
use crate::embedded::lmdb::{Tree, Txn};
use crate::embedded::mvcc::walk::item;
use crate::embedded::mvcc::{At, bounds, compact, compacted_revision, current_revision};
use crate::error::Result;
use crate::model::Revision;
use crate::request::{CheckReport, Problem};

/// The largest number of reported problems: a damaged store may have as many as entries.
const PROBLEMS_MAX: usize = 1_000;

struct Check<'t> {
    txn: &'t Txn<'t>,
    compacted: Revision,
    /// The sweep to `compacted` is finished.
    swept: bool,
    report: CheckReport,
}

/// Reads the whole store and reports every problem.
pub(crate) fn check(txn: &Txn) -> Result<CheckReport> {
    let compacted = compacted_revision(txn)?;
    let mut check = Check {
        txn,
        compacted,
        swept: !compact::has_leftover(txn)?,
        report: CheckReport::default(),
    };
    check.meta()?;
    check.log()?;
    check.live()?;
    check.dead()?;
    check.leases()?;
    check.minutes()?;
    check.alarms()?;
    check.users()?;
    Ok(check.report)
}

impl<'t> Check<'t> {
    fn problem(
        &mut self,
        invariant: &'static str,
        key: &[u8],
        revision: impl Into<Option<Revision>>,
        message: impl Into<String>,
    ) {
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(Problem {
                key: key.to_vec(),
                revision: revision.into(),
                ..Problem::new(invariant, message)
            });
        }
    }

    /// I9: the numbers in `meta` agree with each other and with the log.
    fn meta(&mut self) -> Result<()> {
        let current = current_revision(self.txn)?;
        let swept = compact::swept(self.txn)?;
        if swept.main > self.compacted.max(0) {
            self.problem(
                "I9",
                b"",
                swept.main,
                format!(
                    "the sweep is beyond the compacted revision {}",
                    self.compacted
                ),
            );
        }
        for (name, end) in compact::gaps(self.txn)? {
            if end > current {
                self.problem(
                    "I9",
                    &name,
                    end,
                    format!("a gap ends beyond the current revision {current}"),
                );
            }
        }
        Ok(())
    }

    /// I1, I7, I8: the log has every revision above the compacted one. Each event is undamaged,
    /// numbered without holes and linked to the event of its key before it.
    fn log(&mut self) -> Result<()> {
        let mut gaps: Vec<(Revision, Revision)> = Vec::new();
        for (name, end) in compact::gaps(self.txn)? {
            let start = name
                .get(codec::meta::GAP.len()..)
                .and_then(|start| start.try_into().ok());
            match (start.map(i64::from_be_bytes), gaps.last_mut()) {
                // a second power cut before a durable write: one gap follows another
                (Some(start), Some(before)) if before.1 == start => before.1 = end,
                (Some(start), _) => gaps.push((start, end)),
                (None, _) => {}
            }
        }
        let mut cursor = self.txn.cursor(Tree::Log)?;
        let mut entry = cursor.seek(&[])?;
        let mut before = Rev::new(self.compacted.max(1), 0);
        while let Some((key, record)) = entry {
            entry = cursor.next()?;
            self.report.events += 1;
            let rev = match Rev::from_key(key) {
                Ok(rev) => rev,
                Err(error) => {
                    self.problem("I8", key, None, error.message());
                    continue;
                }
            };
            if rev.main > self.compacted.max(1) {
                self.follows(before, rev, &gaps);
                before = rev;
            }
            match codec::event(rev, record) {
                Ok(event) if codec::verify_event(rev, record) => self.event(rev, &event)?,
                Ok(event) => self.problem(
                    "I8",
                    event.key,
                    rev.main,
                    "an event's checksum does not match its bytes",
                ),
                Err(error) => self.problem("I8", key, rev.main, error.message()),
            }
        }
        Ok(())
    }

    /// I1: `rev` follows `before`, or a recorded gap.
    fn follows(&mut self, before: Rev, rev: Rev, gaps: &[(Revision, Revision)]) {
        let in_revision = rev.main == before.main && rev.sub == before.sub + 1;
        let next = rev.sub == 0 && rev.main == before.main + 1;
        let after_gap = rev.sub == 0
            && gaps
                .iter()
                .any(|&(start, end)| start == before.main && rev.main == end + 1);
        // the compacted revision may be inside a gap that was removed
        let first = rev.sub == 0
            && before == Rev::new(self.compacted.max(1), 0)
            && gaps
                .iter()
                .any(|&(start, end)| start <= before.main && rev.main == end + 1);
        if !(in_revision || next || after_gap || first) {
            let message = format!(
                "its event {} follows event {} of revision {}",
                rev.sub, before.sub, before.main
            );
            self.problem("I1", b"", rev.main, message);
        }
    }

    /// I1 (below the compacted revision only needed events), I3 (`live` or `dead` names the newest
    /// event of a key), I7 (links).
    fn event(&mut self, rev: Rev, event: &LogEvent) -> Result<()> {
        let key = event.key;
        match self.newest(key)? {
            None => self.problem(
                "I3",
                key,
                rev.main,
                "its key is neither in live nor in dead",
            ),
            Some(newest) if newest.rev < rev => {
                self.problem(
                    "I3",
                    key,
                    rev.main,
                    format!(
                        "live or dead names the earlier event of revision {}",
                        newest.rev.main
                    ),
                );
            }
            Some(_) => {}
        }
        if self.swept && rev.main <= self.compacted && !self.needed(rev, event)? {
            self.problem(
                "I1",
                key,
                rev.main,
                format!(
                    "the sweep to {} should have removed this event",
                    self.compacted
                ),
            );
        }
        self.link(event)
    }

    /// Whether a readable revision needs this event, which is not above the compacted revision.
    fn needed(&self, rev: Rev, event: &LogEvent) -> Result<bool> {
        if rev.main == self.compacted {
            return Ok(true);
        }
        if event.header.tombstone {
            return Ok(false);
        }
        let found = item(self.txn, event.key, At::Past(self.compacted))?;
        Ok(found.is_some_and(|item| item.header.rev == rev))
    }

    /// I7: `prev` is the event of the key before this one, and its counts continue; `jump` is not
    /// later.
    fn link(&mut self, event: &LogEvent) -> Result<()> {
        let Header {
            rev,
            tombstone,
            create,
            version,
            link,
            ..
        } = event.header;
        let Some(link) = link else {
            if tombstone || (create, version) != (rev.main, 1) {
                self.problem(
                    "I7",
                    event.key,
                    rev.main,
                    "the first event of a chain does not create the key",
                );
            }
            return Ok(());
        };
        if link.prev >= rev || link.jump > link.prev || link.depth == 0 {
            self.problem(
                "I7",
                event.key,
                rev.main,
                "its links do not point to earlier events",
            );
            return Ok(());
        }
        if link.prev.main <= self.compacted {
            return Ok(());
        }
        let before = match self.txn.get(Tree::Log, &link.prev.to_key())? {
            Some(bytes) => codec::event(link.prev, bytes).ok(),
            None => None,
        };
        let follows = before.is_some_and(|before| {
            let (old, restart) = (before.header, before.header.tombstone);
            let counts = tombstone
                || if restart {
                    (create, version) == (rev.main, 1)
                } else {
                    (create, version) == (old.create, old.version + 1)
                };
            before.key == event.key
                && counts
                && link.depth == old.link.map_or(0, |link| link.depth) + 1
        });
        if !follows {
            let message = format!(
                "it does not continue the event of revision {} that it links to",
                link.prev.main
            );
            self.problem("I7", event.key, rev.main, message);
        }
        Ok(())
    }

    fn newest(&self, key: &[u8]) -> Result<Option<Header>> {
        if let Some(bytes) = self.txn.get(Tree::Live, key)? {
            return Ok(codec::live(key, bytes).ok().map(|(header, _)| header));
        }
        Ok(self
            .txn
            .get(Tree::Dead, key)?
            .and_then(|bytes| codec::dead(key, bytes).ok()))
    }

    /// I3: each entry of `live` has the contents of its event in the log.
    fn live(&mut self) -> Result<()> {
        let mut cursor = self.txn.cursor(Tree::Live)?;
        let mut entry = cursor.seek(&[])?;
        while let Some((key, bytes)) = entry {
            entry = cursor.next()?;
            self.report.keys += 1;
            match codec::live(key, bytes) {
                Ok((header, value)) => {
                    self.names_event("live", key, &header, value)?;
                    if header.lease != 0 {
                        self.check_lease(key, &header)?;
                    }
                }
                Err(error) => self.problem("I8", key, None, error.message()),
            }
        }
        Ok(())
    }

    /// I11: the lease of a key exists and lists the key.
    fn check_lease(&mut self, key: &[u8], header: &Header) -> Result<()> {
        let lease = header.lease;
        if entries::find(self.txn, lease)?.is_none() {
            self.problem(
                "I11",
                key,
                header.rev.main,
                format!("it is attached to lease {lease}, which does not exist"),
            );
        } else if self
            .txn
            .get(Tree::Lkey, &codec::leased_key(lease, key))?
            .is_none()
        {
            self.problem(
                "I11",
                key,
                header.rev.main,
                format!("lease {lease}, to which it is attached, does not list it"),
            );
        }
        Ok(())
    }

    /// I11: each key that a lease lists is attached to it. I8: each lease can be decoded.
    fn leases(&mut self) -> Result<()> {
        if let Err(error) = entries::all(self.txn) {
            self.problem("I8", b"", None, error.message());
        }
        let mut cursor = self.txn.cursor(Tree::Lkey)?;
        let mut entry = cursor.seek(&[])?;
        while let Some((name, _)) = entry {
            entry = cursor.next()?;
            let Ok(lease) = codec::lease_id(name) else {
                self.problem("I8", name, None, "an entry of lkey has no lease id");
                continue;
            };
            let key = &name[codec::LEASE_ID_BYTES..];
            let attached = match self.txn.get(Tree::Live, key)? {
                Some(bytes) => {
                    codec::live(key, bytes).is_ok_and(|(header, _)| header.lease == lease)
                }
                None => false,
            };
            if !attached {
                self.problem(
                    "I11",
                    key,
                    None,
                    format!("lease {lease} lists it, but it is not attached to that lease"),
                );
            }
        }
        Ok(())
    }

    /// I12: later minutes have later revisions.
    fn minutes(&mut self) -> Result<()> {
        let mut cursor = self.txn.cursor(Tree::Side)?;
        let mut entry = cursor.seek(codec::TIME)?;
        let mut last = 0;
        while let Some((name, bytes)) = entry.filter(|(name, _)| name.starts_with(codec::TIME)) {
            entry = cursor.next()?;
            match codec::number(name, bytes) {
                Ok(revision) if revision <= last => {
                    self.problem(
                        "I12",
                        name,
                        revision,
                        format!("an earlier minute has revision {last}"),
                    );
                }
                Ok(revision) => last = revision,
                Err(error) => self.problem("I8", name, None, error.message()),
            }
        }
        Ok(())
    }

    /// I13: `meta` has the kinds of alarms that `side` has. I8: each can be decoded.
    fn alarms(&mut self) -> Result<()> {
        let mut cursor = self.txn.cursor(Tree::Side)?;
        let mut entry = cursor.seek(codec::ALARM)?;
        let mut kinds = Vec::new();
        while let Some((name, _)) = entry.filter(|(name, _)| name.starts_with(codec::ALARM)) {
            entry = cursor.next()?;
            match codec::alarm(name) {
                Ok(alarm) => kinds.push(alarm.kind),
                Err(error) => self.problem("I8", name, None, error.message()),
            }
        }
        match bounds(self.txn) {
            Ok(bounds) if bounds.alarms != codec::alarm_bits(&kinds) => {
                let message = format!(
                    "alarms {:#b} are recorded, but side has {:#b}",
                    bounds.alarms,
                    codec::alarm_bits(&kinds)
                );
                self.problem("I13", codec::meta::BOUNDS, None, message);
            }
            Ok(_) => {}
            Err(error) => self.problem("I8", codec::meta::BOUNDS, None, error.message()),
        }
        Ok(())
    }

    /// I14: each role of a user exists, except root, and while authentication is on the user root
    /// has the role root. I8: each user and role can be decoded.
    fn users(&mut self) -> Result<()> {
        let (mut users, mut roles) = (Vec::new(), Vec::new());
        let mut cursor = self.txn.cursor(Tree::Side)?;
        let mut entry = cursor.seek(codec::auth::AUTH)?;
        while let Some((name, value)) =
            entry.filter(|(name, _)| name.starts_with(codec::auth::AUTH))
        {
            entry = cursor.next()?;
            let read = match name.starts_with(codec::auth::USER) {
                true => codec::auth::decode_user(name, value).map(|user| users.push(user)),
                false => codec::auth::decode_role(name, value).map(|role| roles.push(role.name)),
            };
            if let Err(error) = read {
                self.problem("I8", name, 0, error.message());
            }
        }
        for user in &users {
            let name = codec::auth::user_name(&user.name);
            for role in &user.roles {
                if role != ROOT && !roles.contains(role) {
                    let message = format!("it has the role {role:?}, which does not exist");
                    self.problem("I14", &name, 0, message);
                }
            }
        }
        let is_root = |user: &User| user.name == ROOT && user.roles.iter().any(|role| role == ROOT);
        let is_on = bounds(self.txn).is_ok_and(|bounds| bounds.auth.enabled);
        if is_on && !users.iter().any(is_root) {
            let message = "authentication is on, but there is no user root with the role root";
            self.problem("I14", codec::meta::BOUNDS, 0, message);
        }
        Ok(())
    }

    /// I2, I3: each entry of `dead` names a tombstone, and its key is not in `live`.
    fn dead(&mut self) -> Result<()> {
        let mut cursor = self.txn.cursor(Tree::Dead)?;
        let mut entry = cursor.seek(&[])?;
        while let Some((key, bytes)) = entry {
            entry = cursor.next()?;
            if self.txn.get(Tree::Live, key)?.is_some() {
                self.problem("I2", key, None, "the key is in live and in dead");
            }
            match codec::dead(key, bytes) {
                Ok(header) => self.names_event("dead", key, &header, &[])?,
                Err(error) => self.problem("I8", key, None, error.message()),
            }
        }
        Ok(())
    }

    fn names_event(&mut self, tree: &str, key: &[u8], header: &Header, value: &[u8]) -> Result<()> {
        let rev = header.rev;
        let Some(bytes) = self.txn.get(Tree::Log, &rev.to_key())? else {
            self.problem(
                "I3",
                key,
                rev.main,
                format!("{tree} names an event that is missing in the log"),
            );
            return Ok(());
        };
        let same = codec::event(rev, bytes).is_ok_and(|event| {
            event.key == key && event.header == *header && (header.in_log || event.value == value)
        });
        if !same {
            self.problem(
                "I3",
                key,
                rev.main,
                format!("{tree} and the log have different contents"),
            );
        }
        Ok(())
    }
}
