//! The driver: waits for an event, the machine's deadline or shutdown, asks the machine, carries out what it says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use link::metrics_port::Question;
use link::random;
use link::shutdown::Shutdown;
use link::supervision::Supervision;
use protocols::health::HealthReport;
use protocols::ids::{ChannelId, HostId};
use protocols::p1_registration::{InputState, ToDatabase};
use protocols::time::Time;
use protocols::topology::InputUrl;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::failover::Policy;
use crate::health_report::{HealthLog, Line};
use crate::shell::Context;
use crate::shell::channel::Channel;
use crate::shell::database::DatabaseHandle;
use crate::shell::feed;
use crate::shell::input::{CLOSING_PATIENCE, Closing, InputHandle};
use crate::shell::metrics::Measures;
use crate::shell::task::Task;
use crate::splitter::Outlet;
use crate::{Acquisition, Config, Input, Output, Source};

/// Events that wait for the driver at most; tasks wait when it is full, counters are left out.
pub(crate) const MAX_EVENTS: usize = 1024;
/// How long inputs get to end at shutdown.
const END_PATIENCE: Duration = Duration::from_millis(700);

/// Numbers the attempts, so that what an abandoned one still says is told apart.
pub(crate) type Run = u64;

/// What a task has to say: an input for the machine, if the task is still the one that counts.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) run: Run,
    pub(crate) input: Input,
}

/// The machine and everything that it has started.
pub(crate) struct Driver {
    context: Arc<Context>,
    machine: Acquisition,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    last_run: Run,
    database: Option<(Run, DatabaseHandle)>,
    channels: BTreeMap<ChannelId, Taken>,
    /// By URL.
    inputs: BTreeMap<String, InputHandle>,
    last_outlet: u64,
    closing: Closing,
    feeds: BTreeMap<(ChannelId, HostId), (Run, Task)>,
    spoken: Spoken,
}

/// A channel and the inputs that it is taken from, by URL.
struct Taken {
    channel: Arc<Channel>,
    outlets: Vec<(Outlet, Source)>,
}

/// What was logged last, so that only changes are.
#[derive(Debug, Default)]
struct Spoken {
    database: String,
    inputs: BTreeMap<ChannelId, InputState>,
    health: BTreeMap<ChannelId, HealthLog>,
    feeds: BTreeMap<(ChannelId, HostId), String>,
    /// Why inputs are not to be had that channels would be taken from if need be.
    spares: BTreeMap<(ChannelId, String), String>,
}

impl Driver {
    pub(crate) fn new(context: Context) -> Self {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let config = Config { software: concat!("masthead ", env!("CARGO_PKG_VERSION")).to_owned() };
        Self {
            machine: Acquisition::new(config, context.boot_id, random::seed()),
            context: Arc::new(context),
            events,
            sender,
            last_run: 0,
            database: None,
            channels: BTreeMap::new(),
            inputs: BTreeMap::new(),
            last_outlet: 0,
            closing: watch::Sender::new(0),
            feeds: BTreeMap::new(),
            spoken: Spoken::default(),
        }
    }

    /// Until `shutdown`; then everything is ended within a second.
    pub(crate) async fn run(
        mut self,
        mut asked: mpsc::Receiver<Question<Measures>>,
        mut supervision: Supervision,
        shutdown: &Shutdown,
    ) {
        let (clock, started) = (self.context.clock, Instant::now());
        let mut out = Vec::new();
        loop {
            let deadline = self.machine.deadline().map(|(at, _)| at);
            let input = tokio::select! {
                () = shutdown.requested() => break,
                Some(event) = self.events.recv() => match self.heard(event) {
                    Some(input) => input,
                    None => continue,
                },
                () = clock.reach(deadline) => Input::Tick,
                () = supervision.due() => {
                    supervision.alive();
                    continue;
                }
                Some(question) = asked.recv() => {
                    // Lost where nobody waits for it any more.
                    let _ = question.send(self.measures(started));
                    continue;
                }
            };
            self.machine.handle(clock.now(), input, &mut out);
            for output in out.drain(..) {
                self.carry_out(output);
            }
        }
        self.feeds.clear();
        self.database = None;
        // Those that are being left already count, too; one that does not end is no reason to stay.
        self.inputs.into_values().for_each(|input| input.leave(&self.closing, END_PATIENCE));
        let _ = timeout(END_PATIENCE, self.closing.subscribe().wait_for(|count| *count == 0)).await;
    }

    fn measures(&self, started: Instant) -> Measures {
        Measures {
            started,
            registered: self.machine.is_registered(),
            ignored_events: self.machine.ignored_events(),
            guide_events_left_out: self.machine.guide_events_left_out(),
            report: self.machine.report(),
        }
    }

