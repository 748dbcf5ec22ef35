//! See [`resnet_fuzz::inline`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| resnet_fuzz::inline(bytes));
