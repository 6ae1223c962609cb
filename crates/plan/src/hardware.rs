//! From what people type to a machine: `8x H20`, `rtx3090 + epyc7443 128GB nvme:7GB/s`, `m3-ultra-512`.
//!
//! Parts are joined by `+` or blanks. A part is a chip, with how many of it there are before its name; a size, which is the memory of the
//! processor or of the unified chip; or a drive with its speed, and its size if that matters.

use shoal_base::Bytes;

use crate::Error;
use crate::attention::KvFormat;
use crate::chips::{self, Chip, Figure, Kind};
use crate::machine::{Constants, Drive, Link, Machine, Speed, Tier};

/// Bytes of each device that its engine takes.
const DEVICE_RESERVED: f64 = 4e9;
/// Of small devices and of hosts a sixteenth.
const RESERVED_SHARE: f64 = 1.0 / 16.0;
/// Share of rated bandwidth that products of one token reach on GPUs.
const GPU_READ_SHARE: f64 = 0.8;
/// The same on processors.
const CPU_READ_SHARE: f64 = 0.55;
/// What each further socket adds of its bandwidth.
const SOCKET_SHARE: f64 = 0.75;
/// Share of a bus that copies of experts to a GPU reach.
const COPY_SHARE: f64 = 0.75;
/// The most devices that anybody can ask for.
const DEVICES_MAX: u32 = 1024;
/// What a cable between whole machines gives where nothing is said, and how long an exchange takes.
const CABLE: (f64, f64) = (25e9, 3e-5);
/// Devices of one machine; more are several, each device with a network card of 400 Gb/s.
const NODE: u32 = 8;
const NETWORK: f64 = 50e9;
/// How long an exchange takes within one machine.
const EXCHANGE_S: f64 = 1e-5;
/// Hours that a bought machine lasts: four years.
const LIFE_HOURS: f64 = 4.0 * 8766.0;
/// Predictions for machines that nothing was measured on are within this factor.
const SPREAD: f64 = 1.35;

/// The machine that `spec` describes.
///
/// # Errors
/// A sentence on the first part that is not understood, with the nearest names.
pub fn parse(spec: &str) -> Result<Machine, Error> {
    let hardware = |reason: String| Error::Hardware { spec: spec.to_owned(), reason };
    Parts::read(spec).and_then(|parts| parts.machine(spec)).map_err(hardware)
}

