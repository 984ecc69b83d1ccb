//! From transport packets to fragmented MP4: which streams, when a part ends, and what begins anew.
//!
//! ```text
//! Waiting ──a random access picture, all formats known──► Running ──a leap of time, another source──► Waiting (Break)
//!    └──nothing that can be carried──► Unsupported          └──other parameter sets──► Running (Break, Init)
//! ```
//!
//! A part has the pictures up to a point of decoding time, and the sound up to the same point; it is given out when
//! the sound has come that far.

use std::collections::VecDeque;

use super::audio::{self, Format, Frame, Frames};
use super::fragment::{Run, Sample, fragment};
use super::track::{AUDIO_TRACK, VIDEO_TRACK, VideoTrack, initialisation};
use super::video::{self, ParameterSets, Picture, Size};
use crate::packet::{Packet, PacketBytes};
use crate::pes::signed_step;
use crate::pes_assembler::{Pes, PesAssembler};
use crate::psi::{ElementaryStream, PrivateData, Programme, ProgrammeTable};

/// Pictures wait so long for the sound that belongs to them: 2 s.
pub const SOUND_PATIENCE_90K: i64 = 180_000;
/// Sound that does not show its format within this is left out: 3 s of pictures.
const FORMAT_PATIENCE_90K: i64 = 270_000;
/// Decoding time that leaps by more than this, or runs backwards by it, is another stream's: 5 s.
const LEAP_90K: i64 = 450_000;
/// Sound that differs by less than this from where it should be goes on evenly: 50 ms.
const DRIFT_90K: i64 = 4_500;
/// Time of the first stamp that comes: what is to be decoded before it has a time too. 10 s.
const ORIGIN_90K: i64 = 900_000;
/// A picture of which the next has not come lasts so long.
const PICTURE_90K: u32 = 3_600;
/// Pictures, and frames of sound, that wait; beyond that the oldest go.
const WAITING_MAX: usize = 2_048;

/// When parts and segments end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cuts {
    /// Longest part.
    pub part_90k: u32,
    /// A random access picture begins a segment when the present one is this long.
    pub segment_min_90k: u32,
    /// Any picture does when it is this long.
    pub segment_max_90k: u32,
    /// The same as `segment_min_90k` for a segment that begins with no random access picture.
    pub forced_min_90k: u32,
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What follows is described by this.
    Init(Init),
    /// The next part.
    Part(Part),
    /// What follows does not continue what came.
    Break,
    /// The programme cannot be carried: why, for people.
    Unsupported(String),
}

/// An initialisation segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// `ftyp` and `moov`.
    pub bytes: Vec<u8>,
    /// As RFC 6381 names them, commas between.
    pub codecs: String,
    /// How large pictures are, where there are any.
    pub size: Option<Size>,
}

/// A part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `moof` and `mdat`.
    pub bytes: Vec<u8>,
    /// How long it is.
    pub duration_90k: u32,
    /// Whether decoding may begin with it.
    pub is_independent: bool,
    /// Whether a segment begins with it.
    pub begins_segment: bool,
}

/// The muxer.
#[derive(Debug)]
pub struct Muxer {
    cuts: Cuts,
    table: ProgrammeTable,
    streams: Option<Streams>,
    state: State,
    events: Vec<Event>,
    sequence: u32,
}

/// What of a programme is carried.
#[derive(Debug)]
struct Streams {
    programme: Programme,
    video: Option<(u16, video::Coding, PesAssembler)>,
    audio: Option<(u16, PesAssembler, Frames)>,
}

/// From one break to the next.
#[derive(Debug, Default)]
struct State {
    /// A stamp that came last, and its time.
    near: Option<(u64, i64)>,
    sets: ParameterSets,
    track: Option<VideoTrack>,
    format: Option<Format>,
    has_begun: bool,
    pictures: VecDeque<Waiting>,
    sound: VecDeque<Sample>,
    /// Where the next frame of sound belongs, in its ticks.
    sound_next: Option<i64>,
    /// Decoding time of the picture that came last.
    last_90k: Option<i64>,
    /// How long the present segment is.
    segment_90k: i64,
    /// The present segment begins with no random access picture.
    is_forced: bool,
}

