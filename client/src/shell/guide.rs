//! `guide`: asks the database server what channels show, prints it and ends. The picker and the gateway ask here too.

use jiff::tz::TimeZone;
use link::shutdown::Shutdown;
use protocols::guide::Event;
use protocols::ids::ChannelId;
use protocols::p2_directory::{ChannelGuide, GuidePage, GuideQuery, ToClient, ToDatabase};
use protocols::recording::Span;
use protocols::time::ClusterTime;

use super::recordings::{Conversation, print, unless};
use super::{Error, Format, Options, colour};
use crate::guide::{self, Reading, unix_s};
use crate::selection::select;
use crate::when::{When, WhenError};
use crate::xmltv::Xmltv;

/// How far behind the present a guide for players begins: some show what has just been.
const BEHIND_S: i64 = 2 * 3_600;
/// How far ahead the picker asks.
const NEXT_WITHIN_S: i64 = 24 * 3_600;
/// What the picker is told of each channel: what is on, what is next, and what is next once that has begun.
const SHOWN: u16 = 3;

/// A part of the guide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guide {
    /// Of this channel only: id or name.
    pub channel: Option<String>,
    /// From when.
    pub from: When,
    /// Until when.
    pub until: When,
    /// As XMLTV, whatever [`Options::format`] says.
    pub xmltv: bool,
}

/// Prints what was asked for.
pub(super) async fn list(options: &Options, asked: &Guide, shutdown: &Shutdown) -> Result<(), Error> {
    unless(shutdown, async {
        let mut directory = Conversation::open(options).await?;
        let mut channels = directory.channels().await?;
        let channel = asked.channel.as_deref().map(|wanted| select(&channels, wanted)).transpose()?;
        let zone = TimeZone::system();
        // By the cluster's clock; this host's may be off.
        let now = channels.time;
        let dates = || -> Result<_, WhenError> {
            let from = asked.from.begin(now, &zone)?;
            Ok((from, asked.until.end(now, from, &zone)?))
        };
        let (from, until) = dates().map_err(|error| Error::Usage(error.to_string()))?;
        let query = query(channel, unix_s(from), unix_s(until));
        let mut guide: Vec<ChannelGuide> = Vec::new();
        if asked.xmltv {
            channels.channels.retain(|entry| channel.is_none_or(|only| only == entry.id));
            let mut document = Xmltv::new(&channels.channels);
            read(&mut directory, query, |page| document.add(&page)).await?;
            print(&document.finish(&[]));
            return Ok(());
        }
        read(&mut directory, query, |page| join(&mut guide, page)).await?;
        print(&match options.format {
            Format::Text => guide::table(&channels, &guide, &zone, colour()),
            Format::Json => guide::json(&channels, &guide),
        });
        Ok(())
    })
    .await
}

/// What channels show, and when that was told.
pub(super) type Told = (ClusterTime, Vec<ChannelGuide>);

/// What is on and next on each channel.
pub(super) async fn now_and_next(options: Options) -> Result<Told, Error> {
    let mut directory = Conversation::open(&options).await?;
    let time = time(&mut directory).await?;
    let now_s = unix_s(time);
    let mut query = query(None, now_s, now_s.saturating_add(NEXT_WITHIN_S));
    (query.per_channel, query.descriptions) = (SHOWN, false);
    let mut guide = Vec::new();
    read(&mut directory, query, |page| join(&mut guide, page)).await?;
    Ok((time, guide))
}

/// Adds all of the guide to a document for players.
pub(super) async fn write(options: &Options, document: &mut Xmltv) -> Result<(), Error> {
    let mut directory = Conversation::open(options).await?;
    let from_s = unix_s(time(&mut directory).await?).saturating_sub(BEHIND_S);
    read(&mut directory, query(None, from_s, i64::MAX), |page| document.add(&page)).await
}

/// Dates and title of an event, the first of this number that is not over at `now`; `None` where there is none, or nobody knows
/// when it ends.
pub(super) async fn event(
    directory: &mut Conversation<'_>,
    channel: ChannelId,
    id: u16,
    now: ClusterTime,
) -> Result<Option<(Span, String)>, Error> {
    let mut found = None;
    let wanted = |event: &&Event| event.id == id && event.duration_s > 0;
    read(directory, query(Some(channel), unix_s(now), i64::MAX), |page| {
        let mut events = page.iter().flat_map(|channel| &channel.events);
        found = found.take().or_else(|| events.find(wanted).map(guide::recorded_as));
    })
    .await?;
    Ok(found)
}

fn query(channel: Option<ChannelId>, from_unix_s: i64, until_unix_s: i64) -> GuideQuery {
    GuideQuery { channel, from_unix_s, until_unix_s, per_channel: u16::MAX, descriptions: true, after: None }
}

/// The cluster's time, by a question for nothing else.
async fn time(directory: &mut Conversation<'_>) -> Result<ClusterTime, Error> {
    let nothing = GuideQuery { per_channel: 0, ..query(None, 0, 0) };
    Ok(page(directory, nothing).await?.time)
}

/// Hands page after page to `take`.
async fn read(
    directory: &mut Conversation<'_>,
    query: GuideQuery,
    mut take: impl FnMut(Vec<ChannelGuide>),
) -> Result<(), Error> {
    let mut reading = Reading::new(query);
    while let Some(question) = reading.question() {
        take(reading.take(page(directory, question).await?));
    }
    Ok(())
}

async fn page(directory: &mut Conversation<'_>, query: GuideQuery) -> Result<GuidePage, Error> {
    directory
        .ask(&ToDatabase::Guide(query), |message| match message {
            ToClient::Guide(page) => Ok(*page),
            other => Err(other),
        })
        .await
}

/// A page may begin in the channel that the one before ended in.
fn join(guide: &mut Vec<ChannelGuide>, page: Vec<ChannelGuide>) {
    for channel in page {
        match guide.last_mut() {
            Some(last) if last.channel == channel.channel => last.events.extend(channel.events),
            _ => guide.push(channel),
        }
    }
}
