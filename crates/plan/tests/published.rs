//! What models weigh and keep of a token, against what their makers and others have published.

use shoal_plan::attention::KvFormat;
use shoal_plan::model::{Model, Role};
use shoal_plan::{Mix, Purpose, presets, published};

fn model(name: &str) -> Model {
    if name == "v4.1-flash" {
        return published::v41_flash(4.25, 8.0);
    }
    Model::of_shape(&presets::shape(name, None).expect(name), Mix::Bf16).expect(name)
}

#[test]
fn rows_of_keys_and_values_are_as_large_as_published() {
    for (name, format, bytes, million_gb) in [
        ("deepseek-67b", KvFormat::Bf16, 389_120.0, "408"),
        ("v2", KvFormat::Bf16, 69_120.0, "72"),
        ("v2-lite", KvFormat::Bf16, 31_104.0, "33"),
        ("v3", KvFormat::Bf16, 70_272.0, "74"),
        ("v3", KvFormat::Fp8, 40_016.0, "42"),
        ("v3.2", KvFormat::Fp8, 48_068.0, "50"),
        ("v4-pro", KvFormat::Bf16, 5_031.0, "5.3"),
        ("v4-flash", KvFormat::Bf16, 3_514.0, "3.7"),
        ("v4.1-flash", KvFormat::Bf16, 890.0, "0.93"),
        ("qwen2.5-72b", KvFormat::Bf16, 327_680.0, "344"),
        ("llama-3.1-405b", KvFormat::Bf16, 516_096.0, "541"),
    ] {
        let found = model(name).attention.bytes_per_token(format);
        assert_eq!(found.round(), bytes, "{name}: {found}");
        let gb = found * f64::from(1 << 20) / 1e9;
        let decimals = million_gb.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        assert_eq!(format!("{gb:.decimals$}"), million_gb, "{name}");
    }
    // 128 tokens in 43 layers.
    let window = model("v4-flash").attention.bytes_per_sequence(KvFormat::Bf16);
    assert_eq!(format!("{:.1}", window / 1e6), "3.2");
    // What another engine keeps of V4-Flash in four bytes an element.
    assert_eq!(model("v4-flash").attention.bytes_per_token(KvFormat::F32), 13_760.0);
    let share = |name: &str, of: &str| {
        model(name).attention.bytes_per_token(KvFormat::Bf16)
            / model(of).attention.bytes_per_token(KvFormat::Fp8)
    };
    assert_eq!(format!("{:.1}", 100.0 * share("v4-pro", "v3.2")), "10.5");
    assert_eq!(format!("{:.1}", 100.0 * share("v4-flash", "v3.2")), "7.3");
}

/// The published sums leave out what is small: norms, biases, routers and hyper-connections.
fn large_matrices(name: &str) -> Model {
    let Some(mut shape) = presets::shape(name, None) else { return model(name) };
    shape.list.retain(|tensor| {
        let is_small = matches!(
            tensor.purpose,
            Purpose::Norm | Purpose::Bias | Purpose::Scale | Purpose::Router | Purpose::Ids { .. }
        );
        !is_small && !tensor.name.contains("hc_")
    });
    Model::of_shape(&shape, Mix::Bf16).expect(name)
}

#[test]
fn models_have_as_many_weights_as_published() {
    let billions = |weights: f64, digits: usize| format!("{:.digits$}", weights / 1e9);
    for (name, total, active, routed) in [
        ("v3", "670.9", "36.5", "97.5"),
        ("v3.2", "671.8", "37.4", "97.3"),
        ("v4-pro", "1572.7", "48.6", "98.4"),
        ("v4-flash", "284.3", "13.2", "97.5"),
        ("v4.1-flash", "551.4", "15.6", "98.6"),
    ] {
        let model = large_matrices(name);
        let experts: f64 =
            model.parts.iter().filter(|part| part.role == Role::Experts).map(|part| part.weights).sum();
        assert_eq!(billions(model.parameters(), 1), total, "{name}");
        assert_eq!(billions(model.active_parameters(), 1), active, "{name}");
        assert_eq!(format!("{:.1}", 100.0 * experts / model.parameters()), routed, "{name}");
    }
    for (name, total, active) in [("v2", "236", "21"), ("deepseek-67b", "67", "67"), ("v2-lite", "16", "2")] {
        assert_eq!(billions(model(name).parameters(), 0), total, "{name}");
        assert_eq!(billions(model(name).active_parameters(), 0), active, "{name}");
    }
    assert!((2.4e9..2.5e9).contains(&large_matrices("v2-lite").active_parameters()));
}

#[test]
fn tokens_spread_over_experts_as_computed_elsewhere() {
    let v3 = model("v3");
    for (tokens, distinct) in [
        (1.0, 8.0),
        (2.0, 16.0),
        (4.0, 31.0),
        (8.0, 57.0),
        (16.0, 102.0),
        (32.0, 163.0),
        (64.0, 222.0),
        (128.0, 252.0),
    ] {
        assert_eq!((256.0 * v3.routed_share(tokens)).round(), distinct, "{tokens} tokens");
    }
}
