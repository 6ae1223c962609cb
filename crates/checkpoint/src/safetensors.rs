//! The safetensors container: what a file holds, by its header alone.
//!
//! ```text
//! header length u64 · header: one JSON object · data
//! { "name": {"dtype": "F8_E4M3", "shape": [rows, cols], "data_offsets": [begin, end]}, ..., "__metadata__": {..} }
//! ```
//! Offsets count from the end of the header. Everything is checked against the length of the file and against type and shape;
//! types that are not known here are kept by name, since nobody may ask for them.

use std::fmt;
use std::io::Read;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use shoal_base::limits::{SAFETENSORS_HEADER_BYTES_MAX, TENSOR_COUNT_MAX};

use crate::error::shown;
use crate::{Error, json};

/// Most dimensions that a shape may have here: those that are used have at most two.
const DIMS_MAX: usize = 8;

/// The type of a tensor's elements.
#[allow(missing_docs, reason = "each variant is named as files name it")]
#[allow(non_camel_case_types)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementType {
    F32,
    F16,
    BF16,
    F8_E4M3,
    F8_E8M0,
    I64,
    I32,
    I8,
    /// Any other, by its name.
    Other(String),
}

impl ElementType {
    fn named(name: String) -> Self {
        match name.as_str() {
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::BF16,
            "F8_E4M3" => Self::F8_E4M3,
            "F8_E8M0" => Self::F8_E8M0,
            "I64" => Self::I64,
            "I32" => Self::I32,
            "I8" => Self::I8,
            _ => Self::Other(name),
        }
    }

    /// Bits of an element, where that is known.
    fn bits(&self) -> Option<u64> {
        Some(match self {
            Self::I64 => 64,
            Self::F32 | Self::I32 => 32,
            Self::F16 | Self::BF16 => 16,
            Self::F8_E4M3 | Self::F8_E8M0 | Self::I8 => 8,
            Self::Other(name) => match name.as_str() {
                "F64" | "U64" | "C64" => 64,
                "U32" => 32,
                "I16" | "U16" => 16,
                "U8" | "BOOL" | "F8_E5M2" => 8,
                _ => return None,
            },
        })
    }
}

/// As files spell it, cut and escaped where a file made it up.
impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(name) => f.write_str(&shown(name)),
            known => write!(f, "{known:?}"),
        }
    }
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub element: ElementType,
    /// Its dimensions, the slowest first.
    pub shape: Vec<u64>,
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Length in bytes; it lies within the file.
    pub bytes: u64,
}

/// The tensors of a file of `file_len` bytes, in the order of its header; `file` names it in messages.
///
/// # Errors
/// If the header is longer than the file or [`SAFETENSORS_HEADER_BYTES_MAX`], is not what it should be, names a tensor twice, or a
/// tensor does not lie in the file or is not as long as its type and shape say.
pub fn parse(file: &str, mut inner: impl Read, file_len: u64) -> Result<Vec<Stored>, Error> {
    let cut = |place: &str, needed: u64, remaining: u64| Error::HeaderCut {
        file: file.to_owned(),
        place: place.to_owned(),
        needed: needed.into(),
        remaining,
    };
    let remaining = file_len.checked_sub(8).ok_or_else(|| cut("the length of the header", 8, file_len))?;
    let mut read = |offset: u64, buf: &mut [u8]| {
        let len = buf.len() as u64;
        inner.read_exact(buf).map_err(|source| Error::Read { file: file.to_owned(), offset, len, source })
    };
    let mut len = [0; 8];
    read(0, &mut len)?;
    let len = u64::from_le_bytes(len);
    if len > SAFETENSORS_HEADER_BYTES_MAX {
        let (file, place) = (file.to_owned(), "the length of the header".to_owned());
        return Err(Error::Limit { file, place, found: len, max: SAFETENSORS_HEADER_BYTES_MAX });
    }
    if len > remaining {
        return Err(cut("the header", len, remaining));
    }
    let mut header = vec![0; len as usize];
    read(8, &mut header)?;
    let Header(raw) = json::parse(file, &header)?;
    drop(header);
    let (data_start, held) = (8 + len, remaining - len);
    let tensors: Vec<Stored> = raw
        .into_iter()
        .map(|(name, raw)| check(file, name, raw, data_start, held))
        .collect::<Result<_, _>>()?;
    let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::DuplicateTensor { file: file.to_owned(), tensor: shown(pair[0]) }),
        None => Ok(tensors),
    }
}

/// Checks one tensor of a file with `held` bytes of data from `data_start` on.
fn check(file: &str, name: String, raw: Raw, data_start: u64, held: u64) -> Result<Stored, Error> {
    let (file, tensor) = (file.to_owned(), shown(&name));
    let Raw { dtype, shape: Shape(shape), data_offsets: [begin, end] } = raw;
    let element = ElementType::named(dtype);
    if begin > end || end > held {
        return Err(Error::TensorRange { file, tensor, begin, end, held });
    }
    let bits = shape.iter().try_fold(element.bits().unwrap_or(0), |product, &dim| product.checked_mul(dim));
    let Some(bits) = bits else {
        return Err(Error::TensorTooLarge { file, tensor, shape });
    };
    let (found, expected) = (end - begin, bits.div_ceil(8));
    if element.bits().is_some() && found != expected {
        let form = format!("{element} {shape:?}");
        return Err(Error::TensorLength { file, tensor, form, expected, found });
    }
    Ok(Stored { name, element, shape, offset: data_start + begin, bytes: found })
}

/// What the header says of a tensor.
#[derive(serde::Deserialize)]
struct Raw {
    dtype: String,
    shape: Shape,
    data_offsets: [u64; 2],
}

/// Dimensions, a few at the most: a header must not fill memory with those of one tensor.
struct Shape(Vec<u64>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Dims;
        impl<'de> Visitor<'de> for Dims {
            type Value = Shape;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an array of at most {DIMS_MAX} dimensions")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut dims = Vec::new();
                while let Some(dim) = seq.next_element()? {
                    if dims.len() == DIMS_MAX {
                        return Err(A::Error::invalid_length(DIMS_MAX + 1, &self));
                    }
                    dims.push(dim);
                }
                Ok(Shape(dims))
            }
        }
        deserializer.deserialize_seq(Dims)
    }
}

/// All tensors with their names, of which JSON allows two alike.
struct Header(Vec<(String, Raw)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object of at most {TENSOR_COUNT_MAX} tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if entries.len() as u64 == TENSOR_COUNT_MAX {
                        return Err(A::Error::invalid_length(entries.len() + 1, &self));
                    }
                    entries.push((name, map.next_value()?));
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
