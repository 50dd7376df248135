//! replies in libfuzzer's loop.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    weir_fuzz::replies::run(data);
});
