//! Where tensors lie in a file: types, sizes, alignment, order, and whether the file is long enough.

use shoal_base::limits::ALIGNMENT_MAX;
use shoal_quant::Dtype;

use crate::error::shown;
use crate::{Error, Metadata, Place, TensorInfo};

/// Alignment of tensor data where a file does not state one.
const ALIGNMENT_DEFAULT: u32 = 32;

/// A tensor as the header states it, unchecked except for the number of dimensions.
pub(crate) struct RawTensor {
    pub(crate) name: String,
    /// One to four dimensions.
    pub(crate) shape: Vec<u64>,
    pub(crate) type_id: u32,
    /// From the start of the data section.
    pub(crate) offset: u64,
}

/// Checks all tensors of a file whose header ends at `header_end`, and gives them absolute offsets, in source 0.
pub(crate) fn place(
    metadata: &Metadata,
    header_end: u64,
    file_len: u64,
    raw: Vec<RawTensor>,
) -> Result<Vec<TensorInfo>, Error> {
    let file = metadata.file();
    let alignment = alignment(metadata)?;
    // A header is far shorter than u64::MAX - ALIGNMENT_MAX.
    let data_start = header_end.next_multiple_of(alignment);
    let tensors = raw
        .into_iter()
        .map(|tensor| place_one(file, tensor, data_start, alignment))
        .collect::<Result<Vec<_>, _>>()?;
    let place = |tensor: &TensorInfo| tensor.pieces[0].codes;
    let end = |tensor: &TensorInfo| place(tensor).offset + tensor.bytes;
    if let Some(last) = tensors.iter().max_by_key(|tensor| end(tensor))
        && end(last) > file_len
    {
        let (file, tensor, needed) = (file.to_owned(), shown(&last.name), end(last));
        return Err(Error::DataCut { file, held: file_len, tensor, needed });
    }
    refuse_overlap(file, &tensors)?;
    Ok(tensors)
}

fn alignment(metadata: &Metadata) -> Result<u64, Error> {
    let found = metadata.u32("general.alignment")?.unwrap_or(ALIGNMENT_DEFAULT);
    if !found.is_power_of_two() || u64::from(found) > ALIGNMENT_MAX {
        return Err(Error::Alignment { file: metadata.file().to_owned(), found, max: ALIGNMENT_MAX });
    }
    Ok(u64::from(found))
}

fn place_one(file: &str, raw: RawTensor, data_start: u64, alignment: u64) -> Result<TensorInfo, Error> {
    let (file, tensor) = (file.to_owned(), shown(&raw.name));
    let RawTensor { name, shape, type_id, offset } = raw;
    let Some(dtype) = Dtype::from_ggml(type_id) else {
        let known = Dtype::ALL.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(", ");
        return Err(Error::Dtype { file, tensor, found: type_name(type_id), known });
    };
    if shape.contains(&0) {
        return Err(Error::EmptyTensor { file, tensor, shape });
    }
    let cols = shape[0];
    if !cols.is_multiple_of(dtype.block_len() as u64) {
        let (dtype, block_len) = (dtype.name(), dtype.block_len());
        return Err(Error::PartialBlock { file, tensor, cols, dtype, block_len });
    }
    if !offset.is_multiple_of(alignment) {
        return Err(Error::Misaligned { file, tensor, offset, alignment });
    }
    let Some((start, bytes)) = extent(dtype, &shape, data_start, offset) else {
        return Err(Error::TensorTooLarge { file, tensor, shape });
    };
    Ok(TensorInfo::plain(name, dtype, shape, Place { source_idx: 0, offset: start, bytes }))
}

/// Start and length in bytes; `None` if the number of elements or the end of the tensor passes a u64.
fn extent(dtype: Dtype, shape: &[u64], data_start: u64, offset: u64) -> Option<(u64, u64)> {
    let elements = shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim))?;
    let bytes = (elements / dtype.block_len() as u64).checked_mul(dtype.block_bytes() as u64)?;
    let start = data_start.checked_add(offset)?;
    start.checked_add(bytes)?;
    Some((start, bytes))
}

fn refuse_overlap(file: &str, tensors: &[TensorInfo]) -> Result<(), Error> {
    let mut by_offset: Vec<(Place, &str)> =
        tensors.iter().map(|tensor| (tensor.pieces[0].codes, tensor.name.as_str())).collect();
    by_offset.sort_by_key(|(place, _)| place.offset);
    for pair in by_offset.windows(2) {
        if pair[0].0.offset + pair[0].0.bytes > pair[1].0.offset {
            let (first, second) = (shown(pair[0].1), shown(pair[1].1));
            return Err(Error::Overlap { file: file.to_owned(), first, second });
        }
    }
    Ok(())
}

/// The name of an element type that is not supported, where it has one.
fn type_name(id: u32) -> String {
    let name = match id {
        4 => "Q4_2",
        5 => "Q4_3",
        9 => "Q8_1",
        15 => "Q8_K",
        24 => "I8",
        25 => "I16",
        27 => "I64",
        28 => "F64",
        31 => "Q4_0_4_4",
        32 => "Q4_0_4_8",
        33 => "Q4_0_8_8",
        34 => "TQ1_0",
        35 => "TQ2_0",
        36 => "IQ4_NL_4_4",
        37 => "IQ4_NL_4_8",
        38 => "IQ4_NL_8_8",
        41 => "Q1_0",
        _ => return format!("with the unknown id {id}"),
    };
    format!("{name} (id {id})")
}
