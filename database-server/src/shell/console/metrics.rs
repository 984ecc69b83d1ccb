//! `/metrics`: the database server and the site in Prometheus' words. `docs/metrics.md` lists them.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use link::metrics::{CONTENT_TYPE, Exposition, Kind};
use protocols::counters::Described;
use protocols::health::Indicator;

use super::App;
use super::answer::ApiError;
use super::desk::Ask;
use super::visitor::Visitor;
use crate::site_view::{
    FeedStateView, HealthStateView, InputStateView, ModeView, PresenceView, RegistrationView, SiteView,
    StatusView,
};
use crate::zaps::Figures;

/// Writers of metrics at a time; one more is refused as busy. A very large site has many lines.
pub(super) const MAX_SCRAPES: usize = 4;

/// The route below.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/metrics", get(metrics))
}

/// What the driver has counted and measured.
#[derive(Debug, Clone, Default)]
pub(in crate::shell) struct Measures {
    pub(in crate::shell) counters: Vec<Described>,
    pub(in crate::shell) clients: usize,
    pub(in crate::shell) zaps: Figures,
    pub(in crate::shell) store_dropped: u64,
    pub(in crate::shell) store_unsent: usize,
}

async fn metrics(State(app): State<App>, visitor: Visitor) -> Result<Response, ApiError> {
    visitor.may_read(&app)?;
    let _place = app.0.scrapes.try_acquire().map_err(|_| ApiError::busy())?;
    let picture = app.gallery().picture().await?;
    let measures = app.desk().ask(Ask::Measures).await?;
    let writer = app.clone();
    let written = tokio::task::spawn_blocking(move || {
        let mut out = Exposition::new();
        out.process("database", env!("CARGO_PKG_VERSION"), writer.0.started);
        database(&writer, &measures, &mut out);
        site(picture.view(), &mut out);
        out.into_text()
    });
    let text = written.await.map_err(|_| ApiError::ending())?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// The server in itself.
pub(super) fn database(app: &App, measures: &Measures, out: &mut Exposition) {
    out.counters("masthead_database", &measures.counters);
    out.counters("masthead_database", &app.0.tally.described());
    out.gauge("masthead_database_clients", "P2 connections.", measures.clients);
    out.gauge("masthead_database_live_listeners", "Who listens to /api/v1/live.", app.0.listeners.len());
    out.counter("masthead_database_zaps_total", "Zaps that clients told of.", measures.zaps.count);
    let help = "From asking for a channel to its picture, of the newest 1,024 zaps.";
    let mut zaps = out.family(Kind::Gauge, "masthead_database_zap_seconds", &["quantile"], help);
    zaps.add(&["0.5"], f64::from(measures.zaps.p50_ms) / 1_000.0);
    zaps.add(&["0.95"], f64::from(measures.zaps.p95_ms) / 1_000.0);
    let help = "Facts to keep that were given up because the disk did not keep up.";
    out.counter("masthead_database_store_dropped_total", help, measures.store_dropped);
    out.gauge(
        "masthead_database_store_unsent",
        "Facts to keep that wait for the disk.",
        measures.store_unsent,
    );
}

/// The site, as everybody reported it.
pub(super) fn site(view: &SiteView, out: &mut Exposition) {
    let generation = "Version of the topology that is in force.";
    out.gauge("masthead_site_topology_generation", generation, view.site.generation);
    let live = view.site.mode == ModeView::Live;
    out.gauge("masthead_site_live", "Whether any acquisition server is registered.", live);
    let help = "Whether the acquisition server is registered.";
    let labels = &["acquisition_server"];
    let mut servers = out.family(Kind::Gauge, "masthead_site_acquisition_server_registered", labels, help);
    for server in &view.acquisition_servers {
        servers.add(&[&server.id], server.state == RegistrationView::Registered);
    }
    channels(view, out);
    push_servers(view, out);
    networks(view, out);
}

fn channels(view: &SiteView, out: &mut Exposition) {
    let ids: Vec<String> = view.channels.iter().map(|channel| channel.id.to_string()).collect();
    let all = || ids.iter().zip(&view.channels);
    let labels = &["channel", "name"];
    let help = "Always 1: what the channel is called.";
    let mut names = out.family(Kind::Gauge, "masthead_site_channel_info", labels, help);
    all().for_each(|(id, channel)| names.add(&[id, &channel.name], 1_u64));
    let labels = &["channel"];
    let help = "Whether the channel's input delivers.";
    let mut inputs = out.family(Kind::Gauge, "masthead_site_channel_input_delivering", labels, help);
    all().for_each(|(id, channel)| {
        inputs.add(&[id], channel.input_state == Some(InputStateView::Delivering));
    });
    let help = "How often the channel changed its input since its acquisition server's start.";
    let mut switches = out.family(Kind::Counter, "masthead_site_channel_switches_total", labels, help);
    all()
        .filter_map(|(id, channel)| Some((id, channel.switches?)))
        .for_each(|(id, n)| switches.add(&[id], n));
    let help = "Always 1: the input that the channel is taken from now.";
    let name = "masthead_site_channel_input_in_use";
    let mut used = out.family(Kind::Gauge, name, &["channel", "input"], help);
    all()
        .filter_map(|(id, channel)| Some((id, channel.input_in_use.as_ref()?)))
        .for_each(|(id, input)| used.add(&[id, input], 1_u64));
    let help = "Rate of the channel's transport stream over the last second.";
    let mut rates = out.family(Kind::Gauge, "masthead_site_channel_rate_bits_per_second", labels, help);
    all().filter_map(|(id, channel)| Some((id, channel.rate_bps?))).for_each(|(id, n)| rates.add(&[id], n));
    let help = "Packets made of the channel since its acquisition server's start.";
    let mut packets = out.family(Kind::Counter, "masthead_site_channel_packets_total", labels, help);
    all().filter_map(|(id, channel)| Some((id, channel.packets?))).for_each(|(id, n)| packets.add(&[id], n));
    health(view, &ids, out);
    let labels = &["channel", "push_server"];
    let feeds = || all().flat_map(|(id, channel)| channel.feeds.iter().map(move |feed| (id, feed)));
    let help = "Whether the push server takes the channel from its acquisition server.";
    let mut connected = out.family(Kind::Gauge, "masthead_site_feed_connected", labels, help);
    feeds().for_each(|(id, feed)| {
        connected.add(&[id, &feed.push_server], feed.state == Some(FeedStateView::Connected));
    });
    let help = "Packets lost because the connection to the push server could not keep up.";
    let mut dropped = out.family(Kind::Counter, "masthead_site_feed_dropped_packets_total", labels, help);
    feeds()
        .filter_map(|(id, feed)| Some((id, feed, feed.dropped_packets?)))
        .for_each(|(id, feed, n)| dropped.add(&[id, &feed.push_server], n));
}

fn health(view: &SiteView, ids: &[String], out: &mut Exposition) {
    let all = || ids.iter().zip(&view.channels);
    let healths = || all().filter_map(|(id, channel)| Some((id, channel.health.as_ref()?)));
    let labels = &["channel"];
    let help = "Whether no indicator of TR 101 290 was seen in the channel's stream for ten seconds.";
    let mut good = out.family(Kind::Gauge, "masthead_site_channel_healthy", labels, help);
    healths().for_each(|(id, health)| good.add(&[id], health.state == HealthStateView::Good));
    let help = "How often an indicator of TR 101 290 was seen in the channel's stream.";
    let name = "masthead_site_channel_indicator_total";
    let mut seen = out.family(Kind::Counter, name, &["channel", "indicator"], help);
    for (id, health) in healths() {
        for what in Indicator::ALL {
            let found = health.indicators.iter().find(|indicator| indicator.name == what.name());
            seen.add(&[id, what.name()], found.map_or(0, |indicator| indicator.count));
        }
    }
    let help = "Delay factor of the channel's input in the last second (RFC 4445).";
    let name = "masthead_site_channel_delay_factor_seconds";
    let mut factors = out.family(Kind::Gauge, name, labels, help);
    healths()
        .filter_map(|(id, health)| Some((id, health.delay_factor_us?)))
        .for_each(|(id, us)| factors.add(&[id], f64::from(us) / 1e6));
    let signals = || all().filter_map(|(id, channel)| Some((id, channel.signal?)));
    let help = "Whether the channel's tuner demodulates a multiplex.";
    let mut locks = out.family(Kind::Gauge, "masthead_site_channel_signal_locked", labels, help);
    signals().for_each(|(id, signal)| locks.add(&[id], signal.locked));
    let help = "Quality of the signal at the channel's tuner, as the device tells it.";
    let name = "masthead_site_channel_signal_quality_percent";
    let mut qualities = out.family(Kind::Gauge, name, labels, help);
    signals()
        .filter_map(|(id, signal)| Some((id, signal.quality_percent?)))
        .for_each(|(id, percent)| qualities.add(&[id], u64::from(percent)));
}

fn push_servers(view: &SiteView, out: &mut Exposition) {
    let labels = &["push_server"];
    let help = "Whether the push server answers.";
    let mut up = out.family(Kind::Gauge, "masthead_site_push_server_answers", labels, help);
    view.push_servers.iter().for_each(|server| up.add(&[&server.id], server.state == PresenceView::Answers));
    let help = "Whether the push server cannot record, though it should.";
    let mut faults = out.family(Kind::Gauge, "masthead_site_push_server_recorder_fault", labels, help);
    view.push_servers.iter().for_each(|server| faults.add(&[&server.id], server.recorder_fault.is_some()));
    let sent: Vec<_> = view
        .push_servers
        .iter()
        .flat_map(|server| server.destinations.iter().map(move |destination| (server, destination)))
        .flat_map(|(server, destination)| {
            let address = destination.address.to_string();
            let sent = destination.channels.iter();
            sent.map(move |sent| (server.id.as_str(), address.clone(), sent.channel.to_string(), sent))
        })
        .collect();
    let labels = &["push_server", "destination", "channel"];
    let help = "Whether the channel is being sent to the destination.";
    let mut sending = out.family(Kind::Gauge, "masthead_site_destination_sending", labels, help);
    sent.iter()
        .for_each(|(server, address, channel, sent)| sending.add(&[server, address, channel], sent.sending));
    let help = "What is sent of the channel to the destination.";
    let name = "masthead_site_destination_rate_bits_per_second";
    let mut rates = out.family(Kind::Gauge, name, labels, help);
    sent.iter()
        .filter_map(|(server, address, channel, sent)| Some((server, address, channel, sent.rate_bps?)))
        .for_each(|(server, address, channel, rate)| rates.add(&[server, address, channel], rate));
    let help = "Packets of the channel sent to the destination since the push server's start.";
    let mut packets = out.family(Kind::Counter, "masthead_site_destination_packets_total", labels, help);
    sent.iter()
        .filter_map(|(server, address, channel, sent)| Some((server, address, channel, sent.packets?)))
        .for_each(|(server, address, channel, n)| packets.add(&[server, address, channel], n));
    let help = "Whether the destination cannot be sent to.";
    let mut faults = out.family(Kind::Gauge, "masthead_site_destination_fault", labels, help);
    sent.iter().for_each(|(server, address, channel, sent)| {
        faults.add(&[server, address, channel], sent.fault.is_some());
    });
}

fn networks(view: &SiteView, out: &mut Exposition) {
    let help = "Clients on the network that watch something.";
    let mut viewers = out.family(Kind::Gauge, "masthead_site_network_viewers", &["network"], help);
    view.networks.iter().for_each(|network| viewers.add(&[&network.id], network.viewers));
    let labels = &["network", "channel"];
    let listed: Vec<_> = view
        .networks
        .iter()
        .flat_map(|network| network.channels.iter().map(move |listed| (network, listed)))
        .map(|(network, listed)| (network.id.as_str(), listed.channel.to_string(), listed))
        .collect();
    let help = "Whether the channel could be had on the network.";
    let mut active = out.family(Kind::Gauge, "masthead_site_channel_active", labels, help);
    listed.iter().for_each(|(network, channel, listed)| {
        active.add(&[network, channel], listed.status == StatusView::Active);
    });
    let help = "Clients on the network that watch the channel.";
    let mut viewers = out.family(Kind::Gauge, "masthead_site_channel_viewers", labels, help);
    listed.iter().for_each(|(network, channel, listed)| viewers.add(&[network, channel], listed.viewers));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::tally::Tally;

    /// Goal: the one table says what is really served. To mend it, copy the rows that the failure shows.
    #[tokio::test]
    async fn the_table_of_metrics_says_what_the_database_server_serves() {
        let mut out = Exposition::new();
        out.process("database", "0", std::time::Instant::now());
        let measures = Measures { counters: crate::Counters::default().described(), ..Measures::default() };
        database(&super::super::tests::console().state, &measures, &mut out);
        site(&SiteView::default(), &mut out);
        let document = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"));
        let wrong = out.undocumented(document, &["masthead_database_", "masthead_site_"]);
        assert!(wrong.is_empty(), "docs/metrics.md is not right:\n{wrong}");
        assert!(Tally::default().described().len() > 5);
    }
}
