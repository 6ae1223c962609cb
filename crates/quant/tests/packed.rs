//! What packed matrices become is, weight by weight, what their formats say: computed here in f64 from the papers' definitions.

use proptest::prelude::*;
use shoal_quant::packed::{Packed, Packing, ScaleType};
use shoal_quant::{Dtype, decode_row};
use shoal_testkit::seeded::random_bytes;

/// The values of e2m1 without sign.
const E2M1: [f64; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

fn e4m3(code: u8) -> f64 {
    let (sign, exponent, mantissa) =
        (if code >> 7 == 1 { -1.0 } else { 1.0 }, code >> 3 & 15, f64::from(code & 7));
    match exponent {
        15 if mantissa == 7.0 => f64::NAN,
        0 => sign * mantissa / 512.0,
        _ => sign * (8.0 + mantissa) * 2f64.powi(i32::from(exponent) - 10),
    }
}

fn e8m0(byte: u8) -> f64 {
    if byte == 255 { f64::NAN } else { 2f64.powi(i32::from(byte) - 127) }
}

/// `packed` read from `codes` and `scales`, which lie in memory as a drive would leave them: `slack` bytes later than need be.
fn unpacked(packed: Packed, codes: &[u8], scales: &[u8], slack: usize) -> Vec<u8> {
    let codes_at = packed.codes_at_min() + slack;
    let mut memory = vec![0xEE; codes_at];
    memory.extend(codes);
    packed.unpack(&mut memory, codes_at, scales);
    memory.truncate(packed.bytes());
    memory
}

fn decoded(packed: Packed, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; packed.rows * packed.cols];
    let row_bytes = packed.dtype().row_bytes(packed.cols).expect("whole blocks");
    for (row, out) in bytes.chunks(row_bytes).zip(out.chunks_mut(packed.cols)) {
        decode_row(packed.dtype(), row, out);
    }
    out
}

fn same(got: f32, want: f64) -> bool {
    // A product of two f32 is exact in f64, so rounding it once is what f32 arithmetic does.
    got.to_bits() == (want as f32).to_bits() || got.is_nan() && want.is_nan()
}

fn check_fp8(rows: usize, cols: usize, block: [usize; 2], scales: ScaleType, seed: u64, slack: usize) {
    let packed = Packed { packing: Packing::Fp8 { block, scales }, rows, cols };
    let codes = random_bytes(seed, packed.code_bytes());
    let mut bytes = random_bytes(seed ^ 1, packed.scale_bytes());
    if scales == ScaleType::F32 {
        // Exponents near 1.
        bytes.chunks_exact_mut(4).for_each(|scale| scale[3] = scale[3] & 0x80 | 0x3C);
    }
    let got = decoded(packed, &unpacked(packed, &codes, &bytes, slack));
    let across = cols.div_ceil(block[1]);
    assert_eq!(packed.scale_shape(), Some([rows.div_ceil(block[0]), across]));
    for (i, got) in got.into_iter().enumerate() {
        let at = i / cols / block[0] * across + i % cols / block[1];
        let scale = match scales {
            ScaleType::F32 => f64::from(f32::from_le_bytes(bytes.as_chunks().0[at])),
            ScaleType::E8M0 => e8m0(bytes[at]),
        };
        assert!(same(got, scale * e4m3(codes[i])), "{packed:?} weight {i}: {got}");
    }
}

proptest! {
    #[test]
    fn fp8_is_code_times_scale(
        rows in 1..300usize, blocks in 1..4usize, is_e8m0 in any::<bool>(), seed in any::<u64>(), slack in 0..5000usize,
    ) {
        let scales = if is_e8m0 { ScaleType::E8M0 } else { ScaleType::F32 };
        check_fp8(rows, 128 * blocks, [128, 128], scales, seed, slack);
    }

    #[test]
    fn fp8_of_cut_blocks_becomes_floats(
        rows in 1..200usize, cols in 1..300usize, edge in 1..150usize, seed in any::<u64>(), slack in 0..100usize,
    ) {
        check_fp8(rows, cols, [128, 128], ScaleType::F32, seed, slack);
        check_fp8(rows, cols, [edge, edge], ScaleType::E8M0, seed, slack);
    }

    #[test]
    fn fp4_is_code_times_scale_in_the_order_of_the_row(
        rows in 1..20usize, blocks in 1..9usize, seed in any::<u64>(), slack in 0..100usize,
    ) {
        let packed = Packed { packing: Packing::Fp4, rows, cols: 32 * blocks };
        let codes = random_bytes(seed, packed.code_bytes());
        // 255 is NaN where it comes from and a number in MXFP4.
        let scales: Vec<u8> = random_bytes(seed ^ 1, packed.scale_bytes()).iter().map(|e| e % 255).collect();
        let bytes = unpacked(packed, &codes, &scales, slack);
        prop_assert_eq!(packed.dtype(), Dtype::MXFP4);
        for (i, got) in decoded(packed, &bytes).into_iter().enumerate() {
            let nibble = codes[i / 2] >> (4 * (i % 2)) & 15;
            let magnitude = e8m0(scales[i / 32]) * E2M1[usize::from(nibble & 7)];
            let want = if nibble & 8 == 0 { magnitude } else { -magnitude };
            // A code of -0 is 0 in integer codes.
            prop_assert!(same(got, want) || got == 0.0 && want == 0.0, "weight {i}: {got}, want {want}");
        }
    }

    #[test]
    fn ids_lose_their_upper_half_and_nothing_else(ids in prop::collection::vec(any::<i64>(), 1..50), small in 0..100i64) {
        let ids: Vec<i64> = ids.into_iter().chain([small, -1, i64::from(i32::MAX), 1 << 32]).collect();
        let packed = Packed { packing: Packing::Ids, rows: 1, cols: ids.len() };
        let codes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let bytes = unpacked(packed, &codes, &[], 3);
        let got: Vec<i32> = bytes.as_chunks().0.iter().map(|id| i32::from_le_bytes(*id)).collect();
        let want: Vec<i32> = ids.iter().map(|&id| i32::try_from(id).unwrap_or(-1)).collect();
        prop_assert_eq!(got, want);
    }
}

#[test]
fn a_half_is_the_larger_part_of_neither_neighbour() {
    // Weights 0 to 31 of a row have the codes 0, 1, .. 15, 0, 1, .. 15.
    let codes: Vec<u8> = (0..16u8).map(|i| ((2 * i) % 16) | (((2 * i + 1) % 16) << 4)).collect();
    let packed = Packed { packing: Packing::Fp4, rows: 1, cols: 32 };
    let bytes = unpacked(packed, &codes, &[127], 0);
    let doubled: Vec<u8> = (0..16u8).map(|j| j | j << 4).collect();
    assert_eq!(bytes, [&[127], doubled.as_slice()].concat());
}
