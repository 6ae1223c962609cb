//! A model as a list of tensors.

use shoal_checkpoint::Value;
use shoal_checkpoint::write::NewTensor;

use crate::Mix;

/// What a tensor is for, which decides its format and what numbers make sense in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Weights of a norm.
    Norm,
    /// What is added to something small: a bias, a base.
    Bias,
    /// Factors near 1.
    Scale,
    /// Ids below `count`.
    Ids {
        /// How many there are.
        count: u32,
    },
    /// The embedding table.
    Embedding,
    /// The output head.
    Output,
    /// Projections of attention, and the shared experts.
    Dense,
    /// The parts of latent projections that stand in blocks by head.
    Heads,
    /// Gate and up of a dense feed-forward network, or of routed experts.
    FeedForward,
    /// Its down projection.
    FeedForwardDown,
    /// Gate and up of all routed experts of a layer.
    Experts,
    /// Their down projections.
    ExpertsDown,
    /// The router.
    Router,
    /// Small matrices that are kept exact: hyper-connections, compressors, indexers.
    Delicate,
}

/// One tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorShape {
    /// Its name in a GGUF file.
    pub name: String,
    /// The fastest dimension first.
    pub shape: Vec<u64>,
    /// What it is for.
    pub purpose: Purpose,
}

impl TensorShape {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// A model of published dimensions, whole or some of its layers.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The name people use, such as `v4-flash`.
    pub name: &'static str,
    /// `general.architecture` of its files.
    pub architecture: &'static str,
    /// Metadata under the keys of a GGUF file.
    pub pairs: Vec<(String, Value)>,
    /// All tensors, in the order of a file.
    pub list: Vec<TensorShape>,
    /// Decoder layers.
    pub layers: usize,
    /// Routed experts that a token takes in a layer, and those there are; none in a dense model.
    pub experts: Option<(u64, u64)>,
}

impl Shape {
    /// The tensors in the formats of `mix`.
    #[must_use]
    pub fn tensors(&self, mix: Mix) -> Vec<NewTensor> {
        let stored = |tensor: &TensorShape| NewTensor {
            name: tensor.name.clone(),
            dtype: mix.dtype(tensor),
            shape: tensor.shape.clone(),
        };
        self.list.iter().map(stored).collect()
    }

    /// Number of weights.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.list.iter().map(TensorShape::elements).sum()
    }

    /// Bytes of a file.
    #[must_use]
    pub fn bytes(&self, mix: Mix) -> u64 {
        self.tensors(mix).iter().map(NewTensor::bytes).sum()
    }

    /// Bytes that a generated token reads within layers: of the experts only its own, nothing of embedding and head.
    #[must_use]
    pub fn layer_bytes_per_token(&self, mix: Mix) -> u64 {
        let of = |(shape, stored): (&TensorShape, NewTensor)| match shape.purpose {
            Purpose::Embedding | Purpose::Output | Purpose::Ids { .. } => 0,
            Purpose::Experts | Purpose::ExpertsDown => {
                self.experts.map_or(0, |(per_token, count)| stored.bytes() / count * per_token)
            }
            _ => stored.bytes(),
        };
        self.list.iter().zip(self.tensors(mix)).map(of).sum()
    }
}

/// A shape while it is put together.
pub(crate) struct Builder {
    shape: Shape,
}

impl Builder {
    pub(crate) fn new(name: &'static str, architecture: &'static str, layers: usize) -> Self {
        let pairs = vec![("general.architecture".to_owned(), Value::Str(architecture.to_owned()))];
        Self { shape: Shape { name, architecture, pairs, list: Vec::new(), layers, experts: None } }
    }

    pub(crate) fn put(&mut self, key: &str, value: Value) {
        self.shape.pairs.push((format!("{}.{key}", self.shape.architecture), value));
    }

    pub(crate) fn count(&mut self, key: &str, value: usize) {
        self.put(key, Value::U32(value as u32));
    }

    pub(crate) fn number(&mut self, key: &str, value: f64) {
        self.put(key, Value::F32(value as f32));
    }

    /// A tensor; `shape` has the slowest dimension first, as one writes a matrix.
    pub(crate) fn tensor(&mut self, name: impl Into<String>, shape: &[usize], purpose: Purpose) {
        let shape = shape.iter().rev().map(|&n| n as u64).collect();
        self.shape.list.push(TensorShape { name: format!("{}.weight", name.into()), shape, purpose });
    }

    /// A tensor whose name ends in `.bias`.
    pub(crate) fn bias(&mut self, name: &str, len: usize) {
        let shape = vec![len as u64];
        self.shape.list.push(TensorShape { name: format!("{name}.bias"), shape, purpose: Purpose::Bias });
    }

    /// What stands before and after the layers.
    pub(crate) fn ends(&mut self, vocab: usize, hidden: usize, tied: bool) {
        self.tensor("token_embd", &[vocab, hidden], Purpose::Embedding);
        self.tensor("output_norm", &[hidden], Purpose::Norm);
        if !tied {
            self.tensor("output", &[vocab, hidden], Purpose::Output);
        }
    }

    /// A network whose names end in `suffix`.
    pub(crate) fn feed_forward(&mut self, block: &str, suffix: &str, hidden: usize, width: usize) {
        let (up, down) = match suffix {
            "" => (Purpose::FeedForward, Purpose::FeedForwardDown),
            _ => (Purpose::Dense, Purpose::Dense),
        };
        self.tensor(format!("{block}ffn_gate{suffix}"), &[width, hidden], up);
        self.tensor(format!("{block}ffn_up{suffix}"), &[width, hidden], up);
        self.tensor(format!("{block}ffn_down{suffix}"), &[hidden, width], down);
    }

    /// The routed experts of a layer.
    pub(crate) fn experts(&mut self, block: &str, count: usize, hidden: usize, width: usize) {
        self.tensor(format!("{block}ffn_gate_exps"), &[count, width, hidden], Purpose::Experts);
        self.tensor(format!("{block}ffn_up_exps"), &[count, width, hidden], Purpose::Experts);
        self.tensor(format!("{block}ffn_down_exps"), &[count, hidden, width], Purpose::ExpertsDown);
    }

    pub(crate) fn finish(self, experts: Option<(usize, usize)>) -> Shape {
        let experts = experts.map(|(per_token, count)| (per_token as u64, count as u64));
        Shape { experts, ..self.shape }
    }
}
