#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanfare_realtime_pubsub::wire::fuzz::frame(data));
