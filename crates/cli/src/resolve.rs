//! From what a person types to a model file.

use std::path::Path;

use shoal_checkpoint::Checkpoint;

use crate::environment::Environment;

/// Opens the model that `name` means.
pub(crate) fn open_model(name: Option<&str>, _environment: &Environment) -> anyhow::Result<Checkpoint> {
    Ok(Checkpoint::open(Path::new(name.unwrap_or("minnow")))?)
}
