//! `shoal logits`: the raw logits after given tokens, so that engines can be compared number by number.

use std::io::Write;

use anyhow::bail;
use serde::Serialize;
use shoal_base::TokenId;
use shoal_engine::{Scorer, scorer::Want};
use shoal_model::Phase;

use crate::args::LogitsArgs;
use crate::environment::Environment;
use crate::loaded::{Measure, Runtime, load};
use crate::resolve::open_model;

#[derive(Serialize)]
struct Output {
    positions: Vec<Position>,
}

#[derive(Serialize)]
struct Position {
    ids: Vec<u32>,
    logits: Vec<f32>,
}

pub(crate) fn run(args: &LogitsArgs, environment: &Environment) -> anyhow::Result<()> {
    let runtime = Runtime::new(&args.runtime, Measure::Never, environment)?;
    let loaded = load(open_model(Some(&args.model), environment)?, &runtime)?;
    let tokens: Vec<TokenId> = match &args.text {
        Some(text) => plain_sequence(&loaded.tokenizer, text),
        None => args.ids.iter().map(|&id| TokenId(id)).collect(),
    };
    if tokens.is_empty() {
        bail!("the text has no tokens, and so there is nothing after which to look");
    }
    let mut scorer = Scorer::new(&loaded.model, loaded.context_len);
    let mut positions = Vec::new();
    let chunk_count = tokens.len().div_ceil(loaded.prefill_chunk);
    for (i, chunk) in tokens.chunks(loaded.prefill_chunk).enumerate() {
        let want = match (args.all, i + 1 == chunk_count) {
            (true, _) => Want::All,
            (false, true) => Want::Last,
            (false, false) => Want::Nothing,
        };
        let logits = scorer.push(chunk, Phase::Prefill, want)?;
        positions.extend((0..logits.rows()).map(|row| best(logits.row(row), args.top)));
    }
    print(&Output { positions }, &tokens, args, &loaded.tokenizer)
}

/// `text` as a plain sequence of the model begins: with its first token where the tokenizer adds one.
pub(crate) fn plain_sequence(tokenizer: &shoal_text::Tokenizer, text: &str) -> Vec<TokenId> {
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    bos.into_iter().chain(tokenizer.encode(text)).collect()
}

fn best(logits: &[f32], top: usize) -> Position {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
    order.truncate(top);
    Position { logits: order.iter().map(|&id| logits[id as usize]).collect(), ids: order }
}

fn print(
    output: &Output,
    tokens: &[TokenId],
    args: &LogitsArgs,
    tokenizer: &shoal_text::Tokenizer,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, output)?;
        writeln!(out)?;
        return Ok(());
    }
    let first = tokens.len() - output.positions.len();
    for (i, position) in output.positions.iter().enumerate() {
        let text = |id: u32| format!("{:?}", String::from_utf8_lossy(tokenizer.token_bytes(TokenId(id))));
        let token = tokens[first + i];
        writeln!(out, "after token {} ({} {}):", first + i, token, text(token.0))?;
        for (id, logit) in position.ids.iter().zip(&position.logits) {
            writeln!(out, "{id:>8}  {logit:>12.6}  {}", text(*id))?;
        }
    }
    Ok(())
}
