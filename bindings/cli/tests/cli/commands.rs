//! Reading, writing, txns, history: what each command prints, as text and as JSON.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use crate::support::{Place, feed};

/// A store where `a` was put twice, `b` put and deleted, and `c` put: revision 6.
fn store() -> Place {
    let place = Place::new();
    for line in ["put a 1", "put a 2", "put b 3", "del b", "put c 4"] {
        place.kv(line).ok();
    }
    place
}

#[test]
fn no_arguments_print_an_introduction() {
    let place = Place::new();
    let printed = place.kv("").ok();
    for word in ["kv put greeting hello", "kv serve", "kv --help", "KV_STORE"] {
        assert!(printed.contains(word), "{word}");
    }
}

#[test]
fn introduction_examples_work() {
    let place = Place::new();
    assert_eq!(place.kv("put greeting hello").ok(), "OK\n");
    assert_eq!(place.kv("put greeting goodbye").ok(), "OK\n");
    assert_eq!(place.kv("get greeting").ok(), "greeting\ngoodbye\n");
    assert_eq!(place.kv("get greeting --at 2").ok(), "greeting\nhello\n");
    assert_eq!(
        place.kv("history greeting").ok(),
        "3\tPUT\tgreeting\tgoodbye\n2\tPUT\tgreeting\thello\n"
    );
}

#[test]
fn help_has_examples_and_exit_statuses() {
    let place = Place::new();
    let top = place.kv("--help").ok();
    assert!(
        top.contains("Exit status:") && top.contains("unknown_outcome"),
        "{top}"
    );
    let commands = "get put del range txn compact watch lease lock elect status check history diff events export \
        import copy mirror snapshot restore serve shell alarm member move-leader hash-kv auth user role completions man";
    for command in commands.split_whitespace() {
        assert!(
            top.contains(&format!("  {command} ")),
            "{command} is not in the help"
        );
        let help = place.kv(&format!("{command} --help")).ok();
        assert!(
            help.contains("Examples:") && help.contains("--json"),
            "{command}"
        );
    }
    assert!(place.kv("--version").ok().starts_with("kv "));
}

#[test]
fn store_is_named_by_option_or_variable() {
    let place = store();
    assert_eq!(place.kv("-s store get c --print-value-only").ok(), "4\n");
    assert_eq!(
        place.kv("get c --print-value-only --store store").ok(),
        "4\n"
    );
    let mut command = place.command(["get", "c"]);
    command.env_remove("KV_STORE");
    let printed = feed(command, b"");
    assert!(printed.refused(2).contains("KV_STORE"));
    // no directory is created for an address without a scheme
    assert!(
        place
            .kv("-s 127.0.0.1:1 put a b")
            .refused(2)
            .contains("etcd://127.0.0.1:1")
    );
    assert!(
        place
            .kv("--user a:b get c")
            .refused(2)
            .contains("--user is for clusters")
    );
}

#[test]
fn get_shows_key_and_value() {
    let place = store();
    assert_eq!(place.kv("get a").ok(), "a\n2\n");
    assert_eq!(place.kv("get a --at 2").ok(), "a\n1\n");
    assert_eq!(place.kv("get a --rev 2").ok(), "a\n1\n");
    assert_eq!(place.kv("get b --at 4 --print-value-only").ok(), "3\n");
    assert_eq!(place.kv("get a c").ok(), "a\n2\n");
    assert_eq!(place.kv("get b --from-key").ok(), "c\n4\n");
    assert_eq!(
        place.args(["get", "", "--prefix", "--keys-only"]).ok(),
        "a\nc\n"
    );
    assert_eq!(
        place.args(["get", "", "--prefix", "--count-only"]).ok(),
        "2\n"
    );
    assert_eq!(
        place.args(["get", "", "--prefix", "--limit", "1"]).ok(),
        "a\n2\n"
    );
    assert_eq!(
        place
            .args(["get", "", "--prefix", "--keys-only", "--order", "DESCEND"])
            .ok(),
        "c\na\n"
    );
    assert_eq!(
        place
            .args([
                "get",
                "",
                "--prefix",
                "--keys-only",
                "--sort-by",
                "CREATE",
                "--order=descend"
            ])
            .ok(),
        "c\na\n"
    );
    assert_eq!(
        place
            .args(["get", "", "--prefix", "--keys-only", "--min-mod-rev", "4"])
            .ok(),
        "c\n"
    );
    assert_eq!(
        place.kv("get missing --prefix").ok(),
        "",
        "an empty range is not a failure"
    );
    assert_eq!(place.kv("get missing").refused(1), "");
}

