//! The planner's hands: what `shoal_plan` computes with is measured, kept and put together here.
//!
//! `probe` measures this machine and remembers it, `here` makes a machine of that and of what a model needs on it, `question`
//! turns names, files and addresses into models; `observe` says what a bench has shown, and `learned` keeps it. `table`, `accounts` and
//! `plot` print, `check` runs what was predicted, `served` is for programs.

pub(crate) mod accounts;
pub(crate) mod check;
pub(crate) mod here;
pub(crate) mod learned;
pub(crate) mod observe;
pub(crate) mod plot;
pub(crate) mod probe;
pub(crate) mod question;
pub(crate) mod served;
pub(crate) mod table;
