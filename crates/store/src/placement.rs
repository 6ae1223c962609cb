//! Where stored matrices go in one piece of memory, and what is done to them there.
//!
//! Whole blocks are read, so a matrix goes as far from a multiple of [`ALIGN`] as it lies in its file. One that is packed has its codes
//! behind the place of its first rows, so that it can be unpacked where it is, and its scales behind them:
//!
//! ```text
//!   plain     | .. bytes ........ |
//!   packed    |      .. codes ............ | .. scales .. |      as read
//!             | rows ................ |                          unpacked: the rest stays, and is used by the next that is read
//! ```
//! So no memory is needed beside what is counted here.

use std::ops::Range;

use shoal_checkpoint::{Piece, Place};
use shoal_quant::packed::Packed;

use crate::disk::{ALIGN, Extent};

/// Some matrices in one piece of memory.
#[derive(Debug)]
pub(crate) struct Placement {
    /// What to read.
    pub(crate) extents: Vec<Extent>,
    /// The matrices, in order.
    pub(crate) matrices: Vec<Placed>,
    /// Memory that it takes.
    pub(crate) buf_len: usize,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Placed {
    /// Where it is, once it is unpacked.
    pub(crate) range: Range<usize>,
    unpack: Option<Unpack>,
}

#[derive(Debug)]
struct Unpack {
    packed: Packed,
    codes_at: usize,
    scales: Range<usize>,
}

impl Placement {
    /// Places `pieces` one behind the other.
    pub(crate) fn new<'a>(pieces: impl IntoIterator<Item = (&'a Piece, Option<Packed>)>) -> Self {
        let mut placement = Self { extents: Vec::new(), matrices: Vec::new(), buf_len: 0 };
        for (piece, packed) in pieces {
            let matrix = match packed {
                None => Placed { range: placement.put(piece.codes, 0), unpack: None },
                Some(packed) => {
                    let base = placement.buf_len;
                    let codes_at = placement.put(piece.codes, packed.codes_at_min()).start;
                    let scales = piece.scales.map_or(0..0, |scales| placement.put(scales, 0));
                    let unpack = Some(Unpack { packed, codes_at, scales });
                    Placed { range: base..base + packed.bytes(), unpack }
                }
            };
            placement.matrices.push(matrix);
        }
        placement
    }

    /// Puts the bytes of `place` behind everything, at least `min` bytes on; where they go.
    fn put(&mut self, place: Place, min: usize) -> Range<usize> {
        let lead = (place.offset % ALIGN as u64) as usize;
        let page = min - min % ALIGN;
        let at = self.buf_len + page + lead + if page + lead < min { ALIGN } else { 0 };
        let len = place.bytes as usize;
        self.extents.push(Extent { source_idx: place.source_idx, offset: place.offset, len, at });
        self.buf_len = (at + len).next_multiple_of(ALIGN);
        at..at + len
    }

    /// Unpacks what is packed, all bytes of which have been read into `memory`.
    pub(crate) fn unpack(&self, memory: &mut [u8]) {
        for Placed { range, unpack } in &self.matrices {
            let Some(Unpack { packed, codes_at, scales }) = unpack else { continue };
            // Without scales nothing follows the codes.
            let end = if scales.is_empty() { memory.len() } else { scales.start };
            let (front, behind) = memory.split_at_mut(end);
            packed.unpack(&mut front[range.start..], codes_at - range.start, &behind[..scales.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_quant::packed::{Packing, ScaleType};
    use shoal_testkit::seeded::random_bytes;

    /// One of the ways in which a matrix of `rows` and `cols` can be stored, `None` for plain bytes.
    fn packed(kind: u8, rows: usize, cols: usize) -> Option<Packed> {
        let fp8 = |scales| Packing::Fp8 { block: [128, 128], scales };
        let packing = match kind {
            0 => return None,
            1 => fp8(ScaleType::F32),
            2 => fp8(ScaleType::E8M0),
            3 => Packing::Fp4,
            _ => Packing::Ids,
        };
        Some(Packed { packing, rows, cols: if kind == 3 { cols.next_multiple_of(32) } else { cols } })
    }

    proptest! {
        #[test]
        fn what_is_read_and_unpacked_is_what_each_matrix_is_alone(
            matrices in prop::collection::vec((0u8..5, 1..9usize, prop::sample::select(vec![1usize, 31, 128, 256, 1024])), 1..4),
            offsets in prop::array::uniform8(0u64..1 << 20),
            seed in any::<u64>(),
        ) {
            let packs: Vec<Option<Packed>> = matrices.iter().map(|&(kind, rows, cols)| packed(kind, rows, cols)).collect();
            let piece = |i: usize| {
                let (_, rows, cols) = matrices[i];
                let place = |at: usize, bytes: usize| Place { source_idx: at, offset: offsets[at], bytes: bytes as u64 };
                let (codes, scales) = packs[i].map_or((rows * cols, 0), |p| (p.code_bytes(), p.scale_bytes()));
                Piece { codes: place(2 * i, codes), scales: (scales > 0).then(|| place(2 * i + 1, scales)) }
            };
            let pieces: Vec<Piece> = (0..matrices.len()).map(piece).collect();
            let placement = Placement::new(pieces.iter().zip(packs.iter().copied()));
            let mut spans: Vec<(usize, usize)> = placement.extents.iter().map(|e| {
                assert_eq!(e.at % ALIGN, (e.offset % ALIGN as u64) as usize, "as in the file");
                (e.at - e.at % ALIGN, (e.at + e.len).next_multiple_of(ALIGN))
            }).collect();
            spans.sort_unstable();
            prop_assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "no two reads write the same memory");
            prop_assert_eq!(spans.last().map(|last| last.1), Some(placement.buf_len));

            let stored = |e: &Extent| random_bytes(seed ^ e.source_idx as u64, e.len);
            let mut memory = vec![0xEE; placement.buf_len];
            placement.extents.iter().for_each(|e| memory[e.at..][..e.len].copy_from_slice(&stored(e)));
            placement.unpack(&mut memory);
            for (i, matrix) in placement.matrices.iter().enumerate() {
                let own = |source: usize| placement.extents.iter().find(|e| e.source_idx == source).map(stored).unwrap_or_default();
                let (codes, scales) = (own(2 * i), own(2 * i + 1));
                let want = packs[i].map_or(codes.clone(), |packed| {
                    let mut alone = vec![0; packed.codes_at_min()];
                    alone.extend(codes);
                    packed.unpack(&mut alone, packed.codes_at_min(), &scales);
                    alone.truncate(packed.bytes());
                    alone
                });
                prop_assert!(memory[matrix.range.clone()] == want, "matrix {i}: {:?}", packs[i]);
            }
        }
    }
}
