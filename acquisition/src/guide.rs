//! The programme guide that an input carries: sections in, schedules of the channels out.
//!
//! ```text
//! EIT (DVB) ────────────────────────┐
//! MGT ─► EIT, ETT (ATSC)            ├─► new? ─► a channel's? ─► pending ─ SCHEDULES_PER_SECOND ─► Schedule
//!        VCT: whose, STT: leap s ───┘    │no         │no           │full
//!                                        └───────────┴─────────────┴─► left: it comes again
//! ```
//!
//! A broadcaster repeats its guide for ever, some of it every second and all of it within minutes. So nothing of it is kept
//! here but which sections were told: what finds no room is told when it comes again. With 256 services of 17 tables each that is about half a megabyte; what waits to be told is at
//! most [`PENDING_MAX`] schedules of one section each, and of ATSC, where title and text come apart,
//! [`HELD_EVENTS_MAX`] events are held.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use media::Packet;
use media::psi::{PAT_PID, ProgrammeTable};
use media::section::{Section, SectionAssembler};
use media::si::eit::{self, Eit, Kind};
use media::si::psip::{self, eit as atsc, ett::Ett, mgt, stt::Stt, vct};
use media::si::seen::{SectionName, SeenSections, TABLES_MAX};
use protocols::guide::{Event, Schedule};
use protocols::ids::ChannelId;
use protocols::time::{ClusterTime, Time};

/// Schedules that wait to be told; sections that find no room are left until they come again, and counted.
pub const PENDING_MAX: usize = 64;
/// Those of one service among them, so that one whose versions change all the time leaves room for the others.
pub const PENDING_PER_SERVICE_MAX: usize = 8;
/// Schedules told in a second: a week of 200 services, 11,200 sections, takes four minutes, which is what a multiplex takes.
pub const SCHEDULES_PER_SECOND: usize = 50;
/// Events of ATSC that are held for their texts; further ones get no text, and are counted.
pub const HELD_EVENTS_MAX: usize = 2048;
/// PIDs that the guide of ATSC may have: events and texts of 128 times three hours.
pub const PSIP_PIDS_MAX: usize = 256;

/// The host's clock leaps when it is set by more than this.
const CLOCK_LEAP: Duration = Duration::from_hours(1);
const INTERVAL: Duration = Duration::from_secs(1);

/// Collects the guide of one input for the channels that are made from it.
#[derive(Debug)]
pub struct GuideCollector {
    channels: BTreeMap<ChannelId, Option<u16>>,
    /// Which channels are made from a service.
    services: BTreeMap<u16, BTreeSet<ChannelId>>,
    programmes: ProgrammeTable,
    assemblers: BTreeMap<u16, SectionAssembler>,
    seen: SeenSections,
    pending: VecDeque<(u16, Schedule)>,
    next_take: Time,
    /// How far the wall clock is ahead of ours.
    wall_ahead_ms: Option<i64>,
    revision: u64,
    atsc: Atsc,
    counters: Counters,
}

/// What is known of an ATSC multiplex.
#[derive(Debug, Default)]
struct Atsc {
    leap_s: Option<u8>,
    /// The programme of a source.
    programmes: BTreeMap<u16, u16>,
    /// By source and event.
    held: BTreeMap<(u16, u16), Event>,
}

/// What a collector counts, from its beginning on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Schedules told.
    pub schedules: u64,
    /// Events in them.
    pub events: u64,
    /// Sections thrown away: a wrong CRC, or torn inside.
    pub bad_sections: u64,
    /// Times that a new section found no room and was left until it comes again.
    pub deferred: u64,
    /// Events without a place to wait for their text.
    pub unheld_events: u64,
    /// Texts left out because they are compressed.
    pub not_decoded: u64,
}

impl Default for GuideCollector {
    fn default() -> Self {
        Self::new()
    }
}

impl GuideCollector {
    /// A collector without channels.
    pub fn new() -> Self {
        let pids = [PAT_PID, eit::PID, psip::BASE_PID];
        Self {
            channels: BTreeMap::new(),
            services: BTreeMap::new(),
            programmes: ProgrammeTable::new(),
            assemblers: pids.map(|pid| (pid, SectionAssembler::default())).into(),
            seen: SeenSections::with_limit(TABLES_MAX),
            pending: VecDeque::new(),
            next_take: Time::ZERO,
            wall_ahead_ms: None,
            revision: 0,
            atsc: Atsc::default(),
            counters: Counters::default(),
        }
    }

