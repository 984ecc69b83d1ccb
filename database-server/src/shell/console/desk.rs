//! The way to the driver: questions that only the machine can answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use protocols::administration::Answer;

use super::answer::ApiError;
use super::metrics::Measures;
use crate::database_server::SiteCommand;
use crate::guide_view::{GuideAsk, GuideView};
use crate::recordings_view::RecordingsView;
use crate::site_view::SiteView;

/// Questions that may wait for the driver; one more is refused as busy.
pub(in crate::shell) const QUEUED_ASKS: usize = 32;
/// A question not answered by then is refused as busy: the driver has more urgent things to do.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A question to the driver. The answer is lost where nobody waits for it any more.
#[derive(Debug)]
pub(in crate::shell) enum Ask {
    /// The site as a picture, with the addresses of inputs.
    Site(oneshot::Sender<Look>),
    /// All that is recorded.
    Recordings(oneshot::Sender<RecordingsView>),
    /// What channels show.
    Guide(GuideAsk, oneshot::Sender<GuideView>),
    /// What was counted and measured.
    Measures(oneshot::Sender<Measures>),
    /// A command to the site; answered for people where it is refused.
    Command(SiteCommand, oneshot::Sender<Result<Answer, String>>),
    /// Whether this server can tell everybody where to go.
    Ready(oneshot::Sender<Result<(), &'static str>>),
}

/// What the driver sees.
#[derive(Debug, Clone)]
pub(in crate::shell) struct Look {
    /// The site, with the addresses of inputs.
    pub(in crate::shell) view: Arc<SiteView>,
    /// Lines that were put into the journal since the start.
    pub(in crate::shell) journal: u64,
}

/// Takes questions to the driver.
#[derive(Debug, Clone)]
pub(in crate::shell) struct Desk {
    asks: mpsc::Sender<Ask>,
}

impl Desk {
    /// Questions go into `asks`, of [`QUEUED_ASKS`].
    pub(in crate::shell) fn new(asks: mpsc::Sender<Ask>) -> Self {
        Self { asks }
    }

    /// Asks and awaits the answer.
    pub(in crate::shell) async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Result<T, ApiError> {
        let (sender, answer) = oneshot::channel();
        match self.asks.try_send(ask(sender)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(ApiError::busy()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(ApiError::ending()),
        }
        match timeout(ANSWER_LIMIT, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(ApiError::ending()),
            Err(_) => Err(ApiError::busy()),
        }
    }
}
