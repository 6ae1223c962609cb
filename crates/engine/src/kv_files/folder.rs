//! The folder of one model's blocks: what is in it, who goes when it is full.

use std::collections::{HashMap, HashSet};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::FolderError;
use crate::prefix::PrefixName;

/// The first half of a name: what a file's name has room for, and enough to tell all files apart.
type Key = [u8; 16];

const LOCK: &str = "lock";
const SUFFIX: &str = ".kv";
/// Of a file that is being written, or that failed its check.
const UNFINISHED: &str = ".part";
const BAD: &str = ".bad";

#[derive(Clone, Debug)]
struct Entry {
    before: Key,
    bytes: u64,
    used: SystemTime,
}

/// What is in the folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    entries: HashMap<Key, Entry>,
    /// How many blocks build on one.
    followers: HashMap<Key, usize>,
    on_their_way: HashSet<Key>,
    bytes: u64,
    quota: u64,
    /// Held as long as this lives.
    _lock: File,
}

fn key(name: &PrefixName) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(&name.as_bytes()[..16]);
    key
}

impl Folder {
    /// The folder for the model of this identity within `path`; both are made if they are not there, for this user alone.
    pub(super) fn open(path: &Path, identity: &str, quota: u64) -> Result<Self, FolderError> {
        let digest = Sha256::digest(identity.as_bytes());
        let name = hex(&digest[..16]);
        let all = path;
        let path = all.join(&name);
        let failed = |source| FolderError::Folder { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join(LOCK));
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::InUse { path: path.clone() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let quota = quota.saturating_sub(others(all, &name, quota).map_err(failed)?);
        let listing = std::fs::read_dir(&path).map_err(failed)?;
        let mut folder = Self {
            path: path.clone(),
            entries: HashMap::new(),
            followers: HashMap::new(),
            on_their_way: HashSet::new(),
            bytes: 0,
            quota,
            _lock: lock,
        };
        for entry in listing {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(UNFINISHED) || name.ends_with(BAD) {
                // What an earlier process left behind.
                let _ = std::fs::remove_file(entry.path());
            }
            let (Some((key, before)), Ok(meta)) = (parse(name), entry.metadata()) else { continue };
            if meta.is_file() {
                let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                folder.add(key, Entry { before, bytes: meta.len(), used });
            }
        }
        folder.make_room(0, None);
        Ok(folder)
    }

    pub(super) fn has(&self, name: &PrefixName) -> bool {
        self.entries.contains_key(&key(name))
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_on_its_way(&self, name: &PrefixName) -> bool {
        self.on_their_way.contains(&key(name))
    }

    pub(super) fn on_their_way(&self) -> usize {
        self.on_their_way.len()
    }

    pub(super) fn begin(&mut self, name: PrefixName) {
        self.on_their_way.insert(key(&name));
    }

    pub(super) fn end(&mut self, name: &PrefixName) {
        self.on_their_way.remove(&key(name));
    }

    /// Where a block is, which is used now.
    pub(super) fn touch(&mut self, name: &PrefixName) -> Option<PathBuf> {
        let key = key(name);
        let entry = self.entries.get_mut(&key)?;
        entry.used = SystemTime::now();
        let path = self.path.join(file_name(&key, &entry.before));
        // So that the next process knows as well; if it does not, nothing is lost.
        let _ = File::open(&path).and_then(|file| file.set_modified(entry.used));
        Some(path)
    }

    /// Takes a block out whose file is not sound; it stays under another name until the next process comes.
    pub(super) fn set_aside(&mut self, name: &PrefixName) {
        if let Some((path, _)) = self.take(&key(name)) {
            let _ = std::fs::rename(&path, path.with_extension(&BAD[1..]));
        }
    }

    /// Makes room for `bytes`, but not by forgetting `needed`; says whether there is.
    fn make_room(&mut self, bytes: u64, needed: Option<&Key>) -> bool {
        while self.bytes + bytes > self.quota {
            let is_last = |key: &Key| self.followers.get(key).is_none_or(|count| *count == 0);
            let ends = self.entries.iter().filter(|(key, _)| is_last(key) && Some(*key) != needed);
            let oldest = ends.min_by_key(|(key, entry)| (entry.used, **key)).map(|(key, _)| *key);
            let Some((path, _)) = oldest.and_then(|key| self.take(&key)) else { return false };
            let _ = std::fs::remove_file(path);
        }
        true
    }

    fn add(&mut self, key: Key, entry: Entry) {
        self.bytes += entry.bytes;
        *self.followers.entry(entry.before).or_default() += 1;
        self.entries.insert(key, entry);
    }

    fn take(&mut self, key: &Key) -> Option<(PathBuf, Entry)> {
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.bytes;
        if let Some(count) = self.followers.get_mut(&entry.before) {
            *count -= 1;
            if *count == 0 {
                self.followers.remove(&entry.before);
            }
        }
        Some((self.path.join(file_name(key, &entry.before)), entry))
    }
}

/// What the folders of models other than `own` take together. When that is more than half of the quota, the ones that were used longest ago
/// and that nobody uses now are forgotten.
fn others(path: &Path, own: &str, quota: u64) -> std::io::Result<u64> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let is_model = entry.file_name().to_str().is_some_and(|name| unhex(name).is_some() && name != own);
        if is_model && entry.file_type()?.is_dir() {
            let (mut bytes, mut used) = (0, SystemTime::UNIX_EPOCH);
            // Its owner may be making and forgetting files at this moment.
            for meta in std::fs::read_dir(entry.path())
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|f| f.metadata().ok())
            {
                bytes += meta.len();
                used = used.max(meta.modified().unwrap_or(SystemTime::UNIX_EPOCH));
            }
            folders.push((used, bytes, entry.path()));
        }
    }
    folders.sort();
    let mut all: u64 = folders.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in folders {
        let lock = File::open(path.join(LOCK));
        // Held until all is gone, so that nobody begins in the middle.
        let is_free = lock.as_ref().is_ok_and(|lock| lock.try_lock().is_ok());
        if all > quota / 2 && is_free && std::fs::remove_dir_all(&path).is_ok() {
            all -= bytes;
        }
        drop(lock);
    }
    Ok(all)
}

