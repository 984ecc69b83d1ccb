//! The root machine with literal times: registration, polls, plans, retries, commands.

use std::time::Duration;

use acquisition::failover::Policy;
use acquisition::{Acquisition, ChannelCounters, Config, Input, Output, Reason, Source};
use protocols::guide::{Event, Schedule};
use protocols::ids::{BootId, ChannelId, Generation};
use protocols::p1_registration::{
    ChannelPlan, Command, FeedPlan, FeedState, FeedTarget, InputState, Order, Poll, SCHEDULES_PER_POLL,
    SourcePlan, ToAcquisition, ToDatabase,
};
use protocols::time::Time;

const ONE: ChannelId = ChannelId(1);
const TWO: ChannelId = ChannelId(2);

/// That of [`channel`].
const POLICY: Policy = Policy { hold_off: Duration::from_secs(2), return_after: Duration::from_secs(30) };

struct Server {
    machine: Acquisition,
    out: Vec<Output>,
}

impl Server {
    fn new() -> Self {
        let config = Config { software: "test".into() };
        Self { machine: Acquisition::new(config, BootId(1), 42), out: Vec::new() }
    }

    /// Registered at 0 ms with `plan`, its first outputs thrown away.
    fn with_plan(plan: FeedPlan) -> Self {
        let mut server = Self::new();
        server.at(0, Input::Tick);
        server.at(0, Input::DatabaseConnected);
        server.at(0, Input::DatabaseMessage(ToAcquisition::Plan(plan)));
        server
    }

    fn at(&mut self, ms: u64, input: Input) -> Vec<Output> {
        self.machine.handle(Time::from_ms(ms), input, &mut self.out);
        std::mem::take(&mut self.out)
    }

    /// The time of the next deadline for `wanted`, having taken all before it.
    fn run_to(&mut self, wanted: &Reason) -> (Time, Vec<Output>) {
        for _ in 0..100 {
            let (at, reason) = self.machine.deadline().expect("a timer always runs");
            self.machine.handle(at, Input::Tick, &mut self.out);
            let out = std::mem::take(&mut self.out);
            if reason == *wanted {
                return (at, out);
            }
        }
        panic!("{wanted:?} never came");
    }
}

fn feed(host: &str, port: u16) -> FeedTarget {
    FeedTarget { host: host.parse().expect("a literal id"), address: ([127, 0, 0, 1], port).into() }
}

fn channel(id: ChannelId, url: &str, feeds: &[FeedTarget]) -> ChannelPlan {
    let input = format!("input-{id}").parse().expect("a literal id");
    ChannelPlan {
        channel: id,
        input,
        url: url.into(),
        service: None,
        backups: vec![],
        hold_off_s: 2,
        return_after_s: 30,
        feeds: feeds.to_vec(),
    }
}

fn plan(generation: u64, channels: Vec<ChannelPlan>) -> FeedPlan {
    FeedPlan { generation: Generation(generation), channels }
}

fn two_channels() -> FeedPlan {
    let feeds = [feed("hall", 1), feed("ward", 2)];
    plan(1, vec![channel(ONE, "testcard:", &feeds), channel(TWO, "file:/a.ts", &feeds)])
}

fn polls(out: &[Output]) -> Vec<&Poll> {
    out.iter()
        .filter_map(|output| match output {
            Output::SendToDatabase(ToDatabase::Poll(poll)) => Some(poll),
            _ => None,
        })
        .collect()
}

fn without_polls(out: Vec<Output>) -> Vec<Output> {
    out.into_iter().filter(|output| !matches!(output, Output::SendToDatabase(ToDatabase::Poll(_)))).collect()
}

fn captures(channel: ChannelId, url: &str) -> Output {
    Output::Capture { channel, sources: vec![Source { url: url.into(), service: None }], policy: POLICY }
}

fn opens(url: &str) -> Output {
    Output::OpenInput { url: url.into() }
}

