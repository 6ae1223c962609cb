//! The catalogue of chips: data sheets, each number with where it is from.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// How far a number can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tag {
    /// Somebody measured it.
    Measured,
    /// The maker says so.
    Vendor,
    /// Nobody that is known does.
    Guessed,
}

/// A number with its source.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The number, in the unit of its key.
    pub value: f64,
    /// How far it can be trusted.
    pub tag: Tag,
    /// Where it is from.
    pub source: String,
    /// When it was true, of prices.
    pub date: Option<String>,
}

/// What kind of chip it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// With memory of its own.
    Gpu,
    /// A processor, or several cores of one, with the memory of the board.
    Cpu,
    /// Processor and GPU on one memory.
    Unified,
}

/// One chip.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chip {
    /// What users type.
    pub id: String,
    /// What else they may type.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What it is sold as.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// When it came out.
    pub year: u32,
    /// Gigabytes; the largest that was sold, of those with several.
    pub memory_gb: Option<Figure>,
    /// Gigabytes that it was sold with.
    #[serde(default)]
    pub memory_sizes_gb: Vec<f64>,
    /// Gigabytes per second of memory.
    pub bandwidth_gb_s: Figure,
    /// Of a processor.
    pub cores: Option<u32>,
    /// Of a processor: the widest instructions.
    pub isa: Option<String>,
    /// Dense, in 16 bits.
    pub fp16_tflops: Option<Figure>,
    /// Dense, in 8 bits.
    pub fp8_tflops: Option<Figure>,
    /// Dense, in 4 bits.
    pub fp4_tflops: Option<Figure>,
    /// Dense, of integers of 8 bits.
    pub int8_tops: Option<Figure>,
    /// To its peers, one way.
    pub link_gb_s: Option<Figure>,
    /// From the memory of its host.
    pub host_gb_s: Option<Figure>,
    /// Power.
    pub watts: Option<Figure>,
    /// To buy.
    pub price_usd: Option<Figure>,
    /// To rent.
    pub usd_per_hour: Option<Figure>,
}

impl Chip {
    /// Total processing performance: operations per second in units of 10^12, times the bits of what they are of, the largest of all
    /// precisions. The number that rules on export name.
    #[must_use]
    pub fn total_processing_performance(&self) -> Option<f64> {
        let rates = [
            (&self.fp16_tflops, 16.0),
            (&self.fp8_tflops, 8.0),
            (&self.int8_tops, 8.0),
            (&self.fp4_tflops, 4.0),
        ];
        let all = rates.into_iter().filter_map(|(rate, bits)| Some(rate.as_ref()?.value * bits));
        all.max_by(f64::total_cmp)
    }

    /// Operations per second with 16 bits, and with 8; what a chip lacks it does in what it has.
    #[must_use]
    pub fn flops(&self) -> (f64, f64) {
        let of = |figure: &Option<Figure>| figure.as_ref().map(|figure| figure.value * 1e12);
        let (half, byte) = (of(&self.fp16_tflops), of(&self.fp8_tflops).or(of(&self.int8_tops)));
        let half = half.or(byte).unwrap_or(1e12);
        (half, byte.unwrap_or(half).max(half))
    }
}

/// A price of the official service, in dollars for a million tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The service's name of the model.
    pub model: String,
    /// Of a prompt's tokens that it has seen.
    pub input_hit_usd: f64,
    /// Of those that it has not.
    pub input_miss_usd: f64,
    /// Of an answer's.
    pub output_usd: f64,
    /// When it was so.
    pub date: String,
    /// Where it is from.
    pub source: String,
    /// What else holds.
    #[serde(default)]
    pub note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChipFile {
    chip: Vec<Chip>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFile {
    price: Vec<Price>,
}

static CHIPS: LazyLock<Vec<Chip>> = LazyLock::new(|| {
    toml::from_str::<ChipFile>(include_str!("../data/chips.toml")).expect("a test reads this file").chip
});

static PRICES: LazyLock<Vec<Price>> = LazyLock::new(|| {
    toml::from_str::<PriceFile>(include_str!("../data/prices.toml")).expect("a test reads this file").price
});

/// All chips.
#[must_use]
pub fn all() -> &'static [Chip] {
    &CHIPS
}

