#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lith_fuzz::content::check(bytes));