fn ends(url: &str) -> Output {
    Output::CloseInput { url: url.into() }
}

fn connects(channel: ChannelId, host: &str, port: u16) -> Output {
    let FeedTarget { host, address } = feed(host, port);
    Output::ConnectFeed { channel, host, address }
}

fn closes(channel: ChannelId, host: &str) -> Output {
    Output::CloseFeed { channel, host: host.parse().expect("a literal id") }
}

#[test]
fn it_connects_at_once_registers_and_reports() {
    let mut server = Server::new();
    assert_eq!(server.machine.deadline(), Some((Time::ZERO, Reason::ConnectDatabase)));
    assert_eq!(server.at(0, Input::Tick), [Output::ConnectDatabase]);
    let out = server.at(10, Input::DatabaseConnected);
    assert_eq!(out[0], Output::SendToDatabase(ToDatabase::Register { software: "test".into() }));
    assert_eq!(polls(&out), [&Poll::default()]);
    assert_eq!(server.machine.deadline(), Some((Time::from_ms(510), Reason::Poll)));
}

#[test]
fn a_first_plan_opens_every_input_and_feed() {
    let mut server = Server::new();
    server.at(0, Input::Tick);
    server.at(0, Input::DatabaseConnected);
    let out = server.at(0, Input::DatabaseMessage(ToAcquisition::Plan(two_channels())));
    let wanted = [
        captures(ONE, "testcard:"),
        opens("testcard:"),
        connects(ONE, "hall", 1),
        connects(ONE, "ward", 2),
        captures(TWO, "file:/a.ts"),
        opens("file:/a.ts"),
        connects(TWO, "hall", 1),
        connects(TWO, "ward", 2),
    ];
    assert_eq!(without_polls(out), wanted);
}

#[test]
fn a_changed_plan_touches_only_what_changed() {
    let mut server = Server::with_plan(two_channels());
    // Channel 1: `ward` moves and `roof` is new. Channel 2 stays, save that its generation does not.
    let feeds = [feed("hall", 1), feed("ward", 9), feed("roof", 3)];
    let mut next = two_channels();
    next.generation = Generation(2);
    next.channels[0].feeds = feeds.to_vec();
    let out = server.at(100, Input::DatabaseMessage(ToAcquisition::Plan(next.clone())));
    assert_eq!(polls(&out)[0].generation, Generation(2));
    let wanted = [closes(ONE, "ward"), connects(ONE, "roof", 3), connects(ONE, "ward", 9)];
    assert_eq!(without_polls(out), wanted);

    next.channels[1].url = "file:/b.ts".into();
    let out = server.at(200, Input::DatabaseMessage(ToAcquisition::Plan(next.clone())));
    assert_eq!(without_polls(out), [ends("file:/a.ts"), captures(TWO, "file:/b.ts"), opens("file:/b.ts")]);

    next.channels.remove(0);
    let out = server.at(300, Input::DatabaseMessage(ToAcquisition::Plan(next.clone())));
    let gone = [closes(ONE, "hall"), closes(ONE, "roof"), closes(ONE, "ward")];
    assert_eq!(
        without_polls(out),
        [&gone[..], &[Output::Forget { channel: ONE }, ends("testcard:")]].concat()
    );

    let out = server.at(400, Input::DatabaseMessage(ToAcquisition::Plan(next)));
    assert!(out.is_empty(), "the same plan again does nothing: {out:?}");
}

