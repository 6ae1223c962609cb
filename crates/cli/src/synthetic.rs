//! Some layers of a model that is not here, made of random weights, so that its speed is known before it is downloaded.
//!
//! ```text
//! all layers     a file of holes with the true header: how would memory be divided?   --> share of experts in memory
//! some layers    a file with random weights, deleted as soon as it is open            --> time per token, layers and head apart
//! ```
//! The measured layers get slots for as great a part of their experts as the whole model would have. What a token takes in them
//! is carried over by the bytes that it reads there; head and embedding are there once in both. Random weights route evenly, so
//! where experts come from a drive a real text, which comes back to the same experts, fares better.

use std::fs::File;
use std::io::IsTerminal;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use shoal_base::Prng;
use shoal_checkpoint::write::{NewTensor, header};
use shoal_checkpoint::{Checkpoint, Value};
use shoal_kernels::profile::Profile;
use shoal_model::memory::Footprint;
use shoal_model::{ModelConfig, Traffic, Work};
use shoal_plan::{Mix, Model, Purpose, Shape, TensorShape, presets};
use shoal_quant::Dtype;
use shoal_quant::synthetic::random_blocks;

use crate::division::{Division, Wish};
use crate::loaded::{Loaded, Runtime, load};
use crate::meter::PhaseMeter;

/// Random bytes that are made once for each kind of tensor; longer ones repeat them from another beginning.
const POOL_BYTES: usize = 8 << 20;

/// What a layer with such weights adds to the residual: the root of the mean square of both its parts together, halved for the middle.
const LAYER_SPREAD: f32 = 0.5;

/// Sections of a model that are there once, however many layers there are.
const ONCE: [&str; 2] = ["embedding", "head"];

/// Some layers of a model.
pub(crate) struct Slice {
    whole: Shape,
    part: Shape,
    mix: Mix,
}

impl Slice {
    /// `layers` layers of the model called `name`, or all if it has no more.
    pub(crate) fn new(name: &str, layers: usize, mix: Mix) -> anyhow::Result<Self> {
        let (Some(whole), Some(part)) = (presets::shape(name, None), presets::shape(name, Some(layers)))
        else {
            bail!("--synthetic {name}: expected one of {}", presets::names().join(", "));
        };
        Ok(Self { whole, part, mix })
    }

    /// What the carried over numbers are of.
    pub(crate) fn whole(&self) -> String {
        format!("all {} layers of {} in {}", self.whole.layers, self.whole.name, self.mix.name())
    }

    /// The layers as a planner sees them.
    pub(crate) fn part_to_plan(&self) -> anyhow::Result<Model> {
        Ok(Model::of_shape(&self.part, self.mix)?)
    }

    /// Writes the layers to a file in `folder`, loads them with their share of the memory, and deletes the file.
    pub(crate) fn load(&self, folder: &Path, runtime: Runtime) -> anyhow::Result<Loaded> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let whole = Scratch::of_holes(&self.whole, self.mix, folder)?;
        let (config, checkpoint) = (ModelConfig::read(&whole.checkpoint)?, &whole.checkpoint);
        let wish = runtime.wish(config.common().max_position_embeddings);
        let division = Division::new(self.whole.name, checkpoint, &config, wish)?;

