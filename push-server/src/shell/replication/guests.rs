//! Peers that ask for what is recorded here: so many at a time, so fast together, and only about channels that both record.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use link::clock::Clock;
use link::frames::{self, LinkError};
use link::session::{self, Session};
use protocols::authority::Tag;
use protocols::codec;
use protocols::ids::{ChannelId, HostId};
use protocols::p3_replica::{
    Answer, Ask, Listed, MAX_ASK_BYTES, Name, PIECE_BYTES, SEGMENTS_PER_PAGE, Wanted,
};
use protocols::preamble::Refusal;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::Counts;
use crate::recording::{Segment, SegmentName};
use crate::replication::Pace;
use crate::shell::recorder::disk::Paths;
use crate::shell::recorder::status::Status;
use crate::shell::recorder::{Archive, Held, Recorder, verify};

/// Peers served at a time; one more is turned away, and comes again.
const MAX_GUESTS: usize = 4;
/// A peer that asks nothing for this long, as one does that verifies a large segment, is let go.
const IDLE_LIMIT: Duration = Duration::from_mins(1);

/// A peer that was let in.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) host: HostId,
    pub(crate) stream: std::net::TcpStream,
    pub(crate) session: Session,
}

/// The one who serves them.
#[derive(Debug)]
pub(super) struct Guests {
    service: Arc<Service>,
    served: BTreeMap<HostId, AbortHandle>,
}

#[derive(Debug)]
struct Service {
    archive: Arc<Archive>,
    status: Arc<Status>,
    counts: Arc<Counts>,
    clock: Clock,
    /// What all guests are given together.
    pace: Mutex<Pace>,
}

impl Guests {
    pub(super) fn new(rate_bps: u64, recorder: &Recorder, counts: Arc<Counts>) -> Self {
        let (clock, pace) = (Clock::start(), Mutex::new(Pace::new(rate_bps)));
        let (archive, status) = (recorder.archive().clone(), recorder.status().clone());
        Self { service: Arc::new(Service { archive, status, counts, clock, pace }), served: BTreeMap::new() }
    }

    /// Serves for ever.
    pub(super) async fn run(mut self, mut arriving: mpsc::Receiver<Guest>) {
        while let Some(guest) = arriving.recv().await {
            self.served.retain(|_, task| !task.is_finished());
            // A host that comes again has lost its former connection, whether or not that is known here.
            if let Some(former) = self.served.remove(&guest.host) {
                former.abort();
            }
            let (service, host, full) =
                (self.service.clone(), guest.host.clone(), self.served.len() >= MAX_GUESTS);
            let task = tokio::spawn(async move {
                let peer = guest.host.clone();
                match service.serve(guest, full).await {
                    Ok(()) => tracing::debug!(%peer, "a peer has what it asked for"),
                    Err(error) => tracing::debug!(%peer, %error, "a peer is served no more"),
                }
            });
            if !full {
                self.served.insert(host, task.abort_handle());
            }
        }
    }
}

impl Service {
    async fn serve(&self, guest: Guest, full: bool) -> Result<(), LinkError> {
        let Guest { host, stream, mut session } = guest;
        let mut stream = TcpStream::from_std(stream)?;
        if full {
            Counts::add(&self.counts.turned_away, 1);
            let refusal =
                Refusal::Busy(format!("{MAX_GUESTS} other push servers are being given recordings"));
            return session::write_sealed(&mut stream, &mut session.seal, &Answer::Refused(refusal)).await;
        }
        Counts::add(&self.counts.guests, 1);
        loop {
            let limit = MAX_ASK_BYTES + Tag::BYTES;
            let asking = session::read_sealed(&mut stream, &mut session.opener, limit);
            let asked = timeout(IDLE_LIMIT, asking).await.map_err(|_| LinkError::Slow("ask"))??;
            let Some(body) = asked else { return Ok(()) };
            let ask = codec::decode::<Ask, MAX_ASK_BYTES>(&body)?;
            let source = self.source(&host, &ask);
            let answer = match &source {
                Ok(Source::Page(page)) => page.clone(),
                Ok(Source::File { from, to, .. }) => Answer::Bytes(to - from),
                Ok(Source::Gone) => Answer::Gone,
                Err(refusal) => Answer::Refused(refusal.clone()),
            };
            session::write_sealed(&mut stream, &mut session.seal, &answer).await?;
            match source {
                Ok(Source::File { file, from, to }) => {
                    self.give(&mut stream, &mut session, &file, from..to).await?;
                }
                Ok(_) => {}
                Err(refusal) => return Err(LinkError::Refused(refusal)),
            }
        }
    }

