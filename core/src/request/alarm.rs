//! Alarms.

use crate::model::Revision;

/// The type of an alarm. etcd's `AlarmType` without NONE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AlarmKind {
    /// The quota is used up. Requests that need space (puts, grants, txns with a put) return
    /// `full`; deletions, revocations and compactions still work.
    NoSpace,
    /// The data may be damaged. Every write returns `corrupt`.
    Corrupt,
}

impl AlarmKind {
    /// Both types, in the order of their numbers.
    pub const ALL: [AlarmKind; 2] = [AlarmKind::NoSpace, AlarmKind::Corrupt];

    /// etcd's name: `NOSPACE`, `CORRUPT`.
    pub fn name(self) -> &'static str {
        match self {
            AlarmKind::NoSpace => "NOSPACE",
            AlarmKind::Corrupt => "CORRUPT",
        }
    }
}

impl std::fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The action of an [`Alarm`] request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum AlarmAction {
    /// Lists the active alarms.
    #[default]
    Get,
    /// Activates an alarm.
    Activate,
    /// Disarms an alarm.
    Deactivate,
}

/// Lists, activates or disarms alarms. An active alarm stays active until it is disarmed, also
/// after a restart. It applies to every process that writes, whichever member it names. etcd's
/// `AlarmRequest`.
///
/// Build it with [`Alarm::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct Alarm {
    /// The action.
    pub action: AlarmAction,
    /// The member id, as given, including 0. No effect with [`AlarmAction::Get`].
    pub member: u64,
    /// The alarm type. `None` selects all types for [`AlarmAction::Get`]; for other actions it
    /// makes the request do nothing.
    pub kind: Option<AlarmKind>,
}

impl Alarm {
    /// Does `action`, for member 0 and no alarm type.
    pub fn new(action: AlarmAction) -> Alarm {
        Alarm {
            action,
            ..Alarm::default()
        }
    }

    /// Sets the member id.
    pub fn member(mut self, member: u64) -> Alarm {
        self.member = member;
        self
    }

    /// Sets the alarm type.
    pub fn kind(mut self, kind: impl Into<Option<AlarmKind>>) -> Alarm {
        self.kind = kind.into();
        self
    }
}

/// An alarm that is active, or that was just disarmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AlarmMember {
    /// The member id.
    pub member: u64,
    /// The alarm type.
    pub kind: AlarmKind,
}

/// The response to an [`Alarm`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct AlarmResponse {
    /// The store's revision: alarms do not change it.
    pub revision: Revision,
    /// The requested alarms, sorted by kind and member; or the alarm that was activated (also if it
    /// was active already) or disarmed; or empty.
    pub alarms: Vec<AlarmMember>,
}
