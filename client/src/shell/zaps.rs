//! `zap`: one channel after the other, and how long each took to show its first picture.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use link::shutdown::Shutdown;
use protocols::ids::ChannelId;
use protocols::p2_directory::ChannelList;
use serde::Serialize;

use super::session::{Session, Told};
use super::{Error, Format, Options, sink};
use crate::selection::select;
use crate::target::Target;
use crate::viewer::{Input, Notice};

/// A picture that has not come after this is counted as missed.
const PICTURE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the channel list may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// What to zap.
#[derive(Debug, Clone)]
pub struct Zaps {
    /// Ids or names, in this order, again and again.
    pub channels: Vec<String>,
    /// How often in all.
    pub times: u32,
    /// Longest that a channel is watched after its picture has come; each time it is another share of it, from a quarter on.
    pub stay: Duration,
}

/// One zap.
#[derive(Debug, Serialize)]
struct Zap {
    channel: u32,
    /// `None`: no picture came.
    took_ms: Option<f64>,
}

/// Of all of them.
#[derive(Debug, Serialize)]
struct Report {
    zaps: Vec<Zap>,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    missed: usize,
}

pub(super) async fn run(options: &Options, zaps: &Zaps, shutdown: &Shutdown) -> Result<(), Error> {
    let mut session = Session::start(options)?;
    let (nowhere, _writing) = sink::open(&Target::File(PathBuf::from("/dev/null")))?;
    session.set_sink(Some(nowhere));
    session.give(Input::List { tunings: true });
    let mut requested = pin!(shutdown.requested());
    let list = tokio::select! {
        list = listed(&mut session) => list.ok_or_else(|| Error::Unanswered {
            database: options.database.clone(),
            cause: "no channel list".to_owned(),
        })?,
        () = &mut requested => return Ok(()),
    };
    let wanted = zaps.channels.iter().map(|wanted| select(&list, wanted));
    let channels = wanted.collect::<Result<Vec<ChannelId>, _>>()?;
    let mut random = fastrand::Rng::with_seed(link::random::seed());
    let mut done = Vec::new();
    for (channel, _) in channels.iter().cycle().zip(0..zaps.times) {
        let stay = zaps.stay.mul_f64(0.25 + 0.75 * random.f64());
        tokio::select! {
            zap = one(&mut session, *channel, stay) => done.push(zap?),
            () = &mut requested => break,
        }
    }
    print(options.format, done);
    Ok(())
}

async fn listed(session: &mut Session) -> Option<ChannelList> {
    let answer = async {
        loop {
            session.step().await;
            for told in session.told() {
                if let Told::Notice(Notice::Channels(list)) = told {
                    return list;
                }
            }
        }
    };
    tokio::time::timeout(LIST_TIMEOUT, answer).await.ok()
}

async fn one(session: &mut Session, channel: ChannelId, stay: Duration) -> Result<Zap, Error> {
    // The same channel again would be no zap.
    session.give(Input::Stop);
    session.give(Input::Watch(channel));
    let took = tokio::time::timeout(PICTURE_TIMEOUT, picture(session)).await.ok().transpose()?;
    let watched = async {
        loop {
            session.step().await;
        }
    };
    // It ends by the time, whatever comes.
    let _ = tokio::time::timeout(stay, watched).await;
    let took_ms = took.map(|took| (took.as_secs_f64() * 1e5).round() / 100.0);
    Ok(Zap { channel: channel.0, took_ms })
}

async fn picture(session: &mut Session) -> Result<Duration, Error> {
    loop {
        session.step().await;
        for told in session.told() {
            match told {
                Told::Notice(Notice::Zapped { took, .. }) => return Ok(took),
                Told::Fault(error) => return Err(error.into()),
                Told::Notice(_) => {}
            }
        }
    }
}

fn print(format: Format, zaps: Vec<Zap>) {
    let mut sorted: Vec<f64> = zaps.iter().filter_map(|zap| zap.took_ms).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    let missed = zaps.len() - sorted.len();
    let report = Report { p50_ms: at(50), p95_ms: at(95), missed, zaps };
    let text = match format {
        Format::Json => serde_json::to_string(&report).expect("text and finite numbers are JSON"),
        Format::Text => {
            let took = |took: Option<f64>| took.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
            let line = |zap: &Zap| format!("{}  {}\n", zap.channel, took(zap.took_ms));
            let lines: String = report.zaps.iter().map(line).collect();
            let (p50, p95) = (took(report.p50_ms), took(report.p95_ms));
            format!(
                "{lines}{} zaps: median {p50}, 95 % within {p95}, {missed} without a picture",
                report.zaps.len()
            )
        }
    };
    // A reader that is gone does not want it.
    let _ = writeln!(stdout(), "{text}");
}