/// Writes a block's file; the folder is not locked while the drive works.
pub(super) fn write(
    folder: &Mutex<Folder>,
    name: PrefixName,
    before: PrefixName,
    needed: Option<PrefixName>,
    bytes: &[u8],
) -> std::io::Result<()> {
    let lock = || folder.lock().unwrap_or_else(PoisonError::into_inner);
    let (key, before) = (key(&name), key(&before));
    let has_needed = |folder: &Folder| needed.is_none_or(|needed| folder.has(&needed));
    let (has_room, path) = {
        let mut folder = lock();
        (
            has_needed(&folder) && folder.make_room(bytes.len() as u64, Some(&before)),
            folder.path.join(file_name(&key, &before)),
        )
    };
    let written =
        if has_room { write_whole(&path, bytes) } else { Err(std::io::ErrorKind::QuotaExceeded.into()) };
    let mut folder = lock();
    folder.end(&name);
    if written.is_ok() {
        folder.add(key, Entry { before, bytes: bytes.len() as u64, used: SystemTime::now() });
    }
    written
}

/// Writes a file under another name and gives it its own when it is whole.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_extension(&UNFINISHED[1..]);
    let options = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).clone();
    let written = options.open(&unfinished).and_then(|mut file| file.write_all(bytes));
    let named = written.and_then(|()| std::fs::rename(&unfinished, path));
    if named.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    named
}

/// The bytes of a file, if it has exactly `len`.
pub(super) fn read(path: &Path, len: usize) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    if file.metadata().ok()?.len() != len as u64 {
        return None;
    }
    let mut bytes = Vec::with_capacity(len);
    file.take(len as u64).read_to_end(&mut bytes).ok()?;
    (bytes.len() == len).then_some(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file_name(key: &Key, before: &Key) -> String {
    format!("{}-{}{SUFFIX}", hex(key), hex(before))
}

fn parse(name: &str) -> Option<(Key, Key)> {
    let (key, before) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((unhex(key)?, unhex(before)?))
}

fn unhex(text: &str) -> Option<Key> {
    if text.len() != 32 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut key = Key::default();
    for (byte, at) in key.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(key)
}
