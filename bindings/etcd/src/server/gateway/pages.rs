//! HTTP pages that are not calls: index, version, health and metrics.

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use libkv::AlarmKind;
use serde_json::json;
use tonic::body::Body;

use super::response::{self, full};
use crate::problems;
use crate::server::maintenance::{CLUSTER_VERSION, SERVER_VERSION};
use crate::server::metrics;
use crate::server::port::Port;
use crate::server::store::Store;

/// The page at the request's path; `None` if there is no such page.
pub fn page<B>(store: &Store, request: &Request<B>, port: Port) -> Option<Response<Body>> {
    let (path, query) = (
        request.uri().path(),
        request.uri().query().unwrap_or_default(),
    );
    let probe = Probe::of(path);
    match path {
        "/metrics" => return Some(metrics(store)),
        "/" | "/version" if port.pages_only => return None,
        "/" | "/version" | "/health" => {}
        _ if probe.is_some() => {}
        _ => return None,
    }
    if request.method() != Method::GET {
        let mut response = response::text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET"));
        return Some(response);
    }
    Some(match (path, probe) {
        (_, Some(probe)) => probe.response(store, query),
        ("/", _) => response::text(StatusCode::OK, index()),
        ("/version", _) => response::json_body(StatusCode::OK, full(version())),
        _ => health(store, query),
    })
}

/// One line for a visitor with a browser.
fn index() -> String {
    format!(
        "libkv {}, a store served by the protocol of etcd {SERVER_VERSION}: gRPC, JSON by POST at \
         /v3/, and /version /health /livez /readyz /metrics\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn version() -> String {
    format!(
        "{{\"etcdserver\":\"{SERVER_VERSION}\",\"etcdcluster\":\"{CLUSTER_VERSION}\",\"storage\":\"{CLUSTER_VERSION}\"}}"
    )
}

fn metrics(store: &Store) -> Response<Body> {
    match metrics::text(store) {
        Ok(text) => {
            let mut response = Response::new(full(text));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(error) => response::text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

/// Whether the store can be written: `{"health":"true","reason":""}`. `exclude=NOSPACE` in the
/// query ignores an alarm, because a probe that restarts an unhealthy server would not free space.
fn health(store: &Store, query: &str) -> Response<Body> {
    let reason = match store.db.status() {
        Ok(status) => {
            let mut names = problems::names(&status);
            names
                .find(|name| !excludes(query, name))
                .map(|name| format!("ALARM {name}"))
        }
        Err(error) => Some(error.to_string()),
    };
    let mut body = format!(
        "{{\"health\":\"{}\",\"reason\":{}}}",
        reason.is_none(),
        json!(reason.as_deref().unwrap_or(""))
    );
    let mut response = Response::new(Body::empty());
    response::plain(response.headers_mut());
    match reason {
        None => {
            response
                .headers_mut()
                .remove(header::X_CONTENT_TYPE_OPTIONS);
        }
        Some(_) => {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            body.push('\n');
        }
    }
    *response.body_mut() = full(body);
    response
}

/// Whether a query has `exclude=NAME`.
fn excludes(query: &str, name: &str) -> bool {
    query
        .split('&')
        .any(|part| part.strip_prefix("exclude=") == Some(name))
}

/// A check of `/livez` and `/readyz`; the error is the reason of its failure.
type Check = fn(&Store) -> Result<(), String>;

const READABLE: Check = |store| {
    store
        .db
        .snapshot()
        .map(drop)
        .map_err(|error| error.to_string())
};
const LIVEZ: &[(&str, Check)] = &[("serializable_read", READABLE)];
const READYZ: &[(&str, Check)] = &[
    ("data_corruption", no_alarm_but_nospace),
    ("serializable_read", READABLE),
    ("linearizable_read", READABLE),
    ("non_learner", |_| Ok(())),
];

/// No alarm except NOSPACE is active. Under NOSPACE the store can still be read.
fn no_alarm_but_nospace(store: &Store) -> Result<(), String> {
    let status = store.db.status().map_err(|error| error.to_string())?;
    let mut names = problems::names(&status);
    names
        .find(|name| *name != AlarmKind::NoSpace.name())
        .map_or(Ok(()), |name| Err(format!("alarm activated: {name}")))
}

/// The checks that a path of `/livez` and `/readyz` runs: all, or the one that it names.
struct Probe(&'static [(&'static str, Check)]);

impl Probe {
    fn of(path: &str) -> Option<Probe> {
        let (checks, rest) = match (path.strip_prefix("/livez"), path.strip_prefix("/readyz")) {
            (Some(rest), _) => (LIVEZ, rest),
            (_, Some(rest)) => (READYZ, rest),
            _ => return None,
        };
        if rest.is_empty() {
            return Some(Probe(checks));
        }
        let name = rest.strip_prefix('/')?;
        checks
            .iter()
            .position(|(check, _)| *check == name)
            .map(|at| Probe(&checks[at..=at]))
    }

    /// `ok`, or status 503 with a line for each check; with `verbose` in the query always with the
    /// lines.
    fn response(&self, store: &Store, query: &str) -> Response<Body> {
        let (mut lines, mut status) = (String::new(), StatusCode::OK);
        for (name, check) in self.0.iter().filter(|(name, _)| !excludes(query, name)) {
            match check(store) {
                Ok(()) => lines += &format!("[+]{name} ok\n"),
                Err(why) => {
                    status = StatusCode::SERVICE_UNAVAILABLE;
                    lines += &format!("[-]{name} failed: {why}\n");
                }
            }
        }
        let verbose = query
            .split('&')
            .any(|part| part == "verbose" || part.starts_with("verbose="));
        match status {
            StatusCode::OK if verbose => response::text(status, lines + "ok\n"),
            StatusCode::OK => response::text(status, "ok\n"),
            _ => response::text(status, lines),
        }
    }
}
