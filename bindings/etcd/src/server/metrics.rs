//! `/metrics` in the text format of Prometheus.
//!
//! Names are etcd's where a series has etcd's meaning, so that its dashboards work. Names of series
//! that only libkv has begin with `libkv_`. A value that is not available is omitted, not
//! reported as 0: the series of raft's log, snapshots and peers, of Go, of single events
//! (`etcd_debugging_mvcc_events_total`), of slow watchers. Puts, ranges, leases and the like are
//! counted if they went through this server; other processes may have the same store open.

use std::fmt::{Display, Write as _};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use libkv::{AlarmMember, CommitTimes, Result, Status};
use procfs::process::{LimitValue, Process};
use tonic::Code;

use super::counters::{Counters, Histogram, MethodCounters};
use super::maintenance::{CLUSTER_MINOR, SERVER_VERSION};
use super::store::Store;
use crate::problems;
use crate::schema::{RPCS, Rpc};

/// All metrics at this moment.
///
/// # Errors
///
/// As [`libkv::Db::status`].
pub fn text(store: &Store) -> Result<String> {
    let mut text = MetricsText(String::with_capacity(16 << 10));
    let status = store.db.status()?;
    member(&mut text, store, &status);
    keys(&mut text, &status);
    users(&mut text, store);
    operations(&mut text, &store.counters);
    watching(&mut text, &store.counters, &status);
    disk(&mut text, &status, &store.db.commit_times()?);
    calls(&mut text, &store.counters);
    problems(&mut text, &status, store.identity.member_id);
    server(&mut text, store);
    process(&mut text);
    Ok(text.0)
}

/// The text format: a line each of help and type, then the values.
struct MetricsText(String);

impl MetricsText {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.one(name, "gauge", help, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.one(name, "counter", help, value);
    }

    /// A histogram of commits, in seconds.
    fn commits(&mut self, name: &str, help: &str, times: &CommitTimes) {
        self.head(name, "histogram", help);
        let mut within = 0;
        let buckets = times.within.iter().enumerate().map(|(bucket, count)| {
            within += count;
            (f64::from(1_u32 << bucket) / 1e3, within)
        });
        self.buckets(name, "", buckets, times.count, times.total_us as f64 / 1e6);
    }

    /// A histogram with these labels; its values are shown in units of `unit`.
    fn histogram<const N: usize>(
        &mut self,
        name: &str,
        labels: &str,
        histogram: &Histogram<N>,
        unit: f64,
    ) {
        let (buckets, count, sum) = histogram.read();
        let buckets = buckets
            .into_iter()
            .map(|(bound, within)| (bound as f64 / unit, within));
        self.buckets(name, labels, buckets, count, sum as f64 / unit);
    }

    fn buckets(
        &mut self,
        name: &str,
        labels: &str,
        up_to: impl Iterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) {
        let (comma, braced) = match labels {
            "" => ("", String::new()),
            labels => (",", format!("{{{labels}}}")),
        };
        for (bound, within) in up_to {
            let bound = bound_text(bound);
            let _ = writeln!(
                self.0,
                "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {within}"
            );
        }
        let _ = writeln!(
            self.0,
            "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"
        );
        let _ = writeln!(self.0, "{name}_sum{braced} {sum}");
        let _ = writeln!(self.0, "{name}_count{braced} {count}");
    }
}

/// A bound as Go formats it, because it is a label: from a million on with an exponent of two
/// digits.
fn bound_text(bound: f64) -> String {
    match bound {
        1e6..1e10 => format!("{bound:e}").replace('e', "e+0"),
        _ => bound.to_string(),
    }
}

