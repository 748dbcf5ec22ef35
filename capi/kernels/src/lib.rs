//! `libresnet_kernels.a`: the kernels, under the one name that objects of `resnet emit --as object` call them by.

use std::ffi::{c_int, c_void};

use resnet_runtime::object::{Infer, run};

/// See [`run`].
///
/// # Safety
///
/// That of [`run`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_kernels_run(
    fingerprint: u64,
    infer: Infer,
    weights: *const c_void,
    scratch_offset: usize,
    input: *const f32,
    output: *mut f32,
    arena: *mut c_void,
) -> c_int {
    // SAFETY: as this function asks for.
    unsafe { run(fingerprint, infer, weights, scratch_offset, input, output, arena) }
}
