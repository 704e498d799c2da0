//! A real etcd 3.5.1 on loopback: one member, or a cluster whose members can be killed and started
//! again.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use crate::fetch::program;

/// The time limit of a start.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// A cluster with an empty store. Dropping it ends the members and removes their files.
pub struct Etcd {
    program: PathBuf,
    dir: PathBuf,
    members: Vec<Member>,
    /// `http` or `https`, for clients.
    scheme: &'static str,
    flags: Vec<String>,
}

struct Member {
    child: Option<Child>,
    client_port: u16,
    peer_port: u16,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port on loopback");
    listener.local_addr().expect("it is bound").port()
}

impl Etcd {
    /// Starts one member and waits until it is ready.
    pub fn start(program: &Path, name: &str) -> Etcd {
        Etcd::start_with(program, name, 1, &[])
    }

    /// Starts this number of members, with these flags of etcd, and waits until they are ready.
    pub fn start_with(program: &Path, name: &str, count: usize, flags: &[&str]) -> Etcd {
        // another program may take a port before the member starts: try again with other ports
        for _ in 0..5 {
            let mut etcd = Etcd::start_unready(program, name, count, "http", flags);
            if etcd.becomes_ready() {
                return etcd;
            }
        }
        panic!("etcd did not become ready in five attempts");
    }

    /// As [`Etcd::start_with`], but does not wait.
    pub fn start_unready(
        program: &Path,
        name: &str,
        count: usize,
        scheme: &'static str,
        flags: &[&str],
    ) -> Etcd {
        let dir = crate::tmp().join(format!("etcd-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a folder");
        let member = |_| Member {
            child: None,
            client_port: free_port(),
            peer_port: free_port(),
        };
        let mut etcd = Etcd {
            program: program.into(),
            dir,
            members: (0..count).map(member).collect(),
            scheme,
            flags: flags.iter().map(ToString::to_string).collect(),
        };
        (0..count).for_each(|number| etcd.restart(number));
        etcd
    }

    /// Waits until all members are ready. Returns false if one has ended or after [`WAIT_LIMIT`].
    fn becomes_ready(&mut self) -> bool {
        let until = Instant::now() + WAIT_LIMIT;
        while !self.has_ended() && Instant::now() < until {
            let mut ports = self.members.iter().map(|member| member.client_port);
            if ports.all(is_ready) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn has_ended(&mut self) -> bool {
        let mut children = self
            .members
            .iter_mut()
            .filter_map(|member| member.child.as_mut());
        children.any(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Starts a member that is not running.
    pub fn restart(&mut self, number: usize) {
        let peer_url = |member: &Member| format!("http://127.0.0.1:{}", member.peer_port);
        let all: Vec<String> = self
            .members
            .iter()
            .enumerate()
            .map(|(n, member)| format!("m{n}={}", peer_url(member)))
            .collect();
        // a single member elects itself: a short election timeout makes the start fast
        let (heartbeat, election) = match self.members.len() {
            1 => ("5", "50"),
            _ => ("50", "500"),
        };
        let (name, url) = (format!("m{number}"), self.member_url(number));
        let member = &mut self.members[number];
        let (peer_url, data) = (peer_url(member), self.dir.join(&name));
        let child = Command::new(&self.program)
            .args(["--name", &name, "--initial-cluster", &all.join(",")])
            .args(["--log-level", "panic", "--metrics", "extensive"])
            .args(["--heartbeat-interval", heartbeat])
            .args(["--election-timeout", election])
            .args(["--listen-client-urls", &url])
            .args(["--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer_url])
            .args(["--initial-advertise-peer-urls", &peer_url])
            .arg("--unsafe-no-fsync")
            .arg("--data-dir")
            .arg(data)
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts");
        member.child = Some(child);
    }

    /// Ends a member with SIGKILL.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.members[number].child.take() {
            child.kill().expect("a running member");
            child.wait().expect("the member ended");
        }
    }

    /// The client URLs of all members, separated by commas.
    pub fn url(&self) -> String {
        let urls: Vec<String> = (0..self.members.len())
            .map(|number| self.member_url(number))
            .collect();
        urls.join(",")
    }

    /// The client URL of a member.
    pub fn member_url(&self, number: usize) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port(number))
    }

    /// The client port of a member.
    pub fn port(&self, number: usize) -> u16 {
        self.members[number].client_port
    }
}

/// Whether a linearizable read through the JSON gateway is done. If so, there is a leader. With
/// authentication on, the read is refused for its missing user, which etcd checks after that.
fn is_ready(port: u16) -> bool {
    const BODY: &str = r#"{"key":"AA=="}"#;
    let read = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(
            stream,
            "POST /v3/kv/range HTTP/1.0\r\nContent-Length: {}\r\n\r\n{BODY}",
            BODY.len()
        )?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        Ok(response)
    };
    read().is_ok_and(|response| {
        response.contains("\"header\"") || response.contains("user name is empty")
    })
}

impl Drop for Etcd {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|number| self.kill(number));
        let _ = fs::remove_dir_all(&self.dir);
    }
}
