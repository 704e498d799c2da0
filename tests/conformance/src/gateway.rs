//! A driver for the JSON gateway of a server: a real etcd or libkv's own.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use libkv::*;
use serde_json::{Map, Value, json};

use crate::script::{self, Step};

/// A server with an empty store, used through its JSON gateway.
pub struct Gateway {
    address: String,
    watchers: RefCell<HashMap<String, WatchConnection>>,
    /// The key of each held lock, by name.
    locks: RefCell<HashMap<Vec<u8>, Vec<u8>>>,
    /// The leader key of each won election, by name.
    elections: RefCell<HashMap<Vec<u8>, Value>>,
}

/// One watch on a connection of its own.
struct WatchConnection {
    messages: BufReader<TcpStream>,
    batches: VecDeque<WatchBatch>,
}

impl Gateway {
    /// The gateway of the server at `http://HOST:PORT`.
    pub fn at(url: &str) -> Gateway {
        let (watchers, locks, elections) = Default::default();
        Gateway {
            address: url.strip_prefix("http://").unwrap_or(url).to_string(),
            watchers,
            locks,
            elections,
        }
    }

    /// Posts to the gateway.
    pub fn post(&self, path: &str, body: &Value) -> std::result::Result<Value, String> {
        let body = body.to_string();
        let work = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(&self.address)?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            // HTTP/1.0: the response has no chunks and ends with the connection
            write!(
                stream,
                "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )?;
            stream.write_all(body.as_bytes())?;
            let mut response = Vec::new();
            stream.read_to_end(&mut response)?;
            Ok(String::from_utf8_lossy(&response).into_owned())
        };
        let response = work().map_err(|e| e.to_string())?;
        let body = response
            .split_once("\r\n\r\n")
            .map_or("", |(_, body)| body)
            .trim();
        if body.is_empty() {
            return Ok(Value::Object(Map::new()));
        }
        serde_json::from_str(body).or_else(|_| Ok(json!({"text": body})))
    }

    /// Posts to the gateway and returns the response, or the line of its error.
    fn call(&self, path: &str, body: Value) -> std::result::Result<Value, String> {
        let response = self.post(path, &body).expect("etcd responds");
        match response.get("error").and_then(Value::as_str) {
            Some(error) => Err(error_line(
                error,
                response.get("code").and_then(Value::as_i64).unwrap_or(0),
            )),
            None => Ok(response),
        }
    }

    /// Posts to the gateway and returns a stream of messages, one a line.
    pub fn stream(&self, path: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).expect("etcd listens");
        stream
            .set_read_timeout(Some(script::WAIT_LIMIT))
            .expect("a time-out");
        write!(
            stream,
            "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("etcd listens");
        let mut messages = BufReader::new(stream);
        let mut line = String::new();
        while messages.read_line(&mut line).is_ok_and(|read| read > 0) && line.trim() != "" {
            line.clear();
        }
        messages
    }

    /// Executes a step; none if etcd has no such call.
    pub fn run(&self, step: &Step) -> Option<String> {
        let done = match step {
            Step::Request(Request::LeaseGrant(_) | Request::LeaseRevoke(_))
            | Step::KeepAlive(_)
            | Step::TimeToLive(..)
            | Step::LeaseList => self.lease(step),
            Step::Watch(..) | Step::Next(_) => self.watch(step),
            Step::Lock(_) | Step::Unlock(_) => self.lock(step),
            Step::Campaign(..) | Step::Proclaim(..) | Step::Leader(_) | Step::Resign(_) => {
                self.election(step)
            }
            Step::AlarmList | Step::AlarmActivate(..) | Step::AlarmDisarm(..) => self.alarm(step),
            Step::Cancel(name) => {
                self.watchers.borrow_mut().remove(name);
                Ok("cancelled".into())
            }
            _ => return self.key_value(step),
        };
        Some(done.unwrap_or_else(|error| error))
    }