#[test]
fn changes_are_reported_at_once_and_bunched() {
    let mut server = Server::with_plan(two_channels());
    let out = server.at(1000, Input::InputState { channel: ONE, state: InputState::Delivering });
    assert_eq!(polls(&out)[0].channels[0].input, InputState::Delivering);
    let out = server.at(1005, Input::InputState { channel: TWO, state: InputState::Delivering });
    assert!(out.is_empty());
    let out = server.at(1006, Input::FeedConnected { channel: TWO, host: "hall".parse().unwrap() });
    assert!(out.is_empty());
    assert_eq!(server.machine.deadline(), Some((Time::from_ms(1020), Reason::Poll)));
    let out = server.at(1020, Input::Tick);
    let report = &polls(&out)[0].channels[1];
    assert_eq!((&report.input, &report.feeds[0].state), (&InputState::Delivering, &FeedState::Connected));
    let out = server.at(1300, Input::InputState { channel: ONE, state: InputState::Delivering });
    assert!(out.is_empty(), "nothing has changed");
}

#[test]
fn a_silent_database_server_is_dropped_and_nothing_else() {
    let mut server = Server::with_plan(two_channels());
    for (channel, host) in [(ONE, "hall"), (ONE, "ward"), (TWO, "hall"), (TWO, "ward")] {
        server.at(1, Input::FeedConnected { channel, host: host.parse().unwrap() });
    }
    server.at(1000, Input::DatabaseMessage(ToAcquisition::Polled { commands: vec![] }));
    let (at, out) = server.run_to(&Reason::DatabaseSilence);
    assert_eq!((at, &out[..]), (Time::from_ms(3000), &[Output::DropDatabase][..]));
    let (at, out) = server.run_to(&Reason::ConnectDatabase);
    assert!(at > Time::from_ms(3000) && at <= Time::from_ms(3200), "{at}");
    assert_eq!(out[0], Output::ConnectDatabase);
    let out = server.at(3300, Input::DatabaseConnected);
    assert_eq!(polls(&out)[0].channels.len(), 2, "the plan is still carried out");
    let out = server.at(3310, Input::DatabaseMessage(ToAcquisition::Plan(two_channels())));
    assert!(without_polls(out).is_empty());
}

#[test]
fn a_database_server_that_never_answers_is_tried_again_ever_more_slowly() {
    let mut server = Server::new();
    server.at(0, Input::Tick);
    let mut waits = Vec::new();
    let mut now = 0;
    for _ in 0..8 {
        server.at(now, Input::DatabaseClosed { cause: "refused".into() });
        let (at, out) = server.run_to(&Reason::ConnectDatabase);
        assert_eq!(out, [Output::ConnectDatabase]);
        waits.push(at.since(Time::from_ms(now)).as_millis());
        now = at.as_us().div_ceil(1000);
    }
    assert!(waits[0] <= 200 && waits[7] >= 2500 && waits[7] <= 5000, "{waits:?}");
    let (at, out) = server.run_to(&Reason::DatabaseTimeout);
    assert_eq!(out, [Output::DropDatabase], "an attempt that hangs is given up, at {at}");
}

#[test]
fn an_unreachable_push_server_is_reported_and_retried_alone() {
    let mut server = Server::with_plan(two_channels());
    let (hall, ward) = (feed("hall", 1).host, feed("ward", 2).host);
    for host in [&hall, &ward] {
        server.at(1, Input::FeedConnected { channel: ONE, host: host.clone() });
        server.at(1, Input::FeedConnected { channel: TWO, host: host.clone() });
    }
    let cause = "connection refused".to_owned();
    let out = server.at(7000, Input::FeedFailed { channel: ONE, host: hall.clone(), cause: cause.clone() });
    assert_eq!(without_polls(out.clone()), []);
    assert_eq!(polls(&out)[0].channels[0].feeds[0].state, FeedState::Unreachable { cause });
    assert_eq!(polls(&out)[0].channels[0].feeds[1].state, FeedState::Connected);
    let (at, out) = server.run_to(&Reason::ConnectFeed(ONE, hall.clone()));
    assert!(at <= Time::from_ms(7200), "{at}");
    assert_eq!(without_polls(out), [connects(ONE, "hall", 1)]);
    let (at, out) = server.run_to(&Reason::FeedTimeout(ONE, hall));
    assert_eq!(without_polls(out), [closes(ONE, "hall")]);
    assert!(at > Time::from_ms(10_000), "{at}");
}

