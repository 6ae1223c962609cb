//! The page at `/`: files of `web/`, which are part of the program; and the description of the API at `/openapi.json`, which is another.
//!
//! They hold nothing but the page itself, so they are shown without a key; what the page asks for is asked with one. A policy forbids the
//! page to load or to send anything from or to elsewhere. Whoever takes files compressed gets them so, as over a slow network they come sooner.

use std::io::Write;
use std::sync::OnceLock;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, Uri, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

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
const BYTES: &str = "application/octet-stream";

/// A file that is part of the program.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    /// The same compressed, from when it is first asked for.
    gzip: OnceLock<Vec<u8>>,
}

impl Asset {
    const fn new(name: &'static str, kind: &'static str, bytes: &'static [u8]) -> Self {
        Self { name, kind, bytes, gzip: OnceLock::new() }
    }

    /// Compressed, unless that would make it hardly smaller.
    fn gzip(&'static self) -> Option<&'static [u8]> {
        let is_dense = matches!(self.kind, PNG | FONT | BYTES);
        (!is_dense).then(|| self.gzip.get_or_init(|| compressed(self.bytes)).as_slice())
    }

    /// The file for a client with `headers`.
    fn shown(&'static self, headers: &HeaderMap) -> Response {
        let fixed: [(HeaderName, &str); 6] = [
            (header::CONTENT_TYPE, self.kind),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            // Another version of the program has other files.
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "accept-encoding"),
        ];
        match takes_gzip(headers).then(|| self.gzip()).flatten() {
            Some(gzip) => {
                (fixed, [(header::CONTENT_ENCODING, "gzip")], Bytes::from_static(gzip)).into_response()
            }
            None => (fixed, self.bytes).into_response(),
        }
    }
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes all that is written to it")
}

/// Whether a client with `headers` understands what [`Asset::gzip`] makes: it says so, and not with a quality of zero.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let texts = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|offer| {
        let (name, quality) = offer.split_once(';').unwrap_or((offer, "q=1"));
        let quality = quality.trim().strip_prefix("q=").and_then(|quality| quality.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && quality.is_some_and(|quality| quality > 0.0)
    })
}

macro_rules! asset {
    ($name:literal, $kind:ident) => {
        Asset::new($name, $kind, include_bytes!(concat!("../../../web/", $name)))
    };
}

/// Memory that compressed files take, at the most.
pub(crate) const MEMORY_MAX: usize = 2 << 20;

static PAGE: Asset = asset!("index.html", HTML);
static OPENAPI: Asset = Asset::new("openapi.json", JSON, include_bytes!("../openapi.json"));

/// The files of the page.
static ASSETS: [Asset; 121] = [
    asset!("answer.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("app.js", SCRIPT),
    asset!("attachments.js", SCRIPT),
    asset!("branches.js", SCRIPT),
    asset!("colours.js", SCRIPT),
    asset!("composer.js", SCRIPT),
    asset!("conversation.js", SCRIPT),
    asset!("diff.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("dress.js", SCRIPT),
    asset!("early.js", SCRIPT),
    asset!("exchange.js", SCRIPT),
    asset!("forecast.js", SCRIPT),
    asset!("formula.js", SCRIPT),
    asset!("highlight-worker.js", SCRIPT),
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
    asset!("pdf-text.js", SCRIPT),
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
    asset!("vendor/pdf/cmaps/Adobe-CNS1-UCS2.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/Adobe-GB1-UCS2.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/B5pc-H.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/B5pc-V.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/ETen-B5-H.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/ETen-B5-V.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/ETenms-B5-H.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/ETenms-B5-V.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/GB-EUC-H.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/GB-EUC-V.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/GBK-EUC-H.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/GBK-EUC-V.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/GBKp-EUC-H.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/GBKp-EUC-V.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/GBpc-EUC-H.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/GBpc-EUC-V.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/UniCNS-UCS2-H.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/UniCNS-UCS2-V.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/UniCNS-UTF16-H.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/UniCNS-UTF16-V.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/UniGB-UCS2-H.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/UniGB-UCS2-V.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/UniGB-UTF16-H.bcmap", BYTES),
    asset!("vendor/pdf/cmaps/UniGB-UTF16-V.bcmap", BYTES),
    asset!("vendor/pdf/pdf.min.mjs", SCRIPT),
    asset!("vendor/pdf/pdf.worker.min.mjs", SCRIPT),
    asset!("vendor/purify.min.js", SCRIPT),
    asset!("words-en.js", SCRIPT),
    asset!("words-zh-hans.js", SCRIPT),
    asset!("words-zh-hant.js", SCRIPT),
];

/// Whether anyone may see what is at `path`.
pub(crate) fn is_open(path: &str) -> bool {
    path == "/" || path == "/openapi.json" || path.starts_with("/assets/")
}

pub(crate) async fn openapi(headers: HeaderMap) -> Response {
    OPENAPI.shown(&headers)
}

pub(crate) async fn page(headers: HeaderMap) -> Response {
    PAGE.shown(&headers)
}

pub(crate) async fn asset(
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let name = name.map_or_else(|_| String::new(), |Path(name)| name);
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(worker) if name == WORKER => {
            let scope = HeaderName::from_static("service-worker-allowed");
            ([(scope, "/")], worker.shown(&headers)).into_response()
        }
        Some(asset) => asset.shown(&headers),
        None => no_such_path(uri, headers).await,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

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
        let kinds = [".js", ".mjs", ".bcmap", ".css", ".svg", ".png", ".woff2", ".webmanifest"];
        names.retain(|name| kinds.iter().any(|end| name.ends_with(end)));
        names.sort();
        assert_eq!(names, ASSETS.iter().map(|asset| asset.name).collect::<Vec<_>>());
        let texts = ASSETS.iter().chain([&PAGE]).filter_map(|asset| std::str::from_utf8(asset.bytes).ok());
        for text in texts {
            for (at, _) in text.match_indices("/assets/") {
                let name: String = text[at + 8..]
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || ".-_/".contains(*c))
                    .collect();
                // Some names are put together where they are used.
                assert!(
                    name.is_empty() || ASSETS.iter().any(|asset| asset.name == name),
                    "{name} is not there"
                );
            }
        }
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let takes = |offers: &[&str]| {
            let mut headers = HeaderMap::new();
            for offer in offers {
                headers.append(header::ACCEPT_ENCODING, offer.parse().expect("a header"));
            }
            takes_gzip(&headers)
        };
        assert!(takes(&["gzip"]) && takes(&["br, GZIP;q=0.5"]) && takes(&["br", "deflate , gzip ; q=1"]));
        assert!(
            !takes(&[]) && !takes(&["br, x-gzip"]) && !takes(&["gzip;q=0"]) && !takes(&["gzip; q=0.000"])
        );
        assert!(!takes(&["gzip;q=much"]), "what cannot be understood is not taken for a yes");
    }

    #[test]
    fn compressed_files_are_the_files_and_take_little_memory() {
        let mut total = 0;
        for asset in ASSETS.iter().chain([&PAGE, &OPENAPI]) {
            let Some(gzip) = asset.gzip() else { continue };
            let mut bytes = Vec::new();
            flate2::read::GzDecoder::new(gzip).read_to_end(&mut bytes).expect("gzip");
            assert_eq!(bytes, asset.bytes, "{}", asset.name);
            total += asset.gzip.get().map_or(0, Vec::capacity);
        }
        assert!(total <= MEMORY_MAX, "{total} bytes");
    }
}
