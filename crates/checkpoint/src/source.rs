//! Where weights are read from: a file by position, or bytes that are in memory already.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Error;

/// A place that holds tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of the given length in bytes.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its length when the checkpoint was opened.
        len: u64,
    },
    /// Bytes that are part of the program.
    Static(&'static [u8]),
    /// A few bytes that follow from the configuration and are in no file.
    Computed(Arc<[u8]>),
}

impl Source {
    /// Opens the source for reading.
    ///
    /// # Errors
    /// If the file cannot be opened (it may have been moved since the checkpoint was opened).
    pub fn open(&self) -> Result<Reader, Error> {
        match self {
            Self::File { path, .. } => {
                let file = File::open(path).map_err(|source| Error::Open { path: path.clone(), source })?;
                Ok(Reader::File { file, path: path.clone() })
            }
            Self::Static(bytes) => Ok(Reader::Static(bytes)),
            Self::Computed(bytes) => Ok(Reader::Computed(Arc::clone(bytes))),
        }
    }

    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Static(_) => "the built-in model".to_owned(),
            Self::Computed(_) => "what was computed of the configuration".to_owned(),
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Static(bytes) => bytes.len() as u64,
            Self::Computed(bytes) => bytes.len() as u64,
        }
    }
}

/// An open source. Reads name their position, so one reader serves many threads.
#[derive(Debug)]
pub enum Reader {
    /// An open file, and where it is.
    File {
        /// The open file.
        file: File,
        /// Its path, for messages.
        path: PathBuf,
    },
    /// Bytes that are part of the program.
    Static(&'static [u8]),
    /// Bytes that were computed.
    Computed(Arc<[u8]>),
}

impl Reader {
    /// Fills `buf` with the bytes that start at `offset`.
    ///
    /// # Errors
    /// If the source ends before `buf` is full, or the disk fails.
    pub fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::File { file, path } => file.read_exact_at(buf, offset).map_err(|source| {
                let (file, len) = (path.display().to_string(), buf.len() as u64);
                Error::Read { file, offset, len, source }
            }),
            Self::Static(bytes) => copy(bytes, offset, buf),
            Self::Computed(bytes) => copy(bytes, offset, buf),
        }
    }
}

fn copy(bytes: &[u8], offset: u64, buf: &mut [u8]) -> Result<(), Error> {
    let start = usize::try_from(offset).ok();
    let found = start.and_then(|start| bytes.get(start..)?.get(..buf.len()));
    let found = found.ok_or_else(|| Error::ReadBeyond {
        file: "the built-in model".to_owned(),
        offset,
        len: buf.len() as u64,
        held: bytes.len() as u64,
    })?;
    buf.copy_from_slice(found);
    Ok(())
}
