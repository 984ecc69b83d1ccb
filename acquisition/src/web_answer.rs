//! What a web server's answer means for an input: a stream, a way on, or a refusal that people understand.

use protocols::topology::WebInput;

/// Redirects that are followed one after the other; one more is taken for a ring.
pub const MAX_REDIRECTS: u8 = 5;
/// Characters of a server's own words that are passed on.
const MAX_WORDS: usize = 100;

/// The head of an answer, as far as it matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head<'a> {
    /// Status (RFC 9110 §15).
    pub status: u16,
    /// Where a redirect leads.
    pub location: Option<&'a str>,
    /// What the body is.
    pub content_type: Option<&'a str>,
    /// What an HDHomeRun says of its refusal.
    pub tuner_error: Option<&'a str>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Read the body: it may be a transport stream.
    Read,
    /// Ask there instead.
    Follow(Box<WebInput>),
    /// Give up; the text says why and what to do.
    Refuse(String),
}

/// Judges the answer to a request for `asked`, to which `redirects` have led.
pub fn judge(asked: &WebInput, redirects: u8, head: &Head<'_>) -> Verdict {
    let place = asked.place();
    let told = match head.status {
        200 => return content(&place, head.content_type),
        301 | 302 | 303 | 307 | 308 => return redirect(asked, redirects, head.location),
        401 if asked.credentials.is_some() => "does not take this user and password (401)".to_owned(),
        401 => "wants a user and a password (401): write them into the input's URL as USER:PASSWORD@HOST"
            .to_owned(),
        403 => "refuses (403 Forbidden): let this server have it".to_owned(),
        404 | 410 => format!("is not there ({}): correct the input's URL", head.status),
        503 => "is busy (503): all its tuners or places may be taken".to_owned(),
        status @ 500.. => format!("fails by itself (status {status})"),
        status => format!("is answered by status {status} instead of a stream"),
    };
    let words = head.tuner_error.map(|words| format!(": {}", printable(words))).unwrap_or_default();
    Verdict::Refuse(format!("{place} {told}{words}"))
}

fn redirect(asked: &WebInput, redirects: u8, location: Option<&str>) -> Verdict {
    let place = asked.place();
    if redirects >= MAX_REDIRECTS {
        return Verdict::Refuse(format!("{place}: more than {MAX_REDIRECTS} redirects in a row"));
    }
    match location.map(|location| asked.redirected(location)) {
        Some(Ok(led)) => Verdict::Follow(Box::new(led)),
        Some(Err(error)) => Verdict::Refuse(format!("{place} redirects to what cannot be followed: {error}")),
        None => Verdict::Refuse(format!("{place} redirects without saying where to")),
    }
}

/// What surely is no transport stream is refused by its name; about all else the bytes decide.
fn content(place: &str, content_type: Option<&str>) -> Verdict {
    let kind =
        content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let advice = match kind.as_str() {
        "application/vnd.apple.mpegurl" | "application/x-mpegurl" | "audio/mpegurl" | "audio/x-mpegurl" => {
            "an HLS playlist: read it by exec:ffmpeg -i URL -c copy -f mpegts -"
        }
        "application/dash+xml" => "a DASH manifest: read it by exec:ffmpeg -i URL -c copy -f mpegts -",
        "text/html" | "application/xhtml+xml" => "a web page: give the stream's own URL",
        "application/json" | "application/xml" | "text/xml" => "text, no stream: correct the input's URL",
        _ if kind.starts_with("image/") => "a picture, no stream: correct the input's URL",
        _ => return Verdict::Read,
    };
    Verdict::Refuse(format!("{place} is {advice}"))
}

fn printable(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
}

/// The value of `Authorization` for a user and a password (RFC 7617).
pub fn basic_authorization(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use protocols::topology::InputUrl;

    use super::*;

    fn asked(url: &str) -> WebInput {
        match url.parse() {
            Ok(InputUrl::Web(input)) => input,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(head: &Head<'_>) -> String {
        match judge(&asked("http://anna:secret@h/live?key=secret"), 0, head) {
            Verdict::Refuse(cause) => cause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_stream_of_any_name_is_read() {
        for content_type in [None, Some("video/mp2t"), Some("application/octet-stream"), Some("text/plain")] {
            let head = Head { status: 200, content_type, ..Head::default() };
            assert_eq!(judge(&asked("http://h/"), 0, &head), Verdict::Read);
        }
    }

    #[test]
    fn redirects_are_followed_so_far_and_no_farther() {
        let head = Head { status: 302, location: Some("b.ts"), ..Head::default() };
        let led = asked("http://h/a/b.ts");
        let from = asked("http://h/a/a.ts");
        assert_eq!(judge(&from, MAX_REDIRECTS - 1, &head), Verdict::Follow(Box::new(led)));
        let told = Verdict::Refuse("http://h/…/a.ts: more than 5 redirects in a row".to_owned());
        assert_eq!(judge(&from, MAX_REDIRECTS, &head), told);
        assert!(refusal(&Head { status: 301, ..Head::default() }).ends_with("without saying where to"));
        let head = Head { status: 301, location: Some("rtsp://h/"), ..Head::default() };
        assert!(refusal(&head).ends_with("`rtsp:` is no protocol of the web"));
    }

    #[test]
    fn refusals_say_what_to_do_and_keep_secrets() {
        for (status, words) in [
            (401, "does not take this user"),
            (403, "403 Forbidden"),
            (404, "http://h/live is not there (404): correct"),
            (503, "busy"),
            (500, "status 500"),
            (204, "status 204"),
        ] {
            let told = refusal(&Head { status, ..Head::default() });
            assert!(told.contains(words) && !told.contains("secret"), "{told}");
        }
        let head = Head { status: 503, tuner_error: Some("805 All Tuners In Use\u{7}"), ..Head::default() };
        assert!(refusal(&head).ends_with(": 805 All Tuners In Use"));
        let page = Head { status: 200, content_type: Some("Text/HTML; charset=x"), ..Head::default() };
        assert_eq!(refusal(&page), "http://h/live is a web page: give the stream's own URL");
        let list = Head { content_type: Some("application/vnd.apple.mpegurl"), ..page };
        assert!(refusal(&list).contains("exec:ffmpeg"));
    }

    #[test]
    fn credentials_are_encoded_as_the_standard_shows() {
        assert_eq!(basic_authorization("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
