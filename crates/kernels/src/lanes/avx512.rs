//! AVX-512 with VNNI, and with VBMI or without: registers of two halves, 16 rows.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::*;
use std::convert::Infallible;

use super::avx2::{load_128, max_8, sum_8};
use super::{Blocks, Tables, Vector};
use crate::isa::{Avx512, Vbmi};

/// What code compiled for an AVX-512 may use of VBMI.
pub(crate) trait UsableVbmi: Copy {
    /// The proof, if its type says that it is there.
    fn usable(self) -> Option<Vbmi>;
}

/// Known at run time only: code compiled for every AVX-512 cannot use it.
impl UsableVbmi for Option<Vbmi> {
    #[inline(always)]
    fn usable(self) -> Option<Vbmi> {
        None
    }
}

impl UsableVbmi for Vbmi {
    #[inline(always)]
    fn usable(self) -> Option<Vbmi> {
        Some(self)
    }
}

impl<T: UsableVbmi> Vector for Avx512<T> {
    type Ints = __m512i;
    type Floats = __m512;
    type Bytes = [u8; 64];
    type Singles = [f32; 16];
    const ROWS: usize = 16;
    const SIGNED_OFFSET_LOG2: Option<u32> = Some(7);
    type Tables = Vbmi;
    type Narrow = Infallible;

    #[inline(always)]
    fn narrow(self) -> Option<Infallible> {
        None
    }
    #[inline(always)]
    fn tables(self) -> Option<Vbmi> {
        self.vbmi().usable()
    }

