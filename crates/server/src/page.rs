//! The page at `/`: files of `web/`, which are part of the program; and the description of the API at `/openapi.json`, which is another.
//!
//! They hold nothing but the page itself, so they are shown without a key; what the page asks for is asked with one. A policy forbids the
//! page to load or to send anything from or to elsewhere.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::error::no_such_path;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

const JSON: &str = "application/json";

const PAGE: &str = include_str!("../../../web/index.html");
const OPENAPI: &str = include_str!("../openapi.json");

macro_rules! asset {
    ($name:literal, $kind:ident) => {
        ($name, $kind, include_str!(concat!("../../../web/", $name)))
    };
}

/// Name, kind and text of each file.
const ASSETS: &[(&str, &str, &str)] = &[
    asset!("answer.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("app.js", SCRIPT),
    asset!("composer.js", SCRIPT),
    asset!("conversation.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("early.js", SCRIPT),
    asset!("icon.svg", IMAGE),
    asset!("markdown.js", SCRIPT),
    asset!("marked.esm.js", SCRIPT),
    asset!("pace.js", SCRIPT),
    asset!("panels.js", SCRIPT),
    asset!("prose.js", SCRIPT),
    asset!("purify.min.js", SCRIPT),
    asset!("scroll.js", SCRIPT),
    asset!("settings.js", SCRIPT),
    asset!("sse.js", SCRIPT),
    asset!("storage.js", SCRIPT),
    asset!("strings.js", SCRIPT),
    asset!("style.css", STYLE),
    asset!("turns.js", SCRIPT),
];

/// Whether anyone may see what is at `path`.
pub(crate) fn is_open(path: &str) -> bool {
    path == "/" || path == "/openapi.json" || path.starts_with("/assets/")
}

pub(crate) async fn openapi() -> Response {
    shown(JSON, OPENAPI)
}

pub(crate) async fn page() -> Response {
    shown(HTML, PAGE)
}

pub(crate) async fn asset(
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let name = name.map_or_else(|_| String::new(), |Path(name)| name);
    match ASSETS.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => shown(kind, text),
        None => no_such_path(uri, headers).await,
    }
}

fn shown(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another version of the program has other files.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (StatusCode::OK, headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_there_and_no_other() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web");
        let files = std::fs::read_dir(folder).expect("the folder of the page");
        let names = files.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
        let is_shown = |name: &String| [".js", ".css", ".svg"].iter().any(|end| name.ends_with(end));
        let mut names: Vec<String> = names.filter(is_shown).collect();
        names.sort();
        assert_eq!(names, ASSETS.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
        for text in ASSETS.iter().map(|(_, _, text)| text).chain([&PAGE]) {
            for (at, _) in text.match_indices("/assets/") {
                let name: String = text[at + 8..]
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c))
                    .collect();
                assert!(ASSETS.iter().any(|(known, ..)| *known == name), "{name} is not there");
            }
        }
    }
}
