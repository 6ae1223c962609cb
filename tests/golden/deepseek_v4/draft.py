"""A draft layer for the small V4, with random weights, and what it computes.

    python3 draft.py        (wants numpy, safetensors and gguf; reads model.gguf and vectors.safetensors beside it)

Writes the layer as llama.cpp's converter does (draft.gguf) and as ds4 does (draft_ds4.gguf), and draft.safetensors:
`hidden`, all streams as the layer leaves them, and `logits`, each for the first 96 tokens and the tokens that follow them.

No reference implementation runs this layer alone. The block, the hyper-connections and the head are written here anew, in f64,
and run over the model's last layer first, where `transformers` says what must come out.
"""

from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file, save_file

HERE = Path(__file__).parent
TOKENS, EPS, STREAMS, SINKHORN = 96, 1e-6, 4, 20
HEADS, DIM, ROPE, WINDOW, GROUPS = 4, 32, 8, 32, 2
EXPERTS, USED, SCALING, LIMIT = 8, 3, 1.5, 10.0
LAYERS = 4


def read(path):
    """Tensors by name, in f64, rows first."""
    tensors = {}
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.tensor_type == gguf.GGMLQuantizationType.I32:
            continue
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        tensors[tensor.name] = values.reshape(tensor.shape[::-1]).astype(np.float64)
    return tensors


def rms(x, weight=1.0):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * weight


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def turn(x, angles, back=False):
    """Turns the last ROPE elements, in neighbouring pairs."""
    cos, sin = np.cos(angles), np.sin(angles) * (-1 if back else 1)
    a, b = x[..., -ROPE::2], x[..., -ROPE + 1 :: 2]
    out = x.copy()
    out[..., -ROPE::2], out[..., -ROPE + 1 :: 2] = a * cos - b * sin, a * sin + b * cos
    return out


