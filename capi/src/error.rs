//! How functions of C fail.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a function ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// An argument is NULL, or has another length than it has to have.
    InvalidArgument = 1,
    /// What was asked for cannot be done: a file, a table, weights, memory.
    Failed = 2,
    /// A bug in the library.
    Panicked = 3,
}

/// Why a function ends early.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    message: String,
}

impl Failure {
    pub(crate) fn argument(message: impl Display) -> Self {
        Self { status: Status::InvalidArgument, message: message.to_string() }
    }

    pub(crate) fn other(error: impl Display) -> Self {
        Self { status: Status::Failed, message: error.to_string() }
    }
}

thread_local! {
    static LAST: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// Why the last function that failed on this thread did, in UTF-8, perhaps several lines; "" if none has. The text
/// is the thread's, and stays until another function fails on it or it ends.
#[unsafe(no_mangle)]
pub extern "C" fn resnet_last_error() -> *const c_char {
    let last = LAST.try_with(|last| last.borrow().as_ref().map(|text| text.as_ptr()));
    last.ok().flatten().unwrap_or(c"".as_ptr())
}

/// The library's version, such as "0.1.0": a constant.
#[unsafe(no_mangle)]
pub extern "C" fn resnet_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Text for C. What ends one there is replaced.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// Does what may fail, or panic, and keeps why it did.
pub(crate) fn status(body: impl FnOnce() -> Result<(), Failure>) -> Status {
    match caught(body) {
        Ok(()) => Status::Ok,
        Err(status) => status,
    }
}

/// Makes what becomes the caller's; NULL if that fails.
pub(crate) fn made<T>(body: impl FnOnce() -> Result<T, Failure>) -> *mut T {
    caught(|| body().map(|made| Box::into_raw(Box::new(made)))).unwrap_or(std::ptr::null_mut())
}

fn caught<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Status> {
    // What a panic leaves behind is buffers, which the next run writes anew.
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(Failure { status: Status::Panicked, message: format!("a bug in the library: {text}") })
    });
    outcome.map_err(|Failure { status, message }| {
        // A thread that is about to end keeps no more messages.
        let _ = LAST.try_with(|last| *last.borrow_mut() = Some(c_string(&message)));
        status
    })
}

/// Frees what [`made`] made.
///
/// # Safety
///
/// `pointer` is NULL, or what `made` returned and nobody has freed or uses.
pub(crate) unsafe fn free<T>(pointer: *mut T) {
    if !pointer.is_null() {
        status(|| {
            // SAFETY: `made` boxed it, and the caller gives it up.
            drop(unsafe { Box::from_raw(pointer) });
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn last() -> String {
        // SAFETY: `resnet_last_error` returns a string that lives until the next error.
        unsafe { CStr::from_ptr(resnet_last_error()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_is_an_error() {
        let panicked = status(|| panic!("{} things", 3));
        assert_eq!((panicked, &*last()), (Status::Panicked, "a bug in the library: 3 things"));
        assert!(made::<u8>(|| panic!("one")).is_null());
        assert_eq!(last(), "a bug in the library: one");
    }

    #[test]
    fn a_thread_has_its_own_last_error() {
        status(|| Err(Failure::other("here\0there")));
        assert_eq!(last(), "here\u{fffd}there");
        std::thread::spawn(|| assert_eq!(last(), "")).join().unwrap();
        assert_eq!(status(|| Ok(())), Status::Ok);
        assert_eq!(last(), "here\u{fffd}there");
    }
}
