//! AVX2: 32 codes a step in 8 lanes of f32. `maddubs` wants one unsigned side, so the weight's sign moves to the
//! activation; |w| <= 128 and |x| <= 127 keep its 16-bit sums of two products (at most 32,512) from saturating.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::TileRow;
use crate::isa::Avx2;
use crate::panel::{Panel, TILE_ROWS};
use crate::quantize::QuantRow;

pub(super) fn tile<const T: usize, const SUB: usize>(
    _proof: Avx2,
    panel: &Panel,
    x: [QuantRow<'_>; T],
) -> [TileRow; T] {
    // SAFETY: an `Avx2` exists only where `Avx2::detect` (isa.rs) saw avx2 and fma.
    unsafe { tile_avx2::<T, SUB>(panel, x) }
}

#[target_feature(enable = "avx2,fma")]
fn tile_avx2<const T: usize, const SUB: usize>(panel: &Panel, x: [QuantRow<'_>; T]) -> [TileRow; T] {
    let cols = x[0].codes.len();
    let scales_len = panel.scales.len() / TILE_ROWS;
    let w_codes: [&[[i8; 32]]; TILE_ROWS] =
        std::array::from_fn(|r| panel.codes[r * cols..][..cols].as_chunks::<32>().0);
    let w_scales: [&[f32]; TILE_ROWS] =
        std::array::from_fn(|r| &panel.scales[r * scales_len..][..scales_len]);
    let x_codes: [&[[i8; 32]]; T] = std::array::from_fn(|t| x[t].codes.as_chunks::<32>().0);
    let x_fine: [&[[i8; 32]]; T] = std::array::from_fn(|t| x[t].fine.as_chunks::<32>().0);
    let mut acc = [[_mm256_setzero_ps(); TILE_ROWS]; T];
    for step in 0..cols / 32 {
        for r in 0..TILE_ROWS {
            let w = load(&w_codes[r][step]);
            let w_scale = if SUB == 16 {
                let pair = &w_scales[r][2 * step..][..2];
                _mm256_set_m128(_mm_set1_ps(pair[1]), _mm_set1_ps(pair[0]))
            } else {
                _mm256_set1_ps(w_scales[r][step])
            };
            for t in 0..T {
                let coarse = products(w, load(&x_codes[t][step]));
                let fine = products(w, load(&x_fine[t][step]));
                let sums = _mm256_add_epi32(_mm256_slli_epi32::<7>(coarse), fine);
                let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), w_scale);
                acc[t][r] = _mm256_fmadd_ps(scaled, _mm256_set1_ps(x[t].scales[step]), acc[t][r]);
            }
        }
    }
    let mut out = [[0.0; TILE_ROWS]; T];
    for t in 0..T {
        let sums = if SUB == 16 { x[t].sums_16 } else { x[t].sums_32 };
        for r in 0..TILE_ROWS {
            out[t][r] = sum_lanes(acc[t][r]);
            if !panel.mins.is_empty() {
                out[t][r] -= min_term(&panel.mins[r * scales_len..][..scales_len], sums);
            }
        }
    }
    out
}

/// Sums of the products of four neighbours.
#[inline]
#[target_feature(enable = "avx2")]
fn products(w: __m256i, x: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn min_term(mins: &[f32], sums: &[f32]) -> f32 {
    let mut acc = _mm256_setzero_ps();
    for (min, sum) in mins.as_chunks::<8>().0.iter().zip(sums.as_chunks::<8>().0) {
        // SAFETY: each array is exactly one load wide (8 * 4 B); `loadu` needs no alignment.
        let min = unsafe { _mm256_loadu_ps(min.as_ptr()) };
        // SAFETY: as above.
        let sum = unsafe { _mm256_loadu_ps(sum.as_ptr()) };
        acc = _mm256_fmadd_ps(min, sum, acc);
    }
    sum_lanes(acc)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(codes: &[i8; 32]) -> __m256i {
    // SAFETY: the array is exactly one load wide; `loadu` needs no alignment.
    unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
}

/// Adds the lanes pairwise, halves first: one order, which `reduce` intrinsics do not promise.
#[inline]
#[target_feature(enable = "avx2")]
fn sum_lanes(v: __m256) -> f32 {
    let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
}
