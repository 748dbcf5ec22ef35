//! Winograd convolutions.

mod filters;
mod kernels;
mod layers;

pub(super) use filters::Form;
