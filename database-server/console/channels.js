// Channels: all of them, searched; and one, with each network's status and cause.

import { ask } from "./api.js";
import { badge, h, keyed, kept, say, Table } from "./element.js";
import { clock, count, many, rate } from "./figures.js";

/** The guide is asked for this often, by who looks at the channels; at most so many pages of it. */
const GUIDE_MS = 30_000;
const GUIDE_PAGES = 8;

/** What each channel shows and will show next, by its id. */
class Guide {
  events = new Map();
  asked = -Infinity;

  /** Asks again when it is time to, and calls `changed` once more is known. What cannot be had is left as it was. */
  async refresh(changed) {
    if (performance.now() - this.asked < GUIDE_MS) return;
    this.asked = performance.now();
    const events = new Map();
    let more = "";
    try {
      for (let page = 0; page < GUIDE_PAGES && more !== null; page++) {
        const guide = await ask("GET", `guide?per_channel=2${more}`);
        for (const { channel, events: shown } of guide.channels) events.set(channel, [...(events.get(channel) ?? []), ...shown]);
        more = guide.more && `&after_channel=${guide.more.channel}&after_from_ms=${guide.more.from_ms}`;
      }
    } catch {
      return;
    }
    this.events = events;
    changed();
  }

  /** "News, until 20:15"; "20:15 Film" where nothing is on. */
  now(channel) {
    const [first] = this.events.get(channel) ?? [];
    if (!first) return "";
    if (first.from_ms > Date.now()) return `${clock(first.from_ms).slice(0, 5)} ${first.title}`;
    return first.to_ms === null ? first.title : `${first.title}, until ${clock(first.to_ms).slice(0, 5)}`;
  }
}

export function channelsView() {
  const guide = new Guide();
  const search = h("input", { type: "search", id: "channel-search", autocomplete: "off", placeholder: "Name, number, group, server", oninput: () => draw() });
  const state = h("select", { id: "channel-state", onchange: () => draw() }, ["all", "sent", "suspended", "inactive"].map((each) => h("option", { value: each, text: each })));
  const shown = h("output", { class: "quiet", for: "channel-search channel-state" });
  const table = new Table({
    caption: "Channels", key: (channel) => channel.id, empty: "No channel is like that.",
    columns: [
      { title: "Channel", make: (channel, cell) => say(kept(cell, () => h("a", { href: `#/channel/${channel.id}` })), `${channel.id} ${channel.name}`) },
      { title: "Group", make: (channel) => channel.group ?? "" },
      { title: "On now", make: (channel) => guide.now(channel.id) },
      { title: "State", make: (channel, cell) => badge(cell, channel.state) },
      { title: "Networks", make: (channel) => networksOf(channel) },
      { title: "Viewers", number: true, make: (channel) => count(channel.viewers) },
      { title: "Rate", number: true, make: (channel) => rate(channel.rate_bps) },
      { title: "Lost", number: true, make: (channel) => count(channel.dropped) },
      { title: "Cause", make: (channel) => channel.state === "inactive" || channel.failed ? channel.cause ?? "" : "" },
      { title: "Watch", make: (channel, cell) => { kept(cell, () => h("a", { href: `#/watch/${channel.id}`, "aria-label": `Watch ${channel.name}`, text: "Watch" })); } },
    ],
  });
  let site = null;
  const draw = () => {
    if (!site) return;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = site.channels.filter((channel) => {
      const text = `${channel.id} ${channel.name} ${channel.group ?? ""} ${channel.acquisition_server} ${channel.input}`.toLowerCase();
      return words.every((word) => text.includes(word)) && (state.value === "all" || channel.state === state.value);
    });
    table.update(found);
    say(shown, found.length === site.channels.length ? many(found.length, "channel") : `${count(found.length)} of ${many(site.channels.length, "channel")}`);
  };
  const element = h("section", {},
    h("h1", { text: "Channels" }),
    h("form", { class: "filter", role: "search", onsubmit: (event) => event.preventDefault() },
      h("div", { class: "field" }, h("label", { for: "channel-search", text: "Search" }), search),
      h("div", { class: "field" }, h("label", { for: "channel-state", text: "State" }), state), shown),
    h("div", { class: "panel flush" }, table.element));
  return { title: "Channels", element, update(next) { site = next; draw(); guide.refresh(draw); } };
}

