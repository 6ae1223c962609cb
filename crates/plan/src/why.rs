//! How much is owed to each saving.
//!
//! Features are taken away in every order from the model as it is, down to a dense model of the same size with grouped-query attention in
//! BF16, and a feature's factor is the mean, over orders, of what it gives when it is added: the Shapley value of the logarithm. The
//! factors of all features multiply to the whole. A feature without which the model does not run there at all has no factor: it
//! *enables*, and stays in for the others.
//!
//! Source   Shapley, A value for n-person games (1953); planning equation 7.5 of `docs/decisions/0015`

use serde::Serialize;

use crate::attention::Attention;
use crate::forecast::{Ask, forecast, streams_at};
use crate::machine::Machine;
use crate::model::Model;

/// A saving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Compressed keys and values: MLA, and what V3.2 and V4 do further.
    LatentAttention,
    /// A few experts for each token, in place of all weights.
    SparseExperts,
    /// Fewer bits than 16 to a weight.
    LowBits,
    /// Tokens guessed ahead by a layer made for it.
    MultiTokenPrediction,
    /// Beginnings of prompts that are known already.
    PrefixCaching,
    /// Experts from a drive.
    Streaming,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::LatentAttention,
        Self::SparseExperts,
        Self::LowBits,
        Self::MultiTokenPrediction,
        Self::PrefixCaching,
        Self::Streaming,
    ];

    /// As a reader would call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LatentAttention => "compressed attention",
            Self::SparseExperts => "sparse experts",
            Self::LowBits => "low-bit weights",
            Self::MultiTokenPrediction => "multi-token prediction",
            Self::PrefixCaching => "prefix caching",
            Self::Streaming => "streaming from a drive",
        }
    }
}

/// What is held fixed.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// What is asked; of the streams as many as serve it.
    pub ask: Ask,
    /// Tokens per second that each conversation gets at the least; none where there is one conversation.
    pub per_s: Option<f64>,
    /// Of prompts' tokens, the share that is known.
    pub known_share: f64,
    /// Tokens of prompts to one of answers.
    pub input_ratio: f64,
}

impl Default for Setting {
    /// The mix that DeepSeek published for its own service (day 6 of its open-source week): 608 billion tokens in, 56.3 % of them known,
    /// 168 billion out.
    fn default() -> Self {
        Self { ask: Ask::default(), per_s: None, known_share: 0.563, input_ratio: 608.0 / 168.0 }
    }
}

/// What a feature gives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Credit {
    /// So many times.
    Factor(f64),
    /// It would not run without.
    Enables,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Tokens per second of one answer.
    Speed,
    /// Bytes of memory, weights and rows of one context.
    Memory,
    /// Machine time for a million tokens of answers with the prompts that belong to them.
    Cost,
}

/// The account of one measure.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// What is looked at.
    pub measure: Measure,
    /// The model as it is; `None` if it does not run.
    pub with_all: Option<f64>,
    /// The model without any feature that has a factor.
    pub without: Option<f64>,
    /// Each feature's part, in the order of [`Feature::ALL`].
    pub credits: Vec<(Feature, Credit)>,
}

/// A question about one model on one machine.
pub struct Why<'a> {
    /// The model.
    pub model: &'a Model,
    /// The machine.
    pub machine: &'a Machine,
    /// The rest.
    pub setting: Setting,
}

