//! Official checkpoints in small: V3 in FP8, V4 in FP8 with experts in FP4, with random weights; and beside each the same model with
//! the exact values in F32, computed here in f64.
//!
//! Widths are such that every way of storing a matrix occurs: rows and columns that fill their blocks and that do not, layers
//! with and without experts, and the drafts and other parts that a reader has to leave out.

mod v3;
mod v4;

use serde_json::{Map, Value as Json};
use shoal_base::Prng;

use super::HubModel;
use crate::golden_dir;
use crate::safetensors::HubTensor;

/// How V3's scales are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scales {
    /// Any numbers: V3, R1.
    Any,
    /// Powers of two: V3.1 and later.
    PowersOfTwo,
}

/// One model in two forms.
#[derive(Clone, Debug)]
pub struct Official {
    /// As official checkpoints store it.
    pub packed: HubModel,
    /// The same values, each as an F32.
    pub exact: HubModel,
}

/// The values of e2m1 without sign.
const E2M1: [f64; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

const HIDDEN: usize = 256;
const VOCAB: usize = 512;
/// Routed experts of a layer.
pub const EXPERTS: usize = 8;

/// How scales are stored and called.
#[derive(Clone, Copy)]
enum Form {
    V3(Scales),
    V4,
}

struct Maker {
    prng: Prng,
    form: Form,
    packed: Vec<HubTensor>,
    exact: Vec<HubTensor>,
}

impl Maker {
    fn new(seed: u64, form: Form) -> Self {
        Self { prng: Prng::new(seed), form, packed: Vec::new(), exact: Vec::new() }
    }

    fn normal(&mut self, len: usize, mean: f64, deviation: f64) -> Vec<f64> {
        (0..len).map(|_| mean + deviation * self.prng.next_normal()).collect()
    }

    /// A tensor that is not packed, in both models.
    fn plain(&mut self, name: &str, element: &'static str, shape: &[usize], mean: f64) {
        let deviation = if shape.len() == 1 { 0.1 } else { (shape[1] as f64).sqrt().recip() };
        let values = self.normal(shape.iter().product(), mean, deviation);
        let bytes = match element {
            "F32" => values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect(),
            // Cut off, which is a BF16 as good as any.
            _ => values.iter().flat_map(|x| (((*x as f32).to_bits() >> 16) as u16).to_le_bytes()).collect(),
        };
        self.both(HubTensor { name: name.to_owned(), element, shape: shape.to_vec(), bytes });
    }

    fn both(&mut self, tensor: HubTensor) {
        self.packed.push(tensor.clone());
        self.exact.push(tensor);
    }

    fn bf16(&mut self, name: &str, shape: &[usize]) {
        self.plain(name, "BF16", shape, 0.0);
    }

    fn norm(&mut self, name: &str, len: usize) {
        self.plain(name, "BF16", &[len], 1.0);
    }

    fn f32(&mut self, name: &str, shape: &[usize]) {
        self.plain(name, "F32", shape, 0.0);
    }

    fn packed(&mut self, name: String, element: &'static str, shape: [usize; 2], bytes: Vec<u8>) {
        self.packed.push(HubTensor { name, element, shape: shape.to_vec(), bytes });
    }

    fn exact(&mut self, name: &str, shape: [usize; 2], values: &[f64]) {
        let bytes = values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect();
        self.exact.push(HubTensor { name: name.to_owned(), element: "F32", shape: shape.to_vec(), bytes });
    }

    /// A matrix in FP8 with a scale for each block of 128 by 128.
    fn fp8(&mut self, name: &str, [rows, cols]: [usize; 2]) {
        const BLOCK: usize = 128;
        let values = self.normal(rows * cols, 0.0, (cols as f64).sqrt().recip());
        let [down, across] = [rows, cols].map(|n| n.div_ceil(BLOCK));
        let block = |i: usize| i / cols / BLOCK * across + i % cols / BLOCK;
        let mut largest = vec![0.0f64; down * across];
        values.iter().enumerate().for_each(|(i, x)| largest[block(i)] = largest[block(i)].max(x.abs()));
        let is_any = matches!(self.form, Form::V3(Scales::Any));
        let scale = |largest: &f64| {
            let scale = largest / 448.0;
            f64::from(if is_any { scale as f32 } else { scale.log2().ceil().exp2() as f32 })
        };
        let scales: Vec<f64> = largest.iter().map(scale).collect();
        let fp8 = Codes::new(127, e4m3);
        let codes: Vec<u8> =
            values.iter().enumerate().map(|(i, x)| fp8.nearest(x / scales[block(i)])).collect();
        let exact: Vec<f64> =
            codes.iter().enumerate().map(|(i, code)| e4m3(*code) * scales[block(i)]).collect();
        let (scale_name, element, bytes): (String, _, Vec<u8>) = match self.form {
            Form::V3(_) => {
                let bytes = scales.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect();
                (format!("{name}_scale_inv"), "F32", bytes)
            }
            Form::V4 => (v4_scale(name), "F8_E8M0", scales.iter().copied().map(e8m0).collect()),
        };
        self.packed(name.to_owned(), "F8_E4M3", [rows, cols], codes);
        self.packed(scale_name, element, [down, across], bytes);
        self.exact(name, [rows, cols], &exact);
    }

    /// A matrix in FP4 with a scale for each 32 of a row.
    fn fp4(&mut self, name: &str, [rows, cols]: [usize; 2]) {
        let values = self.normal(rows * cols, 0.0, (cols as f64).sqrt().recip());
        let (mut codes, mut scales, mut exact) = (Vec::new(), Vec::new(), Vec::new());
        let fp4 = Codes::new(8, e2m1);
        for group in values.chunks_exact(32) {
            let scale = (group.iter().fold(0.0f64, |a, b| a.max(b.abs())) / 6.0).log2().ceil().exp2();
            let of: Vec<u8> = group.iter().map(|x| fp4.nearest(x / scale)).collect();
            exact.extend(of.iter().map(|code| e2m1(*code) * scale));
            // The first of two neighbours in the low half.
            codes.extend(of.chunks_exact(2).map(|pair| pair[0] | pair[1] << 4));
            scales.push(e8m0(scale));
        }
        self.packed(name.to_owned(), "I8", [rows, cols / 2], codes);
        self.packed(v4_scale(name), "F8_E8M0", [rows, cols / 32], scales);
        self.exact(name, [rows, cols], &exact);
    }

    /// The models with all fields of `configs`.
    fn finish(self, configs: &[Json]) -> Official {
        let golden = HubModel::of_gguf(&golden_dir("deepseek_v3").join("model.gguf"));
        let fields = configs.iter().filter_map(Json::as_object).flatten();
        let config: Map<String, Json> = fields.map(|(key, value)| (key.clone(), value.clone())).collect();
        let model = |config: Map<String, Json>, tensors| {
            let (tokenizer, tokenizer_config) = (golden.tokenizer.clone(), golden.tokenizer_config.clone());
            HubModel { config, tokenizer, tokenizer_config, tensors }
        };
        Official { packed: model(config.clone(), self.packed), exact: model(config, self.exact) }
    }
}

fn v4_scale(name: &str) -> String {
    format!("{}.scale", name.strip_suffix(".weight").expect("a matrix"))
}

/// Codes by their value.
struct Codes {
    /// The magnitudes, of which there is one for each code without a sign, in rising order.
    values: Vec<f64>,
    sign: u8,
}

impl Codes {
    fn new(count: u8, value: fn(u8) -> f64) -> Self {
        Self { values: (0..count).map(value).collect(), sign: count.next_power_of_two() }
    }

    /// The code whose value is nearest.
    fn nearest(&self, x: f64) -> u8 {
        let above = self.values.partition_point(|value| *value < x.abs()).min(self.values.len() - 1);
        let below = above.saturating_sub(1);
        let is_below = x.abs() - self.values[below] < self.values[above] - x.abs();
        let code = if is_below { below } else { above } as u8;
        if x < 0.0 { code | self.sign } else { code }
    }
}

fn e4m3(code: u8) -> f64 {
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f64::from(code & 7));
    let magnitude =
        if exponent == 0 { mantissa / 512.0 } else { (8.0 + mantissa) * f64::from(exponent - 10).exp2() };
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

fn e2m1(code: u8) -> f64 {
    let magnitude = E2M1[usize::from(code & 7)];
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// The byte of a power of two.
fn e8m0(scale: f64) -> u8 {
    (scale.log2() + 127.0) as u8
}

impl Official {
    /// V3 of three layers, the first dense, and a draft layer.
    #[must_use]
    pub fn v3(scales: Scales) -> Self {
        v3::make(scales)
    }

    /// V4 of three layers, one of each kind of attention, the first with experts by token, and what a reader leaves out. A token
    /// goes to `used` of [`EXPERTS`] experts.
    #[must_use]
    pub fn v4(used: usize) -> Self {
        v4::make(used)
    }
}
