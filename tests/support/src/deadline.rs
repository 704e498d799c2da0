//! Deadlines: a test that waits too long fails and prints its name.

use std::io::{Write, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for an event that must happen. It is long enough for a loaded machine.
pub const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// Aborts this program if it is not dropped in time. It is for waits without a time limit: for the
/// end of a process or a thread, or for a line from a process.
pub struct Deadline {
    _in_time: Sender<()>,
}

/// The deadline of an ordinary test: five minutes.
#[must_use = "the deadline holds until it is dropped"]
pub fn deadline() -> Deadline {
    deadline_times(1)
}

/// The deadline of a test that runs a multiple of the ordinary work.
#[must_use = "the deadline holds until it is dropped"]
pub fn deadline_times(times: u64) -> Deadline {
    deadline_after(Duration::from_secs(300 * times))
}

fn deadline_after(time: Duration) -> Deadline {
    let (in_time, dropped) = channel();
    let test = thread::current().name().unwrap_or("a test").to_string();
    thread::spawn(move || {
        if dropped.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
            // `eprintln!` is captured by the test harness and would not be printed
            let _ = writeln!(stderr(), "{test} did not end within {time:?}");
            std::process::abort();
        }
    });
    Deadline { _in_time: in_time }
}

/// Waits until `holds` returns true. Panics with `what` after [`WAIT_LIMIT`].
#[track_caller]
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    until_within(what, WAIT_LIMIT, holds);
}

#[track_caller]
fn until_within(what: &str, time: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < time, "{what}: not within {time:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadline_ends_the_program_that_passes_it() {
        if std::env::var_os("DEADLINE_PASSES").is_some() {
            let _deadline = deadline_after(Duration::from_millis(50));
            thread::sleep(Duration::from_secs(60));
        }
        let program = std::env::current_exe().expect("the path of this program");
        let ended = std::process::Command::new(program)
            .arg("deadline_ends_the_program")
            .env("DEADLINE_PASSES", "1")
            .output()
            .expect("it starts");
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success());
        assert!(
            stderr.contains("deadline_ends_the_program_that_passes_it did not end within 50ms"),
            "{stderr}"
        );
    }

    #[test]
    fn deadline_that_is_dropped_in_time_does_nothing() {
        drop(deadline_after(Duration::from_millis(50)));
        thread::sleep(Duration::from_millis(100));
    }

    #[test]
    #[should_panic(expected = "an event: not within")]
    fn until_panics_after_its_time() {
        until_within("an event", Duration::ZERO, || false);
    }
}
