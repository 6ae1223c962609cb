//! The GGUF container, versions 2 and 3, little endian.
//!
//! ```text
//! "GGUF" · version u32 · tensor count u64 · pair count u64
//! pairs:    key string · type u32 · value            string = length u64 + bytes; array = type u32 + count u64 + items
//! tensors:  name string · dims u32 · dim u64 ... · type u32 · offset u64
//! padding to the alignment · tensor data; offsets count from here
//! ```
//!
//! A header is read once, forward. Arrays do not nest, so nothing recurses. Where tensors lie is checked in
//! [`crate::layout`].

use std::fmt::Arguments;
use std::io::Read;

use shoal_base::limits::{METADATA_COUNT_MAX, TENSOR_COUNT_MAX, TENSOR_DIMS_MAX};

use crate::cursor::Cursor;
use crate::error::shown;
use crate::layout::{self, RawTensor};
use crate::metadata::{Metadata, Value};
use crate::{Error, TensorInfo};

/// A key of no bytes, a type and a value of one byte.
const PAIR_BYTES_MIN: u64 = 8 + 4 + 1;
/// A name of no bytes, one dimension, type and offset.
const TENSOR_BYTES_MIN: u64 = 8 + 4 + 8 + 4 + 8;
/// Most items of an array: vocabularies and merges have at most some hundred thousand.
const ARRAY_COUNT_MAX: u64 = 1 << 24;

/// What one file holds.
pub(crate) struct Part {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<TensorInfo>,
}

/// Parses the header of a file of `file_len` bytes and checks where its tensors lie.
pub(crate) fn parse(file: &str, inner: impl Read, file_len: u64) -> Result<Part, Error> {
    let mut cursor = Cursor::new(inner, file, file_len);
    read_magic(&mut cursor)?;
    let tensor_count = cursor.u64(format_args!("the tensor count"))?;
    let pair_count = cursor.u64(format_args!("the number of metadata pairs"))?;
    cursor.limit(tensor_count, TENSOR_COUNT_MAX, &"the tensor count")?;
    cursor.limit(pair_count, METADATA_COUNT_MAX, &"the number of metadata pairs")?;
    cursor.expect(pair_count, PAIR_BYTES_MIN, &format_args!("a header of {pair_count} metadata pairs"))?;
    let mut metadata = Metadata::new(file);
    for idx in 0..pair_count {
        let (key, value) = read_pair(&mut cursor, idx)?;
        let shown_key = shown(&key);
        if !metadata.insert(key, value) {
            return Err(Error::DuplicateKey { file: cursor.file(), key: shown_key });
        }
    }
    cursor.expect(tensor_count, TENSOR_BYTES_MIN, &format_args!("a header of {tensor_count} tensors"))?;
    let raw = (0..tensor_count).map(|idx| read_tensor(&mut cursor, idx)).collect::<Result<Vec<_>, _>>()?;
    let tensors = layout::place(&metadata, cursor.position(), file_len, raw)?;
    Ok(Part { metadata, tensors })
}

fn read_magic<R: Read>(cursor: &mut Cursor<'_, R>) -> Result<(), Error> {
    let magic: [u8; 4] = cursor.bytes(format_args!("the `GGUF` mark at its start"))?;
    if magic != *b"GGUF" {
        return Err(Error::NotGguf { file: cursor.file(), found: magic.escape_ascii().to_string() });
    }
    let version = cursor.u32(format_args!("the format version"))?;
    match version {
        2 | 3 => Ok(()),
        _ if version != 0 && version & 0xFFFF == 0 => Err(Error::BigEndian { file: cursor.file() }),
        found => Err(Error::Version { file: cursor.file(), found }),
    }
}

fn read_pair<R: Read>(cursor: &mut Cursor<'_, R>, idx: u64) -> Result<(String, Value), Error> {
    let key = cursor.string(format_args!("metadata key number {}", idx + 1))?;
    let shown_key = shown(&key);
    let type_id = cursor.u32(format_args!("the type of metadata key {shown_key}"))?;
    let value = read_value(cursor, type_id, format_args!("the value of metadata key {shown_key}"))?;
    Ok((key, value))
}

