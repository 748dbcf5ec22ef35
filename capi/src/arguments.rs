//! What C passes, as Rust takes it, or what is wrong with it.

use std::ffi::{CStr, c_char};
use std::path::PathBuf;

use crate::error::Failure;

/// An object.
///
/// # Safety
///
/// `pointer` is NULL or points at a `T` that nobody changes during `'a`.
pub(crate) unsafe fn object<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    // SAFETY: NULL or valid, says the caller.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(name))
}

/// An object to be changed.
///
/// # Safety
///
/// `pointer` is NULL or points at a `T` that nobody else uses during `'a`.
pub(crate) unsafe fn object_mut<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T, Failure> {
    // SAFETY: NULL or valid and unshared, says the caller.
    unsafe { pointer.as_mut() }.ok_or_else(|| null(name))
}

/// An array.
///
/// # Safety
///
/// `pointer` is NULL or points at `len` elements that nobody changes during `'a`.
pub(crate) unsafe fn array<'a, T>(
    pointer: *const T,
    len: usize,
    name: &str,
) -> Result<&'a [T], Failure> {
    check_array(pointer, len, name)?;
    // SAFETY: not NULL, aligned and not too long, says the check; readable, says the caller.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// An array to be written.
///
/// # Safety
///
/// `pointer` is NULL or points at `len` elements that nobody else uses during `'a`.
pub(crate) unsafe fn array_mut<'a, T>(
    pointer: *mut T,
    len: usize,
    name: &str,
) -> Result<&'a mut [T], Failure> {
    check_array(pointer, len, name)?;
    // SAFETY: as for `array`, and nobody else uses it.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, len) })
}

fn check_array<T>(pointer: *const T, len: usize, name: &str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(null(name));
    }
    if !pointer.is_aligned() {
        return Err(Failure::argument(format!(
            "`{name}` does not stand on a multiple of {} bytes",
            align_of::<T>()
        )));
    }
    match len.checked_mul(size_of::<T>()) {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
        _ => Err(Failure::argument(format!("`{name}` cannot have {len} elements"))),
    }
}

/// Text in UTF-8.
///
/// # Safety
///
/// `pointer` is NULL or points at a string that ends in a zero byte and that nobody changes during `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str, Failure> {
    // SAFETY: as for this function.
    let text = unsafe { bytes(pointer, name)? };
    text.to_str().map_err(|_| Failure::argument(format!("`{name}` is not UTF-8")))
}

/// A path, which on Unix is any bytes, and UTF-8 elsewhere.
///
/// # Safety
///
/// As for [`text`].
pub(crate) unsafe fn path(pointer: *const c_char, name: &str) -> Result<PathBuf, Failure> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        // SAFETY: as for this function.
        let bytes = unsafe { bytes(pointer, name)? };
        Ok(std::ffi::OsStr::from_bytes(bytes.to_bytes()).into())
    }
    #[cfg(not(unix))]
    {
        // SAFETY: as for this function.
        Ok(unsafe { text(pointer, name)? }.into())
    }
}

unsafe fn bytes<'a>(pointer: *const c_char, name: &str) -> Result<&'a CStr, Failure> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL, so a string that ends, says the caller.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

fn null(name: &str) -> Failure {
    Failure::argument(format!("`{name}` is NULL"))
}
