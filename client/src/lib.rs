//! What a viewer runs: finds a channel, tunes to it, keeps it alive and hands its packets on in order.
//!
//! ```text
//!                P2 directory (TCP)               ┌────────────── Viewer ──────────────┐
//!  database ◄───────────────────────────────────► │ DirectoryLink   connect, ask again │
//!                P4 interest (UDP)                │ Reception       tune, follow, move │ ──► packets in order ──► player,
//!  push     ◄───────────────────────────────────  │  ├ InterestKeeper  speak or leave it │                       file, UDP
//!  servers  ────────────────────────────────────► │  ├ AnnouncementFilter  no replays    │
//!                P6 media and announcements       └────────────────────────────────────┘
//!
//!  Idle ──Watch──► Asked ──Tuning──► Tuned ──higher revision──► Tuned (moved)
//!                    └──no answer within 1 s, or no directory──► Tuned (from the cached list)
//! ```
//!
//! Pure but for [`shell`]: the machines are given the time and give back what is to be done. A client never trusts a
//! datagram: announcements carry the channel's tag, answers the lease's; media are whatever the group carries, put in
//! order. It never writes anywhere but to the output that it was told, and its cache.
//!
//! | module | owns |
//! |---|---|
//! | [`viewer`] | [`viewer::Viewer`], the root machine |
//! | [`interest`] | [`interest::InterestKeeper`]: when to say "somebody here watches" |
//! | [`live`] | [`live::Live`]: a channel on air by P5, from its newest random access point up to the seam with P6 |
//! | [`zap`] | [`zap::ZapClock`]: how long a zap takes |
//! | [`repair`] | [`repair::Repairer`]: what is missing, and when to ask for it |
//! | [`announcements`] | [`announcements::AnnouncementFilter`]: genuine and new, or ignored |
//! | [`selection`], [`target`] | what a person means by a channel, an output, an address |
//! | [`listing`], [`recording_list`], [`meter`] | what is printed: channels, recordings, the status line, the summary |
//! | [`when`] | times as people write them |
//! | [`cache`] | the last known list, as bytes |
//! | [`guide`], [`xmltv`] | the programme guide: page by page, as a table, JSON and XMLTV |
//! | [`gateway`] | a channel for many players by HTTP |
//! | [`flow`] | [`flow::Flow`]: how fast a recording is to be sent |
//! | [`playback`] | [`playback::Playback`]: a recording, from orders to packets for a player |
//! | [`programme`] | what a person means by a recording |
//! | [`remote_control`] | the keys of a playback |
//! | [`progress`] | how a playback goes: its line and its summary |
//! | [`picker`] | the channel picker and its list of recordings: keys in, screen out |
//! | [`shell`] | sockets, terminal, files, players |

pub mod announcements;
pub mod cache;
pub mod captions;
pub mod flow;
pub mod gateway;
pub mod guide;
pub mod interest;
pub mod listing;
pub mod live;
pub mod meter;
pub mod picker;
pub mod playback;
pub mod programme;
pub mod progress;
pub mod recording_list;
pub mod remote_control;
pub mod repair;
pub mod selection;
pub mod shell;
pub mod sites;
pub mod target;
pub mod viewer;
pub mod when;
pub mod xmltv;
pub mod zap;
