//! Each way a folder of the hub can be wrong gives one sentence that names the place; no header makes the parser panic.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use shoal_checkpoint::Checkpoint;
use shoal_checkpoint::safetensors::parse;
use shoal_testkit::golden_dir;
use shoal_testkit::hub::{HubModel, Official, Scales};
use shoal_testkit::safetensors::{HubTensor, file_of};

/// Asserts that the bytes are refused with each of `parts`.
fn refused_bytes(bytes: &[u8], parts: &[&str]) {
    let sentence = parse("m.safetensors", bytes, bytes.len() as u64).expect_err("a broken file").to_string();
    for part in parts.iter().chain(&["m.safetensors"]) {
        assert!(sentence.contains(part), "expected `{part}` in: {sentence}");
    }
    assert!(!sentence.contains('\u{1b}'), "{sentence}");
}

/// The same for a header, before 16 bytes of data.
fn refused(header: &str, parts: &[&str]) {
    refused_bytes(&file_of(header, &[0; 16]), parts);
}

/// A header with one tensor.
fn one(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#"{{"t":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
}

#[test]
fn the_length_of_the_header_is_checked_before_memory_is_taken() {
    refused_bytes(b"", &["cut off", "the length of the header needs 8 bytes, 0 remain"]);
    refused_bytes(b"1234567", &["cut off", "7 remain"]);
    refused_bytes(&1u64.to_le_bytes(), &["cut off", "the header needs 1 bytes, 0 remain"]);
    refused_bytes(&99_999_999u64.to_le_bytes(), &["cut off", "99999999 bytes"]);
    for len in [100_000_001, u64::MAX, 1 << 63] {
        refused_bytes(&len.to_le_bytes(), &["the length of the header is", "limit of 100000000"]);
    }
    refused_bytes(b"GGUF\x03\0\0\0 and so on", &["the length of the header is 14064895815"]);
}

#[test]
fn a_header_is_json_of_tensors() {
    for header in ["", "[]", "{", "1", "{\"t\":1}", "{\"t\":{}}", "\u{1b}[2J", "{\"\u{1b}\":{}}"] {
        refused(header, &["is not the JSON that it should be"]);
    }
    refused(&one("F32", "[-1]", "[0,4]"), &["is not the JSON", "invalid value"]);
    refused(&one("F32", "[1.5]", "[0,4]"), &["is not the JSON"]);
    refused(&one("F32", "[18446744073709551616]", "[0,4]"), &["is not the JSON"]);
    refused(&one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), &["at most 8 dimensions"]);
    refused(&one("F32", "[1]", "[0]"), &["is not the JSON"]);
    refused(&one("F32", "[1]", "[0,4,8]"), &["is not the JSON"]);
    assert_eq!(parse("m", &file_of("{}", b"")[..], 10).expect("nothing in it"), []);
}