function networksOf(channel) {
  const of = (state) => channel.networks.filter((entry) => entry.state === state).length;
  return ["sent", "suspended", "inactive"].filter(of).map((state) => `${of(state)} ${state}`).join(", ") || "none";
}

export function channelView([id]) {
  const title = h("h1", { text: `Channel ${id}` });
  const gone = h("p", { class: "note", text: "There is no channel of this number.", hidden: "" });
  const facts = h("dl", { class: "facts" });
  const networks = new Table({
    caption: "Networks", key: (entry) => entry.network, empty: "No destination carries it.",
    columns: [
      { title: "Network", make: (entry) => entry.network.replaceAll("+", " + ") },
      { title: "State", make: (entry, cell) => badge(cell, entry.state) },
      { title: "Push server", make: (entry) => entry.push_server ?? "none" },
      { title: "Viewers", number: true, make: (entry) => count(entry.viewers) },
      { title: "Cause", make: (entry) => entry.cause ?? "" },
    ],
  });
  const feeds = new Table({
    caption: "Feeds", key: (feed) => feed.push_server, empty: "No push server is fed.",
    columns: [
      { title: "To", make: (feed) => feed.push_server },
      { title: "State", make: (feed, cell) => badge(cell, feed.state === "connected" ? "sent" : "inactive", feed.state) },
      { title: "Lost packets", number: true, make: (feed) => count(feed.dropped_packets) },
      { title: "Cause", make: (feed) => feed.cause ?? "" },
    ],
  });
  const body = h("div", {},
    h("section", { class: "panel" }, facts),
    h("section", { class: "panel flush" }, h("h2", { text: "Status per network" }), networks.element),
    h("section", { class: "panel flush" }, h("h2", { text: "Feeds to push servers" }), feeds.element));
  const element = h("section", {}, h("p", { class: "trail" }, h("a", { href: "#/channels", text: "Channels" })),
    h("div", { class: "head" }, title, h("a", { class: "button primary", href: `#/watch/${id}`, text: "Watch" })), gone, body);
  return {
    title: `Channel ${id}`, element,
    update(site) {
      const channel = site.byId.get(Number(id));
      gone.hidden = Boolean(channel);
      body.hidden = !channel;
      if (!channel) return;
      say(title, `${channel.id} ${channel.name}`);
      keyed(facts, [
        ["Group", channel.group ?? "–"], ["Input", `${channel.input} of ${channel.acquisition_server}`], ["Service", channel.service ?? "the only one"],
        ["In use", channel.input_in_use ? `${channel.input_in_use}${channel.input_in_use === channel.input ? "" : " (backup)"}` : "–"],
        ["Input state", channel.input_state ?? "–"], ["Cause", channel.cause ?? "–"], ["Rate", rate(channel.rate_bps)], ["Port", channel.port],
        ["Stream", health(channel.health)], ["Signal", signal(channel.signal)],
        ["Viewers", count(channel.viewers)], ["Recorded", channel.recorded ? "yes" : "no"],
      ], { key: ([name]) => name, make: ([name]) => h("div", {}, h("dt", { text: name }), h("dd")), update: (item, [, text]) => say(item.lastChild, String(text)) });
      networks.update(channel.networks);
      feeds.update(channel.feeds);
    },
  };
}

/** A channel's health in one line: its state, what was seen, and how it came. */
function health(seen) {
  if (!seen) return "–";
  const indicators = seen.indicators.map((indicator) => `${indicator.number} ${indicator.name.replaceAll("_", " ")}: ${count(indicator.count)}`);
  const delivery = seen.delay_factor_us === null ? [] : [`DF ${(seen.delay_factor_us / 1000).toFixed(1)} ms, MLR ${count(seen.media_loss_rate)}`];
  return [seen.state, ...indicators, ...delivery].join("; ");
}

/** How well a tuner receives. */
function signal(seen) {
  if (!seen) return "no tuner";
  const percent = (name, value) => (value === null ? [] : [`${name} ${value} %`]);
  return [seen.locked ? "locked" : "no lock", ...percent("strength", seen.strength_percent), ...percent("quality", seen.quality_percent)].join(", ");
}
