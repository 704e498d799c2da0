//! Leases of the model: an id, a TTL, a deadline on the model's own clock.

use libkv::*;

use super::state::Lease;
use super::{Model, ReadAt, refuse};
use crate::script;

/// The largest TTL.
const TTL_MAX: i64 = 9_000_000_000;

impl Model {
    pub(super) fn lease_exists(&mut self, id: LeaseId) -> Result<()> {
        if id == 0 || self.leases.by_id.contains_key(&id) {
            return Ok(());
        }
        self.reach("lease not found");
        refuse(Code::LeaseNotFound, "requested lease not found")
    }

    pub(super) fn grant(&mut self, grant: &LeaseGrant, kept: bool) -> Result<LeaseGrantResponse> {
        if grant.ttl_seconds > TTL_MAX {
            return refuse(Code::InvalidArgument, "too large lease TTL");
        }
        self.check_alarms_for_cost(64)?;
        let granted = grant.ttl_seconds.max(if self.etcd_limits { 2 } else { 1 });
        // any free id will do: these ids are never printed
        let chosen = || {
            (1 << 40..)
                .find(|id| !self.leases.by_id.contains_key(id))
                .expect("a free id")
        };
        let id = if grant.id == 0 { chosen() } else { grant.id };
        if self.leases.by_id.contains_key(&id) {
            self.reach("lease id in use");
            return refuse(Code::LeaseExists, "lease already exists");
        }
        let deadline = self.leases.now + granted;
        self.leases.by_id.insert(
            id,
            Lease {
                granted,
                deadline,
                kept,
            },
        );
        match self.leases.places.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(id),
            None => self.leases.places.push(Some(id)),
        }
        let mut response = LeaseGrantResponse::default();
        response.revision = self.revision;
        response.id = id;
        response.ttl_seconds = granted;
        Ok(response)
    }

    fn leased_keys(&self, id: LeaseId) -> Vec<Vec<u8>> {
        let kvs = self.range_at(&KeyRange::all(), ReadAt::Current).into_iter();
        kvs.filter(|kv| kv.lease == id)
            .map(|kv| kv.key.to_vec())
            .collect()
    }

    pub(super) fn revoke(&mut self, id: LeaseId) -> Result<LeaseRevokeResponse> {
        if id == 0 || self.leases.by_id.remove(&id).is_none() {
            return refuse(Code::LeaseNotFound, "requested lease not found");
        }
        self.leases
            .places
            .iter_mut()
            .filter(|place| **place == Some(id))
            .for_each(|place| *place = None);
        let (main, mut sub) = (self.revision + 1, 0);
        for key in self.leased_keys(id) {
            self.delete(&Delete::new(key.as_slice()), main, &mut sub);
        }
        if sub > 1 {
            self.reach("lease with several keys ended");
        }
        self.revision += i64::from(sub > 0);
        let mut response = LeaseRevokeResponse::default();
        response.revision = self.revision;
        Ok(response)
    }

    pub(super) fn keep_alive(&mut self, id: LeaseId) -> LeaseKeepAliveResponse {
        let mut response = LeaseKeepAliveResponse::default();
        response.id = id;
        let now = self.leases.now;
        let Some(lease) = self.leases.by_id.get_mut(&id) else {
            self.reach("keep-alive of a missing lease");
            return response;
        };
        let gained = now + lease.granted - lease.deadline;
        lease.deadline = now + lease.granted;
        response.ttl_seconds = lease.granted;
        if gained > 0 {
            self.reach("lease kept alive");
        }
        response
    }

    pub(super) fn time_to_live(&self, id: LeaseId, keys: bool) -> LeaseTimeToLiveResponse {
        let mut response = LeaseTimeToLiveResponse::default();
        response.id = id;
        let Some(lease) = self.leases.by_id.get(&id) else {
            response.ttl_seconds = -1;
            return response;
        };
        response.ttl_seconds = lease.deadline - self.leases.now;
        response.granted_ttl_seconds = lease.granted;
        if keys {
            response.keys = self.leased_keys(id);
        }
        response
    }

    pub(super) fn lease_list(&self) -> String {
        script::leases(&self.leases.by_id.keys().copied().collect::<Vec<_>>())
    }

    pub(super) fn advance(&mut self, seconds: i64) {
        self.leases.now += seconds.max(0);
        let now = self.leases.now;
        for lease in self.leases.by_id.values_mut().filter(|lease| lease.kept) {
            lease.deadline = now + lease.granted;
        }
        let expired = |id: &LeaseId| {
            self.leases
                .by_id
                .get(id)
                .is_some_and(|lease| lease.deadline <= now)
        };
        let due: Vec<LeaseId> = self
            .leases
            .places
            .iter()
            .flatten()
            .filter(|id| expired(id))
            .copied()
            .collect();
        // no write is allowed, so no lease ends
        let due = if self.has_alarm(AlarmKind::Corrupt) {
            Vec::new()
        } else {
            due
        };
        if due.len() > 1 {
            self.reach("leases expire together");
        }
        for id in due {
            self.reach("lease expires");
            let before = self.revision;
            self.revoke(id).expect("the lease exists");
            if self.revision == before {
                self.reach("lease without keys expires");
            }
        }
        self.request_progress_reports();
    }

    fn minute(seconds: i64) -> i64 {
        (script::CLOCK_START_MS + seconds * 1_000).div_euclid(60_000)
    }

    /// Records the minute in which the revisions after `before` were written.
    pub(super) fn note_time(&mut self, before: Revision) {
        let minute = Model::minute(self.leases.now);
        self.leases
            .minutes
            .extend((before + 1..=self.revision).map(|revision| (revision, minute)));
    }

    pub(super) fn revision_at(&self, seconds: i64) -> Result<String> {
        let upto = Model::minute(seconds);
        let by_then = self
            .leases
            .minutes
            .iter()
            .filter(|(_, minute)| **minute <= upto);
        let revision = by_then.map(|(revision, _)| *revision).max().unwrap_or(1);
        if revision < self.compacted {
            return refuse(
                Code::Compacted,
                "mvcc: required revision has been compacted",
            );
        }
        Ok(format!("revision {revision}"))
    }
}
