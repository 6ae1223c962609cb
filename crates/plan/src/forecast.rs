//! Whether a model runs on a machine, how fast, in how much memory, what binds it, and what one change would give.

use serde::Serialize;

use crate::machine::{Drive, Machine};
use crate::model::Model;
use crate::place::{Lacks, Need, Placement};
use crate::step::{Load, Phase, StepTime, step_time};

/// What is asked of a model.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Conversations at a time.
    pub streams: f64,
    /// Positions that each may have, for which memory is kept.
    pub context: f64,
    /// Tokens of a prompt whose first answer is waited for.
    pub prompt: f64,
    /// Prompts that are read together.
    pub prompts: f64,
    /// Positions at which an answer's speed is given.
    pub position: f64,
    /// Tokens that are guessed ahead in each step.
    pub drafts: f64,
    /// How often a guess is right.
    pub acceptance: f64,
    /// Bytes for the program and for activations.
    pub working: f64,
}

impl Default for Ask {
    fn default() -> Self {
        let (context, prompt, position) = (4096.0, 512.0, 512.0);
        Self {
            streams: 1.0,
            prompts: 1.0,
            context,
            prompt,
            position,
            drafts: 0.0,
            acceptance: 0.85,
            working: 1e9,
        }
    }
}

/// How it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All in memory.
    Fits,
    /// With experts from the drive.
    Streams,
    /// Not at all.
    No,
}

/// Tokens per second, and between which it is likely to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// As computed.
    pub expected: f64,
    /// At the worst.
    pub low: f64,
    /// At the best.
    pub high: f64,
}

impl Rate {
    fn new(expected: f64, spread: f64) -> Self {
        Self { expected, low: expected / spread, high: expected * spread }
    }
}

/// What will be.
#[derive(Clone, Debug, Serialize)]
pub struct Forecast {
    /// The model.
    pub model: String,
    /// Its formats.
    pub quantisation: String,
    /// Bytes of its files.
    pub file_bytes: f64,
    /// How it runs.
    pub verdict: Verdict,
    /// Tokens per second of one answer.
    pub decode: Option<Rate>,
    /// Tokens per second of all answers together.
    pub decode_together: Option<f64>,
    /// Tokens per second of a prompt.
    pub prefill: Option<Rate>,
    /// Seconds to the first token of an answer.
    pub first_token_s: Option<f64>,
    /// Bytes of memory that it takes, or would take at the least.
    pub memory_bytes: f64,
    /// The share of its experts that are in memory.
    pub experts_in_memory: f64,
    /// Bytes of a drive that it needs.
    pub drive_bytes: f64,
    /// What takes most of an answer's time.
    pub binds: &'static str,
    /// What takes most of a prompt's time.
    pub prefill_binds: &'static str,
}

/// One change and what it gives.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// What is changed.
    pub what: String,
    /// Tokens per second of an answer then.
    pub decode_per_s: f64,
}

/// What `model` does on `machine`.
#[must_use]
pub fn forecast(model: &Model, machine: &Machine, ask: &Ask) -> Forecast {
    let need = Need { streams: ask.streams, context: ask.context, working: ask.working };
    let blank = Forecast {
        model: model.name.clone(),
        quantisation: model.quantisation.clone(),
        file_bytes: model.bytes(),
        verdict: Verdict::No,
        decode: None,
        decode_together: None,
        prefill: None,
        first_token_s: None,
        memory_bytes: 0.0,
        experts_in_memory: 0.0,
        drive_bytes: model.bytes(),
        binds: "memory",
        prefill_binds: "memory",
    };
    let placement = match Placement::new(model, machine, need) {
        Ok(placement) => placement,
        Err(Lacks { memory, drive }) => {
            return Forecast { memory_bytes: memory, drive_bytes: drive, ..blank };
        }
    };
    let (decode, time) = decode_per_s(model, machine, &placement, ask);
    let (prefill, prompt_s, prompt_time) = prefill_per_s(model, machine, &placement, ask);
    Forecast {
        verdict: if placement.on_drive > 0.0 { Verdict::Streams } else { Verdict::Fits },
        decode: Some(Rate::new(decode, machine.spread)),
        decode_together: Some(decode * ask.streams),
        prefill: Some(Rate::new(prefill, machine.spread)),
        first_token_s: Some(prompt_s + time.total),
        memory_bytes: placement.memory,
        experts_in_memory: placement.in_memory(),
        drive_bytes: model.bytes(),
        binds: time.binds(Phase::Decode),
        prefill_binds: prompt_time.binds(Phase::Prefill),
        ..blank
    }
}

/// Tokens per second of each answer, and where the time of a step goes.
#[must_use]
pub fn decode_per_s(model: &Model, machine: &Machine, placement: &Placement, ask: &Ask) -> (f64, StepTime) {
    let tokens = 1.0 + ask.drafts;
    let load = Load { phase: Phase::Decode, streams: ask.streams, tokens, context: ask.position };
    let time = step_time(model, machine, placement, load);
    // A guess counts if all before it were right: 1 + p + p^2 ...
    let kept = (0..=ask.drafts as i32).map(|n| ask.acceptance.powi(n)).sum::<f64>();
    (kept / time.total, time)
}

/// Tokens per second of prompts, their seconds, and where those of its first step go.
#[must_use]
pub fn prefill_per_s(
    model: &Model,
    machine: &Machine,
    placement: &Placement,
    ask: &Ask,
) -> (f64, f64, StepTime) {
    let all = ask.prompts * ask.prompt;
    let chunk = machine.prefill_chunk.min(all).max(1.0);
    let step = |tokens: f64| {
        let streams = (tokens / ask.prompt).max(1.0);
        let load = Load { phase: Phase::Prefill, streams, tokens: tokens / streams, context: ask.prompt };
        step_time(model, machine, placement, load)
    };
    let first = step(chunk);
    let (whole, rest) = ((all / chunk).floor(), all % chunk);
    let seconds = whole * first.total + if rest >= 1.0 { step(rest).total } else { 0.0 };
    (all / seconds, seconds, first)
}

