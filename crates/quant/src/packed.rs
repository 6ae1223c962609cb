//! Matrices as official checkpoints store them, and how they become rows that kernels know.
//!
//! There the scales of a matrix stand in a tensor of their own, and count for blocks of rows and columns or for 32 inputs.
//! A kernel reads rows that need nothing else, so codes and scales are brought together when they come into memory, in place:
//!
//! ```text
//!   memory   [ ............. | codes ............................ ]     as it was read
//!            [ row, row, row, ... -> | codes still to be moved ... ]     from the front: what is written ends before what is to be read
//!            [ rows ................................ ]                   done: as many bytes as [`Packed::bytes`]
//! ```
//! A row of the result is longer than its codes, so the codes begin late enough, and their end is the last to be reached.
//!
//! Numerics  exact: FP4 becomes MXFP4 with its nibbles in another order, FP8 keeps its codes, or becomes the f32 `scale * code`
//!           where rows are no whole blocks. A scale of 2^(255 - 127) in FP4, which stands for NaN, is read as GGUF readers do:
//!           see [`crate::mxfp4`].
//! Source    the released DeepSeek-V3 and V4 checkpoints; OCP Microscaling Formats v1.0 for E8M0

use crate::{Dtype, f8_e4m3, mxfp4};

/// How a scale is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleType {
    /// A number.
    F32,
    /// The exponent of a power of two, with 127 added; 255 is NaN.
    E8M0,
}

impl ScaleType {
    /// Bytes of one.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::E8M0 => 1,
        }
    }

    /// The scale number `idx`.
    fn at(self, scales: &[u8], idx: usize) -> f32 {
        match self {
            Self::F32 => f32::from_le_bytes(scales.as_chunks().0[idx]),
            Self::E8M0 => match scales[idx] {
                255 => f32::NAN,
                0 => f32::from_bits(1 << 22),
                exponent => f32::from_bits(u32::from(exponent) << 23),
            },
        }
    }
}

/// What the bytes of a matrix are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// A byte of e4m3 for each weight, with one scale for each block of so many rows and columns, the last of which may be cut.
    Fp8 {
        /// Rows and columns of a block.
        block: [usize; 2],
        /// The scales.
        scales: ScaleType,
    },
    /// Half a byte of e2m1 for each weight, the even ones in the low halves, with one E8M0 for 32 of a row.
    Fp4,
    /// Ids of 64 bits. They become I32; what does not fit becomes -1, which is no id.
    Ids,
}

/// A matrix `[rows, cols]` that is not stored in rows of a [`Dtype`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// What its bytes are.
    pub packing: Packing,
    /// Rows.
    pub rows: usize,
    /// Columns; of FP4 a multiple of 32.
    pub cols: usize,
}

impl Packed {
    /// What it becomes.
    #[must_use]
    pub const fn dtype(&self) -> Dtype {
        match self.packing {
            Packing::Fp8 { block: [_, cols], .. } => {
                let whole = self.cols.is_multiple_of(f8_e4m3::LEN) && cols.is_multiple_of(f8_e4m3::LEN);
                if whole { Dtype::F8_E4M3 } else { Dtype::F32 }
            }
            Packing::Fp4 => Dtype::MXFP4,
            Packing::Ids => Dtype::I32,
        }
    }

