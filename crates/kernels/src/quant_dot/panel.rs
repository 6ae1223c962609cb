//! Many tokens: a panel of rows unpacked once, a tile of rows and tokens in registers.
//!
//! ```text
//! panel of R registers of rows      codes  [K / 32][8][R] registers by column     scales [K / sub][R] registers
//! tile of R x T                     sums   [T][R] f32                             dots   [T][R] i32
//!
//! for each group of 32:  for k in 0..8:  dots[t][r] += codes[k][r] . broadcast(x[t], 4 codes from 4k)
//!                        sums[t][r] = fma(float(dots[t][r]), scale[r] * x_scale[t], sums[t][r])
//! ```
//! Each code that is loaded meets T tokens and each activation R registers of rows. A panel is unpacked a chunk of its columns at a
//! time, which stays in the first cache while all tokens go by: written to the second, a panel with six tokens took a third longer.
//! What the next panel is made of is asked for meanwhile, when the core multiplies and memory is idle. Blocks of activations with a
//! second byte come after that, group by group, T tokens at a time too: whichever have one there.

use std::cell::RefCell;
use std::ops::Range;

use super::{TileRows, add_column, four_codes, offset_log2};
use crate::lanes::{LINE, Vector, written_out};
use crate::lines::Lines;
use crate::matmul::Matrix;
use crate::pool::Stripe;
use crate::quantize::{Block, Fine, QuantRow};
use crate::stored::{Codes, Stored};

/// Groups of a row that are unpacked at a time: a multiple of those in a block of any format, and so few that two registers of rows
/// stay in the first cache, 16 KiB of codes with their scales, while tokens go by.
const CHUNK_GROUPS: usize = 16;
/// Most tokens for which that pays: chunks read the sums of all tokens and write them again, and with more tokens unpacking is little.
const CHUNK_TOKENS_MAX: usize = 48;
/// Tiles of tokens during which the next panel is asked for: one has the time for 10 KiB or so.
const AHEAD_TILES: usize = 3;

/// Memory that each thread keeps from call to call.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) rows: Unpacked,
    /// Each token's [`Sums`], in rows of registers.
    pub(super) sums: Lines<f32>,
}

/// Unpacked rows.
#[derive(Default)]
pub(super) struct Unpacked {
    codes: Lines<u8>,
    scales: Lines<f32>,
    mins: Lines<f32>,
}

/// Runs `work` with this thread's scratch memory.
pub(super) fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
    }
    SCRATCH.with_borrow_mut(work)
}

/// A chunk of a panel of `R` registers of rows, unpacked.
pub(super) struct Panel<'a, V: Vector, const R: usize> {
    /// Which groups of its rows these are.
    pub(super) groups: Range<usize>,
    /// `[groups]`.
    pub(super) codes: &'a [[[V::Bytes; R]; 8]],
    /// `[K / sub]`.
    pub(super) scales: &'a [[V::Singles; R]],
    /// `[K / sub]`; not looked at for formats without.
    pub(super) mins: &'a [[V::Singles; R]],
    /// How codes are to be taken.
    pub(super) kind: Codes,
    /// Codes under one scale.
    pub(super) sub: usize,
}

impl<'a, V: Vector, const R: usize> Panel<'a, V, R> {
    /// The same for another instruction set with the same registers.
    pub(super) fn of_same_registers<W: Vector<Bytes = V::Bytes, Singles = V::Singles>>(
        self,
    ) -> Panel<'a, W, R> {
        let Self { groups, codes, scales, mins, kind, sub } = self;
        Panel { groups, codes, scales, mins, kind, sub }
    }
}

/// The part of the panel from row `first` on, of `rows` rows, that is asked for while `groups` of the one before it meet the tokens:
/// as much of its bytes, in their own order.
pub(super) fn part_ahead<'a>(w: &'a Matrix, first: usize, rows: usize, groups: &Range<usize>) -> &'a [u8] {
    let bytes = w.bytes_of_rows(first, rows);
    let until = |group: usize| bytes.len() * group / (w.cols() / 32);
    &bytes[until(groups.start)..until(groups.end)]
}

