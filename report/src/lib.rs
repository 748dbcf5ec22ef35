//! Networks as pictures. Nothing here knows of files, of a command line or of machine code, so that a page in a
//! browser can draw the same.

pub mod curves;
pub mod draw;
pub mod network;
pub mod page;
pub mod profile;
pub mod roofline;
pub mod scatter;
