//! What all sessions read from: the archive, and the segments that are open.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use protocols::ids::ChannelId;

use super::frame::Blocks;
use crate::recording::SegmentName;
use crate::shell::recorder::{Archive, Held, SegmentReader};

/// The archive as sessions see it.
#[derive(Debug)]
pub(super) struct Library {
    /// `None`: this host holds nothing.
    archive: Option<Arc<Archive>>,
    /// Complete segments that somebody reads, each open once: its index takes some 600 kB.
    open: Mutex<BTreeMap<(ChannelId, SegmentName), Weak<SegmentReader>>>,
    pub(super) blocks: Arc<Blocks>,
}

impl Library {
    pub(super) fn new(archive: Option<Arc<Archive>>) -> Self {
        Self { archive, open: Mutex::default(), blocks: Arc::default() }
    }

    /// What is kept of `channel`; `None` when that is nothing.
    pub(super) fn of(&self, channel: ChannelId) -> Option<&Arc<Archive>> {
        self.archive.as_ref().filter(|archive| archive.find(channel, 0).is_some())
    }

    /// Opens a segment; `None` when it was deleted or put aside since it was found.
    pub(super) fn open(
        &self,
        channel: ChannelId,
        name: SegmentName,
    ) -> io::Result<Option<Arc<SegmentReader>>> {
        let Some(archive) = &self.archive else { return Ok(None) };
        let complete = matches!(archive.held(channel, name), Some(Held::Complete(_)));
        let key = (channel, name);
        if complete && let Some(reader) = self.shelf().get(&key).and_then(Weak::upgrade) {
            return Ok(Some(reader));
        }
        let reader = match archive.open(channel, name) {
            Ok(reader) => Arc::new(reader),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // One that grows is its reader's own: it takes in what has come since.
        if complete {
            let mut shelf = self.shelf();
            shelf.retain(|_, reader| reader.strong_count() > 0);
            shelf.insert(key, Arc::downgrade(&reader));
        }
        Ok(Some(reader))
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, BTreeMap<(ChannelId, SegmentName), Weak<SegmentReader>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
