//! The log of a server.

use std::sync::{Arc, Mutex};

use libkv_etcd::{Level, Serve, serve};
use libkv_test_support::deadline::deadline;

use crate::support::store;

#[test]
fn log_has_a_line_for_each_address() {
    let _deadline = deadline();
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let into = lines.clone();
    let how = Serve::new("127.0.0.1:0").log(move |level, line| {
        into.lock()
            .expect("no panic")
            .push((level, line.to_string()))
    });
    let server = serve(&store(), how).expect("a server");
    let logged = lines.lock().expect("no panic").clone();
    assert_eq!(
        logged,
        [(
            Level::Info,
            format!("serving clients on {}", server.address())
        )]
    );
}

/// Collects the events of the server.
struct Events(Mutex<Vec<(tracing::Level, String)>>);

impl tracing::Subscriber for Events {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "libkv_etcd::server"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 = format!("{value:?}");
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0
            .lock()
            .expect("no panic")
            .push((*event.metadata().level(), message.0));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn log_lines_are_events_of_tracing() {
    let _deadline = deadline();
    let events = Arc::new(Events(Mutex::new(Vec::new())));
    let server = tracing::subscriber::with_default(events.clone(), || {
        serve(&store(), "127.0.0.1:0").expect("a server")
    });
    let should = (
        tracing::Level::INFO,
        format!("serving clients on {}", server.address()),
    );
    assert_eq!(*events.0.lock().expect("no panic"), [should]);
}
