//! Writes small valid inputs to `corpus/<target>/`, from which the fuzzer starts.

use std::path::Path;

use shoal_quant::Dtype;
use shoal_testkit::gguf::{GgufWriter, Value};

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    save(&corpus.join("gguf"), gguf_files())?;
    save(&corpus.join("quant_decode"), quant_rows())
}

fn save(folder: &Path, seeds: impl IntoIterator<Item = Vec<u8>>) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (idx, seed) in seeds.into_iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{idx:02}")), seed)?;
    }
    Ok(())
}

/// Every value type, every element type, several tensors, a split set of one, another version and alignment.
fn gguf_files() -> Vec<Vec<u8>> {
    let new = || GgufWriter::new(3);
    let scalars = new().kv("a", 1u8).kv("b", -1i8).kv("c", 1u16).kv("d", -1i16).kv("e", 1u32).kv("f", -1i32);
    let scalars =
        scalars.kv("g", 1u64).kv("h", -1i64).kv("i", 0.5f32).kv("j", 0.5f64).kv("k", true).kv("l", "text");
    let arrays = new().kv("a", vec![1u8]).kv("b", vec![-1i8]).kv("c", vec![1u16, 2]).kv("d", vec![-1i16]);
    let arrays = arrays.kv("e", vec![1u32]).kv("f", vec![-1i32]).kv("g", vec![1u64]).kv("h", vec![-1i64]);
    let arrays =
        arrays.kv("i", vec![0.5f32]).kv("j", vec![0.5f64]).kv("k", vec![true, false]).kv("l", vec!["", "x"]);
    let nested = Value::Array(vec![Value::Array(vec![1u32.into()])]);
    let split = new().kv("split.no", 0u16).kv("split.count", 1u16).kv("split.tensors.count", 0i32);
    let part = new().kv("split.no", 0u16).kv("split.count", 2u16).kv("split.tensors.count", 0i32);
    let several = GgufWriter::new(2)
        .alignment(8)
        .kv("general.name", "m")
        .tensor("x", 0, &[2, 1], &[0; 8])
        .tensor("y", 1, &[1, 1, 1, 3], &[0; 6])
        .tensor("z", 8, &[32], &[0; 34]);
    let one_each = Dtype::ALL.iter().map(|dtype| {
        let dims = [dtype.block_len() as u64, 1];
        new().tensor("t", dtype.ggml_id(), &dims, &vec![0; dtype.block_bytes()])
    });
    let files = [new(), scalars, arrays, new().kv("n", nested), split, part, several];
    files.into_iter().chain(one_each).map(GgufWriter::finish).collect()
}

/// One block of every format, behind the byte that chooses it.
fn quant_rows() -> Vec<Vec<u8>> {
    let row = |(idx, dtype): (usize, &Dtype)| {
        let block = (0..dtype.block_bytes()).map(|at| (at * 37) as u8);
        std::iter::once(idx as u8).chain(block).collect()
    };
    Dtype::ALL.iter().enumerate().map(row).collect()
}