/// A picture that is not given out.
#[derive(Debug)]
struct Waiting {
    decode_90k: i64,
    offset_90k: i32,
    is_random: bool,
    /// A segment begins with it.
    begins_segment: bool,
    sample: Vec<u8>,
}

impl Muxer {
    /// One that has seen nothing.
    pub fn new(cuts: Cuts) -> Self {
        Self {
            cuts,
            table: ProgrammeTable::new(),
            streams: None,
            state: State::default(),
            events: Vec::new(),
            sequence: 0,
        }
    }

    /// Takes the next packet; what has come about.
    pub fn push(&mut self, bytes: &PacketBytes) -> Vec<Event> {
        if let Ok(packet) = Packet::parse(bytes) {
            if self.table.push(packet) {
                self.choose();
            }
            self.packet(packet);
        }
        std::mem::take(&mut self.events)
    }

    /// What comes next does not continue what came.
    pub fn interrupt(&mut self) -> Vec<Event> {
        self.begin_anew();
        if let Some(streams) = &mut self.streams {
            streams.restart();
        }
        std::mem::take(&mut self.events)
    }

    fn packet(&mut self, packet: Packet<'_>) {
        let Some(streams) = &mut self.streams else { return };
        let pid = packet.pid();
        match (&mut streams.video, &mut streams.audio) {
            (Some((video, coding, assembler)), _) if *video == pid => {
                if let Some(pes) = assembler.push(packet) {
                    let coding = *coding;
                    self.picture(coding, &pes);
                }
            }
            (video, Some((audio, assembler, frames))) if *audio == pid => {
                if let Some(pes) = assembler.push(packet) {
                    let is_alone = video.is_none();
                    let mut got = Vec::new();
                    frames.push(pes.times.map(|times| times.pts_90k), pes.payload(), |frame| got.push(frame));
                    got.into_iter().for_each(|frame| self.frame(frame, is_alone));
                }
            }
            _ => {}
        }
    }

    /// The tables have changed.
    fn choose(&mut self) {
        let Some(programme) = self.table.programmes().values().next().filter(|it| !it.streams.is_empty())
        else {
            return;
        };
        if self.streams.as_ref().is_some_and(|streams| streams.programme == *programme) {
            return;
        }
        let chosen = Streams::choose(programme);
        if self.streams.is_some() {
            self.begin_anew();
        }
        match chosen {
            Ok(streams) => self.streams = Some(streams),
            Err(reason) => {
                self.streams = None;
                self.events.push(Event::Unsupported(reason));
            }
        }
    }

    fn begin_anew(&mut self) {
        if self.state.has_begun {
            self.give_out(true);
            self.events.push(Event::Break);
        }
        self.state = State::default();
    }

    fn picture(&mut self, coding: video::Coding, pes: &Pes) {
        let Some(times) = pes.times else { return };
        let picture = video::picture(coding, &pes.bytes, pes.payload());
        let decode_90k = self.state.since_origin(times.dts_90k);
        if self.state.last_90k.is_some_and(|last| decode_90k <= last || decode_90k > last + LEAP_90K) {
            self.begin_anew();
            return self.picture(coding, pes);
        }
        if picture.is_random {
            self.describe(coding, &picture);
        }
        let state = &mut self.state;
        let is_first = !state.has_begun && state.pictures.is_empty();
        if is_first && !(picture.is_random && state.track.is_some()) {
            return;
        }
        let state = &mut self.state;
        if let Some(last) = state.last_90k {
            state.segment_90k += decode_90k - last;
        }
        state.last_90k = Some(decode_90k);
        let cuts = self.cuts;
        let min_90k = if state.is_forced { cuts.forced_min_90k } else { cuts.segment_min_90k };
        let begins_segment = is_first
            || picture.is_random && state.segment_90k >= i64::from(min_90k)
            || state.segment_90k >= i64::from(cuts.segment_max_90k);
        if begins_segment {
            (state.segment_90k, state.is_forced) = (0, !picture.is_random);
        }
        let offset_90k = signed_step(times.dts_90k, times.pts_90k);
        state.pictures.push_back(Waiting {
            decode_90k,
            offset_90k: i32::try_from(offset_90k).unwrap_or(0),
            is_random: picture.is_random,
            begins_segment,
            sample: picture.sample,
        });
        if state.pictures.len() > WAITING_MAX {
            state.pictures.pop_front();
        }
        self.begin_if_described();
        self.give_out(false);
    }