/// etcd's series about a member and its raft.
fn member(text: &mut MetricsText, store: &Store, status: &Status) {
    text.gauge(
        "etcd_server_has_leader",
        "Always 1: a store is its own leader.",
        1,
    );
    text.gauge(
        "etcd_server_is_leader",
        "Always 1: a store is its own leader.",
        1,
    );
    text.gauge("etcd_server_is_learner", "Always 0.", 0);
    text.counter(
        "etcd_server_leader_changes_seen_total",
        "Always 0: a store has no elections.",
        0,
    );
    text.head(
        "etcd_server_id",
        "gauge",
        "The id of the member, made from the store's id.",
    );
    let _ = writeln!(
        text.0,
        "etcd_server_id{{server_id=\"{:x}\"}} 1",
        store.identity.member_id
    );
    text.head(
        "etcd_server_version",
        "gauge",
        "The version of etcd whose protocol is served.",
    );
    let _ = writeln!(
        text.0,
        "etcd_server_version{{server_version=\"{SERVER_VERSION}\"}} 1"
    );
    text.head(
        "etcd_cluster_version",
        "gauge",
        "The minor version of etcd whose protocol is served.",
    );
    let _ = writeln!(
        text.0,
        "etcd_cluster_version{{cluster_version=\"{CLUSTER_MINOR}\"}} 1"
    );
    let committed = "The store's revision: it has no raft whose proposals to count.";
    text.gauge(
        "etcd_server_proposals_committed_total",
        committed,
        status.revision,
    );
    text.gauge(
        "etcd_server_proposals_applied_total",
        committed,
        status.revision,
    );
    let (mut pending, mut failed) = (0, 0);
    for (_, counters) in methods(&store.counters).filter(|(rpc, _)| is_proposal(rpc)) {
        let handled: u64 = counters
            .handled
            .iter()
            .map(|handled| handled.load(Relaxed))
            .sum();
        pending += counters.started.load(Relaxed).saturating_sub(handled);
        let of = |code: Code| counters.handled[code as usize].load(Relaxed);
        failed += of(Code::Unavailable)
            + of(Code::Internal)
            + of(Code::DataLoss)
            + of(Code::DeadlineExceeded);
        failed += of(Code::Unknown);
    }
    text.gauge(
        "etcd_server_proposals_pending",
        "Writes of clients in progress.",
        pending,
    );
    text.counter(
        "etcd_server_proposals_failed_total",
        "Writes of clients that failed, not counting refusals.",
        failed,
    );
}

/// Whether an rpc is a proposal to raft in etcd: a unary write of etcd's own services. Renewals of
/// leases, which are a stream, are no proposals. A call of Lock or Election may wait for other
/// clients.
fn is_proposal(rpc: &Rpc) -> bool {
    rpc.writes && !rpc.client_streaming && rpc.service.starts_with("etcdserverpb.")
}

/// A store that cannot be read has no such series.
fn users(text: &mut MetricsText, store: &Store) {
    if let Ok(stamp) = store.db.engine().auth_stamp() {
        text.gauge(
            "etcd_debugging_auth_revision",
            "The revision of users, roles and permissions.",
            stamp.revision,
        );
    }
}

fn keys(text: &mut MetricsText, status: &Status) {
    let keys = status.keys.unwrap_or(0);
    let compacted = status.compacted_revision.unwrap_or(-1);
    text.gauge("etcd_debugging_mvcc_keys_total", "Keys that exist.", keys);
    text.gauge(
        "etcd_debugging_mvcc_current_revision",
        "The store's revision.",
        status.revision,
    );
    text.gauge(
        "etcd_debugging_mvcc_compact_revision",
        "The compacted revision.",
        compacted,
    );
    text.gauge("libkv_keys", "Keys that exist.", keys);
    text.gauge("libkv_revision", "The store's revision.", status.revision);
    text.gauge(
        "libkv_compacted_revision",
        "The compacted revision, -1 before the first.",
        compacted,
    );
    let leases = status.leases.unwrap_or(0);
    text.gauge("libkv_leases", "Leases that exist.", leases);
}

