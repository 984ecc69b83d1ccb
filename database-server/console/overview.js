// The first screen: how the site is, as a picture and as tables, and what wants an eye.

import { attribute, badge, h, keyed, kept, say, Table } from "./element.js";
import { count, many, rate } from "./figures.js";
import { Picture } from "./picture.js";

/** So many faults are shown before "and more". */
const FAULTS_SHOWN = 8;

export function overview() {
  const strip = h("dl", { class: "strip" });
  const picture = new Picture((node) => details.choose(node));
  const details = new Details((server) => picture.toggle(server), picture);
  const tables = siteTables();
  const faults = h("ul", { class: "faults" });
  const noFaults = h("p", { class: "quiet", text: "Nothing. All that should run does." });
  const more = h("p", { class: "quiet" });

  const canvas = h("div", {}, picture.element);
  const views = [["picture", "Picture", canvas], ["tables", "Tables", tables.element]];
  const buttons = views.map(([name, title]) => h("button", { type: "button", text: title, "aria-pressed": "false", onclick: () => choose(name) }));
  const choose = (chosen) => {
    views.forEach(([name, , element], index) => {
      element.hidden = name !== chosen;
      attribute(buttons[index], "aria-pressed", String(name === chosen));
    });
    legend.hidden = chosen !== "picture";
    remember(chosen);
  };
  const legend = h("ul", { class: "legend", "aria-label": "Legend" }, [["sent", "sent: somebody watches"], ["suspended", "suspended: could be had, nobody watches"], ["inactive", "inactive: cannot be had"]]
    .map(([state, text]) => h("li", {}, h("span", { class: "badge", "data-state": state }, h("span", { class: "shape", "aria-hidden": "true" }), h("span", { text })))));

  const element = h("div", { class: "overview" },
    h("h1", { class: "unseen", text: "Site" }),
    strip,
    h("section", { class: "panel", "aria-labelledby": "topology-title" },
      h("div", { class: "panel-head" }, h("h2", { id: "topology-title", text: "Topology" }), legend, h("div", { class: "switch", role: "group", "aria-label": "Show as" }, buttons)),
      canvas, tables.element),
    h("div", { class: "halves" },
      h("section", { class: "panel", "aria-labelledby": "faults-title" }, h("h2", { id: "faults-title", text: "Needs attention" }), noFaults, faults, more),
      details.element));
  choose(remembered());

  return {
    title: "Site", element,
    update(site) {
      const could = site.channels.filter((channel) => channel.state !== "inactive").length;
      const lost = site.channels.reduce((all, channel) => all + channel.dropped, 0);
      keyed(strip, [
        ["Channels", `${count(could)}`, `of ${count(site.channels.length)} can be had`],
        ["Sent now", count(site.channels.filter((channel) => channel.state === "sent").length), "somebody watches"],
        ["Viewers", count(site.viewers), `on ${many(site.networks.length, "network")}`],
        ["To networks", rate(site.sentBps), "all destinations"],
        ["Lost on feeds", count(lost), "packets"],
        ["Attention", count(site.faults.length), site.faults.length === 1 ? "fault" : "faults"],
      ], {
        key: ([title]) => title,
        make: ([title]) => h("div", {}, h("dt", { text: title }), h("dd", {}, h("b"), " ", h("span"))),
        update: (item, [title, figure, line]) => {
          say(item.querySelector("b"), figure);
          say(item.querySelector("span"), line);
          attribute(item, "data-fault", (title === "Attention" || title === "Lost on feeds") && figure !== "0");
        },
      });
      keyed(faults, site.faults.slice(0, FAULTS_SHOWN), {
        key: (fault) => fault.subject,
        make: (fault) => h("li", {}, h("a", { href: fault.href, text: fault.subject }), " ", h("span")),
        update: (item, fault) => say(item.lastChild, fault.text),
      });
      noFaults.hidden = site.faults.length > 0;
      more.hidden = site.faults.length <= FAULTS_SHOWN;
      say(more, `and ${site.faults.length - FAULTS_SHOWN} more`);
      picture.update(site);
      tables.update(site);
      details.update(site);
    },
    close: () => picture.close(),
  };
}

// Whether somebody prefers the tables is kept in his browser; where it keeps nothing, the picture is shown.
function remember(chosen) {
  try { localStorage.setItem("masthead-show", chosen); } catch { /* not allowed: not kept */ }
}
function remembered() {
  try { return localStorage.getItem("masthead-show") === "tables" ? "tables" : "picture"; } catch { return "picture"; }
}

const channelLink = (item, cell) => {
  const link = kept(cell, () => h("a", { href: `#/channel/${item.channel}` }));
  say(link, `${item.channel} ${item.name}`);
};

