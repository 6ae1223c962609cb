//! What the models of the family weigh and how fast they would run, known before anybody has them.
//!
//! ```text
//! preset + mix, or a file's header --> Model   bytes by who needs them, attention
//! a chip's name, or measurements   --> Machine places for weights, what computes on them, a drive
//! Model + Machine --> Placement --> step_time --> Forecast (tokens/s, memory, what binds, money)
//! ```
//! A [`Shape`] is one model of the published dimensions, whole or some of its layers. With a [`Mix`], which says in what format
//! tensors of each purpose are stored, it is the header of a file ([`Shape::tensors`]), which can be counted, or written with any
//! numbers in it and run.
//!
//! What it does not know: how anything is measured, engines, requests.
//!
//! Reading order: [`shape`] and [`model`] (what there is to move), [`machine`], [`step`] (the equations), [`forecast`]; a family's
//! dimensions: `mla`, `v4`, `grouped`, [`presets`].

pub mod attention;
pub mod calibration;
pub mod chips;
mod error;
pub mod forecast;
mod grouped;
pub mod hardware;
pub mod machine;
pub mod mix;
mod mla;
pub mod model;
pub mod money;
pub mod place;
pub mod presets;
pub mod published;
pub mod shape;
pub mod step;
mod v4;
pub mod why;

pub use error::Error;
pub use machine::Machine;
pub use mix::Mix;
pub use model::Model;
pub use shape::{Purpose, Shape, TensorShape};
