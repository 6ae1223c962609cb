//! Where weights lie: fast memory first, what every token needs before experts, the rest of those on the drive.

use crate::machine::Machine;
use crate::model::{Model, Role};
use crate::step::Phase;

/// The shares of a model in each tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// Of what every token needs.
    pub dense: Vec<f64>,
    /// Of the experts.
    pub experts: Vec<f64>,
    /// Devices that have all of every token's weights each; 1 where they split them.
    pub copies: f64,
    /// Bytes in memory: weights, rows of keys and values, and what computing takes.
    pub memory: f64,
    /// Bytes that must be on the drive for the experts to be read from there; 0 where all are in memory.
    pub on_drive: f64,
}

/// Why a model cannot run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lacks {
    /// Bytes of memory without which it does not run.
    pub memory: f64,
    /// Bytes of a drive, if it has to have one.
    pub drive: f64,
}

/// What a model needs beside weights.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Sequences.
    pub streams: f64,
    /// Positions of each.
    pub context: f64,
    /// Bytes for the program and for a step's activations.
    pub working: f64,
}

impl Need {
    /// Bytes, with so many copies of each row.
    fn bytes(&self, model: &Model, machine: &Machine, copies: f64) -> f64 {
        let attention = &model.attention;
        let rows = self.context * attention.bytes_per_token(machine.kv_format);
        let each = rows + attention.bytes_per_sequence(machine.kv_format);
        self.working + self.streams * each * copies
    }
}

impl Placement {
    /// Places `model` on `machine` with all else it needs.
    ///
    /// Several devices have two ways to share work. With all of every token's weights on each of them they can split tokens, and each
    /// keeps the rows of its own; that is chosen where it fits. Else they split every product, and compressed rows, which have no heads to
    /// split, stand on each.
    ///
    /// # Errors
    /// What it would take, if it does not fit.
    pub fn new(model: &Model, machine: &Machine, need: Need) -> Result<Self, Lacks> {
        let Some(link) = machine.link else { return Self::with_copies(model, machine, need, 1.0, 1.0) };
        let rows = if model.attention.has_heads() { 1.0 } else { link.devices };
        let by_token = Self::with_copies(model, machine, need, link.devices, 1.0);
        match (by_token, Self::with_copies(model, machine, need, 1.0, rows)) {
            (Ok(placement), _) if placement.on_drive == 0.0 => Ok(placement),
            (_, Ok(placement)) => Ok(placement),
            (Ok(placement), Err(_)) => Ok(placement),
            (Err(one), Err(other)) => Err(if one.memory < other.memory { one } else { other }),
        }
    }

    /// The same with so many copies of every token's weights, and of rows.
    fn with_copies(
        model: &Model,
        machine: &Machine,
        need: Need,
        copies: f64,
        row_copies: f64,
    ) -> Result<Self, Lacks> {
        let (dense, experts) = (copies * model.bytes_of(Role::EveryToken), model.bytes_of(Role::Experts));
        let lookup = model.bytes_of(Role::Lookup);
        let mut room: Vec<f64> = machine.tiers.iter().map(|tier| tier.capacity - tier.reserved).collect();
        let needed = need.bytes(model, machine, row_copies);
        let fixed = needed + dense + lookup;
        // A step holds the experts of one token in one layer at the least.
        let at_least = model.moe.map_or(0.0, |moe| moe.per_token as f64 * model.expert_bytes());
        let lacks = Lacks { memory: fixed + at_least.min(experts), drive: model.bytes() };
        let mut fill = |bytes: f64| {
            let mut left = bytes;
            let taken: Vec<f64> = room
                .iter_mut()
                .map(|room| {
                    let taken = left.min(room.max(0.0));
                    *room -= taken;
                    left -= taken;
                    taken
                })
                .collect();
            (taken, left)
        };
        let (_, unplaced_rows) = fill(needed);
        let (in_tiers, unplaced) = fill(dense);
        let (_, unplaced_lookup) = fill(lookup);
        let (experts_in, missing) = fill(experts);
        if unplaced_rows + unplaced + unplaced_lookup > 0.0 {
            return Err(lacks);
        }
        let streams = missing > 0.0;
        let drive = machine.drive.map_or(0.0, |drive| drive.free);
        if streams && (experts_in.iter().sum::<f64>() < at_least || drive < model.bytes()) {
            return Err(lacks);
        }
        let share = |bytes: Vec<f64>, of: f64| -> Vec<f64> {
            bytes.into_iter().map(|bytes| if of > 0.0 { bytes / of } else { 0.0 }).collect()
        };
        Ok(Self {
            copies,
            memory: fixed + experts_in.iter().sum::<f64>(),
            dense: share(in_tiers, dense),
            experts: share(experts_in, experts),
            on_drive: if streams { model.bytes() } else { 0.0 },
        })
    }

    /// The share of experts that are somewhere in memory.
    #[must_use]
    pub fn in_memory(&self) -> f64 {
        self.experts.iter().sum::<f64>().min(1.0)
    }

    /// Of the experts that a step needs, the share that it finds in tier `at`: those that are asked for most are in the fastest.
    #[must_use]
    pub fn experts_needed(&self, at: usize, phase: Phase, reuse: f64) -> f64 {
        let up_to = |count: usize| self.experts[..count].iter().sum::<f64>().min(1.0);
        // What comes from the drive is computed on in the last tier.
        let missing = if at + 1 == self.experts.len() { self.experts_missing(phase, reuse) } else { 0.0 };
        found(up_to(at + 1), phase, reuse) - found(up_to(at), phase, reuse) + missing
    }

    /// Of the experts that a step needs, the share that must be read.
    #[must_use]
    pub fn experts_missing(&self, phase: Phase, reuse: f64) -> f64 {
        if self.on_drive > 0.0 { 1.0 - found(self.in_memory(), phase, reuse) } else { 0.0 }
    }
}

/// How often an expert is found in memory that holds `share` of all. A prompt sweeps through all of a layer's, so none is likelier there.
fn found(share: f64, phase: Phase, reuse: f64) -> f64 {
    match phase {
        Phase::Decode => share.powf(reuse),
        Phase::Prefill => share,
    }
}