    /// Bytes of the rows that it becomes.
    ///
    /// # Panics
    /// If a row of FP4 is not whole blocks.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.rows * self.dtype().row_bytes(self.cols).expect("rows are whole blocks")
    }

    /// Bytes of the stored codes.
    #[must_use]
    pub const fn code_bytes(&self) -> usize {
        match self.packing {
            Packing::Fp8 { .. } => self.rows * self.cols,
            Packing::Fp4 => self.rows * self.cols / 2,
            Packing::Ids => self.rows * self.cols * 8,
        }
    }

    /// Rows and columns of the stored scales; `None` if there are none.
    #[must_use]
    pub const fn scale_shape(&self) -> Option<[usize; 2]> {
        match self.packing {
            Packing::Fp8 { block: [rows, cols], .. } => {
                Some([self.rows.div_ceil(rows), self.cols.div_ceil(cols)])
            }
            Packing::Fp4 => Some([self.rows, self.cols / mxfp4::LEN]),
            Packing::Ids => None,
        }
    }

    /// Bytes of the stored scales.
    #[must_use]
    pub const fn scale_bytes(&self) -> usize {
        let Some([rows, cols]) = self.scale_shape() else { return 0 };
        match self.packing {
            Packing::Fp8 { scales, .. } => rows * cols * scales.bytes(),
            Packing::Fp4 | Packing::Ids => rows * cols,
        }
    }

    /// The first place in memory at which codes may stand to be unpacked: what is written must not catch up with them.
    #[must_use]
    pub const fn codes_at_min(&self) -> usize {
        self.bytes().saturating_sub(self.code_bytes())
    }

    /// Makes the first [`Packed::bytes`] of `memory` the rows, out of the codes that begin at `codes_at` and `scales`.
    ///
    /// # Panics
    /// If the codes begin before [`Packed::codes_at_min`] or do not end in `memory`, or `scales` is not as long as it should be.
    pub fn unpack(&self, memory: &mut [u8], codes_at: usize, scales: &[u8]) {
        assert!(codes_at >= self.codes_at_min(), "codes at {codes_at} would be overwritten");
        assert_eq!(scales.len(), self.scale_bytes(), "the scales of {self:?}");
        let memory = &mut memory[..codes_at + self.code_bytes()];
        match self.packing {
            Packing::Fp8 { block, scales: kind } if self.dtype() == Dtype::F8_E4M3 => {
                self.fp8_blocks(memory, codes_at, |row, col| {
                    kind.at(scales, self.block_idx(block, row, col))
                });
            }
            Packing::Fp8 { block, scales: kind } => {
                self.fp8_floats(memory, codes_at, |row, col| {
                    kind.at(scales, self.block_idx(block, row, col))
                });
            }
            Packing::Fp4 => fp4_blocks(memory, codes_at, scales),
            Packing::Ids => {
                for i in 0..self.rows * self.cols {
                    let id = i64::from_le_bytes(taken(memory, codes_at + 8 * i));
                    put(memory, 4 * i, i32::try_from(id).unwrap_or(-1).to_le_bytes());
                }
            }
        }
    }

    /// The block in which a weight lies.
    const fn block_idx(&self, [rows, cols]: [usize; 2], row: usize, col: usize) -> usize {
        row / rows * self.cols.div_ceil(cols) + col / cols
    }

    fn fp8_blocks(&self, memory: &mut [u8], codes_at: usize, scale: impl Fn(usize, usize) -> f32) {
        const LEN: usize = f8_e4m3::LEN;
        let row_blocks = self.cols / LEN;
        for n in 0..self.rows * row_blocks {
            let codes: [u8; LEN] = taken(memory, codes_at + n * LEN);
            let at = n * f8_e4m3::BYTES;
            put(memory, at, scale(n / row_blocks, n % row_blocks * LEN).to_le_bytes());
            put(memory, at + f8_e4m3::QS, codes);
        }
    }

    fn fp8_floats(&self, memory: &mut [u8], codes_at: usize, scale: impl Fn(usize, usize) -> f32) {
        for n in 0..self.rows * self.cols {
            let value = scale(n / self.cols, n % self.cols) * f8_e4m3::value(memory[codes_at + n]);
            put(memory, 4 * n, value.to_le_bytes());
        }
    }
}

/// A byte of FP4 holds neighbours; one of MXFP4 holds the weights `j` and `j + 16` of 32.
fn fp4_blocks(memory: &mut [u8], codes_at: usize, exponents: &[u8]) {
    for (n, exponent) in exponents.iter().enumerate() {
        let codes: [u8; 16] = taken(memory, codes_at + 16 * n);
        let mut block = [0; mxfp4::BYTES];
        block[0] = *exponent;
        for i in 0..8 {
            let (first, second) = (codes[i], codes[8 + i]);
            block[mxfp4::QS + 2 * i] = first & 15 | second << 4;
            block[mxfp4::QS + 2 * i + 1] = first >> 4 | second & 0xF0;
        }
        put(memory, mxfp4::BYTES * n, block);
    }
}

fn taken<const N: usize>(memory: &[u8], at: usize) -> [u8; N] {
    *memory[at..].first_chunk().expect("the codes end in memory")
}

fn put<const N: usize>(memory: &mut [u8], at: usize, bytes: [u8; N]) {
    memory[at..at + N].copy_from_slice(&bytes);
}