    /// The channels that are made from the input, each with its service; `None`: the only one that there is.
    pub fn set_channels(&mut self, channels: BTreeMap<ChannelId, Option<u16>>) {
        if self.channels != channels {
            self.channels = channels;
            self.assign();
        }
    }

    /// What the host's wall clock shows. Events that are over, or far ahead, are worth nothing; when the clock leaps, as where a
    /// host without a battery learns what day it is, all is told again.
    pub fn wall(&mut self, now: Time, wall: ClusterTime) {
        let ahead_ms = wall.0.cast_signed().saturating_sub((now.as_us() / 1_000).cast_signed());
        let before_ms = self.wall_ahead_ms.replace(ahead_ms);
        if before_ms.is_some_and(|ms| Duration::from_millis(ms.abs_diff(ahead_ms)) > CLOCK_LEAP) {
            self.seen.retain(|_| false);
        }
    }

    /// Takes the next packet of the input.
    pub fn push(&mut self, packet: Packet<'_>) {
        let pid = packet.pid();
        if pid == PAT_PID && self.programmes.push(packet) {
            self.assign();
        }
        let Some(assembler) = self.assemblers.get_mut(&pid) else { return };
        let mut assembler = std::mem::take(assembler);
        assembler.push(packet, |bytes| self.section(pid, bytes));
        // The PID may have gone from the MGT by what came on it.
        if let Some(place) = self.assemblers.get_mut(&pid) {
            *place = assembler;
        }
    }

    /// The schedules to tell now: none within a second of the last ones, and at most [`SCHEDULES_PER_SECOND`] or what there is
    /// `room` for.
    pub fn take(&mut self, now: Time, room: usize) -> Vec<Schedule> {
        if self.pending.is_empty() || now < self.next_take {
            return Vec::new();
        }
        self.next_take = now + INTERVAL;
        let count = self.pending.len().min(SCHEDULES_PER_SECOND).min(room);
        let told: Vec<_> = self.pending.drain(..count).map(|(_, schedule)| schedule).collect();
        self.counters.schedules += told.len() as u64;
        self.counters.events += told.iter().map(|schedule| schedule.events.len() as u64).sum::<u64>();
        told
    }

    /// The PIDs that are needed of the input.
    pub fn pids(&self) -> BTreeSet<u16> {
        self.assemblers.keys().copied().collect()
    }

    /// Changes whenever [`GuideCollector::pids`] may have.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Finds out anew which channels a service makes, and has those told that were not.
    fn assign(&mut self) {
        let numbers = self.programmes.programmes();
        let only = numbers.keys().next().copied().filter(|_| numbers.len() == 1);
        let mut services: BTreeMap<u16, BTreeSet<ChannelId>> = BTreeMap::new();
        for (&channel, service) in &self.channels {
            if let Some(service) = service.or(only) {
                services.entry(service).or_default().insert(channel);
            }
        }
        let before = std::mem::replace(&mut self.services, services);
        let same = |service: &u16| before.get(service) == self.services.get(service);
        let sources = &self.atsc.programmes;
        self.seen.retain(|table| match table.table_id {
            atsc::TABLE => sources.get(&table.extension).is_none_or(same),
            psip::ett::TABLE => false,
            _ => same(&table.extension),
        });
        self.pending.retain(|(service, _)| same(service));
    }

    fn section(&mut self, pid: u16, bytes: &[u8]) {
        let Some(name) = SectionName::read(pid, bytes) else { return };
        let table_id = name.table.table_id;
        // Before its CRC is reckoned: most of what comes is known, or of nobody's service.
        let is_read = match (pid, table_id) {
            (eit::PID, table_id) => {
                is_actual_eit(table_id) && self.services.contains_key(&name.table.extension)
            }
            (psip::BASE_PID, mgt::TABLE | psip::stt::TABLE | vct::TABLE_TERRESTRIAL | vct::TABLE_CABLE) => {
                true
            }
            (PAT_PID | psip::BASE_PID, _) => false,
            (_, table_id) => [atsc::TABLE, psip::ett::TABLE].contains(&table_id),
        };
        if !is_read || self.seen.knows(&name) {
            return;
        }
        let Some(section) = Section::parse(bytes) else {
            self.counters.bad_sections += 1;
            return;
        };
        match self.table(&section) {
            Read::Told { service, schedules } => self.queue(&name, service, schedules),
            Read::Known => _ = self.seen.note(&name),
            Read::TooEarly => {}
            Read::Torn => self.counters.bad_sections += 1,
        }
    }