    /// Begins with the first picture, once the format of the sound is known or will not be.
    fn begin_if_described(&mut self) {
        let state = &self.state;
        let (Some(first), false) = (state.pictures.front(), state.has_begun) else { return };
        let begin_90k = first.decode_90k;
        let has_format = state.format.is_some() || self.streams.as_ref().is_none_or(|it| it.audio.is_none());
        if has_format || state.last_90k.is_some_and(|last| last - begin_90k > FORMAT_PATIENCE_90K) {
            self.begin(begin_90k);
        }
    }

    /// Takes the parameter sets of a random access picture; others than before begin anew.
    fn describe(&mut self, coding: video::Coding, picture: &Picture) {
        let sets = self.state.sets.replaced_by(&picture.sets);
        if sets == self.state.sets {
            return;
        }
        let track = sets.size(coding).filter(|_| sets.is_complete(coding));
        let track = track.map(|size| VideoTrack { coding, sets: sets.clone(), size });
        if track != self.state.track {
            if self.state.has_begun {
                self.give_out(true);
                self.events.push(Event::Break);
            }
            // Times go on; what describes them does not.
            self.state.has_begun = false;
            self.state.pictures.clear();
            (self.state.segment_90k, self.state.last_90k) = (0, None);
        }
        self.state.sets = sets;
        self.state.track = track;
    }

    /// All is known that a decoder must know.
    fn begin(&mut self, decode_90k: i64) {
        let state = &mut self.state;
        state.has_begun = true;
        let video_codec = state.track.as_ref().map(|track| track.sets.codec(track.coding));
        let codecs: Vec<String> =
            video_codec.into_iter().chain(state.format.as_ref().map(Format::codec)).collect();
        let init = Init {
            bytes: initialisation(state.track.as_ref(), state.format.as_ref()),
            codecs: codecs.join(","),
            size: state.track.as_ref().map(|track| track.size),
        };
        if let Some(format) = &state.format {
            let begin = ticks(decode_90k, format.rate_hz);
            state.sound.retain(|frame| i64::try_from(frame.decode_time).is_ok_and(|at| at >= begin));
        } else {
            state.sound.clear();
        }
        self.events.push(Event::Init(init));
    }

    fn frame(&mut self, frame: Frame, is_alone: bool) {
        let format = frame.format;
        if self.state.format.is_some_and(|known| known != format) {
            self.begin_anew();
        }
        if self.state.has_begun && self.state.format.is_none() {
            return; // it came too late to be described
        }
        let stamp = frame.pts_90k.map(|pts_90k| self.state.since_origin(pts_90k));
        let state = &mut self.state;
        let drift = ticks(DRIFT_90K, format.rate_hz);
        let at = match (state.sound_next, stamp.map(|stamp| ticks(stamp, format.rate_hz))) {
            (Some(next), Some(stamp)) if (stamp - next).abs() <= drift => next,
            (_, Some(stamp)) => stamp,
            (Some(next), None) => next,
            (None, None) => return,
        };
        if is_alone
            && state.sound_next.is_some_and(|next| (at - next).abs() > ticks(LEAP_90K, format.rate_hz))
        {
            self.begin_anew();
            return self.frame(frame, is_alone);
        }
        state.format = Some(format);
        state.sound_next = Some(at + i64::from(format.samples));
        if let Ok(decode_time) = u64::try_from(at)
            && state.sound.back().is_none_or(|last| last.decode_time < decode_time)
        {
            let duration = format.samples;
            let sample = Sample { decode_time, duration, offset: 0, is_random: true, bytes: frame.sample };
            state.sound.push_back(sample);
            if state.sound.len() > WAITING_MAX {
                state.sound.pop_front();
            }
        }
        if !is_alone {
            self.begin_if_described();
            self.give_out(false);
            return;
        }
        if !state.has_begun {
            self.begin(0);
        }
        self.give_out_sound();
    }

