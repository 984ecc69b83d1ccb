//! Why datagrams and orders were not acted upon: one counter per reason, so that no drop is silent.

protocols::counters! {
    /// Counts since the host's start.
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
        /// Reports of members of groups that are listened to.
        pub members_reports: u64,
        /// Reports about other groups only; they make no state.
        pub members_strangers: u64,
        /// Queries of other routers.
        pub members_queries: u64,
        /// Other messages of IGMP, MLD and router discovery.
        pub members_other: u64,
        /// IGMP and MLD packets whose lengths do not fit.
        pub members_malformed: u64,
        /// Those with a wrong checksum.
        pub members_checksum: u64,
        /// Those that came through a router.
        pub members_time_to_live: u64,
        /// Those without a router alert.
        pub members_router_alert: u64,
        /// Those from an address that is not of the network.
        pub members_source: u64,
        /// General queries that were not sent to all.
        pub members_destination: u64,
        /// Times that an interface could not be listened to, since this process may not (it needs `CAP_NET_RAW`).
        pub members_denied: u64,
        /// Interfaces not listened to: [`crate::membership::MAX_LINKS`].
        pub members_links_full: u64,
        /// Sessions not announced: [`crate::session_announcement::MAX_SESSIONS`].
        pub sessions_left_out: u64,
    }
}
