//! Captions and subtitles are read as decoders read them that nobody here wrote: ffmpeg's for CTA-608, GStreamer's for CTA-708,
//! libzvbi (in ffmpeg) for teletext. Texts are equal but for spaces around lines, times to the millisecond that their
//! files are written to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::closed_captions::{Coding, Field, Script, code, text, window};
use lab::multiplex::{Elementary, Pes, multiplex, pes_packets, streams_of};
use lab::site::{Plan, Site};
use lab::source::Sender;
use lab::teletext::{self, Above, Page};
use lab::{Command, Lab, timeline};
use media::captions::{Event, Reader, Track};
use media::packet::Packet;

/// What was shown: from when to when, ms, and line by line. Without an end: until the next.
type Shown = (u64, Option<u64>, Vec<String>);

const VIDEO_PID: u16 = 0x100;
const TELETEXT_PID: u16 = 0x120;
const SECONDS: u32 = 12;
/// Longest that a step of a test in the laboratory may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest that a viewer may take to end.
const END_LIMIT: Duration = Duration::from_secs(2);
/// Files have milliseconds, and round by rules of their own.
const TOLERANCE_MS: u64 = 1;

/// Goal: pop-on, roll-up and paint-on captions of CC1, and CC3 in the second field, have the texts and times that ffmpeg's
/// decoder finds, in MPEG-2, H.264 and H.265 video with pictures out of order.
/// Method: a script of byte pairs is put into pictures that ffmpeg coded; both read the same file.
#[test]
fn line_21_is_what_ffmpeg_reads() {
    let Some(lab) = Lab::open("line_21_is_what_ffmpeg_reads", &["ffmpeg"]) else { return };
    let script = line_21();
    for coding in [Coding::Mpeg2, Coding::H264, Coding::H265] {
        let file = captioned(&lab, coding, &script);
        for (track, field) in [(Track::Line21(1), "first"), (Track::Line21(3), "second")] {
            let expected = ffmpeg_line_21(&lab, &file, field);
            let ours = read(&file, track);
            lab.note(format_args!("{coding:?}, {track}: {ours:?}"));
            let least = if track == Track::Line21(1) { 7 } else { 1 };
            assert!(expected.len() >= least, "ffmpeg found {expected:?}");
            assert_same(&ours, &expected);
        }
    }
}

/// Goal: windows of CTA-708 that are shown at once, rolled up and painted have the texts and times that GStreamer's decoder
/// shows.
/// Method: its log says, picture by picture, which window has which letters.
#[test]
fn caption_services_are_what_gstreamer_shows() {
    const NAME: &str = "caption_services_are_what_gstreamer_shows";
    let Some(lab) = Lab::open(NAME, &["ffmpeg", "gst-launch-1.0"]) else { return };
    let has_decoder = Command::line("gst-inspect-1.0 --exists cc708overlay").output().status.success();
    if !has_decoder {
        lab::skip::report(NAME, "GStreamer has no decoder for CTA-708 here");
        return;
    }
    let file = captioned(&lab, Coding::H264, &services());
    let expected = gstreamer_service(&lab, &file);
    let ours = read(&file, Track::Service(1));
    lab.note(format_args!("{ours:?}"));
    assert!(expected.len() >= 6, "GStreamer showed {expected:?}");
    assert_same(&ours, &expected);
}

/// Goal: teletext subtitles of two languages with accents beyond their sets, double height, colours and two pages at a time
/// have the texts and times that libzvbi finds.
#[test]
fn teletext_is_what_libzvbi_reads() {
    let Some(lab) = Lab::open("teletext_is_what_libzvbi_reads", &["ffmpeg"]) else { return };
    let decoders = Command::line("ffmpeg -hide_banner -decoders").succeed();
    if !decoders.contains("libzvbi_teletextdec") {
        lab::skip::report("teletext_is_what_libzvbi_reads", "this ffmpeg is without libzvbi");
        return;
    }
    let (file, origin_ms) = with_teletext(&lab);
    for page in [0x888_u16, 0x150] {
        let expected = ffmpeg_teletext(&lab, &file, page, origin_ms);
        let ours = read(&file, Track::Teletext(page));
        lab.note(format_args!("{page:x}: {ours:?}"));
        assert!(expected.len() >= 2, "libzvbi found {expected:?}");
        assert_same(&ours, &expected);
    }
    let mut reader = Reader::new();
    feed(&mut reader, &file);
    let tracks: Vec<_> =
        reader.tracks().into_iter().map(|listing| (listing.track, listing.language)).collect();
    let expected = [(0x150, "fra"), (0x888, "deu")];
    assert_eq!(tracks, expected.map(|(page, language)| (Track::Teletext(page), Some(language.to_owned()))));
}

