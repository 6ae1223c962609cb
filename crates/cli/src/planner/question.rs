//! From what a person types to models that can be planned with: names of the family, files, addresses.

use anyhow::{Context, bail};
use shoal_checkpoint::Checkpoint;
use shoal_hub::{Catalogue, PullOptions};
use shoal_plan::{Mix, Model, Shape, presets, published};

use crate::environment::Environment;
use crate::nearest::ranked;
use crate::resolve::{cache, open_model};
use crate::synthetic::Scratch;

/// A model that is asked about.
pub(crate) struct Candidate {
    /// What was typed.
    pub(crate) asked: String,
    pub(crate) model: Model,
    pub(crate) source: Source,
}

/// Where its header is.
pub(crate) enum Source {
    /// Of published dimensions, nowhere yet.
    Shape(Shape, Mix),
    /// In a file here.
    Here(Box<Checkpoint>),
    /// In a file elsewhere, whose beginning was fetched.
    Remote(Box<Checkpoint>),
    /// Published, but this program cannot run it.
    Elsewhere,
}

/// Bytes of a file's beginning that are asked for at first, and at the most: some vocabularies are long.
const BEGINNING: std::ops::RangeInclusive<u64> = 1 << 20..=256 << 20;

/// The models that `names` mean, each in the formats that are said or in those that people use; without names the whole family.
pub(crate) fn candidates(names: &[String], environment: &Environment) -> anyhow::Result<Vec<Candidate>> {
    let mut all = Vec::new();
    if names.is_empty() {
        for name in presets::names() {
            all.extend(of_preset(name, None)?);
        }
    }
    for name in names {
        all.extend(of_name(name, environment)?);
    }
    Ok(all)
}

fn of_name(name: &str, environment: &Environment) -> anyhow::Result<Vec<Candidate>> {
    if name.starts_with("http://") || name.starts_with("https://") {
        return Ok(vec![remote(name, environment)?]);
    }
    let (plain, mix) = match name.rsplit_once(':') {
        Some((plain, mix)) if !name.contains(['/', '\\']) => {
            let mix = mix.parse::<Mix>().map_err(|expected| anyhow::anyhow!("{name}: {expected}"))?;
            (plain, Some(mix))
        }
        _ => (name, None),
    };
    if let Some(preset) = preset_name(plain) {
        return of_preset(&preset, mix);
    }
    let catalogue = Catalogue::builtin();
    let known = catalogue.find(plain).filter(|model| cache(environment).locate(model).is_none());
    if let Some(model) = known {
        bail!(
            "{plain}: it is not here, and its size alone says too little; `shoal pull {}` fetches it",
            model.name
        );
    }
    let is_file =
        catalogue.find(plain).is_some() || std::path::Path::new(plain).exists() || plain == "minnow";
    if !is_file {
        let near = nearest(plain);
        bail!("no file and no model of the family called `{plain}`; the nearest are {}", near.join(", "));
    }
    let checkpoint = open_model(Some(plain), environment)?;
    let model = named(Model::of_checkpoint(&checkpoint)?, &checkpoint);
    let asked = plain.to_owned();
    Ok(vec![Candidate { asked, model, source: Source::Here(Box::new(checkpoint)) }])
}

/// The family's own name for what people write in several ways.
fn preset_name(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let bare = name.strip_prefix("deepseek-").unwrap_or(&name);
    let bare = match bare {
        "r1" | "v3.1" => "v3",
        "v4.1" | "v4.1-flash" => "v4.1-flash",
        bare => bare,
    };
    let bare = bare.replace("distill-", "");
    let is_known = bare == "v4.1-flash" || presets::shape(&bare, Some(1)).is_some();
    let is_whole = presets::shape(&name, Some(1)).is_some();
    if is_whole { Some(name) } else { is_known.then_some(bare) }
}

fn nearest(name: &str) -> Vec<&'static str> {
    ranked(name, presets::names()).into_iter().take(3).map(|(_, name)| name).collect()
}

