//! Writes GGUF files: well-formed ones for tests and for converting small models, and broken ones to be refused.
//!
//! The writer knows the container only. Element types are raw ids and tensors are raw bytes, so it can also write
//! what no reader should accept; [`GgufWriter::counts`], [`GgufWriter::tensor_at`] and [`Value::Raw`] are made for
//! that.
//!
//! ```text
//! "GGUF" · version u32 · tensor count u64 · pair count u64
//! pairs:    key string · type u32 · value            string = length u64 + bytes; array = type u32 + count u64 + items
//! tensors:  name string · dims u32 · dim u64 ... · type u32 · offset u64
//! padding to the alignment · tensor data, each tensor padded to the alignment; offsets count from here
//! ```

/// Alignment of a file that does not state one.
const DEFAULT_ALIGNMENT: u64 = 32;

/// A metadata value. `From` makes one of every Rust type that has a counterpart, so `kv("key", 7u32)` suffices.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Type 0.
    U8(u8),
    /// Type 1.
    I8(i8),
    /// Type 2.
    U16(u16),
    /// Type 3.
    I16(i16),
    /// Type 4.
    U32(u32),
    /// Type 5.
    I32(i32),
    /// Type 6.
    F32(f32),
    /// Type 7.
    Bool(bool),
    /// Type 8.
    String(String),
    /// Type 10.
    U64(u64),
    /// Type 11.
    I64(i64),
    /// Type 12.
    F64(f64),
    /// Type 9: items of one type. An empty array counts as one of strings; for others use [`Value::Raw`].
    Array(Vec<Value>),
    /// Any type id, followed by these bytes as they are.
    Raw(u32, Vec<u8>),
}

impl Value {
    fn type_id(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::String(_) => 8,
            Self::Array(_) => 9,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
            Self::Raw(id, _) => *id,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::U8(value) => out.push(*value),
            Self::I8(value) => out.extend(value.to_le_bytes()),
            Self::U16(value) => out.extend(value.to_le_bytes()),
            Self::I16(value) => out.extend(value.to_le_bytes()),
            Self::U32(value) => out.extend(value.to_le_bytes()),
            Self::I32(value) => out.extend(value.to_le_bytes()),
            Self::F32(value) => out.extend(value.to_le_bytes()),
            Self::Bool(value) => out.push(u8::from(*value)),
            Self::String(value) => write_string(value.as_bytes(), out),
            Self::U64(value) => out.extend(value.to_le_bytes()),
            Self::I64(value) => out.extend(value.to_le_bytes()),
            Self::F64(value) => out.extend(value.to_le_bytes()),
            Self::Array(items) => {
                let item_type = items.first().map_or(8, Self::type_id);
                out.extend(item_type.to_le_bytes());
                out.extend((items.len() as u64).to_le_bytes());
                for item in items {
                    assert_eq!(item.type_id(), item_type, "items of an array have one type");
                    item.write(out);
                }
            }
            Self::Raw(_, bytes) => out.extend(bytes),
        }
    }
}

macro_rules! value_from {
    ($($rust:ty => $variant:ident),* $(,)?) => {$(
        impl From<$rust> for Value {
            fn from(value: $rust) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

value_from! {
    u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, f32 => F32, bool => Bool,
    String => String, &str => String, u64 => U64, i64 => I64, f64 => F64,
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

/// Builds one file, pair by pair and tensor by tensor, in the order of the calls.
#[derive(Clone, Debug)]
pub struct GgufWriter {
    version: u32,
    alignment: u64,
    /// Tensor and pair count, where the true ones are not to be written.
    counts: Option<[u64; 2]>,
    pair_count: u64,
    pairs: Vec<u8>,
    tensor_count: u64,
    infos: Vec<u8>,
    data: Vec<u8>,
}

impl GgufWriter {
    /// An empty file of this format version (3 is current).
    #[must_use]
    pub fn new(version: u32) -> Self {
        Self {
            version,
            alignment: DEFAULT_ALIGNMENT,
            counts: None,
            pair_count: 0,
            pairs: Vec::new(),
            tensor_count: 0,
            infos: Vec::new(),
            data: Vec::new(),
        }
    }

    /// Adds a pair. The same key may be added twice; a reader should refuse that.
    #[must_use]
    pub fn kv(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        write_string(key.as_bytes(), &mut self.pairs);
        self.pairs.extend(value.type_id().to_le_bytes());
        value.write(&mut self.pairs);
        self.pair_count += 1;
        self
    }

    /// Sets the alignment of tensor data and states it in the file.
    ///
    /// # Panics
    /// If tensors were added already, or the alignment is 0.
    #[must_use]
    pub fn alignment(mut self, alignment: u32) -> Self {
        assert!(alignment > 0 && self.data.is_empty(), "the alignment comes before the tensors");
        self.alignment = u64::from(alignment);
        self.kv("general.alignment", alignment)
    }

    /// Adds a tensor with its data; `dims` has the fastest dimension first.
    #[must_use]
    pub fn tensor(mut self, name: &str, ggml_type: u32, dims: &[u64], bytes: &[u8]) -> Self {
        let offset = self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        pad(&mut self.data, self.alignment);
        self.tensor_at(name, ggml_type, dims, offset)
    }

    /// Describes a tensor at `offset` of the data section without adding data.
    #[must_use]
    pub fn tensor_at(mut self, name: &str, ggml_type: u32, dims: &[u64], offset: u64) -> Self {
        write_string(name.as_bytes(), &mut self.infos);
        self.infos.extend((dims.len() as u32).to_le_bytes());
        self.infos.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
        self.infos.extend(ggml_type.to_le_bytes());
        self.infos.extend(offset.to_le_bytes());
        self.tensor_count += 1;
        self
    }

    /// Writes these counts into the header in place of the true ones.
    #[must_use]
    pub fn counts(mut self, tensors: u64, pairs: u64) -> Self {
        self.counts = Some([tensors, pairs]);
        self
    }

    /// The file.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let [tensors, pairs] = self.counts.unwrap_or([self.tensor_count, self.pair_count]);
        let header_len = 24 + self.pairs.len() + self.infos.len();
        let mut out = Vec::with_capacity(header_len + self.alignment as usize + self.data.len());
        out.extend(b"GGUF");
        out.extend(self.version.to_le_bytes());
        out.extend(tensors.to_le_bytes());
        out.extend(pairs.to_le_bytes());
        out.extend(&self.pairs);
        out.extend(&self.infos);
        pad(&mut out, self.alignment);
        out.extend(&self.data);
        out
    }
}

fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

fn pad(bytes: &mut Vec<u8>, alignment: u64) {
    bytes.resize(bytes.len().next_multiple_of(alignment as usize), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_bytes_of_the_format() {
        let file = GgufWriter::new(3).kv("k", 5u16).tensor("t", 0, &[2], &[1, 2, 3, 4, 5, 6, 7, 8]).finish();
        let mut expected = b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
        expected.extend(b"\x01\0\0\0\0\0\0\0k\x02\0\0\0\x05\0");
        expected.extend(b"\x01\0\0\0\0\0\0\0t\x01\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        expected.resize(96, 0);
        expected.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        expected.resize(128, 0);
        assert_eq!(file, expected);
    }

    #[test]
    fn tensors_start_at_the_alignment() {
        let one =
            GgufWriter::new(3).alignment(64).tensor("a", 24, &[1], &[7]).tensor("b", 24, &[1], &[9]).finish();
        assert_eq!(one.len() % 64, 0);
        assert_eq!((one[one.len() - 128], one[one.len() - 64]), (7, 9));
    }
}