    fn table(&mut self, section: &Section<'_>) -> Read {
        match section.table_id {
            mgt::TABLE => mgt::parse(section).map_or(Read::Torn, |tables| self.master_guide(&tables)),
            vct::TABLE_TERRESTRIAL | vct::TABLE_CABLE => match vct::parse(section) {
                Some(channels) => self.virtual_channels(&channels),
                None => Read::Torn,
            },
            psip::stt::TABLE => match Stt::parse(section) {
                Some(stt) => {
                    self.atsc.leap_s = Some(stt.leap_s);
                    // Its version never changes, its time does: it is not noted, and cheap.
                    Read::TooEarly
                }
                None => Read::Torn,
            },
            atsc::TABLE => atsc::Eit::parse(section).map_or(Read::Torn, |eit| self.atsc_events(eit)),
            psip::ett::TABLE => Ett::parse(section).map_or(Read::Torn, |ett| self.atsc_text(&ett)),
            _ => Eit::parse(section).map_or(Read::Torn, |eit| self.events(&eit)),
        }
    }

    fn events(&self, eit: &Eit) -> Read {
        let urgency = match eit.kind {
            Kind::PresentFollowing => Urgency::Now,
            Kind::Schedule => Urgency::Later,
        };
        let events = eit.events.iter().filter_map(guide_event).collect();
        Read::Told { service: eit.service_id, schedules: self.schedules(eit.service_id, urgency, events) }
    }

    fn master_guide(&mut self, tables: &[mgt::Listed]) -> Read {
        let is_guide =
            |table: &&mgt::Listed| matches!(table.kind, mgt::Kind::Events(_) | mgt::Kind::EventTexts(_));
        let listed = tables.iter().filter(is_guide).map(|table| table.pid);
        // The PIDs that are read anyway are no guide of ATSC.
        let fixed = [PAT_PID, eit::PID, psip::BASE_PID];
        let pids: BTreeSet<u16> = listed.filter(|pid| !fixed.contains(pid)).take(PSIP_PIDS_MAX).collect();
        self.revision += 1;
        self.assemblers.retain(|pid, _| fixed.contains(pid) || pids.contains(pid));
        for pid in pids {
            self.assemblers.entry(pid).or_default();
        }
        Read::Known
    }

    fn virtual_channels(&mut self, channels: &[vct::VirtualChannel]) -> Read {
        for channel in channels {
            let is_here = self.services.contains_key(&channel.programme);
            if is_here
                && self.atsc.programmes.insert(channel.source_id, channel.programme)
                    != Some(channel.programme)
            {
                // What came of this source while it was nobody's was not told.
                self.seen
                    .retain(|table| table.table_id != atsc::TABLE || table.extension != channel.source_id);
            }
        }
        let services = &self.services;
        self.atsc.programmes.retain(|_, programme| services.contains_key(programme));
        let sources = &self.atsc.programmes;
        self.atsc.held.retain(|(source, _), _| sources.contains_key(source));
        // Read each time: which of the channels count changes with the plan.
        Read::TooEarly
    }

    fn atsc_events(&mut self, eit: atsc::Eit) -> Read {
        let Some(leap_s) = self.atsc.leap_s else { return Read::TooEarly };
        let Some(&service) = self.atsc.programmes.get(&eit.source_id) else { return Read::TooEarly };
        let mut events = Vec::new();
        for told in eit.events {
            self.counters.not_decoded += u64::from(told.title.not_decoded);
            let (language, title) = told.title.first().cloned().unwrap_or_default();
            let event = Event {
                id: told.id,
                start_unix_s: psip::unix_time(told.start_gps_s, leap_s),
                duration_s: told.duration_s,
                title,
                language,
                ..Event::default()
            }
            .bounded();
            let has_text = told.has_text;
            events.push(if has_text { self.hold((eit.source_id, told.id), event) } else { event });
        }
        Read::Told { service, schedules: self.schedules(service, Urgency::Later, events) }
    }

    /// Keeps an event until its text comes; answers it with the text that it had.
    fn hold(&mut self, key: (u16, u16), mut event: Event) -> Event {
        let Atsc { held, .. } = &mut self.atsc;
        if held.len() >= HELD_EVENTS_MAX && !held.contains_key(&key) {
            // The one that begins first has had its text, or has been on.
            let first = held.iter().min_by_key(|(_, event)| event.start_unix_s).map(|(&key, _)| key);
            first.map(|first| held.remove(&first));
            self.counters.unheld_events += 1;
        }
        // A new version of the event does not take away the text that it had.
        if let Some(before) = held.get(&key).filter(|before| before.start_unix_s == event.start_unix_s) {
            event.description.clone_from(&before.description);
        }
        held.insert(key, event.clone());
        event
    }

