//! A TCP proxy that can cut connections, and lose or delay bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// Forwards connections to a port of loopback.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    open: Mutex<Vec<TcpStream>>,
    /// Bytes are dropped; the connections stay open.
    silent: AtomicBool,
    /// The next response is lost, and its connection is closed.
    loses_responses: AtomicBool,
    /// Responses are held back.
    holds_responses: AtomicBool,
    ended: AtomicBool,
    accepted: AtomicUsize,
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().expect("no test panics in here")
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, responses: bool) {
        let mut buffer = [0; 16 << 10];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            if responses && self.loses_responses.load(Ordering::SeqCst) {
                break;
            }
            while responses
                && self.holds_responses.load(Ordering::SeqCst)
                && !self.ended.load(Ordering::SeqCst)
            {
                thread::sleep(Duration::from_millis(5));
            }
            // a silent proxy drops what it reads
            if !self.silent.load(Ordering::SeqCst) && to.write_all(&buffer[..len]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

impl Proxy {
    /// A proxy of this port.
    pub fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port on loopback");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        let at_work = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let shared = at_work.clone();
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", target)))
                else {
                    continue;
                };
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let twin = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
                shared.open().extend([twin(&client), twin(&server)]);
                let (to_server, from_server, back) = (twin(&server), server, twin(&client));
                let other = shared.clone();
                thread::spawn(move || other.copy(client, to_server, false));
                thread::spawn(move || shared.copy(from_server, back, true));
            }
        });
        Proxy { port, shared }
    }

    /// The URL on which the proxy listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The number of connections that were accepted.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for stream in self.shared.open().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether all bytes are dropped.
    pub fn set_silent(&self, silent: bool) {
        self.shared.silent.store(silent, Ordering::SeqCst);
    }

    /// Whether responses are held back. They are forwarded when this is switched off.
    pub fn set_holds_responses(&self, holds: bool) {
        self.shared.holds_responses.store(holds, Ordering::SeqCst);
    }

    /// Whether the next response on each connection is lost, and the connection closed.
    pub fn set_loses_responses(&self, loses: bool) {
        self.shared.loses_responses.store(loses, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.cut();
    }
}
