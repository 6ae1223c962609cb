//! The reference: the formula of the module, sub-block by sub-block.

use super::TileRow;
use crate::panel::{Panel, TILE_ROWS};
use crate::quantize::{BLOCK, QuantRow};

pub(super) fn tile(panel: &Panel, [x]: [QuantRow<'_>; 1]) -> [TileRow; 1] {
    let cols = x.codes.len();
    let scales_len = panel.scales.len() / TILE_ROWS;
    let x_scales = x.scales;
    let mut out = [0.0; TILE_ROWS];
    for (r, out) in out.iter_mut().enumerate() {
        let codes = &panel.codes[r * cols..][..cols];
        let scales = &panel.scales[r * scales_len..][..scales_len];
        for (j, w) in codes.chunks_exact(panel.sub).enumerate() {
            let at = j * panel.sub..(j + 1) * panel.sub;
            let x = x.codes[at.clone()].iter().zip(&x.fine[at]);
            let dot: i32 = w
                .iter()
                .zip(x)
                .map(|(&w, (&c, &f))| i32::from(w) * (128 * i32::from(c) + i32::from(f)))
                .sum();
            *out += dot as f32 * scales[j] * x_scales[j * panel.sub / BLOCK];
        }
        if !panel.mins.is_empty() {
            let mins = &panel.mins[r * scales_len..][..scales_len];
            let sums = if panel.sub == 16 { x.sums_16 } else { x.sums_32 };
            *out -= mins.iter().zip(sums).map(|(min, sum)| min * sum).sum::<f32>();
        }
    }
    [out]
}
