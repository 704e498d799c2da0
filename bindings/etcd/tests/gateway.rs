//! The JSON gateway (contract 15): each request is asked of our server and of a real etcd 3.5.1,
//! and both must return what is here.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use libkv::{LimitsPreset, Options};
use libkv_etcd::Serve;
use serde_json::{Value, json};

use libkv_test_support::deadline::deadline;
use libkv_test_support::etcd::{self, Etcd};
use libkv_test_support::http::{Http, HttpResponse};
use libkv_test_support::served::Served;

/// Requests in order, each with its response: HTTP's status and the body, without the ids of
/// servers. `~` stands for a parser's own words: then only code and status are compared. `=etcd` is
/// what a real etcd responses where it differs on purpose of ours.
const TABLE: &str = r#"
# 15.1 paths, their aliases and what is none
POST /v3/kv/put {"key":"aw==","value":"dg=="}
= 200 {"header":{"revision":"2"}}
POST /v3beta/kv/range {"key":"aw=="}
= 200 {"count":"1","header":{"revision":"2"},"kvs":[{"create_revision":"2","key":"aw==","mod_revision":"2","value":"dg==","version":"1"}]}
POST /v3alpha/kv/range {"key":"aw=="}
= 404 404 page not found
POST /v3/kv/nothing {}
= 404 {"code":5,"error":"Not Found","message":"Not Found"}
=etcd 404 Not Found
POST /v3/kv/range/ {}
= 404 {"code":5,"error":"Not Found","message":"Not Found"}
=etcd 404 Not Found
POST /v3/ {}
= 404 {"code":5,"error":"Not Found","message":"Not Found"}
=etcd 404 Not Found
POST /v3beta/ {}
= 404 {"code":5,"error":"Not Found","message":"Not Found"}
=etcd 404 Not Found
POST /v3beta {}
= 404 404 page not found
POST /v2/keys {}
= 404 404 page not found
GET /v2/keys
= 404 404 page not found
GET /v3/kv/range
= 405 Method Not Allowed
PUT /v3/watch {}
= 405 Method Not Allowed
GET /v3/nothing
= 404 {"code":5,"error":"Not Found","message":"Not Found"}
=etcd 404 Not Found
POST /etcdserverpb.KV/Range {}
= 404 404 page not found

# 15.2 numbers, bytes and enums
POST /v3/kv/range {"key":"aw==","limit":"1","revision":2}
= 200 {"count":"1","header":{"revision":"2"},"kvs":[{"create_revision":"2","key":"aw==","mod_revision":"2","value":"dg==","version":"1"}]}
POST /v3/kv/range {"key":"aw==","limit":" 1","revision":"null","max_mod_revision":-0}
= 200 {"count":"1","header":{"revision":"2"},"kvs":[{"create_revision":"2","key":"aw==","mod_revision":"2","value":"dg==","version":"1"}]}
POST /v3/kv/range {"key":"aw==","limit":1.0}
= 200 {"count":"1","header":{"revision":"2"},"kvs":[{"create_revision":"2","key":"aw==","mod_revision":"2","value":"dg==","version":"1"}]}
=etcd 400 3 ~
POST /v3/kv/range {"key":"aw==","limit":1.5}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","limit":1e0}
= 200 {"count":"1","header":{"revision":"2"},"kvs":[{"create_revision":"2","key":"aw==","mod_revision":"2","value":"dg==","version":"1"}]}
=etcd 400 3 ~
POST /v3/kv/range {"key":"aw==","limit":"1e0"}
= 200 {"count":"1","header":{"revision":"2"},"kvs":[{"create_revision":"2","key":"aw==","mod_revision":"2","value":"dg==","version":"1"}]}
=etcd 400 3 ~
POST /v3/kv/range {"key":"aw==","limit":1e30}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","limit":"+1"}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","limit":""}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","limit":true}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","limit":[]}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","limit":{}}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","limit":9223372036854775808}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","limit":"-9223372036854775809"}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","limit":"-9223372036854775808","count_only":true}
= 200 {"count":"1","header":{"revision":"2"}}
POST /v3/kv/range {"key":"aw==","count_only":"true"}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","count_only":1}
= 400 3 ~
POST /v3/kv/range {"key":"aw","count_only":true}
= 200 {"count":"1","header":{"revision":"2"}}
=etcd 400 3 ~
POST /v3/kv/range {"key":"_-8="}
= 200 {"header":{"revision":"2"}}
=etcd 400 3 ~
POST /v3/kv/range {"key":"a w=="}
= 400 3 ~
POST /v3/kv/range {"key":"aw=\n=","count_only":true}
= 200 {"count":"1","header":{"revision":"2"}}
POST /v3/kv/range {"key":"ax==","count_only":true}
= 200 {"count":"1","header":{"revision":"2"}}
POST /v3/kv/range {"key":"\u0061w==","count_only":true}
= 200 {"count":"1","header":{"revision":"2"}}
POST /v3/kv/range {"key":[107],"count_only":true}
= 200 {"count":"1","header":{"revision":"2"}}
POST /v3/kv/range {"key":[256]}
= 400 3 ~
POST /v3/kv/range {"key":5}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","sort_order":"DESCEND","sort_target":4,"count_only":true}
= 200 {"count":"1","header":{"revision":"2"}}
POST /v3/kv/range {"key":"aw==","sort_order":"descend"}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","sort_order":"2","count_only":true}
= 200 {"count":"1","header":{"revision":"2"}}
=etcd 400 3 ~
POST /v3/kv/range {"key":"aw==","sort_order":1.5}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","sort_order":99999999999}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","sort_order":true}
= 400 3 ~
POST /v3/kv/range {"key":"aw==","sort_order":7,"count_only":true}
= 400 {"code":3,"error":"etcdserver: invalid sort option","message":"etcdserver: invalid sort option"}
=etcd 200 {"count":"1","header":{"revision":"2"}}
POST /v3/kv/txn {"compare":[{"key":"aw==","target":"VALUE","result":3,"value":"AA=="},{"key":"aw==","target":77,"result":0,"version":"9"}]}
= 200 {"header":{"revision":"2"},"succeeded":true}