/// What one change would give an answer of `model`, most first; only what gives a tenth or more.
#[must_use]
pub fn changes(model: &Model, machine: &Machine, ask: &Ask) -> Vec<Change> {
    let rate =
        |machine: &Machine, ask: &Ask| forecast(model, machine, ask).decode.map_or(0.0, |it| it.expected);
    let now = rate(machine, ask);
    let mut all = Vec::new();
    if let Some(last) = machine.tiers.len().checked_sub(1) {
        for more in [16e9, 64e9] {
            let mut larger = machine.clone();
            larger.tiers[last].capacity += more;
            let what = format!("{:.0} GB more memory", more / 1e9);
            all.push(Change { what, decode_per_s: rate(&larger, ask) });
        }
    }
    if let Some(drive) = machine.drive {
        let drive = Drive { bytes_per_s: 2.0 * drive.bytes_per_s, ..drive };
        let what = "a drive twice as fast".to_owned();
        all.push(Change {
            what,
            decode_per_s: rate(&Machine { drive: Some(drive), ..machine.clone() }, ask),
        });
    }
    if ask.context > 4096.0 {
        let shorter = Ask { context: 4096.0, position: ask.position.min(4096.0), ..*ask };
        all.push(Change { what: "a context of 4096".to_owned(), decode_per_s: rate(machine, &shorter) });
    }
    all.retain(|change| change.decode_per_s > 1.1 * now);
    all.sort_by(|a, b| b.decode_per_s.total_cmp(&a.decode_per_s));
    // Of two sizes of the same change the larger stands only if it gives more.
    all
}

/// The most conversations at a time of which each gets `per_s` tokens per second or more; `None` if not one does.
#[must_use]
pub fn streams_at(model: &Model, machine: &Machine, ask: &Ask, per_s: f64) -> Option<f64> {
    /// More than any machine serves.
    const MOST: f64 = 8192.0;
    let serves = |streams: f64| {
        let ask = Ask { streams, ..*ask };
        forecast(model, machine, &ask).decode.is_some_and(|rate| rate.expected >= per_s)
    };
    let mut best = None;
    let mut streams = 1.0;
    while streams <= MOST {
        if serves(streams) {
            best = Some(streams);
        }
        streams = (streams * 1.2f64).floor() + 1.0;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mix, hardware, presets};

    fn model(name: &str, mix: Mix) -> Model {
        Model::of_shape(&presets::shape(name, None).expect("a preset"), mix).expect("a model")
    }

    #[test]
    fn guesses_count_as_far_as_all_before_them_were_right() {
        let model = model("r1-qwen-7b", Mix::Q8);
        let mut machine = hardware::parse("h100").expect("a machine");
        machine.constants.layer_s = 0.0;
        let rate = |drafts, acceptance| {
            let ask = Ask { drafts, acceptance, ..Ask::default() };
            forecast(&model, &machine, &ask).decode.expect("it fits").expected
        };
        // A dense model reads the same bytes for one token and for three.
        assert!((rate(2.0, 0.5) / rate(0.0, 0.5) - 1.75).abs() < 0.02, "{}", rate(2.0, 0.5) / rate(0.0, 0.5));
        assert!(rate(2.0, 0.9) > rate(2.0, 0.5));
    }

    #[test]
    fn changes_that_help_are_named_and_others_are_not() {
        let model = model("v4-flash", Mix::Q2);
        let machine = hardware::parse("ryzen-9950x 16GB nvme:5GB/s").expect("a machine");
        let found = changes(&model, &machine, &Ask::default());
        assert!(found.iter().any(|change| change.what == "64 GB more memory"), "{found:?}");
        assert!(found.iter().any(|change| change.what == "a drive twice as fast"), "{found:?}");
        assert!(found.is_sorted_by(|a, b| a.decode_per_s >= b.decode_per_s), "{found:?}");
        let roomy = hardware::parse("ryzen-9950x 192GB nvme:5GB/s").expect("a machine");
        assert!(changes(&model, &roomy, &Ask::default()).is_empty());
    }

    #[test]
    fn what_has_no_room_says_how_much_it_needs() {
        let model = model("v3", Mix::Q4KM);
        let no_drive = forecast(&model, &hardware::parse("epyc-9654 256GB").expect("one"), &Ask::default());
        assert_eq!((no_drive.verdict, no_drive.decode), (Verdict::No, None));
        let small_drive = hardware::parse("epyc-9654 256GB nvme:5GB/s:200GB").expect("a machine");
        assert_eq!(forecast(&model, &small_drive, &Ask::default()).verdict, Verdict::No);
        let drive = hardware::parse("epyc-9654 256GB nvme:5GB/s:500GB").expect("a machine");
        let streams = forecast(&model, &drive, &Ask::default());
        assert_eq!(streams.verdict, Verdict::Streams);
        assert!(streams.memory_bytes <= 256e9 && streams.experts_in_memory < 1.0, "{streams:?}");
        let fits = forecast(&model, &hardware::parse("epyc-9654 512GB").expect("one"), &Ask::default());
        assert_eq!((fits.verdict, fits.experts_in_memory), (Verdict::Fits, 1.0));
        assert!(fits.decode.expect("it fits").expected > streams.decode.expect("it runs").expected);
    }
}
