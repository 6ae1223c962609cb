//! The element types a model file can hold: names, ids in the file, and sizes.
//!
//! Source   the `ggml_type` ids and block sizes of the GGUF format, version 3.

/// An element type of a stored tensor. The variants are spelled as model files and people spell them.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    BF16,
    /// Signed integers: lookup tables, never weights.
    I32,
    /// 32 weights of 4 bits, one scale.
    Q4_0,
    /// 32 weights of 4 bits, scale and offset.
    Q4_1,
    /// 32 weights of 5 bits, one scale.
    Q5_0,
    /// 32 weights of 5 bits, scale and offset.
    Q5_1,
    /// 32 weights of 8 bits, one scale.
    Q8_0,
    /// 256 weights of 2 bits; sixteen sub-blocks with scale and min.
    Q2_K,
    /// 256 weights of 3 bits; sixteen sub-blocks with a scale.
    Q3_K,
    /// 256 weights of 4 bits; eight sub-blocks with scale and min.
    Q4_K,
    /// 256 weights of 5 bits; eight sub-blocks with scale and min.
    Q5_K,
    /// 256 weights of 6 bits; sixteen sub-blocks with a scale.
    Q6_K,
    /// 256 weights of about 2 bits: groups of eight from a table of 256 patterns, with signs.
    IQ2_XXS,
    /// As `IQ2_XXS` with 512 patterns and sixteen sub-blocks.
    IQ2_XS,
    /// 256 weights of about 3 bits: groups of four from a table of 256 patterns, with signs.
    IQ3_XXS,
    /// 256 weights of about 1.6 bits: groups of eight from a table of 2048 patterns of -1, 0 and 1.
    IQ1_S,
    /// 32 weights of 4 bits through a table of 16 unevenly spaced values.
    IQ4_NL,
    /// As `IQ3_XXS` with 512 patterns and every sign stored.
    IQ3_S,
    /// As `IQ2_XS` with 1024 patterns and every sign stored.
    IQ2_S,
    /// As `IQ4_NL` in super-blocks of 256 with eight scales.
    IQ4_XS,
    /// As `IQ1_S` in sixteen sub-blocks.
    IQ1_M,
    /// 32 weights of 4-bit floating point with a power-of-two scale (OCP microscaling).
    MXFP4,
    /// 64 weights of 4-bit floating point; four sub-blocks with a scale of 8-bit floating point.
    NVFP4,
    /// 128 weights of 8-bit floating point, one f32 scale: made in memory of official checkpoints, in no file.
    F8_E4M3,
}

/// What a dtype is, in one row: the id in GGUF files, its name, elements and bytes of a block, elements that share a
/// scale, and whether sub-blocks carry a min.
struct Facts {
    ggml_id: Option<u32>,
    name: &'static str,
    block_len: usize,
    block_bytes: usize,
    sub_block_len: usize,
    has_mins: bool,
}

impl Dtype {
    /// Every dtype that a GGUF file can hold, in the order of the ids there.
    pub const ALL: &[Self] = &[
        Self::F32,
        Self::F16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
        Self::IQ2_XXS,
        Self::IQ2_XS,
        Self::IQ3_XXS,
        Self::IQ1_S,
        Self::IQ4_NL,
        Self::IQ3_S,
        Self::IQ2_S,
        Self::IQ4_XS,
        Self::I32,
        Self::IQ1_M,
        Self::BF16,
        Self::MXFP4,
        Self::NVFP4,
    ];

