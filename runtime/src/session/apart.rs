//! Pictures that are each computed by one thread, which meets the others at the end only.
//!
//! Where a core is busy with a single picture for as long as its weights take to arrive, threads gain nothing by
//! computing layers together: they would wait for each other after every one, and fetch from each other's caches
//! what the last one left there.

use std::ffi::c_void;

use super::{Shared, Variant};
use crate::context::Context;
use crate::kernels::FlushDenormals;
use crate::memory::Workspace;
use crate::threads::{Pool, Region};

/// Runs whole pictures of `input`, divided among the threads of a pool, for which the workspace was made.
pub(super) fn run(
    network: &Shared,
    workspace: &mut Workspace,
    pool: &Option<Pool>,
    input: &[f32],
    output: &mut [f32],
) {
    let (input_len, output_len) = (network.info.input_len(), network.info.outputs);
    let count = input.len() / input_len;
    assert_eq!((input.len(), output.len()), (count * input_len, count * output_len));
    let pictures = Pictures {
        variant: network.single(),
        input: input.as_ptr(),
        output: output.as_mut_ptr(),
        lens: [input_len, output_len],
        weights: network.weights.as_bytes().as_ptr().cast(),
        scratch: workspace.apart().scratch,
    };
    let region = Region {
        task,
        operands: std::ptr::from_ref(&pictures).cast(),
        scratch: workspace.arena(),
        scratch_distance: workspace.apart().distance,
    };
    let lease = pool.as_ref().and_then(Pool::lease);
    let _flush = FlushDenormals::new();
    // SAFETY: `pictures` outlives the call, and `task` takes it for what it is; iterations write answers of their own,
    // and the workspace, which is borrowed, has at such distances an arena with a scratch for each thread.
    unsafe {
        match &lease {
            Some(lease) => lease.run(region, count),
            None => region.run(0, 0..count),
        }
    }
}

/// What threads divide among them.
struct Pictures<'a> {
    variant: &'a Variant,
    input: *const f32,
    output: *mut f32,
    /// Numbers of a picture and of an answer.
    lens: [usize; 2],
    weights: *const c_void,
    /// Bytes from a thread's arena to its scratch.
    scratch: usize,
}

/// Computes pictures `first..last`.
///
/// # Safety
///
/// `pictures` points at [`Pictures`] that have as many, with the packed weights of their code and room for the answers,
/// which nobody else touches; `memory` has an arena and behind it a scratch for the code, of which no one else has the use.
unsafe extern "C" fn task(
    pictures: *const *mut c_void,
    memory: *mut c_void,
    first: usize,
    last: usize,
) {
    // SAFETY: so says the caller; nobody writes them meanwhile.
    let &Pictures { variant, input, output, lens, weights, scratch } =
        unsafe { &*pictures.cast::<Pictures<'_>>() };
    for picture in first..last {
        // SAFETY: there is such a picture, with room for its answer, and memory for an arena and a scratch; the variant is
        // for one picture at a time.
        unsafe {
            let (input, output) = (input.add(picture * lens[0]), output.add(picture * lens[1]));
            let scratch = memory.byte_add(scratch);
            variant.code.run(&Context::in_place(input, output, memory, weights, scratch));
        }
    }
}
