//! Finds the watchers of a key: single keys with a hash map, ranges with an interval tree.

use std::collections::HashMap;

use crate::model::KeyRange;

/// Finds all watchers whose range contains a key.
#[derive(Default)]
pub(super) struct Index {
    keys: HashMap<Vec<u8>, Vec<u64>>,
    /// Sorted by start, then end. Watchers of the same range share an entry.
    ranges: Vec<Interval>,
    /// The latest end of each subtree. The sorted ranges are a balanced tree with its root in the
    /// middle. Empty if it must be computed again.
    latest: Vec<Option<Vec<u8>>>,
}

struct Interval {
    start: Vec<u8>,
    /// `None`: no end.
    end: Option<Vec<u8>>,
    ids: Vec<u64>,
}

/// Whether the first end is later; `None` is later than every key.
fn is_later(a: &Option<Vec<u8>>, b: &Option<Vec<u8>>) -> bool {
    match (a, b) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(a), Some(b)) => a > b,
    }
}

impl Index {
    fn find_range(&self, range: &KeyRange) -> Result<usize, usize> {
        self.ranges.binary_search_by(|interval| {
            (interval.start.as_slice(), interval.end.as_deref())
                .cmp(&(range.key.as_slice(), range.end()))
        })
    }

    pub fn add(&mut self, id: u64, range: &KeyRange) {
        if range.is_single() {
            self.keys.entry(range.key.clone()).or_default().push(id);
            return;
        }
        match self.find_range(range) {
            Ok(at) => self.ranges[at].ids.push(id),
            Err(at) => {
                let end = range.end().map(<[u8]>::to_vec);
                self.ranges.insert(
                    at,
                    Interval {
                        start: range.key.clone(),
                        end,
                        ids: vec![id],
                    },
                );
                self.latest.clear();
            }
        }
    }

    pub fn remove(&mut self, id: u64, range: &KeyRange) {
        if range.is_single() {
            if let Some(ids) = self.keys.get_mut(&range.key) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.keys.remove(&range.key);
                }
            }
            return;
        }
        if let Ok(at) = self.find_range(range) {
            self.ranges[at].ids.retain(|other| *other != id);
            if self.ranges[at].ids.is_empty() {
                self.ranges.remove(at);
                self.latest.clear();
            }
        }
    }

    /// Calls `found` with each watcher of `key`.
    pub fn find(&mut self, key: &[u8], mut found: impl FnMut(u64)) {
        if let Some(ids) = self.keys.get(key) {
            ids.iter().for_each(|id| found(*id));
        }
        if self.latest.is_empty() && !self.ranges.is_empty() {
            self.latest = vec![None; self.ranges.len()];
            measure(&self.ranges, &mut self.latest);
        }
        visit(&self.ranges, &self.latest, key, &mut found);
    }
}

/// Computes the latest end of every subtree.
fn measure(ranges: &[Interval], latest: &mut [Option<Vec<u8>>]) {
    if ranges.is_empty() {
        return;
    }
    let middle = ranges.len() / 2;
    let (left, rest) = latest.split_at_mut(middle);
    let (own, right) = rest.split_first_mut().expect("the middle is inside");
    measure(&ranges[..middle], left);
    measure(&ranges[middle + 1..], right);
    *own = ranges[middle].end.clone();
    for side in [&left, &right] {
        if let Some(end) = (!side.is_empty())
            .then(|| &side[side.len() / 2])
            .filter(|end| is_later(end, own))
        {
            *own = end.clone();
        }
    }
}

/// Visits the ranges of this subtree that contain the key. There are none if its latest end is not
/// after the key.
fn visit(ranges: &[Interval], latest: &[Option<Vec<u8>>], key: &[u8], found: &mut impl FnMut(u64)) {
    let Some(interval) = ranges.get(ranges.len() / 2) else {
        return;
    };
    let middle = ranges.len() / 2;
    let ends_before = |end: &Option<Vec<u8>>| end.as_deref().is_some_and(|end| end <= key);
    if ends_before(&latest[middle]) {
        return;
    }
    visit(&ranges[..middle], &latest[..middle], key, found);
    if interval.start.as_slice() <= key {
        if !ends_before(&interval.end) {
            interval.ids.iter().for_each(|id| found(*id));
        }
        visit(&ranges[middle + 1..], &latest[middle + 1..], key, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every range and key over three letters, compared with a linear search.
    #[test]
    fn index_finds_what_a_linear_search_finds() {
        let mut words: Vec<Vec<u8>> = vec![vec![]];
        for length in 1..3 {
            for number in 0..3usize.pow(length) {
                let digit = |place: u32| b'a' + (number / 3usize.pow(place) % 3) as u8;
                words.push((0..length).map(digit).collect());
            }
        }
        words.sort();
        let mut ranges = Vec::new();
        for start in words.iter().filter(|word| !word.is_empty()) {
            ranges.push(KeyRange::key(start.clone()));
            ranges.push(KeyRange::from_key(start.clone()));
            ranges.extend(
                words
                    .iter()
                    .filter(|end| *end > start)
                    .map(|end| KeyRange::between(start.clone(), end.clone())),
            );
        }
        let mut index = Index::default();
        ranges
            .iter()
            .enumerate()
            .for_each(|(id, range)| index.add(id as u64, range));
        for round in 0..3 {
            for key in words.iter().filter(|word| !word.is_empty()) {
                let mut found = Vec::new();
                index.find(key, |id| found.push(id));
                found.sort_unstable();
                let there = |(id, range): (usize, &KeyRange)| {
                    (id % 3 >= round && range.contains(key)).then_some(id as u64)
                };
                let expected: Vec<u64> = ranges.iter().enumerate().filter_map(there).collect();
                assert_eq!(found, expected, "round {round}, key {}", key.escape_ascii());
            }
            let gone = ranges.iter().enumerate().filter(|(id, _)| id % 3 == round);
            gone.for_each(|(id, range)| index.remove(id as u64, range));
        }
    }
}
