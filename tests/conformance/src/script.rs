//! The script language of the conformance cases; `tests/conformance/README.md` is its manual.

use libkv::*;

/// One line of a script, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A request as it is.
    Request(Request),
    /// One key at a revision; 0 is now.
    Get(Vec<u8>, Revision),
    /// One key's value into a buffer of this number of bytes.
    GetInto(Vec<u8>, usize),
    /// A scan.
    Scan(Range),
    /// Events of one key.
    History(Vec<u8>, i64),
    /// Events of a stretch of time.
    Events(Revision, Revision, KeyRange),
    /// Differences of two revisions.
    Diff(Revision, Revision, KeyRange),
    /// Current and compacted revision, and the number of keys.
    Status,
    /// The examination.
    Check,
    /// Close and open again.
    Reopen,
    /// A lease's full TTL again.
    KeepAlive(LeaseId),
    /// What is left of a lease, with its keys or without.
    TimeToLive(LeaseId, bool),
    /// All leases.
    LeaseList,
    /// The manual clock goes forward by this number of seconds.
    Advance(i64),
    /// The last revision by this number of seconds after the start of the clock.
    RevisionAt(i64),
    /// A watcher of this name begins.
    Watch(String, Watch),
    /// A watcher's next batch; waits for it.
    Next(String),
    /// A watcher's next batch, or that it has seen everything.
    Idle(String),
    /// Where a watcher that has seen everything would go on.
    Resume(String),
    /// A watcher ends.
    Cancel(String),
    /// The lock of this name.
    Lock(Vec<u8>),
    /// The lock of this name is free again.
    Unlock(Vec<u8>),
    /// Leading under this name, with this value.
    Campaign(Vec<u8>, Vec<u8>),
    /// The leader's new value.
    Proclaim(Vec<u8>, Vec<u8>),
    /// Who leads under this name.
    Leader(Vec<u8>),
    /// Leading no longer.
    Resign(Vec<u8>),
    /// The alarms that are active.
    AlarmList,
    /// An alarm of this kind and member begins.
    AlarmActivate(AlarmKind, u64),
    /// Alarms of this member (0: every) and kind (none: every) end.
    AlarmDisarm(u64, Option<AlarmKind>),
}

/// The TTL of what `lock` and `campaign` hold.
pub const CLAIM_TTL_SECONDS: i64 = 60;
/// Where the manual clock starts, in milliseconds since 1970: 40 s into a minute.
pub const CLOCK_START_MS: i64 = 1_000_000_000_000;
/// How long `next`, `idle` and `resume` wait before they say `nothing`.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Parses one step; an error says what is wrong with the line.
///
/// # Errors
///
/// What is wrong with the line.
pub fn parse(line: &str) -> std::result::Result<Step, String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let mut tokens = Tokens {
        words: &words,
        at: 0,
    };
    let step = tokens.step()?;
    match tokens.peek() {
        None => Ok(step),
        Some(word) => Err(format!("{line}: {word} is too much")),
    }
}

struct Tokens<'t> {
    words: &'t [&'t str],
    at: usize,
}

type Parsed<T> = std::result::Result<T, String>;

