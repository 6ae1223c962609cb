//! `shoal inspect`: what a file holds, before any weight is read.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;
use shoal_base::Bytes;
use shoal_checkpoint::{Checkpoint, Source, TensorInfo};
use shoal_model::kv_cache::KvSizes;
use shoal_model::{KvCache, ModelConfig};
use shoal_text::Tokenizer;

use crate::args::InspectArgs;
use crate::division::working_memory;
use crate::environment::Environment;
use crate::loaded::{prompt_style, vocab_spec};
use crate::resolve::open_model;
use crate::terminal::{one_line, printable};

#[derive(Serialize)]
struct Report {
    name: String,
    architecture: String,
    parameters: u64,
    file_bytes: u64,
    parts: usize,
    layers: usize,
    hidden_size: usize,
    context_length: usize,
    vocab_size: usize,
    groups: Vec<Group>,
    memory: Memory,
    tokenizer: TokenizerReport,
    template: Option<String>,
}

#[derive(Serialize)]
struct Group {
    name: &'static str,
    dtype: &'static str,
    tensors: usize,
    parameters: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Memory {
    context: usize,
    weights_bytes: u64,
    kv_bytes: u64,
    working_bytes: u64,
    total_bytes: u64,
}

#[derive(Serialize)]
struct TokenizerReport {
    pre: String,
    tokens: usize,
    prompt_style: &'static str,
}

pub(crate) fn run(args: &InspectArgs, environment: &Environment) -> anyhow::Result<()> {
    let checkpoint = open_model(Some(&args.model), environment)?;
    let report = report(&checkpoint, args.ctx)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
        return Ok(());
    }
    let mut text = Vec::new();
    print(&report, &mut text)?;
    if args.metadata {
        writeln!(text)?;
        for (key, value) in checkpoint.metadata().iter() {
            let shown: String = format!("{value:?}").chars().take(100).collect();
            writeln!(text, "{key:<48} {shown}")?;
        }
    }
    if args.tensors {
        writeln!(text)?;
        for t in checkpoint.tensors() {
            writeln!(
                text,
                "{:<40} {:<8} {:>24} {:>10}",
                t.name,
                t.dtype.name(),
                shape(t),
                Bytes(t.bytes).to_string()
            )?;
        }
    }
    // Names come from the file.
    Ok(out.write_all(printable(&String::from_utf8_lossy(&text)).as_bytes())?)
}

fn shape(tensor: &TensorInfo) -> String {
    tensor.shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ")
}

fn report(checkpoint: &Checkpoint, context: usize) -> anyhow::Result<Report> {
    let config = ModelConfig::read(checkpoint)?;
    let metadata = checkpoint.metadata();
    let spec = vocab_spec(metadata)?;
    let (pre, tokens) = (spec.pre.clone(), spec.tokens.len());
    let tokenizer = Tokenizer::new(spec)?;
    let template = metadata.str("tokenizer.chat_template")?;
    let style = prompt_style(metadata, &tokenizer)?;
    let common = config.common();
    // As for a run: 0 is the longest, and no more than that.
    let context = Some(context).filter(|&context| context > 0).unwrap_or(usize::MAX);
    let context = context.min(common.max_position_embeddings);
    let weights_bytes = checkpoint
        .tensors()
        .iter()
        .filter(|t| shoal_model::Model::role(&config, t) != shoal_model::Role::Unused)
        .map(|t| t.bytes)
        .sum();
    let kv_bytes = KvCache::bytes_for(&config, KvSizes::for_sequences(1, context));
    let working_bytes = working_memory(&config, context);
    Ok(Report {
        name: one_line(&checkpoint.name()),
        architecture: metadata.required_str("general.architecture")?.to_owned(),
        parameters: checkpoint.tensors().iter().map(TensorInfo::elements).sum(),
        file_bytes: checkpoint.file_bytes(),
        parts: checkpoint.sources().iter().filter(|source| !matches!(source, Source::Computed(_))).count(),
        layers: common.num_hidden_layers,
        hidden_size: common.hidden_size,
        context_length: common.max_position_embeddings,
        vocab_size: common.vocab_size,
        groups: groups(checkpoint.tensors()),
        memory: Memory {
            context,
            weights_bytes,
            kv_bytes,
            working_bytes,
            total_bytes: weights_bytes + kv_bytes + working_bytes,
        },
        tokenizer: TokenizerReport { pre, tokens, prompt_style: style.name() },
        template: template.map(str::to_owned),
    })
}

/// What a tensor is for, by its name.
fn group_of(name: &str) -> &'static str {
    let part = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')).map_or(name, |(_, part)| part);
    match part {
        _ if part.starts_with("token_embd") || part.starts_with("output.") => "embedding and output",
        _ if part.contains("_exps") => "routed experts",
        _ if part.contains("_shexp") => "shared experts",
        _ if part.starts_with("ffn_gate_inp") || part.starts_with("exp_probs") => "router",
        _ if part.starts_with("nextn") => "draft",
        _ if part.contains("norm") => "norms",
        _ if part.starts_with("attn") => "attention",
        _ if part.starts_with("ffn") => "dense feed-forward",
        _ => "other",
    }
}

fn groups(tensors: &[TensorInfo]) -> Vec<Group> {
    let mut by_kind: BTreeMap<(&'static str, &'static str), Group> = BTreeMap::new();
    for tensor in tensors {
        let (name, dtype) = (group_of(&tensor.name), tensor.dtype.name());
        let group = by_kind.entry((name, dtype)).or_insert(Group {
            name,
            dtype,
            tensors: 0,
            parameters: 0,
            bytes: 0,
        });
        group.tensors += 1;
        group.parameters += tensor.elements();
        group.bytes += tensor.bytes;
    }
    let mut groups: Vec<Group> = by_kind.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.bytes));
    groups
}

fn print(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    let millions = |n: u64| {
        if n >= 1_000_000_000 {
            format!("{:.2} B", n as f64 / 1e9)
        } else {
            format!("{:.2} M", n as f64 / 1e6)
        }
    };
    let parts = if report.parts > 1 { format!(" in {} parts", report.parts) } else { String::new() };
    writeln!(out, "{}", report.name)?;
    writeln!(out, "  architecture  {}, {} parameters", report.architecture, millions(report.parameters))?;
    writeln!(out, "  file          {}{parts}", Bytes(report.file_bytes))?;
    writeln!(
        out,
        "  shape         {} layers of width {}, trained for {} tokens",
        report.layers, report.hidden_size, report.context_length
    )?;
    let TokenizerReport { pre, tokens, prompt_style } = &report.tokenizer;
    writeln!(out, "  tokenizer     {tokens} tokens, splits as {pre}")?;
    let template =
        if report.template.is_some() { "the file has a template" } else { "no template in the file" };
    writeln!(out, "  prompts       {prompt_style}; {template}")?;
    let memory = &report.memory;
    writeln!(
        out,
        "  memory        {} for {} tokens: weights {}, KV cache {}, working {}",
        Bytes(memory.total_bytes),
        memory.context,
        Bytes(memory.weights_bytes),
        Bytes(memory.kv_bytes),
        Bytes(memory.working_bytes)
    )?;
    writeln!(out)?;
    writeln!(out, "  {:<22} {:<8} {:>8} {:>12} {:>12}", "tensors", "type", "count", "parameters", "size")?;
    for group in &report.groups {
        let size = Bytes(group.bytes).to_string();
        let parameters = millions(group.parameters);
        writeln!(
            out,
            "  {:<22} {:<8} {:>8} {parameters:>12} {size:>12}",
            group.name, group.dtype, group.tensors
        )?;
    }
    Ok(())
}
