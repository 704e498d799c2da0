//! One request, from its first attempt to its response: what may be sent again, where, and for how
//! long.
//!
//! | what happened | a read | a write |
//! |---|---|---|
//! | no endpoint is reachable | again, for the connect timeout; then `unavailable` | the same |
//! | the server has not received it (lost before it was sent, stream refused) | again | again |
//! | the connection was lost on the way | again, at another endpoint | `unknown_outcome` |
//! | the server cannot now (no leader, leader changed, timed out) | again, elsewhere | `unknown_outcome` |
//! | the token is not valid any more | again, once, with a new one | the same |
//! | no response within the request timeout | `timeout` | `unknown_outcome` |
//! | any other refusal | that error | that error if etcd did not write, or `unknown_outcome` |
//! | a response that cannot be read | `internal` | `unknown_outcome` |

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use libkv::{Code, Error, Result};
use prost::Message;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::cluster::{Cluster, PAUSE, PAUSE_MAX, after};
use super::link::{Failure, Link, failure};
use crate::convert;

/// What a request does, which decides whether it may be sent again.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Reads,
    /// With how to find out the outcome if it is not known.
    Writes(String),
}

impl Effect {
    pub fn writes(&self) -> bool {
        matches!(self, Effect::Writes(_))
    }

    pub fn unknown(&self, what: &str) -> Error {
        let Effect::Writes(find_out) = self else {
            return Error::new(Code::Unavailable, what);
        };
        Error::new(
            Code::UnknownOutcome,
            format!("{what}: whether it was written is not known. {find_out}"),
        )
    }
}

/// Whether a request may still be cancelled, shared by its caller and the task that sends it.
#[derive(Default)]
pub(crate) struct Ticket(AtomicU8);

const WAITING: u8 = 0;
const SENT: u8 = 1;
const WITHDRAWN: u8 = 2;
const EXPIRED: u8 = 3;

impl Ticket {
    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Acquire) == state
    }

    fn swap(&self, from: u8, to: u8) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Cancels the request; false if it was sent.
    pub fn withdraw(&self) -> bool {
        self.swap(WAITING, WITHDRAWN)
    }

    /// Called before a write is sent; false if it must not be sent any more.
    fn send(&self) -> bool {
        self.swap(WAITING, SENT) || self.is(SENT)
    }

    /// Called before the response is returned; false if the request was cancelled.
    pub fn hand_over(&self) -> bool {
        self.swap(WAITING, SENT) || !self.is(WITHDRAWN)
    }

    /// The caller's deadline has passed; false if the request was sent before.
    pub fn expire(&self) -> bool {
        self.swap(WAITING, EXPIRED)
    }

    fn set_unsent(&self) {
        self.swap(SENT, WAITING);
    }
}

pub(crate) fn withdrawn() -> Error {
    Error::new(
        Code::Cancelled,
        "the request was taken back before it was sent",
    )
}

/// The error of a call without a response by its caller's deadline.
pub(crate) fn timed_out() -> Error {
    Error::new(
        Code::Timeout,
        "no response from the cluster within the time limit",
    )
}

/// The next step after a failed attempt.
enum NextStep {
    Retry,
    /// After a pause, because the server is not healthy.
    RetryAfterPause,
    Fail(Error),
}

/// One request in progress.
pub(crate) struct Call {
    cluster: Arc<Cluster>,
    effect: Effect,
    ticket: Arc<Ticket>,
    until: Instant,
    /// Why the last attempt failed.
    last: Option<String>,
    renewed: bool,
}

impl Call {
    pub fn new(cluster: Arc<Cluster>, effect: Effect, ticket: Arc<Ticket>) -> Call {
        let until = after(cluster.request_timeout);
        Call {
            cluster,
            effect,
            ticket,
            until,
            last: None,
            renewed: false,
        }
    }

    /// A read that is part of another operation.
    pub fn read(cluster: &Arc<Cluster>) -> Call {
        Call::new(cluster.clone(), Effect::Reads, Arc::default())
    }