    fn lease(&self, step: &Step) -> std::result::Result<String, String> {
        Ok(match step {
            Step::Request(Request::LeaseGrant(grant)) => {
                let response = self.call(
                    "/v3/lease/grant",
                    json!({"TTL": grant.ttl_seconds, "ID": grant.id}),
                )?;
                let mut granted = LeaseGrantResponse::default();
                granted.revision = revision(&response);
                granted.id = number(&response, "ID");
                granted.ttl_seconds = number(&response, "TTL");
                script::granted(grant.id, &granted)
            }
            Step::Request(Request::LeaseRevoke(revoke)) => {
                let response = self.call("/v3/lease/revoke", json!({"ID": revoke.id}))?;
                let mut revoked = LeaseRevokeResponse::default();
                revoked.revision = revision(&response);
                script::response(&Response::LeaseRevoke(revoked))
            }
            Step::KeepAlive(id) => {
                let response = self.call("/v3/lease/keepalive", json!({"ID": id}))?;
                let result = response.get("result").cloned().unwrap_or(Value::Null);
                let mut kept = LeaseKeepAliveResponse::default();
                kept.id = number(&result, "ID");
                kept.ttl_seconds = number(&result, "TTL");
                script::kept(&kept)
            }
            Step::TimeToLive(id, keys) => {
                let response =
                    self.call("/v3/lease/timetolive", json!({"ID": id, "keys": keys}))?;
                let decode = |key: &Value| {
                    BASE64_STANDARD
                        .decode(key.as_str().unwrap_or(""))
                        .expect("base64")
                };
                let mut left = LeaseTimeToLiveResponse::default();
                left.id = number(&response, "ID");
                left.ttl_seconds = number(&response, "TTL");
                left.granted_ttl_seconds = number(&response, "grantedTTL");
                left.keys = list(&response, "keys").map(decode).collect();
                script::time_to_live(&left)
            }
            _ => {
                let response = self.call("/v3/lease/leases", json!({}))?;
                script::leases(
                    &list(&response, "leases")
                        .map(|lease| number(lease, "ID"))
                        .collect::<Vec<_>>(),
                )
            }
        })
    }

    fn watch(&self, step: &Step) -> std::result::Result<String, String> {
        let mut watchers = self.watchers.borrow_mut();
        match step {
            Step::Watch(name, watch) => {
                watchers.remove(name);
                let body = json!({"create_request": watch_json(watch)}).to_string();
                let mut connection = WatchConnection {
                    messages: self.stream("/v3/watch", &body),
                    batches: VecDeque::new(),
                };
                connection.read()?;
                // a start that is compacted is reported in a second message: wait for it
                let probe = Range::new("\0").revision(watch.start_revision.max(0));
                if self
                    .call("/v3/kv/range", range_json(&probe))
                    .is_err_and(|error| error.contains("compacted"))
                {
                    connection.read()?;
                }
                watchers.insert(name.clone(), connection);
                Ok(format!("watching {name}"))
            }
            Step::Next(name) => match watchers.get_mut(name) {
                Some(connection) => Ok(script::batch(&connection.next()?)),
                None => Ok(format!("no watcher {name}")),
            },
            _ => unreachable!("{step:?} is not a step of a watcher"),
        }
    }

    /// Grants a lease for a lock or an election.
    fn claim_lease(&self) -> std::result::Result<i64, String> {
        Ok(number(
            &self.call("/v3/lease/grant", json!({"TTL": script::CLAIM_TTL_SECONDS}))?,
            "ID",
        ))
    }

    fn created(&self, key: &[u8]) -> std::result::Result<i64, String> {
        let response = self.call("/v3/kv/range", range_json(&Range::new(key)))?;
        Ok(range_result(&response)
            .kvs
            .first()
            .map_or(0, |kv| kv.create_revision))
    }

    fn lock(&self, step: &Step) -> std::result::Result<String, String> {
        let mut locks = self.locks.borrow_mut();
        match step {
            Step::Lock(name) => {
                if !locks.contains_key(name) {
                    let body = json!({"name": base64(name), "lease": self.claim_lease()?});
                    locks.insert(
                        name.clone(),
                        bytes(&self.call("/v3/lock/lock", body)?, "key"),
                    );
                }
                let key = &locks[name];
                Ok(script::locked(key, self.created(key)?))
            }
            Step::Unlock(name) => {
                if let Some(key) = locks.remove(name) {
                    self.call("/v3/lock/unlock", json!({"key": base64(&key)}))?;
                }
                Ok("unlocked".into())
            }
            _ => unreachable!("{step:?} is not a lock step"),
        }
    }

