//! The conditions of a request that are not in the request.

use crate::auth::AuthStamp;

/// What a request is applied under, beside its own fields.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions {
    /// A request that the quota refuses raises an alarm, which must be committed although the
    /// request is refused.
    pub raises_alarm: bool,
    /// The request is refused if users, roles or permissions were changed since this stamp.
    pub auth: Option<AuthStamp>,
}