/** The picture's content as tables: the same words, for who reads rather than looks. */
function siteTables() {
  const acquisition = new Table({
    caption: "Acquisition servers", hideCaption: false, key: (server) => server.id,
    columns: [
      { title: "Server", make: (server) => server.id },
      { title: "State", make: (server, cell) => badge(cell, server.state === "registered" ? "sent" : "inactive", server.state) },
      { title: "Inputs", make: (server) => server.inputs.map((input) => input.id).join(", ") || "none" },
      { title: "Channels", number: true, make: (server) => count(server.inputs.reduce((all, input) => all + input.channels.length, 0)) },
    ],
  });
  const feeds = new Table({
    caption: "Feeds", hideCaption: false, key: (feed) => `${feed.channel}>${feed.push_server}`,
    columns: [
      { title: "Channel", make: channelLink },
      { title: "To", make: (feed) => feed.push_server },
      { title: "State", make: (feed, cell) => badge(cell, feed.state === "connected" ? "sent" : "inactive", feed.state) },
      { title: "Lost packets", number: true, make: (feed) => count(feed.dropped_packets) },
      { title: "Cause", make: (feed) => feed.cause ?? "" },
    ],
  });
  const push = new Table({
    caption: "Push servers", hideCaption: false, key: (server) => server.id,
    columns: [
      { title: "Server", make: (server) => server.id },
      { title: "Address", make: (server) => server.address },
      { title: "State", make: (server, cell) => badge(cell, server.state !== "answers" ? "inactive" : server.draining ? "suspended" : "sent", server.draining ? "draining" : server.state) },
      { title: "Fed", number: true, make: (server) => `${server.channels.filter((entry) => entry.fed).length} of ${server.channels.length}` },
      { title: "Sending", number: true, make: (server) => count(server.sending) },
      { title: "Rate", number: true, make: (server) => rate(server.rate) },
    ],
  });
  const destinations = new Table({
    caption: "Destinations", hideCaption: false, key: (row) => `${row.server}>${row.address}>${row.network}`,
    columns: [
      { title: "Destination", make: (row) => row.address },
      { title: "Of", make: (row) => row.server },
      { title: "Kind", make: (row) => row.kind },
      { title: "Network", make: (row) => row.network.replaceAll("+", " + ") },
      { title: "Sent", number: true, make: (row) => count(row.channels.filter((entry) => entry.sending).length) },
      { title: "Rate", number: true, make: (row) => rate(row.channels.reduce((all, entry) => all + (entry.sending ? entry.rate_bps ?? 0 : 0), 0)) },
      { title: "Fault", make: (row) => row.channels.find((entry) => entry.fault)?.fault ?? "" },
    ],
  });
  const networks = new Table({
    caption: "Networks", hideCaption: false, key: (network) => network.id,
    columns: [
      { title: "Network", make: (network) => network.id.replaceAll("+", " + ") },
      { title: "Viewers", number: true, make: (network) => count(network.viewers) },
      { title: "Sent", number: true, make: (network) => count(network.sent) },
      { title: "Suspended", number: true, make: (network) => count(network.suspended) },
      { title: "Inactive", number: true, make: (network) => count(network.inactive) },
    ],
  });
  return {
    element: h("div", { class: "tables" }, [acquisition, feeds, push, destinations, networks].map((table) => table.element)),
    update(site) {
      acquisition.update(site.acquisition_servers);
      feeds.update(site.channels.flatMap((channel) => channel.feeds.map((feed) => ({ ...feed, channel: channel.id, name: channel.name }))));
      push.update(site.push);
      destinations.update(site.push.flatMap((server) => server.destinations.map((destination) => ({ ...destination, server: server.id }))));
      networks.update(site.networks);
    },
  };
}

/** What was chosen in the picture, in words. */
class Details {
  constructor(toggle, picture) {
    this.toggle = toggle;
    this.picture = picture;
    this.node = null;
    this.title = h("h2", { id: "details-title", text: "Details" });
    this.hint = h("p", { class: "quiet", text: "Choose a server, a channel or a network in the picture." });
    this.facts = h("dl", { class: "facts" });
    this.actions = h("p", { class: "actions" });
    this.table = new Table({
      caption: "Channels of what was chosen", key: (row) => row.key,
      columns: [
        { title: "Channel", make: channelLink },
        { title: "State", make: (row, cell) => badge(cell, row.state) },
        { title: "Where", make: (row) => row.where },
        { title: "Rate", number: true, make: (row) => rate(row.bps) },
        { title: "Cause", make: (row) => row.cause ?? "" },
      ],
    });
    this.element = h("section", { class: "panel", "aria-labelledby": "details-title" }, this.title, this.hint, this.facts, this.actions, this.table.element);
    this.choose(null);
  }