/// Prices of the official service.
#[must_use]
pub fn prices() -> &'static [Price] {
    &PRICES
}

/// The chip that is called `name`, however it is written; or the names that are most like it.
///
/// # Errors
/// The nearest names.
pub fn find(name: &str) -> Result<&'static Chip, Vec<&'static str>> {
    let wanted = plain(name);
    let names = |chip: &'static Chip| {
        let more = chip.aliases.iter().map(String::as_str);
        more.chain([chip.id.as_str(), chip.name.as_str()])
    };
    if let Some(chip) = all().iter().find(|chip| names(chip).any(|name| plain(name) == wanted)) {
        return Ok(chip);
    }
    let likeness = |chip: &'static Chip| {
        let best = names(chip).map(|name| strsim::jaro_winkler(&plain(name), &wanted));
        best.max_by(f64::total_cmp).unwrap_or(0.0)
    };
    let mut ranked: Vec<_> = all().iter().map(|chip| (likeness(chip), chip.id.as_str())).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    Err(ranked.into_iter().take(3).map(|(_, id)| id).collect())
}

/// Without what people write in different ways.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric() || *c == '+').flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_chip_has_sound_numbers_and_names_of_its_own() {
        let mut names = BTreeSet::new();
        for chip in all() {
            for name in chip.aliases.iter().chain([&chip.id]) {
                assert!(names.insert(plain(name)), "{name} twice");
            }
            let figures = [
                &chip.memory_gb,
                &chip.fp16_tflops,
                &chip.fp8_tflops,
                &chip.fp4_tflops,
                &chip.int8_tops,
                &chip.link_gb_s,
                &chip.host_gb_s,
                &chip.watts,
                &chip.price_usd,
                &chip.usd_per_hour,
            ];
            for figure in figures.into_iter().flatten().chain([&chip.bandwidth_gb_s]) {
                assert!(figure.value > 0.0 && figure.value.is_finite(), "{}: {figure:?}", chip.id);
                assert!(!figure.source.is_empty(), "{}: {figure:?}", chip.id);
            }
            for priced in [&chip.price_usd, &chip.usd_per_hour].into_iter().flatten() {
                assert!(priced.date.is_some(), "{}: a price without a date", chip.id);
            }
            assert_eq!(chip.memory_gb.is_none(), chip.kind == Kind::Cpu, "{}", chip.id);
        }
        assert!(names.len() > 40);
    }

    #[test]
    fn what_export_rules_count_follows_from_the_rates() {
        // 1,979 tera-operations of 8 bits.
        let h100 = find("H100").expect("a chip").total_processing_performance().expect("rates");
        assert!((h100 - 15_832.0).abs() < 40.0, "{h100}");
        let h20 = find("h20").expect("a chip").total_processing_performance().expect("rates");
        assert!((h20 - 2368.0).abs() < 10.0, "{h20}");
    }

    #[test]
    fn a_name_is_found_however_it_is_written_and_a_wrong_one_has_neighbours() {
        for name in ["rtx3090", "RTX 3090", "rtx-3090"] {
            assert_eq!(find(name).map(|chip| chip.id.as_str()), Ok("rtx-3090"), "{name}");
        }
        let near = find("h2oo").expect_err("no such chip");
        assert!(near.iter().any(|name| name.starts_with("h20")), "{near:?}");
    }

    #[test]
    fn prices_are_dated() {
        assert!(!prices().is_empty());
        for price in prices() {
            assert!(price.output_usd > 0.0 && price.date.len() >= 7 && !price.source.is_empty(), "{price:?}");
        }
    }
}
