//! A multiplex announces a week of eight services: decoders that nobody here wrote read what we read, and the site tells it all.
#![expect(clippy::disallowed_methods, reason = "live tests are all effects: real clocks and sockets")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::programme_guide::{Service, Show, tables, weave};
use lab::source::Clip;
use lab::{Command, Lab, timeline};
use media::packet::Packet;
use media::section::{Section, SectionAssembler};
use media::si::eit::{self, Eit};

/// The services; the first of them is the one that has pictures.
const SERVICES: u16 = 8;
const SHOWS: i64 = 7 * 48;
const HALF_HOUR_S: i64 = 1_800;
const MULTIPLEX: u16 = 1;
/// A packet of tables behind so many of the stream.
const EVERY: usize = 1;
/// The one whose packages bring GStreamer's bindings; another may stand before it in the path.
const SYSTEMS_PYTHON: &str = "/usr/bin/python3";
/// Two rounds of the tables, and what it takes to start.
const PATIENCE: Duration = Duration::from_secs(90);

/// Service and event; beginning, length, title.
type Told = BTreeMap<(u16, u16), (i64, u32, String)>;

/// Goal: service, number, beginning, length and title of every event, and its whole description, are what GStreamer's decoder finds.
/// Method: tables are woven into a stream by a generator that was written from the standard; all three agree.
#[test]
fn a_week_of_events_is_what_gstreamer_reads() {
    const NAME: &str = "a_week_of_events_is_what_gstreamer_reads";
    let Some(lab) = Lab::open(NAME, &["ffmpeg", SYSTEMS_PYTHON]) else { return };
    let (file, services) = multiplex(&lab);
    let script = lab.path("events.py");
    std::fs::write(&script, GSTREAMER).unwrap();
    let output = Command::new(SYSTEMS_PYTHON).arg(&script).arg(&file).output();
    if output.status.code() == Some(77) {
        lab::skip::report(NAME, "Python has no GstMpegts here (python3-gi, gir1.2-gst-plugins-bad-1.0)");
        return;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let mut theirs = Told::new();
    let mut theirs_long: BTreeMap<(u16, u16), String> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [service, event, start, length, title, long] = fields[..] else { panic!("{line}") };
        let key = (service.parse().unwrap(), event.parse().unwrap());
        theirs.insert(key, (start.parse().unwrap(), length.parse().unwrap(), title.to_owned()));
        theirs_long.insert(key, long.to_owned());
    }
    let (ours, ours_long) = read(&std::fs::read(&file).unwrap());
    lab.note(format_args!("GStreamer read {} events, we {}", theirs.len(), ours.len()));
    assert_eq!(theirs, made(&services));
    assert_eq!(ours, theirs);
    assert_eq!(ours_long, theirs_long);
}

/// Goal: all that the multiplex announces for the channels that are taken from it comes out of the client as XMLTV.
/// Method: a site in one process, whose only input is that multiplex, of which two channels are made; what the second one shows
/// is only known from its tables.
#[test]
fn a_week_of_events_comes_out_as_xmltv() {
    let Some(lab) = Lab::open("a_week_of_events_comes_out_as_xmltv", &["ffmpeg", "xmllint"]) else { return };
    let (file, services) = multiplex(&lab);
    let host = lab.host("alone");
    let home = lab.path("home");
    std::fs::create_dir(&home).unwrap();
    let topology = lab.path("topology.toml");
    std::fs::write(&topology, SITE.replace("FILE", &file.display().to_string())).unwrap();
    let ours = |line: &str| Command::line(line).env("HOME", &home).env("XDG_CACHE_HOME", home.join("cache"));
    let begun = Instant::now();
    let mut up =
        host.spawn(ours("masthead up --topology").arg(&topology).arg("--data").arg(lab.path("data")));
    let expected: BTreeSet<String> = services
        .iter()
        .take(2)
        .flat_map(|service| service.shows.iter().map(|show| show.title.clone()))
        .collect();
    let xml = lab.path("guide.xml");
    timeline::until("every event is in the guide", PATIENCE, || {
        let listed = host.output(ours("masthead-client guide --xmltv --from=-3h --until=+10d"));
        std::fs::write(&xml, &listed.stdout).unwrap();
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let titles: BTreeSet<String> = text.split("<title").skip(1).filter_map(title).collect();
        titles.len() == expected.len() && titles == expected
    });
    lab.note(format_args!("{} events after {:.1} s", expected.len(), begun.elapsed().as_secs_f64()));
    let document_type = ["--noout", "--dtdvalid", "/usr/share/xmltv/xmltv.dtd"];
    let well_formed = &document_type[..if Path::new(document_type[2]).exists() { 3 } else { 1 }];
    Command::new("xmllint").args(well_formed).arg(&xml).succeed();
    let status = up.interrupt(Duration::from_secs(5));
    assert!(status.success(), "{status}\n{}", up.last_words());
}

