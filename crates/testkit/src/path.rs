//! Where golden files stand.

use std::path::{Path, PathBuf};

/// The folder `tests/golden/<family>` of this repository.
#[must_use]
pub fn golden_dir(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(family)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_folder_is_there() {
        assert!(super::golden_dir("").is_dir());
    }
}