/// Operations that clients of this server ran.
fn operations(text: &mut MetricsText, counters: &Counters) {
    let calls = |method: &str| -> u64 {
        let of = |(rpc, _): &(&'static Rpc, &MethodCounters)| {
            rpc.service == "etcdserverpb.KV" && rpc.name == method
        };
        methods(counters)
            .filter(of)
            .map(|(_, counters)| counters.handled[Code::Ok as usize].load(Relaxed))
            .sum()
    };
    let ranges = calls("Range") + calls("RangeStream") + counters.ranges_in_txns.load(Relaxed);
    text.counter(
        "etcd_mvcc_range_total",
        "Ranges, including those within txns.",
        ranges,
    );
    text.counter(
        "etcd_mvcc_put_total",
        "Puts, including those within txns.",
        counters.puts.load(Relaxed),
    );
    text.counter(
        "etcd_mvcc_delete_total",
        "Deletions of a range, including those within txns.",
        counters.deletes.load(Relaxed),
    );
    text.counter("etcd_mvcc_txn_total", "Txns.", calls("Txn"));
    let slow = "Requests that took more than 100 ms in the store.";
    text.counter(
        "etcd_server_slow_apply_total",
        slow,
        counters.slow.load(Relaxed),
    );
    let leases = |counter: &AtomicU64| counter.load(Relaxed);
    text.counter(
        "etcd_debugging_lease_granted_total",
        "Leases that were granted.",
        leases(&counters.leases_granted),
    );
    text.counter(
        "etcd_debugging_lease_revoked_total",
        "Leases that were revoked.",
        leases(&counters.leases_revoked),
    );
    text.counter(
        "etcd_debugging_lease_renewed_total",
        "Leases that were kept alive.",
        leases(&counters.leases_renewed),
    );
    text.head(
        "etcd_debugging_lease_ttl_total",
        "histogram",
        "TTLs of the granted leases, in seconds.",
    );
    text.histogram("etcd_debugging_lease_ttl_total", "", &counters.ttls, 1.0);
}

fn watching(text: &mut MetricsText, counters: &Counters, status: &Status) {
    let streams: u64 = methods(counters)
        .filter(|(rpc, _)| rpc.service == "etcdserverpb.Watch")
        .map(|(_, counters)| {
            let handled: u64 = counters
                .handled
                .iter()
                .map(|handled| handled.load(Relaxed))
                .sum();
            counters.started.load(Relaxed).saturating_sub(handled)
        })
        .sum();
    text.gauge(
        "etcd_debugging_mvcc_watch_stream_total",
        "Watch streams that are open.",
        streams,
    );
    text.gauge(
        "etcd_debugging_mvcc_watcher_total",
        "Watchers of this process.",
        status.watchers,
    );
}

fn disk(text: &mut MetricsText, status: &Status, times: &CommitTimes) {
    let size = "Size of the store's files.";
    text.gauge(
        "etcd_mvcc_db_total_size_in_bytes",
        size,
        status.bytes_on_disk,
    );
    text.gauge(
        "etcd_debugging_mvcc_db_total_size_in_bytes",
        size,
        status.bytes_on_disk,
    );
    let used = "Bytes of pages that hold data.";
    text.gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        used,
        status.bytes_in_use,
    );
    text.gauge(
        "etcd_server_quota_backend_bytes",
        "The quota on the bytes in use, 0 for none.",
        status.max_bytes.unwrap_or(0),
    );
    let readers = "Read transactions, active or kept for reuse, in all processes.";
    let count = status.readers.unwrap_or(0);
    text.gauge("etcd_mvcc_db_open_read_transactions", readers, count);
    text.gauge("libkv_readers", readers, count);
    let commit = "Duration of commits, including flushes.";
    text.commits("etcd_disk_backend_commit_duration_seconds", commit, times);
    let flush = "Duration of commits: a store has no separate log, a write waits for the commit.";
    text.commits("etcd_disk_wal_fsync_duration_seconds", flush, times);
}

/// Every rpc with its counters.
fn methods(counters: &Counters) -> impl Iterator<Item = (&'static Rpc, &MethodCounters)> {
    RPCS.iter().zip(&counters.methods)
}

