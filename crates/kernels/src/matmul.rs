//! Matrix products `y = x W^T` with weights in any stored format: every projection of the model.
//!
//! A product is a list of work items, each a run of weight rows with all tokens that need them: a stripe of columns of
//! the result. Several products over the same activations go as one list ([`Product`]): the activations are quantised
//! once and the threads meet at one barrier. What an item does with its rows is `quant_dot`'s matter, or `dot_f32`'s for
//! float formats.
//!
//! Shapes    W [rows, cols] row-major in blocks along cols · x [T, cols] f32 · y [T, rows] f32
//! Numerics  quantised formats: activations in 8 bits, or 15 beside outliers (see `quantize`), exact integer products, f32
//!           sums (see `quant_dot`); float formats: f32 throughout. `y[t, r]` depends on `x[t]` and `W[r]` alone.

use std::cell::OnceCell;

use shoal_base::Blob;
use shoal_quant::Dtype;

use crate::act::Act;
use crate::isa::Isa;
use crate::pool::{Pool, Stripe, Striped};
use crate::quant_dot::ITEM_ROWS;
use crate::quantize::{QuantAct, QuantRow};
use crate::work::Work;
use crate::{dot_f32, quant_dot};

/// Weight bytes an item reads at the least, so that handing items out costs little beside the work.
const ITEM_BYTES: usize = 256 << 10;
/// Items for each thread at the least (if there are rows enough), so that threads finish together.
const ITEMS_PER_THREAD: usize = 4;

/// A weight matrix `[rows, cols]` in its stored format; a handle that keeps its bytes in memory.
#[derive(Clone, Debug)]
pub struct Matrix {
    dtype: Dtype,
    rows: usize,
    cols: usize,
    row_bytes: usize,
    bytes: Blob,
}

impl Matrix {
    /// Takes `bytes` as `[rows, cols]` of `dtype`.
    ///
    /// # Panics
    /// If a row is not a whole number of blocks or the length does not fit the shape: whoever read the file has
    /// checked both.
    #[must_use]
    pub fn new(dtype: Dtype, rows: usize, cols: usize, bytes: Blob) -> Self {
        let row_bytes = dtype.row_bytes(cols).expect("a row is a whole number of blocks");
        assert_eq!(bytes.len(), rows * row_bytes, "a [{rows}, {cols}] matrix of {}", dtype.name());
        Self { dtype, rows, cols, row_bytes, bytes }
    }

    /// How many rows: the width of what the product yields.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns: the width of what it takes.
    #[must_use]
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// The stored format.
    #[must_use]
    pub const fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Size in the stored format.
    #[must_use]
    pub const fn byte_len(&self) -> usize {
        self.rows * self.row_bytes
    }

    /// Rows `[first, first + rows)`, sharing the bytes.
    #[must_use]
    pub fn row_range(&self, first: usize, rows: usize) -> Self {
        let bytes = self.bytes.slice(first * self.row_bytes..(first + rows) * self.row_bytes);
        Self { rows, bytes, ..*self }
    }

    /// One row in the stored format.
    #[must_use]
    #[inline]
    pub fn row_bytes(&self, row: usize) -> &[u8] {
        &self.bytes.as_slice()[row * self.row_bytes..][..self.row_bytes]
    }

    /// Rows `[first, first + rows)` in the stored format, as many of them as there are.
    pub(crate) fn bytes_of_rows(&self, first: usize, rows: usize) -> &[u8] {
        let (first, end) = (first.min(self.rows), (first + rows).min(self.rows));
        &self.bytes.as_slice()[first * self.row_bytes..end * self.row_bytes]
    }

    /// Decodes one row.
    ///
    /// # Panics
    /// If `out` is not `cols` long.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        shoal_quant::decode_row(self.dtype, self.row_bytes(row), out);
    }
}

/// Activations that several products read: quantised at most once.
pub(crate) struct Input<'a> {
    x: &'a Act,
    quant: OnceCell<QuantAct>,
}

impl<'a> Input<'a> {
    pub(crate) fn new(x: &'a Act) -> Self {
        Self { x, quant: OnceCell::new() }
    }
}

/// One product of a list: `w` with some rows of the shared activations.
pub(crate) struct Product<'a> {
    pub(crate) w: &'a Matrix,
    /// The rows of the activations to multiply; all of them if `None`.
    pub(crate) x_rows: Option<&'a [u32]>,
}

