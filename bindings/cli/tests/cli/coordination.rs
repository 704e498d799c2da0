//! Watches, leases, locks and elections, and the signals that end them.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Place, Running, feed};

fn parse(line: &str) -> Value {
    serde_json::from_str(line).expect("JSON")
}

#[test]
fn watch_shows_the_past_and_then_new_events() {
    let place = Place::new();
    place.kv("put a 1").ok();
    let mut text = place.start("watch a --rev 2 --prev-kv");
    let mut lines = place.start("watch --rev 2 --json");
    assert_eq!([text.line(), text.line(), text.line()], ["PUT", "a", "1"]);
    assert_eq!(parse(&lines.line())["kv"]["value"], json!("1"));
    place.kv("put a 2").ok();
    assert_eq!(
        [text.line(), text.line(), text.line()],
        ["PUT", "a", "1"],
        "the previous pair"
    );
    assert_eq!([text.line(), text.line()], ["a", "2"]);
    place.kv("put other x").ok();
    place.kv("del a").ok();
    assert_eq!(
        [text.line(), text.line(), text.line()],
        ["DELETE", "a", "2"]
    );
    assert_eq!([text.line(), text.line()], ["a", ""]);
    let kinds: Vec<Value> = (0..3)
        .map(|_| parse(&lines.line())["type"].clone())
        .collect();
    assert_eq!(kinds, ["put", "put", "delete"]);
    let (text, lines) = (text.end_by(Signal::INT), lines.end_by(Signal::TERM));
    assert_eq!(
        (text.status, text.err.as_str(), text.out.len()),
        (130, "", 0)
    );
    assert_eq!(
        (lines.status, lines.err.as_str(), lines.out.len()),
        (143, "", 0)
    );
}

#[test]
fn watch_filters_and_ends_after_a_number_of_events() {
    let place = Place::new();
    for line in ["put a 1", "put b 2", "del a"] {
        place.kv(line).ok();
    }
    assert_eq!(
        place.kv("watch --rev 1 --events 2").ok(),
        "PUT\na\n1\nPUT\nb\n2\n"
    );
    assert_eq!(
        place.kv("watch --rev 1 --events 1 --no-put").ok(),
        "DELETE\na\n\n"
    );
    assert_eq!(
        place.kv("watch b --rev 1 --events 1 --no-delete").ok(),
        "PUT\nb\n2\n"
    );
    place.kv("compact 4").ok();
    assert!(
        place
            .kv("watch --rev 2 --events 1")
            .refused(3)
            .contains("compacted")
    );
}

#[test]
fn watch_runs_a_command_for_each_event() {
    let place = Place::new();
    place.kv("put a one").ok();
    place.kv(r"put --escaped b \x00\xff").ok();
    place.kv("del a").ok();
    place.args(["put", "large", &"x".repeat(100_000)]).ok();
    let script = "printf '%s %s %s %s ' $KV_WATCH_REVISION $KV_WATCH_EVENT_TYPE $KV_WATCH_KEY $KV_WATCH_KEY_BASE64; \
        printf '<%s> ' \"${KV_WATCH_VALUE-none}\"; wc -c";
    let out = place
        .args([
            "watch", "--rev", "1", "--events", "4", "--", "sh", "-c", script,
        ])
        .ok();
    let words: Vec<Vec<&str>> = out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(words[0], ["2", "PUT", "a", "YQ==", "<one>", "3"]);
    assert_eq!(words[1], ["3", "PUT", "b", "Yg==", "<none>", "2"]);
    assert_eq!(words[2], ["4", "DELETE", "a", "YQ==", "<>", "0"]);
    assert_eq!(
        words[3],
        ["5", "PUT", "large", "bGFyZ2U=", "<none>", "100000"]
    );
    // commands that fail, that do not read their input, and one that does not exist
    let failing = place.args(["watch", "--rev", "1", "--events", "2", "--", "false"]);
    assert_eq!(
        (failing.status, failing.err.lines().count()),
        (0, 2),
        "{failing:?}"
    );
    assert!(
        place
            .kv("watch --rev 1 --events 1 -- /no/such/program")
            .refused(4)
            .contains("/no/such/program")
    );
}