impl<'t> Tokens<'t> {
    fn peek(&self) -> Option<&'t str> {
        self.words.get(self.at).copied()
    }

    fn word(&mut self) -> Parsed<&'t str> {
        let word = self.peek().ok_or("the step ends too early")?;
        self.at += 1;
        Ok(word)
    }

    fn bytes(&mut self) -> Parsed<Vec<u8>> {
        bytes(self.word()?)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Parsed<T> {
        number(self.word()?)
    }

    fn range(&mut self) -> Parsed<KeyRange> {
        let word = self.word()?;
        match word.split_once(',') {
            Some((key, end)) => Ok(KeyRange {
                key: bytes(key)?,
                range_end: bytes(end)?,
            }),
            None => Ok(KeyRange::key(bytes(word)?)),
        }
    }

    /// Options `name` and `name=value` up to the end of the line or a `;`.
    fn options(&mut self, mut each: impl FnMut(&str, &str) -> Parsed<()>) -> Parsed<()> {
        while let Some(word) = self.peek().filter(|word| *word != ";") {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            each(name, value)?;
            self.at += 1;
        }
        Ok(())
    }

    fn step(&mut self) -> Parsed<Step> {
        Ok(match self.word()? {
            "put" => Step::Request(self.put()?.into()),
            "range" => Step::Request(self.range_request()?.into()),
            "delete" => Step::Request(self.delete()?.into()),
            "txn" => Step::Request(self.txn()?.into()),
            "compact" => {
                let mut compact = Compact::new(self.number()?);
                self.options(|name, _| match name {
                    "physical" => {
                        compact.physical = true;
                        Ok(())
                    }
                    other => Err(format!("{other} is no option of compact")),
                })?;
                Step::Request(compact.into())
            }
            "get" => {
                let key = self.bytes()?;
                let mut revision = 0;
                self.options(|name, value| match name {
                    "revision" => set(&mut revision, value),
                    other => Err(format!("{other} is no option of get")),
                })?;
                Step::Get(key, revision)
            }
            "get_into" => Step::GetInto(self.bytes()?, self.number()?),
            "scan" => Step::Scan(self.range_request()?),
            "history" => {
                let key = self.bytes()?;
                let mut limit = 0;
                self.options(|name, value| match name {
                    "limit" => set(&mut limit, value),
                    other => Err(format!("{other} is no option of history")),
                })?;
                Step::History(key, limit)
            }
            "events" => Step::Events(self.number()?, self.number()?, self.range()?),
            "diff" => Step::Diff(self.number()?, self.number()?, self.range()?),
            "lease_grant" | "lease_revoke" | "keep_alive" | "time_to_live" => {
                self.at -= 1;
                self.lease()?
            }
            "lease_list" => Step::LeaseList,
            "advance" => Step::Advance(self.number()?),
            "revision_at" => Step::RevisionAt(self.number()?),
            "watch" => Step::Watch(self.word()?.into(), self.watch()?),
            "next" => Step::Next(self.word()?.into()),
            "idle" => Step::Idle(self.word()?.into()),
            "resume" => Step::Resume(self.word()?.into()),
            "cancel" => Step::Cancel(self.word()?.into()),
            "lock" => Step::Lock(self.bytes()?),
            "unlock" => Step::Unlock(self.bytes()?),
            "campaign" => Step::Campaign(self.bytes()?, self.bytes()?),
            "proclaim" => Step::Proclaim(self.bytes()?, self.bytes()?),
            "leader" => Step::Leader(self.bytes()?),
            "resign" => Step::Resign(self.bytes()?),
            "alarm_list" => Step::AlarmList,
            "alarm_activate" => {
                let kind = kind(self.word()?)?;
                Step::AlarmActivate(kind, self.alarm()?.0)
            }
            "alarm_disarm" => {
                let (member, kind) = self.alarm()?;
                Step::AlarmDisarm(member, kind)
            }
            "status" => Step::Status,
            "check" => Step::Check,
            "reopen" => Step::Reopen,
            other => return Err(format!("{other} is no step")),
        })
    }

    fn lease(&mut self) -> Parsed<Step> {
        Ok(match self.word()? {
            "lease_grant" => {
                let mut grant = LeaseGrant {
                    ttl_seconds: self.number()?,
                    ..LeaseGrant::default()
                };
                self.options(|name, value| match name {
                    "id" => set(&mut grant.id, value),
                    other => Err(format!("{other} is no option of lease_grant")),
                })?;
                Step::Request(grant.into())
            }
            "lease_revoke" => Step::Request(LeaseRevoke { id: self.number()? }.into()),
            "keep_alive" => Step::KeepAlive(self.number()?),
            _ => {
                let (id, mut keys) = (self.number()?, false);
                self.options(|name, _| match name {
                    "keys" => on(&mut keys),
                    other => Err(format!("{other} is no option of time_to_live")),
                })?;
                Step::TimeToLive(id, keys)
            }
        })
    }

    fn alarm(&mut self) -> Parsed<(u64, Option<AlarmKind>)> {
        let (mut member, mut which) = (0, None);
        self.options(|name, value| match name {
            "member" => set(&mut member, value),
            "kind" => {
                which = Some(kind(value)?);
                Ok(())
            }
            other => Err(format!("{other} is no option of an alarm")),
        })?;
        Ok((member, which))
    }

    fn watch(&mut self) -> Parsed<Watch> {
        let mut watch = Watch::new(self.range()?);
        self.options(|name, value| match name {
            "start" => set(&mut watch.start_revision, value),
            "prev_kv" => on(&mut watch.prev_kv),
            "no_put" => on(&mut watch.no_put),
            "no_delete" => on(&mut watch.no_delete),
            "progress" => on(&mut watch.progress),
            other => Err(format!("{other} is no option of watch")),
        })?;
        Ok(watch)
    }

    fn put(&mut self) -> Parsed<Put> {
        let mut put = Put::new(self.bytes()?, self.bytes()?);
        self.options(|name, value| match name {
            "lease" => set(&mut put.lease, value),
            "prev_kv" => on(&mut put.prev_kv),
            "ignore_value" => on(&mut put.ignore_value),
            "ignore_lease" => on(&mut put.ignore_lease),
            other => Err(format!("{other} is no option of put")),
        })?;
        Ok(put)
    }

    fn delete(&mut self) -> Parsed<Delete> {
        let mut delete = Delete::new(self.range()?);
        self.options(|name, _| match name {
            "prev_kv" => on(&mut delete.prev_kv),
            other => Err(format!("{other} is no option of delete")),
        })?;
        Ok(delete)
    }

    fn range_request(&mut self) -> Parsed<Range> {
        let mut range = Range::new(self.range()?);
        self.options(|name, value| match name {
            "revision" => set(&mut range.revision, value),
            "limit" => set(&mut range.limit, value),
            "keys_only" => on(&mut range.keys_only),
            "count_only" => on(&mut range.count_only),
            "serializable" => on(&mut range.serializable),
            "min_mod" => set(&mut range.min_mod_revision, value),
            "max_mod" => set(&mut range.max_mod_revision, value),
            "min_create" => set(&mut range.min_create_revision, value),
            "max_create" => set(&mut range.max_create_revision, value),
            "order" => {
                range.sort_order = match value {
                    "none" => SortOrder::None,
                    "ascend" => SortOrder::Ascend,
                    "descend" => SortOrder::Descend,
                    other => return Err(format!("{other} is no order")),
                };
                Ok(())
            }
            "target" => {
                range.sort_target = match value {
                    "key" => SortTarget::Key,
                    "version" => SortTarget::Version,
                    "create" => SortTarget::Create,
                    "mod" => SortTarget::Mod,
                    "value" => SortTarget::Value,
                    other => return Err(format!("{other} is no target")),
                };
                Ok(())
            }
            other => Err(format!("{other} is no option of range")),
        })?;
        Ok(range)
    }

    /// `txn [if TARGET RESULT OPERAND RANGE ;]… then OP ;… else OP ;… end`
    fn txn(&mut self) -> Parsed<Txn> {
        let mut txn = Txn::new();
        let mut failure = false;
        loop {
            match self.word()? {
                "if" => {
                    txn.compare.push(self.compare()?);
                    self.end_of_op()?;
                }
                "then" => failure = false,
                "else" => failure = true,
                "end" => return Ok(txn),
                kind => {
                    let op = self.op(kind)?;
                    self.end_of_op()?;
                    if failure {
                        txn.failure.push(op)
                    } else {
                        txn.success.push(op)
                    }
                }
            }
        }
    }

    fn end_of_op(&mut self) -> Parsed<()> {
        match self.word()? {
            ";" => Ok(()),
            other => Err(format!("{other} where ; ends an operation")),
        }
    }

    fn op(&mut self, kind: &str) -> Parsed<Op> {
        Ok(match kind {
            "put" => self.put()?.into(),
            "range" => self.range_request()?.into(),
            "delete" => self.delete()?.into(),
            "txn" => self.txn()?.into(),
            other => return Err(format!("{other} is no operation of a txn")),
        })
    }

    fn compare(&mut self) -> Parsed<Compare> {
        let target = self.word()?;
        let result = match self.word()? {
            "==" => CompareResult::Equal,
            "!=" => CompareResult::NotEqual,
            ">" => CompareResult::Greater,
            "<" => CompareResult::Less,
            other => return Err(format!("{other} is no comparison")),
        };
        let operand = match target {
            "version" => Operand::Version(self.number()?),
            "create" => Operand::CreateRevision(self.number()?),
            "mod" => Operand::ModRevision(self.number()?),
            "value" => Operand::Value(self.bytes()?),
            "lease" => Operand::Lease(self.number()?),
            other => return Err(format!("{other} is no target of a compare")),
        };
        Ok(Compare {
            range: self.range()?,
            result,
            operand,
        })
    }
}

