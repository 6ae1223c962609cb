//! Reads of whole places of a file into memory that is handed over and handed back.
//!
//! A [`Fill`] names the places and owns the memory they go to; when all its bytes are there, or one could not be
//! had, a [`Filled`] gives the memory back. Nothing is shared while a drive writes into it, so no lock and no promise
//! about lifetimes is needed outside this folder.
//!
//! Two ways lead to a drive: `uring` keeps many reads in flight without a thread, past the page cache (Linux); `threads` does the
//! same with blocking reads where the first is not allowed. Tests put a third between the store and the drive, which
//! fails and dawdles as it is told: anything that implements [`Disk`] will do.
//!
//! Reading order: this file, `pieces` (how a fill is cut), `files`, `threads`, `uring`; `rate` measures a drive.

mod files;
mod pieces;
pub mod rate;
mod threads;
#[cfg(target_os = "linux")]
#[allow(
    unsafe_code,
    reason = "the kernel is told where to write, and only this folder's fills say where that is"
)]
mod uring;

use std::sync::Arc;
use std::time::Duration;

use shoal_base::BlobBuf;
use shoal_checkpoint::Source;

use crate::Error;
use files::DataFile;

/// Direct reads begin and end at multiples of this, in the file and in memory: no drive has larger blocks.
pub const ALIGN: usize = 4096;

/// A place of a source, and where in the memory of a fill its bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Index of the source.
    pub source_idx: usize,
    /// First byte.
    pub offset: u64,
    /// How many bytes.
    pub len: usize,
    /// Where the first byte goes: as far from a multiple of [`ALIGN`] as `offset` is, because whole blocks are read.
    pub at: usize,
}

/// Memory to fill.
pub struct Fill {
    /// What the answer will be known by.
    pub ticket: u64,
    /// What to read; the places in memory do not overlap.
    pub extents: Vec<Extent>,
    /// Where to: long enough for the whole blocks of all places.
    pub buf: BlobBuf,
}

/// Memory that was filled, or could not be.
pub struct Filled {
    /// The ticket of the [`Fill`].
    pub ticket: u64,
    /// Its memory.
    pub buf: BlobBuf,
    /// The first failure, if any.
    pub result: Result<(), Error>,
}

/// What fills memory from the sources of one checkpoint.
pub trait Disk: Send {
    /// Takes up `fill`; returns at once.
    fn submit(&mut self, fill: Fill);

    /// The next fill that has ended, in any order; `None` if none does within `at_most`.
    fn wait(&mut self, at_most: Duration) -> Option<Filled>;

    /// How many bytes may be on their way from one drive from now on, if this one can tell; what is beyond waits in the
    /// order it was asked for. Reads on their way share what the drive gives, so with few the first is there sooner; with
    /// many the drive is busy as long as nobody looks.
    fn set_depth(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// How it reads, for a report.
    fn name(&self) -> &'static str;
}

/// How to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoMode {
    /// io_uring if the system allows it, else threads.
    #[default]
    Auto,
    /// Blocking reads by a pool of threads.
    Threads,
}

/// Opens the sources and what reads them.
///
/// # Errors
/// If a file cannot be opened, or is shorter than it was.
pub fn open(sources: &[Source], mode: IoMode) -> Result<Box<dyn Disk>, Error> {
    let files: Arc<[DataFile]> = sources.iter().map(DataFile::open).collect::<Result<_, _>>()?;
    #[cfg(target_os = "linux")]
    if mode == IoMode::Auto
        && let Some(disk) = uring::Uring::new(Arc::clone(&files))
    {
        return Ok(Box::new(disk));
    }
    let _ = mode;
    Ok(Box::new(threads::Threads::start(&files)))
}