fn of_preset(name: &str, mix: Option<Mix>) -> anyhow::Result<Vec<Candidate>> {
    if name == "v4.1-flash" {
        /// Experts in FP4 with a scale for each 32, all else in FP8: as published.
        const BITS: (f64, f64) = (4.25, 8.0);
        let model = Model { quantisation: "fp4".to_owned(), ..published::v41_flash(BITS.0, BITS.1) };
        let asked = name.to_owned();
        return Ok(vec![Candidate { asked, model, source: Source::Elsewhere }]);
    }
    let shape = presets::shape(name, None).context("a preset")?;
    let mixes = match mix {
        Some(mix) => vec![mix],
        None if name.starts_with("v4") => vec![Mix::Q2, Mix::Mxfp4],
        None if shape.experts.is_some() && shape.parameters() > 100_000_000_000 => vec![Mix::Q2, Mix::Q4KM],
        None => vec![Mix::Q4KM, Mix::Q8],
    };
    mixes
        .into_iter()
        .map(|mix| {
            let model = Model::of_shape(&shape, mix)?;
            Ok(Candidate { asked: name.to_owned(), model, source: Source::Shape(shape.clone(), mix) })
        })
        .collect()
}

/// The model in the file at `url`, by its beginning: the header says where everything is.
fn remote(url: &str, environment: &Environment) -> anyhow::Result<Candidate> {
    if is_part(url) {
        bail!(
            "{url}: it is one of several parts, each of which says only what is in it; name the model, or fetch all parts"
        );
    }
    let mut options = PullOptions::default();
    if let Some(endpoint) = &environment.hf_endpoint {
        options.hugging_face.clone_from(endpoint);
    }
    options.token.clone_from(&environment.hf_token);
    let folder = &environment.cache_dir;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let mut len = *BEGINNING.start();
    loop {
        let (bytes, total) = shoal_hub::beginning(url, len, &options)?;
        match Scratch::of_beginning(&bytes, total, folder) {
            Ok(Scratch { checkpoint, .. }) => {
                let model = named(Model::of_checkpoint(&checkpoint)?, &checkpoint);
                let asked = url.to_owned();
                return Ok(Candidate { asked, model, source: Source::Remote(Box::new(checkpoint)) });
            }
            // Behind the beginning are zeros, which make no header: with more of it there may be one.
            Err(error) if len >= total || len >= *BEGINNING.end() => {
                return Err(
                    error.context(format!("{url}: its first {} bytes are no GGUF header", bytes.len()))
                );
            }
            Err(_) => len *= 4,
        }
    }
}

/// Whether the file at `url` is called like one of several: `name-00001-of-00003.gguf`.
fn is_part(url: &str) -> bool {
    let name = url.split(['?', '#']).next().unwrap_or_default();
    let tail = name.strip_suffix(".gguf").and_then(|stem| stem.rsplit_once("-of-"));
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    tail.is_some_and(|(head, count)| {
        is_number(count) && count != "00001" && head.rsplit_once('-').is_some_and(|(_, no)| is_number(no))
    })
}

/// Files say what they are called; where they do not, what the file is called.
fn named(model: Model, checkpoint: &Checkpoint) -> Model {
    Model { name: crate::terminal::one_line(&checkpoint.name()), ..model }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_goes_by_several_names() {
        for (typed, name) in [
            ("v4-flash", "v4-flash"),
            ("DeepSeek-V4-Flash", "v4-flash"),
            ("deepseek-r1", "v3"),
            ("r1-distill-qwen-1.5b", "r1-qwen-1.5b"),
            ("deepseek-67b", "deepseek-67b"),
            ("v4.1", "v4.1-flash"),
        ] {
            assert_eq!(preset_name(typed).as_deref(), Some(name), "{typed}");
        }
        assert!(is_part("https://h/x/V4-Flash-00001-of-00003.gguf?download=true"));
        assert!(!is_part("https://h/x/V4-Flash.gguf") && !is_part("https://h/x/a-00001-of-00001.gguf"));
        assert_eq!(preset_name("gpt"), None);
        assert_eq!(nearest("v4-flesh")[0], "v4-flash");
    }
}
