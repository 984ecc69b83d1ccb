//! What people with an account have a site do, beside edits of its topology.

use protocols::administration::Answer;
use protocols::ids::{AcquisitionId, ChannelId, InputId};
use protocols::p1_registration::Order;
use protocols::recording::{RecordingId, Span};
use protocols::time::Time;

use super::DatabaseServer;
use crate::output::Output;
use crate::record::Record;

/// A command to the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SiteCommand {
    /// Open an input anew.
    RestartInput {
        /// At which server.
        acquisition_server: AcquisitionId,
        /// Which.
        input: InputId,
    },
    /// Order a recording of any channel.
    Record {
        /// The channel.
        channel: ChannelId,
        /// From when to when.
        span: Span,
        /// What people call it.
        title: String,
    },
    /// Give up a recording of any channel.
    DeleteRecording {
        /// Which.
        id: RecordingId,
    },
}

impl DatabaseServer {
    /// Carries out a command; `Err` says for people why not.
    pub fn command(
        &mut self,
        now: Time,
        command: SiteCommand,
        out: &mut Vec<Output>,
    ) -> Result<Answer, String> {
        let Some(topology) = self.topology.clone() else { return Err("there is no topology yet".to_owned()) };
        let outcome = match command {
            SiteCommand::RestartInput { acquisition_server, input } => {
                let declared = topology.acquisition_servers.get(&acquisition_server);
                if declared.is_some_and(|server| !server.inputs.contains_key(&input)) {
                    return Err(format!("acquisition server `{acquisition_server}` has no input `{input}`"));
                }
                match self.feeding.post(&acquisition_server, Order::RestartInput(input)) {
                    Ok(command) => {
                        let id = command.id;
                        let acquisition = acquisition_server;
                        out.push(Output::Store(Record::CommandPosted { acquisition, command }));
                        Ok(Answer::Commanded { id })
                    }
                    Err(why) => {
                        self.counters.commands_refused += 1;
                        Err(why)
                    }
                }
            }
            SiteCommand::Record { channel, span, title } => {
                if !topology.channels.contains_key(&channel) {
                    return Err(format!("the topology declares no channel {channel}"));
                }
                let ordered = self.order_recording(now, channel, span, title, &topology, out);
                ordered.map(|entry| Answer::Recorded(Box::new(entry))).map_err(|refusal| refusal.to_string())
            }
            SiteCommand::DeleteRecording { id } => {
                let all = topology.channels.keys().copied().collect();
                let removed = self.remove_recording(now, id, &all, &topology, out);
                removed.map(|()| Answer::Done).map_err(|refusal| refusal.to_string())
            }
        };
        self.settle(now, out);
        outcome
    }
}
