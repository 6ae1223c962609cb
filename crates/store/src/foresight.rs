//! Which experts are read before they are known to be needed.
//!
//! While a layer computes, the routers of the layers behind it say what they would choose for its input: a forecast. How far that
//! can be trusted depends on how many layers off it looks and on the place in the router's order: the first choice of the next
//! layer nearly always comes true, the sixth of the layer after that less than every other time. So forecasts are followed up
//! when their layer runs, and for each pair of distance and place the share that came true is counted, whether anything was
//! read or not. Only what comes true more often than [`WORTH`] is read, the surest first, while the drive has
//! nothing better to do.
//!
//! So looking ahead begins when it has proved right, ends by itself where the text makes routers fickle, and begins
//! again. The nearest forecast for a layer replaces those from further off.

use crate::slots::Key;

/// Weight of the newest guess of its kind.
const NEWEST: f64 = 1.0 / 64.0;
/// Share of guesses that come true from which on reading ahead pays: an expert that was read in vain has cost a slot, and perhaps
/// kept the drive from something better.
const WORTH: f64 = 0.6;

/// What one layer is expected to choose.
#[derive(Debug)]
struct Forecast {
    layer: usize,
    distance: usize,
    /// Experts, each with its place in the router's order.
    choices: Vec<(Key, usize)>,
}

/// Forecasts, and how they fared.
#[derive(Debug, Default)]
pub(crate) struct Foresight {
    /// By distance and place.
    came_true: Vec<Vec<f64>>,
    forecasts: Vec<Forecast>,
}

impl Foresight {
    /// `layer`, which runs `distance` layers from now, is expected to choose those.
    pub(crate) fn forecast(&mut self, layer: usize, distance: usize, choices: Vec<(Key, usize)>) {
        self.forecasts.retain(|old| (old.layer, old.distance) != (layer, distance));
        self.forecasts.push(Forecast { layer, distance, choices });
    }

    /// `layer` runs and its router chose those.
    pub(crate) fn follow_up(&mut self, layer: usize, chosen: &[Key]) {
        for forecast in self.forecasts.extract_if(.., |forecast| forecast.layer == layer) {
            for (key, place) in forecast.choices {
                let share = at(&mut self.came_true, forecast.distance, place);
                *share += NEWEST * (f64::from(u8::from(chosen.contains(&key))) - *share);
            }
        }
    }

    /// What is worth reading, the surest first.
    pub(crate) fn surest(&self) -> Vec<Key> {
        let mut guesses: Vec<(f64, Key)> = Vec::new();
        for forecast in &self.forecasts {
            let nearer =
                |other: &Forecast| other.layer == forecast.layer && other.distance < forecast.distance;
            if self.forecasts.iter().any(nearer) {
                continue;
            }
            let shares = self.came_true.get(forecast.distance);
            for &(key, place) in &forecast.choices {
                let share = shares.and_then(|shares| shares.get(place)).copied().unwrap_or(0.0);
                if share >= WORTH {
                    guesses.push((share, key));
                }
            }
        }
        guesses.sort_by(|a, b| b.0.total_cmp(&a.0));
        guesses.into_iter().map(|(_, key)| key).collect()
    }

    /// Forgets all forecasts, but not how they fared.
    pub(crate) fn clear(&mut self) {
        self.forecasts.clear();
    }
}

/// The share of a distance and a place; none has come true at first.
fn at(shares: &mut Vec<Vec<f64>>, distance: usize, place: usize) -> &mut f64 {
    shares.resize_with(shares.len().max(distance + 1), Vec::new);
    let places = &mut shares[distance];
    places.resize(places.len().max(place + 1), 0.0);
    &mut places[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets `rounds` forecasts of four choices run, of which place `p` comes true in `true_of_ten[p]` of ten rounds.
    fn run(foresight: &mut Foresight, distance: usize, rounds: usize, true_of_ten: [usize; 4]) {
        for round in 0..rounds {
            foresight.forecast(7, distance, (0..4).map(|place| (place as Key, place)).collect());
            let came = (0..4u32).filter(|&place| (round * 7) % 10 < true_of_ten[place as usize]);
            foresight.follow_up(7, &came.collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_came_true_often_is_read_the_surest_first() {
        let mut foresight = Foresight::default();
        run(&mut foresight, 1, 10, [10; 4]);
        foresight.forecast(7, 1, vec![(10, 0)]);
        assert!(foresight.surest().is_empty(), "ten rounds prove nothing");
        run(&mut foresight, 1, 400, [8, 2, 10, 7]);
        foresight.forecast(7, 1, (0..4).map(|place| (10 + place as Key, place)).collect());
        assert_eq!(foresight.surest(), [12, 10, 13]);
        run(&mut foresight, 1, 400, [8, 2, 3, 10]);
        foresight.forecast(7, 1, (0..4).map(|place| (10 + place as Key, place)).collect());
        assert_eq!(foresight.surest(), [13, 10], "texts change");
    }

    #[test]
    fn the_nearest_forecast_of_a_layer_counts_and_only_until_it_runs() {
        let mut foresight = Foresight::default();
        run(&mut foresight, 1, 400, [9; 4]);
        run(&mut foresight, 2, 400, [7; 4]);
        foresight.forecast(8, 2, vec![(20, 0)]);
        foresight.forecast(7, 2, vec![(10, 0)]);
        assert_eq!(foresight.surest().len(), 2);
        foresight.forecast(7, 1, vec![(11, 0)]);
        assert_eq!(foresight.surest(), [11, 20]);
        foresight.follow_up(7, &[11]);
        assert_eq!(foresight.surest(), [20]);
        foresight.clear();
        assert!(foresight.surest().is_empty());
    }
}
