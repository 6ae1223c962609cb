//! Models as folders of the hub: everything that takes a GGUF file takes them.

use shoal_testkit::golden_dir;
use shoal_testkit::hub::{HubModel, Official};

use crate::{Place, arg};

#[test]
fn a_folder_answers_as_the_gguf_file_of_the_same_model() {
    let (place, gguf) = (Place::new(), golden_dir("minnow").join("minnow.bf16.gguf"));
    let folder = place.path("fish");
    HubModel::of_gguf(&gguf).write(&folder, 2);
    let answer = |model: &str, more: &[&str]| {
        let args = [&["run", model, "Once upon a time", "--raw", "--temp", "0", "-n", "24", "--json"], more]
            .concat();
        let json = place.run(&args).json();
        (json["answer"].clone(), json["model"].clone())
    };
    let want = answer(arg(&gguf), &[]).0;
    assert_eq!(answer("fish", &[]), (want.clone(), "fish".into()));
    let shard = folder.join("model-00002-of-00002.safetensors");
    for file in [folder.join("config.json"), shard] {
        assert_eq!(answer(arg(&file), &["--memory", "300MiB"]).0, want, "{}", file.display());
    }
    place.run(&["bench", arg(&folder), "-p", "8", "-n", "0", "--runs", "2", "--json"]).json();
}

#[test]
fn inspect_shows_what_official_files_become() {
    let place = Place::new();
    let folder = place.path("v4");
    Official::v4(3).packed.write(&folder, 3);
    let json = place.run(&["inspect", arg(&folder), "--json"]).json();
    assert_eq!((&json["architecture"], &json["parts"]), (&"deepseek4".into(), &3.into()));
    let groups = json["groups"].as_array().expect("groups");
    let has = |name: &str, dtype: &str| groups.iter().any(|g| g["name"] == name && g["dtype"] == dtype);
    assert!(has("routed experts", "MXFP4") && has("attention", "F8_E4M3"), "{json}");
    assert!(has("embedding and output", "BF16"), "{json}");
}

#[test]
fn what_a_folder_lacks_is_named() {
    let place = Place::new();
    let folder = place.path("v3");
    HubModel::of_gguf(&golden_dir("deepseek_v3").join("model.gguf")).write(&folder, 2);
    for (file, parts) in [
        ("model-00002-of-00002.safetensors", &["the weight file", "model-00002-of-00002", "is missing"][..]),
        ("model.safetensors.index.json", &["is a folder without model.safetensors"]),
        ("config.json", &["is a folder without config.json"]),
    ] {
        std::fs::remove_file(folder.join(file)).expect("it is there");
        place.run(&["run", arg(&folder), "hi"]).refused(parts);
        place.run(&["inspect", arg(&folder)]).refused(parts);
    }
}
