#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callwarden_tests::fuzzing::answers(data));
