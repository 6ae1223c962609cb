//! Converts a small model in hub layout to GGUF: the test models and the built-in one are made with it.
//!
//! `shoal-checkpoint` shows such a model under the keys and names of a GGUF file. What is left to do is to lay its tensors out as new
//! files have them (`layout`), in the format that is asked for (`mix`).
//!
//! A tensor is held in memory as f32 and the file as a whole, so this is no tool for large models: those exist as GGUF already.

mod layout;
mod mix;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use shoal_checkpoint::{Checkpoint, Format, Metadata, TensorInfo, Value as Stored};
use shoal_quant::Dtype;
use shoal_testkit::gguf::{GgufWriter, Value};

use layout::Heads;
use mix::{Mix, Values};

/// How the command is used.
pub(crate) const USAGE: &str =
    "cargo xtask convert DIR OUT.gguf --type f32|bf16|f16|q8_0|q5_0|minnow [--mtp] [--name NAME]";

struct Options {
    dir: PathBuf,
    out: PathBuf,
    mix: Mix,
    /// Keep the draft layers that follow the decoder layers.
    mtp: bool,
    name: Option<String>,
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
    let (mut paths, mut mix, mut mtp, mut name) = (Vec::new(), None, false, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} wants a value; usage: {USAGE}"));
        match arg.as_str() {
            "--type" => mix = Some(value()?.parse()?),
            "--mtp" => mtp = true,
            "--name" => name = Some(value()?.clone()),
            flag if flag.starts_with('-') => bail!("no flag `{flag}`; usage: {USAGE}"),
            path => paths.push(PathBuf::from(path)),
        }
    }
    let (Some(mix), [dir, out]) = (mix, paths.as_slice()) else { bail!("usage: {USAGE}") };
    Ok(Options { dir: dir.clone(), out: out.clone(), mix, mtp, name })
}

fn convert(options: &Options) -> Result<Vec<u8>> {
    let checkpoint = Checkpoint::open(&options.dir)?;
    let is_hub = checkpoint.format() == Format::Safetensors;
    ensure!(is_hub, "{}: expected a folder with safetensors files", options.dir.display());
    let (heads, drafts) = (Heads::of(&checkpoint)?, Drafts::of(checkpoint.metadata())?);
    let mut writer = GgufWriter::new(3);
    for (key, value) in checkpoint.metadata().iter() {
        let value = match (key, &options.name) {
            ("general.name", Some(name)) => name.as_str().into(),
            _ if options.mtp => written(value)?,
            _ => match drafts.left_out_of(key, value) {
                Some(value) => written(&value)?,
                None => continue,
            },
        };
        writer = writer.kv(key, value);
        if key == "general.name" {
            writer = writer.kv("general.file_type", options.mix.file_type());
            writer = writer.kv("general.quantization_version", 2u32);
        }
    }
    for info in checkpoint.tensors().iter().filter(|info| options.mtp || !drafts.has(info)) {
        for tensor in layout::convert(&checkpoint, info, &heads)? {
            let (dtype, bytes) = match &tensor.values {
                Values::Weights(values) => {
                    let dtype = options.mix.dtype(&tensor, values);
                    (dtype, mix::encode(dtype, &tensor, values)?)
                }
                Values::Ids(ids) => (Dtype::I32, ids.clone()),
            };
            let dims: Vec<u64> = tensor.shape.iter().rev().map(|&dim| dim as u64).collect();
            let id = dtype.ggml_id().with_context(|| format!("no GGUF file holds {dtype}"))?;
            writer = writer.tensor(&tensor.name, id, &dims, &bytes);
        }
    }
    Ok(writer.finish())
}

/// The layers behind those of the model itself, and the keys that count them.
struct Drafts {
    architecture: String,
    /// Number of the first.
    first: u32,
}

impl Drafts {
    fn of(metadata: &Metadata) -> Result<Self> {
        let architecture = metadata.required_str("general.architecture")?.to_owned();
        let drafts = metadata.u32(&format!("{architecture}.nextn_predict_layers"))?.unwrap_or(0);
        let first = metadata.required_u32(&format!("{architecture}.block_count"))? - drafts;
        Ok(Self { architecture, first })
    }

    /// Whether a tensor is one of theirs.
    fn has(&self, info: &TensorInfo) -> bool {
        let layer = info.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        layer.and_then(|(layer, _)| layer.parse().ok()).is_some_and(|layer: u32| layer >= self.first)
    }

    /// A pair of a model without them.
    fn left_out_of(&self, key: &str, value: &Stored) -> Option<Stored> {
        match key.strip_prefix(&self.architecture) {
            Some(".block_count") => Some(Stored::U32(self.first)),
            Some(".nextn_predict_layers") => None,
            _ => Some(value.clone()),
        }
    }
}

/// A value as the writer takes it; those that a hub model has.
fn written(value: &Stored) -> Result<Value> {
    Ok(match value.clone() {
        Stored::U32(number) => number.into(),
        Stored::F32(number) => number.into(),
        Stored::Bool(flag) => flag.into(),
        Stored::Str(text) => text.into(),
        Stored::I32s(numbers) => numbers.into(),
        Stored::U32s(numbers) => numbers.into(),
        Stored::F32s(numbers) => numbers.into(),
        Stored::Strings(texts) => texts.into(),
        other => bail!("a value that no hub model has: {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_testkit::golden_dir;
    use shoal_testkit::hub::HubModel;

    /// The golden files are what this command makes: of each the folder that it came from is made, and it is converted again.
    #[test]
    fn what_was_converted_is_converted_to_the_same_bytes() {
        let families = [
            "llama",
            "qwen2",
            "deepseek_v2",
            "deepseek_v2_lite",
            "deepseek_v3",
            "deepseek_v32",
            "deepseek_v4",
        ];
        for family in families {
            let golden = golden_dir(family).join("model.gguf");
            let dir = std::env::temp_dir().join(format!("shoal-convert-{family}-{}", std::process::id()));
            HubModel::of_gguf(&golden).write(&dir, 2);
            let name = Some(family.to_owned());
            let options = Options {
                dir: dir.clone(),
                out: PathBuf::new(),
                mix: Mix::All(Dtype::BF16),
                mtp: false,
                name,
            };
            let bytes = convert(&options).expect("it is converted");
            std::fs::remove_dir_all(&dir).expect("our own folder");
            assert!(bytes == std::fs::read(golden).expect("the golden file"), "{family}");
        }
    }

    fn args(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn arguments_are_read_and_nonsense_is_refused() {
        let options = parse(&args("in out.gguf --type minnow --mtp --name minnow")).unwrap();
        assert!(options.mtp && options.name.as_deref() == Some("minnow"));
        assert_eq!((options.dir, options.out), (PathBuf::from("in"), PathBuf::from("out.gguf")));
        for bad in
            ["in out --type q9", "in out", "in --type f32", "in out --type", "in out --type f32 --fast"]
        {
            assert!(parse(&args(bad)).is_err(), "{bad}");
        }
    }
}
