//! Converts a small checkpoint in hub layout to GGUF: the test models and the built-in one are made with it.
//!
//! ```text
//! config.json ------> Config ----> keys (metadata)  ---+
//! tokenizer*.json --> tokenizer::pairs ----------------+--> GgufWriter --> one file
//! model.safetensors -> Weights --> tensors (layout) ---+
//! ```
//!
//! The whole model is held in memory as f32, so this is no tool for large ones: those exist as GGUF already.
//! Names, keys and layouts are those of the GGUF files people have; where they differ from the hub's, the function
//! that makes the change says so.

mod config;
mod deepseek_v4;
mod keys;
mod mix;
mod tensors;
mod tokenizer;
mod weights;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use shoal_testkit::gguf::GgufWriter;

use config::Config;
use mix::Mix;
use shoal_quant::Dtype;
use tensors::{Tensors, Values};

/// How the command is used.
pub(crate) const USAGE: &str = "cargo xtask convert DIR OUT.gguf --type f32|bf16|f16|q8_0|q5_0|minnow [--mtp] [--name NAME] [--pre NAME]";

struct Options {
    dir: PathBuf,
    out: PathBuf,
    mix: Mix,
    /// Keep the draft layers that follow the decoder layers.
    mtp: bool,
    name: Option<String>,
    pre: Option<String>,
}

/// Runs the command with the arguments that follow its name.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    let bytes = convert(&options)?;
    std::fs::write(&options.out, &bytes)
        .with_context(|| format!("cannot write {}", options.out.display()))?;
    println!("{}: {} bytes", options.out.display(), bytes.len());
    Ok(())
}

fn parse(args: &[String]) -> Result<Options> {
    let (mut paths, mut mix, mut mtp, mut name, mut pre) = (Vec::new(), None, false, None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} wants a value; usage: {USAGE}"));
        match arg.as_str() {
            "--type" => mix = Some(value()?.parse()?),
            "--mtp" => mtp = true,
            "--name" => name = Some(value()?.clone()),
            "--pre" => pre = Some(value()?.clone()),
            flag if flag.starts_with('-') => bail!("no flag `{flag}`; usage: {USAGE}"),
            path => paths.push(PathBuf::from(path)),
        }
    }
    let (Some(mix), [dir, out]) = (mix, paths.as_slice()) else { bail!("usage: {USAGE}") };
    Ok(Options { dir: dir.clone(), out: out.clone(), mix, mtp, name, pre })
}

fn convert(options: &Options) -> Result<Vec<u8>> {
    let dir = &options.dir;
    let config: Config = read_json(&dir.join("config.json"))?;
    let weights = std::fs::read(dir.join("model.safetensors"))
        .with_context(|| format!("cannot read model.safetensors in {}", dir.display()))?;
    let drafts = if options.mtp { config.draft_layers() } else { 0 };
    let tensors = Tensors::build(&config, weights::Weights::open(&weights)?, drafts)?;

    let name =
        options.name.clone().unwrap_or_else(|| dir.file_name().unwrap_or_default().display().to_string());
    let pairs = keys::pairs(&config, &name, options.mix, drafts)?;
    let tokenizer = read_json(&dir.join("tokenizer.json"))?;
    let tokenizer_config = read_json(&dir.join("tokenizer_config.json"))?;
    let vocabulary =
        tokenizer::pairs(&tokenizer, &tokenizer_config, config.vocab_size, options.pre.as_deref())?;

    let mut writer = GgufWriter::new(3);
    for (key, value) in pairs.into_iter().chain(vocabulary) {
        writer = writer.kv(&key, value);
    }
    for tensor in tensors {
        let (dtype, bytes) = match &tensor.values {
            Values::Weights(values) => {
                let dtype = options.mix.dtype(&tensor, values);
                (dtype, mix::encode(dtype, &tensor, values)?)
            }
            Values::Ids(ids) => (Dtype::I32, ids.iter().flat_map(|id| id.to_le_bytes()).collect()),
        };
        let dims: Vec<u64> = tensor.shape.iter().rev().map(|&dim| dim as u64).collect();
        writer = writer.tensor(&tensor.name, dtype.ggml_id(), &dims, &bytes);
    }
    Ok(writer.finish())
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not what it should be", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn arguments_are_read_and_nonsense_is_refused() {
        let options = parse(&args("in out.gguf --type minnow --mtp --name minnow")).unwrap();
        assert!(options.mtp && options.name.as_deref() == Some("minnow") && options.pre.is_none());
        assert_eq!((options.dir, options.out), (PathBuf::from("in"), PathBuf::from("out.gguf")));
        for bad in
            ["in out --type q9", "in out", "in --type f32", "in out --type", "in out --type f32 --fast"]
        {
            assert!(parse(&args(bad)).is_err(), "{bad}");
        }
    }
}