/// Goal: a viewer reads captions on the terminal, and has a file of them beside the recording that fits it: ffmpeg finds the
/// same texts at the same times in the recording, which is what came.
/// Method: a captioned stream is sent as a source sends it, through the daemons; the client writes both files.
#[test]
fn the_client_shows_captions_and_writes_them_beside_its_recording() {
    const NAME: &str = "the_client_shows_captions_and_writes_them_beside_its_recording";
    let Some(lab) = Lab::open(NAME, &["ffmpeg"]) else { return };
    let stream = fs::read(captioned(&lab, Coding::H264, &line_21())).unwrap();
    let site = Site::build(&lab, &Plan::stream());
    let viewer = site.viewer("nina", &site.room);
    let _daemons = site.start_all();
    let (file, captions) = (lab.path("nina.ts"), lab.path("nina.srt"));
    let rate_bps = stream.len() as u64 * 8 / u64::from(SECONDS);
    let group = lab::site::SOURCE_GROUP.parse().unwrap();
    let sender = Sender::start_bytes(&site.source, stream, rate_bps, group);
    let command = site.client(&viewer).args(["watch", "1", "--captions", "cc1", "--captions-file"]);
    let mut watching = viewer.spawn(command.arg(&captions).arg("--output").arg(&file));
    timeline::obtain("all is sent", PATIENCE, || sender.is_finished().then_some(()));
    // The last caption ends three seconds before the stream does.
    watching.wait_for_line("» AND AGAIN", PATIENCE);
    let status = watching.interrupt(END_LIMIT);
    assert!(status.success(), "{status}\n{}", watching.last_words());

    let expected = ffmpeg_line_21(&lab, &file, "first");
    let written = subtitles(&fs::read_to_string(&captions).unwrap());
    lab.note(format_args!("{written:?}"));
    assert!(expected.len() >= 3, "the recording begins too late: {expected:?}");
    assert_same(&written, &expected);
}

fn assert_same(ours: &[Shown], expected: &[Shown]) {
    let near = |a: u64, b: u64| a.abs_diff(b) <= TOLERANCE_MS;
    let is_same = |(a, b): (&Shown, &Shown)| {
        near(a.0, b.0) && a.1.zip(b.1).is_none_or(|(a, b)| near(a, b)) && a.2 == b.2
    };
    let is_all_same = ours.len() == expected.len() && ours.iter().zip(expected).all(is_same);
    assert!(is_all_same, "\n    ours {ours:?}\nexpected {expected:?}");
}

/// All three ways of CTA-608, and what they have of letters, styles and places.
fn line_21() -> Script {
    use code::{
        CARRIAGE_RETURN, END_OF_CAPTION, ERASE_DISPLAYED, ERASE_NON_DISPLAYED, ITALICS, NOTE,
        RESUME_CAPTION_LOADING, RESUME_DIRECT_CAPTIONING, ROLL_UP_2, ROLL_UP_3, ROW_1_COLUMN_8, ROW_14,
        ROW_15, TAB_2, U_DIAERESIS,
    };
    let mut script = Script::new();
    let mut say = |at, codes: &[&[[u8; 2]]]| script.say(at, Field::First, &codes.concat());
    let load = [RESUME_CAPTION_LOADING, ERASE_NON_DISPLAYED];
    say(10, &[&load, &[ROW_14], &text("HELLO LAN TV"), &[ROW_15], &text("SECOND LINE")]);
    say(50, &[&[END_OF_CAPTION]]);
    // In place of the first, without an erasure between.
    let styled = [&text("U")[..], &[U_DIAERESIS], &text("BER "), &[NOTE, ITALICS], &text("IT'S")].concat();
    say(60, &[&load, &[ROW_1_COLUMN_8, TAB_2], &styled]);
    say(100, &[&[END_OF_CAPTION]]);
    let at = say(130, &[&[ERASE_DISPLAYED]]);
    let at = say(at + 8, &[&[ROLL_UP_2, CARRIAGE_RETURN, ROW_15], &text("FIRST ROLLED")]);
    let at = say(at + 8, &[&[CARRIAGE_RETURN], &text("SECOND ROLLED")]);
    let at = say(at + 8, &[&[ROLL_UP_3, CARRIAGE_RETURN], &text("THIRD ROLLED")]);
    let at = say(at + 8, &[&[CARRIAGE_RETURN], &text("FOURTH")]);
    let at = say(at + 8, &[&[ERASE_DISPLAYED]]);
    let painted = [RESUME_DIRECT_CAPTIONING, ERASE_DISPLAYED, ROW_15];
    let at = say(at + 4, &[&painted, &text("PAINTED AT ONCE")]);
    let at = say(at + 12, &[&[ERASE_DISPLAYED, ROW_14], &text("AND AGAIN")]);
    say(at + 12, &[&[ERASE_DISPLAYED]]);
    script.say(20, Field::Second, &[&load[..], &[ROW_15], &text("OTRO IDIOMA")].concat());
    script.say(70, Field::Second, &[END_OF_CAPTION]);
    script.say(120, Field::Second, &[ERASE_DISPLAYED]);
    script
}