#[test]
fn a_push_server_that_returns_is_given_its_other_channels_at_once() {
    let mut server = Server::with_plan(two_channels());
    let hall = feed("hall", 1).host;
    for at in [100, 200, 300, 400, 500, 600] {
        for channel in [ONE, TWO] {
            server.at(at, Input::FeedFailed { channel, host: hall.clone(), cause: "away".into() });
        }
    }
    server.at(700, Input::FeedConnected { channel: ONE, host: hall.clone() });
    let (at, out) = server.run_to(&Reason::ConnectFeed(TWO, hall));
    assert!(at <= Time::from_ms(900), "{at}");
    assert_eq!(without_polls(out), [connects(TWO, "hall", 1)]);
}

#[test]
fn a_push_server_that_refuses_is_asked_again_within_half_a_second() {
    let mut server = Server::with_plan(two_channels());
    let hall = feed("hall", 1).host;
    let mut now = 0;
    for _ in 0..10 {
        let cause = "not configured".to_owned();
        server.at(now, Input::FeedRefused { channel: ONE, host: hall.clone(), cause });
        let (at, _) = server.run_to(&Reason::ConnectFeed(ONE, hall.clone()));
        assert!(at.since(Time::from_ms(now)).as_millis() <= 500, "{at}");
        now = at.as_us().div_ceil(1000);
    }
}

#[test]
fn a_closed_input_is_opened_again_with_backoff_and_a_stalled_one_after_a_while() {
    let mut server = Server::with_plan(two_channels());
    let out =
        server.at(100, Input::InputClosed { url: "file:/a.ts".into(), cause: "/a.ts: no such file".into() });
    let failed = InputState::Failed { cause: "/a.ts: no such file".into() };
    assert_eq!(polls(&out)[0].channels[1].input, failed);
    let (at, out) = server.run_to(&Reason::OpenInput("file:/a.ts".into()));
    assert!(at <= Time::from_ms(300), "{at}");
    assert_eq!(without_polls(out), [opens("file:/a.ts")]);

    server.at(1000, Input::InputFlows { url: "testcard:".into() });
    let out = server.at(9000, Input::InputStalled { url: "testcard:".into() });
    assert!(without_polls(out).is_empty(), "a stalled input stays open");
    let (at, out) = server.run_to(&Reason::OpenInput("testcard:".into()));
    assert_eq!(at, Time::from_ms(14_000));
    assert_eq!(without_polls(out), [opens("testcard:")]);
}

#[test]
fn an_input_that_has_come_to_its_end_is_left_alone_until_told() {
    let mut server = Server::with_plan(two_channels());
    server.at(100, Input::InputFinished { url: "file:/a.ts".into(), cause: "played to its end".into() });
    let retried = (0..50).any(|_| {
        let (at, reason) = server.machine.deadline().unwrap();
        server.at(
            at.as_us().div_ceil(1000),
            Input::DatabaseMessage(ToAcquisition::Polled { commands: vec![] }),
        );
        server.at(at.as_us().div_ceil(1000), Input::Tick);
        reason == Reason::OpenInput("file:/a.ts".into())
    });
    assert!(!retried);
}

#[test]
fn a_command_is_carried_out_once_and_its_result_reported_until_heard() {
    let mut server = Server::with_plan(two_channels());
    let restart = |id, input: &str| Command { id, order: Order::RestartInput(input.parse().unwrap()) };
    let commands = vec![restart(5, "input-2"), restart(6, "nowhere")];
    let polled = Input::DatabaseMessage(ToAcquisition::Polled { commands });
    let out = server.at(1000, polled.clone());
    assert_eq!(out[0], opens("file:/a.ts"));
    let done = polls(&out)[0].done.clone();
    assert_eq!((done[0].id, done[0].outcome.is_ok()), (5, true));
    assert!(done[1].outcome.as_ref().unwrap_err().contains("`nowhere`"), "{done:?}");
    let out = server.at(2000, polled);
    assert_eq!(polls(&out)[0].done, done, "the report was lost and is made again");
    assert!(without_polls(out).is_empty(), "the command is not carried out again");
}

