//! Captions to the terminal and to a file, beside the stream.

use std::fs::File;
use std::io::{self, Write};

use media::RtpPacket;

use super::Error;
use super::status::StatusLine;
use crate::captions::{CaptionWish, Captions};

/// What was wanted of captions, open.
#[derive(Debug)]
pub(super) struct CaptionOutput {
    captions: Captions,
    file: Option<(String, File)>,
}

impl CaptionOutput {
    /// Opens the file, if one is wanted; `None`: nothing is.
    pub(super) fn open(wish: &CaptionWish) -> Result<Option<Self>, Error> {
        if wish.is_nothing() {
            return Ok(None);
        }
        let file = wish.file.as_ref().map(|wanted| {
            let what = wanted.path().display().to_string();
            match File::create(wanted.path()) {
                Ok(file) => Ok((what, file)),
                Err(error) => Err(Error::Output { what, error }),
            }
        });
        Ok(Some(Self { captions: Captions::new(wish), file: file.transpose()? }))
    }

    /// Takes packets that are handed on.
    pub(super) fn packets(&mut self, packets: &[RtpPacket], status: &mut StatusLine) -> Result<(), Error> {
        packets.iter().for_each(|packet| self.captions.packet(packet));
        self.put(status)
    }

    /// Call about once a second.
    pub(super) fn second(&mut self, status: &mut StatusLine) -> Result<(), Error> {
        self.captions.tell_tracks();
        self.put(status)
    }

    /// The stream is over.
    pub(super) fn finish(mut self, status: &mut StatusLine) -> Result<(), Error> {
        self.captions.finish();
        self.put(status)
    }

    /// Shows and writes what is new. It is little: a line every second or so.
    fn put(&mut self, status: &mut StatusLine) -> Result<(), Error> {
        self.captions.words().iter().for_each(|line| status.say(line));
        let text = self.captions.text();
        let Some((what, file)) = self.file.as_mut().filter(|_| !text.is_empty()) else { return Ok(()) };
        let written: io::Result<()> = file.write_all(text.as_bytes());
        written.map_err(|error| Error::Output { what: what.clone(), error })
    }
}
