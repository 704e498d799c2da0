//! The shell, fed from a pipe.

use crate::support::Place;

#[test]
fn shell_runs_one_command_a_line() {
    let place = Place::new();
    let script = "# a comment\n\nput a 1\nput 'two words' \"line\\none\"\nkv get a\nrange\nhelp\n";
    let out = place.fed("shell", script).ok();
    assert!(
        out.starts_with("OK\nOK\na\n1\na\t1\ntwo words\tline\\none\n"),
        "{out}"
    );
    assert!(out.contains("help COMMAND") && out.contains("\n  history     List the events"));
    assert!(!out.contains("\n  serve"), "{out}");
}

#[test]
fn shell_continues_after_errors_and_returns_their_status() {
    let place = Place::new();
    let ran = place.fed(
        "shell",
        "get a --at 99\nnonsense\nput a 1\nget missing\nget a\nexit\nput a 2\n",
    );
    assert!(
        ran.refused(3).contains("future_revision") && ran.err.contains("nonsense"),
        "{ran:?}"
    );
    assert_eq!(ran.text(), "OK\na\n1\n");
    let ran = place.fed("shell --stop", "get a --at 99\nget a\n");
    assert_eq!((ran.status, ran.text().as_str()), (3, ""));
    assert_eq!(
        place.fed("shell", "get missing\n").status,
        0,
        "a missing key is status 1"
    );
    assert!(place.fed("shell", "shell\n").refused(2).contains("already"));
    assert!(place.fed("shell", "put \"a\n").refused(2).contains("quote"));
    assert!(
        place
            .fed("shell", "serve x\n")
            .refused(2)
            .contains("serve is not available inside kv shell")
    );
}

#[test]
fn shell_txn_reads_its_blocks_from_the_script() {
    let place = Place::new();
    let out = place
        .fed(
            "shell",
            "txn\nversion(a) = 0\n\nput a 1\n\nget a\n\nget a\n",
        )
        .ok();
    assert_eq!(out, "SUCCESS\n\nOK\na\n1\n");
}

#[test]
fn shell_options_hold_for_its_commands() {
    let place = Place::new();
    let out = place.fed(
        "-s :memory: shell --json",
        "put a 1\nget a --hex\nget 61 --hex\n",
    );
    // --hex belongs to the command that has it
    assert!(out.err.contains("hexadecimal"), "{out:?}");
    assert!(
        out.text()
            .starts_with("{\"revision\":2,\"prev_kv\":null}\n{\"key\":\"a\""),
        "{out:?}"
    );
    place.kv("-s other put b 2").ok();
    assert_eq!(place.fed("shell", "-s other get b\nget b\n").ok(), "b\n2\n");
}

#[test]
fn shell_refuses_a_line_that_is_not_utf8() {
    let place = Place::new();
    let ran = place.fed("shell", b"put a 1\nput b \xff\nget a\n");
    assert!(ran.refused(2).contains("not UTF-8"), "{ran:?}");
    assert_eq!(ran.text(), "OK\na\n1\n", "the shell continues");
    let ran = place.fed("txn", b"\nput a \xff\n");
    assert!(
        ran.refused(2).contains("line 2: ") && ran.err.contains("not UTF-8"),
        "{ran:?}"
    );
    assert_eq!(
        place.fed("txn", "\nput a \"\\xff\"\n").status,
        0,
        "the notation for this byte"
    );
}