fn calls(text: &mut MetricsText, counters: &Counters) {
    let labels = |rpc: &Rpc| {
        let kind = match (rpc.client_streaming, rpc.server_streaming) {
            (false, false) => "unary",
            (false, true) => "server_stream",
            (true, false) => "client_stream",
            (true, true) => "bidi_stream",
        };
        format!(
            "grpc_method=\"{}\",grpc_service=\"{}\",grpc_type=\"{kind}\"",
            rpc.name, rpc.service
        )
    };
    text.head(
        "grpc_server_started_total",
        "counter",
        "Calls that began, including those of the JSON gateway.",
    );
    for (rpc, counters) in methods(counters) {
        let started = counters.started.load(Relaxed);
        let _ = writeln!(
            text.0,
            "grpc_server_started_total{{{}}} {started}",
            labels(rpc)
        );
    }
    text.head(
        "grpc_server_handled_total",
        "counter",
        "Calls that ended, by code.",
    );
    for (rpc, counters) in methods(counters) {
        for (code, handled) in counters.handled.iter().enumerate() {
            let (handled, name) = (
                handled.load(Relaxed),
                code_name(Code::from_i32(code as i32)),
            );
            if handled > 0 || code == 0 {
                let labels = labels(rpc);
                let _ = writeln!(
                    text.0,
                    "grpc_server_handled_total{{grpc_code=\"{name}\",{labels}}} {handled}"
                );
            }
        }
    }
    for (name, help, counter) in [
        (
            "grpc_server_msg_received_total",
            "Messages received from clients.",
            (|m| &m.received) as fn(&MethodCounters) -> &AtomicU64,
        ),
        (
            "grpc_server_msg_sent_total",
            "Messages sent to clients.",
            |m| &m.sent,
        ),
    ] {
        text.head(name, "counter", help);
        for (rpc, counters) in methods(counters) {
            let _ = writeln!(
                text.0,
                "{name}{{{}}} {}",
                labels(rpc),
                counter(counters).load(Relaxed)
            );
        }
    }
    if counters.is_extensive {
        let name = "grpc_server_handling_seconds";
        text.head(
            name,
            "histogram",
            "Duration of calls, including streams, in seconds.",
        );
        for (rpc, counters) in methods(counters) {
            text.histogram(name, &labels(rpc), &counters.handling, 1e6);
        }
    }
    let (received, sent) = (
        counters.received_bytes.load(Relaxed),
        counters.sent_bytes.load(Relaxed),
    );
    text.counter(
        "etcd_network_client_grpc_received_bytes_total",
        "Bytes of messages received from clients.",
        received,
    );
    text.counter(
        "etcd_network_client_grpc_sent_bytes_total",
        "Bytes of messages sent to clients.",
        sent,
    );
}

/// Go's name of a code, which dashboards filter by.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// Values that explain why a store grows, waits or refuses.
fn problems(text: &mut MetricsText, status: &Status, member_id: u64) {
    let oldest = "Commits since the oldest active read transaction began. Their pages stay in use.";
    let behind = status.oldest_reader.unwrap_or(0);
    text.gauge("libkv_oldest_reader_commits", oldest, behind);
    let held = "How long the write lock has been held, by any process.";
    text.gauge(
        "libkv_writer_held_seconds",
        held,
        status.writer_held_ms.unwrap_or(0) as f64 / 1e3,
    );
    text.head("libkv_alarm", "gauge", "1 for each alarm that is active.");
    for AlarmMember { member, kind } in &status.alarms {
        let _ = writeln!(
            text.0,
            "libkv_alarm{{alarm=\"{kind}\",member=\"{member:x}\"}} 1"
        );
    }
    // POISONED and REMOVED, which cannot be disarmed
    for name in problems::conditions(status) {
        let _ = writeln!(
            text.0,
            "libkv_alarm{{alarm=\"{name}\",member=\"{member_id:x}\"}} 1"
        );
    }
}

