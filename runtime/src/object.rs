//! What a network in an object file of its own is run by: code that was compiled ahead of time, with its weights in
//! read-only data.
//!
//! Such code is given no session: it runs on the thread that calls it, in memory of its caller's, and takes the
//! kernels' addresses from a [`Table`] at the places where [`Call::offset`](crate::kernels::Call::offset) says they
//! stand. [`run`] is all that it links with.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::context::Context;
use crate::kernels::{FlushDenormals, Isa, LINE_BYTES, Table};

/// The name of [`run`] in an object file.
pub const RUN: &str = "resnet_kernels_run";

/// What a network is made of.
///
/// # Safety
///
/// It reads the context's input and weights, reads and writes its arena and scratch, and writes its output, within the
/// lengths that it was compiled for; the table's instruction set is the CPU's.
pub type Infer = unsafe extern "C" fn(context: *const Context<'_>, kernels: *const Table);

/// The network ran.
pub const DONE: c_int = 0;
/// A pointer is NULL, or no place for floats.
pub const INVALID_ARGUMENT: c_int = 1;
/// The object was written by another version than that of the kernels that it is linked with.
pub const OTHER_VERSION: c_int = 2;

/// Another number for each version of what an object and its kernels have in common: the context, the table, the kernels'
/// parameters, the layout of packed weights and the numbers in them.
pub const FINGERPRINT: u64 = {
    let sources = [
        env!("CARGO_PKG_VERSION"),
        include_str!("context.rs"),
        include_str!("kernels/mod.rs"),
        include_str!("kernels/catalogue.rs"),
        include_str!("kernels/constants.rs"),
        include_str!("kernels/epilogue.rs"),
        include_str!("kernels/filter.rs"),
        include_str!("kernels/format.rs"),
        include_str!("kernels/params.rs"),
        include_str!("weights/pack.rs"),
        include_str!("weights/pack/bytes.rs"),
        include_str!("weights/pack/winograd.rs"),
        include_str!("weights/pack/words.rs"),
        include_str!("weights/quantised.rs"),
    ];
    // FNV-1a, in steps of a file: a constant's evaluation is bounded.
    let (mut hash, mut file) = (0xcbf2_9ce4_8422_2325, 0);
    while file < sources.len() {
        let (bytes, mut at) = (sources[file].as_bytes(), 0);
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            at += 1;
        }
        file += 1;
    }
    hash
};

/// Bytes that a caller provides for an arena and a scratch of these sizes, at any address: they begin on a cache
/// line, to which [`run`] rounds the address up.
pub const fn arena_bytes(arena_bytes: usize, scratch_bytes: usize) -> usize {
    scratch_offset(arena_bytes) + scratch_bytes + LINE_BYTES - 1
}

/// Where the scratch stands behind an arena of this size.
pub const fn scratch_offset(arena_bytes: usize) -> usize {
    arena_bytes.next_multiple_of(LINE_BYTES)
}

/// Runs a network that was compiled ahead of time, with the kernels of the best instruction set that the CPU has, which
/// is asked once a process. Returns [`DONE`], [`INVALID_ARGUMENT`] or [`OTHER_VERSION`].
///
/// # Safety
///
/// `infer` was compiled for the weights and for an input and output of the lengths that these have, unless a pointer is
/// NULL; `arena` has [`arena_bytes`], of which `scratch_offset` is the arena's part, and like the output it is nobody
/// else's during the run.
pub unsafe extern "C" fn run(
    fingerprint: u64,
    infer: Infer,
    weights: *const c_void,
    scratch_offset: usize,
    input: *const f32,
    output: *mut f32,
    arena: *mut c_void,
) -> c_int {
    let floats = !input.is_null() && !output.is_null() && input.is_aligned() && output.is_aligned();
    if !floats || arena.is_null() {
        return INVALID_ARGUMENT;
    }
    if fingerprint != FINGERPRINT {
        return OTHER_VERSION;
    }
    // SAFETY: the caller's memory has a cache line's bytes less one more than arena and scratch, which begins
    // `scratch_offset` behind the arena.
    let (arena, scratch) = unsafe {
        let arena = arena.byte_add(arena.cast::<u8>().align_offset(LINE_BYTES));
        (arena, arena.byte_add(scratch_offset))
    };
    let context = Context::in_place(input, output, arena, weights, scratch);
    let _flush = FlushDenormals::new();
    // SAFETY: the memory has the lengths of the code's, says the caller; the CPU has the table's instruction set.
    unsafe { infer(&raw const context, kernels()) };
    DONE
}

/// The kernels of the best instruction set.
fn kernels() -> *const Table {
    static KERNELS: AtomicPtr<Table> = AtomicPtr::new(ptr::null_mut());
    let known = KERNELS.load(Ordering::Relaxed);
    if !known.is_null() {
        return known;
    }
    // The table is a constant, so who finds its address needs no more order than that. Whoever comes here at the same
    // time finds the same one.
    let table = Isa::detect().table().map_or(ptr::null(), ptr::from_ref);
    KERNELS.store(table.cast_mut(), Ordering::Relaxed);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds the weight to the input, if it was given kernels, an arena on a cache line and a scratch that follows.
    unsafe extern "C" fn infer(context: *const Context<'_>, kernels: *const Table) {
        // SAFETY: the tests below give one float of each.
        unsafe {
            let context = &*context;
            assert!(!kernels.is_null() && (context.arena as usize).is_multiple_of(LINE_BYTES));
            assert_eq!(context.scratch as usize - context.arena as usize, 128);
            *context.output = *context.input + *context.weights.cast::<f32>();
        }
    }

    fn run_once(fingerprint: u64, input: *const f32) -> (c_int, f32) {
        let (weight, mut output) = (2.0_f32, 0.0);
        let mut arena = vec![0_u8; 1 + arena_bytes(100, 50)];
        // SAFETY: the arena has the bytes for a scratch after 100, which begins after 128; the others have a float.
        let status = unsafe {
            let weights = (&raw const weight).cast();
            let arena = arena.as_mut_ptr().add(1).cast();
            run(fingerprint, infer, weights, scratch_offset(100), input, &raw mut output, arena)
        };
        (status, output)
    }

    #[test]
    fn an_object_of_another_version_does_not_run() {
        assert_eq!(run_once(FINGERPRINT, &3.0), (DONE, 5.0));
        assert_eq!(run_once(FINGERPRINT ^ 1, &3.0), (OTHER_VERSION, 0.0));
        assert_eq!(run_once(FINGERPRINT, ptr::null()), (INVALID_ARGUMENT, 0.0));
    }

    #[test]
    fn a_kernel_s_address_stands_where_code_reads_it() {
        use crate::kernels::{Call, SoftmaxParams};
        let call = Call::Softmax(SoftmaxParams { channels: 1 });
        let table = Isa::detect().table().unwrap();
        // SAFETY: an address within the table, which consists of addresses.
        let read =
            unsafe { ptr::from_ref(table).byte_add(call.offset()).cast::<*const u8>().read() };
        assert_eq!(read, call.address(table));
    }
}
