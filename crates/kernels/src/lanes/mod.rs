//! One register of codes from 8 or 16 weight rows: what the quantised kernels are written in.
//!
//! The kernels and the formats (`quant_dot`, `stored`) are written once, over [`Vector`]; an instruction set brings
//! the some fifty operations below, [`Tables`] if it can, and nothing else. The trait is implemented for the proof types of `isa`, so who has
//! a `Vector` value has the instructions.
//!
//! Functions over it are `#[inline(always)]` and have no closures: the features of an instruction set begin at the function
//! that `quant_dot::x86` compiles for it, and what is not inlined there stays a call for every instruction.
//!
//! A register is one or two *halves* of 256 bits, each two *lanes* of 128 bits. Rows are loaded with their bytes side by
//! side and turned at once, so that an element belongs to one row from then on and sums need not be added up across it:
//!
//! ```text
//! by row      a half holds 32 bytes of one row:           [ row i: b0 .. b31 | row i+4: b0 .. b31 ]
//! by column   element r holds 4 bytes of row r:           [ r0: b0..b3 | r1: b0..b3 | ... | r15: b0..b3 ]
//! ```
//! Which two rows share a register by row is [`Vector::pair`]'s matter: those that one shuffle of lanes can put in order.
//! Bytes are turned as they are stored, before codes are cut out of them: a byte with two codes is moved once.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod blocks;

pub(crate) use blocks::Blocks;

use std::convert::Infallible;

use crate::isa::Isa;

/// The operations of an instruction set on registers of one or two halves.
///
/// Names say the width of the elements in bits where it matters. Nothing rounds but `mul`, `add_f`, `fma` and `fnma`.
pub(crate) trait Vector: Copy {
    /// A register of bytes or 32-bit integers.
    type Ints: Copy;
    /// A register of f32.
    type Floats: Copy;
    /// A register of bytes in memory.
    type Bytes: Copy;
    /// A register of f32 in memory.
    type Singles: Copy + AsRef<[f32]>;
    /// Rows of a register: 8 or 16.
    const ROWS: usize;
    /// How [`Vector::bias_signed`] shifts signed codes: by `1 << n`, or not at all.
    const SIGNED_OFFSET_LOG2: Option<u32>;
    /// What looks up in tables of more than 16 bytes.
    type Tables: Tables<Self::Ints>;
    /// What adds products of small codes in 16 bits.
    type Narrow: Narrow<Self::Ints>;

    /// What looks up in tables of more than 16 bytes, where there is such a thing. That is known when this is compiled,
    /// so a branch on it costs nothing.
    fn tables(self) -> Option<Self::Tables>;
    /// What adds products of small codes in 16 bits, where that is faster than [`Vector::dot`].
    fn narrow(self) -> Option<Self::Narrow>;

