//! AVX-512 with VNNI: 64 codes a step in 16 lanes of f32. `vpdpbusd` multiplies unsigned by signed bytes: both bytes of
//! an activation get 128 added (their sign bits flipped), which the start of each integer sum takes off again.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::TileRow;
use crate::isa::Avx512;
use crate::panel::{Panel, TILE_ROWS};
use crate::quantize::QuantRow;

/// `SCALES` is how many weight scales a step of 64 codes has: 2 or 4.
pub(super) fn tile<const T: usize, const SCALES: usize>(
    _proof: Avx512,
    panel: &Panel,
    x: [QuantRow<'_>; T],
) -> [TileRow; T] {
    // SAFETY: an `Avx512` exists only where `Avx512::detect` (isa.rs) saw every feature named below.
    unsafe { tile_vnni::<T, SCALES>(panel, x) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tile_vnni<const T: usize, const SCALES: usize>(panel: &Panel, x: [QuantRow<'_>; T]) -> [TileRow; T] {
    let cols = x[0].codes.len();
    let steps = cols / 64;
    let scales_len = panel.scales.len() / TILE_ROWS;
    // Loops, not `array::from_fn`: that one is not compiled for these features and stays a call.
    let mut w_codes: [&[[i8; 64]]; TILE_ROWS] = [&[]; TILE_ROWS];
    let mut w_scales: [&[[f32; SCALES]]; TILE_ROWS] = [&[]; TILE_ROWS];
    for r in 0..TILE_ROWS {
        w_codes[r] = &panel.codes[r * cols..][..cols].as_chunks().0[..steps];
        w_scales[r] = &panel.scales[r * scales_len..][..scales_len].as_chunks().0[..steps];
    }
    let mut x_codes: [&[[i8; 64]]; T] = [&[]; T];
    let mut x_fine: [&[[i8; 64]]; T] = [&[]; T];
    let mut x_scales: [&[[f32; 2]]; T] = [&[]; T];
    for t in 0..T {
        x_codes[t] = &x[t].codes.as_chunks().0[..steps];
        x_fine[t] = &x[t].fine.as_chunks().0[..steps];
        x_scales[t] = &x[t].scales.as_chunks().0[..steps];
    }
    let flip = _mm512_set1_epi8(i8::MIN);
    let mut acc = [[_mm512_setzero_ps(); TILE_ROWS]; T];
    for step in 0..steps {
        let (mut w, mut start) = ([flip; TILE_ROWS], [flip; TILE_ROWS]);
        let mut w_scale = [_mm512_setzero_ps(); TILE_ROWS];
        for r in 0..TILE_ROWS {
            w[r] = load(&w_codes[r][step]);
            // 128 * (128 sum(w)) for the coarse bytes and 128 sum(w) for the fine ones are 128 * (129 sum(w)).
            let sum_129 = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(129u8 as i8), w[r]);
            start[r] = _mm512_sub_epi32(_mm512_setzero_si512(), sum_129);
            w_scale[r] =
                if SCALES == 4 { spread_4(&w_scales[r][step]) } else { spread_2(&w_scales[r][step]) };
        }
        for t in 0..T {
            let coarse = _mm512_xor_si512(load(&x_codes[t][step]), flip);
            let fine = _mm512_xor_si512(load(&x_fine[t][step]), flip);
            let x_scale = spread_2(&x_scales[t][step]);
            for r in 0..TILE_ROWS {
                let sums = _mm512_slli_epi32::<7>(_mm512_dpbusd_epi32(start[r], coarse, w[r]));
                let sums = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(sums, fine, w[r]));
                let sums = _mm512_mul_ps(sums, w_scale[r]);
                acc[t][r] = _mm512_fmadd_ps(sums, x_scale, acc[t][r]);
            }
        }
    }
    let mut out = [[0.0; TILE_ROWS]; T];
    for t in 0..T {
        let sums = if SCALES == 4 { x[t].sums_16 } else { x[t].sums_32 };
        for r in 0..TILE_ROWS {
            out[t][r] = sum_lanes(acc[t][r]);
            if !panel.mins.is_empty() {
                out[t][r] -= min_term(&panel.mins[r * scales_len..][..scales_len], sums);
            }
        }
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn min_term(mins: &[f32], sums: &[f32]) -> f32 {
    let mut acc = _mm512_setzero_ps();
    for (min, sum) in mins.as_chunks::<16>().0.iter().zip(sums.as_chunks::<16>().0) {
        // SAFETY: each array is exactly one load wide (16 * 4 B); `loadu` needs no alignment.
        let min = unsafe { _mm512_loadu_ps(min.as_ptr()) };
        // SAFETY: as above.
        let sum = unsafe { _mm512_loadu_ps(sum.as_ptr()) };
        acc = _mm512_fmadd_ps(min, sum, acc);
    }
    sum_lanes(acc)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(codes: &[i8; 64]) -> __m512i {
    // SAFETY: the array is exactly one load wide; `loadu` needs no alignment.
    unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) }
}

/// Two scales, each over 8 lanes (32 codes).
#[inline]
#[target_feature(enable = "avx512f")]
fn spread_2(scales: &[f32]) -> __m512 {
    _mm512_mask_mov_ps(_mm512_set1_ps(scales[0]), 0xFF00, _mm512_set1_ps(scales[1]))
}

/// Four scales, each over 4 lanes (16 codes).
#[inline]
#[target_feature(enable = "avx512f")]
fn spread_4(scales: &[f32]) -> __m512 {
    let four: &[f32; 4] = scales.first_chunk().expect("four scales");
    // SAFETY: the array is exactly one load wide (4 * 4 B); `loadu` needs no alignment.
    let four = _mm512_broadcast_f32x4(unsafe { _mm_loadu_ps(four.as_ptr()) });
    _mm512_permutexvar_ps(_mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0), four)
}

/// Adds the lanes pairwise, halves first: one order, which `reduce` intrinsics do not promise.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn sum_lanes(v: __m512) -> f32 {
    let v = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
    let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
}
