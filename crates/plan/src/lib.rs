//! What the models of the family weigh, known before anybody has them: their tensors by name, shape and purpose.
//!
//! A [`Shape`] is one model of the published dimensions, whole or some of its layers. With a [`Mix`], which says in what format
//! tensors of each purpose are stored, it is the header of a file ([`Shape::tensors`]), which can be counted, or written with any
//! numbers in it and run.
//!
//! What it does not know: engines, machines, requests.
//!
//! Reading order: [`shape`] (what comes out), [`mix`], then a family: `mla`, `v4`, `grouped`; [`presets`] has the numbers.

mod grouped;
pub mod mix;
mod mla;
pub mod presets;
pub mod shape;
mod v4;

pub use mix::Mix;
pub use shape::{Purpose, Shape, TensorShape};
