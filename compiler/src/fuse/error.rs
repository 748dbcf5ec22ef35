//! What cannot be fused.

/// A node that no operator can absorb. Tables never lead here; it marks a gap in this compiler.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "`{node}` can't be fused: {reason}; this is a bug in the compiler, please report the table"
)]
pub struct FuseError {
    /// The node's name.
    pub node: String,
    /// What was missing.
    pub reason: &'static str,
}
