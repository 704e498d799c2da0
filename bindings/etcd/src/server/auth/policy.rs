//! What each call needs, as far as that does not depend on its request.

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Nothing, not even a valid token.
    Free,
    /// Any user.
    AnyUser,
    /// The role root.
    Root,
    /// What its service decides from the request.
    ByRequest,
}

/// The policy of a call. A call that is not named here needs the role root.
pub(crate) fn policy(service: &str, name: &str) -> Policy {
    match (service, name) {
        ("grpc.health.v1.Health", _) | ("etcdserverpb.Auth", "Authenticate") => Policy::Free,
        ("etcdserverpb.KV", "Compact") => Policy::Root,
        ("etcdserverpb.KV" | "etcdserverpb.Watch", _) => Policy::ByRequest,
        ("etcdserverpb.Lease", "LeaseGrant") => Policy::AnyUser,
        ("etcdserverpb.Lease", _) => Policy::ByRequest,
        ("v3lockpb.Lock" | "v3electionpb.Election", _) => Policy::ByRequest,
        ("etcdserverpb.Cluster", "MemberList") => Policy::AnyUser,
        // URLs are checked before the user
        ("etcdserverpb.Cluster", "MemberAdd") => Policy::ByRequest,
        ("etcdserverpb.Maintenance", "Status") => Policy::AnyUser,
        ("etcdserverpb.Maintenance", "Alarm") => Policy::ByRequest,
        ("etcdserverpb.Auth", "AuthStatus" | "UserGet" | "RoleGet") => Policy::ByRequest,
        _ => Policy::Root,
    }
}
