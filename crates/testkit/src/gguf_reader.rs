//! Reads well-formed GGUF files: our own golden ones, to make the same model in another form. Anything else panics.

use std::path::Path;

use crate::gguf::Value;

/// A tensor with its bytes.
#[derive(Clone, Debug)]
pub struct GgufTensor {
    /// Its name.
    pub name: String,
    /// Id of the element type.
    pub ggml_type: u32,
    /// Dimensions, the fastest first.
    pub dims: Vec<u64>,
    /// Its data.
    pub bytes: Vec<u8>,
}

/// A file.
#[derive(Clone, Debug)]
pub struct GgufFile {
    /// The pairs, in the order of the file.
    pub pairs: Vec<(String, Value)>,
    /// The tensors, in the order of the file.
    pub tensors: Vec<GgufTensor>,
}

impl GgufFile {
    /// Reads the file at `path`: tensors of F32, F16, I32 and BF16, and the alignment of a file that states none.
    ///
    /// # Panics
    /// If it cannot be read or is another kind of file.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut cursor = Cursor { bytes: &bytes, at: 0 };
        assert_eq!(cursor.take(8), b"GGUF\x03\0\0\0", "{}: not a GGUF file", path.display());
        let (tensor_count, pair_count) = (cursor.u64(), cursor.u64());
        let pairs = (0..pair_count)
            .map(|_| {
                let key = cursor.string();
                let kind = cursor.u32();
                (key, cursor.value(kind))
            })
            .collect();
        let infos: Vec<_> = (0..tensor_count)
            .map(|_| {
                let (name, dim_count) = (cursor.string(), cursor.u32());
                let dims: Vec<u64> = (0..dim_count).map(|_| cursor.u64()).collect();
                (name, dims, cursor.u32(), cursor.u64())
            })
            .collect();
        let start = cursor.at.next_multiple_of(32);
        let tensors = infos.into_iter().map(|(name, dims, ggml_type, offset)| {
            let len = dims.iter().product::<u64>() as usize * element_bytes(ggml_type);
            let bytes = bytes[start + offset as usize..][..len].to_vec();
            GgufTensor { name, ggml_type, dims, bytes }
        });
        Self { pairs, tensors: tensors.collect() }
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.pairs.iter().find(|(found, _)| found == key).map(|(_, value)| value)
    }
}

fn element_bytes(ggml_type: u32) -> usize {
    match ggml_type {
        0 | 26 => 4,
        1 | 30 => 2,
        other => panic!("the type {other} is not one that golden files have"),
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, len: usize) -> &[u8] {
        self.at += len;
        &self.bytes[self.at - len..self.at]
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        *self.take(N).first_chunk().expect("as many as were taken")
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn string(&mut self) -> String {
        let len = self.u64() as usize;
        String::from_utf8(self.take(len).to_vec()).expect("text")
    }

    fn value(&mut self, kind: u32) -> Value {
        match kind {
            4 => Value::U32(self.u32()),
            5 => Value::I32(i32::from_le_bytes(self.array())),
            6 => Value::F32(f32::from_le_bytes(self.array())),
            7 => Value::Bool(self.array() == [1]),
            8 => Value::String(self.string()),
            9 => {
                let (kind, count) = (self.u32(), self.u64());
                Value::Array((0..count).map(|_| self.value(kind)).collect())
            }
            other => panic!("the kind {other} is not one that golden files have"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::GgufWriter;

    #[test]
    fn what_was_written_is_read() {
        let pairs: [(&str, Value); 6] = [
            ("a", 7u32.into()),
            ("b", (-7i32).into()),
            ("c", 0.5f32.into()),
            ("d", true.into()),
            ("e", "text".into()),
            ("f", vec!["x", ""].into()),
        ];
        let mut file = GgufWriter::new(3);
        for (key, value) in pairs.clone() {
            file = file.kv(key, value);
        }
        let bytes = file.tensor("t", 0, &[2], &[1; 8]).tensor("u", 30, &[1, 3], &[2; 6]).finish();
        let path = std::env::temp_dir().join(format!("gguf-reader-{}.gguf", std::process::id()));
        std::fs::write(&path, bytes).expect("a temporary file");
        let read = GgufFile::open(&path);
        let _ = std::fs::remove_file(&path);
        assert_eq!(read.pairs, pairs.map(|(key, value)| (key.to_owned(), value)));
        assert_eq!(read.get("e"), Some(&"text".into()));
        let shapes: Vec<_> = read.tensors.iter().map(|t| (t.name.as_str(), t.dims.as_slice())).collect();
        assert_eq!(shapes, [("t", &[2u64][..]), ("u", &[1, 3])]);
        assert_eq!(read.tensors[1].bytes, [2; 6]);
    }
}