#[test]
fn get_in_json() {
    let place = store();
    let a = json!({"key": "a", "value": "2", "create_revision": 2, "mod_revision": 3, "version": 2, "lease": "0"});
    let c = json!({"key": "c", "value": "4", "create_revision": 6, "mod_revision": 6, "version": 1, "lease": "0"});
    assert_eq!(place.kv("get a --json").json()[..], [a.clone()][..]);
    assert_eq!(place.kv("--json range").json(), [a, c]);
    assert_eq!(
        place.kv("range --json --count-only").json(),
        [json!({"revision": 6, "count": 2})]
    );
    let absent = place.kv("get missing --json");
    assert_eq!((absent.refused(1), absent.text().as_str()), ("", ""));
}

#[test]
fn bytes_that_are_not_utf8_are_shown_without_loss() {
    let place = Place::new();
    let (key, value) = (
        OsStr::from_bytes(b"\xff\xfekey"),
        OsStr::from_bytes(b"\x80\x1b[2J"),
    );
    place.args([OsStr::new("put"), key, value]).ok();
    let get = |more: &[&str]| {
        let options = more.iter().map(|option| OsStr::new(*option));
        place.args([OsStr::new("get"), key].into_iter().chain(options))
    };
    assert_eq!(get(&[]).ok(), "\\xff\\xfekey\n\\x80\\x1b[2J\n");
    assert_eq!(get(&["--raw"]).out, b"\xff\xfekey\n\x80\x1b[2J\n");
    assert_eq!(get(&["--print-value-only"]).out, b"\x80\x1b[2J\n");
    assert_eq!(get(&["--print-value-only", "--raw"]).out, b"\x80\x1b[2J");
    let json = get(&["--json"]).json();
    assert_eq!(
        (&json[0]["key_base64"], &json[0]["value_base64"]),
        (&json!("//5rZXk="), &json!("gBtbMko="))
    );
    assert_eq!(json[0].get("key"), None);
    assert_eq!(place.kv("range").ok(), "\\xff\\xfekey\t\\x80\\x1b[2J\n");
    // the same notations are read
    assert_eq!(
        place.kv(r"get --escaped \xff\xfekey").ok(),
        "\\xff\\xfekey\n\\x80\\x1b[2J\n"
    );
    assert_eq!(
        place.kv("get --hex fffe6b6579").ok(),
        "fffe6b6579\n801b5b324a\n"
    );
    place.kv(r"put --escaped nul\x00 a\nb\\").ok();
    assert_eq!(
        place.kv("get --hex 6e756c00 --print-value-only").ok(),
        "610a625c\n"
    );
    assert!(
        !place
            .kv(r"get --escaped nul\x00 --print-value-only --raw")
            .refused(2)
            .is_empty()
    );
    assert!(place.kv("get --hex xyz").refused(2).contains("hexadecimal"));
}

#[test]
fn value_comes_from_the_line_a_file_or_the_input() {
    let place = Place::new();
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    std::fs::write(place.path("file"), &all).expect("a file");
    place.kv("put file --file file").ok();
    place.fed("put dash -", &all).ok();
    place.fed("put none", &all).ok();
    place.fed("put file_dash --file -", &all).ok();
    for key in ["file", "dash", "none", "file_dash"] {
        assert_eq!(
            place.kv(&format!("get {key} --print-value-only --raw")).out,
            all,
            "{key}"
        );
    }
    place.kv("put -- key -5").ok();
    assert_eq!(place.kv("get key --print-value-only").ok(), "-5\n");
    assert!(
        place
            .kv("put key --file missing")
            .refused(4)
            .contains("missing")
    );
}

#[test]
fn put_and_del_with_their_options() {
    let place = store();
    assert_eq!(place.kv("put a 9 --prev-kv").ok(), "OK\na\n2\n");
    assert_eq!(
        place.kv("put new 9 --prev-kv --json").json(),
        [json!({"revision": 8, "prev_kv": null})]
    );
    assert_eq!(place.kv("put a --ignore-value").ok(), "OK\n");
    assert_eq!(place.kv("get a --print-value-only").ok(), "9\n");
    assert!(
        place
            .kv("put missing --ignore-value")
            .refused(3)
            .contains("key_not_found")
    );
    assert!(
        place
            .kv("put a 1 --lease 77")
            .refused(3)
            .contains("lease_not_found")
    );
    assert!(
        place
            .args(["put", "", "1"])
            .refused(2)
            .contains("key is not provided")
    );
    assert_eq!(place.kv("del missing").ok(), "0\n");
    assert_eq!(place.kv("del a --prev-kv").ok(), "1\na\n9\n");
    let gone = place
        .args(["del", "", "--prefix", "--prev-kv", "--json"])
        .json();
    assert_eq!(
        (&gone[0]["deleted"], &gone[0]["prev_kvs"][1]["key"]),
        (&json!(2), &json!("new"))
    );
    assert_eq!(place.kv("range").ok(), "");
}

