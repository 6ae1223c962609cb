"""Thins the reference vectors of minnow: every fourth position of the logits and hidden states.

    python3 thin_vectors.py FULL.safetensors vectors.safetensors      (wants numpy and safetensors)
"""

import sys

import numpy as np
from safetensors.numpy import load_file, save_file

STEP = 4

full = load_file(sys.argv[1])
length = len(full["input_ids"])
positions = np.arange(STEP - 1, length, STEP)  # the last position is among them
thin = {"input_ids": full["input_ids"], "positions": positions.astype(np.int64)}
for name, values in full.items():
    if name != "input_ids":
        assert len(values) == length, name
        thin[name] = np.ascontiguousarray(values[positions])
save_file(thin, sys.argv[2])
