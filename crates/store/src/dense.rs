//! What every token needs: read once, all of it at the same time. Matrices lie side by side in one stretch of memory, whose
//! pages are large; with pages of 4 KiB the per-head matrices of V2-Lite were read at half the speed.

use std::collections::HashMap;
use std::time::Duration;

use shoal_base::{Blob, BlobBuf};
use shoal_checkpoint::{Checkpoint, Source, TensorInfo};

use crate::Error;
use crate::disk::{Disk, Fill};
use crate::placement::Placement;

/// Memory that the tensors will take: whole blocks around each; none for a checkpoint inside the program.
pub(crate) fn memory_needed(checkpoint: &Checkpoint, tensors: &[&TensorInfo]) -> u64 {
    let needed = |tensor: &&TensorInfo| match source(checkpoint, tensor) {
        Source::File { .. } => place(tensor).buf_len as u64,
        Source::Static(_) => 0,
        Source::Computed(_) => tensor.bytes,
    };
    tensors.iter().map(needed).sum()
}

/// From how many bytes on a tensor lies beside the others. Smaller ones are mostly vectors, which the model copies and gives back:
/// holes that would cost the others their large pages.
const BESIDE_BYTES: usize = 64 << 10;

fn place(tensor: &TensorInfo) -> Placement {
    assert_eq!(tensor.pieces.len(), 1, "only experts come in pieces: {}", tensor.name);
    Placement::new(tensor.pieces.iter().map(|piece| (piece, tensor.packed)))
}

fn source<'a>(checkpoint: &'a Checkpoint, tensor: &TensorInfo) -> &'a Source {
    &checkpoint.sources()[tensor.pieces[0].codes.source_idx]
}

/// The bytes of a tensor that are in memory already.
fn present(bytes: &Blob, tensor: &TensorInfo) -> Blob {
    let place = tensor.pieces[0].codes;
    bytes.slice(place.offset as usize..(place.offset + place.bytes) as usize)
}

/// Memory for each tensor of a file, in their order.
fn memory(checkpoint: &Checkpoint, tensors: &[&TensorInfo]) -> Vec<BlobBuf> {
    let in_file = tensors.iter().filter(|tensor| matches!(source(checkpoint, tensor), Source::File { .. }));
    let lens: Vec<usize> = in_file.map(|tensor| place(tensor).buf_len).collect();
    let lies_beside = |len: &usize| *len >= BESIDE_BYTES;
    let beside: Vec<usize> = lens.iter().copied().filter(lies_beside).collect();
    let mut beside = BlobBuf::side_by_side(&beside).into_iter();
    let buf = |len: &usize| {
        if lies_beside(len) { beside.next().expect("one for each") } else { BlobBuf::zeroed(*len) }
    };
    lens.iter().map(buf).collect()
}

/// Reads the tensors, and unpacks those that are packed; those of a checkpoint inside the program are used where they are.
pub(crate) fn read_all(
    checkpoint: &Checkpoint,
    tensors: &[&TensorInfo],
    disk: &mut dyn Disk,
    stall_limit: Duration,
    progress: &dyn Fn(u64, u64),
) -> Result<HashMap<String, Blob>, Error> {
    let mut blobs = HashMap::new();
    let mut asked = 0;
    let mut bufs = memory(checkpoint, tensors).into_iter();
    for (i, tensor) in tensors.iter().enumerate() {
        let blob = match source(checkpoint, tensor) {
            Source::Static(bytes) => present(&Blob::from_static(bytes), tensor),
            Source::Computed(bytes) => present(&Blob::copy_of(bytes), tensor),
            Source::File { .. } => {
                let buf = bufs.next().expect("memory for each tensor of a file");
                disk.submit(Fill { ticket: i as u64, extents: place(tensor).extents, buf });
                asked += tensor.bytes;
                continue;
            }
        };
        blobs.insert(tensor.name.clone(), blob);
    }
    let mut done = 0;
    while done < asked {
        let Some(filled) = disk.wait(stall_limit) else {
            let late =
                tensors.iter().find(|tensor| !blobs.contains_key(&tensor.name)).expect("some is missing");
            let (file, offset) = (source(checkpoint, late).name(), late.pieces[0].codes.offset);
            return Err(Error::Stalled { file, offset, limit: stall_limit });
        };
        filled.result?;
        let tensor = tensors[filled.ticket as usize];
        let (placement, mut buf) = (place(tensor), filled.buf);
        placement.unpack(buf.as_mut_slice());
        blobs.insert(tensor.name.clone(), buf.freeze().slice(placement.matrices[0].range.clone()));
        done += tensor.bytes;
        progress(done, asked);
    }
    Ok(blobs)
}