    /// The event's input, unless the task that sent it no longer counts.
    fn heard(&mut self, event: Event) -> Option<Input> {
        let Event { run, input } = event;
        let counts = match &input {
            Input::DatabaseConnected | Input::DatabaseMessage(_) | Input::DatabaseClosed { .. } => {
                self.database.as_ref().is_some_and(|(current, _)| *current == run)
            }
            Input::FeedConnected { channel, host }
            | Input::FeedFailed { channel, host, .. }
            | Input::FeedRefused { channel, host, .. } => {
                self.feeds.get(&(*channel, host.clone())).is_some_and(|(current, _)| *current == run)
            }
            Input::InputState { .. } | Input::Guide { .. } => {
                self.inputs.values().any(|input| input.run == run)
            }
            Input::InputFlows { url }
            | Input::InputStalled { url }
            | Input::InputClosed { url, .. }
            | Input::InputFinished { url, .. } => self.inputs.get(url).is_some_and(|input| input.run == run),
            // The machine knows by the source whether it still does.
            Input::Switched { .. } | Input::Counters { .. } | Input::Tick => true,
        };
        if !counts {
            return None;
        }
        self.spoken.note(self.context.clock.now(), &input);
        match &input {
            Input::InputClosed { url, cause } | Input::InputFinished { url, cause } => {
                for (channel, taken) in &self.channels {
                    let Some((outlet, _)) = taken.outlets.iter().find(|(_, source)| source.url == *url)
                    else {
                        continue;
                    };
                    if taken.channel.in_use() == Some(*outlet) {
                        self.spoken.input(*channel, InputState::Failed { cause: cause.clone() });
                    } else {
                        self.spoken.spare(*channel, url, cause);
                    }
                }
            }
            Input::DatabaseClosed { .. } => self.database = None,
            Input::FeedFailed { channel, host, .. } | Input::FeedRefused { channel, host, .. } => {
                self.feeds.remove(&(*channel, host.clone()));
            }
            _ => {}
        }
        Some(input)
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::ConnectDatabase => {
                let run = self.next_run();
                let handle = DatabaseHandle::connect(self.context.clone(), run, self.sender.clone());
                self.database = Some((run, handle));
            }
            Output::SendToDatabase(message) => self.send_to_database(message),
            Output::DropDatabase => {
                self.spoken.database("gave no answer in time");
                self.database = None;
            }
            Output::Capture { channel, sources, policy } => self.capture(channel, sources, policy),
            Output::Forget { channel } => {
                info!(%channel, "channel left the plan");
                self.spoken.inputs.remove(&channel);
                self.spoken.health.remove(&channel);
                self.spoken.spares.retain(|(spare, _), _| *spare != channel);
                if let Some(taken) = self.channels.remove(&channel) {
                    self.detach(&taken.outlets);
                }
            }
            Output::OpenInput { url } => {
                let run = self.next_run();
                self.input(url).open(run);
            }
            Output::CloseInput { url } => {
                if let Some(input) = self.inputs.remove(&url) {
                    // Ends by itself; only what is opened meanwhile waits for it.
                    input.leave(&self.closing, CLOSING_PATIENCE);
                }
            }
            Output::ConnectFeed { channel, host, address } => {
                let run = self.next_run();
                let Some(shared) = self.channels.get(&channel).map(|taken| taken.channel.shared()) else {
                    return;
                };
                let target = feed::Target { channel, host: host.clone(), address };
                let reports = feed::Reports { run, events: self.sender.clone() };
                let task = Task::start(feed::run(self.context.clone(), target, shared, reports));
                self.feeds.insert((channel, host), (run, task));
            }
            Output::CloseFeed { channel, host } => {
                self.feeds.remove(&(channel, host.clone()));
                self.spoken.feeds.remove(&(channel, host));
            }
        }
    }

    /// Takes a channel from `sources`; those that it is taken from already are not touched.
    fn capture(&mut self, id: ChannelId, sources: Vec<Source>, policy: Policy) {
        let taken = self.channels.remove(&id);
        let (channel, mut before) = taken.map_or_else(
            || (Arc::new(Channel::new(id, self.context.clock)), Vec::new()),
            |taken| (taken.channel, taken.outlets),
        );
        let (mut outlets, mut fresh) = (Vec::new(), Vec::new());
        for source in sources {
            let outlet = if let Some(known) = before.iter().position(|(_, known)| *known == source) {
                before.swap_remove(known).0
            } else {
                self.last_outlet += 1;
                fresh.push((Outlet(self.last_outlet), source.clone()));
                Outlet(self.last_outlet)
            };
            outlets.push((outlet, source));
        }
        channel.set_sources(outlets.clone(), policy);
        for (outlet, Source { url, service }) in fresh {
            self.input(url).attach(outlet, channel.clone(), service);
        }
        self.detach(&before);
        self.channels.insert(id, Taken { channel, outlets });
    }

    fn detach(&self, outlets: &[(Outlet, Source)]) {
        for (outlet, source) in outlets {
            if let Some(input) = self.inputs.get(&source.url) {
                input.detach(*outlet);
            }
        }
    }

    fn input(&mut self, url: String) -> &mut InputHandle {
        let Self { inputs, context, sender, closing, .. } = self;
        inputs
            .entry(url.clone())
            .or_insert_with(|| InputHandle::start(url, context.clone(), sender.clone(), closing))
    }

    fn send_to_database(&mut self, message: ToDatabase) {
        let Some((run, handle)) = &self.database else { return };
        if !handle.send(message) {
            // Its queue is full: the connection does not move. The machine hears of it as of any other loss.
            let cause = "does not take our reports".to_owned();
            let event = Event { run: *run, input: Input::DatabaseClosed { cause } };
            if self.sender.try_send(event).is_err() {
                warn!("too much going on to drop the database server's connection now; its silence will");
            }
        }
    }

    fn next_run(&mut self) -> Run {
        self.last_run += 1;
        self.last_run
    }
}