fn server(text: &mut MetricsText, store: &Store) {
    let counters = &store.counters;
    text.gauge(
        "libkv_server_connections",
        "Connections that are open.",
        counters.connections.load(Relaxed),
    );
    text.gauge(
        "libkv_server_requests",
        "Requests and streams in progress.",
        counters.requests.load(Relaxed),
    );
    let held = "Bytes of large messages in memory.";
    text.gauge(
        "libkv_server_held_bytes",
        held,
        counters.held_bytes.load(Relaxed),
    );
    text.gauge(
        "libkv_server_uptime_seconds",
        "Time since this server began.",
        store.started.elapsed().as_secs(),
    );
    text.head("libkv_build_info", "gauge", "The version of libkv.");
    let _ = writeln!(
        text.0,
        "libkv_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
}

/// The process, from `/proc`; without `/proc` these series are left out.
fn process(text: &mut MetricsText) {
    if let Ok(fds) = fs::read_dir("/proc/self/fd") {
        // one of them reads this directory
        let open = fds.count().saturating_sub(1);
        for name in ["process_open_fds", "os_fd_used"] {
            text.gauge(name, "Open file descriptors.", open);
        }
    }
    let Ok(process) = Process::myself() else {
        return;
    };
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        for name in ["process_max_fds", "os_fd_limit"] {
            text.gauge(name, "Maximum number of open file descriptors.", most);
        }
    }
    let Ok(stat) = process.stat() else {
        return;
    };
    text.gauge(
        "process_resident_memory_bytes",
        "Resident memory of the process, including mapped pages.",
        stat.rss * procfs::page_size(),
    );
    text.gauge(
        "process_virtual_memory_bytes",
        "Virtual memory of the process.",
        stat.vsize,
    );
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    text.counter(
        "process_cpu_seconds_total",
        "CPU time of the process.",
        seconds(stat.utime + stat.stime),
    );
    if let Ok(boot) = procfs::boot_time_secs() {
        text.gauge(
            "process_start_time_seconds",
            "Start time of the process, in seconds since 1970.",
            (boot as f64 + seconds(stat.starttime)).floor(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals_are_the_unary_rpcs_that_write() {
        let proposals = |service: &str| -> Vec<&str> {
            let of = |rpc: &&Rpc| rpc.service == service && is_proposal(rpc);
            RPCS.iter().filter(of).map(|rpc| rpc.name).collect()
        };
        assert_eq!(
            proposals("etcdserverpb.KV"),
            ["Put", "DeleteRange", "Txn", "Compact"]
        );
        assert_eq!(
            proposals("etcdserverpb.Lease"),
            ["LeaseGrant", "LeaseRevoke"]
        );
        assert!(proposals("etcdserverpb.Watch").is_empty());
        assert!(proposals("v3lockpb.Lock").is_empty());
    }

    /// A new rpc counts as a write unless it is in this list.
    #[test]
    fn rpcs_that_do_not_write_are_known() {
        let reads: Vec<String> = RPCS
            .iter()
            .filter(|rpc| !rpc.writes)
            .map(|rpc| format!("{}/{}", rpc.service, rpc.name))
            .collect();
        assert_eq!(
            reads,
            [
                "etcdserverpb.KV/Range",
                "etcdserverpb.KV/RangeStream",
                "etcdserverpb.Watch/Watch",
                "etcdserverpb.Lease/LeaseTimeToLive",
                "etcdserverpb.Lease/LeaseLeases",
                "etcdserverpb.Cluster/MemberList",
                "etcdserverpb.Maintenance/Status",
                "etcdserverpb.Maintenance/Hash",
                "etcdserverpb.Maintenance/HashKV",
                "etcdserverpb.Maintenance/Snapshot",
                "etcdserverpb.Auth/AuthStatus",
                "etcdserverpb.Auth/UserGet",
                "etcdserverpb.Auth/UserList",
                "etcdserverpb.Auth/RoleGet",
                "etcdserverpb.Auth/RoleList",
                "v3electionpb.Election/Leader",
                "v3electionpb.Election/Observe",
                "grpc.health.v1.Health/Check",
                "grpc.health.v1.Health/Watch",
            ]
        );
    }

    #[test]
    fn bounds_are_formatted_as_in_go() {
        for (bound, text) in [
            (0.005, "0.005"),
            (1.0, "1"),
            (524_288.0, "524288"),
            (8_388_608.0, "8.388608e+06"),
        ] {
            assert_eq!(bound_text(bound), text);
        }
    }

    #[test]
    fn buckets_are_cumulative() {
        let mut text = MetricsText(String::new());
        let mut times = CommitTimes::default();
        (times.count, times.total_us) = (4, 11_500_000);
        (times.within[0], times.within[1]) = (1, 2);
        text.commits("x", "y", &times);
        for line in [
            "x_bucket{le=\"0.001\"} 1",
            "x_bucket{le=\"0.002\"} 3",
            "x_bucket{le=\"8.192\"} 3",
        ] {
            assert!(text.0.contains(line), "{line} is not in\n{}", text.0);
        }
        assert!(
            text.0
                .ends_with("x_bucket{le=\"+Inf\"} 4\nx_sum 11.5\nx_count 4\n"),
            "{}",
            text.0
        );
    }
}