/// CTA-708: a window that is shown when it is written, one that rolls, one that is written while it is seen.
fn services() -> Script {
    let mut script = Script::new();
    let mut serve = |at, bytes: &[&[u8]]| script.serve(at, 1, &bytes.concat());
    let end = &[window::END_OF_TEXT][..];
    // Its decoder shows a hidden window already when a text ends in it, and none without: that it ends is said last.
    serve(20, &[&window::define(0, 2, 32, false), b"SEVEN OH EIGHT\x0dtwo lines, d\xe9j\xe0"]);
    serve(40, &[&window::display(0), end]);
    serve(70, &[&window::hide(0)]);
    serve(80, &[&window::clear(0), b"another"]);
    serve(90, &[&window::display(0), end]);
    serve(110, &[&window::DELETE_ALL]);
    serve(120, &[&window::define(1, 2, 32, true)]);
    serve(122, &[b"ROLL ONE", end]);
    serve(140, &[b"\x0dROLL TWO", end]);
    serve(160, &[b"\x0dROLL THREE", end]);
    serve(180, &[&window::clear(1)]);
    serve(190, &[b"PAINTED", end]);
    serve(200, &[&window::select(1), b" ON", end]);
    serve(230, &[&window::DELETE_ALL]);
    script
}

/// Pictures that ffmpeg coded, out of order.
fn pictures(lab: &Lab, coding: Coding) -> (u8, Vec<Pes>) {
    let (encoder, stream_type) = match coding {
        Coding::Mpeg2 => ("mpeg2video -bf 2", 0x02),
        Coding::H264 => ("libx264 -preset ultrafast -bf 2", 0x1b),
        Coding::H265 => ("libx265 -preset ultrafast -x265-params log-level=none", 0x24),
    };
    let plain = lab.path("plain.ts");
    let source = format!("testsrc2=s=320x180:r=30000/1001:d={SECONDS}");
    Command::line(&format!(
        "ffmpeg -nostdin -v error -y -f lavfi -i {source} -c:v {encoder} -g 30 -f mpegts"
    ))
    .arg(&plain)
    .succeed();
    let stream = fs::read(plain).unwrap();
    let (pid, _) = streams_of(&stream).into_iter().find(|(_, kind)| *kind == stream_type).unwrap();
    (stream_type, pes_packets(&stream, pid))
}

fn captioned(lab: &Lab, coding: Coding, script: &Script) -> PathBuf {
    let (stream_type, mut packets) = pictures(lab, coding);
    script.write_into(&mut packets, coding);
    let file = lab.path(&format!("{coding:?}.ts"));
    let video = Elementary { pid: VIDEO_PID, stream_type, descriptors: Vec::new(), packets };
    fs::write(&file, multiplex(&[video])).unwrap();
    file
}

