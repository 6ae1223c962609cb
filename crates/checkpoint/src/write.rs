//! The header of a GGUF file that is yet to be filled: for files that are made here, whose data somebody else writes.
//!
//! ```text
//! "GGUF" · 3 · tensor count · pair count · pairs · tensors, each with its place · padding · data
//! ```
//! Data begins at a multiple of [`ALIGNMENT`], and so does each tensor.

use shoal_quant::Dtype;

use crate::Value;

/// Alignment of tensor data, in bytes: the format's default.
pub const ALIGNMENT: u64 = 32;

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTensor {
    /// Its name.
    pub name: String,
    /// Its format.
    pub dtype: Dtype,
    /// One to four dimensions, the fastest first: whole blocks.
    pub shape: Vec<u64>,
}

impl NewTensor {
    /// Length in bytes.
    ///
    /// # Panics
    /// If rows are not whole blocks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let row = self.dtype.row_bytes(self.shape[0] as usize).expect("rows of whole blocks");
        row as u64 * self.shape[1..].iter().product::<u64>()
    }
}

/// A header, and where the data goes.
#[derive(Clone, Debug)]
pub struct Header {
    /// What the file begins with.
    pub bytes: Vec<u8>,
    /// For each tensor the place of its first byte in the file.
    pub offsets: Vec<u64>,
    /// Length of the whole file.
    pub file_len: u64,
}

/// The header of a file with these pairs and tensors.
///
/// # Panics
/// If rows are not whole blocks, or a format is one that no file holds.
#[must_use]
pub fn header(pairs: &[(String, Value)], tensors: &[NewTensor]) -> Header {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((pairs.len() as u64).to_le_bytes());
    for (key, value) in pairs {
        string(key, &mut bytes);
        write_value(value, &mut bytes);
    }
    let mut next = 0;
    let mut offsets = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        string(&tensor.name, &mut bytes);
        bytes.extend((tensor.shape.len() as u32).to_le_bytes());
        bytes.extend(tensor.shape.iter().flat_map(|dim| dim.to_le_bytes()));
        let id = tensor.dtype.ggml_id().expect("a format that files hold");
        bytes.extend(id.to_le_bytes());
        bytes.extend(u64::to_le_bytes(next));
        offsets.push(next);
        next = (next + tensor.bytes()).next_multiple_of(ALIGNMENT);
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
    let start = bytes.len() as u64;
    offsets.iter_mut().for_each(|offset| *offset += start);
    Header { bytes, offsets, file_len: start + next }
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// The id of the value's type, then its bytes.
fn write_value(value: &Value, out: &mut Vec<u8>) {
    macro_rules! one {
        ($id:expr, $value:expr) => {{
            out.extend(u32::to_le_bytes($id));
            out.extend($value.to_le_bytes());
        }};
    }
    macro_rules! many {
        ($id:expr, $items:expr) => {{
            array($id, $items.len(), out);
            out.extend($items.iter().flat_map(|item| item.to_le_bytes()));
        }};
    }
    match value {
        Value::U8(value) => one!(0, value),
        Value::I8(value) => one!(1, value),
        Value::U16(value) => one!(2, value),
        Value::I16(value) => one!(3, value),
        Value::U32(value) => one!(4, value),
        Value::I32(value) => one!(5, value),
        Value::F32(value) => one!(6, value),
        Value::Bool(value) => one!(7, u8::from(*value)),
        Value::Str(text) => {
            out.extend(8u32.to_le_bytes());
            string(text, out);
        }
        Value::U64(value) => one!(10, value),
        Value::I64(value) => one!(11, value),
        Value::F64(value) => one!(12, value),
        Value::U8s(items) => many!(0, items),
        Value::I8s(items) => many!(1, items),
        Value::U16s(items) => many!(2, items),
        Value::I16s(items) => many!(3, items),
        Value::U32s(items) => many!(4, items),
        Value::I32s(items) => many!(5, items),
        Value::F32s(items) => many!(6, items),
        Value::Bools(items) => {
            array(7, items.len(), out);
            out.extend(items.iter().map(|&flag| u8::from(flag)));
        }
        Value::Strings(items) => {
            array(8, items.len(), out);
            items.iter().for_each(|text| string(text, out));
        }
        Value::U64s(items) => many!(10, items),
        Value::I64s(items) => many!(11, items),
        Value::F64s(items) => many!(12, items),
    }
}

fn array(item_id: u32, len: usize, out: &mut Vec<u8>) {
    out.extend(9u32.to_le_bytes());
    out.extend(item_id.to_le_bytes());
    out.extend((len as u64).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Checkpoint;

    #[test]
    fn what_is_written_reads_back() {
        let pairs: Vec<(String, Value)> = [
            ("general.name", Value::Str("a name".to_owned())),
            ("a", Value::U32s(vec![0, 4, 128])),
            ("b", Value::F32s(vec![1.5])),
            ("c", Value::Strings(vec!["x".to_owned(), String::new()])),
            ("d", Value::Bool(true)),
            ("e", Value::I64(-7)),
            ("f", Value::Bools(vec![true, false])),
            ("g", Value::F64(0.25)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let tensor = |name: &str, dtype, shape: &[u64]| NewTensor {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
        };
        let tensors = [tensor("x", Dtype::F32, &[3]), tensor("y", Dtype::Q4_K, &[512, 3, 2])];
        let header = header(&pairs, &tensors);
        let mut file = header.bytes.clone();
        file.resize(header.file_len as usize, 0);
        let checkpoint = Checkpoint::from_bytes("it", &file).expect("our own file");
        assert_eq!(checkpoint.name(), "a name");
        for (key, value) in &pairs {
            assert_eq!(checkpoint.metadata().get(key), Some(value), "{key}");
        }
        for ((found, tensor), offset) in checkpoint.tensors().iter().zip(&tensors).zip(&header.offsets) {
            assert_eq!((&found.name, found.dtype, &found.shape), (&tensor.name, tensor.dtype, &tensor.shape));
            assert_eq!((found.pieces[0].codes.offset, found.bytes), (*offset, tensor.bytes()));
        }
    }
}