/// What stands between the end of a tag and the next one.
fn title(behind: &str) -> Option<String> {
    let (_, text) = behind.split_once('>')?;
    text.split_once('<').map(|(title, _)| title.to_owned())
}

/// The multiplex as a file, and what it announces.
fn multiplex(lab: &Lab) -> (PathBuf, Vec<Service>) {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let first = now - now.rem_euclid(HALF_HOUR_S);
    let services: Vec<Service> = (1..=SERVICES).map(|id| service(id, first)).collect();
    let file = lab.path("multiplex.ts");
    let clip = Clip::five_megabits(12).bytes();
    std::fs::write(&file, weave(&clip, &tables(MULTIPLEX, &services, now), EVERY)).unwrap();
    (file, services)
}

fn service(id: u16, first: i64) -> Service {
    let show = |n: i64| Show {
        id: u16::try_from(n).unwrap(),
        start_unix_s: first + n * HALF_HOUR_S,
        duration_s: 1_800,
        title: format!("Sendung {n} für {id}"),
        text: format!("Über {n}."),
        description: format!("Ein längerer Text über die Sendung {n}, ").repeat(3),
    };
    Service { id, name: format!("Prógramm {id}"), number: id, shows: (0..SHOWS).map(show).collect() }
}

fn made(services: &[Service]) -> Told {
    let told = |service: &Service, show: &Show| {
        ((service.id, show.id), (show.start_unix_s, show.duration_s, show.title.clone()))
    };
    services.iter().flat_map(|service| service.shows.iter().map(|show| told(service, show))).collect()
}

/// As we read it, with the descriptions.
fn read(stream: &[u8]) -> (Told, BTreeMap<(u16, u16), String>) {
    let (mut told, mut long) = (Told::new(), BTreeMap::new());
    let mut assembler = SectionAssembler::default();
    let packets = stream.as_chunks().0.iter().filter_map(|bytes| Packet::parse(bytes).ok());
    for packet in packets.filter(|packet| packet.pid() == eit::PID) {
        assembler.push(packet, |bytes| {
            let eit = Section::parse(bytes).and_then(|section| Eit::parse(&section)).unwrap();
            for event in eit.events {
                let texts = event.texts_in(Some("deu")).unwrap();
                let key = (eit.service_id, event.id);
                told.insert(key, (event.start_unix_s.unwrap(), event.duration_s, texts.title.clone()));
                long.insert(key, texts.long.clone());
            }
        });
    }
    (told, long)
}

const SITE: &str = r#"[database_server]
address = "127.0.0.1"

[[acquisition_server]]
id = "here"

  [[acquisition_server.input]]
  id = "mux"
  url = "file:FILE"

[[channel]]
id = 1
name = "One"
acquisition_server = "here"
input = "mux"
service = 1

[[channel]]
id = 2
name = "Two"
acquisition_server = "here"
input = "mux"
service = 2

[[push_server]]
id = "here"
address = "127.0.0.1"
channels = [1, 2]

  [[push_server.destination]]
  address = "127.255.255.255"
  serves = ["127.0.0.0/8"]
"#;

/// Prints service, event, beginning, length, title and description of every event that GStreamer's `tsparse` finds in a file.
const GSTREAMER: &str = r#"
import sys
try:
    import gi
    gi.require_version("Gst", "1.0")
    gi.require_version("GstMpegts", "1.0")
    from gi.repository import Gst, GstMpegts
except (ImportError, ValueError):
    sys.exit(77)
import datetime
Gst.init(None)
GstMpegts.initialize()
pipeline = Gst.parse_launch('filesrc name=file ! tsparse ! fakesink')
pipeline.get_by_name("file").set_property("location", sys.argv[1])
pipeline.set_state(Gst.State.PLAYING)
bus = pipeline.get_bus()
while True:
    message = bus.timed_pop_filtered(60 * Gst.SECOND, Gst.MessageType.ELEMENT | Gst.MessageType.EOS | Gst.MessageType.ERROR)
    if message is None or message.type == Gst.MessageType.ERROR:
        sys.exit(1)
    if message.type == Gst.MessageType.EOS:
        break
    section = GstMpegts.message_parse_mpegts_section(message)
    if section is None or section.section_type != GstMpegts.SectionType.EIT:
        continue
    eit = section.get_eit()
    for event in eit.events if eit else []:
        title, long = "", ""
        for descriptor in event.descriptors:
            if descriptor.tag == 0x4D:
                title = descriptor.parse_dvb_short_event()[2]
            if descriptor.tag == 0x4E:
                long += descriptor.parse_dvb_extended_event()[1].text
        start = datetime.datetime.fromisoformat(event.start_time.to_iso8601_string().replace("Z", "+00:00"))
        print(section.subtable_extension, event.event_id, int(start.timestamp()), event.duration, title, long, sep="\t")
"#;
