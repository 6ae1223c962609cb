//! Headers of safetensors files: any bytes are parsed or refused, and what is parsed lies in the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_checkpoint::safetensors::parse;

fuzz_target!(|bytes: &[u8]| {
    match parse("fuzz.safetensors", bytes, bytes.len() as u64) {
        Ok(tensors) => {
            assert!(tensors.iter().all(|tensor| tensor.offset + tensor.bytes <= bytes.len() as u64));
        }
        Err(err) => assert!(err.to_string().contains("fuzz.safetensors")),
    }
});
