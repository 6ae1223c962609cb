//! From tensor names to typed weight handles: the only place that knows how files name things.
//!
//! A [`Binder`] hands out each tensor with the shape that the configuration demands. Shapes are checked here, so the
//! forward pass can rely on them.

use shoal_base::blob::BLOB_ALIGNMENT;
use shoal_base::{Blob, BlobBuf, ExpertId};
use shoal_checkpoint::{Checkpoint, TensorInfo};
use shoal_kernels::hyper::HyperConnection;
use shoal_kernels::ops::FeedForward;
use shoal_kernels::{Act, Matrix};
use shoal_quant::Dtype;
use shoal_store::{Arrivals, ExpertBank, Lease, Role, Store};

use crate::Error;
use crate::config::{CommonConfig, DeepseekV4Config};

/// Name of the embedding table.
pub(crate) const TOKEN_EMBD: &str = "token_embd.weight";
/// Name of the output head; absent where it is tied to the embedding table.
pub(crate) const OUTPUT: &str = "output.weight";
/// Name of the last norm.
pub(crate) const OUTPUT_NORM: &str = "output_norm.weight";
/// Name of the divisors of Llama 3's frequencies.
pub(crate) const ROPE_FREQS: &str = "rope_freqs.weight";

/// Rows of the embedding table: the size of the vocabulary.
pub(crate) fn embedding_rows(checkpoint: &Checkpoint) -> Result<usize, Error> {
    let table =
        checkpoint.tensor(TOKEN_EMBD).ok_or_else(|| Error::MissingTensor { name: TOKEN_EMBD.to_owned() })?;
    Ok(table.shape.get(1).map_or(0, |&rows| rows as usize))
}

/// Name of the matrices that make the keys of all heads of latents.
pub(crate) const ATTN_K_B: &str = "attn_k_b.weight";
/// Name of those that make keys and values, in older files.
pub(crate) const ATTN_KV_B: &str = "attn_kv_b.weight";
/// Names of a layer's stacked experts: gate, up, down.
const EXPERT_STACKS: [&str; 3] = ["ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight"];

/// What a tensor is to a model: draft layers, which stand after the others, are not read if they are not used.
pub(crate) fn role(tensor: &TensorInfo, common: &CommonConfig) -> Role {
    let Some((layer, name)) = tensor.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
        return Role::Dense;
    };
    match layer.parse::<usize>() {
        Ok(layer) if layer >= common.layers_used() => Role::Unused,
        Ok(layer) if EXPERT_STACKS.contains(&name) && layer < common.layers_with_slots() => Role::Experts,
        _ => Role::Dense,
    }
}

/// The stacked experts of layer `layer`, if it has any.
pub(crate) fn expert_stacks(checkpoint: &Checkpoint, layer: usize) -> Option<[&TensorInfo; 3]> {
    let [gate, up, down] = EXPERT_STACKS.map(|name| checkpoint.tensor(&format!("blk.{layer}.{name}")));
    Some([gate?, up?, down?])
}

/// Whether layer `layer` is there and a draft layer.
pub(crate) fn has_draft_layer(checkpoint: &Checkpoint, layer: usize) -> bool {
    checkpoint.tensor(&format!("blk.{layer}.nextn.enorm.weight")).is_some()
}

/// Whether an expert of draft layer `layer` takes more than any of the layers before it, as where a file of its own holds it in another
/// format.
pub(crate) fn has_larger_experts(checkpoint: &Checkpoint, layer: usize) -> bool {
    let stacks = |layer| expert_stacks(checkpoint, layer).filter(|[gate, ..]| gate.pieces.len() == 1);
    let bytes = |layer| stacks(layer).map_or(0, |stacks| stacks.iter().map(|stack| stack.bytes).sum::<u64>());
    bytes(layer) > (0..layer).map(bytes).max().unwrap_or(0)
}

/// Whether a tensor is kept as f32, whatever the file has: vectors, and tables that are added ([`LayerBinder::table`]).
pub(crate) fn is_kept_as_f32(tensor: &TensorInfo) -> bool {
    tensor.shape.len() == 1 || tensor.name.ends_with("_ape.weight")
}

/// The matrices of layer `layer` that make keys of latents, alone or together with those of the values.
pub(crate) fn key_up(checkpoint: &Checkpoint, layer: usize) -> Option<&TensorInfo> {
    let tensor = |name| checkpoint.tensor(&format!("blk.{layer}.{name}"));
    tensor(ATTN_K_B).or_else(|| tensor(ATTN_KV_B))
}