/// What a description names.
#[derive(Default)]
struct Parts {
    accelerator: Option<(u32, &'static Chip, Option<f64>)>,
    processor: Option<(u32, &'static Chip)>,
    memory: Option<f64>,
    drive: Option<Drive>,
}

impl Parts {
    fn read(spec: &str) -> Result<Self, String> {
        let mut parts = Self::default();
        let mut name: Vec<&str> = Vec::new();
        let mut count = 1;
        let spaced = spec.replace('+', " + ");
        for word in spaced.split_whitespace() {
            if word == "+" {
                parts.add_chip(&mut name, &mut count)?;
            } else if let Some((kind, rate)) = word.split_once(':') {
                parts.add_chip(&mut name, &mut count)?;
                parts.add_drive(kind, rate)?;
            } else if let Some(bytes) = size(word)? {
                parts.add_chip(&mut name, &mut count)?;
                parts.add_memory(bytes)?;
            } else if let Some((number, rest)) = counted(word)? {
                parts.add_chip(&mut name, &mut count)?;
                count = number;
                name.extend((!rest.is_empty()).then_some(rest));
            } else {
                name.push(word);
            }
        }
        parts.add_chip(&mut name, &mut count)?;
        Ok(parts)
    }

    fn add_chip(&mut self, name: &mut Vec<&str>, count: &mut u32) -> Result<(), String> {
        if name.is_empty() {
            return Ok(());
        }
        let text = name.join(" ");
        let (chip, memory) = match chips::find(&text) {
            Ok(chip) => (chip, None),
            Err(near) => sized(&text).ok_or_else(|| {
                format!("no chip is called `{text}`; the nearest are {}", near.join(", "))
            })??,
        };
        let count = std::mem::replace(count, 1);
        name.clear();
        match chip.kind {
            Kind::Cpu if self.processor.is_some() => Err("expected one kind of processor".to_owned()),
            Kind::Cpu => {
                self.processor = Some((count, chip));
                Ok(())
            }
            Kind::Gpu | Kind::Unified if self.accelerator.is_some() => {
                Err("expected one kind of GPU, since layers are split evenly".to_owned())
            }
            Kind::Gpu | Kind::Unified => {
                self.accelerator = Some((count, chip, memory));
                Ok(())
            }
        }
    }

    fn add_memory(&mut self, bytes: f64) -> Result<(), String> {
        match (&mut self.accelerator, &self.processor) {
            (Some((_, chip, own)), None) if chip.kind == Kind::Unified => {
                let most = chip.memory_gb.as_ref().map_or(f64::INFINITY, |most| most.value * 1e9 * 1.08);
                if bytes > most {
                    return Err(format!("{} has at most {:.0} GB", chip.name, most / 1.08e9));
                }
                *own = Some(bytes);
            }
            _ => self.memory = Some(self.memory.unwrap_or(0.0) + bytes),
        }
        Ok(())
    }

    fn add_drive(&mut self, kind: &str, text: &str) -> Result<(), String> {
        let expected =
            || format!("expected a drive such as nvme:7GB/s or nvme:7GB/s:2TB, found `{kind}:{text}`");
        if !["nvme", "ssd", "disk", "drive"].contains(&kind.to_ascii_lowercase().as_str()) {
            return Err(expected());
        }
        let (rate, free) = text.split_once(':').map_or((text, None), |(rate, free)| (rate, Some(free)));
        let rate = rate.strip_suffix("/s").and_then(|rate| size(rate).ok().flatten()).ok_or_else(expected)?;
        let free = match free {
            None => f64::INFINITY,
            Some(free) => size(free)?.ok_or_else(expected)?,
        };
        self.drive = Some(Drive { bytes_per_s: rate, free });
        Ok(())
    }

    fn machine(self, spec: &str) -> Result<Machine, String> {
        let mut tiers = Vec::new();
        let mut link = None;
        let mut constants = Constants {
            layer_s: 1e-4,
            element_s: 0.0,
            decode_expert_factor: 1.0,
            prefill_expert_factor: 1.0,
            decode_factor: 1.0,
            prefill_factor: 1.0,
            wait_share: 0.5,
            reuse: 0.6,
        };
        let has_gpu = self.accelerator.is_some();
        if let Some((count, chip, memory)) = self.accelerator {
            let (tier, own_link) = accelerator(count, chip, memory)?;
            constants.layer_s = layer_seconds(chip, count);
            tiers.push(tier);
            link = own_link;
        }
        match (self.processor, self.memory) {
            (Some((sockets, chip)), memory) => {
                let memory =
                    memory.ok_or_else(|| format!("say how much memory {} has, such as 128GB", chip.name))?;
                tiers.push(host(sockets, chip, memory, self.accelerator.map(|(_, gpu, _)| gpu)));
            }
            (None, Some(_)) if !has_gpu => {
                return Err("expected a chip; `shoal plan --chips` lists them".to_owned());
            }
            (None, Some(bytes)) => {
                return Err(format!("{bytes:.0} bytes of memory belong to no processor: name it"));
            }
            (None, None) => {}
        }
        if tiers.is_empty() {
            return Err("expected a chip; `shoal plan --chips` lists them".to_owned());
        }
        Ok(Machine {
            name: spec.trim().to_owned(),
            kv_format: if has_gpu { KvFormat::Bf16 } else { KvFormat::F32 },
            prefill_chunk: if has_gpu { 8192.0 } else { 1024.0 },
            usd_per_hour: self.usd_per_hour(),
            is_rented: self.is_rented(),
            watts: self.watts(),
            tiers,
            drive: self.drive,
            link,
            constants,
            spread: SPREAD,
        })
    }

    /// Rent, where there is one for each part, or what buying comes to over its life; `None` where a part has neither.
    fn usd_per_hour(&self) -> Option<f64> {
        let of = |count: u32, chip: &Chip| {
            let rent = chip.usd_per_hour.as_ref().map(|figure| figure.value);
            let bought = chip.price_usd.as_ref().map(|figure| figure.value / LIFE_HOURS);
            Some(f64::from(count) * rent.or(bought)?)
        };
        let accelerator = self.accelerator.map(|(count, chip, _)| of(count, chip));
        // Who rents a GPU has its host with it.
        let processor = self.processor.filter(|_| !self.is_rented()).map(|(count, chip)| of(count, chip));
        let parts: Vec<Option<f64>> = accelerator.into_iter().chain(processor).collect();
        parts.into_iter().sum()
    }

    fn is_rented(&self) -> bool {
        self.accelerator.is_some_and(|(_, chip, _)| chip.usd_per_hour.is_some())
    }

    fn watts(&self) -> Option<f64> {
        let of = |count: u32, chip: &Chip| Some(f64::from(count) * chip.watts.as_ref()?.value);
        let accelerator = self.accelerator.map(|(count, chip, _)| of(count, chip));
        let processor = self.processor.map(|(count, chip)| of(count, chip));
        accelerator.into_iter().chain(processor).sum()
    }
}

fn accelerator(count: u32, chip: &Chip, memory: Option<f64>) -> Result<(Tier, Option<Link>), String> {
    let devices = f64::from(count);
    let each = memory.or(chip.memory_gb.as_ref().map(|figure| figure.value * 1e9));
    let each = each.ok_or_else(|| format!("say how much memory {} has", chip.name))?;
    let (flops_16, flops_8) = chip.flops();
    let rated = chip.bandwidth_gb_s.value * 1e9;
    // Whoever has much bandwidth for little arithmetic comes nearer to the latter.
    let flops_share = match chip.kind {
        Kind::Unified => 0.4,
        _ if flops_16 / rated < 100.0 => 0.6,
        _ => 0.35,
    };
    let tier = Tier {
        name: if chip.kind == Kind::Unified { "memory" } else { "GPU memory" },
        capacity: devices * each,
        reserved: devices * DEVICE_RESERVED.min(2.0 * RESERVED_SHARE * each),
        speed: Speed::Nominal {
            bytes_per_s: devices * rated,
            read_share: GPU_READ_SHARE,
            flops_16: devices * flops_16,
            flops_8: devices * flops_8,
            flops_share,
        },
        to_first: None,
    };
    let link = (count > 1).then(|| {
        let rate = |figure: &Figure| figure.value * 1e9;
        match (chip.kind, &chip.link_gb_s) {
            (Kind::Gpu, _) if count > NODE => Link { devices, bytes_per_s: NETWORK, latency_s: CABLE.1 },
            (Kind::Gpu, Some(figure)) => Link { devices, bytes_per_s: rate(figure), latency_s: EXCHANGE_S },
            (_, figure) => {
                Link { devices, bytes_per_s: figure.as_ref().map_or(CABLE.0, rate), latency_s: CABLE.1 }
            }
        }
    });
    Ok((tier, link))
}

fn host(sockets: u32, chip: &Chip, memory: f64, gpu: Option<&Chip>) -> Tier {
    let together = 1.0 + SOCKET_SHARE * (f64::from(sockets) - 1.0);
    let (flops_16, flops_8) = chip.flops();
    Tier {
        name: "memory",
        capacity: memory,
        reserved: RESERVED_SHARE * memory,
        speed: Speed::Nominal {
            bytes_per_s: chip.bandwidth_gb_s.value * 1e9 * together,
            read_share: CPU_READ_SHARE,
            flops_16: flops_16 * together,
            flops_8: flops_8 * together,
            flops_share: 0.5,
        },
        to_first: gpu.and_then(|gpu| gpu.host_gb_s.as_ref()).map(|rate| rate.value * 1e9 * COPY_SHARE),
    }
}

/// Seconds of a layer beside its products: engines of data centres run it as one recorded graph, others launch each operation.
fn layer_seconds(chip: &Chip, count: u32) -> f64 {
    let large = chip.memory_gb.as_ref().is_some_and(|memory| memory.value >= 64.0);
    if chip.kind == Kind::Gpu && (large || count > 1) { 1e-4 } else { 3.5e-4 }
}

/// `512` of `m3-ultra-512`: a chip with one of the sizes that it was sold with.
fn sized(text: &str) -> Option<Result<(&'static Chip, Option<f64>), String>> {
    let at = text.rfind(|c: char| !c.is_ascii_digit()).map(|at| at + 1)?;
    let gigabytes: f64 = text[at..].parse().ok()?;
    let chip = chips::find(text[..at].trim_end_matches(['-', ' '])).ok()?;
    let sizes = &chip.memory_sizes_gb;
    if sizes.contains(&gigabytes) {
        return Some(Ok((chip, Some(gigabytes * 1e9))));
    }
    let sold: Vec<String> = sizes.iter().map(f64::to_string).collect();
    Some(Err(format!("{} was not sold with {gigabytes} GB; expected one of {}", chip.name, sold.join(", "))))
}

/// A size with a unit; `None` if it is none, an error if it is one that cannot be.
fn size(word: &str) -> Result<Option<f64>, String> {
    let number = word.trim_start_matches('-');
    let has_unit = number.starts_with(|c: char| c.is_ascii_digit())
        && number.to_ascii_lowercase().ends_with(['b'])
        && number.parse::<Bytes>().is_ok();
    match number.parse::<Bytes>() {
        Ok(bytes) if has_unit && !word.starts_with('-') && bytes.0 > 0 => Ok(Some(bytes.0 as f64)),
        Ok(_) if has_unit => Err(format!("expected a size above 0, found `{word}`")),
        _ => Ok(None),
    }
}

/// `8x` and `8xH20`.
fn counted(word: &str) -> Result<Option<(u32, &str)>, String> {
    let digits = word.trim_start_matches('-');
    let at = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let rest = digits[at..].strip_prefix(['x', 'X', '×']);
    let (Some(rest), true) = (rest, at > 0) else { return Ok(None) };
    match digits[..at].parse() {
        Ok(count) if (1..=DEVICES_MAX).contains(&count) && !word.starts_with('-') => Ok(Some((count, rest))),
        _ => Err(format!("expected 1 to {DEVICES_MAX} of a chip, found `{word}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_becomes_a_machine() {
        let machine = parse("8x H20").expect("a machine");
        assert_eq!(machine.tiers.len(), 1);
        assert!((machine.tiers[0].capacity - 768e9).abs() < 1e9);
        assert_eq!(machine.link.map(|link| link.devices), Some(8.0));

        let machine = parse("rtx3090 + epyc7443 128GB nvme:7GB/s").expect("a machine");
        let capacities: Vec<f64> = machine.tiers.iter().map(|tier| tier.capacity).collect();
        assert_eq!(capacities, [24e9, 128e9]);
        assert_eq!(machine.drive, Some(Drive { bytes_per_s: 7e9, free: f64::INFINITY }));

        let machine = parse("m3-ultra-512").expect("a machine");
        assert!((machine.tiers[0].capacity - 512e9).abs() < 1.0 && machine.link.is_none());
        assert_eq!(parse("2xH100+2xepyc-7443 1TiB ssd:3.5GB/s:2TB").expect("a machine").tiers.len(), 2);
    }

    #[test]
    fn what_cannot_be_gets_a_sentence() {
        for (spec, part) in [
            ("8x H2O", "`H2O`; the nearest are h20"),
            ("-2x h20", "expected 1 to 1024 of a chip, found `-2x`"),
            ("0x h20", "found `0x`"),
            ("epyc7443", "say how much memory"),
            ("epyc7443 -64GB", "expected a size above 0, found `-64GB`"),
            ("epyc7443 0GB", "expected a size above 0"),
            ("rtx3090 64GB", "belong to no processor"),
            ("rtx3090 + rtx4090", "one kind of GPU"),
            ("epyc7443 64GB nvme:fast", "expected a drive such as nvme:7GB/s"),
            ("epyc7443 64GB tape:1GB/s", "found `tape:1GB/s`"),
            ("m3-ultra-333", "expected one of"),
            ("m3-ultra 900GB", "at most"),
            ("", "expected a chip"),
            ("128GB", "expected a chip"),
        ] {
            let error = parse(spec).expect_err(spec).to_string();
            assert!(error.contains(part) && error.starts_with("--on "), "{spec}: {error}");
        }
    }
}
