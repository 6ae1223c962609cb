//! Tables of patterns: the IQ formats store groups of four or eight codes as one index, and signs apart from them.
//!
//! A table holds the groups of magnitudes that weights are worth being rounded to. It is packed as the format defines
//! it: 16 bits a pattern, equally many for each magnitude, the first in the lowest bits.

/// Unpacks a table: `values[n]` for each magnitude of `LEN` that is stored as n.
pub(crate) const fn unpack<const LEN: usize, const COUNT: usize>(
    packed: &[u16; COUNT],
    values: &[i8],
) -> [[i8; LEN]; COUNT] {
    let bits = 16 / LEN;
    let mut grid = [[0; LEN]; COUNT];
    let mut at = 0;
    while at < LEN * COUNT {
        let choice = (packed[at / LEN] >> (bits * (at % LEN))) & ((1 << bits) - 1);
        grid[at / LEN][at % LEN] = values[choice as usize];
        at += 1;
    }
    grid
}

/// Seven sign bits completed to eight, of which an even number is set: how some formats save every eighth sign.
#[inline(always)]
pub(crate) const fn with_even_parity(signs: u8) -> u8 {
    (signs & 127) | (((signs & 127).count_ones() as u8 & 1) << 7)
}

/// Writes a pattern with its signs to the beginning of `codes`: code j is negative where bit j of `signs` is set.
#[inline(always)]
pub(crate) fn put_signed<const LEN: usize>(codes: &mut [i8], pattern: &[i8; LEN], signs: u8) {
    for j in 0..LEN {
        // All ones where the sign is minus: (x ^ -1) + 1 is -x.
        let minus = -(((signs >> j) & 1) as i8);
        codes[j] = (pattern[j] ^ minus) - minus;
    }
}

/// Nibble `j` of `bytes`, the low one of each byte first.
#[inline(always)]
pub(crate) fn nibble(bytes: &[u8], j: usize) -> u8 {
    (bytes[j / 2] >> (4 * (j % 2))) & 15
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash;

    use super::*;
    use crate::{iq1_s, iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs};

    fn assert_all_different<T: Hash + Eq>(name: &str, patterns: &[T]) {
        assert_eq!(patterns.iter().collect::<HashSet<_>>().len(), patterns.len(), "{name}");
    }

    #[test]
    fn no_table_has_a_pattern_twice() {
        assert_all_different("IQ1_S", &iq1_s::GRID);
        assert_all_different("IQ2_XXS", &iq2_xxs::GRID);
        assert_all_different("IQ2_XS", &iq2_xs::GRID);
        assert_all_different("IQ2_S", &iq2_s::GRID);
        assert_all_different("IQ3_XXS", &iq3_xxs::GRID);
        assert_all_different("IQ3_S", &iq3_s::GRID);
    }

    #[test]
    fn every_sign_byte_is_even() {
        for signs in 0..128 {
            assert_eq!(with_even_parity(signs).count_ones() % 2, 0);
            assert_eq!(with_even_parity(signs) & 127, signs);
            assert_eq!(with_even_parity(signs | 128), with_even_parity(signs));
        }
    }

    #[test]
    fn signs_negate_their_own_code() {
        let mut codes = [0; 5];
        put_signed(&mut codes, &[1, 2, 3, 62], 0b1010);
        assert_eq!(codes, [1, -2, 3, -62, 0]);
    }
}