        let part = Scratch::filled(&self.part, self.whole.layers, self.mix, folder)?;
        let config = ModelConfig::read(&part.checkpoint)?;
        let wish = self.wish_of_part(&division, wish, &part.checkpoint, &config)?;
        eprintln!("{}: {}", self.whole(), division.line());
        let Scratch { checkpoint, file } = part;
        let loaded = load(checkpoint, &runtime.with_wish(wish));
        drop(file);
        loaded
    }

    /// What the layers are loaded with, so that as great a part of the layers' experts has a slot as of all of the model's in `whole`, and prompts are read in chunks as
    /// long: how many tokens share what is read of an expert decides how fast a prompt is.
    fn wish_of_part(
        &self,
        whole: &Division,
        wish: Wish,
        part: &Checkpoint,
        config: &ModelConfig,
    ) -> anyhow::Result<Wish> {
        let own = Footprint::of(part, config);
        let wish = Wish { chunk: Some(whole.prefill_chunk), ..wish };
        let least = Division::new(self.part.name, part, config, wish)?;
        let slots = if whole.expert_count == 0 {
            0
        } else {
            (whole.expert_slots * own.slots_max).div_ceil(whole.expert_count).max(own.slots_min)
        };
        // Where all have a slot, all have one: the program grows a little until the layers are loaded, and one slot less makes all take turns.
        let memory = if whole.is_resident() { None } else { Some(least.with_slots(slots, own.slot)) };
        Ok(Wish { memory, ..wish })
    }

    /// What the whole model would have taken, from what the layers took and from where their time and their work went.
    pub(crate) fn of_whole(&self, meter: &PhaseMeter, profile: &Profile) -> PhaseMeter {
        let bytes = |shape: &Shape| shape.layer_bytes_per_token(self.mix) as f64;
        let times = bytes(&self.whole) / bytes(&self.part);
        let once = || profile.entries.iter().filter(|entry| ONCE.contains(&entry.section));
        let once_time: f64 = once().map(|entry| entry.time.as_secs_f64()).sum();
        let once_share = once_time / profile.wall.as_secs_f64().max(1e-9);
        let once_work: Work = once().map(|entry| entry.work).sum();
        let all_work: Work = profile.entries.iter().map(|entry| entry.work).sum();
        // What is done once stays, the rest is done as many times.
        let more = |count: u64, once: u64, all: u64| {
            let once_share = once as f64 / all.max(1) as f64;
            (count as f64 * (once_share + (1.0 - once_share) * times)).round() as u64
        };
        let layers_times = |count: u64| (count as f64 * times).round() as u64;
        let (work, traffic) = (meter.work, meter.traffic);
        PhaseMeter {
            tokens: meter.tokens,
            time: meter.time.mul_f64(once_share + (1.0 - once_share) * times),
            work: Work {
                weight_bytes: more(work.weight_bytes, once_work.weight_bytes, all_work.weight_bytes),
                int8_macs: more(work.int8_macs, once_work.int8_macs, all_work.int8_macs),
                float_macs: more(work.float_macs, once_work.float_macs, all_work.float_macs),
            },
            traffic: Traffic {
                hits: layers_times(traffic.hits),
                misses: layers_times(traffic.misses),
                read_bytes: layers_times(traffic.read_bytes),
                waited: traffic.waited.mul_f64(times),
                ahead: layers_times(traffic.ahead),
                ahead_used: layers_times(traffic.ahead_used),
            },
        }
    }
}

/// A file that nobody else sees, gone with the process however it ends.
pub(crate) struct Scratch {
    pub(crate) checkpoint: Checkpoint,
    /// Keeps it there until the weights are open.
    file: File,
}

impl Scratch {
    /// The header of a model and nothing behind it.
    pub(crate) fn of_holes(shape: &Shape, mix: Mix, folder: &Path) -> anyhow::Result<Self> {
        let file = unnamed(folder)?;
        let header = header(&pairs(shape, mix), &shape.tensors(mix));
        write_at(&file, &header.bytes, 0, folder)?;
        file.set_len(header.file_len).with_context(|| cannot_write(folder))?;
        Self::open(file)
    }

    /// A model with random weights.
    fn filled(shape: &Shape, whole_layers: usize, mix: Mix, folder: &Path) -> anyhow::Result<Self> {
        let file = unnamed(folder)?;
        let tensors = shape.tensors(mix);
        let header = header(&pairs(shape, mix), &tensors);
        write_at(&file, &header.bytes, 0, folder)?;
        file.set_len(header.file_len).with_context(|| cannot_write(folder))?;
        let bar = writing_bar(shape, header.file_len);
        let residual = LAYER_SPREAD * (whole_layers as f32).sqrt();
        let mut fill = Filling { prng: Prng::new(1), residual, pools: Vec::new() };
        for ((tensor, stored), &offset) in shape.list.iter().zip(&tensors).zip(&header.offsets) {
            fill.write(tensor, stored, |bytes, at| {
                bar.inc(bytes.len() as u64);
                write_at(&file, bytes, offset + at, folder)
            })?;
        }
        bar.finish_and_clear();
        // What is read later comes from the drive then, and not from what the system still has to write.
        file.sync_all().with_context(|| cannot_write(folder))?;
        Self::open(file)
    }

    /// The beginning of a file of `len` bytes, and nothing behind it.
    pub(crate) fn of_beginning(bytes: &[u8], len: u64, folder: &Path) -> anyhow::Result<Self> {
        let file = unnamed(folder)?;
        write_at(&file, bytes, 0, folder)?;
        file.set_len(len).with_context(|| cannot_write(folder))?;
        Self::open(file)
    }

    fn open(file: File) -> anyhow::Result<Self> {
        let checkpoint = Checkpoint::open(&path_of(&file))?;
        Ok(Self { checkpoint, file })
    }
}

/// A file without a name in `folder`.
pub(crate) fn unnamed(folder: &Path) -> anyhow::Result<File> {
    tempfile::tempfile_in(folder).with_context(|| cannot_write(folder))
}

