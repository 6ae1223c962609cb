//! GGUF headers: any bytes are parsed or refused, and what is parsed keeps the promises that readers rely on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_checkpoint::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    match Checkpoint::from_bytes("fuzz.gguf", bytes) {
        Ok(checkpoint) => check(&checkpoint, bytes.len() as u64),
        Err(err) => assert!(err.to_string().contains("fuzz.gguf")),
    }
});

fn check(checkpoint: &Checkpoint, len: u64) {
    let metadata = checkpoint.metadata();
    for (key, value) in metadata.iter() {
        // NaN differs from itself, so identity is asked for, not equality.
        assert!(metadata.get(key).is_some_and(|found| std::ptr::eq(found, value)));
        let _ = (value.kind(), value.array_len(), value.to_string());
        let _ = (metadata.str(key), metadata.u32(key), metadata.f32(key), metadata.bool(key));
        let _ = (metadata.strings(key), metadata.i32s(key), metadata.u32s(key), metadata.f32s(key));
        let _ = (metadata.required_u32(key), metadata.required_i32s(key).err().map(|err| err.to_string()));
    }
    let _ = (checkpoint.name(), checkpoint.file_bytes());
    for tensor in checkpoint.tensors() {
        assert!(tensor.bytes > 0 && tensor.pieces[0].codes.offset + tensor.bytes <= len);
        assert_eq!(tensor.row_bytes() * tensor.rows(), tensor.bytes);
        assert_eq!(tensor.cols() * tensor.rows(), tensor.elements());
        assert_eq!(tensor.dtype.row_bytes(tensor.cols() as usize), Some(tensor.row_bytes() as usize));
        assert_eq!(checkpoint.tensor(&tensor.name), Some(tensor));
    }
}
