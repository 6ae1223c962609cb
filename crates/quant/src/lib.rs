//! Block formats of quantised weights: layout and scalar decode and encode, one file each.
//!
//! This crate knows bytes and numbers; it does not know files, tensors, threads or SIMD. It is the reference that
//! the fast kernels are judged by, so everything in it is a plain loop over fixed-size arrays.
//!
//! Every quantised format unpacks into one common form: `value[i] = scale[i / sub] * code[i] - min[i / sub]` with
//! `i8` codes and `f32` scales, both exact. What differs between formats is only how the bytes hold them.
//!
//! Official checkpoints store FP8 and FP4 with the scales apart; [`packed`] makes rows of them.
//!
//! Reading order: [`dtype`] (names, ids, sizes), [`q4_0`] (the simplest block), [`q4_k`] (a super-block), then
//! [`rows`] (whole rows in, whole rows out), [`encode`] and [`packed`].

pub mod dtype;
pub mod encode;
pub mod packed;
pub mod rows;

pub mod f8_e4m3;
pub mod iq1_m;
pub mod iq1_s;
pub mod iq2_s;
pub mod iq2_xs;
pub mod iq2_xxs;
pub mod iq3_s;
pub mod iq3_xxs;
pub mod iq4_nl;
pub mod iq4_xs;
pub mod mxfp4;
pub mod nvfp4;
pub mod q2_k;
pub mod q3_k;
pub mod q4_0;
pub mod q4_1;
pub mod q4_k;
pub mod q5_0;
pub mod q5_1;
pub mod q5_k;
pub mod q6_k;
pub mod q8_0;
pub mod synthetic;

mod bits;
mod floats;
mod grid;

pub use dtype::Dtype;
pub use encode::{NoEncoder, encode_row};
pub use rows::{decode_row, unpack_blocks};
