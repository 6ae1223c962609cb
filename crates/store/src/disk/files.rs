//! The files of a checkpoint, open past the page cache where the file system can.
//!
//! The page cache would charge every byte a second time to the memory that the process may use, and it reads ahead by
//! its own guesses: direct reads of a megabyte are several times faster here (measured: decision 0007).

use std::fs::File;
use std::path::{Path, PathBuf};

use shoal_checkpoint::Source;

use super::pieces::Piece;
use crate::Error;

/// One source, open.
pub(crate) struct DataFile {
    /// `None` for bytes of the program, which nobody reads through a disk.
    pub(crate) file: Option<File>,
    path: PathBuf,
    /// Sources on one drive have the same number.
    pub(crate) drive: u64,
}

impl DataFile {
    pub(crate) fn open(source: &Source) -> Result<Self, Error> {
        let Source::File { path, len } = source else {
            return Ok(Self { file: None, path: PathBuf::from("the built-in model"), drive: 0 });
        };
        let failed = |source| shoal_checkpoint::Error::Open { path: path.clone(), source };
        let file = open_direct(path).or_else(|_| File::open(path)).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.len() < *len {
            let (file, held) = (path.display().to_string(), metadata.len());
            return Err(Error::Shrunk { file, held, expected: *len });
        }
        Ok(Self { file: Some(file), path: path.clone(), drive: drive_of(&metadata) })
    }

    /// The error of a read of `piece` that the system refused.
    pub(crate) fn failed(&self, piece: &Piece, source: std::io::Error) -> Error {
        let (file, offset, len) = (self.path.display().to_string(), piece.offset, piece.needed as u64);
        shoal_checkpoint::Error::Read { file, offset, len, source }.into()
    }

    /// The error of a read of `piece` that found the end of the file.
    pub(crate) fn ended(&self, piece: &Piece, found: usize) -> Error {
        let file = self.path.display().to_string();
        Error::Short { file, offset: piece.offset, expected: piece.needed as u64, found: found as u64 }
    }
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).custom_flags(libc::O_DIRECT).open(path)
}

#[cfg(not(target_os = "linux"))]
fn open_direct(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

#[cfg(unix)]
fn drive_of(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::dev(metadata)
}

#[cfg(not(unix))]
fn drive_of(_: &std::fs::Metadata) -> u64 {
    0
}
