//! KV blocks on a drive: what was computed for a prompt outlives the process, and more of it is kept than memory holds.
//!
//! Every block of a prefix is a file of its own in a folder of the model's. Its name is that of the prefix up to its end and that of the
//! prefix before it, so the folder's listing is the index; its content is checked when it is read ([`record`]). A file is written under
//! another name and then renamed: whenever the process or the machine stops, a file is whole, absent, or fails its check. What fails is
//! set aside and computed again.
//!
//! Blocks are written by a thread beside the engine, from a short line: when it is full a block is not saved, for a save is a favour
//! and must not delay an answer. They are read by the engine itself, since a prompt waits for them.
//!
//! **Who goes first.** When the folder is full, a block on which no other builds goes, the one that was used longest ago: a conversation
//! that is gone loses its last turns first.

mod folder;
mod record;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use shoal_base::{Bytes, TokenId};

use crate::prefix::PrefixName;
use folder::Folder;
pub use record::{Record, check};

/// Blocks that wait to be written, at most.
const WAITING_MAX: usize = 4;

/// Blocks that this holds in memory at most: those that wait, the one being written, as rows and as a file, and the one being read.
pub const BLOCKS_IN_MEMORY: usize = WAITING_MAX + 3;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made or listed.
    #[error("cannot use the folder {} for KV blocks: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process uses it.
    #[error("the folder {} for KV blocks is in use by another process; give each its own", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

/// A block on its way to the drive.
struct Save {
    name: PrefixName,
    /// `None` if nothing is before it.
    needed: Option<PrefixName>,
    before: PrefixName,
    tokens: Vec<TokenId>,
    rows: Vec<u8>,
}

/// The saved blocks of one model.
pub struct KvFiles {
    folder: Arc<Mutex<Folder>>,
    saves: Option<SyncSender<Save>>,
    writer: Option<JoinHandle<()>>,
    /// The two lengths that the rows of a block may have.
    block_bytes: [usize; 2],
}

impl KvFiles {
    /// The blocks of the model of this `identity`, whose rows take one of `block_bytes` each, in a folder within `path`, of at most
    /// `quota` bytes together. `identity` names everything that the rows depend on: weights, instructions, version.
    ///
    /// # Errors
    /// If the folder cannot be made or listed, or is another process's.
    pub fn open(
        path: &Path,
        identity: &str,
        block_bytes: [usize; 2],
        quota: Bytes,
    ) -> Result<Self, FolderError> {
        let folder = Arc::new(Mutex::new(Folder::open(path, identity, quota.0)?));
        let (saves, queue) = sync_channel::<Save>(WAITING_MAX);
        let written = Arc::clone(&folder);
        let write = move || {
            for Save { name, needed, before, tokens, rows } in queue {
                let bytes = record::encode(&Record { name, before, tokens: &tokens, rows: &rows });
                // A drive that is full or broken costs the favour, not the answer.
                let _ = folder::write(&written, name, before, needed, &bytes);
            }
        };
        let failed = |source| FolderError::Folder { path: path.to_owned(), source };
        let writer =
            std::thread::Builder::new().name("shoal-kv-files".to_owned()).spawn(write).map_err(failed)?;
        Ok(Self { folder, saves: Some(saves), writer: Some(writer), block_bytes })
    }

    /// Whether a block is there, as far as one can know without reading it.
    #[must_use]
    pub fn has(&self, name: &PrefixName) -> bool {
        self.lock().has(name)
    }

    /// How many blocks are there.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().count()
    }

    /// The rows of the block that ends the prefix `name`: `tokens` after `before`. `None` if it is not there, or not sound.
    pub fn load(&self, name: &PrefixName, before: &PrefixName, tokens: &[TokenId]) -> Option<Vec<u8>> {
        let path = self.lock().touch(name)?;
        let expected = Record { name: *name, before: *before, tokens, rows: &[] };
        let read = |&rows: &usize| {
            folder::read(&path, record::len(rows)).filter(|bytes| check(bytes, &expected, rows))
        };
        let Some(mut bytes) = self.block_bytes.iter().find_map(read) else {
            self.lock().set_aside(name);
            return None;
        };
        bytes.truncate(bytes.len() - record::TAIL_BYTES);
        bytes.drain(..record::HEAD_BYTES);
        Some(bytes)
    }

    /// Saves a block, if there is time; `rows` is called only then. Says whether it is there or on its way. Unless it `is_first` it is saved only
    /// if the block before it is there, for without that nobody would come to it.
    pub fn save(
        &self,
        name: PrefixName,
        before: PrefixName,
        is_first: bool,
        tokens: &[TokenId],
        rows: impl FnOnce() -> Vec<u8>,
    ) -> bool {
        {
            let mut folder = self.lock();
            if folder.has(&name) || folder.is_on_its_way(&name) {
                return true;
            }
            if folder.on_their_way() > WAITING_MAX {
                return false;
            }
            folder.begin(name);
        }
        let Some(saves) = &self.saves else { return false };
        match saves.try_send(Save {
            name,
            needed: (!is_first).then_some(before),
            before,
            tokens: tokens.to_vec(),
            rows: rows(),
        }) {
            Ok(()) => true,
            Err(TrySendError::Full(save) | TrySendError::Disconnected(save)) => {
                self.lock().end(&save.name);
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Folder> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KvFiles {
    /// Waits for what is on its way.
    fn drop(&mut self) {
        drop(self.saves.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
