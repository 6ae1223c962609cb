//! The page at `/`: files of `web/`, which are part of the program; and the description of the API at `/openapi.json`, which is another.
//!
//! They hold nothing but the page itself, so they are shown without a key; what the page asks for is asked with one. A policy forbids the
//! page to load or to send anything from or to elsewhere.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::error::no_such_path;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
                      manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const PNG: &str = "image/png";
const FONT: &str = "font/woff2";
const MANIFEST: &str = "application/manifest+json";

/// The worker that keeps the page for when the server is away; it has to be allowed to speak for all of the page.
const WORKER: &str = "sw.js";

const JSON: &str = "application/json";

const PAGE: &str = include_str!("../../../web/index.html");
const OPENAPI: &str = include_str!("../openapi.json");

macro_rules! asset {
    ($name:literal, $kind:ident) => {
        ($name, $kind, include_bytes!(concat!("../../../web/", $name)))
    };
}

/// Name, kind and bytes of each file.
const ASSETS: &[(&str, &str, &[u8])] = &[
    asset!("answer.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("app.js", SCRIPT),
    asset!("attachments.js", SCRIPT),
    asset!("branches.js", SCRIPT),
    asset!("composer.js", SCRIPT),
    asset!("conversation.js", SCRIPT),
    asset!("diff.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("dress.js", SCRIPT),
    asset!("early.js", SCRIPT),
    asset!("exchange.js", SCRIPT),
    asset!("forecast.js", SCRIPT),
    asset!("formula.js", SCRIPT),
    asset!("highlight.js", SCRIPT),
    asset!("history.js", SCRIPT),
    asset!("icon-192.png", PNG),
    asset!("icon-512.png", PNG),
    asset!("icon-maskable-512.png", PNG),
    asset!("icon.svg", SVG),
    asset!("library.js", SCRIPT),
    asset!("manifest.webmanifest", MANIFEST),
    asset!("markdown.js", SCRIPT),
    asset!("maths.js", SCRIPT),
    asset!("models.js", SCRIPT),
    asset!("offline.js", SCRIPT),
    asset!("own.js", SCRIPT),
    asset!("pace.js", SCRIPT),
    asset!("panels.css", STYLE),
    asset!("panels.js", SCRIPT),
    asset!("prefill.js", SCRIPT),
    asset!("prose.css", STYLE),
    asset!("prose.js", SCRIPT),
    asset!("record.js", SCRIPT),
    asset!("scroll.js", SCRIPT),
    asset!("settings.js", SCRIPT),
    asset!("shelf.js", SCRIPT),
    asset!("shortcuts.js", SCRIPT),
    asset!("sse.js", SCRIPT),
    asset!("storage.js", SCRIPT),
    asset!("store.js", SCRIPT),
    asset!("strings.js", SCRIPT),
    asset!("style.css", STYLE),
    asset!("sw.js", SCRIPT),
    asset!("thoughts.js", SCRIPT),
    asset!("token-view.js", SCRIPT),
    asset!("turns.js", SCRIPT),
    asset!("vendor/highlight/bash.min.js", SCRIPT),
    asset!("vendor/highlight/c.min.js", SCRIPT),
    asset!("vendor/highlight/core.min.js", SCRIPT),
    asset!("vendor/highlight/cpp.min.js", SCRIPT),
    asset!("vendor/highlight/csharp.min.js", SCRIPT),
    asset!("vendor/highlight/css.min.js", SCRIPT),
    asset!("vendor/highlight/diff.min.js", SCRIPT),
    asset!("vendor/highlight/go.min.js", SCRIPT),
    asset!("vendor/highlight/java.min.js", SCRIPT),
    asset!("vendor/highlight/javascript.min.js", SCRIPT),
    asset!("vendor/highlight/json.min.js", SCRIPT),
    asset!("vendor/highlight/markdown.min.js", SCRIPT),
    asset!("vendor/highlight/python.min.js", SCRIPT),
    asset!("vendor/highlight/rust.min.js", SCRIPT),
    asset!("vendor/highlight/sql.min.js", SCRIPT),
    asset!("vendor/highlight/typescript.min.js", SCRIPT),
    asset!("vendor/highlight/xml.min.js", SCRIPT),
    asset!("vendor/highlight/yaml.min.js", SCRIPT),
    asset!("vendor/katex/fonts/KaTeX_AMS-Regular.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Caligraphic-Bold.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Caligraphic-Regular.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Fraktur-Bold.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Fraktur-Regular.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Main-Bold.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Main-BoldItalic.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Main-Italic.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Main-Regular.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Math-BoldItalic.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Math-Italic.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_SansSerif-Bold.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_SansSerif-Italic.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_SansSerif-Regular.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Script-Regular.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Size1-Regular.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Size2-Regular.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Size3-Regular.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Size4-Regular.woff2", FONT),
    asset!("vendor/katex/fonts/KaTeX_Typewriter-Regular.woff2", FONT),
    asset!("vendor/katex/katex.min.css", STYLE),
    asset!("vendor/katex/katex.min.js", SCRIPT),
    asset!("vendor/marked.esm.js", SCRIPT),
    asset!("vendor/purify.min.js", SCRIPT),
    asset!("words-en.js", SCRIPT),
    asset!("words-zh-hans.js", SCRIPT),
    asset!("words-zh-hant.js", SCRIPT),
];

/// Whether anyone may see what is at `path`.
pub(crate) fn is_open(path: &str) -> bool {
    path == "/" || path == "/openapi.json" || path.starts_with("/assets/")
}

pub(crate) async fn openapi() -> Response {
    shown(JSON, OPENAPI.as_bytes())
}

pub(crate) async fn page() -> Response {
    shown(HTML, PAGE.as_bytes())
}

pub(crate) async fn asset(
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let name = name.map_or_else(|_| String::new(), |Path(name)| name);
    match ASSETS.iter().find(|(known, ..)| *known == name) {
        Some((WORKER, kind, bytes)) => {
            let scope = HeaderName::from_static("service-worker-allowed");
            ([(scope, "/")], shown(kind, bytes)).into_response()
        }
        Some((_, kind, bytes)) => shown(kind, bytes),
        None => no_such_path(uri, headers).await,
    }
}

fn shown(kind: &'static str, bytes: &'static [u8]) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another version of the program has other files.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (StatusCode::OK, headers, bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the files in `folder` and in those below it, as they are asked for.
    fn names_in(folder: &std::path::Path, before: &str) -> Vec<String> {
        let entries =
            std::fs::read_dir(folder).expect("a folder of the page").map(|entry| entry.expect("an entry"));
        let names = entries.flat_map(|entry| {
            let name = format!("{before}{}", entry.file_name().into_string().expect("UTF-8"));
            let is_folder = entry.path().is_dir();
            if is_folder { names_in(&entry.path(), &format!("{name}/")) } else { vec![name] }
        });
        names.collect()
    }

    #[test]
    fn every_file_of_the_page_is_there_and_no_other() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web");
        let mut names = names_in(folder.as_ref(), "");
        let kinds = [".js", ".css", ".svg", ".png", ".woff2", ".webmanifest"];
        names.retain(|name| kinds.iter().any(|end| name.ends_with(end)));
        names.sort();
        assert_eq!(names, ASSETS.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
        let texts = ASSETS.iter().filter_map(|(_, _, bytes)| std::str::from_utf8(bytes).ok()).chain([PAGE]);
        for text in texts {
            for (at, _) in text.match_indices("/assets/") {
                let name: String = text[at + 8..]
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || ".-_/".contains(*c))
                    .collect();
                // Some names are put together where they are used.
                assert!(
                    name.is_empty() || ASSETS.iter().any(|(known, ..)| *known == name),
                    "{name} is not there"
                );
            }
        }
    }
}