#[test]
fn counters_ride_the_next_poll() {
    let mut server = Server::with_plan(two_channels());
    let dropped_packets = [("ward".parse().unwrap(), 3)].into();
    let counters =
        ChannelCounters { packets: 9, rate_bps: 5_000_000, dropped_packets, ..ChannelCounters::default() };
    assert!(server.at(100, Input::Counters { channel: ONE, counters }).is_empty());
    let (_, out) = server.run_to(&Reason::Poll);
    let report = &polls(&out)[0].channels[0];
    assert_eq!((report.packets, report.rate_bps, report.feeds[1].dropped_packets), (9, 5_000_000, 3));
}

#[test]
fn events_of_what_the_plan_no_longer_holds_are_counted_and_nothing_more() {
    let mut server = Server::with_plan(plan(1, vec![]));
    let host = feed("hall", 1).host;
    for input in [
        Input::FeedConnected { channel: ONE, host: host.clone() },
        Input::FeedFailed { channel: ONE, host, cause: String::new() },
        Input::InputClosed { url: "testcard:".into(), cause: String::new() },
        Input::Counters { channel: ONE, counters: ChannelCounters::default() },
    ] {
        assert!(server.at(1, input).is_empty());
    }
    assert_eq!(server.machine.ignored_events(), 4);
}

fn schedule(channel: ChannelId) -> Schedule {
    let event = Event { start_unix_s: 1_800_000_000, duration_s: 60, ..Event::default() };
    Schedule { channel, from_unix_s: 1_800_000_000, until_unix_s: 1_800_003_600, events: vec![event] }
}

fn schedules(out: &[Output]) -> Vec<&Schedule> {
    out.iter()
        .filter_map(|output| match output {
            Output::SendToDatabase(ToDatabase::Guide(schedule)) => Some(schedule),
            _ => None,
        })
        .collect()
}

#[test]
fn what_a_multiplex_announces_goes_out_with_the_next_poll_and_again_on_a_new_connection() {
    let mut server = Server::with_plan(two_channels());
    server.run_to(&Reason::Poll);
    let guide = |channel| Input::Guide { schedule: schedule(channel), unix_s: 1_800_000_000 };
    assert_eq!(server.at(100, guide(ONE)), []);
    let (_, out) = server.run_to(&Reason::Poll);
    assert_eq!((polls(&out).len(), schedules(&out)), (1, vec![&schedule(ONE)]));
    assert_eq!(server.at(700, guide(ONE)), []);
    let (at, out) = server.run_to(&Reason::Poll);
    assert!(schedules(&out).is_empty(), "it is known already");
    let ms = u64::try_from(at.since_origin().as_millis()).unwrap();
    server.at(ms + 1, Input::DatabaseClosed { cause: "gone".into() });
    server.run_to(&Reason::ConnectDatabase);
    let out = server.at(ms + 1_000, Input::DatabaseConnected);
    assert_eq!(schedules(&out), [&schedule(ONE)], "a database server that was restarted may have lost it");
    server.at(ms + 1_001, guide(ChannelId(9)));
    assert_eq!(server.machine.ignored_events(), 1, "channel 9 is not in the plan");
}

