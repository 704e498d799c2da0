//! An etcdctl that runs command lines on one server, and its output without ids, sizes and times.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a test waits for output.
pub const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// Runs one version of etcdctl on one server.
pub struct Session {
    program: PathBuf,
    url: String,
    /// Options of every command line.
    pub options: Vec<String>,
    /// Names and their lease ids.
    ids: Vec<(String, String)>,
    running: Vec<(String, Running)>,
}

struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Session {
    /// An etcdctl of this program.
    pub fn new(program: &Path, url: &str) -> Session {
        let (program, url) = (program.to_path_buf(), url.to_string());
        Session {
            program,
            url,
            options: Vec::new(),
            ids: Vec::new(),
            running: Vec::new(),
        }
    }

    fn command(&self, line: &str) -> (Command, String) {
        let mut line = line.to_string();
        for (name, id) in &self.ids {
            line = line.replace(&format!("{{{name}}}"), id);
        }
        let (words, input) = line.split_once(" <<< ").unwrap_or((&line, ""));
        let mut command = Command::new(&self.program);
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.url])
            .args(&self.options)
            .args(split(words));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        (command, input.replace("\\n", "\n"))
    }

    /// Runs a command line to its end. Returns its output, its errors and its exit status.
    pub fn execute(&mut self, line: &str) -> String {
        let (mut command, input) = self.command(line);
        let mut child = command.spawn().expect("etcdctl starts");
        // a command that reads no input closes it early: the error does not matter
        let _ = child
            .stdin
            .take()
            .expect("piped")
            .write_all(input.as_bytes());
        let done = child.wait_with_output().expect("etcdctl ends");
        let errors = String::from_utf8_lossy(&done.stderr);
        // since 3.4 the log is written to standard error too
        let errors = errors
            .lines()
            .filter(|line| !line.starts_with('{'))
            .map(|line| format!("\n! {line}"));
        let printed = String::from_utf8_lossy(&done.stdout).into_owned();
        let status = done
            .status
            .code()
            .map_or(String::from("a signal"), |code| code.to_string());
        format!(
            "{}{}\nstatus {status}",
            printed.trim_end_matches('\n'),
            errors.collect::<String>()
        )
    }

    /// Runs a line of the table. Returns the text to compare.
    pub fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let response = match words[..] {
            ["&", name, rest] => {
                self.start(name, rest);
                String::new()
            }
            ["wait", name, count] => self.wait(name, count.parse().expect("a number of lines")),
            ["sort", name, count] => {
                let response = self.wait(name, count.parse().expect("a number of lines"));
                let mut lines: Vec<&str> = response.split('\n').collect();
                lines.sort_unstable();
                lines.join("\n")
            }
            ["end", name] => {
                self.end(name);
                String::new()
            }
            [name, "=", rest] => {
                let response = self.execute(rest);
                let id = response
                    .split([' ', '\n'])
                    .find(|word| is_id(word))
                    .unwrap_or_else(|| panic!("{line}: {response}"));
                self.ids.push((name.to_string(), id.to_string()));
                response
            }
            _ => self.execute(line),
        };
        self.masked(&response)
    }

    /// Starts one in the background.
    pub fn start(&mut self, name: &str, line: &str) {
        let (mut command, input) = self.command(line);
        let mut child = command
            .stderr(Stdio::null())
            .spawn()
            .expect("etcdctl starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("written");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // closing the input would end an interactive watch
            let _stdin = stdin;
            stdout
                .lines()
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(line)));
        });
        self.running.push((
            name.into(),
            Running {
                child,
                lines,
                seen: Vec::new(),
            },
        ));
    }

    fn wait(&mut self, name: &str, count: usize) -> String {
        let (_, running) = self
            .running
            .iter_mut()
            .find(|(known, _)| known == name)
            .expect("a started command");
        let until = Instant::now() + WAIT_LIMIT;
        while running.seen.len() < count {
            match running
                .lines
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(line) => running.seen.push(line),
                Err(why) => return format!("{}\nno more lines: {why}", running.seen.join("\n")),
            }
        }
        running.seen[..count].join("\n")
    }

    /// Ends a command with SIGTERM and waits for its end. SIGINT would be ignored if a shell
    /// started this test in the background.
    pub fn end(&mut self, name: &str) {
        let at = self
            .running
            .iter()
            .position(|(known, _)| known == name)
            .expect("a started command");
        let (_, mut running) = self.running.remove(at);
        let _ = Command::new("kill")
            .args(["-TERM", &running.child.id().to_string()])
            .status();
        let until = Instant::now() + WAIT_LIMIT;
        while running.child.try_wait().expect("a child process").is_none() {
            assert!(Instant::now() < until, "{name} does not end after SIGTERM");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Replaces what differs between any two servers.
    fn masked(&self, text: &str) -> String {
        let mut text = text.replace(&self.url, "URL");
        text = text.replace(
            self.url
                .split_once("://")
                .map_or("", |(_, address)| address),
            "ADDRESS",
        );
        for (name, id) in &self.ids {
            let number = i64::from_str_radix(id, 16).expect("an id");
            text = text
                .replace(id, &format!("{{{name}}}"))
                .replace(&number.to_string(), &format!("{{{name}}}"));
        }
        // our server has no peer URLs
        let text = text.lines().map(mask_line).collect::<Vec<_>>().join("\n");
        text.replace("\"PeerURL\" : \"PEER\"\n", "")
            .replace("\"peerURLs\":[\"PEER\"],", "")
            .replace("PEER", "")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for (_, running) in &mut self.running {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

/// Splits at blanks, except between `'` and `'`.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    let mut empty = true;
    for c in line.trim().chars() {
        match c {
            '\'' => (quoted, empty) = (!quoted, false),
            ' ' if !quoted => {
                if !empty {
                    words.push(String::new());
                }
                empty = true;
            }
            c => {
                words.last_mut().expect("at least one word").push(c);
                empty = false;
            }
        }
    }
    words
}

fn is_id(word: &str) -> bool {
    word.len() >= 8 && word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Replaces ids of leases and members, times, sizes and raft's counters by words.
fn mask_line(line: &str) -> String {
    if let Some(at) = line.find("took = ") {
        return format!("{}TIME", &line[..at]);
    }
    if line.starts_with('|') || line.starts_with('+') {
        return mask_table(line);
    }
    let mut out = String::new();
    for word in line.split_inclusive([' ', ',', '(', ')', '/', '"', ':', '}', '\t', '{', '[', ']'])
    {
        let bare =
            word.trim_end_matches([' ', ',', '(', ')', '/', '"', ':', '}', '\t', '{', '[', ']']);
        let rest = &word[bare.len()..];
        let digits = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit());
        let changing = [
            "raft",
            "RAFT",
            "Raft",
            "dbSize",
            "DBSize",
            "took",
            "\"TTL\" :",
            "\"ttl\":",
            "\"Index\"",
        ];
        let measured = digits && changing.iter().any(|name| last_name(&out, name));
        let hex = bare.len() >= 12 && bare.bytes().all(|b| b.is_ascii_hexdigit());
        let time = bare.trim_end_matches('.').ends_with('s')
            && bare.starts_with(|c: char| c.is_ascii_digit());
        let masked = match () {
            () if hex => "ID",
            () if measured => "N",
            () if time && out.contains("remaining") => "LEFT",
            () if time && out.contains("took") => "TIME",
            () => bare,
        };
        out += masked;
        out += rest;
    }
    // simple status: URL, ID, version, size, leader, learner, term, index, applied index, errors
    let fields: Vec<&str> = out.split(", ").collect();
    match fields[..] {
        [url, id, version, _, leader, learner, _, _, _, errors] => [
            url, id, version, "SIZE", leader, learner, "N", "N", "N", errors,
        ]
        .join(", "),
        _ => mask_peer(&out),
    }
}

/// Replaces the other port of etcd, which is for its peers.
fn mask_peer(line: &str) -> String {
    let mut parts = line.split("http://127.0.0.1:");
    let mut out = parts.next().unwrap_or("").to_string();
    for part in parts {
        out += "PEER";
        out += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out
}

/// Whether the last field in `text` has this name.
fn last_name(text: &str, name: &str) -> bool {
    text.rfind([',', '{'])
        .map_or(text, |at| &text[at + 1..])
        .contains(name)
}

/// The cells of a line of a table, without their padding.
fn mask_table(line: &str) -> String {
    if line.starts_with('+') {
        return "+".into();
    }
    let cells: Vec<String> = line
        .split('|')
        .map(|cell| match cell.trim() {
            id if is_id(id) && id.len() >= 12 => "ID".into(),
            size if size.ends_with("kB") || size.ends_with("MB") || size.ends_with(" B") => {
                "SIZE".into()
            }
            number if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
                "N".into()
            }
            cell => mask_peer(cell),
        })
        .collect();
    cells.join("|")
}
