//! AVX2, with and without VNNI: registers of one half, 8 rows.
//!
//! The two differ in how they multiply bytes. AVX2 has `maddubs`, which adds two products in 16 bits: safe while one
//! side is unsigned and below 128, or, for signed 8-bit codes, with their sign moved to the activation (at most 2 * 128 * 127
//! = 32,512). Codes of five bits leave room for the sums of four such pairs, which are then widened at once. VNNI adds four products in
//! 32 bits, the weight's side unsigned.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::*;
use std::convert::Infallible;

use super::{Blocks, Narrow, Vector};
use crate::isa::{Avx2, AvxVnni};

/// How an instruction set of one half multiplies bytes; see [`Vector`] for the contracts.
pub(crate) trait Products: Copy {
    type Narrow: Narrow<__m256i>;
    const SIGNED_OFFSET_LOG2: Option<u32>;
    fn narrow(self) -> Option<Self::Narrow>;
    fn dot(self, sums: __m256i, w: __m256i, x: __m256i) -> __m256i;
    fn dot_biased(self, sums: __m256i, w: __m256i, x: __m256i) -> __m256i;
    fn bias_signed(self, w: __m256i) -> __m256i;
}

impl Products for Avx2 {
    type Narrow = Self;
    const SIGNED_OFFSET_LOG2: Option<u32> = None;

    #[inline(always)]
    fn narrow(self) -> Option<Self> {
        Some(self)
    }
    #[inline(always)]
    fn dot(self, sums: __m256i, w: __m256i, x: __m256i) -> __m256i {
        self.widen(sums, self.pairs(w, x))
    }
    #[inline(always)]
    fn dot_biased(self, sums: __m256i, w: __m256i, x: __m256i) -> __m256i {
        // SAFETY: the proof `self` exists only where `isa` saw avx2.
        unsafe { Products::dot(self, sums, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) }
    }
    #[inline(always)]
    fn bias_signed(self, w: __m256i) -> __m256i {
        w
    }
}

impl Narrow<__m256i> for Avx2 {
    #[inline(always)]
    fn pairs(self, w: __m256i, x: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_maddubs_epi16(w, x) }
    }
    #[inline(always)]
    fn add_16(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_add_epi16(a, b) }
    }
    #[inline(always)]
    fn widen(self, sums: __m256i, pairs: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))) }
    }
}

impl Products for AvxVnni {
    type Narrow = Infallible;
    const SIGNED_OFFSET_LOG2: Option<u32> = Some(7);

    #[inline(always)]
    fn narrow(self) -> Option<Infallible> {
        None
    }
    #[inline(always)]
    fn dot(self, sums: __m256i, w: __m256i, x: __m256i) -> __m256i {
        // SAFETY: the proof `self` exists only where `isa` saw avx2 and avxvnni.
        unsafe { _mm256_dpbusd_avx_epi32(sums, w, x) }
    }
    #[inline(always)]
    fn dot_biased(self, sums: __m256i, w: __m256i, x: __m256i) -> __m256i {
        Products::dot(self, sums, w, x)
    }
    #[inline(always)]
    fn bias_signed(self, w: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_xor_si256(w, _mm256_set1_epi8(i8::MIN)) }
    }
}

impl<P: Products> Vector for P {
    type Ints = __m256i;
    type Floats = __m256;
    type Bytes = [u8; 32];
    type Singles = [f32; 8];
    const ROWS: usize = 8;
    const SIGNED_OFFSET_LOG2: Option<u32> = P::SIGNED_OFFSET_LOG2;
    type Tables = Infallible;
    type Narrow = P::Narrow;

    #[inline(always)]
    fn tables(self) -> Option<Infallible> {
        None
    }

    #[inline(always)]
    fn narrow(self) -> Option<P::Narrow> {
        Products::narrow(self)
    }

