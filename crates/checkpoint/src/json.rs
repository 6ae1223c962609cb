//! JSON files of a model: read whole, never longer than they may be, and refused in one sentence.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;
use shoal_base::limits::JSON_BYTES_MAX;

use crate::Error;
use crate::error::shown;

/// The bytes of the file at `path`; `None` if there is none.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
    let failed = |source| Error::Open { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // Opening a named pipe would wait for its other end.
        found => {
            if !found.map_err(failed)?.is_file() {
                return Err(Error::NotAFile { path: path.to_owned() });
            }
        }
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    let found = bytes.len() as u64;
    if found > bytes_max {
        let (file, place) = (path.display().to_string(), "its length".to_owned());
        return Err(Error::Limit { file, place, found, max: bytes_max });
    }
    Ok(Some(bytes))
}

/// What the bytes of `file` say.
pub(crate) fn parse<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Json { file: file.to_owned(), reason: shown(&error.to_string()) })
}

/// One file, and the bytes that it was.
pub(crate) struct Found<T> {
    pub(crate) value: T,
    pub(crate) bytes: Vec<u8>,
}

/// Reads and understands the file at `path`; `None` if there is none.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<Found<T>>, Error> {
    let Some(bytes) = read(path, JSON_BYTES_MAX)? else { return Ok(None) };
    Ok(Some(Found { value: parse(&path.display().to_string(), &bytes)?, bytes }))
}