  choose(node) {
    this.node = node;
    this.hint.hidden = node !== null;
    this.facts.hidden = this.table.element.hidden = node === null;
    this.actions.replaceChildren();
    if (!node) {
      say(this.title, "Details");
      return;
    }
    say(this.title, node.kind === "channels of" ? `Channels of ${node.subject}` : `${node.kind[0].toUpperCase()}${node.kind.slice(1)} ${node.title}`);
    if (node.kind === "channel") {
      this.actions.append(h("a", { class: "button primary", href: `#/watch/${node.subject}`, text: "Watch" }), h("a", { class: "button", href: `#/channel/${node.subject}`, text: "Channel" }));
    } else if (node.kind === "channels of" || (node.kind === "acquisition server" && (this.picture.open.has(node.subject) || this.picture.collapses(node.subject)))) {
      const open = this.picture.open.has(node.subject);
      this.actions.append(h("button", { text: open ? "Draw its channels as one" : "Draw each of its channels", onclick: () => this.toggle(node.subject) }));
    }
    if (this.site) this.update(this.site);
  }

  update(site) {
    this.site = site;
    const { node } = this;
    if (!node) return;
    const { facts, rows } = describe(site, node);
    keyed(this.facts, facts, {
      key: ([title]) => title,
      make: ([title]) => h("div", {}, h("dt", { text: title }), h("dd")),
      update: (item, [, text]) => say(item.lastChild, String(text)),
    });
    this.table.update(rows);
  }
}

function describe(site, node) {
  const of = (channel, more) => ({ key: channel.id, channel: channel.id, name: channel.name, state: channel.state, where: "", bps: channel.rate_bps, cause: channel.cause, ...more });
  if (node.kind === "acquisition server" || node.kind === "channels of") {
    const server = site.acquisition_servers.find((each) => each.id === node.subject);
    const urls = (server?.inputs ?? []).filter((input) => input.url).map((input) => [`Input ${input.id}`, input.url]);
    return {
      facts: [["State", server?.state ?? "gone"], ["Software", server?.software ?? "–"], ["Inputs", server?.inputs.map((input) => input.id).join(", ") ?? "–"], ...urls],
      rows: site.channels.filter((channel) => channel.acquisition_server === node.subject).map((channel) => of(channel, { state: channel.failed ? "inactive" : channel.state, where: channel.input })),
    };
  }
  if (node.kind === "channel") {
    const channel = site.byId.get(node.subject);
    if (!channel) return { facts: [["State", "gone"]], rows: [] };
    return {
      facts: [["Input", `${channel.input} of ${channel.acquisition_server}`], ["Input state", channel.input_state ?? "–"], ["Rate", rate(channel.rate_bps)], ["Viewers", count(channel.viewers)], ["Lost on feeds", many(channel.dropped, "packet")]],
      rows: channel.networks.map((entry) => of(channel, { key: entry.network, state: entry.state, where: `${entry.network.replaceAll("+", " + ")}${entry.push_server ? ` by ${entry.push_server}` : ""}`, cause: entry.cause })),
    };
  }
  if (node.kind === "push server") {
    const server = site.push.find((each) => each.id === node.subject);
    if (!server) return { facts: [["State", "gone"]], rows: [] };
    return {
      facts: [["Address", server.address], ["State", server.draining ? `${server.state}, draining` : server.state], ["Sends", `${many(server.sending, "stream")}, ${rate(server.rate)}`], ["Recorder", server.recorder_fault ?? "no fault"]],
      rows: server.destinations.flatMap((destination) => destination.channels.map((entry) => {
        const channel = site.byId.get(entry.channel) ?? { id: entry.channel, name: "" };
        return of(channel, { key: `${destination.address}/${entry.channel}/${destination.network}`, state: entry.fault || server.state !== "answers" ? "inactive" : entry.sending ? "sent" : "suspended", where: destination.address, bps: entry.rate_bps, cause: entry.fault });
      })),
    };
  }
  const network = site.networks.find((each) => each.id === node.subject);
  return {
    facts: [["Viewers", count(network?.viewers)], ["Sent", count(network?.sent)], ["Suspended", count(network?.suspended)], ["Inactive", count(network?.inactive)]],
    rows: site.channels.flatMap((channel) => channel.networks.filter((entry) => entry.network === node.subject)
      .map((entry) => of(channel, { state: entry.state, where: entry.push_server ? `by ${entry.push_server}` : "by nobody", bps: entry.state === "sent" ? channel.rate_bps : null, cause: entry.cause }))),
  };
}