fn set<T: std::str::FromStr>(place: &mut T, value: &str) -> Parsed<()> {
    *place = number(value)?;
    Ok(())
}

fn kind(word: &str) -> Parsed<AlarmKind> {
    AlarmKind::ALL
        .into_iter()
        .find(|kind| kind.name() == word)
        .ok_or(format!("{word} is no kind of alarm"))
}

fn on(place: &mut bool) -> Parsed<()> {
    *place = true;
    Ok(())
}

fn number<T: std::str::FromStr>(word: &str) -> Parsed<T> {
    word.parse().map_err(|_| format!("{word} is no number"))
}

/// `_` is no bytes, `*N` is N times `x`, `\hh` one byte; everything else stands for itself.
///
/// # Errors
///
/// What is wrong with the word.
pub fn bytes(word: &str) -> Parsed<Vec<u8>> {
    if word == "_" {
        return Ok(Vec::new());
    }
    if let Some(count) = word.strip_prefix('*') {
        return Ok(vec![b'x'; number(count)?]);
    }
    let mut out = Vec::new();
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => {
                let digits = [
                    rest.next().ok_or("\\ at the end")?,
                    rest.next().ok_or("\\ at the end")?,
                ];
                let digits = std::str::from_utf8(&digits).map_err(|_| "no hexadecimal digits")?;
                out.push(
                    u8::from_str_radix(digits, 16).map_err(|_| format!("\\{digits} is no byte"))?,
                );
            }
            byte => out.push(byte),
        }
    }
    Ok(out)
}