#[test]
fn lease_from_grant_to_revoke() {
    let place = Place::new();
    assert_eq!(
        place.kv("lease grant 600 --id 1f").ok(),
        "lease 000000000000001f granted with TTL(600s)\n"
    );
    assert!(
        place
            .kv("lease grant 600 --id 1f")
            .refused(3)
            .contains("lease_exists")
    );
    let chosen = place.kv("lease grant 600 --json").json()[0]["id"]
        .as_str()
        .expect("an id")
        .to_string();
    place.kv("put a 1 --lease 1f").ok();
    assert_eq!(
        place.kv("get a --json").json()[0]["lease"],
        json!("000000000000001f")
    );
    let left = place.kv("lease timetolive 1f --keys").ok();
    assert!(
        left.starts_with("lease 000000000000001f granted with TTL(600s), remaining(")
            && left.contains("([a])")
    );
    let left = &place.kv("lease ttl 1f --keys --json").json()[0];
    assert_eq!(
        (&left["granted_ttl_seconds"], &left["keys"]),
        (&json!(600), &json!([{"key": "a"}]))
    );
    assert!(place.kv("lease list").ok().starts_with("found 2 leases\n"));
    assert_eq!(
        place.kv("lease keep-alive 1f --once").ok(),
        "lease 000000000000001f keepalived with TTL(600)\n"
    );
    assert_eq!(
        place.kv("lease revoke 1f").ok(),
        "lease 000000000000001f revoked\n"
    );
    assert_eq!(place.kv("get a").refused(1), "");
    assert_eq!(
        place.kv("lease list --json").json()[0]["leases"],
        json!([chosen])
    );
    assert_eq!(
        place.kv("lease keep-alive 1f").text(),
        "lease 000000000000001f expired or revoked.\n"
    );
    assert_eq!(
        place.kv("lease timetolive 1f").text(),
        "lease 000000000000001f already expired\n"
    );
}

#[test]
fn lease_is_kept_alive_until_a_signal() {
    let place = Place::new();
    place.kv("lease grant 1 --id 1").ok();
    let mut keeping = place.start("lease keep-alive 1");
    for _ in 0..4 {
        // each a third of a second after the one before
        assert_eq!(
            keeping.line(),
            "lease 0000000000000001 keepalived with TTL(1)"
        );
    }
    let ended = keeping.end_by(Signal::INT);
    assert_eq!((ended.status, ended.err.as_str()), (130, ""));
}

/// Holds a lock until its input ends.
fn hold(place: &Place, name: &str) -> Running {
    let mut command = place.command(["lock", name, "sh", "-c", "echo held; read line; exit 7"]);
    command.stdin(Stdio::piped());
    let mut holder = Running::new(command);
    assert_eq!(holder.line(), "held");
    holder
}

#[test]
fn lock_is_held_while_a_command_runs() {
    let place = Place::new();
    let holder = hold(&place, "deploy");
    assert_eq!(place.kv("lock deploy --try true").refused(1), "");
    assert!(
        place
            .kv("lock deploy --timeout 50ms true")
            .refused(6)
            .contains("deploy")
    );
    // a second process waits for the lock
    let mut waiting = place.start("lock deploy env");
    let ended = holder.end();
    assert_eq!(
        (ended.status, ended.err.as_str()),
        (7, ""),
        "kv lock returns the status of its command"
    );
    let mut environment = Vec::new();
    while environment.len() < 2 {
        let line = waiting.line();
        if line.starts_with("KV_LOCK_") {
            environment.push(line);
        }
    }
    environment.sort();
    assert!(
        environment[0].starts_with("KV_LOCK_KEY=deploy/")
            && environment[1].starts_with("KV_LOCK_REV=")
    );
    assert_eq!(waiting.end().status, 0);
    assert_eq!(
        place.kv("range").ok(),
        "",
        "every key of the lock is deleted"
    );
}

#[test]
fn lock_passes_statuses_and_signals() {
    let place = Place::new();
    assert_eq!(
        place.args(["lock", "x", "sh", "-c", "kill -9 $$"]).status,
        137
    );
    assert_eq!(place.kv("lock x /no/such/program").status, 127);
    assert_eq!(place.kv("lock x /").status, 126);
    let mut running =
        Running::new(place.command(["lock", "x", "sh", "-c", "echo $$; exec sleep 1000"]));
    running.line();
    assert_eq!(
        running.end_by(Signal::TERM).status,
        143,
        "the signal was passed to the command"
    );
    assert_eq!(place.kv("lock x --try true").status, 0, "the lock is free");
}

#[test]
fn lock_without_a_command_is_held_until_ctrl_c() {
    let place = Place::new();
    let mut holder = place.start("lock x --json");
    let held = parse(&holder.line());
    assert!(
        held["key"].as_str().expect("a key").starts_with("x/")
            && held["revision"].as_i64() > Some(1)
    );
    let waiting = place.start("lock x");
    // until its key is in the queue
    while place.kv("range --count-only").ok() != "2\n" {}
    let gave_up = waiting.end_by(Signal::INT);
    assert_eq!((gave_up.status, gave_up.text().as_str()), (130, ""));
    assert_eq!(
        place.kv("range --count-only").ok(),
        "1\n",
        "its key was deleted"
    );
    assert_eq!(holder.end_by(Signal::INT).status, 130);
    assert_eq!(place.kv("range --count-only").ok(), "0\n");
}

