//! Compares the rights of a user with a simple model, for the fuzz targets in `tests/fuzz`.
//!
//! Keys and range ends have one byte. So the model needs two cells for each byte: the key itself,
//! and all longer keys that begin with it, because a range includes both but a single key does not.

use libkv::{AuthData, KeyRange, Permission, PermissionType, Role, User};

use super::rights::Rights;

const CELLS: usize = 2 * 256;
const ROLES: u8 = 4;
const USER: &str = "user";

/// The cells that one type of permission covers.
#[derive(Clone)]
struct Cells([bool; CELLS]);

impl Cells {
    const NONE: Cells = Cells([false; CELLS]);

    /// The cells of a range. A range without keys has none.
    fn of(range: &KeyRange) -> std::ops::Range<usize> {
        let cell = |bytes: &[u8]| 2 * usize::from(bytes[0]);
        let start = cell(&range.key);
        match range.range_end.as_slice() {
            [] => start..start + 1,
            [0] => start..CELLS,
            end => start..cell(end).max(start),
        }
    }

    fn add(&mut self, range: &KeyRange) {
        self.0[Cells::of(range)].fill(true);
    }

    /// For a range without keys: whether its first key is permitted, as in etcd.
    fn cover(&self, range: &KeyRange) -> bool {
        let cells = Cells::of(range);
        match cells.is_empty() {
            true => self.0[cells.start],
            false => self.0[cells].iter().all(|&permitted| permitted),
        }
    }
}

/// A range from three bytes: its form, which decides whether it has an end, its key and its end.
fn range(bytes: &[u8]) -> KeyRange {
    KeyRange {
        key: vec![bytes[1]],
        range_end: match bytes[0] % 4 {
            0 => Vec::new(),
            1 => vec![0],
            _ => vec![bytes[2]],
        },
    }
}

/// The rights of [`USER`], and the cells that the user may read and write.
fn given(granted: u8, permissions: &[u8]) -> (Rights, Cells, Cells) {
    let is_granted = |role: u8| granted & (1 << role) != 0;
    let names = (0..ROLES).filter(|&role| is_granted(role));
    let mut user = User::new(USER);
    user.roles = names.map(|role| role.to_string()).collect();
    let mut roles: Vec<Role> = (0..ROLES).map(|role| Role::new(role.to_string())).collect();
    let (mut read, mut write) = (Cells::NONE, Cells::NONE);
    for bytes in permissions.chunks_exact(4) {
        let (role, kind) = (bytes[0] % ROLES, usize::from(bytes[0] / ROLES));
        let kind = PermissionType::ALL[kind % PermissionType::ALL.len()];
        let permission = Permission::new(kind, range(&bytes[1..]));
        if is_granted(role) && kind.reads() {
            read.add(&permission.range);
        }
        if is_granted(role) && kind.writes() {
            write.add(&permission.range);
        }
        roles[usize::from(role)].permissions.push(permission);
    }
    let mut data = AuthData::default();
    (data.users, data.roles) = (vec![user], roles);
    (Rights::new(data), read, write)
}

/// Two bytes: the roles of the user, and the number of permissions. Then four bytes for each
/// permission: its role and type, the form of its range, its key, its end. Then three bytes for
/// each range that is compared: form, key, end. Returns the numbers of ranges that are refused and
/// permitted.
pub(crate) fn compare_rights(data: &[u8]) -> [u64; 2] {
    let mut counts = [0, 0];
    let [granted, count, rest @ ..] = data else {
        return counts;
    };
    let (permissions, asked) = rest.split_at((usize::from(count % 16) * 4).min(rest.len()));
    let (rights, read, write) = given(*granted, permissions);
    let Some(user) = rights.user(USER) else {
        return counts;
    };
    for range in asked.chunks_exact(3).map(range) {
        for (what, found, model) in [("read", &user.read, &read), ("write", &user.write, &write)] {
            let is_covered = found.cover(&range);
            let expected = model.cover(&range);
            assert_eq!(is_covered, expected, "{what} of {range:?}: {found:?}");
            counts[usize::from(is_covered)] += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use libkv_test_support::dice::Dice;
    use libkv_test_support::seed;

    use super::*;

    #[test]
    fn random_rights_are_those_of_the_model() {
        let mut dice = Dice(seed());
        let mut counts = [0, 0];
        for _ in 0..10_000 {
            // few different keys, so that ranges touch and overlap; also the first and the last key
            let first = [0, 97, 252][dice.below(3) as usize];
            let count = dice.below(9);
            let mut data = vec![dice.roll() as u8, count as u8];
            for given in (0..count).map(|_| 2).chain([1; 20]) {
                data.extend(dice.bytes(given));
                data.extend([(); 2].map(|()| first + dice.below(4) as u8));
            }
            let found = compare_rights(&data);
            counts = [counts[0] + found[0], counts[1] + found[1]];
        }
        assert!(counts.iter().all(|&count| count > 10_000), "{counts:?}");
    }
}
