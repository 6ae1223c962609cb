//! A few rows of weights unpacked from their stored layout: what every matrix product reads.
//!
//! A weight row is decoded once into 8-bit codes with a scale (and for some formats a minimum) for each sub-block,
//! or into f32 for float formats, and then meets every token of the step while it is in the nearest cache. One
//! token or five hundred, the arithmetic of a row and a token is the same, so an answer does not depend on how
//! many tokens share a step. A new format needs its unpacking and nothing else.

use std::cell::RefCell;

use shoal_quant::Dtype;

use crate::isa::{Isa, per_isa};
use crate::matmul::Matrix;
use crate::quantize::{padded_cols, padded_scales};
use crate::unpack::{prefetch, unpack};

/// Weight rows in a panel: enough to use an activation four times once it is in a register.
pub(crate) const TILE_ROWS: usize = 4;

/// Up to [`TILE_ROWS`] unpacked rows. Rows that the matrix does not have are zero.
#[derive(Default)]
pub(crate) struct Panel {
    /// `[TILE_ROWS, padded_cols]`, for quantised formats.
    pub(crate) codes: Vec<i8>,
    /// `[TILE_ROWS, padded_scales]`.
    pub(crate) scales: Vec<f32>,
    /// `[TILE_ROWS, padded_scales]`, or empty for formats without minimum.
    pub(crate) mins: Vec<f32>,
    /// `[TILE_ROWS, cols]`, for float formats.
    pub(crate) floats: Vec<f32>,
    /// Elements that share one scale: 16 or 32.
    pub(crate) sub: usize,
}

per_isa! {
    /// Decodes one row of a float format.
    fn decode(dtype: Dtype, bytes: &[u8], out: &mut [f32]) = decode_body
}

#[inline(always)]
fn decode_body<const FUSED: bool>(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    shoal_quant::decode_row(dtype, bytes, out);
}

impl Panel {
    /// Unpacks the rows of `w` from `first_row`, as many as there are up to [`TILE_ROWS`], and
    /// asks for those that follow.
    pub(crate) fn fill(&mut self, isa: Isa, w: &Matrix, first_row: usize) {
        let row_count = TILE_ROWS.min(w.rows() - first_row);
        prefetch(w.bytes_of_rows(first_row + row_count, TILE_ROWS));
        if w.dtype().is_quantized() {
            self.fill_codes(isa, w, first_row, row_count);
        } else {
            self.fill_floats(isa, w, first_row, row_count);
        }
    }

    fn fill_codes(&mut self, isa: Isa, w: &Matrix, first_row: usize, row_count: usize) {
        let (dtype, cols) = (w.dtype(), w.cols());
        self.sub = dtype.sub_block_len();
        let (codes_len, scales_len) = (padded_cols(cols), padded_scales(cols, self.sub));
        let scale_count = cols / self.sub;
        let mins_len = if dtype.has_mins() { scales_len } else { 0 };
        self.codes.resize(TILE_ROWS * codes_len, 0);
        self.scales.resize(TILE_ROWS * scales_len, 0.0);
        self.mins.resize(TILE_ROWS * mins_len, 0.0);
        for r in 0..TILE_ROWS {
            let codes = &mut self.codes[r * codes_len..][..codes_len];
            let scales = &mut self.scales[r * scales_len..][..scales_len];
            let mins = &mut self.mins[r * mins_len..][..mins_len];
            let filled = if r < row_count { cols } else { 0 };
            codes[filled..].fill(0);
            scales[filled / self.sub..].fill(0.0);
            if mins_len > 0 {
                mins[filled / self.sub..].fill(0.0);
            }
            if r < row_count {
                let mins = if mins_len > 0 { &mut mins[..scale_count] } else { mins };
                unpack(
                    isa,
                    dtype,
                    w.row_bytes(first_row + r),
                    &mut codes[..cols],
                    &mut scales[..scale_count],
                    mins,
                );
            }
        }
    }

    fn fill_floats(&mut self, isa: Isa, w: &Matrix, first_row: usize, row_count: usize) {
        let cols = w.cols();
        self.floats.resize(TILE_ROWS * cols, 0.0);
        for r in 0..TILE_ROWS {
            let row = &mut self.floats[r * cols..][..cols];
            if r < row_count {
                decode(isa, w.dtype(), w.row_bytes(first_row + r), row);
            } else {
                row.fill(0.0);
            }
        }
    }
}

/// Runs `work` with this thread's panel, whose memory is kept from call to call.
pub(crate) fn with_panel<R>(work: impl FnOnce(&mut Panel) -> R) -> R {
    thread_local! {
        static PANEL: RefCell<Panel> = RefCell::new(Panel::default());
    }
    PANEL.with_borrow_mut(work)
}
