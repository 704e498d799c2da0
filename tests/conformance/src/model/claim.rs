//! Locks and elections as they should be, for one who asks alone: etcd's keys, and no other holder
//! to wait for.

use libkv::*;

use super::state::Held;
use super::{Model, When, refuse};
use crate::script::{self, CLAIM_TTL_SECONDS, Step};

impl Model {
    fn hold(&mut self, name: &[u8], value: &[u8]) -> Result<Held> {
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
        Ok(Held {
            lease,
            key,
            revision,
        })
    }

    fn let_go(&mut self, held: Option<Held>) {
        if let Some(held) = held {
            // gone already if it was revoked
            let _ = self.revoke(held.lease);
        }
    }

    /// The handle closes, and with it what is held through it, in the order in which it was had.
    pub(super) fn let_all_go(&mut self) {
        let (locks, elections) = (
            std::mem::take(&mut self.locks),
            std::mem::take(&mut self.elections),
        );
        let mut held: Vec<Held> = locks.into_values().chain(elections.into_values()).collect();
        held.sort_by_key(|held| held.revision);
        held.into_iter().for_each(|held| self.let_go(Some(held)));
    }

    pub(super) fn lock(&mut self, step: &Step) -> Result<String> {
        match step {
            Step::Lock(name) => {
                if name.is_empty() {
                    return refuse(Code::InvalidArgument, "the name is empty");
                }
                let held = match self.locks.get(name) {
                    Some(held) => held.clone(),
                    None => self.hold(name, b"")?,
                };
                self.locks.insert(name.clone(), held.clone());
                Ok(script::locked(&held.key, held.revision))
            }
            Step::Unlock(name) => {
                let held = self.locks.remove(name);
                self.let_go(held);
                Ok("unlocked".into())
            }
            _ => unreachable!("{step:?} is about no lock"),
        }
    }

    /// Puts the leader's value, if it still leads.
    fn proclaim(&mut self, held: &Held, value: &[u8]) -> Result<()> {
        self.admit_cost(256)?;
        match self.at(&held.key, When::Now) {
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
                    None => self.hold(name, value)?,
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
                let kvs = self.range_at(&range, When::Now);
                Ok(script::leader(
                    kvs.iter().min_by_key(|kv| kv.create_revision),
                ))
            }
            Step::Resign(name) => {
                let held = self.elections.remove(name);
                self.let_go(held);
                Ok("resigned".into())
            }
            _ => unreachable!("{step:?} is about no election"),
        }
    }
}
