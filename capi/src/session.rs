//! Sessions, which run networks.

use std::num::NonZeroUsize;

use library::{DynSession, Pool};

use crate::arguments::{array, array_mut, object, object_mut};
use crate::error::{Failure, Status, free, made, status};
use crate::network::Network;

/// What runs a network: the memory of one run at a time.
pub struct Session(Box<dyn DynSession>);

/// Makes a session that runs on the thread that calls it and `threads - 1` of its own, which sleep between runs; 1
/// starts none. Outputs have the same bits for any number. NULL if there is no memory or no such thread.
///
/// # Safety
///
/// `network` is NULL or not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_session_new(
    network: *const Network,
    threads: usize,
) -> *mut Session {
    made(|| {
        // SAFETY: NULL or valid, says the caller.
        let network = unsafe { object(network, "network")? };
        let Some(threads) = NonZeroUsize::new(threads) else {
            return Err(Failure::argument("`threads` has to be at least 1"));
        };
        let pool = match threads.get() {
            1 => None,
            _ => Some(Pool::new(threads).map_err(Failure::other)?),
        };
        let session = network.network.session_in(pool.as_ref());
        session.map(Session).map_err(|error| {
            Failure::other(format!("no memory for the network's activations: {error}"))
        })
    })
}

/// Runs a batch of images: `images_len` floats, one image after the other, each planar in channel, row, column
/// order. The outputs, one after the other, are `outputs_len` floats. Both are whole numbers of what
/// `resnet_network_info` calls `input_len` and `output_len`, for as many images; neither overlaps the other. A run
/// allocates nothing.
///
/// # Safety
///
/// `session` is NULL or not freed, and no other thread uses it; `images` is NULL or points at `images_len` floats,
/// `outputs` NULL or at room for `outputs_len`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_run(
    session: *mut Session,
    images: *const f32,
    images_len: usize,
    outputs: *mut f32,
    outputs_len: usize,
) -> Status {
    status(|| {
        // SAFETY: NULL or this thread's, says the caller.
        let session = unsafe { object_mut(session, "session")? };
        // SAFETY: NULL or that many floats, says the caller.
        let images = unsafe { array(images, images_len, "images")? };
        if overlap(images.as_ptr(), images_len, outputs, outputs_len) {
            return Err(Failure::argument("`images` and `outputs` overlap"));
        }
        // SAFETY: NULL or room for that many, says the caller; no input lies there.
        let outputs = unsafe { array_mut(outputs, outputs_len, "outputs")? };
        session.0.run_batch(images, outputs).map_err(Failure::argument)
    })
}

/// Whether one of two arrays begins inside the other.
fn overlap(a: *const f32, a_len: usize, b: *const f32, b_len: usize) -> bool {
    let inside = |start: *const f32, len: usize, place: *const f32| {
        let distance = (place as usize).checked_sub(start as usize);
        distance.is_some_and(|bytes| bytes / size_of::<f32>() < len)
    };
    inside(a, a_len, b) || inside(b, b_len, a)
}

/// Frees a session, and ends its threads. NULL is ignored.
///
/// # Safety
///
/// `session` is NULL or a session that is not freed and that no thread uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_session_free(session: *mut Session) {
    // SAFETY: as this function asks for.
    unsafe { free(session) }
}
