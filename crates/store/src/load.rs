//! Reading many tensors at once: pieces of a few megabytes, taken by whichever thread is free.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use shoal_base::{Blob, BlobBuf};
use shoal_checkpoint::{Checkpoint, Reader, Source, TensorInfo};

use crate::{Error, StoreOptions};

/// Bytes a thread reads at a time: large enough for a drive, small enough for a smooth progress bar.
const PIECE_BYTES: usize = 8 << 20;

/// Memory that the tensors will take.
pub(crate) fn memory_needed(checkpoint: &Checkpoint, tensors: &[&TensorInfo]) -> u64 {
    let is_file = |t: &&&TensorInfo| matches!(checkpoint.sources()[t.source_idx], Source::File { .. });
    tensors.iter().filter(is_file).map(|t| t.bytes).sum()
}

struct Piece<'a> {
    source_idx: usize,
    offset: u64,
    out: &'a mut [u8],
}

/// Reads the tensors; those of a checkpoint inside the program are used where they are.
pub(crate) fn read_all(
    checkpoint: &Checkpoint,
    tensors: &[&TensorInfo],
    options: &StoreOptions<'_>,
) -> Result<HashMap<String, Blob>, Error> {
    let mut blobs = HashMap::new();
    let mut buffers: Vec<(&TensorInfo, BlobBuf)> = Vec::new();
    for &tensor in tensors {
        match &checkpoint.sources()[tensor.source_idx] {
            Source::Static(bytes) => {
                let range = tensor.offset as usize..(tensor.offset + tensor.bytes) as usize;
                blobs.insert(tensor.name.clone(), Blob::from_static(bytes).slice(range));
            }
            Source::File { .. } => buffers.push((tensor, BlobBuf::zeroed(tensor.bytes as usize))),
        }
    }
    let readers = checkpoint.sources().iter().map(Source::open).collect::<Result<Vec<Reader>, _>>()?;
    let pieces: Vec<Piece<'_>> = buffers
        .iter_mut()
        .flat_map(|(tensor, buf)| {
            buf.as_mut_slice().chunks_mut(PIECE_BYTES).enumerate().map(|(i, out)| Piece {
                source_idx: tensor.source_idx,
                offset: tensor.offset + (i * PIECE_BYTES) as u64,
                out,
            })
        })
        .collect();
    read_pieces(&readers, pieces, options)?;
    blobs.extend(buffers.into_iter().map(|(tensor, buf)| (tensor.name.clone(), buf.freeze())));
    Ok(blobs)
}

fn read_pieces(readers: &[Reader], pieces: Vec<Piece<'_>>, options: &StoreOptions<'_>) -> Result<(), Error> {
    let total: u64 = pieces.iter().map(|piece| piece.out.len() as u64).sum();
    let done = AtomicU64::new(0);
    let queue = Mutex::new(pieces.into_iter());
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let work = || {
        // Each turn holds the lock only while it takes a piece; after a failure nobody takes another.
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(piece) = next() {
            if let Err(error) = readers[piece.source_idx].read_exact_at(piece.offset, piece.out) {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.into());
                while next().is_some() {}
                return;
            }
            let bytes = piece.out.len() as u64;
            (options.progress)(done.fetch_add(bytes, Ordering::Relaxed) + bytes, total);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.threads.max(1) {
            scope.spawn(work);
        }
        work();
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}
