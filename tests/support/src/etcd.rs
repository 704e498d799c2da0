//! A real etcd 3.5.1 on loopback.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use crate::fetch::program;

/// A running etcd with an empty store; ended when this is dropped.
pub struct Etcd {
    child: Child,
    dir: PathBuf,
    port: u16,
}

fn free_ports() -> (u16, u16) {
    let listen = || TcpListener::bind(("127.0.0.1", 0)).expect("a port on loopback");
    let (a, b) = (listen(), listen());
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    (port(&a), port(&b))
}

/// Whether a linearizable read through the JSON gateway succeeds.
fn is_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(
            b"POST /v3/kv/range HTTP/1.0\r\nContent-Length: 14\r\n\r\n{\"key\":\"AA==\"}",
        )?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        Ok(response)
    };
    ask().is_ok_and(|response| response.contains("\"header\""))
}

impl Etcd {
    /// Starts one, and waits until it answers.
    pub fn start(program: &Path, name: &str) -> Etcd {
        let dir = crate::tmp().join(format!("etcd-{}-{name}", std::process::id()));
        // a port may be taken between looking and listening: then another
        for _ in 0..5 {
            let _ = fs::remove_dir_all(&dir);
            let (client, peer) = free_ports();
            let (client_url, peer_url) = (
                format!("http://127.0.0.1:{client}"),
                format!("http://127.0.0.1:{peer}"),
            );
            let mut child = Command::new(program)
                .args([
                    "--log-level",
                    "panic",
                    "--metrics",
                    "extensive",
                    "--unsafe-no-fsync",
                    "--heartbeat-interval",
                    "5",
                    "--election-timeout",
                    "50",
                ])
                .args([
                    "--listen-client-urls",
                    &client_url,
                    "--advertise-client-urls",
                    &client_url,
                ])
                .args([
                    "--listen-peer-urls",
                    &peer_url,
                    "--initial-advertise-peer-urls",
                    &peer_url,
                ])
                .args([
                    "--initial-cluster",
                    &format!("default={peer_url}"),
                    "--data-dir",
                ])
                .arg(&dir)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("etcd starts");
            let until = Instant::now() + Duration::from_secs(20);
            while Instant::now() < until && child.try_wait().is_ok_and(|ended| ended.is_none()) {
                // it responds to a read once it has a leader
                if is_ready(client) {
                    return Etcd {
                        child,
                        dir,
                        port: client,
                    };
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("etcd does not answer");
    }

    /// Where it listens for clients.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
