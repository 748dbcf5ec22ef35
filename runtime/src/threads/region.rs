//! A parallel region: a function and the iterations that it is to do.

use std::ffi::c_void;
use std::ops::Range;

/// The body of a parallel region: runs iterations `first..last` on `operands`, with the scratch of
/// the thread that it runs on. It does not unwind.
///
/// # Safety
///
/// The operands point at what the region was compiled for, the scratch at as many bytes as its
/// network needs, which no one else uses meanwhile.
pub type Task = unsafe extern "C" fn(
    operands: *const *mut c_void,
    scratch: *mut c_void,
    first: usize,
    last: usize,
);

/// What is to be done in a region.
#[derive(Clone, Copy)]
pub(crate) struct Region {
    pub(crate) task: Task,
    pub(crate) operands: *const *mut c_void,
    pub(crate) scratch: *mut c_void,
    /// In bytes.
    pub(crate) scratch_distance: usize,
}

// SAFETY: `operands` points at pointers that no one writes during the region, and the iterations
// may run on any thread: `parallel` demands that they are independent of one another. Each thread
// uses a scratch of its own.
unsafe impl Send for Region {}

impl Region {
    /// Nothing.
    pub(super) const EMPTY: Self = {
        unsafe extern "C" fn nothing(_: *const *mut c_void, _: *mut c_void, _: usize, _: usize) {}
        let (operands, scratch) = (std::ptr::null(), std::ptr::null_mut());
        Self { task: nothing, operands, scratch, scratch_distance: 0 }
    };

    /// Runs some iterations on the thread that is `member` of its team.
    ///
    /// # Safety
    ///
    /// The task may run these iterations, and there is a scratch for this member that no other
    /// thread uses.
    pub(crate) unsafe fn run(&self, member: usize, iterations: Range<usize>) {
        // SAFETY: the caller says that the member has a scratch, which is so many distances from the
        // first one, and that the task may run these iterations with it.
        unsafe {
            let scratch = self.scratch.byte_add(member * self.scratch_distance);
            (self.task)(self.operands, scratch, iterations.start, iterations.end);
        }
    }
}
