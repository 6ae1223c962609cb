//! The planner against what others have measured and published: `benches/records/plan-anchors.json`.

use serde::Deserialize;
use shoal_plan::forecast::{Ask, decode_per_s, prefill_per_s};
use shoal_plan::machine::{Machine, Speed};
use shoal_plan::place::{Need, Placement};
use shoal_plan::{Mix, Model, hardware, presets, published};

/// The bar: the mean of the errors, and each.
const MEAN_MAX: f64 = 0.20;
const EACH_MAX: f64 = 0.50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "about")]
    _about: String,
    anchors: Vec<Anchor>,
    left_out: Vec<LeftOut>,
}

#[derive(Deserialize)]
struct LeftOut {
    what: String,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Anchor {
    machine: String,
    what: String,
    model: String,
    expert_bits: f64,
    dense_bits: f64,
    context: f64,
    #[serde(default = "one")]
    streams: f64,
    /// Tokens of a prompt in one step.
    chunk: Option<f64>,
    /// Prompts that are read together.
    #[serde(default = "one")]
    prompts: f64,
    /// Microseconds of a layer beside its products, where the engine is not what the machine's class would run.
    layer_us: Option<f64>,
    /// Of the experts asked for, the share that lay on the GPU.
    gpu_hits: Option<f64>,
    /// Gigabytes per second at which experts were had that did not.
    host_gb_s: Option<f64>,
    host_share: Option<f64>,
    /// Tera-operations per second of the host, where prompts were computed with the experts there by other instructions than its best.
    host_tflops: Option<f64>,
    /// Of the time, the share in which there was something to do.
    #[serde(default = "one")]
    busy: f64,
    measured: f64,
    predicted: f64,
    source: String,
    #[serde(default, rename = "note")]
    _note: String,
}

const fn one() -> f64 {
    1.0
}

impl Anchor {
    fn model(&self) -> Model {
        if self.model == "v4.1-flash" {
            return published::v41_flash(self.expert_bits, self.dense_bits);
        }
        let shape = presets::shape(&self.model, None).expect("a preset");
        Model::of_shape(&shape, Mix::Bf16).expect("a model").with_bits(self.expert_bits, self.dense_bits)
    }

    fn machine(&self) -> Machine {
        let mut machine = hardware::parse(&self.machine).expect("a machine");
        if let Some(layer_us) = self.layer_us {
            machine.constants.layer_s = layer_us / 1e6;
        }
        if let Some(chunk) = self.chunk {
            machine.prefill_chunk = chunk;
        }
        if let Some(rate) = self.host_tflops
            && let Speed::Nominal { flops_16, .. } = &mut machine.tiers[1].speed
        {
            *flops_16 = rate * 1e12;
            machine.tiers[1].to_first = None;
        }
        if let (Some(rate), Some(share)) = (self.host_gb_s, self.host_share)
            && let Speed::Nominal { bytes_per_s, read_share, .. } = &mut machine.tiers[1].speed
        {
            (*bytes_per_s, *read_share) = (rate * 1e9, share);
        }
        machine
    }

    fn predict(&self) -> f64 {
        let (model, mut machine) = (self.model(), self.machine());
        let (streams, context, prompts) = (self.streams, self.context, self.prompts);
        let ask = Ask { streams, context, position: context, prompt: context, prompts, ..Ask::default() };
        let need = Need { streams: streams.max(prompts), context, working: ask.working };
        let mut placement = Placement::new(&model, &machine, need).expect("it ran, so it fits");
        if let Some(hits) = self.gpu_hits {
            machine.constants.reuse = 1.0;
            placement.experts = vec![hits, 1.0 - hits];
        }
        let per_s = match self.what.as_str() {
            "decode" => streams * decode_per_s(&model, &machine, &placement, &ask).0,
            "prefill" => prefill_per_s(&model, &machine, &placement, &ask).0,
            other => panic!("{other}: expected decode or prefill"),
        };
        per_s * self.busy
    }
}

#[test]
fn predictions_are_near_what_others_have_measured() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/records/plan-anchors.json");
    let text = std::fs::read_to_string(path).expect("the record of anchors");
    let file: File = serde_json::from_str(&text).expect("anchors");
    assert!(file.anchors.len() >= 25);
    let mut errors = Vec::new();
    let mut stale = Vec::new();
    for anchor in &file.anchors {
        let predicted = anchor.predict();
        let error = predicted / anchor.measured - 1.0;
        println!(
            "{:40} {:8} {predicted:10.1} for {:10.1}  {:+.0} %",
            anchor.machine,
            anchor.what,
            anchor.measured,
            100.0 * error
        );
        assert!(!anchor.source.is_empty(), "{}", anchor.machine);
        if (anchor.predicted / predicted - 1.0).abs() > 0.01 {
            stale.push(format!("{} {}: {predicted:.4}", anchor.machine, anchor.what));
        }
        errors.push((error, &anchor.machine, &anchor.what));
    }
    let mean = errors.iter().map(|(error, ..)| error.abs()).sum::<f64>() / errors.len() as f64;
    println!("mean {:.1} %", 100.0 * mean);
    assert!(mean <= MEAN_MAX, "off by {:.1} % on average", 100.0 * mean);
    for (error, machine, what) in errors {
        assert!(error.abs() <= EACH_MAX, "{machine} {what}: off by {:+.0} %", 100.0 * error);
    }
    assert!(stale.is_empty(), "the record has other predictions: {stale:#?}");
    assert!(file.left_out.iter().all(|row| !row.what.is_empty() && !row.why.is_empty()));
}
