//! Reading a whole tensor: for tools and tests. A model's weights come through a store, which knows what memory there is.

use crate::{Checkpoint, Error, Place, TensorInfo};

impl Checkpoint {
    /// The bytes of `tensor` as they are in memory, whatever way they are stored.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read(&self, tensor: &TensorInfo) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(tensor.bytes as usize);
        for piece in &tensor.pieces {
            let Some(packed) = tensor.packed else {
                out.extend(self.read_place(piece.codes, 0)?);
                continue;
            };
            let codes_at = packed.codes_at_min();
            let mut memory = self.read_place(piece.codes, codes_at)?;
            let scales = piece.scales.map_or(Ok(Vec::new()), |scales| self.read_place(scales, 0))?;
            packed.unpack(&mut memory, codes_at, &scales);
            out.extend_from_slice(&memory[..packed.bytes()]);
        }
        Ok(out)
    }

    /// The bytes at `place`, behind as many zeros as `before`.
    fn read_place(&self, place: Place, before: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; before + place.bytes as usize];
        self.sources[place.source_idx].open()?.read_exact_at(place.offset, &mut bytes[before..])?;
        Ok(bytes)
    }
}