/// A path under which this process can open a file that has no name any more.
pub(crate) fn path_of(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file)).into()
}

fn cannot_write(folder: &Path) -> String {
    format!("cannot write a temporary file in {}", folder.display())
}

fn write_at(file: &File, bytes: &[u8], offset: u64, folder: &Path) -> anyhow::Result<()> {
    file.write_all_at(bytes, offset).with_context(|| cannot_write(folder))
}

/// The model's metadata with a name, and a vocabulary of bytes.
fn pairs(shape: &Shape, mix: Mix) -> Vec<(String, Value)> {
    let tokens = shoal_text::byte_vocabulary();
    let types = vec![1; tokens.len()];
    let name = format!("{} in {}, {} layers", shape.name, mix.name(), shape.layers);
    let more = [
        ("general.name", Value::Str(name)),
        ("tokenizer.ggml.model", Value::Str("gpt2".to_owned())),
        ("tokenizer.ggml.pre", Value::Str("gpt-2".to_owned())),
        ("tokenizer.ggml.tokens", Value::Strings(tokens)),
        ("tokenizer.ggml.token_type", Value::I32s(types)),
    ];
    shape.pairs.iter().cloned().chain(more.map(|(key, value)| (key.to_owned(), value))).collect()
}

fn writing_bar(shape: &Shape, bytes: u64) -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(bytes) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("writing {msg} {wide_bar} {bytes}/{total_bytes}") {
        bar.set_style(style);
    }
    bar.with_message(format!("{} layers of {}", shape.layers, shape.name))
}

/// Fills tensors.
struct Filling {
    prng: Prng,
    /// Spread of the embedding: it stands for what the layers before those that are measured would have added to the residual, so that a
    /// layer's input is as like the one before as in the middle of the model, and as much of it can be foreseen.
    residual: f32,
    /// Random weights by format and spread.
    pools: Vec<((Dtype, u32), Vec<u8>)>,
}

impl Filling {
    /// Hands the bytes of a tensor to `write`, piece by piece, each with its place in the tensor.
    fn write(
        &mut self,
        tensor: &TensorShape,
        stored: &NewTensor,
        mut write: impl FnMut(&[u8], u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (dtype, cols) = (stored.dtype, tensor.shape[0] as f32);
        let spread = match tensor.purpose {
            Purpose::Norm | Purpose::Scale => {
                let ones: Vec<u8> = (0..tensor.elements()).flat_map(|_| 1f32.to_le_bytes()).collect();
                return write(&ones, 0);
            }
            Purpose::Ids { count } => {
                let id = |_| (self.prng.below(count.into()) as u32).to_le_bytes();
                return write(&(0..tensor.elements()).flat_map(id).collect::<Vec<u8>>(), 0);
            }
            Purpose::Bias => 0.01,
            Purpose::Embedding => self.residual,
            _ => 1.0 / cols.sqrt(),
        };
        let mut at = 0;
        while at < stored.bytes() {
            let begin = self.prng.next_u64() as usize;
            let pool = self.pool(dtype, spread);
            let begin = begin % (pool.len() / dtype.block_bytes()) * dtype.block_bytes();
            let len = (pool.len() - begin).min((stored.bytes() - at) as usize);
            write(&pool[begin..begin + len], at)?;
            at += len as u64;
        }
        Ok(())
    }

    fn pool(&mut self, dtype: Dtype, spread: f32) -> &[u8] {
        let key = (dtype, spread.to_bits());
        let found = self.pools.iter().position(|(other, _)| *other == key);
        let place = found.unwrap_or_else(|| {
            let mut pool = vec![0; POOL_BYTES / dtype.block_bytes() * dtype.block_bytes()];
            random_blocks(dtype, spread, &mut self.prng, &mut pool);
            self.pools.push((key, pool));
            self.pools.len() - 1
        });
        &self.pools[place].1
    }
}

#[cfg(test)]
mod tests {
    use shoal_base::Bytes;

    use super::*;

    #[test]
    fn what_one_layer_takes_is_carried_over_to_all() {
        use shoal_kernels::profile::Entry;
        use std::time::Duration;

        let slice = Slice::new("r1-qwen-7b", 7, Mix::Q8).expect("a preset");
        let entry = |section, millis, weight_bytes| Entry {
            section,
            operation: "matmul",
            calls: 1,
            time: Duration::from_millis(millis),
            work: Work { weight_bytes, ..Work::default() },
        };
        let entries = vec![entry("head", 20, 1000), entry("attention", 60, 4000), entry("-", 20, 0)];
        let profile = Profile { wall: Duration::from_millis(100), entries };
        let work = Work { weight_bytes: 50_000, ..Work::default() };
        let traffic = Traffic { read_bytes: 700, ..Traffic::default() };
        let meter = PhaseMeter { tokens: 10, time: Duration::from_secs(1), work, traffic };
        // A token takes 100 ms, 20 of them once: 80 for 7 of 28 layers are 320 for all.
        let whole = slice.of_whole(&meter, &profile);
        assert!((whole.tokens_per_s() - 1.0 / 0.34).abs() < 0.01, "{whole:?}");
        // Of 5000 bytes for a token 1000 are read once.
        let (weights, read) = (whole.work.weight_bytes, whole.traffic.read_bytes);
        assert!(weights.abs_diff(170_000) <= 10 && read.abs_diff(2800) <= 1, "{weights} {read}");
    }

