//! Real etcd members on loopback, that can be killed and started again.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use libkv::{Db, Options};

use crate::{scratch, until};

/// A cluster of its own; gone when it is dropped.
pub struct Members {
    program: PathBuf,
    dir: PathBuf,
    members: Vec<Member>,
    /// `http` or `https` for clients.
    scheme: &'static str,
    flags: Vec<String>,
}

struct Member {
    child: Option<Child>,
    client: u16,
    peer: u16,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port on loopback");
    listener.local_addr().expect("it is bound").port()
}

impl Members {
    /// Starts so many members, and waits until they answer.
    pub fn start(program: &Path, name: &str, count: usize) -> Members {
        loop {
            let mut members = Members::unproven(program, name, count, "http", &[]);
            if members.become_well() {
                return members;
            }
            // somebody took a port between its choice and the start: again, with others
        }
    }

    /// As [`Members::start`], with flags of etcd's; nobody waits for it.
    pub fn unproven(
        program: &Path,
        name: &str,
        count: usize,
        scheme: &'static str,
        flags: &[&str],
    ) -> Members {
        let member = |_| Member {
            child: None,
            client: free_port(),
            peer: free_port(),
        };
        let members = (0..count).map(member).collect();
        let flags = flags.iter().map(ToString::to_string).collect();
        let mut members = Members {
            program: program.into(),
            dir: scratch(name),
            members,
            scheme,
            flags,
        };
        (0..count).for_each(|number| members.restart(number));
        members
    }

    /// Waits until all answer; false if one has ended instead.
    fn become_well(&mut self) -> bool {
        for number in 0..self.members.len() {
            let url = self.url(number);
            until("etcd answers", || self.has_ended() || is_well(&url));
        }
        !self.has_ended()
    }

    fn has_ended(&mut self) -> bool {
        let mut children = self
            .members
            .iter_mut()
            .filter_map(|member| member.child.as_mut());
        children.any(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Starts a member that does not run.
    pub fn restart(&mut self, number: usize) {
        let peer_url = |member: &Member| format!("http://127.0.0.1:{}", member.peer);
        let all: Vec<String> = self
            .members
            .iter()
            .enumerate()
            .map(|(n, member)| format!("m{n}={}", peer_url(member)))
            .collect();
        let url = self.url(number);
        let member = &mut self.members[number];
        let child = Command::new(&self.program)
            .args([
                "--name",
                &format!("m{number}"),
                "--log-level",
                "panic",
                "--unsafe-no-fsync",
            ])
            .args([
                "--heartbeat-interval",
                "50",
                "--election-timeout",
                "500",
                "--initial-cluster",
                &all.join(","),
            ])
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args([
                "--listen-peer-urls",
                &peer_url(member),
                "--initial-advertise-peer-urls",
                &peer_url(member),
            ])
            .arg("--data-dir")
            .arg(self.dir.join(format!("m{number}")))
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
            child.kill().expect("it runs");
            child.wait().expect("it ended");
        }
    }

    /// Where a member listens for clients.
    pub fn url(&self, number: usize) -> String {
        format!(
            "{}://127.0.0.1:{}",
            self.scheme, self.members[number].client
        )
    }

    /// The port of the same.
    pub fn port(&self, number: usize) -> u16 {
        self.members[number].client
    }

    /// All of them, as one address.
    pub fn address(&self) -> String {
        (0..self.members.len())
            .map(|number| self.url(number))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// A handle on all of them.
    pub fn open(&self) -> Db {
        libkv_etcd::open(self.address(), Options::new()).expect("the cluster opens")
    }
}

/// Whether a member answers, with a leader.
pub fn is_well(url: &str) -> bool {
    let options = Options::new()
        .connect_timeout_ms(1_000)
        .request_timeout_ms(1_000);
    libkv_etcd::open(url, options).is_ok_and(|db| db.get("\0").is_ok())
}

impl Drop for Members {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|number| self.kill(number));
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
