//! The JSON gateway (contract 15): each request is sent to our server and to a real etcd 3.5.1, and
//! both must return the response in the table.

mod browsers;
mod headers;
mod metrics;
mod responses;
mod streams;
mod tls;

use serde_json::Value;

/// A line of JSON without the ids of servers; any other line unchanged.
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