    #[test]
    fn a_filled_file_has_what_each_tensor_is_for_and_no_name() {
        let tensor = |name: &str, shape: &[u64], purpose| TensorShape {
            name: name.to_owned(),
            shape: shape.to_vec(),
            purpose,
        };
        let shape = Shape {
            name: "tiny",
            architecture: "llama",
            pairs: vec![("general.architecture".to_owned(), Value::Str("llama".to_owned()))],
            // The last is longer than what is made at once.
            list: vec![
                tensor("norm", &[8], Purpose::Norm),
                tensor("ids", &[6, 40], Purpose::Ids { count: 5 }),
                tensor("matrix", &[64, 150_000], Purpose::Dense),
            ],
            layers: 1,
            experts: None,
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let scratch = Scratch::filled(&shape, 4, Mix::Q8, folder.path()).expect("a file");
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
        let bytes = std::fs::read(path_of(&scratch.file)).expect("the file");
        let of = |name: &str| {
            let place = scratch.checkpoint.tensor(name).expect("a tensor").pieces[0].codes;
            &bytes[place.offset as usize..][..place.bytes as usize]
        };
        assert!(of("norm").chunks(4).all(|x| x == 1f32.to_le_bytes()));
        assert!(of("ids").chunks(4).all(|id| id[0] < 5 && id[1..] == [0; 3]));
        let mut row = vec![0.0; 64 * 150_000];
        shoal_quant::decode_row(Dtype::Q8_0, of("matrix"), &mut row);
        let square = row.iter().map(|x| f64::from(x * x)).sum::<f64>() / row.len() as f64;
        assert!((square.sqrt() * 8.0 - 1.0).abs() < 0.05, "{}", square.sqrt());
        assert_ne!(row[..64], row[64 * 149_999..], "not the same everywhere");
    }

    #[test]
    fn layers_get_their_share_of_experts_and_prompts_in_chunks_as_long() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let slice = Slice::new("v4-flash", 4, Mix::Q2).expect("a preset");
        let open = |shape: &Shape| {
            let Scratch { checkpoint, .. } =
                Scratch::of_holes(shape, slice.mix, folder.path()).expect("a file of holes");
            let config = ModelConfig::read(&checkpoint).expect("a sound configuration");
            (checkpoint, config)
        };
        let ((whole, config), (part, part_config)) = (open(&slice.whole), open(&slice.part));
        for gib in [12, 16, 64, 120] {
            let memory = Some(Bytes(gib << 30));
            let wish =
                Wish { memory, context_len: 4096, sequences: 1, chunk: None, blocks_in_files: 0, server: 0 };
            let all = Division::new("all", &whole, &config, wish).expect("enough memory");
            let wish = slice.wish_of_part(&all, wish, &part, &part_config).expect("enough memory");
            let some = Division::new("some", &part, &part_config, wish).expect("enough memory");
            assert_eq!(some.prefill_chunk, all.prefill_chunk);
            assert_eq!(some.is_resident(), all.is_resident(), "{gib} GiB: {some:?} of {all:?}");
            let share = |division: &Division| division.expert_slots as f64 / division.expert_count as f64;
            assert!((share(&some) - share(&all)).abs() < 0.01, "{gib} GiB: {some:?} of {all:?}");
        }
    }

    #[test]
    fn every_family_can_be_written_and_run() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in presets::names() {
            let shape = presets::shape(name, Some(2)).expect("a preset");
            for &mix in Mix::ALL {
                let scratch = Scratch::of_holes(&shape, mix, folder.path()).expect("a file of holes");
                let config = ModelConfig::read(&scratch.checkpoint).expect("a sound configuration");
                assert_eq!(config.common().num_hidden_layers, 2, "{name}");
                let footprint = Footprint::of(&scratch.checkpoint, &config);
                assert!(
                    footprint.dense > 0 && (footprint.slots_max > 0) == shape.experts.is_some(),
                    "{name}"
                );
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0, "nothing is left");
    }
}
