//! The models of the family by name, with the dimensions that their makers published.
//!
//! Source   the `config.json` of each model's repository

use crate::grouped::Grouped;
use crate::mla::Mla;
use crate::shape::Shape;
use crate::v4::V4;

/// One model.
#[derive(Clone, Copy, Debug)]
enum Preset {
    Mla(Mla),
    V4(V4),
    Grouped(Grouped),
}

/// Dimensions of V2-Lite, from which the others are told by what differs.
const V2_LITE: Mla = Mla {
    name: "v2-lite",
    hidden_size: 2048,
    num_hidden_layers: 27,
    num_attention_heads: 16,
    q_lora_rank: None,
    intermediate_size: 10_944,
    moe_intermediate_size: 1408,
    n_routed_experts: 64,
    n_shared_experts: 2,
    num_experts_per_tok: 6,
    first_k_dense_replace: 1,
    groups: (1, 1),
    sigmoid: false,
    routed_scaling_factor: 1.0,
    mscale_all_dim: 0.707,
    vocab_size: 102_400,
    indexer: None,
};

const V2: Mla = Mla {
    name: "v2",
    hidden_size: 5120,
    num_hidden_layers: 60,
    num_attention_heads: 128,
    q_lora_rank: Some(1536),
    intermediate_size: 12_288,
    moe_intermediate_size: 1536,
    n_routed_experts: 160,
    groups: (8, 3),
    routed_scaling_factor: 16.0,
    ..V2_LITE
};

const V3: Mla = Mla {
    name: "v3",
    hidden_size: 7168,
    num_hidden_layers: 61,
    num_attention_heads: 128,
    q_lora_rank: Some(1536),
    intermediate_size: 18_432,
    moe_intermediate_size: 2048,
    n_routed_experts: 256,
    n_shared_experts: 1,
    num_experts_per_tok: 8,
    first_k_dense_replace: 3,
    groups: (8, 4),
    sigmoid: true,
    routed_scaling_factor: 2.5,
    mscale_all_dim: 1.0,
    vocab_size: 129_280,
    indexer: None,
};

const V32: Mla = Mla { name: "v3.2", indexer: Some([64, 128, 2048]), ..V3 };

const V4_FLASH: V4 = V4 {
    name: "v4-flash",
    hidden_size: 4096,
    num_hidden_layers: 43,
    num_attention_heads: 64,
    q_lora_rank: 1024,
    o_groups: 8,
    o_lora_rank: 1024,
    moe_intermediate_size: 2048,
    n_routed_experts: 256,
    num_experts_per_tok: 6,
    routed_scaling_factor: 1.5,
    index_topk: 512,
    first_ratios: [0, 0],
};

const V4_PRO: V4 = V4 {
    name: "v4-pro",
    hidden_size: 7168,
    num_hidden_layers: 61,
    num_attention_heads: 128,
    q_lora_rank: 1536,
    o_groups: 16,
    o_lora_rank: 1024,
    moe_intermediate_size: 3072,
    n_routed_experts: 384,
    num_experts_per_tok: 6,
    routed_scaling_factor: 2.5,
    index_topk: 1024,
    first_ratios: [128, 128],
};

const QWEN_1_5B: Grouped = Grouped {
    name: "r1-qwen-1.5b",
    architecture: "qwen2",
    hidden_size: 1536,
    intermediate_size: 8960,
    num_hidden_layers: 28,
    num_attention_heads: 12,
    num_key_value_heads: 2,
    vocab_size: 151_936,
    rope_theta: 10_000.0,
    rms_norm_eps: 1e-6,
};

const QWEN_7B: Grouped = Grouped {
    name: "r1-qwen-7b",
    hidden_size: 3584,
    intermediate_size: 18_944,
    num_attention_heads: 28,
    num_key_value_heads: 4,
    vocab_size: 152_064,
    ..QWEN_1_5B
};

const QWEN_14B: Grouped = Grouped {
    name: "r1-qwen-14b",
    hidden_size: 5120,
    intermediate_size: 13_824,
    num_hidden_layers: 48,
    num_attention_heads: 40,
    num_key_value_heads: 8,
    rope_theta: 1_000_000.0,
    rms_norm_eps: 1e-5,
    ..QWEN_7B
};

const QWEN_32B: Grouped =
    Grouped { name: "r1-qwen-32b", intermediate_size: 27_648, num_hidden_layers: 64, ..QWEN_14B };

const LLAMA_8B: Grouped = Grouped {
    name: "r1-llama-8b",
    architecture: "llama",
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    vocab_size: 128_256,
    rope_theta: 500_000.0,
    rms_norm_eps: 1e-5,
};

const LLAMA_70B: Grouped = Grouped {
    name: "r1-llama-70b",
    hidden_size: 8192,
    intermediate_size: 28_672,
    num_hidden_layers: 80,
    num_attention_heads: 64,
    ..LLAMA_8B
};

