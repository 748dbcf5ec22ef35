//! What only training needs: gradients of the other kernels, statistics of batches, losses, updates.
//!
//! Sums over a batch are taken of what each image has, in the images' order, whatever the threads.

mod channel;
mod constants;
mod conv;
mod group;
mod loss;
mod magnitude;
mod norm;
mod plane;
mod pool;
mod standardise;
mod update;
mod winograd;

pub use constants::*;

pub(super) use channel::{channel_conv_gradient, gate_gradient};
pub(super) use conv::conv_gradient;
pub(super) use group::{group_gradient, group_moments};
pub(super) use loss::cross_entropy;
pub(super) use magnitude::magnitude;
pub(super) use norm::{batch_gradient, batch_moments, norm_input, norm_sums, sum_images};
pub(super) use plane::{dilate, mask, shift, spread};
pub(super) use pool::{average_pool_gradient, blur_gradient, max_pool_gradient};
pub(super) use standardise::{standardise, standardise_gradient};
pub(super) use update::{fetch, gather, sgd};
pub(super) use winograd::{winograd_gradient, winograd_weights, winograd_weights_gradient};