/// Unpacks `groups` of the panel from row `first` on.
#[inline(always)]
pub(super) fn unpack<'a, V: Vector, F: Stored<B>, const B: usize, const R: usize>(
    v: V,
    w: &Matrix,
    first: usize,
    groups: Range<usize>,
    scratch: &'a mut Unpacked,
) -> Panel<'a, V, R> {
    let subs = groups.len() * (32 / F::SUB);
    let codes = V::as_bytes_mut(scratch.codes.get(groups.len() * 8 * R));
    let codes = &mut codes.as_chunks_mut::<R>().0.as_chunks_mut::<8>().0[..groups.len()];
    let [scales, mins] = [&mut scratch.scales, &mut scratch.mins]
        .map(|lines| &mut V::as_singles_mut(lines.get(subs * R)).as_chunks_mut::<R>().0[..subs]);
    for r in 0..R {
        let rows = TileRows::new::<V>(w, first + r * V::ROWS);
        for b in groups.start / F::GROUPS..groups.end / F::GROUPS {
            let at_group = b * F::GROUPS - groups.start;
            let blocks = rows.blocks::<V, B>(b);
            let block_scales = F::scales(v, &blocks);
            written_out!(j in 0..F::GROUPS * (32 / F::SUB) => {
                let at = at_group * (32 / F::SUB) + j;
                v.store_f(&mut scales[at][r], F::scale(v, &block_scales, j));
                if F::CODES == Codes::WithMins {
                    v.store_f(&mut mins[at][r], F::min(v, &block_scales, j));
                }
            });
            for span in 0..F::GROUPS / F::SPAN {
                let raw = F::raw(v, &blocks, span);
                for k in 0..8 {
                    let w = F::codes(v, &raw, span, k);
                    for s in 0..F::SPAN {
                        v.store(&mut codes[at_group + span * F::SPAN + s][k][r], w[s]);
                    }
                }
            }
        }
    }
    Panel { groups, codes, scales, mins, kind: F::CODES, sub: F::SUB }
}

/// The activations of all tokens.
pub(super) struct Inputs<'a> {
    tokens: &'a [QuantRow<'a>],
    /// All blocks with a second byte and whose they are, group after group.
    fine: Vec<(usize, &'a Fine)>,
    /// Where in `fine` each group begins, and the last one ends.
    fine_firsts: Vec<usize>,
}

impl<'a> Inputs<'a> {
    /// Sorts the second bytes of `tokens`, which are in order for each of them, by group.
    pub(super) fn new(tokens: &'a [QuantRow<'a>]) -> Self {
        let groups = tokens.first().map_or(0, |token| token.blocks.len());
        let all =
            || tokens.iter().enumerate().flat_map(|(t, token)| token.fine.iter().map(move |fine| (t, fine)));
        let mut fine_firsts = vec![0; groups + 1];
        all().for_each(|(_, fine)| fine_firsts[fine.block + 1] += 1);
        for g in 0..groups {
            fine_firsts[g + 1] += fine_firsts[g];
        }
        let mut next = fine_firsts.clone();
        let mut sorted: Vec<_> = all().collect();
        for (t, fine) in all() {
            sorted[next[fine.block]] = (t, fine);
            next[fine.block] += 1;
        }
        Self { tokens, fine: sorted, fine_firsts }
    }

    /// The groups of a row, [`CHUNK_GROUPS`] at a time for up to [`CHUNK_TOKENS_MAX`] tokens.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Range<usize>> {
        let count = self.group_count();
        let most = if self.tokens.len() > CHUNK_TOKENS_MAX { count.max(1) } else { CHUNK_GROUPS };
        (0..count).step_by(most).map(move |first| first..(first + most).min(count))
    }

    /// Groups of a row.
    pub(super) fn group_count(&self) -> usize {
        self.fine_firsts.len() - 1
    }

    /// The second bytes of group `g`.
    fn fine_of(&self, g: usize) -> &[(usize, &'a Fine)] {
        &self.fine[self.fine_firsts[g]..self.fine_firsts[g + 1]]
    }
}

/// The two sums of the formula for one token: of all blocks and of the fine ones.
type Sums<V, const R: usize> = [[<V as Vector>::Singles; R]; 2];

/// Multiplies the chunk with all tokens, `T` at a time; after the last chunk `columns` of `out` take the rows of the panel. Memory
/// is asked for `ahead` meanwhile.
#[inline(always)]
pub(super) fn tiles<
    V: Vector,
    const R: usize,
    const T: usize,
    const SUB: usize,
    const MINS: bool,
    const RUN: usize,
