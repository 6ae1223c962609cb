//! A model as a planner sees it: bytes by what needs them, and attention.

use std::path::Path;

use shoal_checkpoint::{Checkpoint, Value};
use shoal_quant::Dtype;

use crate::attention::{Attention, Indexer};
use crate::shape::{Purpose, Shape};
use crate::{Error, Mix};

/// Who needs a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Every token.
    EveryToken,
    /// The tokens that a router sends there.
    Experts,
    /// A row of it, looked up.
    Lookup,
}

/// All weights of one role and format.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Who needs them.
    pub role: Role,
    /// How they are stored; `None` where only their size is known.
    pub format: Option<Dtype>,
    /// How many there are.
    pub weights: f64,
    /// Their size.
    pub bytes: f64,
}

/// The mixture of experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moe {
    /// Layers that have experts.
    pub layers: u64,
    /// Routed experts in each.
    pub experts: u64,
    /// Those that a token takes.
    pub per_token: u64,
    /// The most groups of experts that those are in, which can be as many machines.
    pub groups_used: u64,
}

/// A model.
#[derive(Clone, Debug)]
pub struct Model {
    /// What people call it.
    pub name: String,
    /// What people call its formats.
    pub quantisation: String,
    /// Decoder layers.
    pub layers: u64,
    /// Width of the residual.
    pub hidden: u64,
    /// The longest context it was made for.
    pub context_max: u64,
    /// Weights.
    pub parts: Vec<Part>,
    /// Experts, if it has any.
    pub moe: Option<Moe>,
    /// Attention.
    pub attention: Attention,
    /// Whether its makers published a layer that guesses ahead.
    pub drafts: bool,
}

impl Model {
    /// The model of published dimensions in the formats of `mix`.
    ///
    /// # Errors
    /// If metadata are missing, which those of this crate are not.
    pub fn of_shape(shape: &Shape, mix: Mix) -> Result<Self, Error> {
        let stored = shape.tensors(mix);
        let rows = shape.list.iter().zip(&stored).map(|(tensor, stored)| {
            (role_of(tensor.purpose), stored.dtype, tensor.elements() as f64, stored.bytes() as f64)
        });
        let find =
            |key: &str| shape.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        let keys = Keys { file: shape.name, architecture: shape.architecture, find: &find };
        let mut model = keys.model(merged(rows))?;
        model.quantisation = mix.name().to_owned();
        if shape.list.iter().all(|tensor| tensor.purpose != Purpose::Output) {
            model.use_embedding_as_head();
        }
        Ok(model)
    }

    /// The model in a file, whose tensors decide.
    ///
    /// # Errors
    /// If the file lacks a key that its architecture has, or is of an architecture that is not known.
    pub fn of_checkpoint(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let metadata = checkpoint.metadata();
        let file = Path::new(metadata.file()).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let architecture = metadata.str("general.architecture").ok().flatten().unwrap_or_default().to_owned();
        let find = |key: &str| metadata.get(key).cloned();
        let name = file.unwrap_or_default();
        let keys = Keys { file: &name, architecture: &architecture, find: &find };
        let layers = keys.count("block_count")? - keys.optional("nextn_predict_layers").unwrap_or(0);
        let used = |name: &str| layer_of(name).is_none_or(|layer| layer < layers);
        let rows = checkpoint.tensors().iter().filter(|tensor| used(&tensor.name)).map(|tensor| {
            let bytes = tensor.rows() * tensor.row_bytes();
            (role_of_name(&tensor.name), tensor.dtype, tensor.elements() as f64, bytes as f64)
        });
        let mut model = keys.model(merged(rows))?;
        model.layers = layers;
        if checkpoint.tensor("output.weight").is_none() {
            model.use_embedding_as_head();
        }
        Ok(model)
    }

    /// Number of weights.
    #[must_use]
    pub fn parameters(&self) -> f64 {
        self.parts.iter().map(|part| part.weights).sum()
    }

