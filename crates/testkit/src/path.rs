//! Where golden files stand, and the built-in model.

use std::path::{Path, PathBuf};

/// The folder `tests/golden/<family>` of this repository.
#[must_use]
pub fn golden_dir(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(family)
}

/// The model that is part of the program, which has a draft layer.
#[must_use]
pub fn builtin_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/assets/minnow.gguf")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_folder_is_there() {
        assert!(super::golden_dir("").is_dir() && super::builtin_model().is_file());
    }
}