/// German subtitles on page 888, and French ones on page 150 at the same time; with the time of the first picture, ms.
fn with_teletext(lab: &Lab) -> (PathBuf, u64) {
    let (stream_type, packets) = pictures(lab, Coding::Mpeg2);
    let first = packets.iter().map(|pes| pes.pts_90k).min().unwrap();
    let german = |lines: &[&str]| Page { national: 1, ..Page::subtitle(0x888, lines) };
    let french = |lines: &[&str]| Page { national: 4, ..Page::subtitle(0x150, lines) };
    // Row 20, column 6, is the fourth letter; e with a caron, then a note of G2.
    let above = vec![
        Above { row: 20, column: 6, mode: 0x1f, code: b'e' },
        Above { row: 20, column: 8, mode: 0x0f, code: 0x55 },
    ];
    let transmissions = [
        (1_000, vec![german(&["Gr}~e", "und [pfel"]), french(&["Fran~ais {t{", "d@j@"])]),
        // Nothing new on the first; the second goes.
        (2_000, vec![german(&["Gr}~e", "und [pfel"]), french(&[])]),
        (3_000, vec![german(&["\x03gelb"])]),
        (4_000, vec![german(&[])]),
        (5_000, vec![Page { above, ..german(&["abcde g"]) }, french(&["encore"])]),
        (6_500, vec![german(&[]), french(&[])]),
        (7_000, vec![]),
    ];
    let transmissions = transmissions.map(|(ms, pages)| (first + ms * 90, pages));
    let announced = teletext::descriptor(&[(*b"deu", 2, 0x888), (*b"fra", 5, 0x150)]);
    let subtitles = teletext::elementary(TELETEXT_PID, announced, &transmissions);
    let video = Elementary { pid: VIDEO_PID, stream_type, descriptors: Vec::new(), packets };
    let file = lab.path("teletext.ts");
    fs::write(&file, multiplex(&[video, subtitles])).unwrap();
    (file, first / 90)
}

/// What is read here of one track of `file`.
fn read(file: &Path, track: Track) -> Vec<Shown> {
    let mut reader = Reader::new();
    feed(&mut reader, file);
    let ms = |at_90k: i64| u64::try_from((at_90k + 45) / 90).unwrap();
    let mut shown = Vec::new();
    for event in reader.events() {
        if let Event::Cue(cue) = event
            && cue.track == track
        {
            let lines = cue.lines.into_iter().map(|line| line.text).collect();
            shown.push((ms(cue.start_90k), Some(ms(cue.end_90k)), lines));
        }
    }
    shown
}

fn feed(reader: &mut Reader, file: &Path) {
    let stream = fs::read(file).unwrap();
    stream.chunks(188).for_each(|packet| reader.push(Packet::from_slice(packet).unwrap()));
    reader.finish();
}

/// Times are counted from where the file begins, which is not always with a picture that can be decoded.
fn ffmpeg_line_21(lab: &Lab, file: &Path, field: &str) -> Vec<Shown> {
    let written = lab.path("ffmpeg.srt");
    Command::line("ffmpeg -nostdin -v error -y -copyts -data_field")
        .args([field, "-f", "lavfi", "-i", &format!("movie={}[out0+subcc]", file.display())])
        .args(["-map", "s", "-c:s", "srt"])
        .arg(&written)
        .succeed();
    let begins = Command::line(
        "ffprobe -v error -of default=nokey=1:noprint_wrappers=1 -show_entries format=start_time",
    );
    let begins: f64 = begins.arg(file).succeed().trim().parse().unwrap();
    let begins_ms = u64::try_from(Duration::from_secs_f64(begins).as_millis()).unwrap();
    let mut shown = subtitles(&fs::read_to_string(written).unwrap());
    shown.iter_mut().for_each(|(start, end, _)| {
        *start -= begins_ms;
        *end = end.map(|end| end - begins_ms);
    });
    shown
}

/// Its own file has no ends: a page stays until another comes, and one without text is none. Times are counted from
/// `origin_ms`.
fn ffmpeg_teletext(lab: &Lab, file: &Path, page: u16, origin_ms: u64) -> Vec<Shown> {
    let written = lab.path("libzvbi.srt");
    let page = format!("{page:x}");
    Command::line("ffmpeg -nostdin -v error -y -txt_format text -copyts -txt_page")
        .args([&page, "-i"])
        .arg(file)
        .args(["-map", "0:s", "-c:s", "srt"])
        .arg(&written)
        .succeed();
    let mut shown = subtitles(&fs::read_to_string(written).unwrap());
    // It tells a page again each time it comes.
    shown.iter_mut().for_each(|(start, end, _)| (*start, *end) = (*start - origin_ms, None));
    shown.dedup_by(|again, before| again.2 == before.2);
    shown
}

/// Reads `SubRip`, without its styles.
fn subtitles(text: &str) -> Vec<Shown> {
    let cue = |block: &str| {
        let mut lines = block.lines().skip_while(|line| !line.contains(" --> "));
        let (start, end) = lines.next()?.split_once(" --> ")?;
        let lines = lines.map(|line| plain(line).trim().to_owned()).filter(|line| !line.is_empty());
        Some((milliseconds(start), Some(milliseconds(end)), lines.collect()))
    };
    text.split("\n\n").filter_map(cue).collect()
}

