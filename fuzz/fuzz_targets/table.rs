//! See [`resnet_fuzz::table`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| resnet_fuzz::table(bytes));
