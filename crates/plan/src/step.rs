//! How long a step takes.
//!
//! ```text
//! q tokens of b sequences
//! products    of every part: its share in each tier * weights * seconds(tokens that share a weight)
//!             every token's weights see q tokens; an expert of those hit sees q k / (E * share hit)
//! attention   rows read and operations, the larger
//! layers      layers * (constant + tokens * width * constant)
//! network     two exchanges a layer between devices, or each token's way to its experts and back
//! drive       experts hit that are in no tier
//! step      = computing and drive overlap but for a share
//! ```
//! Source   planning equations 1 to 4 of `docs/decisions/0015`

use crate::machine::Machine;
use crate::model::{Model, Role};
use crate::place::Placement;

/// What a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Tokens of prompts.
    Prefill,
    /// One more token for each sequence, and guesses.
    Decode,
}

/// The work of a step.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What it is for.
    pub phase: Phase,
    /// Sequences.
    pub streams: f64,
    /// Tokens of each that run at once.
    pub tokens: f64,
    /// Positions that they see.
    pub context: f64,
}

/// Where the seconds of a step go.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepTime {
    /// Products with what every token needs.
    pub dense: f64,
    /// Products with experts.
    pub experts: f64,
    /// Attention.
    pub attention: f64,
    /// What each layer takes beside.
    pub layers: f64,
    /// Exchange between devices.
    pub network: f64,
    /// Reading experts.
    pub drive: f64,
    /// All, as far as it does not overlap.
    pub total: f64,
}

impl StepTime {
    /// What takes most of the time.
    #[must_use]
    pub fn binds(&self, phase: Phase) -> &'static str {
        let products = match phase {
            Phase::Prefill => "arithmetic",
            Phase::Decode => "memory",
        };
        let all = [
            (self.dense + self.experts, products),
            (self.attention, "attention"),
            (self.layers, "small operations"),
            (self.network, "the link between devices"),
            (self.drive, "the drive"),
        ];
        all.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).map_or(products, |(_, name)| name)
    }
}

/// The time of a step of `model` on `machine`, whose weights lie where `placement` says, spread over devices in the faster way.
#[must_use]
pub fn step_time(model: &Model, machine: &Machine, placement: &Placement, load: Load) -> StepTime {
    let time = |spread: &Spread| spread_step_time(model, machine, placement, load, spread);
    let by_product = time(&Spread::BY_PRODUCT);
    match machine.link.filter(|_| placement.copies > 1.0) {
        None => by_product,
        Some(link) => {
            let by_token = time(&Spread { devices: link.devices, copies: link.devices, by_token: true });
            if by_token.total < by_product.total { by_token } else { by_product }
        }
    }
}

fn spread_step_time(
    model: &Model,
    machine: &Machine,
    placement: &Placement,
    load: Load,
    spread: &Spread,
) -> StepTime {
    let constants = &machine.constants;
    let (dense_factor, expert_factor) = constants.factors(load.phase);
    let queries = load.streams * load.tokens;
    let hit = model.routed_share(queries);
    let per_expert = model.moe.map_or(0.0, |moe| queries * moe.per_token as f64 / (moe.experts as f64 * hit));
    let elements = queries * model.hidden as f64;
    let layer = constants.layer_s + elements * constants.element_s;
    let mut time = StepTime { layers: model.layers as f64 * layer, ..StepTime::default() };
    let read = model.bytes_of(Role::EveryToken) + model.bytes_of(Role::Experts) * hit;
    for (at, tier) in machine.tiers.iter().enumerate() {
        let (each, devices) = if at == 0 { (spread.copies, spread.devices) } else { (1.0, 1.0) };
        for part in &model.parts {
            let (share, tokens) = match part.role {
                Role::Lookup => continue,
                Role::EveryToken => (placement.dense[at] * each, queries / devices),
                Role::Experts => {
                    (placement.experts_needed(at, load.phase, constants.reuse) * hit, per_expert)
                }
            };
            let mut seconds = tier.speed.product_seconds(part, share, tokens, tier.speed.keeps(read));
            if let (Some(rate), Phase::Prefill) = (tier.to_first, load.phase) {
                let there = machine.tiers[0].speed.product_seconds(part, share, tokens, false);
                seconds = seconds.min(part.bytes * share / rate + there);
            }
            match part.role {
                Role::Experts => time.experts += expert_factor * seconds,
                _ => time.dense += dense_factor * seconds,
            }
        }
    }
    if let Some(tier) = machine.tiers.first() {
        let (bytes, flops) = attention_work(model, machine, load);
        time.attention = tier.speed.attention_seconds(bytes, flops);
    }
    time.network = spread.network_seconds(model, machine, queries, load.phase);
    let missing = placement.experts_missing(load.phase, constants.reuse) * hit;
    if let Some(drive) = machine.drive {
        time.drive = missing * model.bytes_of(Role::Experts) / drive.bytes_per_s;
    }
    let products = time.dense + time.experts + time.attention + time.layers;
    // While one half of a prompt travels the other is computed; of the few tokens of answers nobody has been seen to hide it.
    let computing = match load.phase {
        Phase::Prefill => products.max(time.network),
        Phase::Decode => products + time.network,
    };
    time.total = computing.max(time.drive) + constants.wait_share * computing.min(time.drive);
    time
}

/// Bytes of rows that attention reads in a step, and its operations.
fn attention_work(model: &Model, machine: &Machine, load: Load) -> (f64, f64) {
    let queries = load.streams * load.tokens;
    match load.phase {
        Phase::Prefill => (
            load.streams * model.attention.bytes_read(load.context, machine.kv_format),
            queries * model.attention.prefill_flops(load.context),
        ),
        Phase::Decode => (
            load.streams * model.attention.bytes_read(load.context, machine.kv_format),
            queries * model.attention.decode_flops(load.context),
        ),
    }
}

/// How a step is spread over devices whose speeds are counted together.
struct Spread {
    /// Devices that split the tokens between them, each with all of every token's weights.
    devices: f64,
    /// Times that every token's weights are read, over all devices.
    copies: f64,
    /// Whether tokens go to the experts' devices.
    by_token: bool,
}

impl Spread {
    /// Each device has a part of every product.
    const BY_PRODUCT: Self = Self { devices: 1.0, copies: 1.0, by_token: false };

    fn network_seconds(&self, model: &Model, machine: &Machine, queries: f64, phase: Phase) -> f64 {
        /// Bytes of an element on its way to an expert, and back.
        const WAY: f64 = 1.0 + 2.0;
        /// Of the rated speed.
        const SHARE: f64 = 0.8;
        let Some(link) = machine.link else { return 0.0 };
        let rate = link.bytes_per_s * SHARE;
        let layers = model.layers as f64;
        match model.moe {
            Some(moe) if self.by_token => {
                // A prompt's token goes once to each machine that has some of its experts, and on from there.
                let copies = if phase == Phase::Prefill { moe.groups_used } else { moe.per_token };
                let sent = queries / link.devices * model.hidden as f64 * copies as f64 * WAY;
                moe.layers as f64 * (sent / rate + 2.0 * link.latency_s)
            }
            _ => {
                let others = 2.0 * (link.devices - 1.0) / link.devices;
                let each = queries * model.hidden as f64 * 2.0 * others / rate;
                2.0 * layers * (each + link.latency_s)
            }
        }
    }
}
