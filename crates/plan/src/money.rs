//! What a million tokens cost.
//!
//! Source   planning equation 7.4 of `docs/decisions/0015`

use serde::Serialize;

use crate::machine::Machine;

/// What a kilowatt-hour costs, and what a machine draws beside its chips.
#[derive(Clone, Copy, Debug)]
pub struct Power {
    /// Dollars.
    pub usd_per_kwh: f64,
    /// The whole over the chips.
    pub overhead: f64,
}

impl Default for Power {
    fn default() -> Self {
        Self { usd_per_kwh: 0.15, overhead: 1.3 }
    }
}

/// Dollars for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Of prompts.
    pub input_usd: f64,
    /// Of answers.
    pub output_usd: f64,
    /// Watt-hours for a million tokens of answers.
    pub output_wh: Option<f64>,
}

/// What tokens cost on `machine` at these rates when it is busy for `utilisation` of the time; `None` where no price is known.
/// Rent has power in it; what was bought has not.
#[must_use]
pub fn cost(
    machine: &Machine,
    prefill_per_s: f64,
    decode_per_s: f64,
    utilisation: f64,
    power: Power,
) -> Option<Cost> {
    let kilowatts = machine.watts.map(|watts| watts * power.overhead / 1e3);
    let own_power = if machine.is_rented { 0.0 } else { kilowatts.unwrap_or(0.0) * power.usd_per_kwh };
    let hour = machine.usd_per_hour? / utilisation + own_power;
    let million = |per_s: f64| hour / (3600.0 * per_s) * 1e6;
    Some(Cost {
        input_usd: million(prefill_per_s),
        output_usd: million(decode_per_s),
        output_wh: kilowatts.map(|kilowatts| 1e3 * kilowatts * 1e6 / (3600.0 * decode_per_s)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deepseek_said_of_its_own_nodes_follows() {
        let mut machine = crate::hardware::parse("8x h800").expect("a machine");
        (machine.usd_per_hour, machine.is_rented) = (Some(16.0), true);
        let cost = cost(&machine, 73_700.0, 14_800.0, 1.0, Power::default()).expect("a price");
        let half = super::cost(&machine, 73_700.0, 14_800.0, 0.5, Power::default()).expect("a price");
        assert!((half.output_usd / cost.output_usd - 2.0).abs() < 1e-9, "idle hours cost as much");
        machine.is_rented = false;
        let bought = super::cost(&machine, 73_700.0, 14_800.0, 1.0, Power::default()).expect("a price");
        assert!(bought.output_usd > cost.output_usd, "who bought it pays for power");
        assert!(
            (cost.output_usd - 0.30).abs() < 0.005 && (cost.input_usd - 0.0603).abs() < 0.0005,
            "{cost:?}"
        );
    }
}
