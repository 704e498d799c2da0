//! How durable a write is.

/// How durable an acknowledged write is.
///
/// Levels may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Durability {
    /// No flush. Chosen for the whole store at its creation. A power cut may destroy the store; a
    /// killed process loses nothing.
    None,
    /// A power cut may lose the last commits but never damages the store.
    Lazy,
    /// An acknowledged write is on disk: two flushes for each commit.
    Sync,
}