    /// Gives out each part that is complete; with `all` what there is.
    fn give_out(&mut self, all: bool) {
        loop {
            let state = &self.state;
            let Some(first) = state.pictures.front().filter(|_| state.has_begun) else { break };
            let begin_90k = first.decode_90k;
            // A part ends before the picture that begins a segment, or would make it too long.
            let limit_90k = begin_90k + i64::from(self.cuts.part_90k);
            let ends = |place: usize| {
                let picture = &state.pictures[place];
                let next = state.pictures.get(place + 1);
                picture.begins_segment || next.is_some_and(|next| next.decode_90k > limit_90k)
            };
            let end = (1..state.pictures.len()).find(|place| ends(*place));
            let (count, end_90k) = match end {
                Some(place) => (place, state.pictures[place].decode_90k),
                None if all => {
                    let last = state.pictures.back().map_or(begin_90k, |last| last.decode_90k);
                    (state.pictures.len(), last + i64::from(PICTURE_90K))
                }
                None => break,
            };
            let newest_90k = state.last_90k.unwrap_or(end_90k);
            if !all && !self.has_sound_up_to(end_90k) && newest_90k - end_90k < SOUND_PATIENCE_90K {
                break;
            }
            self.part(count, end_90k);
        }
    }

    fn has_sound_up_to(&self, end_90k: i64) -> bool {
        let Some(format) = &self.state.format else { return true };
        self.state.sound_next.is_some_and(|next| next >= ticks(end_90k, format.rate_hz))
    }

    /// Gives out a part of so many pictures, and the sound before `end_90k`.
    fn part(&mut self, count: usize, end_90k: i64) {
        let state = &mut self.state;
        let pictures: Vec<Waiting> = state.pictures.drain(..count.min(state.pictures.len())).collect();
        let Some(first) = pictures.first() else { return };
        let (begin_90k, is_independent, begins_segment) =
            (first.decode_90k, first.is_random, first.begins_segment);
        let ends = pictures.iter().skip(1).map(|next| next.decode_90k).chain([end_90k]);
        let ends: Vec<i64> = ends.collect();
        let samples: Vec<Sample> = pictures
            .into_iter()
            .zip(ends)
            .map(|(picture, end_90k)| Sample {
                decode_time: u64::try_from(picture.decode_90k).unwrap_or(0),
                duration: u32::try_from(end_90k - picture.decode_90k).unwrap_or(PICTURE_90K),
                offset: picture.offset_90k,
                is_random: picture.is_random,
                bytes: picture.sample,
            })
            .collect();
        let sound = match &state.format {
            Some(format) => {
                let end = u64::try_from(ticks(end_90k, format.rate_hz)).unwrap_or(0);
                let count = state.sound.iter().take_while(|frame| frame.decode_time < end).count();
                lasting(state.sound.drain(..count).collect())
            }
            None => Vec::new(),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let runs =
            [Run { track: VIDEO_TRACK, samples: &samples }, Run { track: AUDIO_TRACK, samples: &sound }];
        self.events.push(Event::Part(Part {
            bytes: fragment(self.sequence, &runs),
            duration_90k: u32::try_from(end_90k - begin_90k).unwrap_or(0),
            is_independent,
            begins_segment,
        }));
    }

    /// Gives out parts of a programme without pictures.
    fn give_out_sound(&mut self) {
        let state = &mut self.state;
        let Some(format) = state.format else { return };
        let held: u32 = state.sound.iter().map(|frame| frame.duration).sum();
        let duration_90k = i64::from(held) * 90_000 / i64::from(format.rate_hz);
        if duration_90k + i64::from(format.samples) * 90_000 / i64::from(format.rate_hz)
            <= i64::from(self.cuts.part_90k)
        {
            return;
        }
        let sound = lasting(state.sound.drain(..).collect());
        let begins_segment =
            state.segment_90k == 0 || state.segment_90k >= i64::from(self.cuts.segment_min_90k);
        if begins_segment {
            state.segment_90k = 0;
        }
        state.segment_90k += duration_90k;
        self.sequence = self.sequence.wrapping_add(1);
        self.events.push(Event::Part(Part {
            bytes: fragment(self.sequence, &[Run { track: AUDIO_TRACK, samples: &sound }]),
            duration_90k: u32::try_from(duration_90k).unwrap_or(0),
            is_independent: true,
            begins_segment,
        }));
    }
}

impl State {
    /// The time of a stamp, unwrapped; the first that comes is [`ORIGIN_90K`].
    fn since_origin(&mut self, stamp_90k: u64) -> i64 {
        let (near_90k, near) = self.near.unwrap_or((stamp_90k, ORIGIN_90K));
        let time_90k = near + signed_step(near_90k, stamp_90k);
        self.near = Some((stamp_90k, time_90k));
        time_90k
    }
}

impl Streams {
    fn choose(programme: &Programme) -> Result<Self, String> {
        let streams = &programme.streams;
        let first = |name: fn(ElementaryStream) -> Option<&'static str>| {
            streams.iter().find_map(|stream| Some((*stream, name(*stream)?)))
        };
        let video = streams.iter().find_map(|stream| Some((stream.pid, video_coding(*stream)?)));
        if let (None, Some((_, name))) = (video, first(video_name)) {
            return Err(format!("pictures are coded as {name}, which fragmented MP4 is not made of here"));
        }
        let audio = streams.iter().find_map(|stream| Some((stream.pid, audio_coding(*stream)?)));
        if let (None, Some((_, name))) = (audio, first(audio_name)) {
            return Err(format!("sound is coded as {name}, which fragmented MP4 is not made of here"));
        }
        if video.is_none() && audio.is_none() {
            return Err("there are neither pictures nor sound that are known".to_owned());
        }
        Ok(Self {
            programme: programme.clone(),
            video: video.map(|(pid, coding)| (pid, coding, PesAssembler::default())),
            audio: audio.map(|(pid, coding)| (pid, PesAssembler::default(), Frames::new(coding))),
        })
    }