/// Hands out the tensors of a store.
pub(crate) struct Binder<'a> {
    store: &'a Store,
}

impl<'a> Binder<'a> {
    pub(crate) const fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// The tensors of layer `layer`.
    pub(crate) fn layer(&self, layer: usize) -> LayerBinder<'a> {
        LayerBinder { binder: Self { store: self.store }, prefix: format!("blk.{layer}.") }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.store.checkpoint().tensor(name).is_some()
    }

    /// A tensor of the file, whose shape was checked.
    fn info(&self, name: &str, expected: &[usize]) -> Result<&'a TensorInfo, Error> {
        let missing = || Error::MissingTensor { name: name.to_owned() };
        let tensor = self.store.checkpoint().tensor(name).ok_or_else(missing)?;
        let expected: Vec<u64> = expected.iter().map(|&n| n as u64).collect();
        // A trailing dimension of 1 may be written or left out.
        let trimmed = |shape: &[u64]| {
            let len = shape.iter().rposition(|&n| n != 1).map_or(1, |last| last + 1);
            shape[..len.min(shape.len())].to_vec()
        };
        if trimmed(&tensor.shape) != trimmed(&expected) {
            return Err(Error::WrongShape { name: name.to_owned(), expected, found: tensor.shape.clone() });
        }
        // Weights in NVFP4 may have one more factor, in a tensor beside them. Without it they would be silently wrong.
        if tensor.dtype == Dtype::NVFP4 && self.has(&name.replace(".weight", ".scale")) {
            let (expected, found) = ("weights without a factor of their own", "NVFP4 with a tensor `.scale`");
            return Err(Error::WrongType { name: name.to_owned(), expected, found });
        }
        Ok(tensor)
    }

    fn tensor(&self, name: &str, expected: &[usize]) -> Result<(&'a TensorInfo, Blob), Error> {
        Ok((self.info(name, expected)?, self.store.dense(name)?))
    }

    /// A weight matrix `[rows, cols]`.
    pub(crate) fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix, Error> {
        let (tensor, blob) = self.tensor(name, &[cols, rows])?;
        weight_dtype(tensor)?;
        Ok(Matrix::new(tensor.dtype, rows, cols, blob))
    }

    /// One matrix `[rows, cols]` for each head.
    pub(crate) fn heads(
        &self,
        name: &str,
        heads: usize,
        rows: usize,
        cols: usize,
    ) -> Result<Vec<Matrix>, Error> {
        let (tensor, blob) = self.tensor(name, &[cols, rows, heads])?;
        weight_dtype(tensor)?;
        let all = Matrix::new(tensor.dtype, heads * rows, cols, blob);
        Ok((0..heads).map(|head| all.row_range(head * rows, rows)).collect())
    }

    /// The hyper-connection whose tensors begin with `prefix`, with as many `rows` and scales.
    pub(crate) fn hyper(
        &self,
        prefix: &str,
        config: &DeepseekV4Config,
        rows: usize,
        scales: usize,
    ) -> Result<HyperConnection, Error> {
        let width = config.hyper.mult * config.common.hidden_size;
        Ok(HyperConnection {
            spec: config.hyper,
            r#fn: self.matrix(&format!("{prefix}_fn.weight"), rows, width)?,
            base: self.vector(&format!("{prefix}_base.weight"), rows)?,
            scale: self.vector(&format!("{prefix}_scale.weight"), scales)?,
        })
    }

    /// A vector of f32 of `len` elements.
    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, Error> {
        let (tensor, blob) = self.tensor(name, &[len])?;
        if tensor.dtype.is_quantized() || tensor.dtype == Dtype::I32 {
            let (expected, found) = ("F32, F16 or BF16", tensor.dtype.name());
            return Err(Error::WrongType { name: name.to_owned(), expected, found });
        }
        let mut out = vec![0.0; len];
        shoal_quant::decode_row(tensor.dtype, blob.as_slice(), &mut out);
        Ok(out)
    }
}

fn weight_dtype(tensor: &TensorInfo) -> Result<(), Error> {
    if tensor.dtype == Dtype::I32 {
        let (expected, found) = ("a format of weights", tensor.dtype.name());
        return Err(Error::WrongType { name: tensor.name.clone(), expected, found });
    }
    Ok(())
}

