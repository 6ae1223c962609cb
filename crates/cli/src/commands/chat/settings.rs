//! `/set`: what can be changed between two answers.

use std::borrow::Cow;

use anyhow::{Context, bail};
use shoal_engine::SamplingParams;
use shoal_text::{Effort, Thinking};

use super::Chat;
use crate::nearest::meant;

const SETTINGS: [&str; 13] = [
    "temp",
    "top_k",
    "top_p",
    "min_p",
    "repeat_penalty",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "max_tokens",
    "think",
    "effort",
    "fold",
    "tokens",
];

impl Chat<'_> {
    pub(super) fn show_settings(&self) {
        let SamplingParams { temperature, top_k, top_p, min_p, repeat_penalty, seed, .. } =
            &self.session.sampling;
        let SamplingParams { frequency_penalty, presence_penalty, .. } = &self.session.sampling;
        println!("temp {temperature}  top_k {top_k}  top_p {top_p}  min_p {min_p}  seed {seed}");
        println!(
            "repeat_penalty {repeat_penalty}  frequency_penalty {frequency_penalty}  presence_penalty {presence_penalty}"
        );
        let max_tokens = self.session.max_tokens.map_or(Cow::Borrowed("none"), |n| Cow::Owned(n.to_string()));
        let fold = if self.fold { "on" } else { "off" };
        let think = match self.session.thinking {
            Thinking::Default => "default",
            Thinking::On => "on",
            Thinking::Off => "off",
        };
        let effort = match self.session.effort {
            Effort::Low => "low",
            Effort::High => "high",
            Effort::Max => "max",
        };
        let tokens = if self.keeps_tokens { "on" } else { "off" };
        println!("max_tokens {max_tokens}  think {think}  effort {effort}  fold {fold}  tokens {tokens}");
    }

    pub(super) fn set(&mut self, setting: &str) -> anyhow::Result<()> {
        let (name, value) = setting.split_once(char::is_whitespace).context("expected /set NAME VALUE")?;
        let value = value.trim();
        let mut sampling = self.session.sampling.clone();
        match name {
            "temp" | "temperature" => sampling.temperature = parse(name, value)?,
            "top_k" => sampling.top_k = parse(name, value)?,
            "top_p" => sampling.top_p = parse(name, value)?,
            "min_p" => sampling.min_p = parse(name, value)?,
            "repeat_penalty" => sampling.repeat_penalty = parse(name, value)?,
            "frequency_penalty" => sampling.frequency_penalty = parse(name, value)?,
            "presence_penalty" => sampling.presence_penalty = parse(name, value)?,
            "seed" => sampling.seed = parse(name, value)?,
            "max_tokens" if value == "none" => self.session.max_tokens = None,
            "max_tokens" => self.session.max_tokens = Some(parse(name, value)?),
            "tokens" => self.keeps_tokens = parse_switch(name, value)?,
            "fold" => self.fold = parse_switch(name, value)?,
            "think" if value == "default" => self.session.thinking = Thinking::Default,
            "think" => {
                self.session.thinking = if parse_switch(name, value)? { Thinking::On } else { Thinking::Off };
            }
            "effort" => self.session.effort = parse_effort(value)?,
            _ => match meant(name, SETTINGS.iter().copied()) {
                Some(near) => bail!("no setting `{name}`; did you mean {near}?"),
                None => bail!("no setting `{name}`; /set shows them"),
            },
        }
        sampling.check()?;
        self.session.sampling = sampling;
        Ok(())
    }
}

pub(super) fn parse<T: std::str::FromStr>(name: &str, value: &str) -> anyhow::Result<T> {
    value.parse().map_err(|_| anyhow::anyhow!("{name}: expected a number, found `{value}`"))
}

fn parse_effort(value: &str) -> anyhow::Result<Effort> {
    match value {
        "low" => Ok(Effort::Low),
        "high" => Ok(Effort::High),
        "max" => Ok(Effort::Max),
        _ => bail!("effort: expected low, high or max, found `{value}`"),
    }
}

fn parse_switch(name: &str, value: &str) -> anyhow::Result<bool> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => bail!("{name}: expected on or off, found `{value}`"),
    }
}
