//! See [`resnet_fuzz::checkpoint`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| resnet_fuzz::checkpoint(bytes));
