//! documents in libfuzzer's loop.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    weir_fuzz::documents::run(data);
});
