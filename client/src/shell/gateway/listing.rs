//! The channel list of this host's network, kept current by one subscription.

use std::time::Duration;

use protocols::p2_directory::{ChannelEntry, ChannelList, ChannelStatus};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::session::{Session, Told};
use super::super::{Error, Options};
use super::answer::Refusal;
use crate::listing::printable;
use crate::selection::select;
use crate::viewer::{Input, Notice};

/// How long a request waits for the first list.
const LIST_PATIENCE: Duration = Duration::from_secs(3);

/// The keeper of the list; it ends with this.
#[derive(Debug)]
pub(super) struct Listing {
    list: watch::Receiver<Option<ChannelList>>,
    task: JoinHandle<()>,
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listing {
    /// Begins to ask.
    pub(super) fn start(options: &Options) -> Result<Self, Error> {
        let mut session = Session::start(options)?;
        let (sender, list) = watch::channel(session.kept().map(|kept| kept.list.clone()));
        session.give(Input::List { tunings: true });
        let task = tokio::spawn(async move {
            loop {
                session.step().await;
                for told in session.told() {
                    if let Told::Notice(Notice::Channels(list)) = told {
                        sender.send_replace(Some(list));
                    }
                }
            }
        });
        Ok(Self { list, task })
    }

    /// The list as it was last told, be it in an earlier run.
    pub(super) async fn list(&self) -> Result<ChannelList, Refusal> {
        let mut list = self.list.clone();
        let told = tokio::time::timeout(LIST_PATIENCE, list.wait_for(Option::is_some)).await;
        let told = told.ok().and_then(Result::ok).and_then(|list| list.clone());
        told.ok_or_else(|| Refusal::unavailable("the database server does not answer"))
    }

    /// The channel that `wanted`, an id or a name, means.
    pub(super) async fn select(&self, wanted: &str) -> Result<ChannelEntry, Refusal> {
        let list = self.list().await?;
        let id = select(&list, wanted).map_err(|error| Refusal::missing(error.to_string()))?;
        let found = list.channels.into_iter().find(|entry| entry.id == id);
        found.ok_or_else(|| Refusal::missing(format!("no channel {id} here")))
    }
}

/// Why a channel of the list cannot be had now.
pub(super) fn inactive(entry: &ChannelEntry) -> Result<(), Refusal> {
    match &entry.status {
        ChannelStatus::Active => Ok(()),
        ChannelStatus::Inactive { cause } => {
            let (name, cause) = (printable(&entry.name), printable(cause));
            let cause = if cause.is_empty() { "no reason is known" } else { &cause };
            Err(Refusal::unavailable(format!("channel {} {name} cannot be had now: {cause}", entry.id)))
        }
    }
}