    fn restart(&mut self) {
        if let Some((_, _, assembler)) = &mut self.video {
            assembler.restart();
        }
        if let Some((_, assembler, frames)) = &mut self.audio {
            assembler.restart();
            frames.restart();
        }
    }
}

/// In ticks of the sound's rate.
fn ticks(time_90k: i64, rate_hz: u32) -> i64 {
    (time_90k * i64::from(rate_hz)).div_euclid(90_000)
}

/// Frames that last until the next one, also over one that is missing.
fn lasting(mut frames: Vec<Sample>) -> Vec<Sample> {
    let begins: Vec<u64> = frames.iter().skip(1).map(|frame| frame.decode_time).collect();
    for (frame, end) in frames.iter_mut().zip(begins) {
        frame.duration = u32::try_from(end - frame.decode_time).unwrap_or(frame.duration);
    }
    frames
}

fn video_coding(stream: ElementaryStream) -> Option<video::Coding> {
    match stream.stream_type {
        0x1b => Some(video::Coding::H264),
        0x24 => Some(video::Coding::H265),
        _ => None,
    }
}

fn audio_coding(stream: ElementaryStream) -> Option<audio::Coding> {
    match (stream.stream_type, stream.private) {
        (0x0f, _) => Some(audio::Coding::Aac),
        (0x03 | 0x04, _) => Some(audio::Coding::Mpeg),
        // As ATSC and as DVB has it.
        (0x81, _) | (_, Some(PrivateData::Ac3)) => Some(audio::Coding::Ac3),
        _ => None,
    }
}

/// Pictures that are not carried.
fn video_name(stream: ElementaryStream) -> Option<&'static str> {
    Some(match stream.stream_type {
        0x01 => "MPEG-1 video",
        0x02 => "MPEG-2 video",
        0x10 => "MPEG-4 part 2",
        0x21 | 0x32 => "JPEG",
        0x33 => "H.266",
        0x42 | 0xd2 | 0xd4 => "AVS",
        0xea => "VC-1",
        _ => return None,
    })
}

/// Sound that is not carried.
fn audio_name(stream: ElementaryStream) -> Option<&'static str> {
    Some(match (stream.stream_type, stream.private) {
        (0x11, _) => "AAC in LATM",
        (0x1c | 0x2d | 0x2e, _) => "another MPEG-4 audio",
        (0x87, _) | (_, Some(PrivateData::EnhancedAc3)) => "E-AC-3",
        (_, Some(PrivateData::Dts)) => "DTS",
        _ => return None,
    })
}