    /// Weights that a token takes: all that every token needs, and of the experts its own.
    #[must_use]
    pub fn active_parameters(&self) -> f64 {
        self.weights(Role::EveryToken) + self.weights(Role::Experts) * self.routed_share(1.0)
    }

    /// Bytes of all weights.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Bytes of the weights of a role.
    #[must_use]
    pub fn bytes_of(&self, role: Role) -> f64 {
        self.parts.iter().filter(|part| part.role == role).map(|part| part.bytes).sum()
    }

    fn weights(&self, role: Role) -> f64 {
        self.parts.iter().filter(|part| part.role == role).map(|part| part.weights).sum()
    }

    /// Bytes of one expert of one layer.
    #[must_use]
    pub fn expert_bytes(&self) -> f64 {
        self.moe.map_or(0.0, |moe| self.bytes_of(Role::Experts) / (moe.layers * moe.experts) as f64)
    }

    /// The share of all experts that `tokens` tokens need between them, if each goes anywhere as likely: 1 - (1 - k/E)^n.
    #[must_use]
    pub fn routed_share(&self, tokens: f64) -> f64 {
        self.moe.map_or(0.0, |moe| 1.0 - (1.0 - moe.per_token as f64 / moe.experts as f64).powf(tokens))
    }

    /// The same weights, all needed by every token.
    #[must_use]
    pub fn as_dense(&self) -> Self {
        let mut model = Self { moe: None, ..self.clone() };
        for part in model.parts.iter_mut().filter(|part| part.role == Role::Experts) {
            part.role = Role::EveryToken;
        }
        model
    }

    /// The same weights in two bytes each.
    #[must_use]
    pub fn as_bf16(&self) -> Self {
        let of = |part: &Part| Part { format: Some(Dtype::BF16), bytes: 2.0 * part.weights, ..part.clone() };
        Self { parts: self.parts.iter().map(of).collect(), ..self.clone() }
    }

    /// The same weights in so many bits each: experts, and all else.
    #[must_use]
    pub fn with_bits(&self, experts: f64, dense: f64) -> Self {
        let of = |part: &Part| {
            let bits = if part.role == Role::Experts { experts } else { dense };
            Part { format: None, bytes: bits / 8.0 * part.weights, ..part.clone() }
        };
        Self { parts: self.parts.iter().map(of).collect(), ..self.clone() }
    }

    fn use_embedding_as_head(&mut self) {
        let lookups = self.parts.iter_mut().filter(|part| part.role == Role::Lookup);
        lookups.for_each(|part| part.role = Role::EveryToken);
    }
}

const fn role_of(purpose: Purpose) -> Role {
    match purpose {
        Purpose::Experts | Purpose::ExpertsDown => Role::Experts,
        Purpose::Embedding | Purpose::Ids { .. } => Role::Lookup,
        _ => Role::EveryToken,
    }
}

fn role_of_name(name: &str) -> Role {
    if name.contains("_exps.") {
        Role::Experts
    } else if name.starts_with("token_embd.") || name.contains("_tid2eid") {
        Role::Lookup
    } else {
        Role::EveryToken
    }
}

/// The layer that a tensor of this name is in.
fn layer_of(name: &str) -> Option<u64> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

/// One part for each role and format, in the order in which they come first.
fn merged(rows: impl Iterator<Item = (Role, Dtype, f64, f64)>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (role, dtype, weights, bytes) in rows {
        match parts.iter_mut().find(|part| part.role == role && part.format == Some(dtype)) {
            Some(part) => {
                part.weights += weights;
                part.bytes += bytes;
            }
            None => parts.push(Part { role, format: Some(dtype), weights, bytes }),
        }
    }
    parts
}

/// Metadata under the keys of GGUF.
struct Keys<'a> {
    file: &'a str,
    architecture: &'a str,
    find: &'a dyn Fn(&str) -> Option<Value>,
}

