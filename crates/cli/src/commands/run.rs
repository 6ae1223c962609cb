//! `shoal run`: one prompt answered, or a chat.

use std::io::{IsTerminal, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use shoal_base::{Bytes, TokenId};
use shoal_engine::{Engine, EngineOptions, SamplingParams};
use shoal_text::tools::CallFormat;
use shoal_text::{
    Effort, Message, Piece, Prompt, PromptOptions, PromptStyle, Role, Segment, Thinking, Tokenizer,
};

use crate::answer::{Answer, Ask, Ended, answer};
use crate::args::{RunArgs, SamplingArgs};
use crate::commands::chat;
use crate::division::Division;
use crate::environment::Environment;
use crate::loaded::{Loaded, Measure, Runtime, load};
use crate::meter::Rates;
use crate::resolve::{MINNOW, open_with_draft};
use crate::screen::Screen;
use crate::terminal::Dress;

/// Most of a prompt that is read from a pipe.
const STDIN_BYTES_MAX: u64 = 64 << 20;

/// A model, its engine, and how to ask it.
pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) engine: Engine,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) style: PromptStyle,
    pub(crate) sampling: SamplingParams,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stop: Vec<String>,
    pub(crate) thinking: Thinking,
    pub(crate) effort: Effort,
    pub(crate) interrupt: Arc<AtomicBool>,
    /// Prompts go on as they stand, without the model's chat format.
    raw: bool,
    rates: Rates,
    division: Division,
}

/// What is wished of one answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    /// Answers that were given to the same messages: each of them had another seed.
    pub(crate) answers_before: u64,
    /// For each token, how likely it and this many others were.
    pub(crate) logprobs: Option<usize>,
}

pub(crate) fn run(args: &RunArgs, environment: &Environment) -> anyhow::Result<()> {
    let (model, prompt) = model_and_prompt(args)?;
    let runtime = Runtime::new(&args.runtime, Measure::Once, environment)?.with_drafts(&args.draft);
    let checkpoint = open_with_draft(model, args.draft.draft_model.as_deref(), environment)?;
    let loaded = load(checkpoint, &runtime)?;
    if args.runtime.ctx.is_some_and(|ctx| ctx > loaded.context_len) {
        eprintln!("the model was made for {} tokens; the context is that long", loaded.context_len);
    }
    if !args.json && (args.runtime.memory.is_some() || !loaded.division.is_resident()) {
        let dress = Dress::new(args.color, environment, &std::io::stderr());
        eprintln!("{}{}{}", dress.dim(), loaded.division.line(), dress.plain());
    }
    let mut session = Session::new(loaded, args)?;
    match prompt {
        Some(prompt) => one_answer(&mut session, &prompt, args, environment),
        None if args.json => bail!("--json answers one prompt; give it as an argument or by a pipe"),
        None => chat::run(&mut session, args, environment),
    }
}

/// Which model, and which prompt if there is just one: `-` or a pipe stand for standard input.
fn model_and_prompt(args: &RunArgs) -> anyhow::Result<(Option<&str>, Option<String>)> {
    let (model, prompt) = match (args.model.as_deref(), args.prompt.as_deref()) {
        (Some("-"), None) => (None, Some("-")),
        other => other,
    };
    let prompt = match prompt {
        Some("-") => Some(read_stdin()?),
        Some(prompt) => Some(prompt.to_owned()),
        None if !std::io::stdin().is_terminal() => Some(read_stdin()?),
        None => None,
    };
    if prompt.as_ref().is_some_and(|prompt| prompt.trim().is_empty()) {
        bail!("the prompt is empty; give it as an argument, by a pipe, or start a chat in a terminal");
    }
    Ok((model, prompt))
}