    const fn facts(self) -> Facts {
        const fn row(id: u32, name: &'static str, sizes: [usize; 3], has_mins: bool) -> Facts {
            let [block_len, block_bytes, sub_block_len] = sizes;
            Facts { ggml_id: Some(id), name, block_len, block_bytes, sub_block_len, has_mins }
        }
        match self {
            Self::F32 => row(0, "F32", [1, 4, 1], false),
            Self::F16 => row(1, "F16", [1, 2, 1], false),
            Self::Q4_0 => row(2, "Q4_0", [32, 18, 32], false),
            Self::Q4_1 => row(3, "Q4_1", [32, 20, 32], true),
            Self::Q5_0 => row(6, "Q5_0", [32, 22, 32], false),
            Self::Q5_1 => row(7, "Q5_1", [32, 24, 32], true),
            Self::Q8_0 => row(8, "Q8_0", [32, 34, 32], false),
            Self::Q2_K => row(10, "Q2_K", [256, 84, 16], true),
            Self::Q3_K => row(11, "Q3_K", [256, 110, 16], false),
            Self::Q4_K => row(12, "Q4_K", [256, 144, 32], true),
            Self::Q5_K => row(13, "Q5_K", [256, 176, 32], true),
            Self::Q6_K => row(14, "Q6_K", [256, 210, 16], false),
            Self::IQ2_XXS => row(16, "IQ2_XXS", [256, 66, 32], false),
            Self::IQ2_XS => row(17, "IQ2_XS", [256, 74, 16], false),
            Self::IQ3_XXS => row(18, "IQ3_XXS", [256, 98, 32], false),
            Self::IQ1_S => row(19, "IQ1_S", [256, 50, 32], false),
            Self::IQ4_NL => row(20, "IQ4_NL", [32, 18, 32], false),
            Self::IQ3_S => row(21, "IQ3_S", [256, 110, 32], false),
            Self::IQ2_S => row(22, "IQ2_S", [256, 82, 16], false),
            Self::IQ4_XS => row(23, "IQ4_XS", [256, 136, 32], false),
            Self::I32 => row(26, "I32", [1, 4, 1], false),
            Self::IQ1_M => row(29, "IQ1_M", [256, 56, 16], false),
            Self::BF16 => row(30, "BF16", [1, 2, 1], false),
            Self::MXFP4 => row(39, "MXFP4", [32, 17, 32], false),
            Self::NVFP4 => row(40, "NVFP4", [64, 36, 16], false),
            Self::F8_E4M3 => Facts { ggml_id: None, ..row(0, "F8_E4M3", [128, 132, 128], false) },
        }
    }

    /// The dtype with this id in a GGUF file, or `None` if it is not one this crate decodes.
    #[must_use]
    pub const fn from_ggml(id: u32) -> Option<Self> {
        let mut idx = 0;
        while idx < Self::ALL.len() {
            if let Some(own) = Self::ALL[idx].ggml_id()
                && own == id
            {
                return Some(Self::ALL[idx]);
            }
            idx += 1;
        }
        None
    }

    /// The id in a GGUF file; `None` if none holds it.
    #[must_use]
    pub const fn ggml_id(self) -> Option<u32> {
        self.facts().ggml_id
    }

    /// The name as people write it: `Q4_K`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Elements of a block; 1 for types that are not quantised.
    #[must_use]
    pub const fn block_len(self) -> usize {
        self.facts().block_len
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        self.facts().block_bytes
    }

    /// Bytes of a row of `cols` elements; `None` if that is not a whole number of blocks or overflows.
    #[must_use]
    pub const fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        (cols / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Elements that share one scale in the unpacked form: 16 or 32; 1 for types that are not quantised.
    #[must_use]
    pub const fn sub_block_len(self) -> usize {
        self.facts().sub_block_len
    }

    /// Whether sub-blocks carry a min, so that codes are unsigned.
    #[must_use]
    pub const fn has_mins(self) -> bool {
        self.facts().has_mins
    }

    /// Whether values are integer codes under a shared scale, so that [`crate::unpack_blocks`] takes them. Those of `F8_E4M3`
    /// are numbers with a point, and are multiplied as such.
    #[must_use]
    pub const fn is_quantized(self) -> bool {
        self.block_len() > 1 && !matches!(self, Self::F8_E4M3)
    }

    /// Whether values are real numbers, so that [`crate::decode_row`] takes them: everything but `I32`.
    #[must_use]
    pub const fn is_weight(self) -> bool {
        !matches!(self, Self::I32)
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_belong_to_one_dtype_each() {
        for (idx, &dtype) in Dtype::ALL.iter().enumerate() {
            assert_eq!(dtype.ggml_id().and_then(Dtype::from_ggml), Some(dtype));
            assert_eq!(format!("{dtype:?}"), dtype.name());
            assert!(Dtype::ALL[..idx].iter().all(|other| other.ggml_id() < dtype.ggml_id()));
        }
        for unknown in [4, 5, 9, 15, 24, 38, 41, u32::MAX] {
            assert_eq!(Dtype::from_ggml(unknown), None);
        }
    }

    #[test]
    fn rows_are_whole_blocks() {
        assert_eq!(Dtype::Q4_K.row_bytes(512), Some(288));
        assert_eq!(Dtype::Q4_K.row_bytes(0), Some(0));
        assert_eq!(Dtype::Q4_K.row_bytes(128), None);
        assert_eq!(Dtype::F32.row_bytes(usize::MAX), None);
    }
}
