//! What is recorded: orders for the recorder, and what it holds, as it is reported.

use protocols::ids::ChannelId;
use protocols::recording::{Extent, RecordOrder, RecordingFault};
use protocols::time::Time;

use super::PushServer;
use super::exchange::Output;
use crate::report::Subject;

impl PushServer {
    /// Tells the recorder what to do with `channel` from now on, where that is news.
    pub(super) fn record(
        &mut self,
        channel: ChannelId,
        order: Option<Box<RecordOrder>>,
        out: &mut Vec<Output>,
    ) {
        let Some(state) = self.states.get_mut(&channel) else { return };
        if state.record == order {
            return;
        }
        let before = std::mem::replace(&mut state.record, order.clone());
        match (before, &order) {
            (None, Some(order)) => {
                tracing::info!(%channel, keep_s = order.keep_s, "recorded from now on");
                if self.archive.knows(channel) {
                    self.extents_changed(channel, self.archive.slots(channel));
                }
            }
            (Some(_), None) => {
                tracing::info!(%channel, "recorded no more");
                self.recorded_no_more(channel);
            }
            _ => {}
        }
        out.push(Output::Record { channel, order });
    }

    pub(super) fn recorded_no_more(&mut self, channel: ChannelId) {
        for slot in self.archive.slots(channel) {
            self.report.removed(Subject::Extent(channel, slot));
        }
        self.report.removed(Subject::Archive(channel));
    }

    pub(super) fn extents(&mut self, now: Time, channel: ChannelId, extents: Vec<Extent>) {
        if let Some(changed) = self.archive.hear(now, channel, extents) {
            self.extents_changed(channel, changed);
        }
    }

    /// Slots of `channel` are to be told of, and that all of them are known.
    pub(super) fn extents_changed(&mut self, channel: ChannelId, slots: impl IntoIterator<Item = u16>) {
        if !self.recorded(channel) {
            return;
        }
        for slot in slots {
            self.report.changed(Subject::Extent(channel, slot));
        }
        self.report.changed_once(Subject::Archive(channel));
    }

    pub(super) fn recording_fault(&mut self, fault: Option<RecordingFault>) {
        if self.recording_fault != fault {
            self.recording_fault = fault;
            self.report.changed(Subject::Recorder);
        }
    }
}