    /// Sends the request until there is a response.
    pub async fn run<A, B>(mut self, path: &'static str, message: A) -> Result<B>
    where
        A: Message + Clone + 'static,
        B: Message + Default + 'static,
    {
        let mut pause = PAUSE;
        loop {
            let link = self
                .cluster
                .link(self.until)
                .await
                .map_err(|error| self.unreached(error))?;
            // a read has no effect: it may be cancelled until its response is returned
            if self.effect.writes() && !self.ticket.send() {
                return Err(withdrawn());
            }
            let token = self.cluster.token();
            let Ok(response) =
                timeout_at(self.until, link.unary(path, message.clone(), &token)).await
            else {
                return Err(self.timed_out(&link));
            };
            let status = match response {
                Ok(response) => return Ok(response),
                Err(status) => status,
            };
            if self.cluster.is_stale(&status) && !std::mem::replace(&mut self.renewed, true) {
                self.ticket.set_unsent();
                match timeout_at(self.until, self.cluster.renew(&link, &token)).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Err(self.timed_out(&link)),
                }
            }
            match self.next_step(&link, &status, message.encoded_len()) {
                NextStep::Retry => {}
                NextStep::RetryAfterPause if Instant::now() + pause < self.until => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                NextStep::RetryAfterPause => return Err(self.timed_out(&link)),
                NextStep::Fail(error) => return Err(error),
            }
        }
    }

    fn next_step(&mut self, link: &Link, status: &Status, sent_bytes: usize) -> NextStep {
        let reason = format!("{}: {}", link.name(), link.reason(status));
        match (failure(status), status.code()) {
            (Failure::Unsent, _) => {
                self.cluster.leave(link);
                self.ticket.set_unsent();
                self.last = Some(reason);
                NextStep::Retry
            }
            (Failure::Cut, _) => {
                self.cluster.leave(link);
                if self.effect.writes() {
                    let what =
                        format!("the connection was lost before the response came ({reason})");
                    return NextStep::Fail(self.effect.unknown(&what));
                }
                self.last = Some(reason);
                NextStep::Retry
            }
            (Failure::Refused, tonic::Code::Unavailable)
                if !convert::is_reconfiguration_refused(status.message()) =>
            {
                self.cluster.leave(link);
                if self.effect.writes() {
                    return NextStep::Fail(self.effect.unknown(&reason));
                }
                self.last = Some(reason);
                NextStep::RetryAfterPause
            }
            (Failure::Refused, _) => {
                match convert::error_in(status, self.effect.writes().then_some(sent_bytes)) {
                    error if error.code() == Code::UnknownOutcome => {
                        NextStep::Fail(self.effect.unknown(&reason))
                    }
                    error => NextStep::Fail(error),
                }
            }
        }
    }

    /// There was no response in time; the endpoint may be one that does not respond.
    fn timed_out(&self, link: &Link) -> Error {
        self.cluster.leave(link);
        let ms = self.cluster.request_timeout.as_millis();
        match &self.effect {
            Effect::Writes(_) => self
                .effect
                .unknown(&format!("no response within {ms} ms ({})", link.name())),
            Effect::Reads => {
                let last = self.last.clone().unwrap_or_else(|| link.name().to_string());
                Error::new(
                    Code::Timeout,
                    format!("no response within {ms} ms ({last})"),
                )
            }
        }
    }

    /// An earlier failure explains more than that no endpoint is reachable now.
    fn unreached(&self, error: Error) -> Error {
        match &self.last {
            Some(last) if error.code() == Code::Unavailable && self.until <= Instant::now() => {
                let ms = self.cluster.request_timeout.as_millis();
                Error::new(
                    Code::Timeout,
                    format!("no response within {ms} ms ({last})"),
                )
            }
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticket_can_be_withdrawn_until_it_is_sent() {
        let ticket = Ticket::default();
        assert!(ticket.send() && ticket.send() && !ticket.withdraw() && !ticket.expire());
        ticket.set_unsent();
        assert!(
            ticket.withdraw()
                && !ticket.send()
                && !ticket.hand_over()
                && !ticket.withdraw()
                && !ticket.expire()
        );
    }

    #[test]
    fn ticket_that_expired_is_not_sent_and_has_a_response() {
        let ticket = Ticket::default();
        assert!(ticket.expire() && !ticket.send() && !ticket.withdraw() && ticket.hand_over());
    }
}