/// The bytes as a word of the language.
pub fn show(bytes: &[u8]) -> String {
    match bytes {
        [] => "_".into(),
        [b'x', ..] if bytes.len() > 64 && bytes.iter().all(|byte| *byte == b'x') => {
            format!("*{}", bytes.len())
        }
        _ => bytes
            .iter()
            .map(|byte| match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'-' | b'/' => {
                    char::from(*byte).to_string()
                }
                byte => format!("\\{byte:02x}"),
            })
            .collect(),
    }
}

/// A pair: `KEY=VALUE@create/mod/version/lease`.
pub fn pair(kv: &KeyValue) -> String {
    let (key, value) = (show(&kv.key), show(&kv.value));
    format!(
        "{key}={value}@{}/{}/{}/{}",
        kv.create_revision, kv.mod_revision, kv.version, kv.lease
    )
}

fn pairs<'k>(kvs: impl IntoIterator<Item = &'k KeyValue>) -> String {
    kvs.into_iter().map(|kv| format!(" {}", pair(kv))).collect()
}

/// A response as one line.
pub fn response(response: &Response) -> String {
    match response {
        Response::Range(range) => range_line(range),
        Response::Put(put) => put_line(put),
        Response::Delete(delete) => delete_line(delete),
        Response::Txn(txn) => txn_line(txn),
        Response::Compact(compact) => format!("compact {}", compact.revision),
        Response::LeaseGrant(granted) => format!("granted {} {}", granted.id, granted.ttl_seconds),
        Response::LeaseRevoke(revoked) => format!("revoked {}", revoked.revision),
        Response::Alarm(response) => alarms(&response.alarms),
        Response::Auth(response) => format!("auth {}", response.revision),
        Response::Side(response) => format!("side {:?} {}", response.records, response.written),
    }
}

/// Alarms: `KIND/MEMBER` each.
pub fn alarms(alarms: &[AlarmMember]) -> String {
    alarms
        .iter()
        .fold("alarms".into(), |line, AlarmMember { member, kind }| {
            format!("{line} {kind}/{member}")
        })
}

/// The response to a grant: an id that the store chose is `*`, if it is a proper one.
pub fn granted(asked: LeaseId, granted: &LeaseGrantResponse) -> String {
    match asked == 0 && granted.id > 0 {
        true => format!("granted * {}", granted.ttl_seconds),
        false => format!("granted {} {}", granted.id, granted.ttl_seconds),
    }
}

/// The response to a keep-alive.
pub fn kept(kept: &LeaseKeepAliveResponse) -> String {
    format!("kept {} {}", kept.id, kept.ttl_seconds)
}

/// What is left of a lease: `all` while at most a second of it has gone.
pub fn time_to_live(left: &LeaseTimeToLiveResponse) -> String {
    let (id, granted) = (left.id, left.granted_ttl_seconds);
    let all = left.ttl_seconds >= 0 && granted - left.ttl_seconds <= 1;
    let left_word = if all {
        "all".into()
    } else {
        left.ttl_seconds.to_string()
    };
    let mut keys = left.keys.clone();
    keys.sort();
    format!(
        "ttl {id} {left_word} granted={granted}{}",
        keys.iter()
            .map(|key| format!(" {}", show(key)))
            .collect::<String>()
    )
}

/// The ids of all leases, by number.
pub fn leases(ids: &[LeaseId]) -> String {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    format!(
        "leases{}",
        ids.iter().map(|id| format!(" {id}")).collect::<String>()
    )
}

/// What a watcher delivers.
pub fn batch(batch: &WatchBatch) -> String {
    format!("batch {}{}", batch.revision, event_words(&batch.events))
}