fn milliseconds(time: &str) -> u64 {
    let mut numbers = time.trim().split([':', ',', '.']).map(|number| number.parse::<u64>().unwrap());
    let mut next = || numbers.next().unwrap();
    let (hours, minutes, seconds) = (next(), next(), next());
    ((hours * 60 + minutes) * 60 + seconds) * 1_000 + next()
}

/// Without tags in angles and braces.
fn plain(line: &str) -> String {
    let mut depth = 0_usize;
    let mut text = String::new();
    for letter in line.chars() {
        match letter {
            '<' | '{' => depth += 1,
            '>' | '}' => depth = depth.saturating_sub(1),
            letter if depth == 0 => text.push(letter),
            _ => {}
        }
    }
    text
}

/// What GStreamer's decoder says that its windows show, picture by picture.
fn gstreamer_service(lab: &Lab, file: &Path) -> Vec<Shown> {
    let log = lab.path("gstreamer.log");
    let endless = "queue max-size-buffers=0 max-size-bytes=0 max-size-time=0";
    Command::line("gst-launch-1.0 -q filesrc")
        .arg(format!("location={}", file.display()))
        .args("! tsdemux ! h264parse ! avdec_h264 ! ccextractor name=e".split(' '))
        // Its decoder waits for captions with pictures in hand, and for pictures with captions in hand.
        .args(
            format!("! {endless} ! videoconvert ! cc708overlay name=o service-number=1 ! fakesink")
                .split(' '),
        )
        .args(format!("e.caption ! {endless} ! o.cc_sink").split(' '))
        .env("GST_DEBUG", "cc708overlay:6,cc708decoder:6")
        .env("GST_DEBUG_NO_COLOR", "1")
        .env("GST_DEBUG_FILE", &log)
        .succeed();
    // Letters of ISO 8859-1 are bytes in its log.
    let log: String = fs::read(log).unwrap().into_iter().map(char::from).collect();
    // A line for each picture, then what its captions did: letters of windows that are drawn, and how windows are then.
    let mut picture = 0;
    let mut windows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut screens: Vec<(u64, Vec<String>)> = vec![(0, Vec::new())];
    let mut visible: BTreeMap<&str, bool> = BTreeMap::new();
    let mut drawn = "";
    for line in log.lines() {
        if line.contains("in_seg:") {
            picture += 1;
        } else if let Some((_, at)) = line.split_once("show_pango_window: window #") {
            drawn = &at[..2];
            windows.insert(drawn, Vec::new());
        } else if let Some((_, cleared)) = line.split_once("clear_window[") {
            windows.retain(|window, _| !window.ends_with(&cleared[..1]));
        } else if let Some((_, cell)) = line.split_once("window->text[") {
            let (row, letter) = cell.split_once(']').unwrap();
            let row: usize = row.parse().unwrap();
            let letter = letter.split_once('\'').unwrap().1;
            let rows = windows.get_mut(drawn).unwrap();
            rows.resize(rows.len().max(row + 1), String::new());
            rows[row].push_str(letter.strip_suffix('\'').unwrap_or(letter));
        } else if let Some((_, state)) = line.split_once("process_dtvcc_packet: window #") {
            visible.insert(&state[..2], state.contains("deleted:0 visible:1"));
            if state.starts_with("07") {
                let seen = windows.iter().filter(|(window, _)| visible.get(*window) == Some(&true));
                let lines = seen.flat_map(|(_, rows)| rows).map(|row| row.trim().to_owned());
                let lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
                let last = &mut screens.last_mut().unwrap().1;
                // Letters that are painted one after the other are one caption.
                let grows = last.iter().zip(&lines).all(|(last, line)| line.starts_with(last));
                if !last.is_empty() && last.len() == lines.len() && grows {
                    *last = lines;
                } else if *last != lines {
                    // Pictures are counted from 1 when their captions are carried out; 30000/1001 of them are a second.
                    screens.push((((picture - 1) * 1_001 + 15) / 30, lines));
                }
            }
        }
    }
    let ends = screens.iter().skip(1).map(|(at, _)| Some(*at)).chain([None]);
    let shown = screens.iter().zip(ends).map(|((at, lines), end)| (*at, end, lines.clone()));
    shown.filter(|(.., lines)| !lines.is_empty()).collect()
}
