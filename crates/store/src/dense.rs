//! What every token needs: read once, all of it at the same time, each tensor into memory of its own.

use std::collections::HashMap;
use std::time::Duration;

use shoal_base::{Blob, BlobBuf};
use shoal_checkpoint::{Checkpoint, Source, TensorInfo};

use crate::Error;
use crate::disk::{Disk, Extent, Fill, arrange};

/// Memory that the tensors will take: whole blocks around each; none for a checkpoint inside the program.
pub(crate) fn memory_needed(checkpoint: &Checkpoint, tensors: &[&TensorInfo]) -> u64 {
    let of_files =
        tensors.iter().filter(|t| matches!(checkpoint.sources()[t.source_idx], Source::File { .. }));
    of_files.map(|tensor| place(tensor).1 as u64).sum()
}

fn place(tensor: &TensorInfo) -> (Extent, usize) {
    let ([extent], buf_len) = arrange([(tensor.source_idx, tensor.offset, tensor.bytes as usize)]);
    (extent, buf_len)
}

/// Reads the tensors; those of a checkpoint inside the program are used where they are.
pub(crate) fn read_all(
    checkpoint: &Checkpoint,
    tensors: &[&TensorInfo],
    disk: &mut dyn Disk,
    stall_limit: Duration,
    progress: &dyn Fn(u64, u64),
) -> Result<HashMap<String, Blob>, Error> {
    let mut blobs = HashMap::new();
    let mut asked = 0;
    for (i, tensor) in tensors.iter().enumerate() {
        if let Source::Static(bytes) = checkpoint.sources()[tensor.source_idx] {
            let range = tensor.offset as usize..(tensor.offset + tensor.bytes) as usize;
            blobs.insert(tensor.name.clone(), Blob::from_static(bytes).slice(range));
        } else {
            let (extent, buf_len) = place(tensor);
            disk.submit(Fill { ticket: i as u64, extents: vec![extent], buf: BlobBuf::zeroed(buf_len) });
            asked += tensor.bytes;
        }
    }
    let mut done = 0;
    while done < asked {
        let Some(filled) = disk.wait(stall_limit) else {
            let late =
                tensors.iter().find(|tensor| !blobs.contains_key(&tensor.name)).expect("some is missing");
            let file = checkpoint.sources()[late.source_idx].name();
            return Err(Error::Stalled { file, offset: late.offset, limit: stall_limit });
        };
        filled.result?;
        let tensor = tensors[filled.ticket as usize];
        let Extent { at, len, .. } = place(tensor).0;
        blobs.insert(tensor.name.clone(), filled.buf.freeze().slice(at..at + len));
        done += tensor.bytes;
        progress(done, asked);
    }
    Ok(blobs)
}
