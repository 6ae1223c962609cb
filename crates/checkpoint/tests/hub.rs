//! A folder of the hub is shown as the GGUF file of the same model.

use std::path::Path;

use shoal_base::Prng;
use shoal_checkpoint::{Checkpoint, Format, Source};
use shoal_quant::Dtype;
use shoal_testkit::golden_dir;
use shoal_testkit::hub::{EXPERTS, HubModel, Official, Scales};

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path).unwrap_or_else(|error| panic!("{error}"))
}

/// A model of the hub in a temporary folder.
fn folder(model: &HubModel, shards: usize) -> (tempfile::TempDir, Checkpoint) {
    let dir = tempfile::tempdir().expect("a folder");
    model.write(dir.path(), shards);
    let checkpoint = open(dir.path());
    (dir, checkpoint)
}

#[test]
fn metadata_is_that_of_the_gguf_file() {
    let files =
        ["llama", "qwen2", "deepseek_v2", "deepseek_v2_lite", "deepseek_v3", "deepseek_v32", "deepseek_v4"];
    let files = files.map(|family| golden_dir(family).join("model.gguf"));
    let minnow = golden_dir("minnow").join("minnow.bf16.gguf");
    for path in files.iter().chain([&minnow]) {
        let gguf = open(path);
        let (_dir, hub) = folder(&HubModel::of_gguf(path), 1);
        assert_eq!((gguf.format(), hub.format()), (Format::Gguf, Format::Safetensors));
        // How the file was made, and what it is called.
        let own = ["general.name", "general.file_type", "general.quantization_version"];
        let pairs = |c: &Checkpoint| -> Vec<(String, shoal_checkpoint::Value)> {
            let pairs = c.metadata().iter().filter(|(key, _)| !own.contains(key));
            pairs.map(|(key, value)| (key.to_owned(), value.clone())).collect()
        };
        assert_eq!(pairs(&hub), pairs(&gguf), "{}", path.display());
    }
}

#[test]
fn experts_are_pieces_wherever_they_lie() {
    let official = Official::v3(Scales::Any);
    let (_dir, whole) = folder(&official.packed, 1);
    let (_dir, shards) = folder(&official.packed, 5);
    for name in ["blk.1.ffn_gate_exps.weight", "blk.2.ffn_down_exps.weight"] {
        let tensor = shards.tensor(name).expect("experts");
        assert_eq!((tensor.pieces.len(), tensor.shape[2]), (EXPERTS, EXPERTS as u64));
        let mut sources: Vec<usize> = tensor.pieces.iter().map(|piece| piece.codes.source_idx).collect();
        sources.sort_unstable();
        sources.dedup();
        assert!(sources.len() > 1, "{name} is spread: {sources:?}");
        let same = whole.tensor(name).expect("experts");
        let [one, other] = [(&whole, same), (&shards, tensor)].map(|(c, t)| c.read(t).expect("it reads"));
        assert!(one == other && one.len() as u64 == tensor.bytes, "{name}");
    }
    // Columns of the down projection are no whole blocks.
    let dtype = |name: &str| shards.tensor(name).map(|tensor| tensor.dtype);
    assert_eq!(dtype("blk.1.ffn_gate_exps.weight"), Some(Dtype::F8_E4M3));
    assert_eq!(dtype("blk.1.ffn_down_exps.weight"), Some(Dtype::F32));
}

#[test]
fn a_draft_layer_is_shown_if_it_is_whole_and_else_left_out() {
    let mut model = Official::v3(Scales::Any).packed;
    let numbers = |c: &Checkpoint| {
        let number = |key: &str| c.metadata().u32(&format!("deepseek2.{key}")).expect("a number");
        (number("block_count"), number("nextn_predict_layers"))
    };
    let (_dir, whole) = folder(&model, 1);
    assert_eq!(numbers(&whole), (Some(4), Some(1)));
    assert!(whole.tensor("blk.3.nextn.eh_proj.weight").is_some());
    model.tensors.retain(|tensor| tensor.name != "model.layers.3.hnorm.weight");
    let (_dir, cut) = folder(&model, 1);
    assert_eq!(numbers(&cut), (Some(3), None));
    assert!(cut.tensors().iter().all(|tensor| !tensor.name.starts_with("blk.3.")));
}