    fn election(&self, step: &Step) -> std::result::Result<String, String> {
        let mut elections = self.elections.borrow_mut();
        Ok(match step {
            Step::Campaign(name, value) => {
                if let Some(leader) = elections.get(name) {
                    self.call(
                        "/v3/election/proclaim",
                        json!({"leader": leader, "value": base64(value)}),
                    )?;
                } else {
                    let body = json!({"name": base64(name), "lease": self.claim_lease()?, "value": base64(value)});
                    let response = self.call("/v3/election/campaign", body)?;
                    elections.insert(
                        name.clone(),
                        response.get("leader").cloned().expect("a leader key"),
                    );
                }
                script::leads(
                    &bytes(&elections[name], "key"),
                    number(&elections[name], "rev"),
                )
            }
            Step::Proclaim(name, value) => {
                let leader = elections
                    .get(name)
                    .cloned()
                    .unwrap_or_else(|| json!({"name": base64(name)}));
                self.call(
                    "/v3/election/proclaim",
                    json!({"leader": leader, "value": base64(value)}),
                )?;
                "proclaimed".into()
            }
            Step::Leader(name) => {
                match self.call("/v3/election/leader", json!({"name": base64(name)})) {
                    Err(error) if error.contains("election: no leader") => script::leader(None),
                    response => script::leader(response?.get("kv").map(kv).as_ref()),
                }
            }
            Step::Resign(name) => {
                if let Some(leader) = elections.remove(name) {
                    self.call("/v3/election/resign", json!({"leader": leader}))?;
                }
                "resigned".into()
            }
            _ => unreachable!("{step:?} is not an election step"),
        })
    }

    /// Sorts the alarms: etcd returns them in no order.
    fn alarm(&self, step: &Step) -> std::result::Result<String, String> {
        let call = |body| {
            self.call("/v3/maintenance/alarm", body)
                .map(|response| alarm_members(&response))
        };
        let mut alarms = match step {
            Step::AlarmActivate(kind, member) => {
                call(json!({"action": "ACTIVATE", "alarm": kind.name(), "memberID": member}))?
            }
            _ => call(json!({}))?,
        };
        if let Step::AlarmDisarm(member, kind) = step {
            alarms.retain(|alarm| {
                (*member == 0 || *member == alarm.member) && kind.is_none_or(|k| k == alarm.kind)
            });
            for AlarmMember { member, kind } in &alarms {
                call(json!({"action": "DEACTIVATE", "alarm": kind.name(), "memberID": member}))?;
            }
        }
        alarms.sort_by_key(|alarm| (alarm.kind, alarm.member));
        Ok(script::alarms(&alarms))
    }

    fn key_value(&self, step: &Step) -> Option<String> {
        let request = match step {
            Step::Request(request) => request.clone(),
            Step::Get(key, revision) => Range::new(key.as_slice()).revision(*revision).into(),
            _ => return None,
        };
        let path = match &request {
            Request::Range(_) => "/v3/kv/range",
            Request::Put(_) => "/v3/kv/put",
            Request::Delete(_) => "/v3/kv/deleterange",
            Request::Txn(_) => "/v3/kv/txn",
            Request::Compact(_) => "/v3/kv/compaction",
            _ => return None,
        };
        let body = match &request {
            Request::Range(range) => range_json(range),
            Request::Put(put) => put_json(put),
            Request::Delete(delete) => delete_json(delete),
            Request::Txn(txn) => txn_json(txn),
            Request::Compact(compact) => {
                json!({"revision": compact.revision, "physical": compact.physical})
            }
            _ => return None,
        };
        let response = match self.call(path, body) {
            Ok(response) => response,
            Err(error) => return Some(error),
        };
        Some(match (step, request) {
            (Step::Get(..), _) => script::found(range_result(&response).kvs.first()),
            (_, Request::Range(_)) => script::response(&Response::Range(range_result(&response))),
            (_, Request::Put(_)) => script::response(&Response::Put(put_result(&response))),
            (_, Request::Delete(_)) => {
                script::response(&Response::Delete(delete_result(&response)))
            }
            (_, Request::Txn(_)) => script::response(&Response::Txn(txn_result(&response))),
            (_, Request::Compact(_)) => {
                let mut compacted = CompactResponse::default();
                compacted.revision = revision(&response);
                script::response(&Response::Compact(compacted))
            }
            _ => return None,
        })
    }

    /// Posts raw JSON and returns the response, or the part that a dotted path names.
    pub fn raw(&self, path: &str, body: &str, pick: Option<&str>) -> String {
        let body = serde_json::from_str(body).expect("valid JSON in the case");
        let mut response = self.post(path, &body).expect("etcd responds");
        if let Some(pick) = pick {
            for name in pick.split('.') {
                response = response.get(name).cloned().unwrap_or(Value::Null);
            }
        }
        format!("json {response}")
    }
}

