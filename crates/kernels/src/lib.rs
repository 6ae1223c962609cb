//! Fast maths on the CPU and the compute pool: the only SIMD in the workspace.
//!
//! What it does not know: models, files, requests. A model calls the verbs of [`Cpu`](ops::Cpu) over opaque
//! activations ([`Act`]) and weight handles ([`Matrix`]); a second backend would implement the same verbs.
//!
//! Every kernel has a scalar reference; the other variants are judged by it in one property test each. Each result
//! is a function of its own row and token alone: sums run in one order, whatever the thread count, the tile or the
//! other tokens of the step (contract 2 in DESIGN terms: one answer).
//!
//! Reading order: [`isa`], [`pool`], [`act`], `matmul` with `quantize`, then `quant_dot` (with `lanes`, `stored`, `lines`) and `dot_f32`, `attention`,
//! then [`ops`] and [`expert_sum`]. How much they have to do is a [`Work`], what the machine allows a [`roofline`], where time goes a
//! [`profile`].

pub mod act;
pub mod attention;
mod dot_f32;
mod elementwise;
pub mod expert_sum;
pub mod hyper;
pub mod isa;
mod lanes;
mod lines;
mod math;
pub mod matmul;
pub mod ops;
pub mod pool;
pub mod profile;
mod quant_dot;
mod quantize;
pub mod roofline;
pub mod rope;
pub mod route;
pub mod softmax_pool;
mod stored;
mod work;

pub use act::Act;
pub use isa::Isa;
pub use matmul::Matrix;
pub use ops::Cpu;
pub use pool::Pool;
pub use work::Work;