# 15.3 spellings, unknown fields, nulls, what comes twice, no body at all
POST /v3/kv/range {"key":"aw==","rangeEnd":"bA==","keysOnly":true}
= 200 {"count":"1","header":{"revision":"2"},"kvs":[{"create_revision":"2","key":"aw==","mod_revision":"2","version":"1"}]}
POST /v3/kv/range {"key":"aw==","countOnly":true,"count_only":false}
= 400 3 ~
=etcd 200 {"count":"1","header":{"revision":"2"}}
POST /v3/kv/range {"key":"aw==","count_only":false,"countOnly":true}
= 400 3 ~
=etcd 200 {"count":"1","header":{"revision":"2"}}
POST /v3/kv/range {"key":"xxxx","key":"aw==","count_only":true}
= 400 3 ~
=etcd 200 {"count":"1","header":{"revision":"2"}}
POST /v3/kv/range {"key":"aw==","KEY":"eA==","count_only":true}
= 200 {"count":"1","header":{"revision":"2"}}
POST /v3/kv/range {"key":"aw==","bogus":{"a":[1,2,{"b":null}]},"count_only":true,"":0}
= 200 {"count":"1","header":{"revision":"2"}}
POST /v3/kv/range {"key":"aw==","limit":null,"sort_order":null,"range_end":null,"count_only":true}
= 200 {"count":"1","header":{"revision":"2"}}
POST /v3/kv/range {"key":null}
= 400 {"code":3,"error":"etcdserver: key is not provided","message":"etcdserver: key is not provided"}
POST /v3/kv/range
= 400 {"code":3,"error":"etcdserver: key is not provided","message":"etcdserver: key is not provided"}
POST /v3/lease/leases null
= 400 3 ~
=etcd 200 {"header":{"revision":"2"}}
POST /v3/kv/range {"key":"aw==","count_only":true} and what follows is not read
= 200 {"count":"1","header":{"revision":"2"}}
POST /v3/lease/leases
= 200 {"header":{"revision":"2"}}
POST /v3/kv/txn {"compare":null,"success":null}
= 200 {"header":{"revision":"2"},"succeeded":true}
POST /v3/kv/txn {"compare":{}}
= 400 3 ~
POST /v3/kv/txn {"success":[5]}
= 400 3 ~
POST /v3/kv/txn {"compare":[null]}
= 400 {"code":3,"error":"etcdserver: key is not provided","message":"etcdserver: key is not provided"}
POST /v3/kv/txn {"success":[null]}
= 400 {"code":3,"error":"etcdserver: key not found","message":"etcdserver: key not found"}
POST /v3/kv/txn {"success":[{"request_range":null}]}
= 400 {"code":3,"error":"etcdserver: key not found","message":"etcdserver: key not found"}
POST /v3/kv/txn {"success":[{"request_range":{"key":"aw=="},"request_delete_range":{"key":"eHg="}}]}
= 400 3 ~
=etcd 200 {"header":{"revision":"2"},"responses":[{"response_delete_range":{"header":{"revision":"2"}}}],"succeeded":true}
POST /v3/kv/txn {"success":[{"request_put":{"key":"eA=="},"request_range":null}]}
= 200 {"header":{"revision":"3"},"responses":[{"response_put":{"header":{"revision":"3"}}}],"succeeded":true}
POST /v3/kv/txn {"success":[{"requestRange":{"key":"eA=="}},{"requestTxn":{"success":[{"request_put":{"key":"eQ==","value":"AP+A"}}]}}]}
= 200 {"header":{"revision":"4"},"responses":[{"response_range":{"count":"1","header":{"revision":"3"},"kvs":[{"create_revision":"3","key":"eA==","mod_revision":"3","version":"1"}]}},{"response_txn":{"header":{},"responses":[{"response_put":{"header":{"revision":"4"}}}],"succeeded":true}}],"succeeded":true}
POST /v3/kv/put {"key":"eQ==","value":"","prevKv":true}
= 200 {"header":{"revision":"5"},"prev_kv":{"create_revision":"4","key":"eQ==","mod_revision":"4","value":"AP+A","version":"1"}}
POST /v3/kv/deleterange {"key":"eA==","range_end":"eg==","prev_kv":true}
= 200 {"deleted":"2","header":{"revision":"6"},"prev_kvs":[{"create_revision":"3","key":"eA==","mod_revision":"3","version":"1"},{"create_revision":"4","key":"eQ==","mod_revision":"5","version":"2"}]}

# 15.4, 15.5 errors
POST /v3/kv/put {"value":"dg=="}
= 400 {"code":3,"error":"etcdserver: key is not provided","message":"etcdserver: key is not provided"}
POST /v3/kv/range {"key":"aw==","revision":"100"}
= 400 {"code":11,"error":"etcdserver: mvcc: required revision is a future revision","message":"etcdserver: mvcc: required revision is a future revision"}
POST /v3/kv/compaction {"revision":"3","physical":true}
= 200 {"header":{"revision":"6"}}
POST /v3/kv/range {"key":"aw==","revision":"2"}
= 400 {"code":11,"error":"etcdserver: mvcc: required revision has been compacted","message":"etcdserver: mvcc: required revision has been compacted"}
POST /v3/kv/put {"key":"aw==","lease":"9"}
= 404 {"code":5,"error":"etcdserver: requested lease not found","message":"etcdserver: requested lease not found"}
POST /v3/maintenance/transfer-leadership {"targetID":"1"}
= 400 {"code":9,"error":"etcdserver: bad leader transferee","message":"etcdserver: bad leader transferee"}
POST /v3/maintenance/downgrade {"action":7,"version":"3.4"}
= 500 {"code":2,"error":"etcdserver: unknown method","message":"etcdserver: unknown method"}
POST /v3/election/leader {"name":"ZQ=="}
= 500 {"code":2,"error":"election: no leader","message":"election: no leader"}

