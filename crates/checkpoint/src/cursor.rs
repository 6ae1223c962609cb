//! Reads a header forward, always knowing how many bytes remain.
//!
//! Nothing is allocated for a count before it was compared with the bytes that remain, and no header may be larger
//! than [`HEADER_BYTES_MAX`]: a sparse file of a terabyte costs its author nothing.

use std::fmt::{Arguments, Display};
use std::io::Read;

use shoal_base::limits::STRING_BYTES_MAX;

use crate::Error;

/// Longest header: the largest known, with a vocabulary of 200 000 tokens and as many merges, is below 16 MiB.
pub(crate) const HEADER_BYTES_MAX: u64 = 256 << 20;

/// Bytes read at a time for an array.
const CHUNK_BYTES: usize = 64 << 10;

/// A position in a file of known length.
pub(crate) struct Cursor<'a, R> {
    inner: R,
    file: &'a str,
    position: u64,
    file_len: u64,
}

impl<'a, R: Read> Cursor<'a, R> {
    /// Starts at the first byte of `inner`, which holds `file_len` bytes; `file` names it in messages.
    pub(crate) const fn new(inner: R, file: &'a str, file_len: u64) -> Self {
        Self { inner, file, position: 0, file_len }
    }

    pub(crate) fn file(&self) -> String {
        self.file.to_owned()
    }

    /// Bytes read so far.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// Checks that `count` items of at least `item_bytes` can follow.
    pub(crate) fn expect(&self, count: u64, item_bytes: u64, place: &dyn Display) -> Result<(), Error> {
        let needed = u128::from(count) * u128::from(item_bytes);
        let remaining = self.file_len - self.position;
        if needed > u128::from(remaining) {
            return Err(Error::HeaderCut { file: self.file(), place: place.to_string(), needed, remaining });
        }
        let end = self.position + needed as u64;
        self.limit(end, HEADER_BYTES_MAX, &format_args!("the length of the header up to {place}"))
    }

    /// Checks a number from the file against a limit.
    pub(crate) fn limit(&self, found: u64, max: u64, place: &dyn Display) -> Result<(), Error> {
        if found > max {
            return Err(Error::Limit { file: self.file(), place: place.to_string(), found, max });
        }
        Ok(())
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<(), Error> {
        let (offset, len) = (self.position, buf.len() as u64);
        self.inner.read_exact(buf).map_err(|source| Error::Read {
            file: self.file(),
            offset,
            len,
            source,
        })?;
        self.position += len;
        Ok(())
    }

    /// The next `N` bytes.
    pub(crate) fn bytes<const N: usize>(&mut self, place: Arguments<'_>) -> Result<[u8; N], Error> {
        self.expect(1, N as u64, &place)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn u32(&mut self, place: Arguments<'_>) -> Result<u32, Error> {
        self.bytes(place).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, place: Arguments<'_>) -> Result<u64, Error> {
        self.bytes(place).map(u64::from_le_bytes)
    }

    /// A length and as many bytes of UTF-8.
    pub(crate) fn string(&mut self, place: Arguments<'_>) -> Result<String, Error> {
        let len = self.u64(place)?;
        self.expect(len, 1, &place)?;
        self.limit(len, STRING_BYTES_MAX, &format_args!("the length of {place}"))?;
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| Error::Text { file: self.file(), place: place.to_string() })
    }

    /// `count` numbers of `N` bytes.
    pub(crate) fn numbers<T, const N: usize>(
        &mut self,
        count: u64,
        from_le: impl Fn([u8; N]) -> T,
        place: Arguments<'_>,
    ) -> Result<Vec<T>, Error> {
        self.expect(count, N as u64, &place)?;
        let mut items = Vec::with_capacity(count as usize);
        let mut bytes_left = count as usize * N;
        let mut chunk = vec![0; bytes_left.min(CHUNK_BYTES - CHUNK_BYTES % N)];
        while bytes_left > 0 {
            let now = bytes_left.min(chunk.len());
            self.fill(&mut chunk[..now])?;
            items.extend(chunk[..now].as_chunks().0.iter().map(|bytes| from_le(*bytes)));
            bytes_left -= now;
        }
        Ok(items)
    }
}
