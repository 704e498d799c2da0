//! Output and input on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{Place, code};

/// Runs a command on a new pseudo-terminal.
struct Terminal {
    master: File,
    child: Child,
    /// Bytes that were read but not yet matched.
    came: Vec<u8>,
}

impl Terminal {
    fn start(mut command: Command) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new())
            .expect("the name of the terminal")
            .into_string()
            .expect("text");
        let open = || {
            Stdio::from(
                File::options()
                    .read(true)
                    .write(true)
                    .open(&name)
                    .expect("a terminal"),
            )
        };
        let child = command
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .env("TERM", "xterm")
            .spawn()
            .expect("kv runs");
        // the command holds this process's descriptors of the terminal: dropping it closes them
        drop(command);
        Terminal {
            master: File::from(master),
            child,
            came: Vec::new(),
        }
    }

    /// Reads until this text has been read. Later bytes are kept for the next call.
    fn until(&mut self, text: &str) {
        let mut piece = [0; 4096];
        loop {
            let came = String::from_utf8_lossy(&self.came).into_owned();
            if let Some(at) = came.find(text) {
                self.came = came.into_bytes().split_off(at + text.len());
                return;
            }
            match self.master.read(&mut piece) {
                Ok(read) if read > 0 => self.came.extend_from_slice(&piece[..read]),
                _ => panic!("{text:?} did not come, but {came:?}"),
            }
        }
    }

    /// Reads to the end. Returns the output and the exit status.
    fn end(mut self) -> (String, i32) {
        let mut came = Vec::new();
        // reading a terminal whose other side is closed fails with EIO
        let _ = self.master.read_to_end(&mut came);
        let status = code(self.child.wait().expect("it ends"));
        (String::from_utf8_lossy(&came).replace("\r\n", "\n"), status)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn on_terminal(place: &Place, line: &str, variable: Option<(&str, &str)>) -> String {
    let mut command = place.command(line.split(' '));
    command.envs(variable);
    let (printed, status) = Terminal::start(command).end();
    assert_eq!(status, 0, "{line}: {printed}");
    printed
}

#[test]
fn colour_is_for_terminals_and_can_be_disabled() {
    let place = Place::new();
    place.kv("put a 1").ok();
    assert!(on_terminal(&place, "range", None).contains("\x1b["));
    assert!(on_terminal(&place, "history a", None).contains("\x1b["));
    assert_eq!(
        on_terminal(&place, "range", Some(("NO_COLOR", "1"))),
        "a\t1\n"
    );
    assert_eq!(on_terminal(&place, "range --color never", None), "a\t1\n");
    assert_eq!(place.kv("range").ok(), "a\t1\n");
    assert!(place.kv("range --color always").ok().contains("\x1b["));
    assert!(!on_terminal(&place, "get a --json", None).contains('\x1b'));
}

#[test]
fn control_bytes_are_escaped_on_a_terminal() {
    let place = Place::new();
    place.kv(r"put --escaped a \x1b[2J").ok();
    assert_eq!(
        on_terminal(&place, "get a --print-value-only", None),
        "\\x1b[2J\n"
    );
    assert_eq!(place.kv("get a --print-value-only").out, b"\x1b[2J\n");
    assert_eq!(
        on_terminal(&place, "get a --print-value-only --raw", None),
        "\x1b[2J"
    );
}

#[test]
fn progress_is_shown_on_a_terminal() {
    let place = Place::new();
    place.kv("put a 1").ok();
    assert!(on_terminal(&place, "export file", None).contains("pairs"));
    assert!(on_terminal(&place, "-s other import file", None).contains("1 pair written"));
    assert_eq!(
        place.kv("export file --force").err,
        "",
        "no progress without a terminal"
    );
}

#[test]
fn shell_on_a_terminal_has_prompt_and_history() {
    let place = Place::new();
    let mut shell = Terminal::start(place.command(["shell"]));
    shell.until("kv> ");
    shell.master.write_all(b"put a 1\r").expect("it reads");
    shell.until("OK");
    shell.until("kv> ");
    // Ctrl-C ends a watch, and the shell continues
    shell
        .master
        .write_all(b"watch a --rev 2\r")
        .expect("it reads");
    shell.until("PUT");
    kill_process(Pid::from_child(&shell.child), Signal::INT).expect("it runs");
    shell.until("kv> ");
    shell.master.write_all(b"histo\t").expect("it reads");
    shell.until("history ");
    shell.master.write_all(b"a\r").expect("it reads");
    shell.until("PUT");
    shell.until("kv> ");
    shell.master.write_all(b"nonsense\r").expect("it reads");
    shell.until("unrecognized");
    shell.until("kv> ");
    shell.master.write_all(b"exit\r").expect("it reads");
    let (_, status) = shell.end();
    assert_eq!(status, 0);
    let history = std::fs::read_to_string(place.path("kv/history")).expect("the history file");
    assert!(
        history.contains("put a 1") && history.contains("history a"),
        "{history}"
    );
}

#[test]
fn control_bytes_are_escaped_in_json() {
    let place = Place::new();
    // JSON requires escapes only for the control characters of ASCII, not for those of Latin-1 and
    // not for those that change the direction of the text
    let value = "a\u{7f}\u{9b}2J\u{202e}\u{61c}\u{1f600}\n";
    place.args(["put", "a", value]).ok();
    for line in ["get a --json", "history a --json", "diff 1 0 --json"] {
        let printed = on_terminal(&place, line, None);
        assert!(
            printed
                .trim_end()
                .chars()
                .all(|c| matches!(c, ' '..='~' | '\u{1f600}')),
            "{line}: {printed:?}"
        );
        let document: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        let pair = document
            .get("kv")
            .or_else(|| document.get("after"))
            .unwrap_or(&document);
        assert_eq!(pair["value"], value, "{line}");
    }
    assert_eq!(
        place.kv("get a").ok(),
        "a\na\\x7f\\xc2\\x9b2J\\xe2\\x80\\xae\\xd8\\x9c\u{1f600}\\n\n"
    );
}

#[test]
fn control_bytes_are_escaped_in_error_messages() {
    let place = Place::new();
    for (line, input) in [
        ("txn", "\x1b[2J\n"),
        ("txn", "mod(\"\x1b[2J\") > x\n"),
        ("txn", "\npuf \u{9b}2J\n"),
        ("shell", "\u{9b}2J\n"),
        ("shell", "put \"\x1b[2J\n"),
    ] {
        let ran = place.fed(line, input);
        let printed = ran.refused(2);
        assert!(
            printed.contains("2J") && !printed.contains(['\x1b', '\u{9b}']),
            "{line}: {printed:?}"
        );
    }
}

#[test]
fn echo_is_restored_after_a_password_prompt() {
    use rustix::termios::{LocalModes, tcgetattr};

    let place = Place::new();
    let line = ["-s", "etcd://127.0.0.1:1", "--user", "root", "get", "a"];
    let mut prompt = Terminal::start(place.command(line));
    prompt.until("Password for root: ");
    let shows = |terminal: &File| {
        tcgetattr(terminal)
            .expect("a terminal")
            .local_modes
            .contains(LocalModes::ECHO)
    };
    let master = prompt.master.try_clone().expect("a descriptor");
    assert!(!shows(&master), "the password is not shown");
    kill_process(Pid::from_child(&prompt.child), Signal::INT).expect("it runs");
    let (_, status) = prompt.end();
    assert_eq!((status, shows(&master)), (130, true));
}

#[test]
fn new_password_is_prompted_twice() {
    let place = Place::new();
    for (again, wanted, expected) in [
        ("other\r", "the two passwords differ", 2),
        ("secret\r", "User root created", 0),
    ] {
        let mut asking = Terminal::start(place.command(["user", "add", "root"]));
        asking.until("Password of root: ");
        asking.master.write_all(b"secret\r").expect("it reads");
        asking.until("Type password of root again for confirmation: ");
        asking.master.write_all(again.as_bytes()).expect("it reads");
        let (printed, status) = asking.end();
        assert_eq!(status, expected, "{printed}");
        assert!(
            printed.contains(wanted) && !printed.contains("secret"),
            "{printed}"
        );
    }
    assert_eq!(place.kv("user list").ok(), "root\n");
}
