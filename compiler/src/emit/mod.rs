//! Back ends: each takes a [`Plan`](crate::plan::Plan) and runs its programs, or prints them in another
//! language. [`mod@reference`] alone runs the [`Graph`](crate::graph::Graph), by definition.

#[cfg(feature = "jit")]
pub mod clif;
pub mod interpret;
#[cfg(feature = "jit")]
pub mod jit;
#[cfg(feature = "object")]
pub mod object;
pub mod reference;
#[cfg(feature = "rust")]
pub mod rust;