/// Hands out the tensors of one layer, by the part of their names after `blk.N.`.
pub(crate) struct LayerBinder<'a> {
    binder: Binder<'a>,
    prefix: String,
}

impl LayerBinder<'_> {
    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.binder.has(&self.full(name))
    }

    pub(crate) fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix, Error> {
        self.binder.matrix(&self.full(name), rows, cols)
    }

    pub(crate) fn hyper(
        &self,
        prefix: &str,
        config: &DeepseekV4Config,
        rows: usize,
        scales: usize,
    ) -> Result<HyperConnection, Error> {
        self.binder.hyper(&self.full(prefix), config, rows, scales)
    }

    pub(crate) fn heads(
        &self,
        name: &str,
        heads: usize,
        rows: usize,
        cols: usize,
    ) -> Result<Vec<Matrix>, Error> {
        self.binder.heads(&self.full(name), heads, rows, cols)
    }

    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, Error> {
        self.binder.vector(&self.full(name), len)
    }

    pub(crate) fn optional_vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, Error> {
        self.has(name).then(|| self.vector(name, len)).transpose()
    }

    /// The network whose tensors end in `suffix`: empty for a dense layer, `_shexp` for the shared experts.
    pub(crate) fn feed_forward(
        &self,
        suffix: &str,
        hidden: usize,
        width: usize,
        swiglu_limit: f32,
    ) -> Result<FeedForward, Error> {
        Ok(FeedForward {
            swiglu_limit,
            gate: self.matrix(&format!("ffn_gate{suffix}.weight"), width, hidden)?,
            up: self.matrix(&format!("ffn_up{suffix}.weight"), width, hidden)?,
            down: self.matrix(&format!("ffn_down{suffix}.weight"), hidden, width)?,
        })
    }

    /// A matrix `[rows, cols]` as f32, to be added and not to be multiplied with.
    pub(crate) fn table(&self, name: &str, rows: usize, cols: usize) -> Result<Act, Error> {
        let matrix = self.matrix(name, rows, cols)?;
        let mut table = Act::zeros(rows, cols);
        (0..rows).for_each(|row| matrix.decode_row(row, table.row_mut(row)));
        Ok(table)
    }

    /// A table of ids below `count`, `[rows, cols]`.
    pub(crate) fn ids(&self, name: &str, rows: usize, cols: usize, count: usize) -> Result<IdTable, Error> {
        let name = self.full(name);
        let (tensor, blob) = self.binder.tensor(&name, &[cols, rows])?;
        if tensor.dtype != Dtype::I32 {
            return Err(Error::WrongType { name, expected: "I32", found: tensor.dtype.name() });
        }
        let table = IdTable { blob, cols };
        let unknown = (0..rows).flat_map(|row| table.row(row)).find(|&id| id as usize >= count);
        match unknown {
            Some(found) => Err(Error::UnknownId { name, count, found }),
            None => Ok(table),
        }
    }

    /// The routed experts.
    pub(crate) fn experts(
        &self,
        count: usize,
        hidden: usize,
        width: usize,
        swiglu_limit: f32,
    ) -> Result<Experts, Error> {
        let sizes = [(width, hidden), (width, hidden), (hidden, width)];
        let names = EXPERT_STACKS.map(|name| self.full(name));
        let mut shapes = Vec::with_capacity(3);
        for (name, (rows, cols)) in names.iter().zip(sizes) {
            let tensor = self.binder.info(name, &[cols, rows, count])?;
            weight_dtype(tensor)?;
            shapes.push((tensor.dtype, rows, cols));
        }
        let bank = self.binder.store.expert_bank(names.each_ref().map(String::as_str), count)?;
        let form = ExpertForm { shapes: [shapes[0], shapes[1], shapes[2]], swiglu_limit };
        Ok(Experts { bank, form })
    }
}

/// Rows of ids, in the bytes of the file.
pub(crate) struct IdTable {
    blob: Blob,
    cols: usize,
}

impl IdTable {
    /// The ids of row `row`.
    pub(crate) fn row(&self, row: usize) -> impl Iterator<Item = u32> + '_ {
        let bytes = &self.blob.as_slice()[row * self.cols * 4..][..self.cols * 4];
        bytes.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id))
    }
}

