//! The environment, read once, here and nowhere else.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the environment says.
pub(crate) struct Environment {
    /// Where models, the chat history and the bounds of this machine are kept.
    pub(crate) cache_dir: PathBuf,
    /// The user's folder, for paths that begin with `~/`.
    pub(crate) home_dir: Option<PathBuf>,
    /// Base address of the Hugging Face hub, for mirrors.
    pub(crate) hf_endpoint: Option<String>,
    /// Token for models that ask for one.
    pub(crate) hf_token: Option<String>,
    /// What clients of a server must show.
    pub(crate) api_key: Option<String>,
    /// Colour is not wanted (no-color.org).
    pub(crate) no_color: bool,
}

impl Environment {
    pub(crate) fn read() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            cache_dir: cache_dir(|name| std::env::var_os(name).filter(|value| !value.is_empty())),
            home_dir: std::env::var_os("HOME").filter(|value| !value.is_empty()).map(PathBuf::from),
            hf_endpoint: text("HF_ENDPOINT"),
            hf_token: text("HF_TOKEN"),
            api_key: text("SHOAL_API_KEY"),
            no_color: text("NO_COLOR").is_some(),
        }
    }
}

/// `SHOAL_CACHE`, else `shoal` in the user's cache folder, else in the folder for temporary files.
fn cache_dir(var: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    if let Some(dir) = var("SHOAL_CACHE") {
        return dir.into();
    }
    let user_cache = var("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(|| var("HOME").map(|home| PathBuf::from(home).join(".cache")));
    user_cache.unwrap_or_else(std::env::temp_dir).join("shoal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_folder_follows_the_most_specific_variable() {
        let dir = |vars: &[(&str, &str)]| {
            let vars: Vec<(String, OsString)> =
                vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
            cache_dir(|name| vars.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
        };
        assert_eq!(dir(&[("HOME", "/h")]), PathBuf::from("/h/.cache/shoal"));
        assert_eq!(dir(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), PathBuf::from("/x/shoal"));
        assert_eq!(dir(&[("HOME", "/h"), ("XDG_CACHE_HOME", "relative")]), PathBuf::from("/h/.cache/shoal"));
        assert_eq!(dir(&[("HOME", "/h"), ("SHOAL_CACHE", "/mine")]), PathBuf::from("/mine"));
    }
}