#[test]
fn range_prints_one_line_per_pair() {
    let place = store();
    place.args(["put", "lines", "one\ntwo\\"]).ok();
    assert_eq!(place.kv("range").ok(), "a\t2\nc\t4\nlines\tone\\ntwo\\\\\n");
    assert_eq!(
        place.kv("range b --from-key -l --limit 1").ok(),
        "6\t6\t1\t-\tc\t4\n"
    );
    assert_eq!(place.kv("ls --keys-only --at 4").ok(), "a\nb\n");
}

#[test]
fn txn_in_the_notation_of_etcdctl() {
    let place = store();
    let text = "version(\"new\") = \"0\"\nvalue(\"a\") = \"2\"\n\nput new \"with \\\"quotes\\\"\"\nget a\ndel c --prev-kv\n\nget a\n\n";
    assert_eq!(
        place.fed("txn", text).ok(),
        "SUCCESS\n\nOK\n\na\n2\n\n1\nc\n4\n"
    );
    assert_eq!(
        place.kv("get new --print-value-only").ok(),
        "with \"quotes\"\n"
    );
    let failed = place.fed("txn", text);
    assert_eq!(
        (failed.refused(1), failed.text().as_str()),
        ("", "FAILURE\n\na\n2\n")
    );
}

#[test]
fn txn_in_json_and_its_refusals() {
    let place = store();
    let json = place
        .fed("txn --json", "\n\nput x 1 --prev-kv\nget a\ndel c\n")
        .json();
    assert_eq!(json[0]["succeeded"], json!(true));
    assert_eq!(
        json[0]["responses"],
        json!([]),
        "the list for success is empty"
    );
    let json = place
        .fed("txn --json", "\nput x 1 --prev-kv\nget a\ndel c\n")
        .json();
    assert_eq!(
        json[0]["responses"][0],
        json!({"put": {"revision": 7, "prev_kv": null}})
    );
    assert_eq!(
        json[0]["responses"][1]["get"]["kvs"][0]["value"],
        json!("2")
    );
    assert_eq!(json[0]["responses"][2]["del"]["deleted"], json!(1));
    assert!(place.fed("txn", "nonsense\n").refused(2).contains("line 1"));
    assert!(
        place
            .fed("txn", "\nput x 1\nput x 2\n")
            .refused(2)
            .contains("duplicate")
    );
}

#[test]
fn txn_counts_as_get_does() {
    let place = store();
    let text = "\nget a\nget '' --prefix --count-only\nget missing --count-only\n\n";
    assert_eq!(place.fed("txn", text).ok(), "SUCCESS\n\na\n2\n\n2\n\n0\n");
    let failed = place.fed("txn", "version(a) = 0\n\nget a\n\nget a --count-only\n");
    assert_eq!(
        (failed.refused(1), failed.text().as_str()),
        ("", "FAILURE\n\n1\n")
    );
}

#[test]
fn history_changes_and_diff() {
    let place = store();
    assert_eq!(place.kv("history b").ok(), "5\tDELETE\tb\n4\tPUT\tb\t3\n");
    assert_eq!(place.kv("history a --limit 1").ok(), "3\tPUT\ta\t2\n");
    assert_eq!(place.kv("history a --at 2").ok(), "2\tPUT\ta\t1\n");
    let event = &place.kv("history b --json").json()[0];
    assert_eq!(
        *event,
        json!({"revision": 5, "type": "delete", "key": "b", "kv": null, "prev_kv": null})
    );
    assert_eq!(
        place.kv("events --after 4").ok(),
        "5\tDELETE\tb\n6\tPUT\tc\t4\n"
    );
    assert_eq!(
        place.kv("events --after 1 --upto 3 a").ok(),
        "2\tPUT\ta\t1\n3\tPUT\ta\t2\n"
    );
    assert_eq!(place.kv("events --limit 1").ok(), "2\tPUT\ta\t1\n");
    assert_eq!(
        place.kv("diff 2 0").ok(),
        "- 2\ta\t1\n+ 3\ta\t2\n+ 6\tc\t4\n"
    );
    let change = &place.kv("diff 4 5 --json").json()[0];
    assert_eq!(
        (&change["key"], &change["before"]["value"], &change["after"]),
        (&json!("b"), &json!("3"), &json!(null))
    );
    assert_eq!(place.kv("history missing").ok(), "");
}

