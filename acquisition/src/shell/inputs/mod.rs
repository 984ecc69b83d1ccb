//! Inputs: a file for each scheme. All bring whole transport packets, each at the time at which it is to go out.

mod datagrams;
mod dvb;
mod exec;
mod file;
mod hdhomerun;
mod lent_tuner;
mod peer;
mod rtp;
mod satip;
mod srt;
mod testcard;
mod udp;
mod web;

use link::clock::Clock;
use media::health::SyncErrors;
use media::packet::PacketBytes;
use media::sync::Synchroniser;

use crate::paced_stream::PacedStream;
use crate::pids::Pids;
use crate::signal::Signal;
use protocols::topology::{InputUrl, command_words};

use dvb::Dvb;
use exec::Exec;
use file::FileInput;
use hdhomerun::Hdhomerun;
use lent_tuner::Lent as _;
use rtp::Rtp;
use satip::Satip;
use srt::Srt;
use testcard::TestCard;
use udp::Udp;
use web::Web;

/// What one turn of an input brings.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Packets in order.
    pub(crate) packets: Vec<PacketBytes>,
    /// What came that is no transport stream, for people.
    pub(crate) strange: Option<String>,
    /// Wrong sync bytes, where bytes are searched for packets.
    pub(crate) sync_errors: SyncErrors,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.packets.is_empty() && self.strange.is_none()
    }
}

/// Which of a synchroniser's errors have been told in a batch.
#[derive(Debug, Default)]
pub(crate) struct ToldErrors(SyncErrors);

impl ToldErrors {
    /// Those that have not.
    fn news(&mut self, synchroniser: &Synchroniser) -> SyncErrors {
        let all = SyncErrors { bytes: synchroniser.losses(), losses: synchroniser.slips() };
        let told = std::mem::replace(&mut self.0, all);
        SyncErrors { bytes: all.bytes - told.bytes, losses: all.losses - told.losses }
    }
}

/// How an input ends; the text says what happened and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Against its purpose: it is tried again.
    Closed(String),
    /// As it was meant to: it is left alone.
    Finished(String),
}

/// An open input.
pub(crate) enum OpenInput {
    Paced(Box<Paced>),
    Udp(Udp),
    Rtp(Box<Rtp>),
    Dvb(Box<Dvb>),
    Satip(Box<Satip>),
    Srt(Box<Srt>),
    Hdhomerun(Box<Hdhomerun>),
}

/// What an input itself has had to throw away or go without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Faults {
    /// How often packets were no longer where they belong.
    pub(crate) sync_losses: u64,
    /// How often a buffer ran over because it was read too late.
    pub(crate) overflows: u64,
}

/// An input that comes as fast as it is read, and is let out at its own pace.
pub(crate) struct Paced {
    source: Source,
    stream: PacedStream,
    ended: Option<End>,
}

enum Source {
    TestCard(TestCard),
    File(FileInput),
    Exec(Box<Exec>),
    Web(Box<Web>),
}

impl OpenInput {
    /// Opens what `url` names; refuses with the cause.
    pub(crate) async fn open(url: &str) -> Result<Self, String> {
        let parsed: InputUrl = url.parse().map_err(|error| format!("{error}"))?;
        let source = match parsed {
            InputUrl::TestCard => Source::TestCard(TestCard::open()?),
            InputUrl::File { path, repeat } => Source::File(FileInput::open(path.into(), repeat).await?),
            InputUrl::Exec(command) => {
                let words = command_words(&command).map_err(|error| error.to_string())?;
                Source::Exec(Box::new(Exec::start(words)?))
            }
            InputUrl::Web(input) => Source::Web(Box::new(Web::open(input).await?)),
            InputUrl::Udp(endpoint) => return Udp::open(&endpoint).map(Self::Udp),
            InputUrl::Hdhomerun(input) => {
                return Ok(Self::Hdhomerun(Box::new(Hdhomerun::open(&input).await?)));
            }
            InputUrl::Satip(input) => return Ok(Self::Satip(Box::new(Satip::open(&input).await?))),
            InputUrl::Rtp(endpoint) => return Ok(Self::Rtp(Box::new(Rtp::open(&endpoint)?))),
            InputUrl::Dvb(input) => return Ok(Self::Dvb(Box::new(Dvb::open(&input).await?))),
            InputUrl::Srt(input) => return Ok(Self::Srt(Box::new(Srt::open(&input).await?))),
        };
        Ok(Self::Paced(Box::new(Paced { source, stream: PacedStream::new(), ended: None })))
    }

