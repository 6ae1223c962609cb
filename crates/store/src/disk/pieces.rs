//! How a fill becomes reads: whole blocks, a few megabytes each.

use super::{ALIGN, Extent};

/// Bytes of one read. A drive is as fast with one megabyte as with more, and a longer one holds up what comes after it.
const PIECE_BYTES: usize = 2 << 20;

/// One read of a file: whole blocks, of which `needed` bytes must come. What lies behind may be past the end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) source_idx: usize,
    /// Place in the file, a multiple of [`ALIGN`].
    pub(crate) offset: u64,
    /// Place in memory, a multiple of [`ALIGN`].
    pub(crate) at: usize,
    /// Whole blocks.
    pub(crate) len: usize,
    /// Bytes that must come.
    pub(crate) needed: usize,
}

/// Where a read stands after some of its bytes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All that were needed.
    Done,
    /// These are left to be read.
    Left(Piece),
    /// The file is at its end.
    Ended,
}

impl Piece {
    /// What follows from a read that brought `bytes`: it may stop anywhere, but the next one begins at a block again.
    pub(crate) const fn after(&self, bytes: usize) -> Progress {
        if bytes >= self.needed {
            return Progress::Done;
        }
        let whole = bytes - bytes % ALIGN;
        if whole == 0 {
            return Progress::Ended;
        }
        Progress::Left(Self {
            source_idx: self.source_idx,
            offset: self.offset + whole as u64,
            at: self.at + whole,
            len: self.len - whole,
            needed: self.needed - whole,
        })
    }
}

/// The reads that fill `extents`.
///
/// # Panics
/// If an extent does not lie in memory as it does in the file, or outside the `buf_len` bytes of memory.
pub(crate) fn pieces(extents: &[Extent], buf_len: usize) -> Vec<Piece> {
    extents.iter().flat_map(|extent| pieces_of(extent, buf_len)).collect()
}

fn pieces_of(extent: &Extent, buf_len: usize) -> impl Iterator<Item = Piece> + use<> {
    let Extent { source_idx, offset, len, at } = *extent;
    let lead = (offset % ALIGN as u64) as usize;
    assert_eq!(at % ALIGN, lead, "a place in memory like that in the file");
    let end = lead + len;
    assert!(at - lead + end.next_multiple_of(ALIGN) <= buf_len, "{extent:?} within {buf_len} bytes");
    (0..end).step_by(PIECE_BYTES).map(move |start| Piece {
        source_idx,
        offset: offset - lead as u64 + start as u64,
        at: at - lead + start,
        len: (end - start).next_multiple_of(ALIGN).min(PIECE_BYTES),
        needed: (end - start).min(PIECE_BYTES),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Placement;
    use proptest::prelude::*;
    use shoal_checkpoint::{Piece as StoredPiece, Place};

    #[test]
    fn a_read_goes_on_at_a_block_or_ends_with_the_file() {
        let piece = Piece { source_idx: 0, offset: 8192, at: 4096, len: 12288, needed: 9000 };
        assert_eq!((piece.after(12288), piece.after(9000)), (Progress::Done, Progress::Done));
        let left = Piece { offset: 12288, at: 8192, len: 8192, needed: 4904, ..piece };
        assert_eq!((piece.after(4096), piece.after(8191)), (Progress::Left(left), Progress::Left(left)));
        assert_eq!((piece.after(0), left.after(4000)), (Progress::Ended, Progress::Ended));
    }

    proptest! {
        #[test]
        fn pieces_cover_every_byte_once_and_nothing_of_the_neighbour(
            places in prop::array::uniform3((0usize..3, 0u64..1 << 40, 1u64..6 << 20)),
        ) {
            let piece = |(source_idx, offset, bytes)| StoredPiece { codes: Place { source_idx, offset, bytes }, scales: None };
            let stored = places.map(piece);
            let Placement { extents, buf_len, .. } = Placement::new(stored.iter().map(|piece| (piece, None)));
            let pieces = pieces(&extents, buf_len);
            for extent in &extents {
                let own = pieces.iter().filter(|p| p.source_idx == extent.source_idx);
                let own = own.filter(|p| p.at < extent.at + extent.len && extent.at < p.at + p.needed);
                let mut next = extent.at - extent.at % ALIGN;
                for piece in own {
                    prop_assert_eq!(piece.at, next, "in order, without a gap");
                    prop_assert_eq!(piece.offset as i128 - piece.at as i128, extent.offset as i128 - extent.at as i128);
                    prop_assert!(piece.len % ALIGN == 0 && piece.needed <= piece.len && piece.len <= PIECE_BYTES);
                    next += piece.needed;
                }
                prop_assert_eq!(next, extent.at + extent.len);
            }
            let mut spans: Vec<_> = pieces.iter().map(|p| (p.at, p.at + p.len)).collect();
            spans.sort_unstable();
            prop_assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "no two write the same memory");
            prop_assert!(spans.last().is_none_or(|last| last.1 <= buf_len));
        }
    }
}
