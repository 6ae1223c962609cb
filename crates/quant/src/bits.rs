//! The few ways in which blocks hold numbers: little-endian halves, and 6-bit scales packed by twelve bytes.

/// The f16 with these bits as f32 (exact).
///
/// An f16 with its bits moved to where an f32 has them is the same number with an exponent too small by 112, which
/// a product mends, subnormal numbers included; only infinity and NaN need their exponent filled up. So there is
/// no branch, and loops over blocks and rows vectorise.
#[inline(always)]
pub(crate) fn f16_to_f32(half: u16) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits((127 + 112) << 23);
    let half = u32::from(half);
    let moved = (half & 0x7FFF) << 13;
    let scaled = (f32::from_bits(moved) * TWO_TO_112).to_bits();
    let magnitude = if half & 0x7C00 == 0x7C00 { moved | 0x7F80_0000 } else { scaled };
    f32::from_bits(magnitude | (half & 0x8000) << 16)
}

/// The f16 whose two bytes start at `at`, as f32 (exact).
#[inline(always)]
pub(crate) fn f16_at(block: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// The little-endian u32 whose bytes start at `at`.
#[inline(always)]
pub(crate) fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// Splits 16 bytes into 32 nibbles, the low ones first: the order of every 32-weight format.
#[inline(always)]
pub(crate) fn nibbles_32(bytes: &[u8; 16]) -> [u8; 32] {
    let mut out = [0; 32];
    for l in 0..16 {
        out[l] = bytes[l] & 15;
        out[l + 16] = bytes[l] >> 4;
    }
    out
}

/// Gives each of 32 nibbles its fifth bit: bit l of four little-endian bytes belongs to weight l.
#[inline(always)]
pub(crate) fn with_fifth_bits(nibbles: [u8; 32], bits: &[u8; 4]) -> [u8; 32] {
    // One mask a weight and a comparison, not a shift by l: that one vectorises everywhere.
    let mut out = nibbles;
    for group in 0..4 {
        for l in 0..8 {
            let is_set = bits[group] & (1 << l) != 0;
            out[8 * group + l] |= if is_set { 16 } else { 0 };
        }
    }
    out
}

/// The eight (scale, min) pairs of 6 bits that Q4_K and Q5_K pack into twelve bytes.
///
/// Bytes 0..4 hold scales 0..4 in their low six bits, bytes 4..8 the mins 0..4; bytes 8..12 hold the low nibbles of
/// scales 4..8 (low half) and mins 4..8 (high half), whose upper two bits fill the top of bytes 0..4 and 4..8.
#[inline(always)]
pub(crate) fn scales_mins_6bit(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut mins) = ([0; 8], [0; 8]);
    for j in 0..4 {
        scales[j] = packed[j] & 63;
        mins[j] = packed[j + 4] & 63;
        scales[j + 4] = (packed[j + 8] & 15) | ((packed[j] >> 6) << 4);
        mins[j + 4] = (packed[j + 8] >> 4) | ((packed[j + 4] >> 6) << 4);
    }
    (scales, mins)
}

/// The `N` bytes of `block` that start at `at`.
#[inline(always)]
pub(crate) fn part<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    block[at..].first_chunk().expect("the part lies within the block")
}