fn read_value<R: Read>(
    cursor: &mut Cursor<'_, R>,
    type_id: u32,
    place: Arguments<'_>,
) -> Result<Value, Error> {
    Ok(match type_id {
        0 => Value::U8(u8::from_le_bytes(cursor.bytes(place)?)),
        1 => Value::I8(i8::from_le_bytes(cursor.bytes(place)?)),
        2 => Value::U16(u16::from_le_bytes(cursor.bytes(place)?)),
        3 => Value::I16(i16::from_le_bytes(cursor.bytes(place)?)),
        4 => Value::U32(u32::from_le_bytes(cursor.bytes(place)?)),
        5 => Value::I32(i32::from_le_bytes(cursor.bytes(place)?)),
        6 => Value::F32(f32::from_le_bytes(cursor.bytes(place)?)),
        7 => {
            let [byte] = cursor.bytes(place)?;
            Value::Bool(to_bool(cursor, byte, place)?)
        }
        8 => Value::Str(cursor.string(place)?),
        9 => read_array(cursor, place)?,
        10 => Value::U64(u64::from_le_bytes(cursor.bytes(place)?)),
        11 => Value::I64(i64::from_le_bytes(cursor.bytes(place)?)),
        12 => Value::F64(f64::from_le_bytes(cursor.bytes(place)?)),
        found => return Err(Error::ValueType { file: cursor.file(), place: place.to_string(), found }),
    })
}

fn read_array<R: Read>(cursor: &mut Cursor<'_, R>, place: Arguments<'_>) -> Result<Value, Error> {
    let item_type = cursor.u32(place)?;
    let count = cursor.u64(place)?;
    cursor.limit(count, ARRAY_COUNT_MAX, &format_args!("the number of items of {place}"))?;
    Ok(match item_type {
        0 => Value::U8s(cursor.numbers(count, u8::from_le_bytes, place)?),
        1 => Value::I8s(cursor.numbers(count, i8::from_le_bytes, place)?),
        2 => Value::U16s(cursor.numbers(count, u16::from_le_bytes, place)?),
        3 => Value::I16s(cursor.numbers(count, i16::from_le_bytes, place)?),
        4 => Value::U32s(cursor.numbers(count, u32::from_le_bytes, place)?),
        5 => Value::I32s(cursor.numbers(count, i32::from_le_bytes, place)?),
        6 => Value::F32s(cursor.numbers(count, f32::from_le_bytes, place)?),
        7 => {
            let bytes = cursor.numbers(count, u8::from_le_bytes, place)?;
            let flags = bytes.into_iter().map(|byte| to_bool(cursor, byte, place));
            Value::Bools(flags.collect::<Result<_, _>>()?)
        }
        8 => {
            cursor.expect(count, 8, &place)?;
            let strings = (0..count).map(|idx| cursor.string(format_args!("string {idx} of {place}")));
            Value::Strings(strings.collect::<Result<_, _>>()?)
        }
        9 => return Err(Error::NestedArray { file: cursor.file(), place: place.to_string() }),
        10 => Value::U64s(cursor.numbers(count, u64::from_le_bytes, place)?),
        11 => Value::I64s(cursor.numbers(count, i64::from_le_bytes, place)?),
        12 => Value::F64s(cursor.numbers(count, f64::from_le_bytes, place)?),
        found => {
            let place = format!("an item of {place}");
            return Err(Error::ValueType { file: cursor.file(), place, found });
        }
    })
}

fn to_bool<R: Read>(cursor: &Cursor<'_, R>, byte: u8, place: Arguments<'_>) -> Result<bool, Error> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(Error::Bool { file: cursor.file(), place: place.to_string(), found }),
    }
}

fn read_tensor<R: Read>(cursor: &mut Cursor<'_, R>, idx: u64) -> Result<RawTensor, Error> {
    let name = cursor.string(format_args!("the name of tensor number {}", idx + 1))?;
    let tensor = shown(&name);
    let dim_count = cursor.u32(format_args!("the shape of tensor {tensor}"))?;
    if dim_count == 0 || dim_count > TENSOR_DIMS_MAX {
        let file = cursor.file();
        return Err(Error::DimCount { file, tensor, found: dim_count, max: TENSOR_DIMS_MAX });
    }
    let shape = (0..dim_count)
        .map(|_| cursor.u64(format_args!("the shape of tensor {tensor}")))
        .collect::<Result<_, _>>()?;
    let type_id = cursor.u32(format_args!("the type of tensor {tensor}"))?;
    let offset = cursor.u64(format_args!("the offset of tensor {tensor}"))?;
    Ok(RawTensor { name, shape, type_id, offset })
}