impl Keys<'_> {
    fn model(&self, parts: Vec<Part>) -> Result<Model, Error> {
        let layers = self.count("block_count")?;
        let experts = self.optional("expert_count").filter(|&count| count > 0);
        let moe = match experts {
            None => None,
            Some(experts) => {
                let per_token = self.count("expert_used_count")?.min(experts);
                let groups = self.optional("expert_group_used_count").filter(|&groups| groups > 1);
                Some(Moe {
                    layers: layers - self.optional("leading_dense_block_count").unwrap_or(0).min(layers),
                    experts,
                    per_token,
                    groups_used: groups.unwrap_or(per_token).min(per_token),
                })
            }
        };
        Ok(Model {
            name: self.file.to_owned(),
            quantisation: String::new(),
            layers,
            hidden: self.count("embedding_length")?,
            context_max: self.count("context_length")?,
            parts,
            moe,
            attention: self.attention(layers)?,
            drafts: matches!(self.architecture, "deepseek4")
                || self.optional("expert_gating_func") == Some(2),
        })
    }

    fn attention(&self, layers: u64) -> Result<Attention, Error> {
        let heads = self.count("attention.head_count")?;
        match self.architecture {
            "deepseek4" => Ok(Attention::Compressed {
                ratios: self.list("attention.compress_ratios")?,
                heads,
                head: self.count("attention.key_length")?,
                window: self.count("attention.sliding_window")?,
                indexer: self.indexer()?,
            }),
            "deepseek2" | "deepseek32" => {
                let rope = self.count("rope.dimension_count")?;
                // Files from before the absorbed form give the widths of heads under the plain keys.
                let key = self.optional("attention.key_length_mla");
                let key = key.map_or_else(|| self.count("attention.key_length"), Ok)?;
                let value = self.optional("attention.value_length_mla");
                Ok(Attention::Latent {
                    layers,
                    heads,
                    rank: self.count("attention.kv_lora_rank")?,
                    rope,
                    nope: key.saturating_sub(rope),
                    value: value.map_or_else(|| self.count("attention.value_length"), Ok)?,
                    indexer: self.optional("attention.indexer.top_k").map(|_| self.indexer()).transpose()?,
                })
            }
            "llama" | "qwen2" => Ok(Attention::Grouped {
                layers,
                heads,
                kv_heads: self.optional("attention.head_count_kv").unwrap_or(heads),
                head: match self.optional("attention.key_length") {
                    Some(width) => width,
                    None => self.count("embedding_length")? / heads,
                },
            }),
            other => Err(Error::Architecture { file: self.file.to_owned(), found: other.to_owned() }),
        }
    }

    fn indexer(&self) -> Result<Indexer, Error> {
        Ok(Indexer {
            heads: self.count("attention.indexer.head_count")?,
            width: self.count("attention.indexer.key_length")?,
            top_k: self.count("attention.indexer.top_k")?,
        })
    }

    /// A number above 0.
    fn count(&self, name: &str) -> Result<u64, Error> {
        self.optional(name).filter(|&count| count > 0).ok_or_else(|| self.missing(name, "a number above 0"))
    }

    fn optional(&self, name: &str) -> Option<u64> {
        number(&(self.find)(&self.key(name))?)
    }

    fn list(&self, name: &str) -> Result<Vec<u64>, Error> {
        match (self.find)(&self.key(name)) {
            Some(Value::U32s(list)) => Ok(list.into_iter().map(u64::from).collect()),
            Some(Value::I32s(list)) => Ok(list.into_iter().map(|n| u64::from(n.unsigned_abs())).collect()),
            _ => Err(self.missing(name, "a list of numbers")),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn missing(&self, name: &str, expected: &'static str) -> Error {
        Error::Missing { file: self.file.to_owned(), key: self.key(name), expected }
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::U8(n) => Some(u64::from(*n)),
        Value::U16(n) => Some(u64::from(*n)),
        Value::U32(n) => Some(u64::from(*n)),
        Value::U64(n) => Some(*n),
        Value::I32(n) => u64::try_from(*n).ok(),
        Value::I64(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}
