//! AVX2: 32 codes at a time. AVX-512 uses these as well: unpacking is bound by stores, not by width.
//!
//! The layouts stand in `shoal_quant`, a file for each format.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use shoal_quant::{Dtype, q4_0, q4_1, q4_k, q5_0, q5_k, q6_k, q8_0};

use crate::isa::Avx2;

/// Unpacks whole blocks; false if the format has no variant here.
pub(super) fn unpack(
    _proof: Avx2,
    dtype: Dtype,
    bytes: &[u8],
    codes: &mut [i8],
    scales: &mut [f32],
    mins: &mut [f32],
) -> bool {
    // SAFETY: an `Avx2` exists only where `Avx2::detect` (isa.rs) saw avx2 and f16c.
    unsafe { unpack_avx2(dtype, bytes, codes, scales, mins) }
}

/// Asks for `bytes` ahead of their use, a cache line at a time.
pub(super) fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(64) {
        // SAFETY: a prefetch is a hint for an address, here one that lies within `bytes`; it changes no state.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

#[target_feature(enable = "avx2,f16c")]
fn unpack_avx2(dtype: Dtype, bytes: &[u8], codes: &mut [i8], scales: &mut [f32], mins: &mut [f32]) -> bool {
    let codes = codes.as_chunks_mut::<32>().0;
    match dtype {
        Dtype::Q8_0 => blocks_32::<{ q8_0::BYTES }>(bytes, codes, scales, |block| load(&block[q8_0::QS..])),
        Dtype::Q4_0 => blocks_32::<{ q4_0::BYTES }>(bytes, codes, scales, |block| {
            _mm256_sub_epi8(nibbles(&block[q4_0::QS..]), _mm256_set1_epi8(8))
        }),
        Dtype::Q5_0 => blocks_32::<{ q5_0::BYTES }>(bytes, codes, scales, |block| {
            let fifth = fifth_bits(&block[q5_0::QH..]);
            _mm256_sub_epi8(_mm256_or_si256(nibbles(&block[q5_0::QS..]), fifth), _mm256_set1_epi8(16))
        }),
        Dtype::Q4_1 => {
            blocks_32::<{ q4_1::BYTES }>(bytes, codes, scales, |block| nibbles(&block[q4_1::QS..]));
            for (block, min) in bytes.as_chunks::<{ q4_1::BYTES }>().0.iter().zip(mins) {
                *min = -f16(&block[2..]);
            }
        }
        Dtype::Q4_K => unpack_q4_k(bytes, codes, scales, mins),
        Dtype::Q5_K => unpack_q5_k(bytes, codes, scales, mins),
        Dtype::Q6_K => unpack_q6_k(bytes, codes, scales),
        _ => return false,
    }
    true
}

/// Formats of 32 weights under one scale, which stands first.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn blocks_32<const BYTES: usize>(
    bytes: &[u8],
    codes: &mut [[i8; 32]],
    scales: &mut [f32],
    unpack: impl Fn(&[u8; BYTES]) -> __m256i,
) {
    for ((block, codes), scale) in bytes.as_chunks::<BYTES>().0.iter().zip(codes).zip(scales) {
        store(codes, unpack(block));
        *scale = f16(block);
    }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn unpack_q4_k(bytes: &[u8], codes: &mut [[i8; 32]], scales: &mut [f32], mins: &mut [f32]) {
    let blocks = bytes.as_chunks::<{ q4_k::BYTES }>().0.iter().zip(codes.as_chunks_mut::<8>().0);
    let floats = scales.as_chunks_mut::<8>().0.iter_mut().zip(mins.as_chunks_mut::<8>().0);
    for ((block, codes), (scales, mins)) in blocks.zip(floats) {
        scales_mins(block, &block[q4_k::SCALES..], scales, mins);
        for pair in 0..4 {
            let both = load(&block[q4_k::QS + 32 * pair..]);
            store(&mut codes[2 * pair], low_nibbles(both));
            store(&mut codes[2 * pair + 1], high_nibbles(both));
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn unpack_q5_k(bytes: &[u8], codes: &mut [[i8; 32]], scales: &mut [f32], mins: &mut [f32]) {
    let blocks = bytes.as_chunks::<{ q5_k::BYTES }>().0.iter().zip(codes.as_chunks_mut::<8>().0);
    let floats = scales.as_chunks_mut::<8>().0.iter_mut().zip(mins.as_chunks_mut::<8>().0);
    let fifth_place = _mm256_set1_epi8(16);
    for ((block, codes), (scales, mins)) in blocks.zip(floats) {
        scales_mins(block, &block[q5_k::SCALES..], scales, mins);
        // Bit j of a byte of qh is the fifth bit of sub-block j: rotate through the fifth place.
        let mut fifth = load(&block[q5_k::QH..]);
        for pair in 0..4 {
            let both = load(&block[q5_k::QS + 32 * pair..]);
            for (half, nibbles) in [low_nibbles(both), high_nibbles(both)].into_iter().enumerate() {
                let bit = _mm256_and_si256(fifth, _mm256_set1_epi8(1));
                let set = _mm256_cmpeq_epi8(bit, _mm256_set1_epi8(1));
                store(
                    &mut codes[2 * pair + half],
                    _mm256_or_si256(nibbles, _mm256_and_si256(set, fifth_place)),
                );
                // Bits that cross into a byte's neighbour arrive above bit 0 and are masked off.
                fifth = _mm256_and_si256(_mm256_srli_epi16::<1>(fifth), _mm256_set1_epi8(0x7F));
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn unpack_q6_k(bytes: &[u8], codes: &mut [[i8; 32]], scales: &mut [f32]) {
    let blocks = bytes.as_chunks::<{ q6_k::BYTES }>().0.iter().zip(codes.as_chunks_mut::<8>().0);
    let two_bits = _mm256_set1_epi8(0x30);
    for ((block, codes), scales) in blocks.zip(scales.as_chunks_mut::<16>().0) {
        let d = _mm256_set1_ps(f16(&block[q6_k::D..]));
        for half in 0..2 {
            let ints = _mm256_cvtepi8_epi32(load_8(&block[q6_k::SCALES + 8 * half..]));
            store_floats(&mut scales[8 * half..], _mm256_mul_ps(d, _mm256_cvtepi32_ps(ints)));
        }
        for n in 0..2 {
            let (first, second) = (load(&block[64 * n..]), load(&block[64 * n + 32..]));
            let high = load(&block[q6_k::QH + 32 * n..]);
            let quarters = [
                (low_nibbles(first), _mm256_slli_epi16::<4>(high)),
                (low_nibbles(second), _mm256_slli_epi16::<2>(high)),
                (high_nibbles(first), high),
                (high_nibbles(second), _mm256_srli_epi16::<2>(high)),
            ];
            for (g, (low, high)) in quarters.into_iter().enumerate() {
                let q = _mm256_or_si256(low, _mm256_and_si256(high, two_bits));
                store(&mut codes[4 * n + g], _mm256_sub_epi8(q, _mm256_set1_epi8(32)));
            }
        }
    }
}

/// Scales and mins of Q4_K and Q5_K: eight pairs of 6 bits in twelve bytes (see `shoal_quant::q4_k`), four at a time.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn scales_mins(block: &[u8], packed: &[u8], scales: &mut [f32; 8], mins: &mut [f32; 8]) {
    let word = |at: usize| u32::from_le_bytes(*packed[at..].first_chunk().expect("twelve bytes"));
    let (a, b, c) = (word(0), word(4), word(8));
    let six = 0x3F3F_3F3F;
    let upper = |word: u32| ((word >> 6) & 0x0303_0303) << 4;
    let scale_ints = u64::from(a & six) | u64::from((c & 0x0F0F_0F0F) | upper(a)) << 32;
    let min_ints = u64::from(b & six) | u64::from(((c >> 4) & 0x0F0F_0F0F) | upper(b)) << 32;
    for (ints, factor, out) in [(scale_ints, f16(block), scales), (min_ints, f16(&block[2..]), mins)] {
        let ints = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(ints as i64));
        store_floats(out, _mm256_mul_ps(_mm256_set1_ps(factor), _mm256_cvtepi32_ps(ints)));
    }
}

/// 32 nibbles of 16 bytes, the low ones first.
#[inline]
#[target_feature(enable = "avx2")]
fn nibbles(bytes: &[u8]) -> __m256i {
    let bytes: &[u8; 16] = bytes.first_chunk().expect("sixteen bytes");
    // SAFETY: the array is exactly one load wide; `loadu` needs no alignment.
    let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    let mask = _mm_set1_epi8(15);
    _mm256_set_m128i(_mm_and_si128(_mm_srli_epi16::<4>(bytes), mask), _mm_and_si128(bytes, mask))
}

/// Bit l of four bytes, as 16 or 0 in byte l.
#[inline]
#[target_feature(enable = "avx2")]
fn fifth_bits(bytes: &[u8]) -> __m256i {
    let bits = i32::from_le_bytes(*bytes.first_chunk().expect("four bytes"));
    let byte_of = _mm256_set_epi64x(0x0303_0303_0303_0303, 0x0202_0202_0202_0202, 0x0101_0101_0101_0101, 0);
    let bit_of = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let spread = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte_of), bit_of);
    _mm256_and_si256(_mm256_cmpeq_epi8(spread, bit_of), _mm256_set1_epi8(16))
}

#[inline]
#[target_feature(enable = "avx2")]
fn low_nibbles(v: __m256i) -> __m256i {
    _mm256_and_si256(v, _mm256_set1_epi8(15))
}

#[inline]
#[target_feature(enable = "avx2")]
fn high_nibbles(v: __m256i) -> __m256i {
    low_nibbles(_mm256_srli_epi16::<4>(v))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8]) -> __m256i {
    let bytes: &[u8; 32] = bytes.first_chunk().expect("32 bytes");
    // SAFETY: the array is exactly one load wide; `loadu` needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Eight bytes in the low half.
#[inline]
#[target_feature(enable = "avx2")]
fn load_8(bytes: &[u8]) -> __m128i {
    _mm_cvtsi64_si128(i64::from_le_bytes(*bytes.first_chunk().expect("eight bytes")))
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(codes: &mut [i8; 32], v: __m256i) {
    // SAFETY: the array is exactly one store wide; `storeu` needs no alignment.
    unsafe { _mm256_storeu_si256(codes.as_mut_ptr().cast(), v) };
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_floats(out: &mut [f32], v: __m256) {
    let out: &mut [f32; 8] = out.first_chunk_mut().expect("eight floats");
    // SAFETY: the array is exactly one store wide; `storeu` needs no alignment.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) };
}

/// The f16 that `bytes` begin with.
#[inline]
#[target_feature(enable = "f16c")]
fn f16(bytes: &[u8]) -> f32 {
    let bits = u16::from_le_bytes(*bytes.first_chunk().expect("two bytes"));
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}
