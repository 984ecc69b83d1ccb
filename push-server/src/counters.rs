//! Why datagrams and orders were not acted upon: one counter per reason, so that no drop is silent.

/// Counts since the host's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Interest datagrams that kept a destination alive.
    pub interest_heard: u64,
    /// Commands of the database server that counted.
    pub commands_heard: u64,
    /// Announcements sent.
    pub announcements: u64,
    /// Datagrams that are no P4 datagram: magic, length.
    pub not_p4: u64,
    /// Datagrams of another P4 version.
    pub other_version: u64,
    /// Kinds unknown or not for a push server.
    pub other_kind: u64,
    /// Bodies that break the layout.
    pub malformed: u64,
    /// Tags that are not the key's.
    pub forged: u64,
    /// Commands for another host.
    pub other_host: u64,
    /// Commands that named another boot id; answered by an empty report.
    pub other_boot: u64,
    /// Commands not above the last that counted: repeated, reordered or recorded.
    pub replayed: u64,
    /// Interest, or a repair, from another address than its lease's.
    pub other_address: u64,
    /// Genuine interest or repair that came before this host had heard the cluster's time.
    pub clock_unknown: u64,
    /// Genuine interest dated beyond the tolerance, answered; or a repair, which is not.
    pub clock_off: u64,
    /// Genuine interest with a lease that is over, answered; or a repair, which is not.
    pub expired: u64,
    /// Genuine interest in what this host does not serve now, answered; or a repair, which is not.
    pub not_assigned: u64,
    /// Leases extended.
    pub extended: u64,
    /// Configurations that break a rule of P4, dropped.
    pub configure_invalid: u64,
    /// Configurations refused because [`crate::configuration::MAX_CHANNELS`] are carried.
    pub channels_full: u64,
    /// Half-received configurations given up for newer ones ([`crate::configuration::MAX_PENDING`]).
    pub assemblies_dropped: u64,
    /// Feeds of channels that are not configured here.
    pub feeds_refused: u64,
    /// Feeds whose place a newer one took.
    pub feeds_replaced: u64,
    /// Feeds told to hold, since nobody watched.
    pub feeds_held: u64,
    /// Held feeds told to flow, since somebody watched.
    pub feeds_flowed: u64,
    /// Answers withheld because they would have been longer than what they answer.
    pub answers_withheld: u64,
    /// Extents that were not told of: too many of one channel, or impossible.
    pub extents_left_out: u64,
    /// Requests for repair that went to the data plane.
    pub repairs_heard: u64,
    /// Orders to sessions that went to the playback thread.
    pub plays_heard: u64,
    /// Requests for repair of playback that went there.
    pub play_repairs_heard: u64,
    /// RTCP NACKs that went to the data plane.
    pub nacks_heard: u64,
    /// NACKs for a stream that is not fed here.
    pub nacks_of_no_stream: u64,
    /// NACKs beyond [`crate::admission::NACKS_PER_SECOND`].
    pub nacks_too_many: u64,
    /// RTCP without a generic NACK: reports.
    pub rtcp_without_nack: u64,
    /// RTCP whose lengths do not fit.
    pub rtcp_malformed: u64,
    /// Orders to live sessions that counted.
    pub live_heard: u64,
    /// Live sessions that were let begin.
    pub live_begun: u64,
    /// Live sessions that their clients ended.
    pub live_ended: u64,
    /// Live sessions that ended because their clients were silent.
    pub live_silent: u64,
    /// Live sessions refused or ended: not assigned here, or not fed.
    pub live_not_carried: u64,
    /// Live sessions for which no packet came in time.
    pub live_without_packets: u64,
    /// Live sessions that ended because their channel was shed.
    pub live_shed: u64,
    /// Live sessions refused: [`crate::live::table::MAX_OF_CLIENT`].
    pub live_full_client: u64,
    /// Live sessions refused: [`crate::live::table::MAX_BURSTS`], or too many beginnings.
    pub live_full_bursts: u64,
    /// Live sessions ended after their burst: as many viewers stay as may.
    pub live_full_viewers: u64,
    /// Orders to end a live session that is not there, perhaps no more.
    pub live_unknown: u64,
    /// Orders to a live session by a lease for another channel or destination.
    pub live_foreign: u64,
}

impl Counters {
    /// Every counter with its name, for logs and statistics.
    pub fn named(&self) -> [(&'static str, u64); 46] {
        [
            ("interest_heard", self.interest_heard),
            ("commands_heard", self.commands_heard),
            ("announcements", self.announcements),
            ("not_p4", self.not_p4),
            ("other_version", self.other_version),
            ("other_kind", self.other_kind),
            ("malformed", self.malformed),
            ("forged", self.forged),
            ("other_host", self.other_host),
            ("other_boot", self.other_boot),
            ("replayed", self.replayed),
            ("other_address", self.other_address),
            ("clock_unknown", self.clock_unknown),
            ("clock_off", self.clock_off),
            ("expired", self.expired),
            ("not_assigned", self.not_assigned),
            ("extended", self.extended),
            ("configure_invalid", self.configure_invalid),
            ("channels_full", self.channels_full),
            ("assemblies_dropped", self.assemblies_dropped),
            ("feeds_refused", self.feeds_refused),
            ("feeds_replaced", self.feeds_replaced),
            ("feeds_held", self.feeds_held),
            ("feeds_flowed", self.feeds_flowed),
            ("answers_withheld", self.answers_withheld),
            ("extents_left_out", self.extents_left_out),
            ("repairs_heard", self.repairs_heard),
            ("plays_heard", self.plays_heard),
            ("play_repairs_heard", self.play_repairs_heard),
            ("nacks_heard", self.nacks_heard),
            ("nacks_of_no_stream", self.nacks_of_no_stream),
            ("nacks_too_many", self.nacks_too_many),
            ("rtcp_without_nack", self.rtcp_without_nack),
            ("rtcp_malformed", self.rtcp_malformed),
            ("live_heard", self.live_heard),
            ("live_begun", self.live_begun),
            ("live_ended", self.live_ended),
            ("live_silent", self.live_silent),
            ("live_not_carried", self.live_not_carried),
            ("live_without_packets", self.live_without_packets),
            ("live_shed", self.live_shed),
            ("live_full_client", self.live_full_client),
            ("live_full_bursts", self.live_full_bursts),
            ("live_full_viewers", self.live_full_viewers),
            ("live_unknown", self.live_unknown),
            ("live_foreign", self.live_foreign),
        ]
    }
}
