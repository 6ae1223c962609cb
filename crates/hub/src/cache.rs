//! The folder of fetched models: `FOLDER/models/NAME/FILE.gguf`, one folder a model, all parts side by side.

use std::fs::{File, Metadata, TryLockError};
use std::path::{Path, PathBuf};

use crate::{Error, Model};

/// Where fetched models are kept.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// The cache in `dir`, which is made when something is fetched.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The first file of a model that is here whole. A file under its final name was checked when it was renamed;
    /// here its length is checked again where it is known, against files put there by hand.
    #[must_use]
    pub fn locate(&self, model: &Model) -> Option<PathBuf> {
        let dir = self.model_dir(model);
        let paths: Option<Vec<PathBuf>> = model
            .files
            .iter()
            .map(|file| {
                let path = dir.join(file.file_name().ok()?);
                let metadata = path.metadata().ok().filter(Metadata::is_file)?;
                file.bytes.is_none_or(|bytes| bytes == metadata.len()).then_some(path)
            })
            .collect();
        paths?.into_iter().next()
    }

    /// Bytes of a model's files that are here, those of parts too.
    #[must_use]
    pub fn held_bytes(&self, model: &Model) -> u64 {
        let Ok(entries) = self.model_dir(model).read_dir() else { return 0 };
        entries
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .filter(Metadata::is_file)
            .map(|file| file.len())
            .sum()
    }

    /// Deletes the folder of a model with all that is in it; it need not be there.
    ///
    /// # Errors
    /// If the model is being fetched, or the file system refuses.
    pub fn remove(&self, model: &Model) -> Result<(), Error> {
        let dir = self.model_dir(model);
        if !dir.exists() {
            return Ok(());
        }
        let _lock = self.lock(model)?;
        std::fs::remove_dir_all(&dir).map_err(io_error("delete the folder", &dir))
    }

    /// The folder of a model's files.
    #[must_use]
    pub fn model_dir(&self, model: &Model) -> PathBuf {
        self.dir.join("models").join(model.name)
    }

    /// Makes the folder of `model` and locks it until the returned file is closed. The operating system releases the
    /// lock when the process ends, however it ends, so a lock is never stale; the empty file `.lock` stays.
    pub(crate) fn lock(&self, model: &Model) -> Result<File, Error> {
        let dir = self.model_dir(model);
        std::fs::create_dir_all(&dir).map_err(io_error("create the folder", &dir))?;
        let path = dir.join(".lock");
        let file = File::create(&path).map_err(io_error("create", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::Busy { model: model.name.to_owned(), path }),
            // Some network file systems have no locks; then two processes must not fetch at once.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
        }
    }
}

/// Puts what was attempted, and on what, into an error of the file system.
pub(crate) fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> Error + 'a {
    move |source| Error::Io { action, path: path.to_owned(), source }
}