fn read_stdin() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(STDIN_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .context("cannot read standard input")?;
    if bytes.len() as u64 > STDIN_BYTES_MAX {
        bail!("standard input is longer than a prompt may be, {}", Bytes(STDIN_BYTES_MAX));
    }
    let text = String::from_utf8(bytes).context("standard input is not UTF-8")?;
    Ok(text
        .strip_suffix('\n')
        .map_or(text.clone(), |text| text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

impl Session {
    fn new(loaded: Loaded, args: &RunArgs) -> anyhow::Result<Self> {
        let mut options = EngineOptions::for_one(loaded.context_len);
        options.prefill_chunk = loaded.prefill_chunk;
        options.draft_len = loaded.draft_len;
        let sampling = sampling(&args.sampling, &loaded.style);
        sampling.check()?;
        let interrupt = Arc::new(AtomicBool::new(false));
        Ok(Self {
            engine: Engine::new(loaded.model, options),
            tokenizer: loaded.tokenizer,
            // Minnow learned stories, and the form of a chat from sums alone: it goes on with what it is given.
            raw: args.raw || loaded.name == MINNOW,
            style: loaded.style,
            sampling,
            max_tokens: args.sampling.max_tokens,
            stop: args.sampling.stop.clone(),
            thinking: if args.no_think { Thinking::Off } else { Thinking::Default },
            effort: args.effort.into(),
            interrupt,
            rates: loaded.rates.context("the machine was measured")?,
            division: loaded.division,
            name: loaded.name,
        })
    }

    /// Asks for the answer to `messages`.
    pub(crate) fn ask(
        &mut self,
        messages: &[Message],
        wish: &Wish,
        on_segment: &mut dyn FnMut(&Segment) -> std::io::Result<()>,
    ) -> anyhow::Result<Answer> {
        let (prompt, reasoning_open) = self.prompt(messages)?;
        let room = self.engine.context_len().saturating_sub(prompt.len());
        let seed = self.sampling.seed.wrapping_add(wish.answers_before);
        let ask = Ask {
            prompt,
            reasoning_open,
            split_reasoning: !self.raw,
            sampling: SamplingParams { seed, ..self.sampling.clone() },
            max_tokens: self.max_tokens.unwrap_or(room).min(room),
            stop: self.stop.clone(),
            logprobs: wish.logprobs,
        };
        answer(&mut self.engine, &self.tokenizer, ask, &self.interrupt, on_segment)
    }

    /// Tokens of the prompt that `messages` make, and whether it opens reasoning.
    pub(crate) fn prompt(&self, messages: &[Message]) -> anyhow::Result<(Vec<TokenId>, bool)> {
        let prompt = if self.raw {
            raw_prompt(messages)
        } else {
            let (thinking, effort) = (self.thinking, self.effort);
            let options = PromptOptions { thinking, effort, ..PromptOptions::default() };
            self.style.render_with(messages, CallFormat::Hermes, &options)?
        };
        let mut tokens = self.tokenizer.encode_pieces(&prompt.pieces)?;
        if self.raw && self.tokenizer.adds_bos() {
            tokens.splice(0..0, self.tokenizer.bos());
        }
        Ok((tokens, prompt.reasoning_open))
    }

    /// The closing line of an answer.
    pub(crate) fn closing_line(&self, answer: &Answer) -> String {
        let ended = match answer.ended {
            Ended::Stop => String::new(),
            Ended::Length => " · cut at the limit of tokens".to_owned(),
            Ended::Interrupted => " · stopped".to_owned(),
        };
        format!("{}{ended}", answer.meter.line(&self.rates))
    }

    /// Makes Ctrl-C stop an answer while one runs, and the program otherwise.
    pub(crate) fn handle_interrupts(&self, answering: &Arc<AtomicBool>) -> anyhow::Result<()> {
        let (interrupt, answering) = (Arc::clone(&self.interrupt), Arc::clone(answering));
        ctrlc::set_handler(move || {
            if answering.load(Ordering::SeqCst) && !interrupt.swap(true, Ordering::SeqCst) {
                return;
            }
            std::process::exit(130);
        })
        .context("cannot take over Ctrl-C")
    }
}

fn raw_prompt(messages: &[Message]) -> Prompt {
    let text = messages.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n\n");
    Prompt { pieces: vec![Piece::Text(text)], reasoning_open: false }
}

/// What the arguments say, over what the makers of such models recommend.
pub(crate) fn sampling(args: &SamplingArgs, style: &PromptStyle) -> SamplingParams {
    let usual = SamplingParams::default();
    let filters_off = SamplingParams { top_k: 0, min_p: 0.0, ..usual.clone() };
    let recommended = match style {
        PromptStyle::DeepseekV2 => SamplingParams { temperature: 0.3, top_p: 0.95, ..filters_off },
        PromptStyle::DeepseekV3 { .. } | PromptStyle::DeepseekV31 => {
            SamplingParams { temperature: 0.6, top_p: 0.95, ..filters_off }
        }
        PromptStyle::DeepseekV32 => SamplingParams { temperature: 1.0, top_p: 0.95, ..filters_off },
        PromptStyle::DeepseekV4(_) => SamplingParams { temperature: 1.0, top_p: 1.0, ..filters_off },
        PromptStyle::ChatMl { .. } | PromptStyle::Template(_) | PromptStyle::Plain { .. } => usual,
    };
    SamplingParams {
        temperature: args.temp.unwrap_or(recommended.temperature),
        top_k: args.top_k.unwrap_or(recommended.top_k),
        top_p: args.top_p.unwrap_or(recommended.top_p),
        min_p: args.min_p.unwrap_or(recommended.min_p),
        repeat_penalty: args.repeat_penalty.unwrap_or(recommended.repeat_penalty),
        repeat_last_n: args.repeat_last_n.unwrap_or(recommended.repeat_last_n),
        frequency_penalty: args.frequency_penalty.unwrap_or(recommended.frequency_penalty),
        presence_penalty: args.presence_penalty.unwrap_or(recommended.presence_penalty),
        logit_bias: args.logit_bias.iter().map(|&(id, bias)| (TokenId(id), bias)).collect(),
        seed: args.seed.unwrap_or(recommended.seed),
    }
}

fn one_answer(
    session: &mut Session,
    prompt: &str,
    args: &RunArgs,
    environment: &Environment,
) -> anyhow::Result<()> {
    let answering = Arc::new(AtomicBool::new(true));
    session.handle_interrupts(&answering)?;
    let messages: Vec<Message> = (args.system.iter().map(|text| Message::new(Role::System, text.clone())))
        .chain([Message::new(Role::User, prompt)])
        .collect();
    if args.json {
        let answer = session.ask(&messages, &Wish::default(), &mut |_| Ok(()))?;
        return print_json(session, &answer);
    }
    let stdout = std::io::stdout();
    let mut screen = Screen::new(Dress::new(args.color, environment, &stdout), args.fold);
    let answer = session.ask(&messages, &Wish::default(), &mut |segment| screen.show(segment))?;
    screen.end()?;
    let dress = Dress::new(args.color, environment, &std::io::stderr());
    eprintln!("{}{}{}", dress.dim(), session.closing_line(&answer), dress.plain());
    Ok(())
}

fn print_json(session: &Session, answer: &Answer) -> anyhow::Result<()> {
    let object = serde_json::json!({
        "model": session.name,
        "answer": answer.text,
        "reasoning": answer.reasoning,
        "finish_reason": answer.ended.name(),
        "usage": {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        },
        "timings": answer.meter.timings(&session.rates),
        "memory": session.division,
    });
    Ok(writeln!(std::io::stdout().lock(), "{object}")?)
}
