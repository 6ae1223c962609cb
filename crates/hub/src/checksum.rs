//! SHA-256, computed while bytes pass by.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Bytes read at a time.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;

/// A running SHA-256.
#[derive(Clone, Default)]
pub(crate) struct Checksum(Sha256);

impl Checksum {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Takes in all that `reader` has.
    pub(crate) fn update_from(&mut self, reader: &mut impl Read) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(()),
                len => self.update(&buffer[..len]),
            }
        }
    }

    /// The sum in lower-case hex.
    pub(crate) fn hex(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_standards() {
        // FIPS 180-4's example.
        let mut checksum = Checksum::default();
        checksum.update(b"a");
        checksum.update_from(&mut &b"bc"[..]).unwrap();
        assert_eq!(checksum.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
