//! `recordings`, `record`, `unrecord`: ask the database server, print the answer and end.

use std::future::Future;
use std::io::{Write, stdout};
use std::time::Duration;

use jiff::tz::TimeZone;
use link::clock::Clock;
use link::frames::{self, LinkError};
use link::shutdown::Shutdown;
use protocols::codec::{self, CodecError};
use protocols::ids::ChannelId;
use protocols::p2_directory::{ChannelList, ToClient, ToDatabase};
use protocols::preamble::MAX_P2_ANSWER_BYTES;
use protocols::recording::{RecordingId, Span};
use tokio::net::TcpStream;

use super::{Error, Format, Options, colour, directory, guide, session};
use crate::recording_list;
use crate::selection::select;
use crate::when::{When, WhenError};

/// Each answer may take this long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// A recording to order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Id or name.
    pub channel: String,
    /// What of it.
    pub part: Part,
}

/// What of a channel is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Between two dates.
    Dates {
        /// From when.
        from: When,
        /// Until when.
        to: When,
        /// What people call it.
        title: String,
    },
    /// An event of the programme guide, by its number: the first one that is not over.
    Event {
        /// Its number.
        id: u16,
        /// What people call it; `None`: as the guide does.
        title: Option<String>,
    },
}

/// Prints what is recorded, of all channels or of one.
pub(super) async fn list(options: &Options, channel: Option<&str>, shutdown: &Shutdown) -> Result<(), Error> {
    unless(shutdown, async {
        let mut directory = Conversation::open(options).await?;
        let channel = match channel {
            Some(channel) => Some(select(&directory.channels().await?, channel)?),
            None => None,
        };
        let list = directory
            .ask(&ToDatabase::Recordings { channel }, |message| match message {
                ToClient::Recordings(list) => Ok(list),
                other => Err(other),
            })
            .await?;
        print(&match options.format {
            Format::Text => recording_list::table(&list, &TimeZone::system(), colour()),
            Format::Json => recording_list::json(&list),
        });
        Ok(())
    })
    .await
}

/// Orders a recording and prints it.
pub(super) async fn record(options: &Options, order: &Order, shutdown: &Shutdown) -> Result<(), Error> {
    unless(shutdown, async {
        let mut directory = Conversation::open(options).await?;
        let channels = directory.channels().await?;
        let channel: ChannelId = select(&channels, &order.channel)?;
        let zone = TimeZone::system();
        let (span, title) = match &order.part {
            Part::Dates { from, to, title } => {
                // By the cluster's clock, which dates the recordings; this host's may be off.
                let now = channels.time;
                let span = || -> Result<Span, WhenError> {
                    let from = from.begin(now, &zone)?;
                    Ok(Span { from, to: to.end(now, from, &zone)? })
                };
                (span().map_err(|error| Error::Usage(error.to_string()))?, title.clone())
            }
            Part::Event { id, title } => {
                let event = guide::event(&mut directory, channel, *id, channels.time).await?;
                let (span, said) = event.ok_or_else(|| {
                    Error::Usage(format!(
                        "the guide has no event {id} of channel {channel} that ends at a known time to come"
                    ))
                })?;
                (span, title.clone().unwrap_or(said))
            }
        };
        let request = ToDatabase::Record { channel, span, title };
        let answer = directory
            .ask(&request, |message| match message {
                ToClient::Recorded(programme) => Ok(Ok(programme)),
                ToClient::RecordRefused(refusal) => Ok(Err(refusal)),
                other => Err(other),
            })
            .await?;
        let programme = answer.map_err(|refusal| Error::Refused(refusal.to_string()))?;
        print(&match options.format {
            Format::Text => recording_list::line(&programme, &zone),
            Format::Json => recording_list::programme_json(&programme),
        });
        Ok(())
    })
    .await
}

/// From when to when, by this host's clock.
pub(super) fn span_of(from: &When, to: &When) -> Result<Span, Error> {
    let (now, zone) = (Clock::wall(), TimeZone::system());
    let span = || -> Result<Span, WhenError> {
        let from = from.begin(now, &zone)?;
        Ok(Span { from, to: to.end(now, from, &zone)? })
    };
    span().map_err(|error| Error::Usage(error.to_string()))
}

/// Gives a recording up.
pub(super) async fn unrecord(options: &Options, id: RecordingId, shutdown: &Shutdown) -> Result<(), Error> {
    unless(shutdown, async {
        let mut directory = Conversation::open(options).await?;
        let answer = directory
            .ask(&ToDatabase::Unrecord { id }, |message| match message {
                ToClient::Unrecorded { id } => Ok(Ok(id)),
                ToClient::RecordRefused(refusal) => Ok(Err(refusal)),
                other => Err(other),
            })
            .await?;
        answer.map(drop).map_err(|refusal| Error::Refused(refusal.to_string()))
    })
    .await
}

/// Does `work`, or ends cleanly when told to.
pub(super) async fn unless(
    shutdown: &Shutdown,
    work: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    tokio::select! {
        done = work => done,
        () = shutdown.requested() => Ok(()),
    }
}

/// Questions and answers, one after the other.
pub(super) struct Conversation<'a> {
    options: &'a Options,
    stream: TcpStream,
}

impl<'a> Conversation<'a> {
    pub(super) async fn open(options: &'a Options) -> Result<Self, Error> {
        let local = options.interface.as_deref().map(session::local_address).transpose()?.flatten();
        let opened = in_time(directory::open(&options.database, local)).await;
        let stream = opened.map_err(|cause| unanswered(options, cause))?;
        Ok(Self { options, stream })
    }

    pub(super) async fn channels(&mut self) -> Result<ChannelList, Error> {
        self.ask(&ToDatabase::List { tunings: false }, |message| match message {
            ToClient::Channels(list) => Ok(list),
            other => Err(other),
        })
        .await
    }

    /// The first message that `pick` takes; what is not an answer is passed over.
    pub(super) async fn ask<T>(
        &mut self,
        request: &ToDatabase,
        pick: impl Fn(ToClient) -> Result<T, ToClient>,
    ) -> Result<T, Error> {
        let stream = &mut self.stream;
        let answer = in_time(async {
            frames::write_frame(stream, &codec::encode(request)).await?;
            loop {
                let Some(body) = frames::read_frame(stream, MAX_P2_ANSWER_BYTES).await? else {
                    return Ok(Err("it closes the connection".to_owned()));
                };
                match codec::decode_message::<ToClient, MAX_P2_ANSWER_BYTES>(&body) {
                    Ok(message) => match pick(message) {
                        Ok(answer) => return Ok(Ok(answer)),
                        Err(ToClient::Refused(refusal)) => return Ok(Err(refusal.to_string())),
                        Err(_) => {}
                    },
                    Err(CodecError::UnknownKind(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        });
        let answer = answer.await.and_then(|answer| answer);
        answer.map_err(|cause| unanswered(self.options, cause))
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, LinkError>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER_TIMEOUT, work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

fn unanswered(options: &Options, cause: String) -> Error {
    Error::Unanswered { database: options.database.clone(), cause }
}

pub(super) fn print(text: &str) {
    // A reader that has seen enough, such as `head`, is no failure.
    let _ = stdout().write_all(text.as_bytes());
}
