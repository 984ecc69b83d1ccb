//! What the directory is asked for a playback: what a person means, and who plays it.

use jiff::tz::TimeZone;
use protocols::p2_directory::{
    PlayTarget, Presentation, PresentationRefusal, RecordingList, ToClient, ToDatabase,
};

use super::super::recordings::Conversation;
use super::super::{Error, Options};
use crate::programme::{Wanted, WantedError};

/// What `wanted` means, and what can be played of it.
pub(super) async fn resolve(options: &Options, wanted: &Wanted) -> Result<(PlayTarget, Presentation), Error> {
    let mut directory = Conversation::open(options).await?;
    let target = if let Some(id) = wanted.programme() {
        PlayTarget::Programme(id)
    } else {
        let channels = directory.channels().await?;
        let recordings = recordings(&mut directory).await?;
        wanted.resolve(&channels, &recordings, &TimeZone::system()).map_err(|error| match error {
            WantedError::Channel(error) => Error::Selection(error),
            other => Error::Usage(other.to_string()),
        })?
    };
    let presentation = present(&mut directory, target).await?;
    Ok((target, presentation))
}

/// What there is.
pub(in crate::shell) async fn list(options: Options) -> Result<RecordingList, Error> {
    recordings(&mut Conversation::open(&options).await?).await
}

/// The same again: a lease that ends later, and who plays now.
pub(in crate::shell) async fn renew(options: Options, target: PlayTarget) -> Result<Presentation, Error> {
    let mut directory = Conversation::open(&options).await?;
    present(&mut directory, target).await
}

async fn recordings(directory: &mut Conversation<'_>) -> Result<RecordingList, Error> {
    directory
        .ask(&ToDatabase::Recordings { channel: None }, |message| match message {
            ToClient::Recordings(list) => Ok(list),
            other => Err(other),
        })
        .await
}

async fn present(directory: &mut Conversation<'_>, target: PlayTarget) -> Result<Presentation, Error> {
    let answer = directory
        .ask(&ToDatabase::Play(target), |message| match message {
            ToClient::Playing(presentation) => Ok(Ok(*presentation)),
            ToClient::PlayRefused(refusal) => Ok(Err(refusal)),
            other => Err(other),
        })
        .await?;
    let presentation = answer.map_err(|refusal| match refusal {
        PresentationRefusal::UnknownRecording(_)
        | PresentationRefusal::UnknownChannel(_)
        | PresentationRefusal::EndsTooEarly => Error::Usage(refusal.to_string()),
        _ => Error::Refused(refusal.to_string()),
    })?;
    if presentation.servers.is_empty() {
        return Err(Error::Refused("no push server plays it".to_owned()));
    }
    Ok(presentation)
}