    /// The rows whose bytes are the halves of register `i` by row; with one half only the first counts.
    fn pair(i: usize) -> [usize; 2];
    /// By row: the 32 bytes at `at` of the blocks of the rows of `pair(i)`.
    fn rows_32<const BYTES: usize>(self, blocks: &Blocks<'_, Self, BYTES>, i: usize, at: usize)
    -> Self::Ints;
    /// By row: four times eight bytes for each row of a pair.
    fn rows_8_by_4(self, rows: [[u64; 4]; 2]) -> Self::Ints;
    /// By row: eight f32 of each row of a pair.
    fn rows_8_floats(self, rows: [&[f32; 8]; 2]) -> Self::Ints;
    /// The 16 bytes at `at` of the blocks of rows i, i + 4, i + 8, i + 12, a lane each.
    fn quads<const BYTES: usize>(self, blocks: &Blocks<'_, Self, BYTES>, i: usize, at: usize) -> Self::Ints;
    /// The little-endian word at `at` of each row's block: element r for row r.
    fn words<const BYTES: usize>(self, blocks: &Blocks<'_, Self, BYTES>, at: usize) -> Self::Ints;

    /// All bits zero.
    fn zero(self) -> Self::Ints;
    /// `x` in every byte.
    fn splat_8(self, x: u8) -> Self::Ints;
    /// `x` in every 32-bit element.
    fn splat_32(self, x: i32) -> Self::Ints;
    /// Bitwise and.
    fn and(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Bitwise or.
    fn or(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Bitwise exclusive or.
    fn xor(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a - b` by bytes.
    fn sub_8(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a + b` by 32-bit elements.
    fn add_32(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a - b` by 32-bit elements.
    fn sub_32(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Shifts 16-bit elements right, zeros coming in.
    fn srl_16(self, a: Self::Ints, n: usize) -> Self::Ints;
    /// Shifts 16-bit elements left.
    fn sll_16(self, a: Self::Ints, n: usize) -> Self::Ints;
    /// Shifts 32-bit elements right, zeros coming in.
    fn srl_32(self, a: Self::Ints, n: usize) -> Self::Ints;
    /// Shifts 32-bit elements right, the sign coming in.
    fn sra_32(self, a: Self::Ints, n: usize) -> Self::Ints;
    /// Shifts 32-bit elements left.
    fn sll_32(self, a: Self::Ints, n: usize) -> Self::Ints;
    /// `value` in each byte in which `a` and `bits` share a set bit, zero elsewhere.
    fn where_bits(self, a: Self::Ints, bits: Self::Ints, value: u8) -> Self::Ints;
    /// `table[index]` for each byte; indices are below 16.
    fn lookup(self, table: &[i8; 16], indices: Self::Ints) -> Self::Ints;
    /// Byte `b` of each 32-bit element in all four of its bytes.
    fn spread_byte(self, a: Self::Ints, b: usize) -> Self::Ints;

    /// `sums + w . x` over each four neighbours, `w` unsigned and below 128, `x` signed and above -128.
    fn dot(self, sums: Self::Ints, w: Self::Ints, x: Self::Ints) -> Self::Ints;
    /// The same for codes that [`Vector::bias_signed`] made.
    fn dot_biased(self, sums: Self::Ints, w: Self::Ints, x: Self::Ints) -> Self::Ints;
    /// Signed codes as `dot_biased` takes them: with `1 << SIGNED_OFFSET_LOG2` added, or as they are.
    fn bias_signed(self, w: Self::Ints) -> Self::Ints;

    /// Interleaves the lower 32-bit elements of each lane.
    fn unpack_low_32(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Interleaves the upper 32-bit elements of each lane.
    fn unpack_high_32(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Interleaves the lower 64-bit elements of each lane.
    fn unpack_low_64(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Interleaves the upper 64-bit elements of each lane.
    fn unpack_high_64(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// The lower lane of each half of `a`, then those of `b`.
    fn lower_lanes(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// The upper lane of each half of `a`, then those of `b`.
    fn upper_lanes(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;

    /// A register of bytes from memory.
    fn load(self, bytes: &Self::Bytes) -> Self::Ints;
    /// A register of bytes to memory.
    fn store(self, bytes: &mut Self::Bytes, a: Self::Ints);
    /// A register of f32 from memory.
    fn load_f(self, values: &Self::Singles) -> Self::Floats;
    /// A register of f32 to memory.
    fn store_f(self, values: &mut Self::Singles, a: Self::Floats);
    /// A register of f32 from the beginning of `values`.
    fn load_floats(self, values: &[f32]) -> Self::Floats;
    /// A register of little-endian f32 from the beginning of `bytes`.
    fn load_f32(self, bytes: &[u8]) -> Self::Floats;
    /// A register of f32 made of the f16 at the beginning of `bytes`.
    fn load_f16(self, bytes: &[u8]) -> Self::Floats;
    /// A register of f32 made of the bf16 at the beginning of `bytes`.
    fn load_bf16(self, bytes: &[u8]) -> Self::Floats;
    /// A register of f32 made of the e4m3 codes at the beginning of `bytes`.
    fn load_f8(self, bytes: &[u8]) -> Self::Floats;
    /// A register of f32 to the beginning of `values`.
    fn store_floats(self, values: &mut [f32], a: Self::Floats);
    /// Memory as registers of bytes.
    fn as_bytes_mut(memory: &mut [[u8; 64]]) -> &mut [Self::Bytes];
    /// Memory as registers of f32.
    fn as_singles_mut(memory: &mut [[f32; 16]]) -> &mut [Self::Singles];
    /// A register of f32 in memory, all zero.
    fn zero_singles() -> Self::Singles;

    /// `x` in every element.
    fn splat_f(self, x: f32) -> Self::Floats;
    /// The f16 in the lower half of each 32-bit element.
    fn f16(self, a: Self::Ints) -> Self::Floats;
    /// Integers to the nearest f32.
    fn to_floats(self, a: Self::Ints) -> Self::Floats;
    /// The bits of f32.
    fn as_ints(self, a: Self::Floats) -> Self::Ints;
    /// The sum of all 32-bit elements, modulo 2^32.
    fn sum_32(self, a: Self::Ints) -> i32;
    /// The lowest byte of each 32-bit element, to the beginning of `bytes`.
    fn store_low_bytes(self, bytes: &mut [i8], a: Self::Ints);
    /// The f32 with these bits.
    fn as_floats(self, a: Self::Ints) -> Self::Floats;
    /// `a * b`.
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a + b`.
    fn add_f(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// The larger of two elements; that of `b` if either is NaN.
    fn max_f(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Magnitudes.
    fn abs_f(self, a: Self::Floats) -> Self::Floats;
    /// The largest of sixteen lanes, in the order of [`Vector::sum_16`].
    fn max_16(self, lanes: [Self::Floats; 2]) -> f32;
    /// The sum of sixteen lanes, in the order of `math::sum_lanes`: one register, or two of eight lanes.
    fn sum_16(self, lanes: [Self::Floats; 2]) -> f32;
    /// `c - a * b`, rounded once.
    fn fnma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;

    /// Asks for the cache line at `at` of `bytes` ahead of its use, into the second cache. Past the end it costs a little
    /// and does nothing.
    fn prefetch(self, bytes: &[u8], at: usize);
    /// The same at the place in a chain of arithmetic where `amid` is known, which it returns as it is. A compiler sees nothing
    /// that holds a mere hint in its place, and gathers them.
    fn prefetch_amid(self, bytes: &[u8], at: usize, amid: Self::Ints) -> Self::Ints;
}

/// Lookups in tables of more bytes than a lane has, which not every instruction set can do.
pub(crate) trait Tables<Ints>: Copy {
    /// `table[index]` for each byte, the upper two bits of which are not looked at.
    fn lookup_64(self, table: &[u8; 64], indices: Ints) -> Ints;
    /// `table[index]` for each byte, the upper bit of which is not looked at.
    fn lookup_128(self, table: &[u8; 128], indices: Ints) -> Ints;
    /// `table[index]` for each byte.
    fn lookup_256(self, table: &[u8; 256], indices: Ints) -> Ints;
    /// `b` in each byte in which `bits` and `own` share a set bit, `a` elsewhere.
    fn choose(self, bits: Ints, own: Ints, a: Ints, b: Ints) -> Ints;
    /// Four bytes of the bits of each 32-bit element, byte j from bit `first + step * j` on. What lies outside the element
    /// is anything.
    fn fields(self, a: Ints, first: i32, step: i32) -> Ints;
}

/// Sums of products in 16 bits: of `N` registers of codes that are at most `127 / N`, with activations of eight bits.
pub(crate) trait Narrow<Ints>: Copy {
    /// `w . x` over each two neighbours, in 16 bits.
    fn pairs(self, w: Ints, x: Ints) -> Ints;
    /// `a + b` by 16-bit elements.
    fn add_16(self, a: Ints, b: Ints) -> Ints;
    /// `sums` with each two neighbours of 16 bits added to them.
    fn widen(self, sums: Ints, pairs: Ints) -> Ints;
}

/// No such sums: there is no value of this type to call them on.
impl<Ints> Narrow<Ints> for Infallible {
    fn pairs(self, _: Ints, _: Ints) -> Ints {
        match self {}
    }
    fn add_16(self, _: Ints, _: Ints) -> Ints {
        match self {}
    }
    fn widen(self, _: Ints, _: Ints) -> Ints {
        match self {}
    }
}

/// No such lookups: there is no value of this type to call them on.
impl<Ints> Tables<Ints> for Infallible {
    fn lookup_64(self, _: &[u8; 64], _: Ints) -> Ints {
        match self {}
    }
    fn lookup_128(self, _: &[u8; 128], _: Ints) -> Ints {
        match self {}
    }
    fn lookup_256(self, _: &[u8; 256], _: Ints) -> Ints {
        match self {}
    }
    fn choose(self, _: Ints, _: Ints, _: Ints, _: Ints) -> Ints {
        match self {}
    }
    fn fields(self, _: Ints, _: i32, _: i32) -> Ints {
        match self {}
    }
}

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Asks for `bytes` ahead of their use, where the instruction set can.
pub(crate) fn prefetch(isa: Isa, bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    match isa {
        Isa::Scalar => {}
        Isa::Avx2(proof) => prefetch_all(proof, bytes),
        Isa::AvxVnni(proof) => prefetch_all(proof, bytes),
        Isa::Avx512(proof) => prefetch_all(proof, bytes),
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (isa, bytes);
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch_all<V: Vector>(v: V, bytes: &[u8]) {
    for at in (0..bytes.len()).step_by(LINE) {
        v.prefetch(bytes, at);
    }
}

/// `$body` for each `$i` below `$n`, which is at most 16, written out: registers have no index at run time.
macro_rules! written_out {
    ($i:ident in 0..$n:expr => $body:block) => {{
        macro_rules! turn {
            ($at:literal) => {
                if $at < $n {
                    let $i = $at;
                    $body
                }
            };
        }
        turn!(0);
        turn!(1);
        turn!(2);
        turn!(3);
        turn!(4);
        turn!(5);
        turn!(6);
        turn!(7);
        turn!(8);
        turn!(9);
        turn!(10);
        turn!(11);
        turn!(12);
        turn!(13);
        turn!(14);
        turn!(15);
    }};
}
pub(crate) use written_out;

/// Registers by column: the k-th holds bytes 4k..4k + 4 of every row.
pub(crate) type Columns<V> = [<V as Vector>::Ints; 8];

/// By column the 32 bytes at `at` of every block.
#[inline(always)]
pub(crate) fn columns<V: Vector, const BYTES: usize>(
    v: V,
    blocks: &Blocks<'_, V, BYTES>,
    at: usize,
) -> Columns<V> {
    if V::ROWS == 8 {
        let ([a, b, c, d], [e, f, g, h]) = (columns_16(v, blocks, at), columns_16(v, blocks, at + 16));
        return [a, b, c, d, e, f, g, h];
    }
    let mut rows = [v.zero(); 8];
    for i in 0..8 {
        rows[i] = v.rows_32(blocks, i, at);
    }
    by_column(v, rows)
}

/// Turns eight registers by row into eight by column.
#[inline(always)]
pub(crate) fn by_column<V: Vector>(v: V, rows: [V::Ints; 8]) -> Columns<V> {
    let low = words_of_rows(v, [rows[0], rows[1], rows[2], rows[3]]);
    let high = words_of_rows(v, [rows[4], rows[5], rows[6], rows[7]]);
    let mut out = [v.zero(); 8];
    for k in 0..4 {
        out[k] = v.lower_lanes(low[k], high[k]);
        out[4 + k] = v.upper_lanes(low[k], high[k]);
    }
    out
}

/// Turns four registers within each lane: result k holds 32-bit element k of each.
#[inline(always)]
pub(crate) fn words_of_rows<V: Vector>(v: V, [a, b, c, d]: [V::Ints; 4]) -> [V::Ints; 4] {
    let (ab, cd) = (v.unpack_low_32(a, b), v.unpack_low_32(c, d));
    let (ab_high, cd_high) = (v.unpack_high_32(a, b), v.unpack_high_32(c, d));
    [
        v.unpack_low_64(ab, cd),
        v.unpack_high_64(ab, cd),
        v.unpack_low_64(ab_high, cd_high),
        v.unpack_high_64(ab_high, cd_high),
    ]
}

/// By column the 16 bytes at `at` of every block: four registers.
#[inline(always)]
pub(crate) fn columns_16<V: Vector, const BYTES: usize>(
    v: V,
    blocks: &Blocks<'_, V, BYTES>,
    at: usize,
) -> [V::Ints; 4] {
    words_of_rows(
        v,
        [v.quads(blocks, 0, at), v.quads(blocks, 1, at), v.quads(blocks, 2, at), v.quads(blocks, 3, at)],
    )
}
