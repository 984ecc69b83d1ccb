//! Captions beside a stream: which track, what is said as it comes, and what a file of them has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use media::RtpPacket;
use media::captions::subtitle_file::{Format, SubtitleFile};
use media::captions::{Event, Listing, Reader, Track};
use media::packet::Packet;
use thiserror::Error;

/// What is wanted of captions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaptionWish {
    /// They are shown in the terminal.
    pub is_shown: bool,
    /// Which; `None`: the first that says something.
    pub track: Option<Track>,
    /// They are written to this file.
    pub file: Option<CaptionPath>,
}

impl CaptionWish {
    /// Whether nothing is wanted.
    pub fn is_nothing(&self) -> bool {
        !self.is_shown && self.file.is_none()
    }
}

/// A file for captions, whose name says of which kind it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptionPath {
    path: PathBuf,
    format: Format,
}

/// A name that says nothing of that.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` ends neither in .vtt (WebVTT) nor in .srt (SubRip)")]
pub struct CaptionPathError(String);

impl FromStr for CaptionPath {
    type Err = CaptionPathError;

    fn from_str(text: &str) -> Result<Self, CaptionPathError> {
        let path = PathBuf::from(text);
        let kind = path.extension().and_then(|kind| kind.to_str()).map(str::to_ascii_lowercase);
        let format = match kind.as_deref() {
            Some("vtt") => Format::WebVtt,
            Some("srt") => Format::SubRip,
            _ => return Err(CaptionPathError(text.to_owned())),
        };
        Ok(Self { path, format })
    }
}

impl CaptionPath {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Follows a stream's captions.
#[derive(Debug)]
pub struct Captions {
    reader: Reader,
    is_shown: bool,
    track: Option<Track>,
    file: Option<SubtitleFile>,
    /// Tracks that people know of.
    told: BTreeSet<Track>,
    words: Vec<String>,
    text: String,
}

impl Captions {
    /// For a stream that begins.
    pub fn new(wish: &CaptionWish) -> Self {
        let file = wish.file.as_ref().map(|file| SubtitleFile::new(file.format));
        let text = file.as_ref().map_or_else(String::new, |file| file.head().to_owned());
        Self {
            reader: Reader::new(),
            is_shown: wish.is_shown,
            track: wish.track,
            file,
            told: BTreeSet::new(),
            words: Vec::new(),
            text,
        }
    }

    /// Takes a packet that is handed on.
    pub fn packet(&mut self, packet: &RtpPacket) {
        for packet in packet.packets().filter_map(|bytes| Packet::parse(bytes).ok()) {
            self.reader.push(packet);
        }
        self.take();
    }

    /// The stream is over.
    pub fn finish(&mut self) {
        self.reader.finish();
        self.take();
    }

    /// Lines for people since the last call.
    pub fn words(&mut self) -> Vec<String> {
        std::mem::take(&mut self.words)
    }

    /// What the file goes on with since the last call.
    pub fn text(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// Tells of tracks that are new; call about once a second.
    pub fn tell_tracks(&mut self) {
        if !self.is_shown {
            return;
        }
        // A page with subtitles may be listed for several languages.
        let mut tracks: BTreeMap<Track, Vec<Listing>> = BTreeMap::new();
        for listing in self.reader.tracks() {
            tracks.entry(listing.track).or_default().push(listing);
        }
        for (track, listings) in tracks {
            if self.told.insert(track) {
                let languages: Vec<&str> =
                    listings.iter().filter_map(|listing| listing.language.as_deref()).collect();
                let languages =
                    if languages.is_empty() { String::new() } else { format!(" ({})", languages.join(", ")) };
                let pictures = if track.is_text() { "" } else { ", pictures, which are not shown as text" };
                self.words.push(format!("captions: {track}{languages}{pictures}"));
            }
        }
    }

    fn take(&mut self) {
        let Self { reader, is_shown, track: wanted, file, words, text, .. } = self;
        for event in reader.events() {
            let track = match &event {
                Event::Said { track, .. } => *track,
                Event::Cue(cue) => cue.track,
            };
            if track != *wanted.get_or_insert(track) {
                continue;
            }
            match event {
                Event::Said { lines, .. } if *is_shown => {
                    words.extend(lines.into_iter().map(|line| format!("» {line}")));
                }
                Event::Said { .. } => {}
                Event::Cue(cue) => {
                    if let Some(file) = file {
                        text.push_str(&file.cue(&cue));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_kind_of_file_it_is() {
        assert_eq!("a/b.vtt".parse::<CaptionPath>().map(|file| file.format), Ok(Format::WebVtt));
        assert_eq!("B.SRT".parse::<CaptionPath>().map(|file| file.format), Ok(Format::SubRip));
        let error = "film.ts".parse::<CaptionPath>().unwrap_err();
        assert_eq!(error.to_string(), "`film.ts` ends neither in .vtt (WebVTT) nor in .srt (SubRip)");
    }

    #[test]
    fn a_file_without_cues_has_its_head() {
        let wish = CaptionWish { file: Some("a.vtt".parse().unwrap()), ..CaptionWish::default() };
        let mut captions = Captions::new(&wish);
        captions.finish();
        captions.tell_tracks();
        assert_eq!((captions.text(), captions.words()), ("WEBVTT\n\n".to_owned(), Vec::new()));
        assert_eq!(captions.text(), "");
    }
}