#[test]
fn a_guide_of_many_channels_is_told_a_few_at_a_time() {
    let channels = (1..=20).map(|id| channel(ChannelId(id), "testcard:", &[])).collect();
    let mut server = Server::with_plan(plan(1, channels));
    server.run_to(&Reason::Poll);
    for id in 1..=20 {
        server.at(100, Input::Guide { schedule: schedule(ChannelId(id)), unix_s: 1_800_000_000 });
    }
    let mut told = Vec::new();
    for _ in 0..5 {
        let (at, out) = server.run_to(&Reason::Poll);
        let heard = Input::DatabaseMessage(ToAcquisition::Polled { commands: Vec::new() });
        server.at(u64::try_from(at.since_origin().as_millis()).unwrap(), heard);
        assert_eq!(schedules(&out).len(), SCHEDULES_PER_POLL);
        told.extend(schedules(&out).iter().map(|schedule| schedule.channel.0));
    }
    assert_eq!(told, (1..=20).collect::<Vec<_>>());
}

/// A multiplex of three channels.
fn multiplex() -> FeedPlan {
    let service = |id, service| ChannelPlan { service: Some(service), ..channel(id, "dvb://0", &[]) };
    plan(1, vec![service(ONE, 1), service(TWO, 2), channel(ChannelId(3), "testcard:", &[])])
}

#[test]
fn channels_of_one_url_share_an_input_that_is_opened_first_and_closed_last() {
    let mut server = Server::with_plan(plan(0, vec![]));
    let out = without_polls(server.at(1, Input::DatabaseMessage(ToAcquisition::Plan(multiplex()))));
    assert_eq!(out.iter().filter(|output| **output == opens("dvb://0")).count(), 1, "{out:?}");
    assert_eq!(out.len(), 5, "{out:?}");

    // Another service of the same multiplex is no reason to tune anew.
    let mut next = multiplex();
    next.channels[1].service = Some(9);
    let sources = vec![Source { url: "dvb://0".into(), service: Some(9) }];
    let out = server.at(2, Input::DatabaseMessage(ToAcquisition::Plan(next.clone())));
    assert_eq!(without_polls(out), [Output::Capture { channel: TWO, sources, policy: POLICY }]);

    next.channels.remove(0);
    let out = server.at(3, Input::DatabaseMessage(ToAcquisition::Plan(next.clone())));
    assert_eq!(without_polls(out), [Output::Forget { channel: ONE }]);
    next.channels.remove(0);
    let out = server.at(4, Input::DatabaseMessage(ToAcquisition::Plan(next)));
    assert_eq!(without_polls(out), [Output::Forget { channel: TWO }, ends("dvb://0")]);
}