# 15.6 what is no JSON
POST /v3/kv/range 5
= 400 3 ~
POST /v3/kv/range []
= 400 3 ~
POST /v3/kv/range "x"
= 400 3 ~
POST /v3/kv/range true
= 400 3 ~
POST /v3/kv/range {"key":
= 400 3 ~
POST /v3/kv/range {"key":"aw=="
= 400 3 ~
POST /v3/kv/range {"key":"aw==",}
= 400 3 ~
POST /v3/kv/range {key:"aw=="}
= 400 3 ~
POST /v3/kv/range x
= 400 3 ~

# leases, by both paths
POST /v3/lease/grant {"TTL":"600","ID":77}
= 200 {"ID":"77","TTL":"600","header":{"revision":"6"}}
POST /v3/lease/grant {"TTL":"600","ID":"77"}
= 400 {"code":9,"error":"etcdserver: lease already exists","message":"etcdserver: lease already exists"}
POST /v3/lease/grant {"TTL":9999999999}
= 400 {"code":11,"error":"etcdserver: too large lease TTL","message":"etcdserver: too large lease TTL"}
POST /v3/lease/grant {"TTL":"500","ttl":"600","id":"5","ID":"-78"}
= 200 {"ID":"-78","TTL":"500","header":{"revision":"6"}}
POST /v3/lease/revoke {"ID":"-78"}
= 200 {"header":{"revision":"6"}}
POST /v3/kv/put {"key":"bA==","lease":"77"}
= 200 {"header":{"revision":"7"}}
POST /v3/kv/lease/leases {}
= 200 {"header":{"revision":"7"},"leases":[{"ID":"77"}]}
POST /v3/lease/leases {}
= 200 {"header":{"revision":"7"},"leases":[{"ID":"77"}]}
POST /v3/lease/timetolive {"ID":777}
= 200 {"ID":"777","TTL":"-1","header":{"revision":"7"}}
POST /v3/kv/lease/timetolive {"ID":777,"keys":true}
= 200 {"ID":"777","TTL":"-1","header":{"revision":"7"}}
POST /v3/kv/lease/revoke {"ID":"77"}
= 200 {"header":{"revision":"8"}}
POST /v3/lease/revoke {"ID":"77"}
= 404 {"code":5,"error":"etcdserver: requested lease not found","message":"etcdserver: requested lease not found"}

# 15.7 streams that end by themselves
POST /v3/lease/keepalive {"ID":"5"}
= 200 {"result":{"ID":"5","header":{"revision":"8"}}}
POST /v3/lease/keepalive {"ID":"5"}{"ID":6} {"ID":"7"}
= 200 {"result":{"ID":"5","header":{"revision":"8"}}} {"result":{"ID":"6","header":{"revision":"8"}}} {"result":{"ID":"7","header":{"revision":"8"}}}
POST /v3/lease/keepalive {"ID":"5"} x {"ID":"6"}
= 200 {"result":{"ID":"5","header":{"revision":"8"}}}
POST /v3/lease/keepalive null{}
= 400 3 ~
=etcd 200 {"result":{"header":{"revision":"8"}}} {"result":{"header":{"revision":"8"}}}
POST /v3/lease/keepalive
= 200
POST /v3/lease/keepalive x
= 400 3 ~
=etcd 500 2 ~
POST /v3/lease/keepalive {"ID":"x"}
= 400 3 ~
=etcd 500 2 ~
POST /v3/lease/keepalive {"ID":
= 400 3 ~
=etcd 500 2 ~
POST /v3/watch []
= 400 3 ~
=etcd 500 2 ~
POST /v3/election/observe x
= 400 3 ~

# what the other services say
POST /v3/maintenance/defragment {}
= 200 {}
POST /v3/maintenance/alarm {}
= 200 {"header":{"revision":"8"}}
POST /v3/maintenance/alarm {"action":"ACTIVATE","memberID":"5","alarm":1}
= 200 {"alarms":[{"alarm":"NOSPACE","memberID":"5"}],"header":{"revision":"8"}}
GET /health
= 503 {"health":"false","reason":"ALARM NOSPACE"}
GET /readyz
= 200 ok
=etcd 404 404 page not found
GET /health?exclude=NOSPACE
= 200 {"health":"true","reason":""}
GET /health?serializable=true&exclude=CORRUPT&exclude=NOSPACE
= 200 {"health":"true","reason":""}
GET /health?exclude=CORRUPT
= 503 {"health":"false","reason":"ALARM NOSPACE"}
GET /health?exclude=NOSPACE,CORRUPT
= 503 {"health":"false","reason":"ALARM NOSPACE"}
POST /v3/kv/put {"key":"aw=="}
= 429 {"code":8,"error":"etcdserver: mvcc: database space exceeded","message":"etcdserver: mvcc: database space exceeded"}
POST /v3/maintenance/alarm {"action":"DEACTIVATE","memberID":"5","alarm":"NOSPACE"}
= 200 {"alarms":[{"alarm":"NOSPACE","memberID":"5"}],"header":{"revision":"8"}}
POST /v3/maintenance/alarm {"action":"ACTIVATE","memberID":"5","alarm":"CORRUPT"}
= 200 {"alarms":[{"alarm":"CORRUPT","memberID":"5"}],"header":{"revision":"8"}}
GET /health
= 503 {"health":"false","reason":"ALARM CORRUPT"}
GET /readyz
= 503 [-]data_corruption failed: alarm activated: CORRUPT [+]serializable_read ok [+]linearizable_read ok [+]non_learner ok
=etcd 404 404 page not found
GET /readyz?exclude=data_corruption
= 200 ok
=etcd 404 404 page not found
POST /v3/kv/put {"key":"aw=="}
= 500 {"code":15,"error":"etcdserver: corrupt cluster","message":"etcdserver: corrupt cluster"}
POST /v3/maintenance/alarm {"action":"DEACTIVATE","memberID":"5","alarm":"CORRUPT"}
= 200 {"alarms":[{"alarm":"CORRUPT","memberID":"5"}],"header":{"revision":"8"}}
POST /v3/lease/grant {"TTL":"600","ID":"291"}
= 200 {"ID":"291","TTL":"600","header":{"revision":"8"}}
POST /v3/lock/lock {"name":"bA==","lease":"291"}
= 200 {"header":{"revision":"9"},"key":"bC8xMjM="}
POST /v3/lock/unlock {"key":"bC8xMjM="}
= 200 {"header":{"revision":"10"}}
POST /v3/lock/lock {"name":"bA==","lease":"1"}
= 500 {"code":2,"error":"etcdserver: requested lease not found","message":"etcdserver: requested lease not found"}
POST /v3/election/campaign {"name":"ZQ==","lease":"291","value":"djE="}
= 200 {"header":{"revision":"11"},"leader":{"key":"ZS8xMjM=","lease":"291","name":"ZQ==","rev":"11"}}
POST /v3/election/proclaim {"leader":{"key":"ZS8xMjM=","lease":"291","name":"ZQ==","rev":"11"},"value":"djI="}
= 200 {"header":{"revision":"12"}}
POST /v3/election/leader {"name":"ZQ=="}
= 200 {"header":{"revision":"12"},"kv":{"create_revision":"11","key":"ZS8xMjM=","lease":"291","mod_revision":"12","value":"djI=","version":"2"}}
POST /v3/election/resign {"leader":{"key":"ZS8xMjM=","lease":"291","name":"ZQ==","rev":"11"}}
= 200 {"header":{"revision":"13"}}

# authentication, which is off
POST /v3/auth/status {}
= 200 {"authRevision":"1","header":{"revision":"13"}}
POST /v3/auth/authenticate {"name":"root","password":"secret"}
= 400 {"code":9,"error":"etcdserver: authentication is not enabled","message":"etcdserver: authentication is not enabled"}
POST /v3/auth/disable {}
= 200 {"header":{"revision":"13"}}

# 15.9 what is no call
GET /version
= 200 {"etcdcluster":"3.7.0","etcdserver":"3.7.3","storage":"3.7.0"}
=etcd 200 {"etcdcluster":"3.5.0","etcdserver":"3.5.1"}
POST /version
= 405 Method Not Allowed
GET /health
= 200 {"health":"true","reason":""}
POST /health
= 405 Method Not Allowed
HEAD /health
= 405
GET /livez
= 200 ok
=etcd 404 404 page not found
GET /livez/non_learner
= 404 404 page not found
GET /readyz?exclude=linearizable_read&verbose
= 200 [+]data_corruption ok [+]serializable_read ok [+]non_learner ok ok
=etcd 404 404 page not found
GET /readyz/data_corruption
= 200 ok
=etcd 404 404 page not found
GET /readyz/
= 404 404 page not found
POST /readyz
= 405 Method Not Allowed
=etcd 404 404 page not found
OPTIONS /v3/kv/range
= 200
OPTIONS /anything
= 200
"#;

/// Asks one request of a connection of its own, and says what came as the table does.
fn ask(address: &str, request: &str, parser: bool) -> (String, HttpResponse) {
    let mut words = request.splitn(3, ' ');
    let (method, path) = (
        words.next().expect("a method"),
        words.next().expect("a path"),
    );
    let response = Http::to(address).ask(method, path, words.next().unwrap_or("").as_bytes());
    let text = response.text();
    if parser && let Ok(error) = serde_json::from_slice::<Value>(&response.body) {
        let same = error["error"] == error["message"]
            && error["error"].as_str().is_some_and(|text| !text.is_empty());
        return (
            format!(
                "{} {} {}",
                response.status,
                error["code"],
                if same { "~" } else { "no words" }
            ),
            response,
        );
    }
    let said: Vec<String> = text.lines().map(without_ids).collect();
    (
        format!("{} {}", response.status, said.join(" "))
            .trim_end()
            .to_string(),
        response,
    )
}

/// A line of JSON without what differs between servers; anything else as it is.
fn without_ids(line: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(line) else {
        return line.to_string();
    };
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for id in ["cluster_id", "member_id", "raft_term"] {
                    fields.remove(id);
                }
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value.to_string()
}

/// Requests of the table, what ours and what a real etcd must response.
fn table() -> Vec<(&'static str, &'static str, &'static str)> {
    let mut rows: Vec<(&str, &str, &str)> = Vec::new();
    for line in TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(etcd) = line.strip_prefix("=etcd ") {
            rows.last_mut().expect("a request first").2 = etcd;
        } else if let Some(should) = line.strip_prefix("= ") {
            let row = rows.last_mut().expect("a request first");
            (row.1, row.2) = (should, should);
        } else {
            rows.push((line, "", ""));
        }
    }
    rows
}

/// What of an response's head must be the same: all but the time and how the body is sent.
fn head(response: &HttpResponse) -> Vec<String> {
    let same = |name: &str| {
        !matches!(
            name,
            "date" | "content-length" | "transfer-encoding" | "connection"
        )
    };
    let headers = response.headers.iter().filter(|(name, _)| same(name));
    let mut headers: Vec<String> = headers
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.sort();
    headers
}

#[test]
fn requests_have_the_expected_responses() {
    let _deadline = deadline();
    let served = Served::start("gateway-table");
    for (request, should, _) in table() {
        let (is, _) = ask(&served.url(), request, should.ends_with('~'));
        assert_eq!(is, should, "our server: {request}");
    }
    assert!(served.db.check().expect("a check").problems.is_empty());
}

#[test]
fn requests_have_the_same_responses_from_a_real_etcd() {
    let _deadline = deadline();
    let program = match etcd::program() {
        Ok(program) => program,
        Err(why) => return println!("not run: the gateway's table against a real etcd ({why})"),
    };
    let etcd = Etcd::start(&program, "gateway");
    // etcd allows all origins unless others are named
    let how = Serve::new("127.0.0.1:0").cors(["*"]);
    let served = Served::with(
        "gateway-etcd",
        Options::new().limits(LimitsPreset::Etcd),
        how,
    );
    for (request, should, etcds) in table() {
        let (is, theirs) = ask(&etcd.url(), request, etcds.ends_with('~'));
        assert_eq!(is, etcds, "etcd: {request}");
        let (_, ours) = ask(&served.url(), request, false);
        if should == etcds {
            assert_eq!(head(&ours), head(&theirs), "headers of {request}");
        }
    }
    println!("a real etcd: {} requests", table().len());
}

#[test]
fn error_has_its_fields_in_order() {
    let _deadline = deadline();
    let served = Served::start("gateway-error");
    let response = Http::to(&served.url()).ask("POST", "/v3/kv/range", b"{}");
    let text = r#"{"error":"etcdserver: key is not provided","code":3,"message":"etcdserver: key is not provided"}"#;
    assert_eq!(
        (response.text().as_str(), response.header("content-type")),
        (text, Some("application/json"))
    );
}

#[test]
fn methods_that_are_not_implemented() {
    let _deadline = deadline();
    let served = Served::start("gateway-later");
    let paths = "auth/enable auth/user/add auth/user/get auth/user/list \
        auth/user/delete auth/user/changepw auth/user/grant auth/user/revoke auth/role/add auth/role/get auth/role/list \
        auth/role/delete auth/role/grant auth/role/revoke";
    for path in paths.split_whitespace() {
        let response = Http::to(&served.url()).ask("POST", &format!("/v3/{path}"), b"{}");
        let body: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(
            (response.status, &body["code"]),
            (501, &json!(12)),
            "{path}: {body}"
        );
        assert!(
            body["message"]
                .as_str()
                .is_some_and(|text| text.starts_with("etcdserver: ")),
            "{path}: {body}"
        );
    }
}

#[test]
fn index_names_the_server_in_one_line() {
    let _deadline = deadline();
    let served = Served::start("gateway-index");
    let response = Http::to(&served.url()).ask("GET", "/", b"");
    assert_eq!(
        (response.status, response.header("content-type")),
        (200, Some("text/plain; charset=utf-8"))
    );
    let text = response.text();
    assert!(
        text.starts_with("libkv ") && text.contains("etcd 3.7.3") && text.lines().count() == 1,
        "{text}"
    );
}

/// Asks with these headers.
fn with_headers(
    address: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> HttpResponse {
    let mut http = Http::to(address);
    http.request(method, path, headers, body);
    http.response(true).expect("a response")
}

/// A browser sends a simple POST of any page, and only its response is kept from the page.
#[test]
fn foreign_origin_is_refused_before_its_request_is_carried_out() {
    let _deadline = deadline();
    let served = Served::start("gateway-origin");
    let put = |headers: &[&str]| {
        with_headers(
            &served.url(),
            "POST",
            "/v3/kv/put",
            headers,
            br#"{"key":"aw=="}"#,
        )
    };
    for origin in ["http://page", "null", "http://x:2379", "https://x.page"] {
        let response = put(&[&format!("Origin: {origin}"), "Content-Type: text/plain"]);
        let body: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(
            (response.status, &body["code"]),
            (403, &json!(7)),
            "{origin}: {body}"
        );
        assert_eq!(
            response.header("access-control-allow-origin"),
            None,
            "{origin}"
        );
        let preflight = with_headers(
            &served.url(),
            "OPTIONS",
            "/v3/kv/put",
            &[&format!("Origin: {origin}")],
            b"",
        );
        assert_eq!(
            (
                preflight.status,
                preflight.header("access-control-allow-origin")
            ),
            (403, None),
            "{origin}"
        );
    }
    assert_eq!(
        served.db.status().expect("a status").revision,
        1,
        "nothing was written"
    );
    for headers in [&["Origin: http://x"][..], &[]] {
        let response = put(headers);
        assert_eq!(
            (
                response.status,
                response.header("access-control-allow-origin")
            ),
            (200, None),
            "{headers:?}"
        );
    }
    assert_eq!(served.db.status().expect("a status").revision, 3);
}

#[test]
fn allowed_origin_is_named_in_the_response() {
    let _deadline = deadline();
    let how = Serve::new("127.0.0.1:0").cors(["http://page:80"]);
    let served = Served::with("gateway-cors", Options::new(), how);
    for (method, path) in [
        ("OPTIONS", "/v3/kv/range"),
        ("GET", "/version"),
        ("GET", "/nothing"),
    ] {
        let response = with_headers(&served.url(), method, path, &["Origin: http://page"], b"");
        for (name, should) in [
            ("access-control-allow-origin", "http://page"),
            (
                "access-control-allow-headers",
                "accept, content-type, authorization",
            ),
            (
                "access-control-allow-methods",
                "POST, GET, OPTIONS, PUT, DELETE",
            ),
        ] {
            assert_eq!(response.header(name), Some(should), "{method} {path}");
        }
    }
    let response = Http::to(&served.url()).ask("GET", "/version", b"");
    assert_eq!(
        (
            response.status,
            response.header("access-control-allow-origin")
        ),
        (200, None)
    );
}

#[test]
fn host_that_is_not_in_the_whitelist_is_misdirected() {
    let _deadline = deadline();
    for (hosts, status) in [(&["x"][..], 200), (&["a", "*"], 200), (&["y", "x.y"], 421)] {
        let how = Serve::new("127.0.0.1:0").host_whitelist(hosts.iter().copied());
        let served = Served::with("gateway-hosts", Options::new(), how);
        for path in ["/version", "/metrics", "/health"] {
            let response = Http::to(&served.url()).ask("GET", path, b"");
            assert_eq!(response.status, status, "{hosts:?} {path}");
            assert_eq!(
                response.text().contains("--host-whitelist"),
                status == 421,
                "{hosts:?} {path}"
            );
        }
        let put = Http::to(&served.url()).ask("POST", "/v3/kv/put", br#"{"key":"aw=="}"#);
        assert_eq!(put.status, status);
        let revision = if status == 200 { 2 } else { 1 };
        assert_eq!(
            served.db.status().expect("a status").revision,
            revision,
            "{hosts:?}"
        );
    }
}

/// Series whose values depend on what clients did and on nothing else.
const COUNTED: &[&str] = &[
    "etcd_mvcc_put_total",
    "etcd_mvcc_delete_total",
    "etcd_mvcc_txn_total",
    "etcd_debugging_lease_granted_total",
    "etcd_debugging_lease_revoked_total",
    "etcd_debugging_lease_renewed_total",
    "etcd_debugging_lease_ttl_total",
    "grpc_server_msg_received_total",
    "grpc_server_msg_sent_total",
];
/// Series of which only the names and labels are compared.
const NAMED: &[&str] = &[
    "grpc_server_handling_seconds",
    "etcd_server_slow_apply_total",
    "os_fd_used",
    "os_fd_limit",
];

/// Requests that are counted.
fn be_counted(address: &str) {
    let txn = r#"{"success":[{"request_put":{"key":"YQ=="}},{"request_range":{"key":"Yg=="}},
        {"request_txn":{"success":[{"request_delete_range":{"key":"Yg=="}}]}}]}"#;
    for (path, body) in [
        ("kv/put", r#"{"key":"YQ==","value":"MQ=="}"#),
        ("kv/put", r#"{"key":"Yg=="}"#),
        ("kv/put", "{}"),
        ("kv/range", r#"{"key":"YQ=="}"#),
        ("kv/txn", txn),
        ("kv/deleterange", r#"{"key":"YQ=="}"#),
        ("lease/grant", r#"{"TTL":100,"ID":7}"#),
        ("lease/grant", r#"{"TTL":3,"ID":8}"#),
        ("lease/keepalive", r#"{"ID":7}{"ID":9}{"ID":7}"#),
        ("lease/revoke", r#"{"ID":7}"#),
    ] {
        Http::to(address).ask("POST", &format!("/v3/{path}"), body.as_bytes());
    }
}

/// The lines of `/metrics` with these series, of some methods only.
fn counted(address: &str) -> Vec<String> {
    let text = Http::to(address).ask("GET", "/metrics", b"").text();
    let is_of = |line: &str, series: &[&str]| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let is = |series: &&str| {
            name.strip_prefix(*series)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        };
        series.iter().any(is)
    };
    let of_method = |line: &&str| {
        let methods = ["\"Put\"", "\"LeaseGrant\"", "\"LeaseKeepAlive\""];
        !line.starts_with("grpc_") || methods.iter().any(|method| line.contains(method))
    };
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((name, _)) if is_of(line, NAMED) => Some(name.to_string()),
        _ => is_of(line, COUNTED).then(|| line.to_string()),
    };
    let mut lines: Vec<String> = text.lines().filter(of_method).filter_map(line).collect();
    lines.sort();
    lines
}

/// Reads until this is so: a call is counted after its response has gone out.
fn until(read: impl Fn() -> Vec<String>, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let lines = read();
        if is_so(&lines) || Instant::now() > end {
            return lines;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn metrics_count_what_went_through_the_server() {
    let _deadline = deadline();
    let served = Served::with(
        "gateway-counted",
        Options::new(),
        Serve::new("127.0.0.1:0").extensive_metrics(true),
    );
    let labels = |method: &str, kind: &str, service: &str| {
        format!(
            "grpc_method=\"{method}\",grpc_service=\"etcdserverpb.{service}\",grpc_type=\"{kind}\""
        )
    };
    let (put, kept) = (
        labels("Put", "unary", "KV"),
        labels("LeaseKeepAlive", "bidi_stream", "Lease"),
    );
    let should = [
        "etcd_mvcc_put_total 3".to_string(),
        "etcd_mvcc_delete_total 2".into(),
        "etcd_mvcc_txn_total 1".into(),
        "etcd_debugging_lease_granted_total 2".into(),
        "etcd_debugging_lease_revoked_total 1".into(),
        "etcd_debugging_lease_renewed_total 2".into(),
        "etcd_debugging_lease_ttl_total_bucket{le=\"4\"} 1".into(),
        "etcd_debugging_lease_ttl_total_bucket{le=\"8.388608e+06\"} 2".into(),
        "etcd_debugging_lease_ttl_total_sum 103".into(),
        "etcd_debugging_lease_ttl_total_count 2".into(),
        format!("grpc_server_msg_received_total{{{put}}} 3"),
        format!("grpc_server_msg_sent_total{{{put}}} 2"),
        format!("grpc_server_msg_received_total{{{kept}}} 3"),
        format!("grpc_server_msg_sent_total{{{kept}}} 3"),
        format!("grpc_server_handling_seconds_count{{{put}}}"),
        format!("grpc_server_handling_seconds_bucket{{{kept},le=\"0.005\"}}"),
        "etcd_server_slow_apply_total".into(),
        "os_fd_used".into(),
        "os_fd_limit".into(),
    ];
    be_counted(&served.url());
    let ours = || counted(&served.url());
    let is = until(ours, |is| should.iter().all(|line| is.contains(line)));
    for line in &should {
        assert!(is.contains(line), "{line} is not in {is:#?}");
    }
    let all = || {
        Http::to(&served.url())
            .ask("GET", "/metrics", b"")
            .text()
            .lines()
            .map(String::from)
            .collect()
    };
    let should = [
        "etcd_mvcc_range_total 2".to_string(),
        "etcd_cluster_version{cluster_version=\"3.7\"} 1".into(),
        "etcd_server_version{server_version=\"3.7.3\"} 1".into(),
        format!("grpc_server_handling_seconds_count{{{put}}} 3"),
        format!("grpc_server_handling_seconds_bucket{{{put},le=\"+Inf\"}} 3"),
    ];
    let text = until(all, |is| should.iter().all(|line| is.contains(line)));
    for line in &should {
        assert!(text.contains(line), "{line} is not in {text:#?}");
    }
    match etcd::program() {
        Ok(program) => {
            let etcd = Etcd::start(&program, "gateway-counted");
            be_counted(&etcd.url());
            let theirs = until(|| counted(&etcd.url()), |theirs| theirs == is);
            assert_eq!(is, theirs, "a real etcd");
        }
        Err(why) => println!("not run: the metrics of a real etcd ({why})"),
    }
    let basic = Http::to(&Served::start("gateway-basic").url())
        .ask("GET", "/metrics", b"")
        .text();
    assert!(
        !basic.contains("grpc_server_handling_seconds"),
        "only where it was asked for"
    );
}

#[test]
fn metrics_address_has_no_calls() {
    let _deadline = deadline();
    let how = Serve::new("127.0.0.1:0")
        .listen_metrics("http://127.0.0.1:0")
        .listen_metrics("127.0.0.1:0");
    let served = Served::with("gateway-metrics", Options::new(), how);
    let addresses = served.server.metrics_addresses();
    assert_eq!((addresses.len(), served.server.addresses().len()), (2, 1));
    for address in addresses {
        for (method, path, status) in [
            ("GET", "/metrics", 200),
            ("GET", "/health", 200),
            ("GET", "/livez", 200),
            ("GET", "/readyz", 200),
            ("GET", "/", 404),
            ("GET", "/version", 404),
            ("POST", "/v3/kv/put", 404),
        ] {
            let response = Http::to(address).ask(method, path, br#"{"key":"aw=="}"#);
            assert_eq!(
                response.status,
                status,
                "{method} {path}: {}",
                response.text()
            );
        }
    }
    served.server.close();
    assert!(
        std::net::TcpStream::connect(addresses[0].trim_start_matches("http://")).is_err(),
        "it is free again"
    );
}

#[test]
fn timeout_header_that_is_invalid_is_refused() {
    let _deadline = deadline();
    let served = Served::start("gateway-time");
    for (time, status, said) in [
        ("1S", 200, None),
        ("x", 400, Some("invalid grpc-timeout: x")),
    ] {
        let mut http = Http::to(&served.url());
        http.request(
            "POST",
            "/v3/kv/range",
            &[&format!("Grpc-Timeout: {time}")],
            br#"{"key":"aw=="}"#,
        );
        let response = http.response(true).expect("a response");
        let body: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(
            (response.status, body["message"].as_str()),
            (status, said),
            "{time}"
        );
        assert_eq!(body["code"].as_i64(), said.map(|_| 3), "{time}");
    }
}

#[test]
fn authorization_token_is_accepted() {
    let _deadline = deadline();
    let served = Served::start("gateway-token");
    let mut http = Http::to(&served.url());
    let headers = [
        "Authorization: abc.7",
        "Grpc-Metadata-Hasleader: true",
        "Grpc-Metadata-Grpc-Timeout: no",
    ];
    http.request("POST", "/v3/kv/put", &headers, br#"{"key":"aw=="}"#);
    assert_eq!(http.response(true).expect("a response").status, 200);
}

/// A watch's responses, from its head on.
fn watch(address: &str, body: &str) -> Http {
    let mut http = Http::to(address);
    http.request("POST", "/v3/watch", &[], body.as_bytes());
    let head = http.head().expect("a response");
    let kind = (
        head.header("content-type"),
        head.header("transfer-encoding"),
    );
    assert_eq!(
        (head.status, kind),
        (200, (Some("application/json"), Some("chunked")))
    );
    http
}

/// The next message, without what differs between servers.
fn next(http: &mut Http) -> String {
    without_ids(&http.message().to_string())
}

fn streams_of(address: &str) {
    let put = |body: &str| {
        assert_eq!(
            Http::to(address)
                .ask("POST", "/v3/kv/put", body.as_bytes())
                .status,
            200
        )
    };
    put(r#"{"key":"YQ==","value":"MQ=="}"#);
    // two that follow each other, and a blank
    let mut http = watch(
        address,
        "{\"create_request\":{\"key\":\"YQ==\"}}{\"createRequest\":{\"key\":\"YQ==\",\"watch_id\":\"-4\",\
         \"startRevision\":2,\"filters\":[\"NODELETE\"]}}\n {\"progress_request\":{}}",
    );
    assert_eq!(
        next(&mut http),
        r#"{"result":{"created":true,"header":{"revision":"2"}}}"#
    );
    let mut more: Vec<String> = (0..3).map(|_| next(&mut http)).collect();
    more.sort();
    let event = r#"{"result":{"events":[{"kv":{"create_revision":"2","key":"YQ==","mod_revision":"2","value":"MQ==","version":"1"}}],"header":{"revision":"2"},"watch_id":"-4"}}"#;
    let created = r#"{"result":{"created":true,"header":{"revision":"2"},"watch_id":"-4"}}"#;
    let progress = r#"{"result":{"header":{"revision":"2"},"watch_id":"-1"}}"#;
    assert_eq!(more, [created, event, progress]);
    // the body is at its end, the watch is not
    put(r#"{"key":"YQ==","value":"Mg=="}"#);
    let event = r#"[{"kv":{"create_revision":"2","key":"YQ==","mod_revision":"3","value":"Mg==","version":"2"}}]"#;
    let mut ids: Vec<String> = (0..2)
        .map(|_| {
            let message = http.message();
            assert_eq!(message["result"]["events"].to_string(), event);
            message["result"]["watch_id"].to_string()
        })
        .collect();
    ids.sort();
    assert_eq!(ids, ["\"-4\"", "null"]);
    let delete = Http::to(address).ask("POST", "/v3/kv/deleterange", br#"{"key":"YQ=="}"#);
    assert_eq!(delete.status, 200);
    let events = http.message()["result"]["events"].to_string();
    assert_eq!(
        events,
        r#"[{"kv":{"key":"YQ==","mod_revision":"4"},"type":"DELETE"}]"#
    );
}

#[test]
fn watch_is_a_stream() {
    let _deadline = deadline();
    streams_of(&Served::start("gateway-watch").url());
    match etcd::program() {
        Ok(program) => streams_of(&Etcd::start(&program, "gateway-watch").url()),
        Err(why) => println!("not run: watches through the gateway of a real etcd ({why})"),
    }
}

#[test]
fn watch_stream_accepts_requests_while_it_responds() {
    let _deadline = deadline();
    let served = Served::start("gateway-duplex");
    let mut http = Http::to(&served.url());
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    http.send(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .expect("it is taken");
    http.send(chunk(r#"{"create_request":{"key":"YQ=="}}"#).as_bytes())
        .expect("it is taken");
    assert_eq!(http.head().expect("a response").status, 200);
    assert_eq!(
        next(&mut http),
        r#"{"result":{"created":true,"header":{"revision":"1"}}}"#
    );
    // cut in the middle of a string
    http.send(chunk(r#"{"create_request":{"key":"Y"#).as_bytes())
        .expect("it is taken");
    http.send(chunk(r#"g=="}}{"cancel_request":{"watch_id":"0"}}"#).as_bytes())
        .expect("it is taken");
    assert_eq!(
        next(&mut http),
        r#"{"result":{"created":true,"header":{"revision":"1"},"watch_id":"1"}}"#
    );
    assert_eq!(
        next(&mut http),
        r#"{"result":{"canceled":true,"header":{"revision":"1"}}}"#
    );
}

#[test]
fn observe_reports_each_leader() {
    let _deadline = deadline();
    let served = Served::start("gateway-observe");
    let address = served.url();
    let ask = |path: &str, body: &str| {
        let response = Http::to(&address).ask("POST", path, body.as_bytes());
        assert_eq!(response.status, 200, "{path}: {}", response.text());
    };
    ask("/v3/lease/grant", r#"{"TTL":600,"ID":291}"#);
    let mut http = Http::to(&address);
    http.request("POST", "/v3/election/observe", &[], br#"{"name":"ZQ=="}"#);
    ask(
        "/v3/election/campaign",
        r#"{"name":"ZQ==","lease":291,"value":"djE="}"#,
    );
    assert_eq!(http.head().expect("a response").status, 200);
    assert_eq!(http.message()["result"]["kv"]["value"], "djE=");
    ask(
        "/v3/election/proclaim",
        r#"{"leader":{"key":"ZS8xMjM=","lease":"291","name":"ZQ==","rev":"2"},"value":"djI="}"#,
    );
    assert_eq!(http.message()["result"]["kv"]["value"], "djI=");
}

#[test]
fn streams_end_when_the_server_closes() {
    let _deadline = deadline();
    let served = Served::start("gateway-close");
    let mut http = watch(&served.url(), r#"{"create_request":{"key":"YQ=="}}"#);
    next(&mut http);
    served.server.close();
    let last = http.message();
    let should = json!({"error": {"grpc_code": 14, "http_code": 503, "http_status": "Service Unavailable",
        "message": "etcdserver: server stopped"}});
    assert_eq!(last, should);
    assert!(
        matches!(http.chunk(), Ok(None)),
        "the body ends as it should"
    );
}

/// Asks with Python's own client, which speaks HTTP/1.1 alone over TLS.
const OVER_TLS: &str = r#"
import http.client, ssl, sys
address, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
asked = http.client.HTTPSConnection(address.removeprefix("https://"), context=context, timeout=20)
for method, path, body in [("POST", "/v3/kv/put", '{"key":"aw=="}'), ("GET", "/version", None), ("GET", "/health", None)]:
    asked.request(method, path, body)
    response = asked.getresponse()
    print(response.status, response.read().decode().strip())
"#;

#[test]
fn gateway_over_tls() {
    let _deadline = deadline();
    let made =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).expect("a certificate");
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("gateway-tls-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a folder");
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    fs::write(&cert, made.cert.pem()).expect("a file");
    fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let how = Serve::new("https://127.0.0.1:0")
        .cert_file(&cert)
        .key_file(&key);
    let served = Served::with(
        "gateway-tls",
        Options::new().limits(LimitsPreset::Etcd),
        how,
    );
    let asked = Command::new("python3")
        .args(["-c", OVER_TLS, &served.url()])
        .arg(&cert)
        .output();
    let _ = fs::remove_dir_all(&dir);
    match asked {
        Err(error) => println!("not run: the gateway over TLS (python3: {error})"),
        Ok(asked) => {
            let said: Vec<String> = String::from_utf8_lossy(&asked.stdout)
                .lines()
                .map(|line| {
                    line.split_once(' ')
                        .map_or_else(String::new, |(s, b)| format!("{s} {}", without_ids(b)))
                })
                .collect();
            let should = [
                r#"200 {"header":{"revision":"2"}}"#,
                r#"200 {"etcdcluster":"3.7.0","etcdserver":"3.7.3","storage":"3.7.0"}"#,
                r#"200 {"health":"true","reason":""}"#,
            ];
            assert_eq!(said, should, "{}", String::from_utf8_lossy(&asked.stderr));
        }
    }
}
