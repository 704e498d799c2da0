//! The purpose of a port that the server listens on.

/// The purpose of a port.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Port {
    /// Its connections use TLS.
    pub encrypted: bool,
    /// It serves metrics and health, and no calls.
    pub pages_only: bool,
}