    #[inline(always)]
    fn pair(i: usize) -> [usize; 2] {
        [i, i]
    }
    #[inline(always)]
    fn rows_32<const B: usize>(self, blocks: &Blocks<'_, Self, B>, i: usize, at: usize) -> __m256i {
        // SAFETY: the proof `self` exists only where `isa` saw every instruction of this file; loads and stores are of whole arrays.
        unsafe {
            let bytes: &[u8; 32] = blocks.part(i, at);
            _mm256_loadu_si256(bytes.as_ptr().cast())
        }
    }
    #[inline(always)]
    fn rows_8_by_4(self, [row, _]: [[u64; 4]; 2]) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_set_epi64x(row[3] as i64, row[2] as i64, row[1] as i64, row[0] as i64) }
    }
    #[inline(always)]
    fn rows_8_floats(self, [row, _]: [&[f32; 8]; 2]) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_loadu_si256(row.as_ptr().cast()) }
    }
    #[inline(always)]
    fn quads<const B: usize>(self, blocks: &Blocks<'_, Self, B>, i: usize, at: usize) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_set_m128i(load_128(blocks.part(i + 4, at)), load_128(blocks.part(i, at))) }
    }
    #[inline(always)]
    fn words<const B: usize>(self, blocks: &Blocks<'_, Self, B>, at: usize) -> __m256i {
        // SAFETY: as above.
        unsafe {
            _mm256_set_epi32(
                blocks.word(7, at),
                blocks.word(6, at),
                blocks.word(5, at),
                blocks.word(4, at),
                blocks.word(3, at),
                blocks.word(2, at),
                blocks.word(1, at),
                blocks.word(0, at),
            )
        }
    }
    #[inline(always)]
    fn zero(self) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    fn splat_8(self, x: u8) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_set1_epi8(x.cast_signed()) }
    }
    #[inline(always)]
    fn splat_32(self, x: i32) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_set1_epi32(x) }
    }
    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_and_si256(a, b) }
    }
    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_or_si256(a, b) }
    }
    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_xor_si256(a, b) }
    }
    #[inline(always)]
    fn sub_8(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_sub_epi8(a, b) }
    }
    #[inline(always)]
    fn add_32(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    fn sub_32(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn srl_16(self, a: __m256i, n: usize) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_srl_epi16(a, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    fn sll_16(self, a: __m256i, n: usize) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_sll_epi16(a, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    fn srl_32(self, a: __m256i, n: usize) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_srl_epi32(a, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    fn sra_32(self, a: __m256i, n: usize) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_sra_epi32(a, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    fn sll_32(self, a: __m256i, n: usize) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_sll_epi32(a, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    fn where_bits(self, a: __m256i, bits: __m256i, value: u8) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let none = _mm256_cmpeq_epi8(_mm256_and_si256(a, bits), _mm256_setzero_si256());
            _mm256_andnot_si256(none, self.splat_8(value))
        }
    }
    #[inline(always)]
    fn lookup(self, table: &[i8; 16], indices: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            _mm256_shuffle_epi8(table, indices)
        }
    }
    #[inline(always)]
    fn spread_byte(self, a: __m256i, b: usize) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let of_each = _mm_set_epi32(0x0C0C_0C0C, 0x0808_0808, 0x0404_0404, 0);
            let indices = _mm256_broadcastsi128_si256(_mm_add_epi8(of_each, _mm_set1_epi8(b as i8)));
            _mm256_shuffle_epi8(a, indices)
        }
    }
    #[inline(always)]
    fn dot(self, sums: __m256i, w: __m256i, x: __m256i) -> __m256i {
        Products::dot(self, sums, w, x)
    }
    #[inline(always)]
    fn dot_biased(self, sums: __m256i, w: __m256i, x: __m256i) -> __m256i {
        Products::dot_biased(self, sums, w, x)
    }
    #[inline(always)]
    fn bias_signed(self, w: __m256i) -> __m256i {
        Products::bias_signed(self, w)
    }
    #[inline(always)]
    fn unpack_low_32(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_unpacklo_epi32(a, b) }
    }
    #[inline(always)]
    fn unpack_high_32(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_unpackhi_epi32(a, b) }
    }
    #[inline(always)]
    fn unpack_low_64(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_unpacklo_epi64(a, b) }
    }
    #[inline(always)]
    fn unpack_high_64(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_unpackhi_epi64(a, b) }
    }
    #[inline(always)]
    fn lower_lanes(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_permute2x128_si256::<0x20>(a, b) }
    }
    #[inline(always)]
    fn upper_lanes(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_permute2x128_si256::<0x31>(a, b) }
    }
    #[inline(always)]
    fn load(self, bytes: &[u8; 32]) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store(self, bytes: &mut [u8; 32], a: __m256i) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), a) }
    }
    #[inline(always)]
    fn load_f(self, values: &[f32; 8]) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_loadu_ps(values.as_ptr()) }
    }
    #[inline(always)]
    fn store_f(self, values: &mut [f32; 8], a: __m256) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), a) }
    }
    #[inline(always)]
    fn load_floats(self, values: &[f32]) -> __m256 {
        self.load_f(values.first_chunk().expect("a whole register"))
    }
    #[inline(always)]
    fn load_f32(self, bytes: &[u8]) -> __m256 {
        let bytes: &[u8; 32] = bytes.first_chunk().expect("a whole register");
        // SAFETY: as above.
        unsafe { _mm256_loadu_ps(bytes.as_ptr().cast()) }
    }
    #[inline(always)]
    fn load_f16(self, bytes: &[u8]) -> __m256 {
        let bytes: &[u8; 16] = bytes.first_chunk().expect("a whole register");
        // SAFETY: as above.
        unsafe { _mm256_cvtph_ps(load_128(bytes)) }
    }
    #[inline(always)]
    fn load_bf16(self, bytes: &[u8]) -> __m256 {
        let bytes: &[u8; 16] = bytes.first_chunk().expect("a whole register");
        // SAFETY: as above.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(load_128(bytes)))) }
    }
    #[inline(always)]
    fn load_f8(self, bytes: &[u8]) -> __m256 {
        let bytes: &[u8; 8] = bytes.first_chunk().expect("a whole register");
        // SAFETY: as above.
        unsafe {
            let codes = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(i64::from_le_bytes(*bytes)));
            let magnitude = _mm_and_si128(codes, _mm_set1_epi16(0x7F));
            let sign = _mm_slli_epi16::<8>(_mm_xor_si128(codes, magnitude));
            // See `shoal_quant::f8_e4m3`: an f16 whose exponent is too small by 8, with all bits set for NaN.
            let nan = _mm_cmpeq_epi16(magnitude, _mm_set1_epi16(0x7F));
            let half = _mm_or_si128(_mm_or_si128(_mm_slli_epi16::<7>(magnitude), sign), nan);
            _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.0))
        }
    }
    #[inline(always)]
    fn store_floats(self, values: &mut [f32], a: __m256) {
        self.store_f(values.first_chunk_mut().expect("a whole register"), a);
    }
    #[inline(always)]
    fn as_bytes_mut(memory: &mut [[u8; 64]]) -> &mut [[u8; 32]] {
        memory.as_flattened_mut().as_chunks_mut().0
    }
    #[inline(always)]
    fn as_singles_mut(memory: &mut [[f32; 16]]) -> &mut [[f32; 8]] {
        memory.as_flattened_mut().as_chunks_mut().0
    }
    #[inline(always)]
    fn zero_singles() -> [f32; 8] {
        [0.0; 8]
    }
    #[inline(always)]
    fn splat_f(self, x: f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn f16(self, a: __m256i) -> __m256 {
        // SAFETY: as above.
        unsafe {
            // The lower halves of the lanes side by side: below 2^16, so packing saturates nothing.
            let packed =
                _mm256_packus_epi32(_mm256_and_si256(a, _mm256_set1_epi32(0xFFFF)), _mm256_setzero_si256());
            _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b1000>(packed)))
        }
    }
    #[inline(always)]
    fn to_floats(self, a: __m256i) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_cvtepi32_ps(a) }
    }
    #[inline(always)]
    fn as_ints(self, a: __m256) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_castps_si256(a) }
    }
    #[inline(always)]
    fn sum_32(self, a: __m256i) -> i32 {
        // SAFETY: as above.
        unsafe {
            let four = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
            let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
        }
    }
    #[inline(always)]
    fn store_low_bytes(self, bytes: &mut [i8], a: __m256i) {
        let bytes: &mut [i8; 8] = bytes.first_chunk_mut().expect("a byte for each element");
        // SAFETY: as above.
        unsafe {
            let lowest = _mm256_setr_epi8(
                0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1, -1, -1, -1, -1,
                -1, -1, -1, -1, -1, -1, -1,
            );
            let fours = _mm256_shuffle_epi8(a, lowest);
            let (low, high) = (_mm256_castsi256_si128(fours), _mm256_extracti128_si256::<1>(fours));
            _mm_storel_epi64(bytes.as_mut_ptr().cast(), _mm_unpacklo_epi32(low, high));
        }
    }
    #[inline(always)]
    fn as_floats(self, a: __m256i) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_castsi256_ps(a) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn add_f(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max_f(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn abs_f(self, a: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn max_16(self, lanes: [__m256; 2]) -> f32 {
        // SAFETY: as above.
        unsafe { max_8(_mm256_max_ps(lanes[0], lanes[1])) }
    }
    #[inline(always)]
    fn sum_16(self, lanes: [__m256; 2]) -> f32 {
        // SAFETY: as above.
        unsafe { sum_8(_mm256_add_ps(lanes[0], lanes[1])) }
    }
    #[inline(always)]
    fn fnma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn prefetch(self, bytes: &[u8], at: usize) {
        let line = bytes.as_ptr().wrapping_add(at);
        // SAFETY: a prefetch is a hint for any address whatever; it reads nothing and changes no state.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
    }
    #[inline(always)]
    fn prefetch_amid(self, bytes: &[u8], at: usize, amid: __m256i) -> __m256i {
        // SAFETY: the proof `self` exists only where `isa` saw every instruction of this file.
        unsafe { prefetch_amid(bytes.as_ptr().addr().wrapping_add(at), amid) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn prefetch_amid(line: usize, mut amid: __m256i) -> __m256i {
    // SAFETY: a prefetch is a hint for any address whatever; it reads nothing and changes no state, `amid` neither.
    unsafe {
        asm!("prefetcht1 [{line}]", "/* {amid} */", line = in(reg) line, amid = inout(ymm_reg) amid,
            options(nostack, nomem, preserves_flags));
    }
    amid
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_128(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the array is exactly one load wide; `loadu` needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// Adds eight lanes: halves first.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum_8(lanes: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// The largest of eight lanes: halves first.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn max_8(lanes: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
}