>(
    v: V,
    panel: &Panel<'_, V, R>,
    x: &Inputs<'_>,
    ahead: &[u8],
    columns: Range<usize>,
    sums: &mut Lines<f32>,
    out: &mut Stripe<'_, f32>,
) {
    let tokens = x.tokens;
    let sums = sums.get(tokens.len() * 2 * R);
    if panel.groups.start == 0 {
        sums.fill([0.0; 16]);
    }
    let sums: &mut [Sums<V, R>] =
        &mut V::as_singles_mut(sums).as_chunks_mut::<R>().0.as_chunks_mut::<2>().0[..tokens.len()];
    let tile_count = tokens.len().div_ceil(T);
    let mut ahead = ahead.chunks(ahead.len().div_ceil(tile_count.min(AHEAD_TILES)).max(1));
    let mut token = 0;
    while let (Some(x), Some(sums)) = (tokens[token..].first_chunk(), sums[token..].first_chunk_mut()) {
        tile::<V, R, T, SUB, MINS, RUN>(v, panel, x, ahead.next().unwrap_or_default(), sums);
        token += T;
    }
    while let (Some(x), Some(sums)) = (tokens[token..].first_chunk(), sums[token..].first_chunk_mut()) {
        tile::<V, R, 2, SUB, MINS, RUN>(v, panel, x, ahead.next().unwrap_or_default(), sums);
        token += 2;
    }
    if let (Some(x), Some(sums)) = (tokens[token..].first_chunk(), sums[token..].first_chunk_mut()) {
        tile::<V, R, 1, SUB, MINS, RUN>(v, panel, x, ahead.next().unwrap_or_default(), sums);
    }
    for g in 0..panel.codes.len() {
        let mut fine = x.fine_of(panel.groups.start + g);
        while let Some((several, rest)) = fine.split_first_chunk() {
            add_fine::<V, R, T, SUB, MINS, RUN>(v, panel, g, several, sums);
            fine = rest;
        }
        for one in fine {
            add_fine::<V, R, 1, SUB, MINS, RUN>(v, panel, g, &[*one], sums);
        }
    }
    if panel.groups.end < x.group_count() {
        return;
    }
    for (token, sums) in sums.iter().enumerate() {
        emit(v, sums, &mut out.row_mut(token)[columns.clone()]);
    }
}

