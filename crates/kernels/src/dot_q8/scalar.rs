//! The reference: the formula of the module, sub-block by sub-block.

use super::TileRow;
use crate::panel::{Panel, TILE_ROWS};
use crate::quantize::{BLOCK, QuantRow};

pub(super) fn tile(panel: &Panel, [x]: [QuantRow<'_>; 1]) -> [TileRow; 1] {
    let cols = x.codes.len();
    let scales_len = panel.scales.len() / TILE_ROWS;
    let mut out = [0.0; TILE_ROWS];
    for (r, out) in out.iter_mut().enumerate() {
        let codes = &panel.codes[r * cols..][..cols];
        let scales = &panel.scales[r * scales_len..][..scales_len];
        for (j, (w, a)) in codes.chunks_exact(panel.sub).zip(x.codes.chunks_exact(panel.sub)).enumerate() {
            let dot: i32 = w.iter().zip(a).map(|(&w, &a)| i32::from(w) * i32::from(a)).sum();
            *out += dot as f32 * scales[j] * x.scales[j * panel.sub / BLOCK];
        }
        if !panel.mins.is_empty() {
            let mins = &panel.mins[r * scales_len..][..scales_len];
            let sums = if panel.sub == 16 { x.sums_16 } else { x.sums_32 };
            *out -= mins.iter().zip(sums).map(|(min, sum)| min * sum).sum::<f32>();
        }
    }
    [out]
}