    fn atsc_text(&mut self, ett: &Ett) -> Read {
        let Some(event_id) = ett.event_id else { return Read::Known };
        let Some(&service) = self.atsc.programmes.get(&ett.source_id) else { return Read::TooEarly };
        let Some(event) = self.atsc.held.get_mut(&(ett.source_id, event_id)) else { return Read::TooEarly };
        self.counters.not_decoded += u64::from(ett.text.not_decoded);
        let Some((_, text)) = ett.text.first() else { return Read::Known };
        event.description.clone_from(text);
        let event = event.clone().bounded();
        Read::Told { service, schedules: self.schedules(service, Urgency::Later, vec![event]) }
    }

    /// A schedule of these events for each channel of a service.
    fn schedules(&self, service: u16, urgency: Urgency, events: Vec<Event>) -> Option<Schedules> {
        let mut by_start: BTreeMap<i64, Event> = BTreeMap::new();
        for event in events {
            // Of two at once the first is taken.
            by_start.entry(event.start_unix_s).or_insert(event);
        }
        let (&from_unix_s, last) = (by_start.keys().next()?, by_start.values().next_back()?);
        let until_unix_s = last.end_unix_s().max(last.start_unix_s.saturating_add(1));
        let events: Vec<Event> = by_start.into_values().collect();
        let channels = self.services.get(&service)?;
        let list = channels
            .iter()
            .map(|&channel| Schedule { channel, from_unix_s, until_unix_s, events: events.clone() })
            .collect();
        Some(Schedules { urgency, list })
    }

    /// Puts schedules in the queue, and notes the section they are from; without room they are left.
    fn queue(&mut self, name: &SectionName, service: u16, schedules: Option<Schedules>) {
        let Some(Schedules { urgency, list }) = schedules else {
            self.seen.note(name);
            return;
        };
        let of_service = self.pending.iter().filter(|(pending, _)| *pending == service).count();
        // However many channels a service makes, with an empty queue it is their turn.
        let has_room = self.pending.len() + list.len() <= PENDING_MAX
            && of_service + list.len() <= PENDING_PER_SERVICE_MAX
            || self.pending.is_empty();
        if !has_room {
            self.counters.deferred += 1;
            return;
        }
        if !self.seen.note(name) {
            // Each text of ATSC is a table of its own; those of events long over fill it, and what still counts comes again.
            self.seen.retain(|table| table.table_id != psip::ett::TABLE);
            // Of tables that are too many nothing is told, or it would be told for ever.
            if !self.seen.note(name) {
                return;
            }
        }
        let list = list.into_iter().map(|schedule| (service, schedule));
        match urgency {
            Urgency::Now => list.rev().for_each(|waiting| self.pending.push_front(waiting)),
            Urgency::Later => self.pending.extend(list),
        }
    }
}

/// What reading a section comes to.
enum Read {
    /// These schedules; `None`: it is empty.
    Told { service: u16, schedules: Option<Schedules> },
    /// Nothing to tell, and not to be read again.
    Known,
    /// Something else has to come before; it is read when it comes again.
    TooEarly,
    /// It cannot be read.
    Torn,
}

/// The same for each channel of a service.
struct Schedules {
    urgency: Urgency,
    list: Vec<Schedule>,
}

/// Who goes first.
#[derive(Clone, Copy)]
enum Urgency {
    /// What is on.
    Now,
    /// What will be.
    Later,
}

/// Present, following and schedule of the multiplex that carries them.
fn is_actual_eit(table_id: u8) -> bool {
    table_id == eit::TABLE_PRESENT_ACTUAL
        || (eit::TABLE_SCHEDULE_ACTUAL..eit::TABLE_SCHEDULE_OTHER).contains(&table_id)
}

/// `None` for an event without a beginning.
fn guide_event(event: &eit::Event) -> Option<Event> {
    let texts = event.texts_in(None).cloned().unwrap_or_default();
    let event = Event {
        id: event.id,
        start_unix_s: event.start_unix_s?,
        duration_s: event.duration_s,
        title: texts.title,
        text: texts.short,
        description: texts.long,
        language: texts.language,
        content: event.genre,
        least_age: event.age,
    };
    Some(event.bounded())
}

#[cfg(test)]
mod tests;
