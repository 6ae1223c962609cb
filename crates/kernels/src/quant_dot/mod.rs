//! Products of stored quantised weights with quantised activations: where nearly all time goes.
//!
//! Everything here computes one formula, in one order, for a weight row and a token:
//!
//! ```text
//! sum = fine_sum = 0
//! for each sub-block j of the row:      sum = fma(float(w_j . x_j), w_scale_j * x_scale_j, sum)
//!                                       sum = fma(-w_min_j, x_sum_j, sum)                    (formats with minima)
//! for each sub-block j of a fine block: fine_sum = fma(float(w_j . fine_j), w_scale_j * fine_scale_j, fine_sum)
//! y = sum + fine_sum
//! ```
//! `w_j . x_j` is a sum of integer products, exact in any order, so only the sequence of roundings above is left, and
//! that is the same in every variant: scalar, AVX2 and AVX-512, one token or five hundred, give the same bits. Weights are
//! decoded by column (see `lanes`), a row in each element of a register, so that the formula runs for 8 or 16 rows at
//! once and nothing has to be added up across a register. There are two kernels:
//!
//! * `direct` takes a few tokens. Weights are read in their stored layout, decoded and multiplied in registers. It is
//!   bound by memory, or by decoding.
//! * `panel` takes many tokens. Weights of a few dozen rows are unpacked once; then a tile of rows and tokens is kept in
//!   registers. It is bound by multiplication.
//!
//! Shapes    W: rows in blocks along K · x: T tokens of K · y [T, rows]
//! Numerics  integers exact; f32 as above: |y - y_f64| <= (2 K / sub + 2) * f32::EPSILON * sum |terms|
//! Cost      direct reads each weight byte once for each token, from memory for the first; panel once for all tokens

mod direct;
mod panel;
mod scalar;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::borrow::Cow;
use std::ops::Range;

use crate::isa::Isa;
use crate::lanes::{Blocks, Narrow, Vector};
use crate::matmul::Matrix;
use crate::pool::Stripe;
use crate::quantize::QuantRow;
use crate::stored::Codes;

/// Most tokens for which decoding the weights anew for each costs less than a panel.
const DIRECT_TOKENS_MAX: usize = 2;

/// Rows of a work item are a multiple of this: the rows of the largest panel.
pub(crate) const ITEM_ROWS: usize = 32;

/// Multiplies rows `rows` of `w` with every token: `out` is `[tokens, rows]`.
pub(crate) fn multiply(
    isa: Isa,
    w: &Matrix,
    rows: Range<usize>,
    x: &[QuantRow<'_>],
    out: &mut Stripe<'_, f32>,
) {
    let many = x.len() > DIRECT_TOKENS_MAX;
    match isa {
        Isa::Scalar => scalar::multiply(w, rows, x, out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(proof) if many => x86::avx2::panel(proof, w, rows, x, out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(proof) => x86::avx2::direct(proof, w, rows, x, out),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni(proof) if many => x86::avx_vnni::panel(proof, w, rows, x, out),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni(proof) => x86::avx_vnni::direct(proof, w, rows, x, out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(proof) => match proof.with_vbmi() {
            Some(proof) if many => x86::avx512_vbmi::panel(proof, w, rows, x, out),
            Some(proof) => x86::avx512_vbmi::direct(proof, w, rows, x, out),
            None if many => x86::avx512::panel(proof, w, rows, x, out),
            None => x86::avx512::direct(proof, w, rows, x, out),
        },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2(_) | Isa::AvxVnni(_) | Isa::Avx512(_) => {
            unreachable!("no proof of these exists on this machine")
        }
    }
}

/// The rows of a register.
struct TileRows<'a> {
    /// Row after row; the matrix itself, or a copy where it ends within the tile.
    bytes: Cow<'a, [u8]>,
    row_bytes: usize,
}

impl<'a> TileRows<'a> {
    /// The rows from `first` on. Rows past the end of the matrix are zeros: what is made of them is not looked at.
    #[inline(always)]
    fn new<V: Vector>(w: &'a Matrix, first: usize) -> Self {
        let row_bytes = w.byte_len() / w.rows();
        let mut bytes = Cow::Borrowed(w.bytes_of_rows(first, V::ROWS));
        if bytes.len() < V::ROWS * row_bytes {
            bytes.to_mut().resize(V::ROWS * row_bytes, 0);
        }
        Self { bytes, row_bytes }
    }

    /// Block `b` of every row.
    #[inline(always)]
    fn blocks<V: Vector, const B: usize>(&self, b: usize) -> Blocks<'_, V, B> {
        Blocks::new(&self.bytes[b * B..], self.row_bytes)
    }
}

/// The offset of codes as `dot` takes them, as a power of two; `None` if there is none to take off.
#[inline(always)]
pub(super) const fn offset_log2<V: Vector>(codes: Codes) -> Option<u32> {
    match codes {
        Codes::WithMins => None,
        Codes::Offset(log2) => Some(log2),
        Codes::Signed => V::SIGNED_OFFSET_LOG2,
    }
}

/// Adds the products of column `k`, for which `RUN` columns are added up in 16 bits first where that is faster: in `run`, which is widened
/// with the last of them. In runs of one it is not looked at.
#[inline(always)]
pub(crate) fn add_column<V: Vector, const RUN: usize>(
    v: V,
    sums: V::Ints,
    run: &mut V::Ints,
    k: usize,
    w: V::Ints,
    x: V::Ints,
) -> V::Ints {
    match v.narrow() {
        Some(narrow) if RUN > 1 => {
            let pairs = narrow.pairs(w, x);
            *run = if k.is_multiple_of(RUN) { pairs } else { narrow.add_16(*run, pairs) };
            if k % RUN == RUN - 1 { narrow.widen(sums, *run) } else { sums }
        }
        _ => v.dot(sums, w, x),
    }
}

/// Codes 4k..4k + 4 as one word.
#[inline(always)]
fn four_codes(codes: &[i8; 32], k: usize) -> i32 {
    let [a, b, c, d] = codes.as_chunks::<4>().0[k];
    i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8])
}
