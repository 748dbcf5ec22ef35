//! See [`resnet_fuzz::schedule`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| resnet_fuzz::schedule(bytes));
