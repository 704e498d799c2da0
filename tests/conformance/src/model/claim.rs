//! Locks and elections of the model, for a single caller: etcd's keys, without waiting for another
//! holder.

use libkv::*;

use super::state::HeldClaim;
use super::{Model, ReadAt, refuse};
use crate::script::{self, CLAIM_TTL_SECONDS, Step};

impl Model {
    fn acquire(&mut self, name: &[u8], value: &[u8]) -> Result<HeldClaim> {
        let grant = LeaseGrant::new(CLAIM_TTL_SECONDS);
        let lease = self.grant(&grant, true)?.id;
        let key = [name, b"/", format!("{lease:x}").as_bytes()].concat();
        let revision = self.revision + 1;
        self.put(
            &Put::new(key.as_slice(), value).lease(lease),
            revision,
            &mut 0,
        );
        self.revision = revision;
        Ok(HeldClaim {
            lease,
            key,
            revision,
        })
    }

    fn release(&mut self, held: Option<HeldClaim>) {
        if let Some(held) = held {
            // an error if the lease was revoked before
            let _ = self.revoke(held.lease);
        }
    }

    /// The handle closes: releases all that it holds, in the order in which it was acquired.
    pub(super) fn release_all(&mut self) {
        let (locks, elections) = (
            std::mem::take(&mut self.locks),
            std::mem::take(&mut self.elections),
        );
        let mut held: Vec<HeldClaim> = locks.into_values().chain(elections.into_values()).collect();
        held.sort_by_key(|held| held.revision);
        held.into_iter().for_each(|held| self.release(Some(held)));
    }

    pub(super) fn lock(&mut self, step: &Step) -> Result<String> {
        match step {
            Step::Lock(name) => {
                if name.is_empty() {
                    return refuse(Code::InvalidArgument, "the name is empty");
                }
                let held = match self.locks.get(name) {
                    Some(held) => held.clone(),
                    None => self.acquire(name, b"")?,
                };
                self.locks.insert(name.clone(), held.clone());
                Ok(script::locked(&held.key, held.revision))
            }
            Step::Unlock(name) => {
                let held = self.locks.remove(name);
                self.release(held);
                Ok("unlocked".into())
            }
            _ => unreachable!("{step:?} is not a lock step"),
        }
    }

    /// Puts the leader's new value, if it is still the leader.
    fn proclaim(&mut self, held: &HeldClaim, value: &[u8]) -> Result<()> {
        self.check_alarms_for_cost(256)?;
        match self.at(&held.key, ReadAt::Current) {
            Some((_, pair)) if pair.create == held.revision => {
                let revision = self.revision + 1;
                self.put(
                    &Put::new(held.key.as_slice(), value).lease(held.lease),
                    revision,
                    &mut 0,
                );
                self.revision = revision;
                Ok(())
            }
            _ => refuse(
                Code::LeaseLost,
                "the lease was lost: it expired, or was revoked",
            ),
        }
    }

    pub(super) fn election(&mut self, step: &Step) -> Result<String> {
        match step {
            Step::Campaign(name, value) => {
                let held = match self.elections.get(name).cloned() {
                    Some(held) => {
                        self.proclaim(&held, value)?;
                        held
                    }
                    None => self.acquire(name, value)?,
                };
                self.elections.insert(name.clone(), held.clone());
                Ok(script::leads(&held.key, held.revision))
            }
            Step::Proclaim(name, value) => match self.elections.get(name).cloned() {
                Some(held) => self.proclaim(&held, value).map(|()| "proclaimed".into()),
                None => refuse(Code::FailedPrecondition, "election: not leader"),
            },
            Step::Leader(name) => {
                let range = KeyRange::prefix([name.as_slice(), b"/"].concat());
                let kvs = self.range_at(&range, ReadAt::Current);
                Ok(script::leader(
                    kvs.iter().min_by_key(|kv| kv.create_revision),
                ))
            }
            Step::Resign(name) => {
                let held = self.elections.remove(name);
                self.release(held);
                Ok("resigned".into())
            }
            _ => unreachable!("{step:?} is not an election step"),
        }
    }
}
