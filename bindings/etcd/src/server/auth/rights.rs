//! The rights of each user, computed from the users and roles of the store.

use std::collections::HashMap;

use libkv::{AuthData, AuthStamp, KeyRange, Permission};

/// The role that permits everything.
pub(super) const ROOT: &str = "root";

/// The rights of all users, as of one [`AuthStamp`].
pub(super) struct Rights {
    pub stamp: AuthStamp,
    users: HashMap<String, UserRights>,
}

/// The rights of one user, and how the user logs in.
pub(super) struct UserRights {
    /// The bcrypt hash of the password; empty if there is none.
    pub hash: String,
    pub no_password: bool,
    pub roles: Vec<String>,
    pub is_root: bool,
    pub read: Intervals,
    pub write: Intervals,
}

impl Rights {
    pub fn new(data: AuthData) -> Rights {
        let roles: HashMap<&str, &[Permission]> = data
            .roles
            .iter()
            .map(|role| (role.name.as_str(), role.permissions.as_slice()))
            .collect();
        let users = data.users.into_iter().map(|user| {
            let permissions = || {
                let of_role = |role: &String| roles.get(role.as_str()).copied();
                user.roles.iter().filter_map(of_role).flatten()
            };
            let read = Intervals::new(permissions().filter(|permission| permission.kind.reads()));
            let write = Intervals::new(permissions().filter(|permission| permission.kind.writes()));
            let rights = UserRights {
                hash: user.hash,
                no_password: user.no_password,
                is_root: user.roles.iter().any(|role| role == ROOT),
                read,
                write,
                roles: user.roles,
            };
            (user.name, rights)
        });
        Rights {
            stamp: data.stamp,
            users: users.collect(),
        }
    }

    pub fn user(&self, name: &str) -> Option<&UserRights> {
        self.users.get(name)
    }
}

/// A set of keys: intervals that neither overlap nor touch, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Intervals(Vec<Interval>);

/// The keys from `start` up to `end`, which is excluded; `None`: up to the last key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interval {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Interval {
    fn new(range: &KeyRange) -> Interval {
        let end = match range.range_end.as_slice() {
            // the first key after one key
            [] => Some([&range.key[..], &[0]].concat()),
            [0] => None,
            end => Some(end.to_vec()),
        };
        Interval {
            start: range.key.clone(),
            end,
        }
    }
}

impl Intervals {
    fn new<'a>(permissions: impl Iterator<Item = &'a Permission>) -> Intervals {
        let mut given: Vec<Interval> = permissions
            .map(|permission| Interval::new(&permission.range))
            .filter(|interval| {
                interval
                    .end
                    .as_ref()
                    .is_none_or(|end| *end > interval.start)
            })
            .collect();
        given.sort_by(|a, b| a.start.cmp(&b.start));
        let mut merged: Vec<Interval> = Vec::with_capacity(given.len());
        for next in given {
            match merged.last_mut() {
                Some(last) if last.end.as_ref().is_none_or(|end| *end >= next.start) => {
                    // `None` is the greatest end
                    let extends = match (&last.end, &next.end) {
                        (None, _) => false,
                        (Some(_), None) => true,
                        (Some(last), Some(next)) => next > last,
                    };
                    if extends {
                        last.end = next.end;
                    }
                }
                _ => merged.push(next),
            }
        }
        Intervals(merged)
    }

    /// Whether every key of the range is in one interval. For a range without keys: whether its
    /// first key is.
    pub fn cover(&self, range: &KeyRange) -> bool {
        let after = self
            .0
            .partition_point(|interval| interval.start <= range.key);
        let Some(interval) = after.checked_sub(1).map(|index| &self.0[index]) else {
            return false;
        };
        let Some(end) = &interval.end else {
            return true;
        };
        match range.range_end.as_slice() {
            [0] => false,
            asked if asked > range.key.as_slice() => asked <= end.as_slice(),
            _ => range.key < *end,
        }
    }
}

#[cfg(test)]
mod tests {
    use libkv::PermissionType;

    use super::*;

    fn range(key: &str, range_end: &str) -> KeyRange {
        KeyRange {
            key: key.into(),
            range_end: range_end.into(),
        }
    }

    fn intervals(ranges: &[(&str, &str)]) -> Intervals {
        let permissions: Vec<Permission> = ranges
            .iter()
            .map(|(key, end)| Permission::new(PermissionType::Read, range(key, end)))
            .collect();
        Intervals::new(permissions.iter())
    }

    #[test]
    fn touching_permissions_permit_a_range_over_both() {
        let both = intervals(&[("c", "e"), ("a", "c")]);
        assert!(both.cover(&range("a", "e")) && both.cover(&range("b", "d")));
        assert!(!both.cover(&range("a", "f")) && !both.cover(&range("a", "\0")));
        assert!(!both.cover(&range("e", "")) && both.cover(&range("d", "")));
        let point_and_rest = intervals(&[("m\0", "n"), ("m", "")]);
        assert!(point_and_rest.cover(&range("m", "n")));
        let apart = intervals(&[("a", "b"), ("c", "d")]);
        assert!(!apart.cover(&range("a", "d")) && apart.cover(&range("c", "d")));
    }

    #[test]
    fn range_without_end_needs_a_permission_without_end() {
        let all = intervals(&[("\0", "\0")]);
        assert!(all.cover(&range("\0", "\0")) && all.cover(&range("x", "\0")));
        let from_b = intervals(&[("b", "\0"), ("a", "a5")]);
        assert!(from_b.cover(&range("c", "\0")) && !from_b.cover(&range("a", "\0")));
        assert!(!from_b.cover(&range("\0", "\0")));
        let inner = intervals(&[("a", "\0"), ("b", "c")]);
        assert!(inner.cover(&range("z", "\0")));
    }

    #[test]
    fn only_the_first_key_of_an_empty_range_counts() {
        let some = intervals(&[("a", "e")]);
        assert!(some.cover(&range("d", "c")) && !some.cover(&range("f", "c")));
        assert!(!intervals(&[]).cover(&range("a", "")));
    }
}