#[test]
fn lock_that_is_lost_ends_its_command() {
    let place = Place::new();
    // the shortest TTL, so that the loss is noticed soon
    let mut running = Running::new(place.command([
        "lock",
        "x",
        "--ttl",
        "1",
        "sh",
        "-c",
        "echo go; exec sleep 1000",
    ]));
    assert_eq!(running.line(), "go");
    let lease = place.kv("lease list --json").json()[0]["leases"][0]
        .as_str()
        .expect("one")
        .to_string();
    place.kv(&format!("lease revoke {lease}")).ok();
    let ended = running.end();
    assert!(ended.refused(3).contains("lease_lost"), "{ended:?}");
}

#[test]
fn election_has_one_leader_that_others_follow() {
    let place = Place::new();
    assert_eq!(
        place.kv("elect job --leader").status,
        4,
        "there is no store yet"
    );
    let mut first = place.start("elect job one");
    let key = first.line();
    assert!(key.starts_with("job/"));
    assert_eq!(first.line(), "one");
    let mut listener = place.start("elect job --listen --json");
    assert_eq!(parse(&listener.line())["value"], json!("one"));
    assert_eq!(place.kv("elect job --leader").ok(), format!("{key}\none\n"));
    assert!(
        place
            .kv("elect job late --timeout 50ms")
            .refused(6)
            .contains("job")
    );
    let mut second = place.start("elect job two");
    while place.kv("range --count-only").ok() != "2\n" {}
    assert_eq!(first.end_by(Signal::INT).status, 130);
    assert!(second.line().starts_with("job/"));
    assert_eq!(second.line(), "two");
    assert_eq!(parse(&listener.line())["value"], json!("two"));
    assert_eq!(listener.end_by(Signal::TERM).status, 143);
    assert_eq!(second.end_by(Signal::HUP).status, 129);
    assert_eq!(place.kv("elect job --leader").status, 1);
    assert_eq!(
        feed(place.command(["elect", "job"]), b"").status,
        2,
        "it needs a value or --listen"
    );
}

#[test]
fn lease_id_is_printed_as_it_was_given() {
    let place = Place::new();
    place.kv("lease grant 600 --id 1f").ok();
    for line in [
        "lease grant 600 --id 1f",
        "lease revoke 20",
        "put a 1 --lease ffffffffffffffff",
    ] {
        let id = line.split(' ').next_back().expect("a word");
        let ran = place.kv(line);
        assert!(
            ran.refused(3).contains(&format!("(lease {id:0>16})")),
            "{ran:?}"
        );
    }
}

/// `nohup kv …`, and `kv … &` in a script, start it with signals that are ignored.
#[test]
fn signals_ignored_at_start_stay_ignored() {
    let place = Place::new();
    place.kv("put a 1").ok();
    for (name, number) in [("HUP", 1), ("INT", 2), ("TERM", 15)] {
        for line in [
            "watch a --rev 2 --json",
            "lock mine",
            "serve other --listen-client-urls unix:socket",
        ] {
            let mut command = place.shell(
                &format!("trap '' {name}; exec \"$0\" \"$@\""),
                line.split(' '),
            );
            // serve writes its first line to standard error, the others to standard output
            command.stderr(Stdio::piped());
            let mut running = Running::new(command);
            let printed = if line.starts_with("serve") {
                running.err_line()
            } else {
                running.line()
            };
            let masks = Masks::of(running.child.id());
            assert!(
                masks.ignored & 1 << (number - 1) != 0,
                "{name}: {line}: {printed}"
            );
            assert_eq!(
                masks.caught & 1 << (number - 1),
                0,
                "{name}: {line}: {printed}"
            );
            for other in [1, 2, 15].into_iter().filter(|other| *other != number) {
                assert!(
                    masks.caught & 1 << (other - 1) != 0,
                    "{name}: {line}: {other} still ends it"
                );
            }
            let (ignored, ends) = match name {
                "HUP" => (Signal::HUP, Signal::TERM),
                "INT" => (Signal::INT, Signal::TERM),
                _ => (Signal::TERM, Signal::INT),
            };
            running.signal(ignored);
            let ended = running.end_by(ends);
            let expected = if line.starts_with("serve") {
                0
            } else {
                128 + ends.as_raw()
            };
            assert_eq!(ended.status, expected, "{name}: {line}: {ended:?}");
        }
    }
}

/// The signals that a process ignores and catches: bit 0 is signal 1.
struct Masks {
    ignored: u64,
    caught: u64,
}

impl Masks {
    fn of(pid: u32) -> Masks {
        let status =
            std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
        let mask = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .expect("a line");
            u64::from_str_radix(line.trim(), 16).expect("a mask")
        };
        Masks {
            ignored: mask("SigIgn:"),
            caught: mask("SigCgt:"),
        }
    }
}