#[test]
fn a_name_occurs_once() {
    let tensor = r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    refused(&format!(r#"{{"a":{tensor},"b":{tensor},"a":{tensor}}}"#), &["the tensor name `a` occurs twice"]);
    let escaped = r"\u001b[2J";
    refused(&format!(r#"{{"{escaped}":{tensor},"{escaped}":{tensor}}}"#), &["`\\u{1b}[2J`"]);
}

#[test]
fn tensors_lie_in_the_file_and_are_as_long_as_they_say() {
    refused(&one("F32", "[4]", "[4,20]"), &["tensor `t` goes from 4 to 20", "within the 16 bytes"]);
    refused(&one("F32", "[4]", "[0,18446744073709551615]"), &["within the 16 bytes"]);
    refused(&one("F32", "[4]", "[16,0]"), &["goes from 16 to 0"]);
    refused(&one("F32", "[5]", "[0,16]"), &["`t` of F32 [5] has 16 bytes: expected 20"]);
    refused(&one("BF16", "[2,3]", "[0,16]"), &["`t` of BF16 [2, 3]", "expected 12"]);
    refused(&one("F8_E8M0", "[15]", "[0,16]"), &["F8_E8M0", "expected 15"]);
    refused(&one("I64", "[]", "[0,16]"), &["I64 []", "expected 8"]);
    refused(&one("F32", "[4,0]", "[0,16]"), &["expected 0"]);
    for shape in ["[4294967296,4294967296]", "[18446744073709551615,2]", "[2305843009213693952,8]"] {
        refused(&one("U8", shape, "[0,16]"), &["`t`", "larger than any file can be"]);
    }
    let stored =
        parse("m", &file_of(&one("X9", "[7]", "[3,5]"), &[0; 16])[..], 1000).expect("nobody needs it");
    assert_eq!((stored[0].element.to_string().as_str(), stored[0].bytes), ("`X9`", 2));
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[16,20]}}"#;
        let mut file = file_of(header, &[0; 20]);
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(tensors) = parse("m", &file[..], file.len() as u64) {
            prop_assert!(tensors.iter().all(|t| t.offset + t.bytes <= file.len() as u64));
        }
    }

    #[test]
    fn random_headers_never_panic(header in "[\\[\\]{}\",:a-z0-9_]{0,60}") {
        let _ = parse("m", &file_of(&header, &[0; 4])[..], 1000);
    }
}

/// The sentence with which a folder is refused that `change` has spoilt.
fn refusal(model: &HubModel, shards: usize, change: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    model.write(dir.path(), shards);
    change(dir.path());
    let sentence = Checkpoint::open(dir.path()).map(|_| ()).expect_err("a broken folder").to_string();
    sentence.replace(&dir.path().display().to_string(), "DIR")
}

fn v3() -> HubModel {
    HubModel::of_gguf(&golden_dir("deepseek_v3").join("model.gguf"))
}

#[test]
fn the_index_names_files_of_the_same_folder_that_hold_what_it_says() {
    const INDEX: &str = "model.safetensors.index.json";
    let of = |map: Json| {
        refusal(&v3(), 2, |dir| {
            let index = json!({"weight_map": map}).to_string();
            std::fs::write(dir.join(INDEX), index).expect("our own folder");
        })
    };
    for name in ["../x.safetensors", "/etc/passwd", "a/b", "..", ".", "", "a\\b", "./x"] {
        let sentence = of(json!({"t": name}));
        assert!(
            sentence.starts_with("DIR/model.safetensors.index.json: the weights are said to be in"),
            "{sentence}"
        );
        assert!(sentence.ends_with("expected the name of a file in the same folder"), "{sentence}");
    }
    let [first, second] = [1, 2].map(|no| format!("model-0000{no}-of-00002.safetensors"));
    assert_eq!(
        of(json!({"t": "none"})),
        "the weight file DIR/none is missing, which DIR/model.safetensors.index.json names"
    );
    let misplaced = of(json!({"lm_head.weight": first, "model.norm.weight": second, "none": second}));
    assert!(misplaced.contains("is said to be in `model-0000"), "{misplaced}");
    let many: serde_json::Map<String, Json> =
        (0..1025).map(|i| (i.to_string(), i.to_string().into())).collect();
    assert!(of(many.into()).contains("the number of weight files is 1025, more than the limit of 1024"));
    let sentence = refusal(&v3(), 2, |dir| std::fs::write(dir.join(INDEX), "[").expect("our own folder"));
    assert!(sentence.starts_with("DIR/model.safetensors.index.json is not the JSON"), "{sentence}");
    let twice = refusal(&v3(), 2, |dir| {
        std::fs::copy(dir.join(&first), dir.join(&second)).expect("our own folder");
    });
    assert!(twice.contains("occurs twice"), "{twice}");
}

/// The refusal of a model whose configuration has this field.
fn field(key: &str, value: Json) -> String {
    let mut model = v3();
    model.config.insert(key.to_owned(), value);
    refusal(&model, 1, |_| {})
}

#[test]
fn the_configuration_is_checked() {
    assert_eq!(
        field("model_type", json!("gpt_oss")),
        "DIR/config.json: `model_type`: expected llama, qwen2, deepseek_v2, deepseek_v3, deepseek_v32 or deepseek_v4, found `gpt_oss`"
    );
    for (key, value) in [
        ("num_hidden_layers", json!(0)),
        ("num_hidden_layers", json!(1 << 20)),
        ("hidden_size", json!(u64::MAX)),
        ("n_routed_experts", json!(1u64 << 40)),
        ("vocab_size", json!(1u64 << 40)),
        ("num_attention_heads", json!(0)),
        ("rope_interleave", json!(false)),
        ("quantization_config", json!({"weight_block_size": [0, 128]})),
        ("scoring_func", json!("\u{1b}")),
        ("rope_scaling", json!({"type": "magic", "factor": 2.0})),
        ("rope_scaling", json!({"type": "yarn", "factor": 2.0})),
        ("rope_scaling", json!({"type": "linear"})),
    ] {
        let sentence = field(key, value);
        assert!(
            sentence.starts_with("DIR/config.json: `") && sentence.contains("expected"),
            "{key}: {sentence}"
        );
        assert!(!sentence.contains('\u{1b}'), "{sentence}");
    }
    for (key, value) in
        [("num_hidden_layers", json!(-1)), ("hidden_size", json!("64")), ("vocab_size", Json::Null)]
    {
        let sentence = field(key, value);
        assert!(
            sentence.starts_with("DIR/config.json is not the JSON that it should be"),
            "{key}: {sentence}"
        );
    }
    assert!(
        field("num_hidden_layers", json!(5))
            .contains("tensor `model.layers.4.input_layernorm.weight` is missing")
    );
    let narrow = field("hidden_size", json!(32));
    assert!(
        narrow.contains("expected the shape [512, 32]") && narrow.contains("found [512, 64]"),
        "{narrow}"
    );
    let large = refusal(&v3(), 1, |dir| {
        let file = std::fs::OpenOptions::new().write(true).open(dir.join("config.json")).expect("our own");
        file.set_len(1 << 40).expect("a hole");
    });
    assert_eq!(large, "DIR/config.json: its length is 33554433, more than the limit of 33554432");
}

/// The refusal of a model after `change` to the tensor `name`.
fn tensor(model: &HubModel, name: &str, change: impl FnOnce(&mut HubTensor)) -> String {
    let mut model = model.clone();
    change(model.tensors.iter_mut().find(|tensor| tensor.name == name).expect("such a tensor"));
    refusal(&model, 1, |_| {})
}

/// Asserts that a model is refused with `parts` after its tensor `name` became what is given.
fn retyped(model: &HubModel, name: &str, element: &'static str, shape: &[usize], parts: &[&str]) {
    let size = match element {
        "F64" | "I64" => 8,
        "F32" => 4,
        "F16" | "BF16" => 2,
        _ => 1,
    };
    let bytes = vec![0; shape.iter().product::<usize>() * size];
    let sentence = tensor(model, name, |tensor| {
        (tensor.element, tensor.shape, tensor.bytes) = (element, shape.to_vec(), bytes);
    });
    for part in parts.iter().chain(&[name]) {
        assert!(sentence.contains(part), "expected `{part}` in: {sentence}");
    }
}

#[test]
fn weights_are_of_a_type_and_a_shape_that_are_known() {
    let (v3, norm, head) = (v3(), "model.norm.weight", "lm_head.weight");
    let missing = tensor(&v3, norm, |tensor| tensor.name.push('s'));
    assert!(
        missing.contains("tensor `model.norm.weight` is missing; the architecture needs it"),
        "{missing}"
    );
    retyped(&v3, norm, "F64", &[64], &["is stored as `F64`: expected F32, F16 or BF16"]);
    retyped(&v3, norm, "F8_E4M3", &[64], &["is stored as F8_E4M3: expected F32, F16 or BF16"]);
    retyped(
        &v3,
        norm,
        "BF16",
        &[64, 1],
        &["expected the shape [64] (slowest dimension first), found [64, 1]"],
    );
    retyped(&v3, head, "I64", &[512, 64], &["is stored as I64: expected F32", "F8_E4M3, or FP4 as I8"]);
    retyped(&v3, head, "F8_E4M3", &[512, 64], &["tensor `lm_head.weight_scale_inv` is missing"]);
    retyped(&v3, head, "I8", &[512, 32], &["tensor `lm_head.weight_scale_inv` is missing"]);
    retyped(&v3, head, "I8", &[512, 64], &["expected the shape [512, 32]"]);
}

#[test]
fn scales_fit_their_weights_and_experts_each_other() {
    let (v3, v4) = (Official::v3(Scales::Any).packed, Official::v4(3).packed);
    let scale = "model.layers.0.self_attn.o_proj.weight_scale_inv";
    retyped(&v3, scale, "F32", &[1, 2], &["expected the shape [2, 1]", "found [1, 2]"]);
    retyped(&v3, scale, "F16", &[2, 1], &["is stored as F16: expected F32 or F8_E8M0"]);
    let expert = "model.layers.1.mlp.experts.3.up_proj.weight";
    retyped(&v3, expert, "BF16", &[192, 256], &["is stored in another way than that of the first expert"]);
    let scale = "layers.1.ffn.experts.2.w1.scale";
    retyped(&v4, scale, "F8_E8M0", &[128, 4], &["expected the shape [128, 8]", "found [128, 4]"]);
    retyped(&v4, scale, "U8", &[128, 8], &["is stored as `U8`: expected F8_E8M0"]);
    retyped(&v4, "layers.0.ffn.gate.tid2eid", "F32", &[512, 3], &["is stored as F32: expected I64 or I32"]);
}

#[test]
fn a_tensor_of_which_nothing_is_known_is_not_passed_over() {
    let mut model = v3();
    let bias =
        |name: &str| HubTensor { name: name.to_owned(), element: "F32", shape: vec![1], bytes: vec![0; 4] };
    model.tensors.extend([bias("model.layers.0.self_attn.o_proj.bias"), bias("model.norm.bias")]);
    assert_eq!(
        refusal(&model, 1, |_| {}),
        "DIR: nothing is known of tensor `model.layers.0.self_attn.o_proj.bias`, and of 1 more"
    );
}

#[test]
fn the_tokenizer_is_checked() {
    let with = |key: &str, value: Json| {
        let mut model = v3();
        model.tokenizer[key] = value;
        refusal(&model, 1, |_| {})
    };
    let bpe = |kind: &str, id: usize| json!({"type": kind, "vocab": {"a": id}, "merges": []});
    assert_eq!(
        with("model", bpe("Unigram", 0)),
        "DIR/tokenizer.json: `model.type`: expected BPE, found `Unigram`"
    );
    assert_eq!(
        with("model", bpe("BPE", 512)),
        "DIR/tokenizer.json: `a`: expected an id below the vocab_size 512, found 512"
    );
    assert!(with("pre_tokenizer", Json::Null).contains("`pre_tokenizer`: expected that of deepseek-v3"));
    assert!(with("added_tokens", json!([{"id": -1, "content": "x"}])).contains("is not the JSON"));
    let missing = refusal(&v3(), 1, |dir| std::fs::remove_file(dir.join("tokenizer.json")).expect("our own"));
    assert!(missing.starts_with("DIR is a folder without tokenizer.json"), "{missing}");
    let template = refusal(&v3(), 1, |dir| {
        std::fs::write(dir.join("chat_template.jinja"), [0xFF]).expect("our own");
    });
    assert_eq!(template, "DIR/chat_template.jinja: the template is not valid UTF-8");
}
