//! How large a picture may be.

/// A few kilobytes can claim to hold a picture of many gigabytes.
pub(super) const MOST_BYTES: u64 = 512 << 20;

/// Refuses a picture that would be too large decoded.
pub(super) fn check_size(width: usize, height: usize) -> Result<(), String> {
    match 3 * width as u64 * height as u64 > MOST_BYTES {
        true => Err(format!("{width}x{height} is too large: more than 512 MiB decoded")),
        false => Ok(()),
    }
}
