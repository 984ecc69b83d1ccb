//! The recorder as the driver knows it: orders go in, what is held and what hinders comes out.

use std::collections::BTreeSet;

use protocols::ids::ChannelId;
use protocols::recording::{RecordOrder, RecordingFault};

use super::{Intake, Recorder};
use crate::server::Input;

/// The driver's end of the recorder, or of none.
#[derive(Debug)]
pub(crate) struct Desk {
    recorder: Option<Recorder>,
    recorded: BTreeSet<ChannelId>,
    told: Option<RecordingFault>,
}

/// What the channel's data thread is to do.
#[derive(Debug)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// Copy its packets.
    Begin(Box<Intake>),
    /// Copy no more.
    End,
}

impl Desk {
    pub(crate) fn new(recorder: Option<Recorder>) -> Self {
        Self { recorder, recorded: BTreeSet::new(), told: None }
    }

    /// What is to be kept of `channel` from now on.
    pub(crate) fn order(&mut self, channel: ChannelId, order: Option<RecordOrder>) -> Change {
        let Some(recorder) = &self.recorder else {
            if order.is_some() {
                tracing::warn!(%channel, "is to be recorded, but this host was started without --recordings");
            }
            return Change::None;
        };
        let wanted = order.is_some();
        recorder.archive().order(channel, order);
        match (wanted, self.recorded.contains(&channel)) {
            (true, false) => {
                self.recorded.insert(channel);
                // What was held before is news to who orders it now.
                recorder.archive().touch(channel);
                Change::Begin(Box::new(recorder.intake(channel)))
            }
            (false, true) => {
                self.recorded.remove(&channel);
                Change::End
            }
            _ => Change::None,
        }
    }

    /// What has changed since this was asked last.
    pub(crate) fn news(&mut self) -> Vec<Input> {
        let Some(recorder) = &self.recorder else { return Vec::new() };
        let archive = recorder.archive();
        let changed = archive.take_changed().into_iter();
        let mut news: Vec<Input> =
            changed.map(|channel| Input::Extents { channel, extents: archive.extents(channel) }).collect();
        let fault = recorder.status().fault();
        if std::mem::replace(&mut self.told, fault) != fault {
            news.push(Input::RecordingFault(fault));
        }
        news
    }
}
