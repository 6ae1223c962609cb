//! Every format against vectors from an independent implementation, and properties that hold for any bytes.

use std::path::PathBuf;

use proptest::prelude::*;
use shoal_quant::{Dtype, NoEncoder, decode_row, encode_row, unpack_blocks};

const WRITABLE: [Dtype; 8] =
    [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::Q4_0, Dtype::Q4_1, Dtype::Q5_0, Dtype::Q5_1, Dtype::Q8_0];

fn quantized() -> impl Iterator<Item = Dtype> {
    Dtype::ALL.iter().copied().filter(|dtype| dtype.is_quantized())
}

fn vector(file: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    std::fs::read(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

fn floats(file: &str) -> Vec<f32> {
    vector(file).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Bit for bit, except that one NaN is as good as another.
fn assert_same(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
        let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
        assert!(same, "{what}: value {idx}: expected {expected:e}, found {found:e}");
    }
}

fn decode(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![f32::NAN; bytes.len() / dtype.block_bytes() * dtype.block_len()];
    decode_row(dtype, bytes, &mut out);
    out
}

fn encode(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    let mut out = vec![0xA5; dtype.row_bytes(values.len()).expect("whole blocks")];
    encode_row(dtype, values, &mut out).expect("a format with an encoder");
    out
}

/// `scale * code - min`, from the unpacked form.
fn by_formula(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let len = bytes.len() / dtype.block_bytes() * dtype.block_len();
    let sub = dtype.sub_block_len();
    let (mut codes, mut scales) = (vec![i8::MIN; len], vec![f32::NAN; len / sub]);
    let mut mins = vec![f32::NAN; if dtype.has_mins() { len / sub } else { 0 }];
    unpack_blocks(dtype, bytes, &mut codes, &mut scales, &mut mins);
    codes
        .iter()
        .enumerate()
        .map(|(idx, code)| {
            let product = scales[idx / sub] * f32::from(*code);
            if dtype.has_mins() { product - mins[idx / sub] } else { product }
        })
        .collect()
}

#[test]
fn every_quantised_format_decodes_as_the_independent_decoder_does() {
    for dtype in quantized() {
        let name = dtype.name().to_lowercase();
        let (blocks, expected) = (vector(&format!("{name}.blocks")), floats(&format!("{name}.f32")));
        assert!(blocks.len() >= 12 * dtype.block_bytes());
        assert_same(&decode(dtype, &blocks), &expected, dtype.name());
    }
}

#[test]
fn encoders_write_what_the_independent_encoder_writes() {
    let rows = floats("encode_input.f32");
    for dtype in WRITABLE.into_iter().filter(|dtype| *dtype != Dtype::F32) {
        let expected = vector(&format!("encode_{}.blocks", dtype.name().to_lowercase()));
        let found = encode(dtype, &rows);
        for (idx, (found, expected)) in
            found.chunks(dtype.block_bytes()).zip(expected.chunks(dtype.block_bytes())).enumerate()
        {
            assert_eq!(found, expected, "{dtype}, block {idx}");
        }
        assert_eq!(found.len(), expected.len());
    }
}

#[test]
fn formats_without_an_encoder_say_so() {
    for dtype in Dtype::ALL.iter().copied().filter(|dtype| !WRITABLE.contains(dtype)) {
        let mut out = vec![0; dtype.block_bytes()];
        assert_eq!(encode_row(dtype, &vec![1.0; dtype.block_len()], &mut out), Err(NoEncoder(dtype)));
        assert_eq!(out, vec![0; dtype.block_bytes()]);
    }
    let sentence = NoEncoder(Dtype::Q4_K).to_string();
    assert!(WRITABLE.iter().all(|dtype| sentence.contains(dtype.name())), "{sentence}");
}

/// Largest distance a format may move a value of a block, in units of the block's largest magnitude or its range:
/// half a step, and what rounding the scale to f16 adds over all steps.
fn bound(dtype: Dtype, values: &[f32]) -> f64 {
    let max_abs = values.iter().fold(0.0, |max: f64, value| max.max(f64::from(value.abs())));
    let (lo, hi) =
        values.iter().fold((f64::MAX, f64::MIN), |(lo, hi), &v| (lo.min(v.into()), hi.max(v.into())));
    // f16: relative 2^-11, or half of the smallest subnormal (2^-25) a step.
    let f16_steps = |steps: f64| steps * 2f64.powi(-25);
    match dtype {
        Dtype::F32 => 0.0,
        Dtype::F16 => max_abs * 2f64.powi(-11) + 2f64.powi(-25),
        Dtype::BF16 => max_abs * 2f64.powi(-8),
        Dtype::Q8_0 => max_abs * (0.5 / 127.0 + 2f64.powi(-11)) * 1.0001 + f16_steps(127.0),
        // The code opposite to the extreme value does not exist: up to one whole step.
        Dtype::Q4_0 => max_abs * (1.0 / 8.0 + 2f64.powi(-11)) * 1.0001 + f16_steps(8.0),
        Dtype::Q5_0 => max_abs * (1.0 / 16.0 + 2f64.powi(-11)) * 1.0001 + f16_steps(16.0),
        Dtype::Q4_1 => {
            (hi - lo) * (0.5 / 15.0 + 2f64.powi(-11)) * 1.0001 + lo.abs() * 2f64.powi(-11) + f16_steps(16.0)
        }
        Dtype::Q5_1 => {
            (hi - lo) * (0.5 / 31.0 + 2f64.powi(-11)) * 1.0001 + lo.abs() * 2f64.powi(-11) + f16_steps(32.0)
        }
        _ => unreachable!("{dtype} has no encoder"),
    }
}

proptest! {
    #[test]
    fn any_bytes_decode_and_equal_the_formula(seed in any::<u64>(), count in 0..5usize) {
        let mut prng = shoal_base::Prng::new(seed);
        for dtype in Dtype::ALL.iter().copied().filter(|dtype| dtype.is_weight()) {
            let bytes: Vec<u8> = (0..count * dtype.block_bytes()).map(|_| prng.next_u64() as u8).collect();
            let decoded = decode(dtype, &bytes);
            if dtype.is_quantized() {
                assert_same(&decoded, &by_formula(dtype, &bytes), dtype.name());
            }
        }
    }

    #[test]
    fn encoding_moves_a_value_by_no_more_than_the_bound(
        scale_log2 in -20..12i32,
        shift in -4.0..4.0f64,
        seed in any::<u64>(),
    ) {
        let mut prng = shoal_base::Prng::new(seed);
        let values: Vec<f32> =
            (0..32).map(|_| ((prng.next_normal() + shift) * 2f64.powi(scale_log2)) as f32).collect();
        for dtype in WRITABLE {
            let decoded = decode(dtype, &encode(dtype, &values));
            for (value, found) in values.iter().zip(&decoded) {
                let moved = (f64::from(*value) - f64::from(*found)).abs();
                prop_assert!(moved <= bound(dtype, &values), "{}: {} became {}", dtype, value, found);
            }
        }
    }

    #[test]
    fn hostile_numbers_encode_without_a_panic(bits in prop::collection::vec(any::<u32>(), 32)) {
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        for dtype in WRITABLE {
            decode(dtype, &encode(dtype, &values));
        }
    }
}

#[test]
fn floating_point_rows_round_trip_exactly() {
    for dtype in [Dtype::F16, Dtype::BF16] {
        // Every finite 16-bit pattern.
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let decoded = decode(dtype, &bytes);
        let again = encode(dtype, &decoded);
        for ((value, before), after) in decoded.iter().zip(bytes.chunks(2)).zip(again.chunks(2)) {
            assert!(value.is_nan() || before == after, "{dtype}: {before:?} became {after:?}");
        }
    }
    assert_eq!(decode(Dtype::F16, &[0x01, 0x00, 0xFF, 0xFB]), [2f32.powi(-24), -65504.0]);
    assert_eq!(decode(Dtype::BF16, &[0x80, 0x3F, 0x00, 0xC0]), [1.0, -2.0]);
    assert_eq!(decode(Dtype::F32, &encode(Dtype::F32, &[1.5, -0.0])), [1.5, -0.0]);
}

#[test]
#[should_panic(expected = "I32 holds no weights")]
fn integers_are_not_weights() {
    decode_row(Dtype::I32, &[0; 4], &mut [0.0]);
}

#[test]
#[should_panic(expected = "Q4_0: 32 values")]
fn a_row_of_the_wrong_length_is_our_mistake() {
    decode_row(Dtype::Q4_0, &[0; 17], &mut [0.0; 32]);
}