#[test]
fn compaction_removes_the_past() {
    let place = store();
    assert_eq!(
        place.kv("compact 5 --physical").ok(),
        "compacted revision 5\n"
    );
    assert!(place.kv("get a --at 4").refused(3).contains("compacted"));
    assert!(place.kv("compact 5").refused(3).contains("compacted"));
    assert!(place.kv("compact 50").refused(3).contains("future"));
    assert_eq!(place.kv("events").ok(), "6\tPUT\tc\t4\n");
    assert!(place.kv("status").ok().contains("from revision 5 on"));
    assert_eq!(
        place.kv("compact 6 --json").json(),
        [json!({"revision": 6, "compacted_revision": 6})]
    );
}

#[test]
fn time_in_place_of_a_revision() {
    let place = store();
    // 0m is now: all revisions are older
    assert_eq!(place.kv("get a --at 0m").ok(), "a\n2\n");
    let long_ago = place.kv("get a --at 1970-01-02T00:00:00Z");
    assert!(long_ago.status == 1 || long_ago.status == 3, "{long_ago:?}");
    assert!(
        place
            .kv("get a --at yesterday")
            .refused(2)
            .contains("or an age")
    );
}

#[test]
fn status_and_check() {
    let place = store();
    let printed = place.kv("status").ok();
    for line in [
        "revision    6 (all of the history is kept)",
        "keys        2",
        "durability  sync",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    let status = &place.kv("status --json").json()[0];
    assert_eq!(
        (&status["revision"], &status["keys"], &status["trouble"]),
        (&json!(6), &json!(2), &json!([]))
    );
    assert_eq!(place.kv("check").ok(), "2 keys and 5 events: no problem\n");
    assert_eq!(
        place.kv("check --json").json(),
        [json!({"keys": 2, "events": 5, "problems": []})]
    );
}

#[test]
fn alarm_is_listed_and_disarmed() {
    let place = Place::new();
    let options = libkv::Options::new()
        .max_bytes(256 << 10)
        .limits(libkv::LimitsPreset::Etcd);
    let db = libkv::Db::open(place.path("store"), options).expect("a store");
    let full = (0..)
        .map(|n| db.put(libkv::Put::new(format!("key{n}"), vec![b'x'; 32 << 10])))
        .find_map(Result::err);
    assert_eq!(full.expect("it ends").code(), libkv::Code::Full);
    assert!(place.kv("put a b").refused(7).contains("full"));
    let alarms = place.kv("alarm list").ok();
    assert!(
        alarms.starts_with("memberID:") && alarms.contains("alarm:NOSPACE"),
        "{alarms}"
    );
    assert_eq!(
        place.kv("alarm list --json").json()[0]["alarm"],
        json!("NOSPACE")
    );
    assert!(place.kv("status").ok().contains("kv alarm disarm"));
    place.args(["del", "", "--prefix"]).ok();
    let revision = db.status().expect("it is open").revision;
    place.kv(&format!("compact {revision} --physical")).ok();
    assert!(place.kv("alarm disarm nospace").ok().contains("NOSPACE"));
    assert_eq!(place.kv("alarm list").ok(), "");
    place.kv("put a b").ok();
}

#[test]
fn manual_and_completions() {
    let place = Place::new();
    assert!(place.kv("man").ok().contains(".TH kv 1"));
    assert!(place.kv("man get").ok().contains("kv\\-get"));
    // the directory is created if it does not exist
    for _ in 0..2 {
        place.kv("man --dir share/man/man1").ok();
    }
    for page in [
        "kv.1",
        "kv-get.1",
        "kv-lease-grant.1",
        "kv-serve.1",
        "kv-auth-enable.1",
        "kv-user-grant-role.1",
        "kv-role-grant-permission.1",
    ] {
        let page = std::fs::read_to_string(place.path("share/man/man1").join(page)).expect(page);
        assert!(page.contains(".SH SYNOPSIS"));
    }
    std::fs::write(place.path("file"), "").expect("a file");
    assert!(
        place
            .kv("man --dir file/man1")
            .refused(8)
            .contains("file/man1")
    );
    for shell in ["bash", "zsh", "fish"] {
        let script = place.kv(&format!("completions {shell}")).ok();
        assert!(
            ["history", "grant-permission", "no-password"]
                .iter()
                .all(|word| script.contains(word))
                && script.len() > 10_000,
            "{shell}"
        );
    }
}

#[test]
fn compact_by_age_succeeds_when_already_compacted() {
    let place = store();
    for _ in 0..2 {
        assert!(place.kv("compact 720h").ok().contains("compacted"));
    }
    place.kv("compact 6").ok();
    assert_eq!(
        place.kv("compact 720h").ok(),
        "nothing to remove: compacted up to revision 6\n"
    );
    let done = place.kv("compact 720h --json").json();
    assert_eq!(done, [json!({"revision": 6, "compacted_revision": 6})]);
    assert!(
        place.kv("compact 5").refused(3).contains("compacted"),
        "a revision given as a number is not adjusted"
    );
}