impl Product<'_> {
    fn token_count(&self, x: &Act) -> usize {
        self.x_rows.map_or(x.rows(), <[u32]>::len)
    }

    /// What it has to do.
    pub(crate) fn work(&self, input: &Input<'_>) -> Work {
        let macs = (self.token_count(input.x) * self.w.rows * self.w.cols) as u64;
        let (int8_macs, float_macs) = if self.w.dtype.is_quantized() { (macs, 0) } else { (0, macs) };
        Work { weight_bytes: self.w.byte_len() as u64, int8_macs, float_macs }
    }

    fn tokens<'x>(&self, x: &'x Act, quant: Option<&'x QuantAct>) -> Tokens<'x> {
        let rows = (0..self.token_count(x)).map(|i| self.x_rows.map_or(i, |rows| rows[i] as usize));
        match quant {
            Some(quant) if self.w.dtype().is_quantized() => {
                Tokens::Quant(rows.map(|i| quant.row(i)).collect())
            }
            _ => Tokens::Floats(rows.map(|i| x.row(i)).collect()),
        }
    }
}

/// Runs all products as one list of work; each yields an `Act` of `[its tokens, w.rows()]`.
pub(crate) fn run(isa: Isa, pool: &Pool, input: &Input<'_>, products: &[Product<'_>]) -> Vec<Act> {
    let mut results: Vec<Act> =
        products.iter().map(|product| Act::zeros(product.token_count(input.x), product.w.rows())).collect();
    run_into(isa, pool, input, products, results.iter_mut().map(Act::as_mut_slice).collect());
    results
}

/// Runs all products as one list of work, each into its `[tokens, w.rows()]` of `outs`.
pub(crate) fn run_into(
    isa: Isa,
    pool: &Pool,
    input: &Input<'_>,
    products: &[Product<'_>],
    outs: Vec<&mut [f32]>,
) {
    let x = input.x;
    assert_eq!(products.len(), outs.len(), "a place for each result");
    for (product, out) in products.iter().zip(&outs) {
        assert_eq!(product.token_count(x) * product.w.rows(), out.len(), "a place for the whole result");
    }
    let tokens = tokens(isa, pool, input, products);
    let row_total: usize = products.iter().map(|product| product.w.rows()).sum();
    let mut stripes: Vec<_> = outs
        .into_iter()
        .zip(products)
        .map(|(out, product)| {
            let w = product.w;
            Striped::new(out, w.rows(), item_rows(w, row_total, pool.thread_count()))
        })
        .collect();
    pool.for_each_stripe_of(&mut stripes, |product_idx, first_row, out| {
        multiply(isa, products[product_idx].w, first_row, &tokens[product_idx], out);
    });
}

/// Runs products of one shape with as many tokens each; their results stand side by side in `out`, `[tokens, products * rows]`.
pub(crate) fn run_side_by_side(
    isa: Isa,
    pool: &Pool,
    input: &Input<'_>,
    products: &[Product<'_>],
    out: &mut [f32],
) {
    let Some(first) = products.first() else { return };
    let (rows, token_count) = (first.w.rows(), first.token_count(input.x));
    for product in products {
        assert_eq!(
            (product.w.rows(), product.token_count(input.x)),
            (rows, token_count),
            "one shape for all"
        );
    }
    assert_eq!(out.len(), token_count * products.len() * rows, "a place for all results");
    let tokens = tokens(isa, pool, input, products);
    // A stripe is a part of one product's columns.
    let width = item_rows(first.w, products.len() * rows, pool.thread_count());
    let width = if rows.is_multiple_of(width) { width } else { rows };
    let mut stripes = [Striped::new(out, products.len() * rows, width)];
    pool.for_each_stripe_of(&mut stripes, |_, first_column, out| {
        let (product_idx, first_row) = (first_column / rows, first_column % rows);
        multiply(isa, products[product_idx].w, first_row, &tokens[product_idx], out);
    });
}

/// The activations of each product; quantised once for all, if any needs it.
fn tokens<'x>(isa: Isa, pool: &Pool, input: &'x Input<'_>, products: &[Product<'_>]) -> Vec<Tokens<'x>> {
    for product in products {
        assert_eq!(product.w.cols(), input.x.cols(), "the matrix takes {} columns", product.w.cols());
    }
    let quant = products
        .iter()
        .any(|product| product.w.dtype().is_quantized())
        .then(|| input.quant.get_or_init(|| QuantAct::new(isa, pool, input.x)));
    products.iter().map(|product| product.tokens(input.x, quant)).collect()
}

