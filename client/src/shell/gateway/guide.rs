//! `/xmltv.xml`: the guide, made at most once in [`FRESH`] however many ask.

use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::sync::Mutex;
use tracing::debug;

use super::super::{guide, play};
use super::Shared;
use super::answer::Refusal;
use crate::xmltv::Xmltv;

/// For so long whoever asks is given the same document: to make it costs the database server and this one thread
/// some 100 ms for a week of 200 channels, in pieces.
const FRESH: Duration = Duration::from_mins(1);

/// The document that was made last; at most [`crate::xmltv::MAX_BYTES`] and what one page adds.
#[derive(Debug, Default)]
pub(super) struct Guide {
    made: Mutex<Option<(Instant, Bytes)>>,
}

impl Guide {
    /// All that is known of the channels and what they show.
    pub(super) async fn document(&self, shared: &Shared) -> Result<Bytes, Refusal> {
        // Who comes while it is made waits for it.
        let mut made = self.made.lock().await;
        if let Some((at, document)) = &*made
            && at.elapsed() < FRESH
        {
            return Ok(document.clone());
        }
        let list = shared.listing.list().await?;
        let mut document = Xmltv::new(&list.channels);
        let written = guide::write(&shared.options, &mut document).await;
        // A guide without programmes is better than none.
        let programmes =
            play::list(shared.options.clone()).await.map(|list| list.programmes).unwrap_or_default();
        let document = Bytes::from(document.finish(&programmes));
        if let Err(error) = written {
            debug!(%error, "the guide could not be had whole");
        }
        // Half a one, too: who comes next does not wait for the rest again.
        *made = Some((Instant::now(), document.clone()));
        Ok(document)
    }
}
