//! The console's page: files that are part of the program.

use axum::Router;

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::answer::ApiError;

/// One file of the page.
#[derive(Debug, Clone, Copy)]
struct File {
    /// Its name in `console/`, and its path.
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($name:literal: $content_type:expr,)*) => {
        /// All files. A file in `console/` that is missing here fails a test.
        const FILES: &[File] = &[$(File {
            name: $name,
            content_type: $content_type,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/console/", $name)),
        },)*];
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const DRAWING: &str = "image/svg+xml";

files! {
    "account.js": SCRIPT,
    "api.js": SCRIPT,
    "channels.js": SCRIPT,
    "console.css": CSS,
    "dialog.js": SCRIPT,
    "difference.js": SCRIPT,
    "edit.js": SCRIPT,
    "element.js": SCRIPT,
    "events.js": SCRIPT,
    "feeder.js": SCRIPT,
    "figures.js": SCRIPT,
    "form.js": SCRIPT,
    "fragments.js": SCRIPT,
    "graph.js": SCRIPT,
    "icon.svg": DRAWING,
    "index.html": HTML,
    "layout.js": SCRIPT,
    "live.js": SCRIPT,
    "main.js": SCRIPT,
    "overview.js": SCRIPT,
    "picture.js": SCRIPT,
    "player.js": SCRIPT,
    "recordings.js": SCRIPT,
    "shapes.js": SCRIPT,
    "site.js": SCRIPT,
    "topology_text.js": SCRIPT,
    "transport_stream.js": SCRIPT,
    "viewers.js": SCRIPT,
    "watch.js": SCRIPT,
}

/// Serves every path that is no other route's.
pub(super) fn routes() -> Router<App> {
    Router::new().fallback(file)
}

async fn file(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let name = uri.path().trim_start_matches('/');
    let name = if name.is_empty() { "index.html" } else { name };
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return ApiError::not_found("there is no such page").into_response();
    };
    if method != Method::GET && method != Method::HEAD {
        return ApiError::wrong_method().into_response();
    }
    let tag = file.tag();
    let mut response = if asks_for_other_than(&tag, &headers) {
        ([(header::CONTENT_TYPE, file.content_type)], file.bytes).into_response()
    } else {
        StatusCode::NOT_MODIFIED.into_response()
    };
    let headers = response.headers_mut();
    // Asked for again each time, and not sent again: a new version of the program shows its own page at once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// Whether `If-None-Match` does not name `tag` (RFC 9110, section 13.1.2).
fn asks_for_other_than(tag: &str, headers: &HeaderMap) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    !known.is_some_and(|known| {
        known.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    })
}

impl File {
    fn tag(&self) -> String {
        let hash = blake3::hash(self.bytes).to_hex();
        format!("\"{}\"", &hash[..16])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/console");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let served: BTreeSet<String> = FILES.iter().map(|file| file.name.to_owned()).collect();
        assert_eq!(served, there);
    }
}