/// Rows `first_row` and following of `w`, as many as `out` is wide, with all tokens.
fn multiply(isa: Isa, w: &Matrix, first_row: usize, tokens: &Tokens<'_>, out: &mut Stripe<'_, f32>) {
    let rows = first_row..first_row + out.width();
    match tokens {
        Tokens::Quant(x) => quant_dot::multiply(isa, w, rows, x, out),
        Tokens::Floats(x) => dot_f32::multiply(isa, w, rows, x, out),
    }
}

/// The activations of one product, in the form that its weights meet.
enum Tokens<'a> {
    Quant(Vec<QuantRow<'a>>),
    Floats(Vec<&'a [f32]>),
}

/// Rows of `w` in one item.
fn item_rows(w: &Matrix, row_total: usize, thread_count: usize) -> usize {
    let by_bytes = ITEM_BYTES.div_ceil(w.row_bytes.max(1));
    let by_threads = row_total / (thread_count * ITEMS_PER_THREAD);
    by_bytes.min(by_threads).max(1).next_multiple_of(ITEM_ROWS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_testkit::seeded;

    fn random_matrix(dtype: Dtype, rows: usize, cols: usize, seed: u64) -> Matrix {
        let row_bytes = dtype.row_bytes(cols).expect("whole blocks");
        let mut bytes = vec![0u8; rows * row_bytes];
        if let Some(bytes_of) = Some(dtype).filter(|d| !d.is_quantized() && d.block_len() == 1) {
            for (row, out) in bytes.chunks_mut(row_bytes).enumerate() {
                let values = seeded::normal_f32(seed + row as u64, cols);
                shoal_quant::encode_row(bytes_of, &values, out).expect("float formats encode");
            }
        } else {
            bytes = seeded::random_bytes(seed, rows * row_bytes);
            tame_scales(dtype, &mut bytes);
        }
        Matrix::new(dtype, rows, cols, Blob::copy_of(&bytes))
    }

    /// Random bytes as scales are infinities and giants; keep the f16 exponents small and E8M0 near 1.
    fn tame_scales(dtype: Dtype, bytes: &mut [u8]) {
        let f16_at: &[usize] = match dtype {
            Dtype::Q4_1 | Dtype::Q5_1 | Dtype::Q4_K | Dtype::Q5_K => &[0, 2],
            Dtype::Q2_K => &[80, 82],
            Dtype::Q3_K => &[108],
            Dtype::Q6_K => &[208],
            Dtype::IQ1_M | Dtype::NVFP4 => &[],
            _ => &[0],
        };
        for block in bytes.chunks_mut(dtype.block_bytes()) {
            if dtype == Dtype::F8_E4M3 {
                // An f32 near 1, and no code that is NaN.
                block[3] = block[3] & 0x80 | 0x3E;
                block[4..].iter_mut().for_each(|code| *code ^= u8::from(*code & 0x7F == 0x7F));
            } else if dtype == Dtype::MXFP4 {
                block[0] = 120 + block[0] % 16;
            } else if dtype == Dtype::IQ1_M {
                // The same exponent: the upper halves of these bytes are the upper half of d.
                block[55] = block[55] & 0x8F | 0x20;
                block[53] = block[53] & 0x3F | 0x80;
            } else {
                for &at in f16_at {
                    block[at + 1] = block[at + 1] & 0x83 | 0x28;
                }
            }
        }
    }

    fn check(dtype: Dtype, rows: usize, cols: usize, tokens: usize, seed: u64) {
        let w = random_matrix(dtype, rows, cols, seed);
        let x = Act::from_vec(tokens, cols, seeded::normal_f32(seed ^ 7, tokens * cols));
        for isa in Isa::available() {
            let mut first: Option<Act> = None;
            for threads in [1, 3] {
                let pool = Pool::new(threads);
                let y = run(isa, &pool, &Input::new(&x), &[Product { w: &w, x_rows: None }]).remove(0);
                compare_with_f64(isa, &w, &x, &y);
                let y = y.as_slice().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                let reference = first.get_or_insert_with(|| {
                    let singles = (0..tokens).flat_map(|t| {
                        let x = x.select_rows(&[t]);
                        run(isa, &pool, &Input::new(&x), &[Product { w: &w, x_rows: None }])
                            .remove(0)
                            .row(0)
                            .to_vec()
                    });
                    Act::from_vec(tokens, rows, singles.collect())
                });
                let want = reference.as_slice().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(
                    y, want,
                    "{isa} {dtype:?}: a token's result changed with its company or the threads"
                );
            }
        }
    }

    /// Quantising activations costs at most half a step of 1/127 of the block's largest value for each term.
    fn compare_with_f64(isa: Isa, w: &Matrix, x: &Act, y: &Act) {
        let mut row = vec![0.0; w.cols()];
        for r in 0..w.rows() {
            w.decode_row(r, &mut row);
            for t in 0..x.rows() {
                let want: f64 = row.iter().zip(x.row(t)).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                let magnitude: f64 = row.iter().zip(x.row(t)).map(|(w, x)| f64::from((w * x).abs())).sum();
                let rounding: f64 = if w.dtype().is_quantized() {
                    let blocks = row.chunks(32).zip(x.row(t).chunks(32));
                    let cost = |(w, x): (&[f32], &[f32])| {
                        let step = x.iter().fold(0f32, |a, b| a.max(b.abs())) / 254.0;
                        w.iter().map(|w| f64::from(w.abs() * step)).sum::<f64>()
                    };
                    blocks.map(cost).sum()
                } else {
                    0.0
                };
                let bound = rounding * 1.05 + magnitude * 1e-5 + 1e-30;
                let got = f64::from(y.row(t)[r]);
                assert!((got - want).abs() <= bound, "{isa} {:?} [{t}, {r}]: {got}, want {want}", w.dtype());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn every_format_and_variant_agrees_with_f64(rows in 1..40usize, blocks in 1..5usize, tokens in 1..9usize, seed in any::<u64>()) {
            for &dtype in Dtype::ALL.iter().chain(&[Dtype::F8_E4M3]) {
                if dtype != Dtype::I32 {
                    let cols = blocks * dtype.block_len().max(24);
                    check(dtype, rows, cols, tokens, seed);
                }
            }
        }
    }

    #[test]
    fn a_weight_that_is_no_number_makes_its_row_none() {
        let mut bytes = vec![0u8; 5 * 132];
        bytes.chunks_mut(132).for_each(|row| row[..4].copy_from_slice(&1f32.to_le_bytes()));
        (bytes[132 + 4 + 77], bytes[3 * 132 + 4]) = (0x7F, 0xFF);
        let w = Matrix::new(Dtype::F8_E4M3, 5, 128, Blob::copy_of(&bytes));
        for (isa, tokens) in Isa::available().into_iter().flat_map(|isa| [(isa, 1), (isa, 5)]) {
            let x = Act::from_vec(tokens, 128, vec![1.0; tokens * 128]);
            let y = run(isa, &Pool::new(1), &Input::new(&x), &[Product { w: &w, x_rows: None }]).remove(0);
            let is_nan: Vec<bool> = y.row(tokens - 1).iter().map(|y| y.is_nan()).collect();
            assert_eq!(is_nan, [false, true, false, true, false], "{isa}");
        }
    }

    #[test]
    fn products_over_chosen_rows_equal_products_over_copies() {
        let w = random_matrix(Dtype::Q8_0, 37, 96, 5);
        let x = Act::from_vec(6, 96, seeded::normal_f32(6, 6 * 96));
        let pool = Pool::new(2);
        let (all, none): ([u32; 3], [u32; 0]) = ([4, 1, 1], []);
        let products = [Product { w: &w, x_rows: Some(&all) }, Product { w: &w, x_rows: Some(&none) }];
        let got = run(Isa::best(), &pool, &Input::new(&x), &products);
        let copy = x.select_rows(&[4, 1, 1]);
        let want = run(Isa::best(), &pool, &Input::new(&copy), &[Product { w: &w, x_rows: None }]);
        assert_eq!(got[0], want[0]);
        assert_eq!((got[1].rows(), got[1].cols()), (0, 37));
    }
}