impl WatchConnection {
    /// Reads a message. An error is the line with the reason why the watch ended.
    fn read(&mut self) -> std::result::Result<(), String> {
        let mut line = String::new();
        self.messages
            .read_line(&mut line)
            .map_err(|_| "nothing".to_string())?;
        let message: Value = serde_json::from_str(&line).map_err(|e| format!("{e}: {line}"))?;
        let message = message.get("result").ok_or("no result")?;
        if flag(message, "canceled") {
            let reason = message
                .get("cancel_reason")
                .and_then(Value::as_str)
                .unwrap_or("");
            return Err(match number(message, "compact_revision") {
                0 if reason.ends_with("has been compacted") => error_line(reason, 11),
                0 => error_line(reason, 3),
                _ => error_line("mvcc: required revision has been compacted", 11),
            });
        }
        for event in list(message, "events") {
            let kind = match event.get("type").and_then(Value::as_str) {
                Some("DELETE") => EventKind::Delete,
                _ => EventKind::Put,
            };
            let pair = kv(event.get("kv").unwrap_or(&Value::Null));
            let event = Event {
                kind,
                kv: pair,
                prev_kv: event.get("prev_kv").map(kv),
            };
            // a message with past events may have many revisions
            match self
                .batches
                .back_mut()
                .filter(|batch| batch.revision == event.kv.mod_revision)
            {
                Some(batch) => batch.events.push(event),
                None => self
                    .batches
                    .push_back(WatchBatch::new(event.kv.mod_revision, vec![event])),
            }
        }
        Ok(())
    }

    fn next(&mut self) -> std::result::Result<WatchBatch, String> {
        loop {
            match self.batches.pop_front() {
                Some(batch) => return Ok(batch),
                None => self.read()?,
            }
        }
    }
}

/// The line of an error: the code of libkv for etcd's text and gRPC code.
fn error_line(text: &str, grpc: i64) -> String {
    let text = text.strip_prefix("etcdserver: ").unwrap_or(text);
    // our server adds the limit of a key in brackets; cases have the text before it, as in
    // script.rs
    let text = if text.starts_with("request is too large (key ") {
        "request is too large"
    } else {
        text
    };
    let code = match text {
        "key not found" => Code::KeyNotFound,
        "duplicate key given in txn request" => Code::DuplicateKey,
        "too many operations in txn request" => Code::TooManyOps,
        "request is too large" => Code::TooLarge,
        "mvcc: required revision has been compacted" => Code::Compacted,
        "mvcc: required revision is a future revision" => Code::FutureRevision,
        "requested lease not found" => Code::LeaseNotFound,
        "lease already exists" => Code::LeaseExists,
        "mvcc: database space exceeded" => Code::Full,
        "corrupt cluster" => Code::Corrupt,
        "election: not leader" => Code::FailedPrecondition,
        _ => Code::InvalidArgument,
    };
    // the gRPC code must be the one that belongs to the code of libkv
    let number = match code {
        Code::Compacted | Code::FutureRevision => 11,
        Code::LeaseNotFound => 5,
        Code::LeaseExists => 9,
        Code::Full => 8,
        Code::Corrupt => 15,
        _ if text == "too large lease TTL" => 11,
        // the lock and election services return code 2 (unknown)
        _ if text.starts_with("election: ") => 2,
        _ => 3,
    };
    if grpc == number {
        format!("error {code} {text}")
    } else {
        format!("error {code} {text} with gRPC code {grpc}")
    }
}

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn range_json(range: &Range) -> Value {
    json!({
        "key": base64(&range.range.key), "range_end": base64(&range.range.range_end),
        "limit": range.limit, "revision": range.revision,
        "sort_order": range.sort_order as i32, "sort_target": range.sort_target as i32,
        "serializable": range.serializable, "keys_only": range.keys_only, "count_only": range.count_only,
        "min_mod_revision": range.min_mod_revision, "max_mod_revision": range.max_mod_revision,
        "min_create_revision": range.min_create_revision, "max_create_revision": range.max_create_revision,
    })
}

fn put_json(put: &Put) -> Value {
    json!({
        "key": base64(&put.key), "value": base64(&put.value), "lease": put.lease, "prev_kv": put.prev_kv,
        "ignore_value": put.ignore_value, "ignore_lease": put.ignore_lease,
    })
}

fn delete_json(delete: &Delete) -> Value {
    json!({"key": base64(&delete.range.key), "range_end": base64(&delete.range.range_end), "prev_kv": delete.prev_kv})
}

fn txn_json(txn: &Txn) -> Value {
    let ops = |ops: &[Op]| -> Vec<Value> {
        ops.iter()
            .map(|op| match op {
                Op::Range(range) => json!({"request_range": range_json(range)}),
                Op::Put(put) => json!({"request_put": put_json(put)}),
                Op::Delete(delete) => json!({"request_delete_range": delete_json(delete)}),
                Op::Txn(txn) => json!({"request_txn": txn_json(txn)}),
            })
            .collect()
    };
    let compares: Vec<Value> = txn.compare.iter().map(compare_json).collect();
    json!({"compare": compares, "success": ops(&txn.success), "failure": ops(&txn.failure)})
}

