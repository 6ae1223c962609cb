//! One tensor of the hub as it will be in memory: its type, where its bytes are, and its scales where it has some.

use shoal_quant::Dtype;
use shoal_quant::packed::{Packed, Packing, ScaleType};

use super::shards::Shards;
use crate::error::shown;
use crate::safetensors::ElementType;
use crate::{Error, Piece};

/// Where a tensor is, and what it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) dtype: Dtype,
    pub(super) bytes: u64,
    pub(super) piece: Piece,
    pub(super) packed: Option<Packed>,
}

impl Shards {
    /// The weights `name`, whose shape, slowest dimension first, is to be `shape`. Blocks of FP8 have `block` rows and columns.
    pub(super) fn weight(&mut self, name: &str, shape: &[usize], block: [usize; 2]) -> Result<Weight, Error> {
        let element = self.take(name)?.0.element.clone();
        let matrix = match *shape {
            [rows, cols] => Some((rows, cols)),
            _ => None,
        };
        let dtype = match (element, matrix) {
            (ElementType::F32, _) => Dtype::F32,
            (ElementType::F16, _) => Dtype::F16,
            (ElementType::BF16, _) => Dtype::BF16,
            (ElementType::F8_E4M3, Some((rows, cols))) => return self.fp8(name, rows, cols, block),
            (ElementType::I8, Some((rows, cols))) if cols.is_multiple_of(32) => {
                let packed = Packed { packing: Packing::Fp4, rows, cols };
                return self.packed(name, &[rows, cols / 2], packed);
            }
            (found, _) => {
                let expected = match matrix {
                    Some(_) => "F32, F16, BF16, F8_E4M3, or FP4 as I8 with 32 columns and more",
                    None => "F32, F16 or BF16",
                };
                return Err(self.wrong_element(name, expected, &found));
            }
        };
        self.plain(name, shape, dtype)
    }

    /// The ids `name`.
    pub(super) fn ids(&mut self, name: &str, rows: usize, cols: usize) -> Result<Weight, Error> {
        match self.take(name)?.0.element.clone() {
            ElementType::I32 => self.plain(name, &[rows, cols], Dtype::I32),
            ElementType::I64 => {
                self.packed(name, &[rows, cols], Packed { packing: Packing::Ids, rows, cols })
            }
            found => Err(self.wrong_element(name, "I64 or I32", &found)),
        }
    }

    fn plain(&mut self, name: &str, shape: &[usize], dtype: Dtype) -> Result<Weight, Error> {
        let codes = self.shaped(name, shape)?;
        Ok(Weight { dtype, bytes: codes.bytes, piece: Piece { codes, scales: None }, packed: None })
    }

    fn fp8(&mut self, name: &str, rows: usize, cols: usize, block: [usize; 2]) -> Result<Weight, Error> {
        let scale_name = self.scale_name(name);
        let scales = match &self.take(&scale_name)?.0.element {
            ElementType::F32 => ScaleType::F32,
            ElementType::F8_E8M0 => ScaleType::E8M0,
            found => {
                let found = found.clone();
                return Err(self.wrong_element(&scale_name, "F32 or F8_E8M0", &found));
            }
        };
        self.packed(name, &[rows, cols], Packed { packing: Packing::Fp8 { block, scales }, rows, cols })
    }

    /// Codes of the shape `shape` with whatever scales they have.
    fn packed(&mut self, name: &str, shape: &[usize], packed: Packed) -> Result<Weight, Error> {
        let codes = self.shaped(name, shape)?;
        let scales = match packed.scale_shape() {
            None => None,
            Some(shape) => {
                let scale_name = self.scale_name(name);
                if packed.packing == Packing::Fp4 {
                    let found = self.take(&scale_name)?.0.element.clone();
                    if found != ElementType::F8_E8M0 {
                        return Err(self.wrong_element(&scale_name, "F8_E8M0", &found));
                    }
                }
                Some(self.shaped(&scale_name, &shape)?)
            }
        };
        let piece = Piece { codes, scales };
        Ok(Weight { dtype: packed.dtype(), bytes: packed.bytes() as u64, piece, packed: Some(packed) })
    }

    /// Where the tensor `name` is, which is to have the shape `shape`.
    fn shaped(&mut self, name: &str, shape: &[usize]) -> Result<crate::Place, Error> {
        let file = self.folder();
        let (stored, place) = self.take(name)?;
        let expected: Vec<u64> = shape.iter().map(|&dim| dim as u64).collect();
        if stored.shape != expected {
            let (tensor, found) = (shown(name), stored.shape.clone().into());
            return Err(Error::Shape { file, tensor, expected: expected.into(), found });
        }
        if expected.contains(&0) {
            return Err(Error::EmptyTensor { file, tensor: shown(name), shape: expected });
        }
        Ok(place)
    }

    /// The name of the scales of the weights `name`: V3 and V4 call them differently.
    fn scale_name(&self, name: &str) -> String {
        let of_v4 = format!("{}.scale", name.strip_suffix(".weight").unwrap_or(name));
        if self.has(&of_v4) { of_v4 } else { format!("{name}_scale_inv") }
    }

    fn wrong_element(&self, name: &str, expected: &'static str, found: &ElementType) -> Error {
        Error::Element { file: self.folder(), tensor: shown(name), expected, found: found.to_string() }
    }
}