#[test]
fn divisors_of_llama_are_computed_and_take_no_part_in_the_files() {
    let gguf = open(&golden_dir("llama").join("model.gguf"));
    let (dir, hub) = folder(&HubModel::of_gguf(&golden_dir("llama").join("model.gguf")), 1);
    let name = "rope_freqs.weight";
    let values = |c: &Checkpoint| c.read(c.tensor(name).expect("divisors")).expect("they are there");
    assert_eq!(values(&hub), values(&gguf));
    assert!(matches!(hub.sources(), [Source::File { .. }, Source::Computed(_)]));
    let file = std::fs::metadata(dir.path().join("model.safetensors")).expect("the file");
    assert_eq!(hub.file_bytes(), file.len());
}

#[test]
fn ids_of_64_bits_are_those_of_32() {
    let path = golden_dir("deepseek_v4").join("model.gguf");
    let (gguf, (_dir, hub)) = (open(&path), folder(&HubModel::of_gguf(&path), 2));
    let ids = |c: &Checkpoint| {
        let tensor = c.tensor("blk.1.ffn_gate_tid2eid.weight").expect("a table");
        assert_eq!(tensor.dtype, Dtype::I32);
        c.read(tensor).expect("it reads")
    };
    assert_eq!(ids(&hub), ids(&gguf));
}

#[test]
fn a_folder_keeps_its_fingerprint_and_a_changed_one_has_another() {
    let model = HubModel::of_gguf(&golden_dir("deepseek_v3").join("model.gguf"));
    let (dir, checkpoint) = folder(&model, 2);
    let (_copy, copy) = folder(&model, 2);
    let of = |checkpoint: &Checkpoint| checkpoint.fingerprint().expect("it reads");
    let own = of(&checkpoint);
    assert_eq!(own, of(&copy), "wherever it is");
    let mut prng = Prng::new(1);
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "model-00001-of-00002.safetensors"]
    {
        let path = dir.path().join(file);
        let old = std::fs::read(&path).expect("our own file");
        let mut new = old.clone();
        if file.ends_with(".json") {
            // As JSON it says the same.
            new.push(b' ');
        } else {
            // Tensors are shorter than the pages that are read of them, so every byte counts.
            let at = new.len() - 1 - prng.below(3000) as usize;
            new[at] ^= 1;
        }
        std::fs::write(&path, &new).expect("our own file");
        assert_ne!(own, of(&open(dir.path())), "{file}");
        std::fs::write(&path, &old).expect("our own file");
    }
    assert_eq!(own, of(&open(dir.path())));
}

#[test]
fn the_template_is_that_of_its_own_file_or_the_ordinary_one_of_several() {
    let mut model = HubModel::of_gguf(&golden_dir("deepseek_v3").join("model.gguf"));
    let template =
        |c: &Checkpoint| c.metadata().str("tokenizer.chat_template").expect("text").map(str::to_owned);
    let config = model.tokenizer_config.as_object_mut().expect("an object");
    config.remove("chat_template");
    assert_eq!(template(&folder(&model, 1).1), None);
    let named = [("tool_use", "with tools"), ("default", "plain")];
    let named = named.map(|(name, text)| serde_json::json!({"name": name, "template": text}));
    let config = model.tokenizer_config.as_object_mut().expect("an object");
    config.insert("chat_template".to_owned(), named.to_vec().into());
    let (dir, checkpoint) = folder(&model, 1);
    assert_eq!(template(&checkpoint).as_deref(), Some("plain"));
    std::fs::write(dir.path().join("chat_template.jinja"), "own").expect("our own folder");
    assert_eq!(template(&open(dir.path())).as_deref(), Some("own"));
}