/// Dense models of other times and houses, for comparison.
const DEEPSEEK_67B: Grouped = Grouped {
    name: "deepseek-67b",
    intermediate_size: 22_016,
    num_hidden_layers: 95,
    vocab_size: 102_400,
    ..LLAMA_70B
};

const QWEN_72B: Grouped = Grouped {
    name: "qwen2.5-72b",
    hidden_size: 8192,
    intermediate_size: 29_568,
    num_hidden_layers: 80,
    num_attention_heads: 64,
    num_key_value_heads: 8,
    ..QWEN_14B
};

const LLAMA_405B: Grouped = Grouped {
    name: "llama-3.1-405b",
    hidden_size: 16_384,
    intermediate_size: 53_248,
    num_hidden_layers: 126,
    num_attention_heads: 128,
    ..LLAMA_70B
};

const COMPARED: [Preset; 3] =
    [Preset::Grouped(DEEPSEEK_67B), Preset::Grouped(QWEN_72B), Preset::Grouped(LLAMA_405B)];

const PRESETS: [Preset; 12] = [
    Preset::Mla(V2_LITE),
    Preset::Mla(V2),
    Preset::Mla(V3),
    Preset::Mla(V32),
    Preset::V4(V4_FLASH),
    Preset::V4(V4_PRO),
    Preset::Grouped(QWEN_1_5B),
    Preset::Grouped(QWEN_7B),
    Preset::Grouped(QWEN_14B),
    Preset::Grouped(QWEN_32B),
    Preset::Grouped(LLAMA_8B),
    Preset::Grouped(LLAMA_70B),
];

impl Preset {
    const fn name(&self) -> &'static str {
        match self {
            Self::Mla(mla) => mla.name,
            Self::V4(v4) => v4.name,
            Self::Grouped(grouped) => grouped.name,
        }
    }

    const fn layers(&self) -> usize {
        match self {
            Self::Mla(mla) => mla.num_hidden_layers,
            Self::V4(v4) => v4.num_hidden_layers,
            Self::Grouped(grouped) => grouped.num_hidden_layers,
        }
    }
}

/// The names of all models of the family.
#[must_use]
pub fn names() -> Vec<&'static str> {
    PRESETS.iter().map(Preset::name).collect()
}

/// The model called `name`, one of the family or one that it is compared with, with all its layers, or with `layers` of them (no more than it has); `None` if there is none.
#[must_use]
pub fn shape(name: &str, layers: Option<usize>) -> Option<Shape> {
    let mut presets = PRESETS.iter().chain(&COMPARED);
    let preset = presets.find(|preset| preset.name().eq_ignore_ascii_case(name))?;
    let layers = layers.map_or(preset.layers(), |layers| layers.clamp(1, preset.layers()));
    Some(match preset {
        Preset::Mla(mla) => mla.shape(layers),
        Preset::V4(v4) => v4.shape(layers),
        Preset::Grouped(grouped) => grouped.shape(layers),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mix;

    #[test]
    fn the_models_have_as_many_parameters_as_their_makers_say() {
        for (name, billions) in [
            ("v2-lite", 15.7),
            ("v2", 235.7),
            ("v3", 670.9),
            ("v3.2", 671.8),
            ("v4-flash", 284.3),
            ("v4-pro", 1572.7),
            ("r1-qwen-1.5b", 1.78),
            ("r1-qwen-7b", 7.62),
            ("r1-qwen-14b", 14.8),
            ("r1-qwen-32b", 32.8),
            ("r1-llama-8b", 8.03),
            ("r1-llama-70b", 70.6),
        ] {
            let found = shape(name, None).expect("a preset").parameters() as f64 / 1e9;
            assert!((found / billions - 1.0).abs() < 0.005, "{name}: {found} billion, expected {billions}");
        }
        assert!(shape("v5", None).is_none());
    }

    #[test]
    fn v4_flash_in_two_bits_is_as_large_as_the_file_that_people_have() {
        let bytes = shape("V4-Flash", None).expect("a preset").bytes(Mix::Q2) as f64;
        assert!((bytes / (80.8 * 1024f64.powi(3)) - 1.0).abs() < 0.01, "{bytes}");
    }

    #[test]
    fn some_layers_are_a_part_of_all() {
        for name in names() {
            let (part, whole) =
                (shape(name, Some(2)).expect("a preset"), shape(name, None).expect("a preset"));
            assert_eq!(part.layers, 2);
            assert!(part.parameters() < whole.parameters() && part.list.len() < whole.list.len());
            let share =
                part.layer_bytes_per_token(Mix::Q8) as f64 / whole.layer_bytes_per_token(Mix::Q8) as f64;
            let expected = 2.0 / whole.layers as f64;
            assert!(
                (share / expected - 1.0).abs() < 0.2,
                "{name}: {share} of the bytes, {expected} of the layers"
            );
        }
    }
}