/// What the experts of a layer have in common: the formats and shapes of gate, up and down, and their limit.
#[derive(Clone, Copy)]
struct ExpertForm {
    shapes: [(Dtype, usize, usize); 3],
    swiglu_limit: f32,
}

/// The routed experts of one layer, as handles that are fetched when a token needs them.
pub(crate) struct Experts {
    bank: ExpertBank,
    form: ExpertForm,
}

impl Experts {
    /// Starts to fetch the experts `ids`, each once.
    pub(crate) fn fetch(&self, ids: &[u32]) -> Fetch<'_> {
        let wanted: Vec<ExpertId> = ids.iter().map(|&id| ExpertId(id)).collect();
        Fetch { arrivals: self.bank.fetch(&wanted), form: self.form }
    }

    /// Says that all experts will be fetched next.
    pub(crate) fn read_all_ahead(&self) {
        self.bank.read_ahead((0..self.bank.expert_count() as u32).map(ExpertId));
    }

    /// Whether a forecast could help.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.bank.is_incomplete()
    }

    /// Says which experts will be fetched, as far as can be foreseen `distance` layers ahead: each with its place in the router's
    /// order.
    pub(crate) fn forecast(&self, distance: usize, choices: impl Iterator<Item = (u32, usize)>) {
        self.bank.forecast(distance, choices.map(|(id, place)| (ExpertId(id), place)));
    }
}

/// Experts on their way.
pub(crate) struct Fetch<'a> {
    arrivals: Arrivals<'a>,
    form: ExpertForm,
}

/// Experts in memory. The networks go first when it is dropped, then what keeps them there.
pub(crate) struct Batch {
    pub(crate) networks: Vec<(u32, FeedForward)>,
    _leases: Vec<Lease>,
}

impl Fetch<'_> {
    /// Those that have come since; waits for one if none has. `None` when all have been given.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, Error> {
        let experts = self.arrivals.take()?;
        if experts.is_empty() {
            return Ok(None);
        }
        let matrix = |part: usize, blob: Blob| {
            let (dtype, rows, cols) = self.form.shapes[part];
            Matrix::new(dtype, rows, cols, blob)
        };
        let (networks, leases) = experts
            .into_iter()
            .map(|expert| {
                let (gate, up, down) = (matrix(0, expert.gate), matrix(1, expert.up), matrix(2, expert.down));
                let swiglu_limit = self.form.swiglu_limit;
                ((expert.id.0, FeedForward { gate, up, down, swiglu_limit }), expert.lease)
            })
            .unzip();
        Ok(Some(Batch { networks, _leases: leases }))
    }
}

/// The transpose of each head's matrix, in the source's format if that is a plain float, else in f16: exact enough beside
/// any other source, whose blocks run along the other axis and cannot be kept.
pub(crate) fn transposed(heads: &[Matrix]) -> Vec<Matrix> {
    let len = |w: &Matrix| (transposed_row_bytes(w) * w.cols()).next_multiple_of(BLOB_ALIGNMENT);
    let bufs = BlobBuf::side_by_side(&heads.iter().map(len).collect::<Vec<_>>());
    heads.iter().zip(bufs).map(|(w, buf)| transpose(w, buf)).collect()
}

fn transposed_row_bytes(w: &Matrix) -> usize {
    transposed_dtype(w.dtype()).row_bytes(w.rows()).expect("float formats take any width")
}

/// The format of the transpose of a matrix in `dtype`.
pub(crate) const fn transposed_dtype(dtype: Dtype) -> Dtype {
    match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => dtype,
        _ => Dtype::F16,
    }
}

/// The transpose of `w` in memory of its own, `buf`.
fn transpose(w: &Matrix, mut buf: BlobBuf) -> Matrix {
    let (rows, cols) = (w.rows(), w.cols());
    let mut columns = vec![0.0f32; rows * cols];
    let mut row = vec![0.0; cols];
    for r in 0..rows {
        w.decode_row(r, &mut row);
        for (c, value) in row.iter().enumerate() {
            columns[c * rows + r] = *value;
        }
    }
    let (dtype, row_bytes) = (transposed_dtype(w.dtype()), transposed_row_bytes(w));
    for (values, out) in columns.chunks_exact(rows).zip(buf.as_mut_slice().chunks_exact_mut(row_bytes)) {
        shoal_quant::encode_row(dtype, values, out).expect("float formats encode");
    }
    Matrix::new(dtype, cols, rows, buf.freeze().slice(0..cols * row_bytes))
}