#[test]
fn backups_are_opened_with_the_channel_and_what_is_not_in_use_does_not_fail_it() {
    let source = |url: &str| Source { url: url.into(), service: None };
    let mut site = plan(1, vec![channel(ONE, "dvb://0", &[])]);
    site.channels[0].backups = ["b", "c"]
        .map(|id| SourcePlan { input: id.parse().unwrap(), url: format!("file:{id}"), service: None })
        .to_vec();
    let mut server = Server::with_plan(plan(0, vec![]));
    let sources = vec![source("dvb://0"), source("file:b"), source("file:c")];
    let out = server.at(1, Input::DatabaseMessage(ToAcquisition::Plan(site.clone())));
    let capture = Output::Capture { channel: ONE, sources, policy: POLICY };
    assert_eq!(without_polls(out), [capture, opens("dvb://0"), opens("file:b"), opens("file:c")]);
    server.at(100, Input::InputState { channel: ONE, state: InputState::Delivering });
    let report = |server: &Server| server.machine.report().channels.remove(0);

    let gone = |url: &str| Input::InputClosed { url: url.into(), cause: "gone".into() };
    server.at(200, gone("file:b"));
    assert_eq!((report(&server).input, report(&server).source), (InputState::Delivering, 0));
    server.at(300, gone("dvb://0"));
    assert_eq!(report(&server).input, InputState::Failed { cause: "gone".into() });
    let cause = Some("gone".to_owned());
    let switched = Input::Switched { channel: ONE, source: source("file:c"), switches: 1, cause };
    server.at(2_300, switched.clone());
    server.at(2_350, Input::InputState { channel: ONE, state: InputState::Delivering });
    let told = report(&server);
    assert_eq!((told.input, told.source, told.switches), (InputState::Delivering, 2, 1));
    server.at(2_400, gone("dvb://0"));
    assert_eq!(report(&server).input, InputState::Delivering);

    // The one in use stays so when another leaves, and a superuser may have any of them opened anew.
    site.channels[0].backups.remove(0);
    let out = server.at(2_500, Input::DatabaseMessage(ToAcquisition::Plan(site.clone())));
    let sources = vec![source("dvb://0"), source("file:c")];
    let capture = Output::Capture { channel: ONE, sources: sources.clone(), policy: POLICY };
    assert_eq!(without_polls(out), [ends("file:b"), capture]);
    assert_eq!((report(&server).input, report(&server).source), (InputState::Delivering, 1));
    let command = Command { id: 1, order: Order::RestartInput("c".parse().unwrap()) };
    let out = server.at(2_600, Input::DatabaseMessage(ToAcquisition::Polled { commands: vec![command] }));
    assert_eq!(without_polls(out), [opens("file:c")]);
    // Other times are told alone.
    site.channels[0].hold_off_s = 9;
    let out = server.at(2_700, Input::DatabaseMessage(ToAcquisition::Plan(site)));
    let policy = Policy { hold_off: Duration::from_secs(9), ..POLICY };
    assert_eq!(without_polls(out), [Output::Capture { channel: ONE, sources, policy }]);
    // What left the plan is not heard.
    let ignored = server.machine.ignored_events();
    server.at(2_800, Input::Switched { channel: ONE, source: source("file:b"), switches: 2, cause: None });
    assert_eq!((server.machine.ignored_events(), report(&server).source), (ignored + 1, 1));
}

#[test]
fn an_input_that_fails_fails_all_its_channels_and_a_channel_alone_fails_no_other() {
    let mut server = Server::with_plan(multiplex());
    for channel in [ONE, TWO, ChannelId(3)] {
        server.at(100, Input::InputState { channel, state: InputState::Delivering });
    }
    let states = |server: &Server| -> Vec<InputState> {
        server.machine.report().channels.into_iter().map(|channel| channel.input).collect()
    };
    let missing = InputState::Failed { cause: "carries services 2, 3, not 1".into() };
    let out = server.at(200, Input::InputState { channel: ONE, state: missing.clone() });
    assert!(without_polls(out).is_empty(), "the input stays open");
    assert_eq!(states(&server), [missing, InputState::Delivering, InputState::Delivering]);
    assert!(server.machine.deadline().is_some_and(|(_, reason)| reason == Reason::Poll));

    let cause = "the frontend is gone".to_owned();
    server.at(300, Input::InputClosed { url: "dvb://0".into(), cause: cause.clone() });
    let failed = InputState::Failed { cause };
    assert_eq!(states(&server), [failed.clone(), failed.clone(), InputState::Delivering]);
    // Who comes to an input that is not open hears why.
    let mut next = multiplex();
    next.channels[2].url = "dvb://0".into();
    server.at(310, Input::DatabaseMessage(ToAcquisition::Plan(next)));
    assert_eq!(states(&server), [failed.clone(), failed.clone(), failed]);
    let (_, out) = server.run_to(&Reason::OpenInput("dvb://0".into()));
    assert_eq!(without_polls(out), [opens("dvb://0")]);
}

#[test]
fn a_shared_input_is_restarted_once() {
    let mut server = Server::with_plan(multiplex());
    let command = Command { id: 5, order: Order::RestartInput("input-2".parse().unwrap()) };
    let polled = Input::DatabaseMessage(ToAcquisition::Polled { commands: vec![command] });
    assert_eq!(without_polls(server.at(1000, polled)), [opens("dvb://0")]);
}
