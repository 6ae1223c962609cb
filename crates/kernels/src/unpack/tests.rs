//! One property for all formats and variants: the bits of the reference, on any bytes at all.

use proptest::prelude::*;
use shoal_testkit::seeded;

use super::*;

proptest! {
    #[test]
    fn every_variant_unpacks_the_bits_of_the_reference(blocks in 1..6usize, seed in any::<u64>()) {
        for &dtype in Dtype::ALL.iter().filter(|dtype| dtype.is_quantized()) {
            let bytes = seeded::random_bytes(seed, blocks * dtype.block_bytes());
            let (cols, subs) = (blocks * dtype.block_len(), blocks * dtype.block_len() / dtype.sub_block_len());
            let mins_len = if dtype.has_mins() { subs } else { 0 };
            let run = |isa: Option<Isa>| {
                let (mut codes, mut scales, mut mins) = (vec![99; cols], vec![9.0; subs], vec![9.0; mins_len]);
                match isa {
                    Some(isa) => unpack(isa, dtype, &bytes, &mut codes, &mut scales, &mut mins),
                    None => shoal_quant::unpack_blocks(dtype, &bytes, &mut codes, &mut scales, &mut mins),
                }
                // Any NaN is as good as another: the instruction sets its quiet bit.
                let bits = |x: f32| if x.is_nan() { u32::MAX } else { x.to_bits() };
                (codes, scales.into_iter().map(bits).collect::<Vec<_>>(), mins.into_iter().map(bits).collect::<Vec<_>>())
            };
            for isa in Isa::available() {
                prop_assert_eq!(run(Some(isa)), run(None), "{} {}", isa, dtype.name());
            }
        }
    }
}
