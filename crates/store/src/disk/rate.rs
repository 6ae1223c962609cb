//! How fast a drive gives what is asked of it.

use std::path::Path;
use std::time::{Duration, Instant};

use shoal_base::{BlobBuf, Prng};
use shoal_checkpoint::Source;

use super::{ALIGN, Disk, Extent, Fill, IoMode, open};
use crate::Error;

/// Marks the tickets of reads that measure a drive: what comes of them is nobody's.
pub(crate) const MEASURING: u64 = 1 << 63;

/// Parts of the time, the best of which counts.
const WINDOWS: u32 = 5;

/// Reads in flight: what a layer of DeepSeek's models misses at the most.
pub(crate) const IN_FLIGHT: usize = 8;

/// How long a fill may take before the drive counts as lost.
const STALL: Duration = Duration::from_secs(10);

/// Bytes per second of `disk` for reads of `places`, one after the other and from the beginning again for about `time`, with one on its
/// way for each of `bufs`. `None` if a read fails or does not come within `stall`.
pub(crate) fn bytes_per_s(
    disk: &mut dyn Disk,
    bufs: Vec<BlobBuf>,
    places: &[Vec<Extent>],
    time: Duration,
    stall: Duration,
) -> Option<f64> {
    let mut places = places.iter().cycle();
    let mut ask = |disk: &mut dyn Disk, buf: BlobBuf| {
        let extents = places.next().cloned().unwrap_or_default();
        let bytes: usize = extents.iter().map(|extent| extent.len).sum();
        disk.submit(Fill { ticket: MEASURING | bytes as u64, extents, buf });
    };
    let mut in_flight = bufs.len();
    for buf in bufs {
        ask(disk, buf);
    }
    // Time is cut into windows and the best one counts: others use the drive as well, and the first reads also pay
    // for fresh memory.
    let (start, mut best) = (Instant::now(), 0.0f64);
    let (mut window, mut bytes) = (Instant::now(), 0);
    while in_flight > 0 {
        // After a failure the others are on their way still; whoever takes them in knows them by their tickets.
        let filled = disk.wait(stall)?;
        filled.result.ok()?;
        (bytes, in_flight) = (bytes + (filled.ticket & !MEASURING), in_flight - 1);
        if window.elapsed() >= time / WINDOWS {
            best = best.max(bytes as f64 / window.elapsed().as_secs_f64().max(1e-9));
            (window, bytes) = (Instant::now(), 0);
        }
        if start.elapsed() < time {
            in_flight += 1;
            ask(disk, filled.buf);
        }
    }
    (best > 0.0).then_some(best)
}

/// Bytes per second that the drive of the file at `path` gives to reads of `piece` bytes at random places of it, for about `time`; `None`
/// if the file is shorter than a few of them or a read fails.
///
/// # Errors
/// If the file cannot be opened.
pub fn of_file(path: &Path, piece: usize, time: Duration) -> Result<Option<f64>, Error> {
    /// Places that are asked for before the first comes again.
    const PLACES: usize = 4096;
    let piece = piece.next_multiple_of(ALIGN);
    let len = path.metadata().map_or(0, |metadata| metadata.len());
    let pieces = len / piece as u64;
    if pieces < IN_FLIGHT as u64 {
        return Ok(None);
    }
    let mut disk = open(&[Source::File { path: path.to_owned(), len }], IoMode::Auto)?;
    let mut prng = Prng::new(pieces);
    let mut place =
        || vec![Extent { source_idx: 0, offset: prng.below(pieces) * piece as u64, len: piece, at: 0 }];
    let places: Vec<Vec<Extent>> = (0..PLACES).map(|_| place()).collect();
    let bufs = BlobBuf::side_by_side(&[piece; IN_FLIGHT]);
    Ok(bytes_per_s(disk.as_mut(), bufs, &places, time, STALL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_a_short_one_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 16 * ALIGN]).expect("a file");
        let rate = of_file(&path, ALIGN, Duration::from_millis(20)).expect("opened");
        assert!(rate.is_some_and(|rate| rate > 1e5 && rate.is_finite()), "{rate:?}");
        assert_eq!(of_file(&path, 4 * ALIGN, Duration::from_millis(20)).expect("opened"), None);
        assert!(
            of_file(&dir.path().join("other"), ALIGN, Duration::from_millis(20)).is_ok_and(|it| it.is_none())
        );
    }
}
