//! The recorder as the driver knows it: orders go in, what is held and what hinders comes out.

use std::collections::BTreeSet;

use protocols::counters::Described;
use protocols::ids::ChannelId;
use protocols::recording::{RecordOrder, RecordingFault};

use super::{Intake, Recorder};
use crate::server::Input;

/// The driver's end of the recorder, or of none.
#[derive(Debug)]
pub(crate) struct Desk {
    recorder: Option<Recorder>,
    /// What is to be recorded; with a recorder, it is.
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
        let wanted = order.is_some();
        let Some(recorder) = &self.recorder else {
            self.cannot(channel, wanted);
            return Change::None;
        };
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
        let mut news = Vec::new();
        let fault = match &self.recorder {
            Some(recorder) => {
                let archive = recorder.archive();
                let extents = |channel| Input::Extents { channel, extents: archive.extents(channel) };
                news.extend(archive.take_changed().into_iter().map(extents));
                recorder.status().fault()
            }
            None => (!self.recorded.is_empty()).then_some(RecordingFault::NoFolder),
        };
        if std::mem::replace(&mut self.told, fault) != fault {
            news.push(Input::RecordingFault(fault));
        }
        news
    }

    /// What the recorder has counted; nothing where there is none.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        self.recorder.as_ref().map(|recorder| recorder.status().counts.named()).unwrap_or_default()
    }

    /// The same with their meanings.
    pub(crate) fn described(&self) -> Vec<Described> {
        self.recorder.as_ref().map(|recorder| recorder.status().counts.described()).unwrap_or_default()
    }

    /// There is nowhere to record to.
    fn cannot(&mut self, channel: ChannelId, wanted: bool) {
        if !wanted {
            self.recorded.remove(&channel);
        } else if self.recorded.insert(channel) {
            tracing::warn!(%channel, "is to be recorded, but this host was started without --recordings");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> RecordOrder {
        RecordOrder { keep_s: 60, protected: Vec::new(), peers: Vec::new() }
    }

    #[test]
    fn a_host_without_a_folder_says_so_while_it_is_told_to_record() {
        let mut desk = Desk::new(None);
        assert!(desk.news().is_empty());
        assert!(matches!(desk.order(ChannelId(1), Some(order())), Change::None));
        assert!(matches!(desk.order(ChannelId(2), Some(order())), Change::None));
        let said = |desk: &mut Desk| match desk.news().as_slice() {
            [] => None,
            [Input::RecordingFault(fault)] => Some(*fault),
            other => panic!("{other:?}"),
        };
        assert_eq!(said(&mut desk), Some(Some(RecordingFault::NoFolder)));
        assert_eq!(said(&mut desk), None, "once");
        assert!(matches!(desk.order(ChannelId(1), None), Change::None));
        assert_eq!(said(&mut desk), None);
        assert!(matches!(desk.order(ChannelId(2), None), Change::None));
        assert_eq!(said(&mut desk), Some(None));
        assert!(desk.counts().is_empty());
    }
}