/// A key of a lock or an election: what stands behind the last `/` is a lease's number, shown as
/// `*`.
pub fn claim_key(key: &[u8]) -> String {
    let cut = key
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let digits = &key[cut..];
    let hexadecimal = !digits.is_empty()
        && digits
            .iter()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hexadecimal {
        format!("{}*", show(&key[..cut]))
    } else {
        show(key)
    }
}

/// A held lock.
pub fn locked(key: &[u8], revision: Revision) -> String {
    format!("locked {} revision={revision}", claim_key(key))
}

/// A won election.
pub fn leads(key: &[u8], revision: Revision) -> String {
    format!("leads {} revision={revision}", claim_key(key))
}

/// The leader's pair; the lease that it stands on is `*` in the key, and behind the last `/`.
pub fn leader(kv: Option<&KeyValue>) -> String {
    kv.map_or("none".into(), |kv| {
        let (key, value) = (claim_key(&kv.key), show(&kv.value));
        let lease = if kv.lease > 0 {
            "*".into()
        } else {
            kv.lease.to_string()
        };
        format!(
            "leader {key}={value}@{}/{}/{}/{lease}",
            kv.create_revision, kv.mod_revision, kv.version
        )
    })
}

fn range_line(range: &RangeResponse) -> String {
    let more = if range.more { " more" } else { "" };
    format!(
        "range {} count={}{more}{}",
        range.revision,
        range.count,
        pairs(&range.kvs)
    )
}

fn put_line(put: &PutResponse) -> String {
    let prev = put
        .prev_kv
        .as_ref()
        .map_or(String::new(), |kv| format!(" prev {}", pair(kv)));
    format!("put {}{prev}", put.revision)
}

fn delete_line(delete: &DeleteResponse) -> String {
    format!(
        "delete {} deleted={}{}",
        delete.revision,
        delete.deleted,
        pairs(&delete.prev_kvs)
    )
}

fn txn_line(txn: &TxnResponse) -> String {
    let which = if txn.succeeded { "then" } else { "else" };
    let responses = txn.responses.iter().map(|response| match response {
        OpResponse::Range(range) => format!(" [{}]", range_line(range)),
        OpResponse::Put(put) => format!(" [{}]", put_line(put)),
        OpResponse::Delete(delete) => format!(" [{}]", delete_line(delete)),
        OpResponse::Txn(txn) => format!(" [{}]", txn_line(txn)),
    });
    format!(
        "txn {} {which}{}",
        txn.revision,
        responses.collect::<String>()
    )
}

/// A pair that may not be there.
pub fn found(kv: Option<&KeyValue>) -> String {
    kv.map_or("none".into(), |kv| format!("kv {}", pair(kv)))
}

/// The response to `get_into`.
pub fn value(value: Option<(usize, Option<&[u8]>)>) -> String {
    match value {
        None => "none".into(),
        Some((_, Some(value))) => format!("value {}", show(value)),
        Some((len, None)) => format!("length {len}"),
    }
}

/// A scan's pairs.
pub fn scanned(kvs: &[KeyValue]) -> String {
    format!("scan{}", pairs(kvs))
}

/// Events.
pub fn events(events: &[Event]) -> String {
    format!("events{}", event_words(events))
}

fn event_words(events: &[Event]) -> String {
    let each = events.iter().map(|event| {
        let prev = event
            .prev_kv
            .as_ref()
            .map_or(String::new(), |kv| format!(" <{}", pair(kv)));
        match event.kind {
            EventKind::Put => format!(" put:{}{prev}", pair(&event.kv)),
            EventKind::Delete => format!(
                " delete:{}@{}{prev}",
                show(&event.kv.key),
                event.kv.mod_revision
            ),
        }
    });
    each.collect()
}

/// Differences.
pub fn differences(differences: &[Difference]) -> String {
    let side = |kv: &Option<KeyValue>| kv.as_ref().map_or("none".into(), pair);
    let each = differences.iter().map(|difference| {
        format!(
            " {}:{}>{}",
            show(&difference.key),
            side(&difference.before),
            side(&difference.after)
        )
    });
    format!("diff{}", each.collect::<String>())
}

/// A status; a number that is absent is written as -1.
pub fn status(revision: Revision, compacted: Option<Revision>, keys: Option<u64>) -> String {
    let compacted = compacted.unwrap_or(-1);
    let keys = keys.map_or(-1, |keys| keys as i64);
    format!("status {revision} {compacted} {keys}")
}

/// An error: the code, and etcd's own text without the detail in brackets.
pub fn error(error: &Error) -> String {
    format!("error {} {}", error.code(), error.summary())
}