def frequencies(ratio):
    i = np.arange(ROPE // 2)
    if ratio == 0:
        return 10000.0 ** (-2 * i / ROPE)
    plain = 160000.0 ** (-2 * i / ROPE)
    bound = lambda turns: ROPE * np.log(256 / (turns * 2 * np.pi)) / (2 * np.log(160000.0))
    low, high = max(np.floor(bound(32)), 0), min(np.ceil(bound(1)), ROPE - 1)
    stretched = np.clip((i - low) / max(high - low, 0.001), 0, 1)
    return plain / 16 * stretched + plain * (1 - stretched)


def mixing(x, block, part):
    """Of every token: how streams go in, how the output comes back, how they mix."""
    raw = rms(x.reshape(len(x), -1)) @ block[f"hc_{part}_fn"].T
    scale, base = block[f"hc_{part}_scale"], block[f"hc_{part}_base"]
    m = STREAMS
    pre = sigmoid(raw[:, :m] * scale[0] + base[:m]) + EPS
    post = 2 * sigmoid(raw[:, m : 2 * m] * scale[1] + base[m : 2 * m])
    comb = softmax((raw[:, 2 * m :] * scale[2] + base[2 * m :]).reshape(-1, m, m)) + EPS
    comb = comb / (comb.sum(-2, keepdims=True) + EPS)
    for _ in range(SINKHORN - 1):
        comb = comb / (comb.sum(-1, keepdims=True) + EPS)
        comb = comb / (comb.sum(-2, keepdims=True) + EPS)
    return pre, post, comb


def compressed(h, block, ratio):
    """One row for every whole window."""
    count = len(h) // ratio
    parts = lambda name: (h @ block[f"attn_compressor_{name}"].T)[: count * ratio].reshape(count, ratio, -1)
    weights = softmax((parts("gate") + block["attn_compressor_ape"]).swapaxes(1, 2))
    rows = (parts("kv").swapaxes(1, 2) * weights).sum(-1)
    return turn(rms(rows, block["attn_compressor_norm"]), np.arange(count)[:, None] * ratio * frequencies(ratio))


def attention(h, block, ratio):
    n = len(h)
    position = np.arange(n)
    angles = position[:, None] * frequencies(ratio)
    q = rms(h @ block["attn_q_a"].T, block["attn_q_a_norm"]) @ block["attn_q_b"].T
    q = turn(rms(q.reshape(n, HEADS, DIM)), angles[:, None])
    rows = turn(rms(h @ block["attn_kv"].T, block["attn_kv_a_norm"]), angles)
    behind = position[:, None] - position[None]
    seen = (behind >= 0) & (behind < WINDOW)
    if ratio:
        old = compressed(h, block, ratio)
        rows = np.concatenate([rows, old])
        seen = np.concatenate([seen, np.arange(len(old))[None] < ((position + 1) // ratio)[:, None]], 1)
    scores = np.einsum("thd,sd->ths", q, rows) / np.sqrt(DIM)
    scores = np.where(seen[:, None], scores, -np.inf)
    sinks = np.broadcast_to(block["attn_sinks"][None, :, None], (n, HEADS, 1))
    shares = softmax(np.concatenate([scores, sinks], -1))[..., :-1]
    out = turn(np.einsum("ths,sd->thd", shares, rows), angles[:, None], back=True).reshape(n, GROUPS, -1)
    down = block["attn_output_a"].reshape(GROUPS, -1, out.shape[-1])
    return np.einsum("tgd,grd->tgr", out, down).reshape(n, -1) @ block["attn_output_b"].T


def network(x, gate, up, down):
    gate, up = np.minimum(x @ gate.T, LIMIT), np.clip(x @ up.T, -LIMIT, LIMIT)
    return (gate * sigmoid(gate) * up) @ down.T


def mixture(h, block):
    scores = np.sqrt(np.logaddexp(0, h @ block["ffn_gate_inp"].T))
    chosen = np.argsort(-(scores + block["exp_probs_b"]), axis=-1, kind="stable")[:, :USED]
    weights = np.take_along_axis(scores, chosen, -1)
    weights = weights / weights.sum(-1, keepdims=True) * SCALING
    y = network(h, *(block[f"ffn_{part}_shexp"] for part in ("gate", "up", "down")))
    for t in range(len(h)):
        for weight, e in zip(weights[t], chosen[t]):
            y[t] += weight * network(h[t], *(block[f"ffn_{part}_exps"][e] for part in ("gate", "up", "down")))
    return y


def layer(x, block, ratio):
    for part, norm, inner in (
        ("attn", "attn_norm", lambda h: attention(h, block, ratio)),
        ("ffn", "ffn_norm", lambda h: mixture(h, block)),
    ):
        pre, post, comb = mixing(x, block, part)
        y = inner(rms((pre[..., None] * x).sum(1), block[norm]))
        x = post[..., None] * y[:, None] + np.einsum("tij,tid->tjd", comb, x)
    return x


def collapse(x, fn, base, scale):
    pre = sigmoid(rms(x.reshape(len(x), -1)) @ fn.T * scale + base) + EPS
    return (pre[..., None] * x).sum(1)


def bf16(x):
    """Cut off to what a BF16 holds."""
    return (np.asarray(x, np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)


def draft_weights(like):
    """Random weights in the shapes of a layer with a window alone."""
    rng = np.random.default_rng(2026)
    hidden = like["attn_norm"].shape[0]
    shapes = {name: values.shape for name, values in like.items()}
    shapes |= {"exp_probs_b": (EXPERTS,), "nextn.e_proj": (hidden, hidden), "nextn.h_proj": (hidden, hidden)}
    shapes |= {f"nextn.{norm}": (hidden,) for norm in ("enorm", "hnorm", "shared_head_norm")}
    shapes |= {"nextn.hc_head_fn": (STREAMS, STREAMS * hidden), "nextn.hc_head_base": (STREAMS,), "nextn.hc_head_scale": (1,)}
    weights = {}
    for name, shape in sorted(shapes.items()):
        noise = rng.standard_normal(shape)
        if len(shape) > 1:
            weights[name] = bf16(noise * 1.5 / np.sqrt(shape[-1]))
        elif name.endswith("norm"):
            weights[name] = bf16(1 + 0.2 * noise)
        else:
            weights[name] = bf16(0.5 * noise + (1.0 if name.endswith("scale") else 0.0))
    return weights


def write(path, architecture, tensors, pairs):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("the draft layer of a small V4")
    for key, value in pairs:
        writer.add_uint32(f"deepseek4.{key}", value)
    for name, values in tensors:
        values = np.ascontiguousarray(values, np.float32)
        if values.ndim > 1 and not name.endswith("ffn_gate_inp.weight") and "hc_" not in name:
            words = (values.view(np.uint32) >> 16).astype(np.uint16)
            writer.add_tensor(name, words.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def suffixed(name):
    return name + (".bias" if name == "exp_probs_b" else ".weight")


def main():
    model = read(HERE / "model.gguf")
    vectors = load_file(HERE / "vectors.safetensors")
    ids = vectors["input_ids"]
    part = lambda name, prefix: name.removeprefix(prefix).rsplit(".", 1)[0]
    block = lambda i: {part(name, f"blk.{i}."): w for name, w in model.items() if name.startswith(f"blk.{i}.")}
    ends = {name: model[f"{name}.weight"] for name in ("token_embd", "output_norm", "output")}

    # The model's last layer and its end, against the reference.
    x = layer(vectors[f"hidden.{LAYERS - 1}"].astype(np.float64), block(LAYERS - 1), 128)
    head = [model[f"output_hc_{name}.weight"] for name in ("fn", "base", "scale")]
    logits = rms(collapse(x, *head), ends["output_norm"]) @ ends["output"].T
    off = np.abs(logits - vectors["logits"]).max()
    assert off < 1e-4, f"the model's own logits are off by {off}"
    print("the model's own logits within", off)

    w = draft_weights({name: v for name, v in block(0).items() if "tid2eid" not in name})
    x, following = x[:TOKENS], ids[1 : TOKENS + 1]
    e = rms(ends["token_embd"][following], w["nextn.enorm"]) @ w["nextn.e_proj"].T
    x = layer(e[:, None] + rms(x, w["nextn.hnorm"]) @ w["nextn.h_proj"].T, w, 0)
    own_head = [w[f"nextn.hc_head_{name}"] for name in ("fn", "base", "scale")]
    logits = rms(collapse(x, *own_head), w["nextn.shared_head_norm"]) @ ends["output"].T
    print("its logits reach", np.abs(logits).max())
    out = {"hidden": x.astype(np.float32), "logits": logits.astype(np.float32)}
    save_file({name: np.ascontiguousarray(values) for name, values in out.items()}, HERE / "draft.safetensors")

    joined = np.concatenate([w["nextn.e_proj"], w["nextn.h_proj"]], 1)
    apart = ("nextn.e_proj", "nextn.h_proj")
    tensors = [(f"{name}.weight", values) for name, values in ends.items()]
    tensors += [(f"blk.{LAYERS}.nextn.eh_proj.weight", joined)]
    for name, values in w.items():
        if name.startswith("nextn.hc_head"):
            tensors.append((suffixed(name).replace("nextn.hc_head", "output_hc"), values))
        elif name not in apart:
            tensors.append((f"blk.{LAYERS}.{suffixed(name)}", values))
    write(HERE / "draft.gguf", "deepseek4", tensors, [("block_count", LAYERS + 1), ("nextn_predict_layers", 1)])
    short = lambda name: name.removeprefix("nextn.").replace("shared_head_norm", "norm")
    tensors = [(f"mtp.0.{short(suffixed(name))}", values) for name, values in w.items()]
    write(HERE / "draft_ds4.gguf", "deepseek4_mtp_support", tensors, [("nextn_predict_layers", 1)])


main()