    #[inline(always)]
    fn pair(i: usize) -> [usize; 2] {
        let first = if i < 4 { i } else { i + 4 };
        [first, first + 4]
    }
    #[inline(always)]
    fn rows_32<const B: usize>(self, blocks: &Blocks<'_, Self, B>, i: usize, at: usize) -> __m512i {
        let [low, high] = Self::pair(i);
        // SAFETY: the proof `self` exists only where `isa` saw every instruction of this file; loads and stores are of whole arrays.
        unsafe {
            let (low, high) = (load_256(blocks.part(low, at)), load_256(blocks.part(high, at)));
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        }
    }
    #[inline(always)]
    fn rows_8_by_4(self, [low, high]: [[u64; 4]; 2]) -> __m512i {
        // SAFETY: as above.
        unsafe {
            _mm512_set_epi64(
                high[3] as i64,
                high[2] as i64,
                high[1] as i64,
                high[0] as i64,
                low[3] as i64,
                low[2] as i64,
                low[1] as i64,
                low[0] as i64,
            )
        }
    }
    #[inline(always)]
    fn rows_8_floats(self, [low, high]: [&[f32; 8]; 2]) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let low = _mm512_castsi256_si512(_mm256_loadu_si256(low.as_ptr().cast()));
            _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(high.as_ptr().cast()))
        }
    }
    #[inline(always)]
    fn quads<const B: usize>(self, blocks: &Blocks<'_, Self, B>, i: usize, at: usize) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let low = _mm256_set_m128i(load_128(blocks.part(i + 4, at)), load_128(blocks.part(i, at)));
            let high = _mm256_set_m128i(load_128(blocks.part(i + 12, at)), load_128(blocks.part(i + 8, at)));
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        }
    }
    #[inline(always)]
    fn words<const B: usize>(self, blocks: &Blocks<'_, Self, B>, at: usize) -> __m512i {
        // SAFETY: as above.
        unsafe {
            _mm512_set_epi32(
                blocks.word(15, at),
                blocks.word(14, at),
                blocks.word(13, at),
                blocks.word(12, at),
                blocks.word(11, at),
                blocks.word(10, at),
                blocks.word(9, at),
                blocks.word(8, at),
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
    fn zero(self) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    fn splat_8(self, x: u8) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi8(x.cast_signed()) }
    }
    #[inline(always)]
    fn splat_32(self, x: i32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_xor_si512(a, b) }
    }
    #[inline(always)]
    fn sub_8(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_sub_epi8(a, b) }
    }
    #[inline(always)]
    fn add_32(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    fn sub_32(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn srl_16(self, a: __m512i, n: usize) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_srl_epi16(a, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    fn sll_16(self, a: __m512i, n: usize) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_sll_epi16(a, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    fn srl_32(self, a: __m512i, n: usize) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_srl_epi32(a, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    fn sra_32(self, a: __m512i, n: usize) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_sra_epi32(a, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    fn sll_32(self, a: __m512i, n: usize) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_sll_epi32(a, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    fn where_bits(self, a: __m512i, bits: __m512i, value: u8) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_maskz_set1_epi8(_mm512_test_epi8_mask(a, bits), value.cast_signed()) }
    }
    #[inline(always)]
    fn lookup(self, table: &[i8; 16], indices: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, indices)
        }
    }
    #[inline(always)]
    fn spread_byte(self, a: __m512i, b: usize) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let of_each = _mm_set_epi32(0x0C0C_0C0C, 0x0808_0808, 0x0404_0404, 0);
            let indices = _mm512_broadcast_i32x4(_mm_add_epi8(of_each, _mm_set1_epi8(b as i8)));
            _mm512_shuffle_epi8(a, indices)
        }
    }
    #[inline(always)]
    fn dot(self, sums: __m512i, w: __m512i, x: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_dpbusd_epi32(sums, w, x) }
    }
    #[inline(always)]
    fn dot_biased(self, sums: __m512i, w: __m512i, x: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_dpbusd_epi32(sums, w, x) }
    }
    #[inline(always)]
    fn bias_signed(self, w: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_xor_si512(w, _mm512_set1_epi8(i8::MIN)) }
    }
    #[inline(always)]
    fn unpack_low_32(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_unpacklo_epi32(a, b) }
    }
    #[inline(always)]
    fn unpack_high_32(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_unpackhi_epi32(a, b) }
    }
    #[inline(always)]
    fn unpack_low_64(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_unpacklo_epi64(a, b) }
    }
    #[inline(always)]
    fn unpack_high_64(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_unpackhi_epi64(a, b) }
    }
    #[inline(always)]
    fn lower_lanes(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_shuffle_i64x2::<0b10_00_10_00>(a, b) }
    }
    #[inline(always)]
    fn upper_lanes(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_shuffle_i64x2::<0b11_01_11_01>(a, b) }
    }
    #[inline(always)]
    fn load(self, bytes: &[u8; 64]) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store(self, bytes: &mut [u8; 64], a: __m512i) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), a) }
    }
    #[inline(always)]
    fn load_f(self, values: &[f32; 16]) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }
    #[inline(always)]
    fn store_f(self, values: &mut [f32; 16], a: __m512) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), a) }
    }
    #[inline(always)]
    fn load_floats(self, values: &[f32]) -> __m512 {
        self.load_f(values.first_chunk().expect("a whole register"))
    }
    #[inline(always)]
    fn load_f32(self, bytes: &[u8]) -> __m512 {
        let bytes: &[u8; 64] = bytes.first_chunk().expect("a whole register");
        // SAFETY: as above.
        unsafe { _mm512_loadu_ps(bytes.as_ptr().cast()) }
    }
    #[inline(always)]
    fn load_f16(self, bytes: &[u8]) -> __m512 {
        let bytes: &[u8; 32] = bytes.first_chunk().expect("a whole register");
        // SAFETY: as above.
        unsafe { _mm512_cvtph_ps(load_256(bytes)) }
    }
    #[inline(always)]
    fn load_bf16(self, bytes: &[u8]) -> __m512 {
        let bytes: &[u8; 32] = bytes.first_chunk().expect("a whole register");
        // SAFETY: as above.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(load_256(bytes)))) }
    }
    #[inline(always)]
    fn load_f8(self, bytes: &[u8]) -> __m512 {
        let bytes: &[u8; 16] = bytes.first_chunk().expect("a whole register");
        // SAFETY: as above.
        unsafe {
            let codes = _mm256_cvtepu8_epi16(load_128(bytes));
            let magnitude = _mm256_and_si256(codes, _mm256_set1_epi16(0x7F));
            let sign = _mm256_slli_epi16::<8>(_mm256_xor_si256(codes, magnitude));
            // See `shoal_quant::f8_e4m3`: an f16 whose exponent is too small by 8, with all bits set for NaN.
            let nan = _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x7F));
            let half = _mm256_or_si256(_mm256_or_si256(_mm256_slli_epi16::<7>(magnitude), sign), nan);
            _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0))
        }
    }
    #[inline(always)]
    fn store_floats(self, values: &mut [f32], a: __m512) {
        self.store_f(values.first_chunk_mut().expect("a whole register"), a);
    }
    #[inline(always)]
    fn as_bytes_mut(memory: &mut [[u8; 64]]) -> &mut [[u8; 64]] {
        memory
    }
    #[inline(always)]
    fn as_singles_mut(memory: &mut [[f32; 16]]) -> &mut [[f32; 16]] {
        memory
    }
    #[inline(always)]
    fn zero_singles() -> [f32; 16] {
        [0.0; 16]
    }
    #[inline(always)]
    fn splat_f(self, x: f32) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn f16(self, a: __m512i) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)) }
    }
    #[inline(always)]
    fn to_floats(self, a: __m512i) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_cvtepi32_ps(a) }
    }
    #[inline(always)]
    fn as_ints(self, a: __m512) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_castps_si512(a) }
    }
    #[inline(always)]
    fn sum_32(self, a: __m512i) -> i32 {
        // SAFETY: as above.
        unsafe { _mm512_reduce_add_epi32(a) }
    }
    #[inline(always)]
    fn store_low_bytes(self, bytes: &mut [i8], a: __m512i) {
        let bytes: &mut [i8; 16] = bytes.first_chunk_mut().expect("a byte for each element");
        // SAFETY: as above.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(a)) }
    }
    #[inline(always)]
    fn as_floats(self, a: __m512i) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_castsi512_ps(a) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn add_f(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max_f(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn abs_f(self, a: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    fn max_16(self, lanes: [__m512; 2]) -> f32 {
        // SAFETY: as above.
        unsafe {
            max_8(_mm256_max_ps(_mm512_castps512_ps256(lanes[0]), _mm512_extractf32x8_ps::<1>(lanes[0])))
        }
    }
    #[inline(always)]
    fn sum_16(self, lanes: [__m512; 2]) -> f32 {
        // SAFETY: as above.
        unsafe {
            sum_8(_mm256_add_ps(_mm512_castps512_ps256(lanes[0]), _mm512_extractf32x8_ps::<1>(lanes[0])))
        }
    }
    #[inline(always)]
    fn fnma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn prefetch(self, bytes: &[u8], at: usize) {
        let line = bytes.as_ptr().wrapping_add(at);
        // SAFETY: a prefetch is a hint for any address whatever; it reads nothing and changes no state.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
    }
    #[inline(always)]
    fn prefetch_amid(self, bytes: &[u8], at: usize, amid: __m512i) -> __m512i {
        // SAFETY: the proof `self` exists only where `isa` saw every instruction of this file.
        unsafe { prefetch_amid(bytes.as_ptr().addr().wrapping_add(at), amid) }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn prefetch_amid(line: usize, mut amid: __m512i) -> __m512i {
    // SAFETY: a prefetch is a hint for any address whatever; it reads nothing and changes no state, `amid` neither.
    unsafe {
        asm!("prefetcht1 [{line}]", "/* {amid} */", line = in(reg) line, amid = inout(zmm_reg) amid,
            options(nostack, nomem, preserves_flags));
    }
    amid
}

impl Tables<__m512i> for Vbmi {
    #[inline(always)]
    fn lookup_64(self, table: &[u8; 64], indices: __m512i) -> __m512i {
        // SAFETY: the proof `self` exists only where `isa` saw VBMI and the rest of AVX-512; loads are of whole arrays.
        unsafe { _mm512_permutexvar_epi8(indices, load_512(table)) }
    }
    #[inline(always)]
    fn lookup_128(self, table: &[u8; 128], indices: __m512i) -> __m512i {
        let [low, high] = halves(table);
        // SAFETY: as above.
        unsafe { _mm512_permutex2var_epi8(load_512(low), indices, load_512(high)) }
    }
    #[inline(always)]
    fn lookup_256(self, table: &[u8; 256], indices: __m512i) -> __m512i {
        let [low, high] = halves(table);
        let (low, high) = (self.lookup_128(low, indices), self.lookup_128(high, indices));
        // SAFETY: as above.
        unsafe { _mm512_mask_blend_epi8(_mm512_movepi8_mask(indices), low, high) }
    }
    #[inline(always)]
    fn choose(self, bits: __m512i, own: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_mask_blend_epi8(_mm512_test_epi8_mask(bits, own), a, b) }
    }
    #[inline(always)]
    fn fields(self, a: __m512i, first: i32, step: i32) -> __m512i {
        // Positions are within 64 bits, two elements, and taken modulo that.
        let mut positions = [0; 8];
        for j in 0..4 {
            positions[j as usize] = ((first + step * j) & 63) as u8;
            positions[j as usize + 4] = ((first + step * j + 32) & 63) as u8;
        }
        let positions = i64::from_le_bytes(positions);
        // SAFETY: as above.
        unsafe { _mm512_multishift_epi64_epi8(_mm512_set1_epi64(positions), a) }
    }
}

/// Both halves of a table.
#[inline(always)]
fn halves<const N: usize, const HALF: usize>(table: &[u8; N]) -> [&[u8; HALF]; 2] {
    const { assert!(N == 2 * HALF) };
    [table.first_chunk().expect("half of it"), table.last_chunk().expect("half of it")]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_512(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the array is exactly one load wide; `loadu` needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_256(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the array is exactly one load wide; `loadu` needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}
