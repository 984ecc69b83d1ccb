//! `file:`: a transport stream on disk, read in pieces whatever its size. One that loops is read once before it plays,
//! to learn how long it is.

use std::io::{ErrorKind, Read, SeekFrom};
use std::path::{Path, PathBuf};

use media::Packet;
use media::looper::{Clip, ClipScan, Restamper};
use media::sync::{SYNC_SEARCH_BYTES, Synchroniser};
use protocols::topology::Repeat;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::oneshot;

use super::End;
use crate::paced_stream::PacedStream;

/// Bytes read at a time while playing.
const READ_BYTES: usize = 32 << 10;
/// Bytes read at a time by the first pass.
const SCAN_BYTES: usize = 1 << 20;

/// A file that plays.
pub(crate) struct FileInput {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    /// `None`: it plays once.
    restamper: Option<Restamper>,
    /// Whether this pass has brought a packet.
    fruitful: bool,
    /// Its end was reached; it is to be read from its beginning on.
    rewinds: bool,
}

impl FileInput {
    pub(crate) async fn open(path: PathBuf, repeat: Repeat) -> Result<Self, String> {
        let restamper = match repeat {
            Repeat::Loop => Some(Restamper::new(scan(path.clone()).await?)),
            Repeat::Once => None,
        };
        let file = File::open(&path).await.map_err(|error| refused(&path, &error))?;
        let metadata = file.metadata().await.map_err(|error| refused(&path, &error))?;
        if metadata.is_dir() {
            return Err(refused(&path, &ErrorKind::IsADirectory.into()));
        }
        Ok(Self { path, file, buffer: vec![0; READ_BYTES], restamper, fruitful: false, rewinds: false })
    }

    pub(crate) async fn read(&mut self, stream: &mut PacedStream) -> Result<(), End> {
        let path = self.path.display();
        // Whoever waits may give up at any `await` and come again: until the seek is done nothing else is.
        if self.rewinds {
            let sought = self.file.seek(SeekFrom::Start(0)).await;
            sought.map_err(|error| End::Closed(format!("{path}: {error}")))?;
            self.rewinds = false;
        }
        let read = self.file.read(&mut self.buffer).await;
        let count = read.map_err(|error| End::Closed(refused(&self.path, &error)))?;
        if count == 0 {
            return self.at_end(stream);
        }
        let (restamper, fruitful) = (&mut self.restamper, &mut self.fruitful);
        let pushed = stream.push_bytes(&self.buffer[..count], |packet| {
            *fruitful = true;
            if let Some(restamper) = restamper {
                restamper.restamp(packet);
            }
        });
        pushed.map_err(|error| End::Closed(format!("{path}: {error}")))
    }

    fn at_end(&mut self, stream: &mut PacedStream) -> Result<(), End> {
        let path = self.path.display();
        if !std::mem::take(&mut self.fruitful) {
            return Err(End::Closed(format!("{path}: no MPEG-TS: no packet of 188 bytes in the whole file")));
        }
        let Some(restamper) = &mut self.restamper else {
            return Err(End::Finished(format!(
                "{path}: played to its end, as `loop=no` asks; restart the input to play it again"
            )));
        };
        stream.cut();
        restamper.next_loop();
        self.rewinds = true;
        Ok(())
    }
}

/// The first pass, on a thread of its own; it gives up when nobody waits for it any more.
async fn scan(path: PathBuf) -> Result<Clip, String> {
    let (answer, scanned) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let result = scan_blocking(&path, || answer.is_closed());
        // Closed: the input was given up meanwhile.
        let _ = answer.send(result);
    });
    scanned.await.map_err(|_| "the file's first pass was given up".to_owned())?
}

fn scan_blocking(path: &Path, given_up: impl Fn() -> bool) -> Result<Clip, String> {
    let mut file = std::fs::File::open(path).map_err(|error| refused(path, &error))?;
    let (mut scan, mut synchroniser) = (ClipScan::new(), Synchroniser::new());
    let (mut buffer, mut packets) = (vec![0; SCAN_BYTES], 0u64);
    while !given_up() {
        let count = file.read(&mut buffer).map_err(|error| refused(path, &error))?;
        if count == 0 {
            break;
        }
        // In pieces below the synchroniser's patience, so that a foreign file is found out early.
        for piece in buffer[..count].chunks(usize::try_from(SYNC_SEARCH_BYTES).unwrap_or(SCAN_BYTES)) {
            let pushed = synchroniser.push(piece, |bytes| {
                if let Ok(packet) = Packet::parse(bytes) {
                    scan.push(packet);
                    packets += 1;
                }
            });
            if let (Err(error), 0) = (pushed, packets) {
                return Err(format!("{}: {error}", path.display()));
            }
        }
    }
    match packets {
        0 => Err(format!("{}: no MPEG-TS: no packet of 188 bytes in the whole file", path.display())),
        _ => scan.finish().map_err(|error| format!("{}: {error}", path.display())),
    }
}

fn refused(path: &Path, error: &std::io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::NotFound => "; put it there or correct the input's URL",
        ErrorKind::PermissionDenied => "; let the user that runs this server read it",
        ErrorKind::IsADirectory => "; name a file",
        _ => "",
    };
    format!("{}: {error}{advice}", path.display())
}
