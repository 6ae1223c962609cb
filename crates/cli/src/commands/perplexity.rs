//! `shoal perplexity`: how well a model predicts a text.
//!
//! The text is cut into windows of `--ctx` tokens. Each window is read from nothing, and the tokens of its second
//! half are scored: they have at least half a window before them. A tokenizer that opens a sequence with a token
//! of its own gets it in place of each window's first, as other engines do, so that numbers can be compared.

use std::io::Write;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use shoal_base::TokenId;
use shoal_engine::Scorer;
use shoal_engine::scorer::{Want, negative_log_likelihood};
use shoal_model::Phase;

use crate::args::{PerplexityArgs, RuntimeArgs};
use crate::environment::Environment;
use crate::loaded::{Measure, Runtime, load};
use crate::resolve::open_model;

pub(crate) fn run(args: &PerplexityArgs, environment: &Environment) -> anyhow::Result<()> {
    if args.ctx < 2 {
        bail!("--ctx {}: expected at least 2 tokens", args.ctx);
    }
    let text = std::fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let text = String::from_utf8(text).with_context(|| format!("{} is not UTF-8", args.file.display()))?;
    let runtime_args = RuntimeArgs {
        ctx: Some(args.ctx),
        threads: args.threads,
        memory: args.memory,
        isa: args.isa.clone(),
        prefill_chunk: None,
    };
    let runtime = Runtime::new(&runtime_args, Measure::Never, environment)?;
    let loaded = load(open_model(Some(&args.model), environment)?, &runtime)?;
    if args.ctx > loaded.context_len {
        bail!("--ctx {}: the model was made for {} tokens", args.ctx, loaded.context_len);
    }
    let mut tokens = loaded.tokenizer.encode(&text);
    tokens.truncate(args.tokens.unwrap_or(usize::MAX));
    let windows = tokens.len() / args.ctx;
    if windows == 0 {
        bail!(
            "the text has {} tokens, but a window has {}; give a longer text or a smaller --ctx",
            tokens.len(),
            args.ctx
        );
    }
    let bos = loaded.tokenizer.bos().filter(|_| loaded.tokenizer.adds_bos());
    let mut scorer = Scorer::new(&loaded.model, args.ctx);
    let bar = ProgressBar::new(windows as u64);
    let (mut sum, mut scored) = (0.0, 0usize);
    for window in tokens.chunks_exact(args.ctx) {
        let (nll, count) = score_window(&mut scorer, window, bos, loaded.prefill_chunk)?;
        sum += nll;
        scored += count;
        bar.inc(1);
        bar.set_message(format!("{:.3}", (sum / scored as f64).exp()));
    }
    bar.finish_and_clear();
    let perplexity = (sum / scored as f64).exp();
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::json!({ "ppl": perplexity, "tokens": scored }))?;
    } else {
        writeln!(out, "perplexity {perplexity:.4} over {scored} tokens ({windows} windows of {})", args.ctx)?;
    }
    Ok(())
}

/// Sum of the negative log-likelihoods of the second half, and how many there are.
fn score_window(
    scorer: &mut Scorer<'_>,
    window: &[TokenId],
    bos: Option<TokenId>,
    chunk: usize,
) -> anyhow::Result<(f64, usize)> {
    let mut input = window.to_vec();
    if let Some(bos) = bos {
        input[0] = bos;
    }
    let half = window.len() / 2;
    scorer.clear();
    // The token before the first scored one predicts it; logits of the rows before are not computed.
    for tokens in input[..half - 1].chunks(chunk) {
        scorer.push(tokens, Phase::Prefill, Want::Nothing)?;
    }
    let mut targets = window[half..].iter();
    let mut nll = 0.0;
    for tokens in input[half - 1..].chunks(chunk) {
        let logits = scorer.push(tokens, Phase::Prefill, Want::All)?;
        // The last row predicts what lies behind the window.
        let rows = (0..tokens.len()).zip(targets.by_ref());
        nll += rows.map(|(row, &target)| negative_log_likelihood(logits.row(row), target)).sum::<f64>();
    }
    Ok((nll, window.len() - half))
}