impl Spoken {
    /// Logs what is new in `input`.
    fn note(&mut self, now: Time, input: &Input) {
        match input {
            Input::DatabaseConnected => {
                self.database.clear();
                info!("registered with the database server");
            }
            Input::DatabaseClosed { cause } => self.database(cause),
            Input::FeedConnected { channel, host } => {
                self.feeds.remove(&(*channel, host.clone()));
                info!(%channel, %host, "feeding push server");
            }
            Input::FeedFailed { channel, host, cause } | Input::FeedRefused { channel, host, cause } => {
                let before = self.feeds.insert((*channel, host.clone()), cause.clone());
                if before.as_ref() != Some(cause) {
                    warn!(%channel, %host, cause, "push server unreachable; retrying");
                }
            }
            Input::InputState { channel, state } => self.input(*channel, state.clone()),
            Input::Counters { channel, counters } => self.health(now, *channel, &counters.health),
            Input::Switched { channel, source, cause, .. } => {
                let url = InputUrl::without_secrets(&source.url);
                if let Some(cause) = cause {
                    warn!(%channel, to = url, cause, "input failed; taking another");
                } else {
                    info!(%channel, to = url, "a better input is good again; taking it");
                }
            }
            Input::InputFlows { url } => self.spares.retain(|(_, spare), _| spare != url),
            Input::InputStalled { .. }
            | Input::InputClosed { .. }
            | Input::InputFinished { .. }
            | Input::DatabaseMessage(_)
            | Input::Guide { .. }
            | Input::Tick => {}
        }
    }

    /// An input failed that the channel is not taken from now.
    fn spare(&mut self, channel: ChannelId, url: &str, cause: &str) {
        let before = self.spares.insert((channel, url.to_owned()), cause.to_owned());
        if before.as_deref() != Some(cause) {
            warn!(%channel, cause, "another input of the channel failed; retrying");
        }
    }

    fn health(&mut self, now: Time, channel: ChannelId, report: &HealthReport) {
        for line in self.health.entry(channel).or_default().lines(now, report) {
            let Line { indicator, count, total } = line;
            let (name, number) = (indicator.name(), indicator.number());
            warn!(%channel, name, number, count, total, "errors in the stream");
        }
    }

    fn database(&mut self, cause: &str) {
        if self.database != cause {
            cause.clone_into(&mut self.database);
            warn!(cause, "no connection to the database server; capture and feeds go on; retrying");
        }
    }

    fn input(&mut self, channel: ChannelId, state: InputState) {
        if self.inputs.get(&channel) == Some(&state) {
            return;
        }
        match &state {
            InputState::Starting => {}
            InputState::Delivering => info!(%channel, "input delivers"),
            InputState::Failed { cause } => warn!(%channel, cause, "input failed; retrying"),
        }
        self.inputs.insert(channel, state);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use lab::broadcast::Broadcast;
    use lab::satip_server::SatipServer;
    use link::clock::Clock;
    use protocols::authority::ClusterKey;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn tuners_that_are_being_given_back_are_given_back_at_shutdown_too() {
        let broadcast = Broadcast::new().with("514", include_bytes!("../../testcard/clip.ts"), 902_400);
        let server = SatipServer::start((Ipv4Addr::LOCALHOST, 0), broadcast, 4, PATIENCE);
        let url = format!("satip://{}/?freq=514&msys=dvbt", server.address());
        let mut driver = Driver::new(Context {
            id: "roof".parse().unwrap(),
            boot_id: random::boot_id(),
            key: ClusterKey::new([7; 32]),
            database: String::new(),
            clock: Clock::start(),
        });
        let taken = async |count| {
            while server.taken() != count {
                tokio::task::yield_now().await;
            }
        };
        driver.carry_out(Output::OpenInput { url: url.clone() });
        timeout(PATIENCE, taken(1)).await.unwrap();
        driver.carry_out(Output::CloseInput { url });
        let shutdown = Shutdown::new();
        shutdown.request();
        let (_questions, asked) = mpsc::channel(1);
        let closing = driver.closing.subscribe();
        driver.run(asked, Supervision::ready(), &shutdown).await;
        assert_eq!(*closing.borrow(), 0, "{:?}", server.requests());
        timeout(PATIENCE, taken(0)).await.unwrap();
    }
}
