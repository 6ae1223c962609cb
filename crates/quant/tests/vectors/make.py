#!/usr/bin/env python3
"""Makes the vectors of tests/vectors.rs: random blocks and what the `gguf` package decodes them to.

Run in this folder with numpy and gguf installed:  python make.py
"""

import numpy as np
from gguf import GGMLQuantizationType as Q
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize

# Where each format keeps its f16 numbers. MXFP4 and NVFP4 have none, their scales are bytes; IQ1_M has one in four parts.
F16_AT = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ2_XXS": [0], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [],
    "IQ2_XS": [0], "IQ3_XXS": [0], "IQ1_S": [0], "IQ3_S": [0], "IQ2_S": [0], "IQ1_M": [], "NVFP4": [],
}
# Formats whose indices are cut in two: patterns of the table, indices in a block, where the upper bits of their indices
# are, of what type, and how many bits each. The lower eight are at byte 2.
SPLIT_INDEX = {"IQ2_S": (1024, 32, 66, "<u1", 2), "IQ3_S": (512, 64, 66, "<u1", 1), "IQ1_S": (2048, 32, 34, "<u2", 3)}
# One, negative, zero, minus zero, smallest and largest subnormal, smallest normal, largest, infinite, not a number.
SPECIAL = np.array(
    [0x3C00, 0xB555, 0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7C00, 0x7E00], dtype=np.uint16)


def walk_table(name: str, rng: np.random.Generator) -> np.ndarray:
    """Blocks that use every pattern of the format's table once, with an ordinary scale and random signs."""
    patterns, in_block = {"IQ2_XS": (512, 32), "IQ3_XXS": (256, 64)}.get(name) or SPLIT_INDEX[name][:2]
    index = np.arange(patterns).reshape(-1, in_block)
    blocks = rng.integers(0, 256, (len(index), GGML_QUANT_SIZES[Q[name]][1]), dtype=np.uint8)
    blocks[:, :2] = np.array([0x3555], dtype="<u2").view(np.uint8)
    if name == "IQ2_XS":
        signs = blocks[:, 2:66].copy().view("<u2") & 0xFE00
        blocks[:, 2:66] = (index | signs).astype("<u2").view(np.uint8)
        return blocks
    blocks[:, 2 : 2 + in_block] = index & 255
    if name in SPLIT_INDEX:
        _, _, at, dtype, bits = SPLIT_INDEX[name]
        per_field = 8 // bits if dtype == "<u1" else 4
        fields = (index >> 8).reshape(len(index), -1, per_field)
        upper = (fields << (bits * np.arange(per_field))).sum(axis=-1)
        end = at + upper.shape[1] * np.dtype(dtype).itemsize
        if name == "IQ1_S":  # scale and direction are above the indices
            upper |= blocks[:, at:end].copy().view(dtype) & 0xF000
        blocks[:, at:end] = upper.astype(dtype).view(np.uint8)
    return blocks


def blocks_of(name: str, rng: np.random.Generator) -> np.ndarray:
    block_len, block_bytes = GGML_QUANT_SIZES[Q[name]]
    count = 12 if block_len == 256 else 32
    blocks = rng.integers(0, 256, (count, block_bytes), dtype=np.uint8)
    for which, at in enumerate(F16_AT[name]):
        numbers = rng.normal(0, 0.05, count).astype(np.float16).view(np.uint16)
        # The second number of a format takes the special values in another order than the first.
        numbers[: len(SPECIAL)] = np.roll(SPECIAL, 3 * which)
        blocks[:, at : at + 2] = numbers.view(np.uint8).reshape(-1, 2)
    if name == "MXFP4":
        blocks[:6, 0] = [0, 1, 2, 127, 254, 255]
    if name == "IQ2_XXS":  # every group of the table once, in blocks with an ordinary scale
        groups = blocks[:8, 2:].reshape(8, 8, 8)
        groups[:, :, :4] = np.arange(256, dtype=np.uint8).reshape(8, 8, 4)
        blocks[:8, :2] = np.array([0x3555], dtype=np.uint16).view(np.uint8)
    if name == "IQ1_M":  # each four bits of d above twelve bits of scales
        numbers = rng.normal(0, 0.05, count).astype(np.float16).view(np.uint16)
        numbers[: len(SPECIAL)] = SPECIAL
        parts = (numbers[:, None] >> np.array([0, 4, 8, 12], dtype=np.uint16)) & 15
        scales = (blocks[:, 48:].copy().view("<u2") & 0x0FFF) | (parts << 12)
        blocks[:, 48:] = scales.astype("<u2").view(np.uint8)
    if name == "NVFP4":  # every scale once
        blocks = rng.integers(0, 256, (64, block_bytes), dtype=np.uint8)
        blocks[:, :4] = np.arange(256, dtype=np.uint8).reshape(64, 4)
    if name in SPLIT_INDEX or name in ("IQ2_XS", "IQ3_XXS"):
        blocks = np.concatenate([blocks, walk_table(name, rng)])
    return blocks


def encode_input(rng: np.random.Generator) -> np.ndarray:
    rows = rng.normal(0, 1, (40, 32)).astype(np.float32)
    rows[0] = 0
    rows[1] = np.linspace(-1, 1, 32)
    rows[2] = np.arange(32) * 0.5            # ties
    rows[3] = -np.arange(32) * 0.5
    rows[4] = 1e-3 * rows[4]
    rows[5] = 1e4 * rows[5]
    rows[6] = 7.25
    rows[7, ::2], rows[7, 1::2] = 2.0, -2.0  # equal magnitudes: the first decides the sign of the scale
    rows[8, ::2], rows[8, 1::2] = -2.0, 2.0
    return rows


def main() -> None:
    for seed, name in enumerate(F16_AT):
        blocks = blocks_of(name, np.random.default_rng(1000 + seed))
        with np.errstate(all="ignore"):
            values = dequantize(blocks, Q[name])
        blocks.tofile(f"{name.lower()}.blocks")
        values.astype("<f4").tofile(f"{name.lower()}.f32")
    rows = encode_input(np.random.default_rng(7))
    rows.astype("<f4").tofile("encode_input.f32")
    for name in ["BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]:
        quantize(rows, Q[name]).tofile(f"encode_{name.lower()}.blocks")
    rows.astype("<f2").tofile("encode_f16.blocks")


if __name__ == "__main__":
    main()
