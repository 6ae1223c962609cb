//! A draft layer from a file of its own: it joins the model that it belongs to, and no other.

use shoal_checkpoint::{Checkpoint, Value};
use shoal_model::{Error, ModelConfig, with_draft_layer};
use shoal_testkit::gguf::GgufWriter;
use shoal_testkit::{builtin_model, golden_dir};

fn golden(name: &str) -> Checkpoint {
    Checkpoint::open(&golden_dir("deepseek_v4").join(name)).expect("a golden file reads")
}

/// What is said, from the name of the file on.
fn sentence(result: Result<Checkpoint, Error>) -> String {
    let all = result.expect_err("it is refused").to_string();
    let name = all.find(".gguf").map_or(0, |end| all[..end].rfind('/').map_or(0, |slash| slash + 1));
    all[name..].to_owned()
}

#[test]
fn both_kinds_of_files_give_the_same_tensors() {
    let model = golden("model.gguf");
    let (tensors, bytes) = (model.tensors().len(), model.file_bytes());
    let before = model.fingerprint().expect("it reads");
    let [converted, ds4] = ["draft.gguf", "draft_ds4.gguf"].map(|name| {
        let draft = golden(name);
        let all_bytes = bytes + draft.file_bytes();
        let joined = with_draft_layer(golden("model.gguf"), draft).expect("its draft layer");
        assert_eq!(joined.file_bytes(), all_bytes);
        assert_ne!(
            joined.fingerprint().expect("it reads"),
            before,
            "{name}: another model for what is derived"
        );
        for (key, value) in [("block_count", 5), ("nextn_predict_layers", 1)] {
            assert_eq!(joined.metadata().u32(&format!("deepseek4.{key}")).expect("a number"), Some(value));
        }
        joined
    });
    // The two projections are one matrix in one and two in the other.
    let names = |joined: &Checkpoint| {
        let own = joined.tensors()[tensors..].iter().map(|tensor| tensor.name.clone());
        let mut names: Vec<_> =
            own.filter(|name| !name.contains("h_proj") && !name.contains("e_proj")).collect();
        names.sort();
        names
    };
    assert_eq!(names(&converted), names(&ds4));
    for name in names(&ds4) {
        let [a, b] = [&converted, &ds4].map(|joined| joined.read(joined.tensor(&name).expect("it is there")));
        assert_eq!(a.expect("it reads"), b.expect("it reads"), "{name}");
    }
    let shape = |joined: &Checkpoint, name: &str| joined.tensor(name).map(|tensor| tensor.shape.clone());
    assert_eq!(shape(&converted, "blk.4.nextn.eh_proj.weight"), Some(vec![128, 64]));
    assert_eq!(shape(&ds4, "blk.4.nextn.h_proj.weight"), Some(vec![64, 64]));
    assert!(shape(&converted, "blk.4.nextn.hc_head_fn.weight").is_some());
}

#[test]
fn what_does_not_belong_together_is_refused_in_a_sentence() {
    let error = sentence(with_draft_layer(golden("model.gguf"), golden("model.gguf")));
    assert_eq!(
        error,
        "model.gguf holds no draft layer for this model: expected tensors `blk.4.nextn.*` or `mtp.0.*`, found none"
    );
    let minnow = Checkpoint::open(&builtin_model()).expect("the built-in model reads");
    let error = sentence(with_draft_layer(minnow, golden("draft.gguf")));
    assert_eq!(
        error,
        "draft.gguf cannot give minnow a draft layer: expected a model without one, found one in its own files"
    );
}

#[test]
fn a_tensor_that_comes_twice_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("twice.gguf");
    let mut file = GgufWriter::new(3).kv("general.architecture", "deepseek4");
    for name in ["mtp.0.enorm.weight", "blk.4.nextn.enorm.weight"] {
        file = file.tensor(name, 0, &[4], &[0; 16]);
    }
    std::fs::write(&path, file.finish()).expect("a temporary file");
    let twice = Checkpoint::open(&path).expect("each name is its own");
    let error = sentence(with_draft_layer(golden("model.gguf"), twice));
    assert_eq!(error, "twice.gguf: the tensor name `blk.4.nextn.enorm.weight` occurs twice");
}

#[test]
fn a_draft_layer_that_is_counted_and_left_out_is_not_missed() {
    let pairs = [("block_count", 5), ("nextn_predict_layers", 1)];
    let pairs = pairs.map(|(key, value)| (format!("deepseek4.{key}"), Value::U32(value)));
    let counted =
        golden("model.gguf").joined(golden("draft.gguf"), |_| None, pairs).expect("nothing comes twice");
    let layers = |model: &Checkpoint| {
        let config = ModelConfig::read(model).expect("a good model").with_drafts(true);
        (config.common().num_hidden_layers, config.common().layers_used())
    };
    assert_eq!(layers(&counted), (4, 4));
    let joined =
        with_draft_layer(counted, golden("draft_ds4.gguf")).expect("it takes the place that was kept");
    assert_eq!(layers(&joined), (4, 5));
}
