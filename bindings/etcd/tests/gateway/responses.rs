//! Each request of a table with its response, here and from a real etcd; other responses.

use libkv::{LimitsPreset, Options};
use libkv_etcd::Serve;
use libkv_test_support::deadline::deadline;
use libkv_test_support::etcd::{self, Etcd};
use libkv_test_support::http::{Http, HttpResponse};
use libkv_test_support::served::Served;
use serde_json::{Value, json};

use crate::without_ids;

/// Requests in order, each with its response: the HTTP status and the body, without the ids of
/// servers. `~` is any message of a parser: then only code and status are compared. `=etcd` is the
/// response of a real etcd, where ours differs on purpose.
const TABLE: &str = r#"
# 15.1 paths, aliases and unknown paths
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

# 15.3 spellings, unknown fields, nulls, repeated fields, no body
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
POST /v3/kv/range {"key":"aw==","count_only":true} text after the JSON is not read
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

# 15.6 bodies that are not a JSON object
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

# the other services
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

# authentication, which is disabled
POST /v3/auth/status {}
= 200 {"authRevision":"1","header":{"revision":"13"}}
POST /v3/auth/authenticate {"name":"root","password":"secret"}
= 400 {"code":9,"error":"etcdserver: authentication is not enabled","message":"etcdserver: authentication is not enabled"}
POST /v3/auth/disable {}
= 200 {"header":{"revision":"13"}}

# 15.9 paths that are not calls
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

/// Sends one request over a new connection; returns the response in the form of the table.
fn send(address: &str, request: &str, parser: bool) -> (String, HttpResponse) {
    let mut words = request.splitn(3, ' ');
    let (method, path) = (
        words.next().expect("a method"),
        words.next().expect("a path"),
    );
    let response = Http::to(address).call(method, path, words.next().unwrap_or("").as_bytes());
    let text = response.text();
    if parser && let Ok(error) = serde_json::from_slice::<Value>(&response.body) {
        let same = error["error"] == error["message"]
            && error["error"].as_str().is_some_and(|text| !text.is_empty());
        return (
            format!(
                "{} {} {}",
                response.status,
                error["code"],
                if same { "~" } else { "no message" }
            ),
            response,
        );
    }
    let lines: Vec<String> = text.lines().map(without_ids).collect();
    (
        format!("{} {}", response.status, lines.join(" "))
            .trim_end()
            .to_string(),
        response,
    )
}

/// The requests of the table, each with the responses of our server and of a real etcd.
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

/// The headers that must be equal: all except the time and the encoding of the body.
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
        let (is, _) = send(&served.url(), request, should.ends_with('~'));
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
    // etcd allows all origins by default
    let how = Serve::new("127.0.0.1:0").cors(["*"]);
    let served = Served::with(
        "gateway-etcd",
        Options::new().limits(LimitsPreset::Etcd),
        how,
    );
    for (request, should, etcds) in table() {
        let (is, theirs) = send(&etcd.url(), request, etcds.ends_with('~'));
        assert_eq!(is, etcds, "etcd: {request}");
        let (_, ours) = send(&served.url(), request, false);
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
    let response = Http::to(&served.url()).call("POST", "/v3/kv/range", b"{}");
    let text = r#"{"error":"etcdserver: key is not provided","code":3,"message":"etcdserver: key is not provided"}"#;
    assert_eq!(
        (response.text().as_str(), response.header("content-type")),
        (text, Some("application/json"))
    );
}

#[test]
fn users_log_in_and_send_their_token() {
    let _deadline = deadline();
    let how = Serve::new("127.0.0.1:0").bcrypt_cost(4);
    let served = Served::with("gateway-auth", Options::new(), how);
    let post = |path: &str, headers: &[&str], body: &str| -> (u16, Value) {
        let mut http = Http::to(&served.url());
        http.request("POST", &format!("/v3/{path}"), headers, body.as_bytes());
        let response = http.response(true).expect("a response");
        let body = serde_json::from_slice(&response.body).expect("JSON");
        (response.status, body)
    };
    for (path, body) in [
        ("auth/user/add", r#"{"name":"root","password":"secret"}"#),
        ("auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("auth/role/add", r#"{"name":"reader"}"#),
        (
            "auth/role/grant",
            r#"{"name":"reader","perm":{"permType":"READ","key":"YQ=="}}"#,
        ),
        ("auth/enable", "{}"),
    ] {
        let (status, body) = post(path, &[], body);
        assert_eq!(status, 200, "{path}: {body}");
    }
    let (_, login) = post(
        "auth/authenticate",
        &[],
        r#"{"name":"root","password":"secret"}"#,
    );
    let token = login["token"].as_str().expect("a token");
    let role = r#"{"role":"reader"}"#;
    for (header, status, code) in [
        (format!("Authorization: {token}"), 200, Value::Null),
        (format!("Authorization: Bearer {token}"), 200, Value::Null),
        (format!("Grpc-Metadata-Token: {token}"), 200, Value::Null),
        (format!("Token: {token}"), 400, json!(3)),
        ("Authorization: wrong".to_string(), 401, json!(16)),
    ] {
        let (found, body) = post("auth/role/get", &[&header], role);
        assert_eq!((found, &body["code"]), (status, &code), "{header}: {body}");
        if status == 200 {
            assert_eq!(body["perm"][0]["key"], "YQ==", "{body}");
        }
    }
}

#[test]
fn index_names_the_server_in_one_line() {
    let _deadline = deadline();
    let served = Served::start("gateway-index");
    let response = Http::to(&served.url()).call("GET", "/", b"");
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
