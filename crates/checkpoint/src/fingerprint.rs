//! Which model this is, by its bytes: what is derived from one must never be used with another.
//!
//! Reading a large model whole takes minutes, so the hash takes in everything before the weights, the tokenizer included, and a page at the
//! beginning, the middle and the end of every tensor, or of three pieces of one in many. Two models that differ in their weights, such as a model and its
//! fine-tuned form, or two quantisations, differ there; a file in which single bytes were changed by hand may not.

use sha2::{Digest, Sha256};

use crate::{Checkpoint, Error, Piece, Place, TensorInfo};

/// Bytes of a tensor that are read at each of three places.
const PAGE_BYTES: u64 = 4096;
/// Bytes of a header that are read at a time.
const PART_BYTES: u64 = 1 << 20;

impl Checkpoint {
    /// A hash of the model's metadata and of samples of its weights. Moving or renaming the files does not change it.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn fingerprint(&self) -> Result<[u8; 32], Error> {
        let mut hash = Sha256::new();
        if let Some(digest) = &self.digest {
            hash.update(digest);
        }
        let mut buf = Vec::new();
        for (idx, source) in self.sources().iter().enumerate() {
            let reader = source.open()?;
            let mut feed = |from: u64, to: u64| {
                buf.resize((to - from) as usize, 0);
                reader.read_exact_at(from, &mut buf)?;
                hash.update(&buf);
                Ok::<(), Error>(())
            };
            let is_own = |place: &Place| place.source_idx == idx;
            let all = self.tensors().iter().flat_map(|tensor| &tensor.pieces).flat_map(places);
            let header = all.filter(is_own).map(|place| place.offset).min();
            let header = header.unwrap_or_else(|| source.bytes());
            for from in (0..header).step_by(PART_BYTES as usize) {
                feed(from, (from + PART_BYTES).min(header))?;
            }
            for Place { offset, bytes, .. } in self.tensors().iter().flat_map(samples).filter(is_own) {
                let last = bytes.saturating_sub(PAGE_BYTES);
                for from in [0, last / 2, last] {
                    feed(offset + from, offset + bytes.min(from + PAGE_BYTES))?;
                }
            }
        }
        Ok(hash.finalize().into())
    }
}

fn places(piece: &Piece) -> impl Iterator<Item = Place> + use<> {
    [Some(piece.codes), piece.scales].into_iter().flatten()
}

/// The first, the middle and the last piece of a tensor.
fn samples(tensor: &TensorInfo) -> impl Iterator<Item = Place> {
    let last = tensor.pieces.len() - 1;
    let mut chosen = vec![0, last / 2, last];
    chosen.dedup();
    chosen.into_iter().flat_map(|idx| places(&tensor.pieces[idx]))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_model_keeps_its_fingerprint_and_another_has_another() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/deepseek_v3/model.gguf");
        let of = |path: &Path| Checkpoint::open(path).expect("it opens").fingerprint().expect("it reads");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let copy = folder.path().join("copy.gguf");
        let mut bytes = std::fs::read(&golden).expect("the golden file");
        std::fs::write(&copy, &bytes).expect("a temporary file");
        assert_eq!(of(&golden), of(&copy));
        let last = bytes.len() - 1;
        for at in [last, last - 3000] {
            bytes[at] ^= 1;
            std::fs::write(&copy, &bytes).expect("a temporary file");
            assert_ne!(of(&golden), of(&copy), "byte {at}");
            bytes[at] ^= 1;
        }
    }
}