    /// Waits for the next packets and appends them to `batch`. May be dropped at any time without losing any.
    pub(crate) async fn next(&mut self, clock: &Clock, batch: &mut Batch) -> Result<(), End> {
        match self {
            Self::Udp(udp) => udp.next(batch).await.map_err(End::Closed),
            Self::Rtp(rtp) => rtp.next(clock, batch).await.map_err(End::Closed),
            Self::Dvb(dvb) => dvb.next(batch).await.map_err(End::Closed),
            Self::Satip(satip) => satip.next(clock, batch).await.map_err(End::Closed),
            Self::Srt(srt) => srt.next(batch).await.map_err(End::Closed),
            Self::Hdhomerun(tuner) => tuner.next(clock, batch).await.map_err(End::Closed),
            Self::Paced(paced) => {
                let result = paced.next(clock, batch).await;
                batch.sync_errors = paced.stream.take_sync_errors();
                result
            }
        }
    }

    /// Whether it comes by a network at the network's pace.
    pub(crate) fn comes_by_network(&self) -> bool {
        match self {
            Self::Udp(_) | Self::Rtp(_) | Self::Satip(_) | Self::Srt(_) | Self::Hdhomerun(_) => true,
            Self::Dvb(_) | Self::Paced(_) => false,
        }
    }

    /// Tells which packets are needed from now on. What is brought beyond them does no harm, so that an input that
    /// cannot choose does nothing.
    pub(crate) fn select(&mut self, pids: &Pids) {
        match self {
            Self::Dvb(dvb) => dvb.select(pids),
            Self::Satip(satip) => satip.select(pids),
            Self::Hdhomerun(tuner) => tuner.select(pids),
            Self::Udp(_) | Self::Rtp(_) | Self::Srt(_) | Self::Paced(_) => {}
        }
    }

    /// How well it is received; `None` where there is no tuner.
    pub(crate) fn signal(&self) -> Option<Signal> {
        match self {
            Self::Dvb(dvb) => Some(dvb.signal()),
            Self::Satip(satip) => satip.signal(),
            Self::Hdhomerun(tuner) => tuner.signal(),
            Self::Udp(_) | Self::Rtp(_) | Self::Srt(_) | Self::Paced(_) => None,
        }
    }

    /// What went wrong so far. Datagrams that are no packets are told as what is strange, not here.
    pub(crate) fn faults(&self) -> Faults {
        match self {
            Self::Dvb(dvb) => dvb.faults(),
            Self::Srt(srt) => srt.faults(),
            Self::Paced(paced) => Faults { sync_losses: paced.stream.sync_losses(), overflows: 0 },
            Self::Udp(_) | Self::Rtp(_) | Self::Satip(_) | Self::Hdhomerun(_) => Faults::default(),
        }
    }

    /// Ends it: a program is told to end, and made to; a tuner is free when this returns.
    pub(crate) async fn close(self) {
        match self {
            Self::Dvb(dvb) => dvb.close().await,
            Self::Srt(srt) => srt.close().await,
            Self::Satip(satip) => satip.close().await,
            Self::Hdhomerun(tuner) => tuner.close().await,
            Self::Paced(paced) => {
                if let Source::Exec(exec) = paced.source {
                    exec.close().await;
                }
            }
            Self::Udp(_) | Self::Rtp(_) => {}
        }
    }
}

impl Paced {
    async fn next(&mut self, clock: &Clock, batch: &mut Batch) -> Result<(), End> {
        let Self { source, stream, ended } = self;
        loop {
            let hungry = ended.is_none() && stream.is_hungry();
            match stream.due(clock.now()) {
                Some(due) => {
                    // What waits is not kept back by a source that has nothing yet.
                    tokio::select! {
                        biased;
                        () = clock.reach(Some(due)) => {
                            stream.take(&mut batch.packets);
                            return Ok(());
                        }
                        read = source.read(stream), if hungry => *ended = read.err(),
                    }
                }
                None => match ended {
                    None => *ended = source.read(stream).await.err(),
                    Some(end) => {
                        // The last packets, when no PCR told their time.
                        while !stream.is_empty() {
                            stream.take(&mut batch.packets);
                        }
                        return Err(end.clone());
                    }
                },
            }
        }
    }
}

impl Source {
    /// Reads on; the answer is the end. May be dropped at any time without losing bytes.
    async fn read(&mut self, stream: &mut PacedStream) -> Result<(), End> {
        match self {
            Self::TestCard(card) => {
                card.read(stream);
                Ok(())
            }
            Self::File(file) => file.read(stream).await,
            Self::Exec(exec) => exec.read(stream).await,
            Self::Web(web) => web.read(stream).await,
        }
    }
}

#[cfg(test)]
mod hdhomerun_tests;
#[cfg(test)]
mod satip_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod web_tests;
