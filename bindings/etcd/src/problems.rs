//! Alarms and other problems of a store, in the form of etcd's `Status` response and pages.

use libkv::{AlarmKind, AlarmMember, Status};

const POISONED: &str = "POISONED";
const REMOVED: &str = "REMOVED";

/// Conditions that are not alarms of etcd's and that cannot be disarmed.
pub fn conditions(status: &Status) -> impl Iterator<Item = &'static str> + use<> {
    let poisoned = status.poisoned.then_some(POISONED);
    let removed = status.removed.then_some(REMOVED);
    poisoned.into_iter().chain(removed)
}

/// The names of the active alarms and of the other conditions.
pub fn names(status: &Status) -> impl Iterator<Item = &'static str> {
    let alarms = status.alarms.iter().map(|alarm| alarm.kind.name());
    alarms.chain(conditions(status))
}

/// The field `errors` of a `Status` response.
pub fn errors_out(status: &Status) -> Vec<String> {
    let alarms = status.alarms.iter().map(alarm_out);
    alarms
        .chain(conditions(status).map(str::to_string))
        .collect()
}

/// An alarm as Go prints its message, with a space at the end; the member is omitted if it is 0.
fn alarm_out(alarm: &AlarmMember) -> String {
    match alarm.member {
        0 => format!("alarm:{} ", alarm.kind),
        member => format!("memberID:{member} alarm:{} ", alarm.kind),
    }
}

/// A status with the alarms and conditions in the field `errors` of a `Status` response.
pub fn errors_in(errors: &[String]) -> Status {
    let has = |condition: &str| errors.iter().any(|error| error == condition);
    let mut status = Status::default();
    status.alarms = errors.iter().filter_map(|error| alarm_in(error)).collect();
    status.poisoned = has(POISONED);
    status.removed = has(REMOVED);
    status
}

fn alarm_in(error: &str) -> Option<AlarmMember> {
    let (member, name) = error.trim_end().split_once("alarm:")?;
    let kind = AlarmKind::ALL
        .into_iter()
        .find(|kind| kind.name() == name)?;
    let member = match member {
        "" => 0,
        member => member.trim_end().strip_prefix("memberID:")?.parse().ok()?,
    };
    Some(AlarmMember { member, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_errors_are_written_as_in_etcd_and_read_back() {
        let alarm = |member, kind| AlarmMember { member, kind };
        let mut status = Status::default();
        status.alarms = vec![
            alarm(u64::MAX, AlarmKind::NoSpace),
            alarm(0, AlarmKind::Corrupt),
        ];
        status.removed = true;
        let errors = errors_out(&status);
        assert_eq!(
            errors,
            [
                "memberID:18446744073709551615 alarm:NOSPACE ",
                "alarm:CORRUPT ",
                "REMOVED"
            ]
        );
        assert_eq!(errors_in(&errors), status);
        let unknown = [
            "etcdserver: no leader",
            "memberID:x alarm:NOSPACE ",
            "alarm:NONE ",
        ];
        assert_eq!(errors_in(&unknown.map(String::from)), Status::default());
    }
}