    fn source(&self, host: &HostId, ask: &Ask) -> Result<Source, Refusal> {
        let (Ask::List { channel, .. }
        | Ask::Index(Wanted { channel, .. })
        | Ask::Packets { wanted: Wanted { channel, .. }, .. }) = *ask;
        // Who records the channel too may have what is recorded of it, and nobody else.
        let order = self.archive.orders().remove(&channel);
        if !order.is_some_and(|order| order.peers.iter().any(|peer| peer.host == *host)) {
            return Err(Refusal::NotConfigured(channel));
        }
        Ok(match *ask {
            Ask::List { channel, from } => {
                let (segments, more) = self.archive.page(channel, from_wire(from), SEGMENTS_PER_PAGE);
                Source::Page(Answer::Page { segments: segments.iter().map(listed).collect(), more })
            }
            Ask::Index(wanted) if self.is_sound(wanted) => {
                self.file(wanted, |paths| File::open(&paths.index), 0)
            }
            Ask::Index(_) => Source::Gone,
            Ask::Packets { wanted, from_bytes } => {
                self.file(wanted, |paths| File::open(&paths.ts), from_bytes)
            }
        })
    }

    /// Reads what a peer is about to fetch: damage that is found here and now costs nobody a transfer.
    fn is_sound(&self, wanted: Wanted) -> bool {
        let (channel, name) = (wanted.channel, from_wire(wanted.name));
        let Some(Held::Complete(segment)) = self.archive.held(channel, name) else { return false };
        match verify::verify(self.archive.root(), channel, name) {
            Ok(index) => index.is_some(),
            Err(flaw) => {
                let condemned = self.archive.condemn(channel, &segment);
                self.status.damaged(channel, name, &flaw.to_string(), condemned);
                false
            }
        }
    }

    fn file(&self, wanted: Wanted, open: impl FnOnce(&Paths) -> io::Result<File>, from: u64) -> Source {
        let Wanted { channel, name, hash } = wanted;
        let name = from_wire(name);
        let is_that =
            |held: Option<Held>| matches!(held, Some(Held::Complete(segment)) if segment.hash == hash);
        if !is_that(self.archive.held(channel, name)) {
            return Source::Gone;
        }
        // A file that was opened stays what it was, whatever takes its place.
        let opened = open(&Paths::of(self.archive.root(), channel, name));
        let measured = opened.and_then(|file| file.metadata().map(|metadata| (file, metadata.len())));
        match measured {
            Ok((file, to)) if from <= to && is_that(self.archive.held(channel, name)) => {
                // What nobody watches is not to push out what somebody does: advice, which may be ignored.
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::NoReuse);
                Source::File { file, from, to }
            }
            _ => Source::Gone,
        }
    }

    async fn give(
        &self,
        stream: &mut TcpStream,
        session: &mut Session,
        file: &File,
        bytes: std::ops::Range<u64>,
    ) -> Result<(), LinkError> {
        let (mut at, mut piece) = (bytes.start, vec![0; PIECE_BYTES]);
        while at < bytes.end {
            let len = usize::try_from(bytes.end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            file.read_exact_at(&mut piece[..len], at)?;
            let sealed = session.seal.seal(piece[..len].to_vec());
            frames::write_frame(stream, &sealed).await?;
            at += len as u64;
            Counts::add(&self.counts.given_bytes, len as u64);
            let wait = self.pace.lock().unwrap_or_else(PoisonError::into_inner).take(self.clock.now(), len);
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

/// What an answer is made of.
#[derive(Debug)]
enum Source {
    Page(Answer),
    File { file: File, from: u64, to: u64 },
    Gone,
}

/// A segment as it is listed to peers.
fn listed(segment: &Segment) -> Listed {
    let Segment { name, date_ms, end_date_ms, packets, missing, length_bytes, hash } = *segment;
    Listed {
        ssrc: name.ssrc,
        number: name.number,
        date_ms,
        end_date_ms,
        packets,
        missing,
        length_bytes,
        hash,
    }
}

/// A segment that a peer lists.
pub(super) fn from_listed(listed: &Listed) -> Segment {
    let Listed { ssrc, number, date_ms, end_date_ms, packets, missing, length_bytes, hash } = *listed;
    let name = SegmentName::new(ssrc, number, date_ms);
    Segment { name, date_ms, end_date_ms, packets, missing, length_bytes, hash }
}

/// What is asked for of a peer.
pub(super) fn wanted(channel: ChannelId, segment: &Segment) -> Wanted {
    let SegmentName { date_s, ssrc, number } = segment.name;
    Wanted { channel, name: Name { date_s, ssrc, number }, hash: segment.hash }
}

fn from_wire(name: Name) -> SegmentName {
    let Name { date_s, ssrc, number } = name;
    SegmentName { date_s, ssrc, number }
}
