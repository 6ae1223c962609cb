//! The words every other crate shares: ids, units, owned bytes, a seeded generator, limits.
//!
//! This crate knows nothing of files, models or requests; it does no I/O and imports no other crate of ours.
//!
//! Reading order: [`ids`], [`units`], [`blob`], [`prng`], [`limits`].

pub mod blob;
pub mod ids;
pub mod limits;
pub mod prng;
mod slab;
pub mod units;

pub use blob::{Blob, BlobBuf};
pub use ids::{BlockId, ExpertId, LayerIdx, Pos, TokenId};
pub use prng::Prng;
pub use units::Bytes;