/// Multiplies the chunk with `T` tokens.
#[inline(always)]
fn tile<V: Vector, const R: usize, const T: usize, const SUB: usize, const MINS: bool, const RUN: usize>(
    v: V,
    panel: &Panel<'_, V, R>,
    x: &[QuantRow<'_>; T],
    ahead: &[u8],
    memory: &mut [Sums<V, R>; T],
) {
    let mut sums = [[v.splat_f(0.0); R]; T];
    for t in 0..T {
        for r in 0..R {
            sums[t][r] = v.load_f(&memory[t][0][r]);
        }
    }
    let offset = if MINS { None } else { offset_log2::<V>(panel.kind) };
    let mut tokens: [&[Block]; T] = [&[]; T];
    for t in 0..T {
        tokens[t] = &x[t].blocks[panel.groups.clone()];
    }
    for (g, w) in panel.codes.iter().enumerate() {
        let mut x = [&tokens[0][g]; T];
        for t in 0..T {
            x[t] = &tokens[t][g];
        }
        ask_share(v, ahead, g, panel.codes.len());
        for half in 0..32 / SUB {
            let dots = dots::<V, R, T, SUB, RUN>(v, w, &x, offset, half);
            let j = g * (32 / SUB) + half;
            for r in 0..R {
                let scale = v.load_f(&panel.scales[j][r]);
                for t in 0..T {
                    let scale = v.mul(scale, v.splat_f(x[t].scale));
                    sums[t][r] = v.fma(v.to_floats(dots[t][r]), scale, sums[t][r]);
                }
                if MINS {
                    let min = v.load_f(&panel.mins[j][r]);
                    for t in 0..T {
                        let x_sum = if SUB == 32 { x[t].sum } else { x[t].half_sums[half] };
                        sums[t][r] = v.fnma(min, v.splat_f(x_sum), sums[t][r]);
                    }
                }
            }
        }
    }
    for t in 0..T {
        for r in 0..R {
            v.store_f(&mut memory[t][0][r], sums[t][r]);
        }
    }
}

/// Asks for share `i` of `bytes`, of `count` about equal ones.
#[inline(always)]
fn ask_share<V: Vector>(v: V, bytes: &[u8], i: usize, count: usize) {
    let lines = bytes.len().div_ceil(LINE);
    for line in i * lines / count..(i + 1) * lines / count {
        v.prefetch(bytes, line * LINE);
    }
}

/// The exact products of one sub-block: half `half` of group `g`, or all of it.
#[inline(always)]
fn dots<V: Vector, const R: usize, const T: usize, const SUB: usize, const RUN: usize>(
    v: V,
    w: &[[V::Bytes; R]; 8],
    x: &[&Block; T],
    offset: Option<u32>,
    half: usize,
) -> [[V::Ints; R]; T] {
    let mut dots = [[v.zero(); R]; T];
    if let Some(log2) = offset {
        for t in 0..T {
            let code_sums = x[t].code_sums;
            let code_sum = if SUB == 32 { code_sums[0] + code_sums[1] } else { code_sums[half] };
            dots[t] = [v.splat_32(-(code_sum << log2)); R];
        }
    }
    let mut codes = [&x[0].codes; T];
    for t in 0..T {
        codes[t] = &x[t].codes;
    }
    add_products::<V, R, T, SUB, RUN>(v, w, codes, half, &mut dots);
    dots
}

/// Adds the products of half `half` of a group, or all of it, to `dots`: with runs of `RUN` columns, or signed codes for 0.
#[inline(always)]
fn add_products<V: Vector, const R: usize, const T: usize, const SUB: usize, const RUN: usize>(
    v: V,
    w: &[[V::Bytes; R]; 8],
    x: [&[i8; 32]; T],
    half: usize,
    dots: &mut [[V::Ints; R]; T],
) {
    let mut runs = [[v.zero(); R]; T];
    for k in half * (SUB / 4)..(half + 1) * (SUB / 4) {
        let mut w_k = [v.zero(); R];
        for r in 0..R {
            w_k[r] = v.load(&w[k][r]);
        }
        for t in 0..T {
            let x_k = v.splat_32(four_codes(x[t], k));
            for r in 0..R {
                dots[t][r] = if RUN == 0 {
                    v.dot_biased(dots[t][r], w_k[r], x_k)
                } else {
                    add_column::<V, RUN>(v, dots[t][r], &mut runs[t][r], k, w_k[r], x_k)
                };
            }
        }
    }
}

/// Adds the products of group `g` with the second bytes of `T` tokens to their sums.
#[inline(always)]
fn add_fine<
    V: Vector,
    const R: usize,
    const T: usize,
    const SUB: usize,
    const MINS: bool,
    const RUN: usize,
>(
    v: V,
    panel: &Panel<'_, V, R>,
    g: usize,
    fine: &[(usize, &Fine); T],
    memory: &mut [Sums<V, R>],
) {
    let offset = if MINS { None } else { offset_log2::<V>(panel.kind) };
    for half in 0..32 / SUB {
        let mut dots = [[v.zero(); R]; T];
        if let Some(log2) = offset {
            for t in 0..T {
                let sums = fine[t].1.sums;
                let code_sum = if SUB == 32 { sums[0] + sums[1] } else { sums[half] };
                dots[t] = [v.splat_32(-(code_sum << log2)); R];
            }
        }
        let mut codes = [&fine[0].1.codes; T];
        for t in 0..T {
            codes[t] = &fine[t].1.codes;
        }
        add_products::<V, R, T, SUB, RUN>(v, &panel.codes[g], codes, half, &mut dots);
        let scales = &panel.scales[g * (32 / SUB) + half];
        for t in 0..T {
            let sums = &mut memory[fine[t].0][1];
            for r in 0..R {
                let scale = v.mul(v.load_f(&scales[r]), v.splat_f(fine[t].1.scale));
                let sum = v.fma(v.to_floats(dots[t][r]), scale, v.load_f(&sums[r]));
                v.store_f(&mut sums[r], sum);
            }
        }
    }
}

/// Writes one token's sums to its row of the result, as many as that has.
#[inline(always)]
fn emit<V: Vector, const R: usize>(v: V, sums: &Sums<V, R>, row: &mut [f32]) {
    for (r, out) in row.chunks_mut(V::ROWS).enumerate() {
        let sum = v.add_f(v.load_f(&sums[0][r]), v.load_f(&sums[1][r]));
        if out.len() == V::ROWS {
            v.store_floats(out, sum);
        } else {
            let mut values = V::zero_singles();
            v.store_f(&mut values, sum);
            out.copy_from_slice(&values.as_ref()[..out.len()]);
        }
    }
}