impl Why<'_> {
    /// The features that make a difference here.
    fn features(&self) -> Vec<Feature> {
        let streams = self.machine.drive.is_some();
        let is_there = |feature: &Feature| match feature {
            Feature::LatentAttention => !matches!(self.model.attention, Attention::Grouped { .. }),
            Feature::SparseExperts => self.model.moe.is_some(),
            Feature::LowBits => self.model.bytes() < 1.9 * self.model.parameters(),
            Feature::MultiTokenPrediction => self.model.drafts,
            Feature::PrefixCaching => true,
            Feature::Streaming => streams,
        };
        Feature::ALL.into_iter().filter(is_there).collect()
    }

    /// The account of one measure.
    #[must_use]
    pub fn account(&self, measure: Measure) -> Account {
        let all = self.features();
        let value = |on: &[Feature]| self.value(measure, on);
        let without_one = |feature: Feature| -> Vec<Feature> {
            all.iter().copied().filter(|&other| other != feature).collect()
        };
        let (enabling, rest): (Vec<Feature>, Vec<Feature>) =
            all.iter().copied().partition(|&feature| value(&without_one(feature)).is_none());
        let with = |chosen: &[Feature]| [&enabling, chosen].concat();
        let logs = |chosen: &[Feature]| value(&with(chosen)).map(f64::ln);
        // Without several it may not run even where it does without each: then the last resort is to say so of those as well.
        let credits = all.iter().map(|&feature| {
            let credit = if enabling.contains(&feature) { None } else { shapley(&rest, feature, &logs) };
            (feature, credit.map_or(Credit::Enables, |log| Credit::Factor(self.gain(measure, log))))
        });
        let credits = credits.collect();
        Account { measure, with_all: value(&all), without: value(&with(&[])), credits }
    }

    /// Speed is better when it is more, the others when they are less.
    fn gain(&self, measure: Measure, log: f64) -> f64 {
        if measure == Measure::Speed { log.exp() } else { (-log).exp() }
    }

    /// The measure with some features only; `None` if it does not run.
    fn value(&self, measure: Measure, on: &[Feature]) -> Option<f64> {
        let has = |feature| on.contains(&feature);
        let mut model = self.model.clone();
        if !has(Feature::LatentAttention) {
            model.attention = model.attention.as_grouped();
        }
        if !has(Feature::SparseExperts) {
            model = model.as_dense();
        }
        if !has(Feature::LowBits) {
            model = model.as_bf16();
        }
        let mut machine = self.machine.clone();
        if !has(Feature::Streaming) {
            machine.drive = None;
        }
        let drafts = if has(Feature::MultiTokenPrediction) { 1.0 } else { 0.0 };
        let ask = Ask { drafts, ..self.setting.ask };
        let alone = forecast(&model, &machine, &ask);
        let speed = alone.decode?.expected;
        match measure {
            Measure::Speed => Some(speed),
            Measure::Memory => {
                let rows = ask.context * model.attention.bytes_per_token(machine.kv_format);
                Some(if has(Feature::Streaming) && self.machine.drive.is_some() {
                    alone.memory_bytes
                } else {
                    model.bytes() + rows
                })
            }
            Measure::Cost => {
                let streams = match self.setting.per_s {
                    None => ask.streams,
                    Some(per_s) => streams_at(&model, &machine, &ask, per_s)?,
                };
                let together = forecast(&model, &machine, &Ask { streams, ..ask });
                let known = if has(Feature::PrefixCaching) { self.setting.known_share } else { 0.0 };
                let input = self.setting.input_ratio * (1.0 - known) / together.prefill?.expected;
                Some(input + 1.0 / together.decode_together?)
            }
        }
    }
}

/// The mean, over the orders of `all`, of what `feature` adds to `value`; `None` if some subset has no value.
fn shapley(all: &[Feature], feature: Feature, value: &dyn Fn(&[Feature]) -> Option<f64>) -> Option<f64> {
    let others: Vec<Feature> = all.iter().copied().filter(|&other| other != feature).collect();
    let factorial = |n: usize| (1..=n).map(|n| n as f64).product::<f64>();
    let mut sum = 0.0;
    for mask in 0..1u32 << others.len() {
        let mut chosen: Vec<Feature> =
            others.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, &it)| it).collect();
        let weight = factorial(chosen.len()) * factorial(others.len() - chosen.len()) / factorial(all.len());
        let before = value(&chosen)?;
        chosen.push(feature);
        sum += weight * (value(&chosen)? - before);
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_give_only_together_is_shared_and_the_rest_is_each_ones_own() {
        let all = [Feature::SparseExperts, Feature::LowBits, Feature::PrefixCaching];
        let value = |on: &[Feature]| {
            let has = |feature| on.contains(&feature);
            let together = if has(Feature::SparseExperts) && has(Feature::LowBits) { 4.0 } else { 0.0 };
            let alone = if has(Feature::SparseExperts) { 1.0 } else { 0.0 };
            Some(together + alone)
        };
        let of = |feature| shapley(&all, feature, &value).expect("every subset has a value");
        assert!((of(Feature::SparseExperts) - 3.0).abs() < 1e-12);
        assert!((of(Feature::LowBits) - 2.0).abs() < 1e-12);
        assert!(of(Feature::PrefixCaching).abs() < 1e-12);
        assert_eq!(shapley(&all, Feature::LowBits, &|on| (!on.is_empty()).then_some(1.0)), None);
    }
}