fn watch_json(watch: &Watch) -> Value {
    let filters: Vec<&str> = [(watch.no_put, "NOPUT"), (watch.no_delete, "NODELETE")]
        .iter()
        .filter_map(|(on, name)| on.then_some(*name))
        .collect();
    json!({
        "key": base64(&watch.range.key), "range_end": base64(&watch.range.range_end),
        "start_revision": watch.start_revision, "prev_kv": watch.prev_kv, "filters": filters,
        "progress_notify": watch.progress,
    })
}

fn compare_json(compare: &Compare) -> Value {
    let (target, name, operand) = match &compare.operand {
        Operand::Version(n) => ("VERSION", "version", json!(n)),
        Operand::CreateRevision(n) => ("CREATE", "create_revision", json!(n)),
        Operand::ModRevision(n) => ("MOD", "mod_revision", json!(n)),
        Operand::Value(value) => ("VALUE", "value", json!(base64(value))),
        Operand::Lease(n) => ("LEASE", "lease", json!(n)),
    };
    let result = match compare.result {
        CompareResult::Equal => "EQUAL",
        CompareResult::Greater => "GREATER",
        CompareResult::Less => "LESS",
        CompareResult::NotEqual => "NOT_EQUAL",
    };
    let (key, end) = (base64(&compare.range.key), base64(&compare.range.range_end));
    json!({"result": result, "target": target, "key": key, "range_end": end, name: operand})
}

/// Numbers come as strings, and not at all when they are 0.
fn number(value: &Value, name: &str) -> i64 {
    value
        .get(name)
        .and_then(Value::as_str)
        .map_or(0, |text| text.parse().expect("a number"))
}

fn alarm_members(response: &Value) -> Vec<AlarmMember> {
    let kind = |alarm: &Value| {
        let name = alarm.get("alarm").and_then(Value::as_str);
        AlarmKind::ALL
            .into_iter()
            .find(|kind| Some(kind.name()) == name)
            .expect("a kind of alarm")
    };
    let member = |alarm: &Value| {
        alarm
            .get("memberID")
            .and_then(Value::as_str)
            .map_or(0, |text| text.parse().expect("a number"))
    };
    list(response, "alarms")
        .map(|alarm| AlarmMember {
            member: member(alarm),
            kind: kind(alarm),
        })
        .collect()
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn revision(value: &Value) -> i64 {
    value
        .get("header")
        .map_or(0, |header| number(header, "revision"))
}

fn bytes(value: &Value, name: &str) -> Vec<u8> {
    let text = value.get(name).and_then(Value::as_str).unwrap_or("");
    BASE64_STANDARD.decode(text).expect("base64")
}

fn kv(value: &Value) -> KeyValue {
    KeyValue {
        key: bytes(value, "key").into(),
        value: bytes(value, "value").into(),
        create_revision: number(value, "create_revision"),
        mod_revision: number(value, "mod_revision"),
        version: number(value, "version"),
        lease: number(value, "lease"),
    }
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn range_result(value: &Value) -> RangeResponse {
    let mut range = RangeResponse::default();
    range.revision = revision(value);
    range.kvs = list(value, "kvs").map(kv).collect();
    range.count = number(value, "count");
    range.more = flag(value, "more");
    range
}

fn put_result(value: &Value) -> PutResponse {
    let mut put = PutResponse::default();
    put.revision = revision(value);
    put.prev_kv = value.get("prev_kv").map(kv);
    put
}

fn delete_result(value: &Value) -> DeleteResponse {
    let mut delete = DeleteResponse::default();
    delete.revision = revision(value);
    delete.deleted = number(value, "deleted");
    delete.prev_kvs = list(value, "prev_kvs").map(kv).collect();
    delete
}

fn txn_result(value: &Value) -> TxnResponse {
    let response = |value: &Value| {
        if let Some(range) = value.get("response_range") {
            OpResponse::Range(range_result(range))
        } else if let Some(put) = value.get("response_put") {
            OpResponse::Put(put_result(put))
        } else if let Some(delete) = value.get("response_delete_range") {
            OpResponse::Delete(delete_result(delete))
        } else {
            OpResponse::Txn(txn_result(
                value.get("response_txn").unwrap_or(&Value::Null),
            ))
        }
    };
    let mut txn = TxnResponse::default();
    txn.succeeded = flag(value, "succeeded");
    txn.revision = revision(value);
    txn.responses = list(value, "responses").map(response).collect();
    txn
}
