// The graph of the site: which nodes and arrows there are, with their words. Knows nothing of the page.
//
// acquisition server → channel (or all channels of that server as one node) → push server → network

import { count, many, rate } from "./figures.js";

/** Up to so many channels each is a node of its own; beyond, those of one acquisition server are one node until it is opened. */
export const COLLAPSE_ABOVE = 14;
/** With more channels than this their nodes are one line high. */
const LOW_ABOVE = 5;
export const LAYERS = ["Acquisition", "Channels", "Push servers", "Networks"];

/** The same where there is one column only. */
export const COLLAPSE_ABOVE_NARROW = 4;

/** Nodes and arrows of `site` (see site.js); `open` has the acquisition servers whose channels are shown one by one, `most` is how many are without that. */
export function graph(site, { open, most }) {
  const nodes = [];
  const edges = new Map();
  const node = (id, layer, kind, subject, title, line, state, more = {}) => nodes.push({ id, layer, kind, subject, title, line, state, ...more });
  const edge = (from, to, add) => {
    const id = `${from}>${to}`;
    const known = edges.get(id) ?? { id, from, to, sent: 0, suspended: 0, inactive: 0, bps: 0, dropped: 0, causes: [] };
    add(known);
    edges.set(id, known);
  };
  const collapsed = (server) => site.channels.length > most && !open.has(server);
  const low = site.channels.length > LOW_ABOVE;
  const nodeOf = (channel) => collapsed(channel.acquisition_server) ? `all:${channel.acquisition_server}` : `channel:${channel.id}`;

  for (const server of site.acquisition_servers) {
    const away = server.state !== "registered";
    const own = site.channels.filter((channel) => channel.acquisition_server === server.id);
    node(`acquisition:${server.id}`, 0, "acquisition server", server.id, server.id,
      `${away ? "away" : "registered"} · ${many(server.inputs.length, "input")}`, away ? "inactive" : "sent");
    if (collapsed(server.id) && own.length) {
      const parts = { sent: 0, suspended: 0, inactive: 0 };
      for (const channel of own) parts[channel.state] += 1;
      node(`all:${server.id}`, 1, "channels of", server.id, many(own.length, "channel"), words(parts),
        parts.sent ? "sent" : parts.suspended ? "suspended" : "inactive", { parts });
    }
  }
  for (const channel of site.channels) {
    if (!collapsed(channel.acquisition_server)) {
      node(`channel:${channel.id}`, 1, "channel", channel.id, `${channel.id} ${channel.name}`,
        channel.failed ? "no input" : low ? channel.state : `${channel.state} · ${rate(channel.rate_bps)}`, channel.state, { low });
    }
    edge(`acquisition:${channel.acquisition_server}`, nodeOf(channel), (known) => {
      known[channel.input_state === "delivering" ? "sent" : "inactive"] += 1;
      known.bps += channel.rate_bps ?? 0;
      if (channel.cause) known.causes.push(channel.cause);
    });
    for (const feed of channel.feeds) {
      const server = site.push.find((each) => each.id === feed.push_server);
      const sends = server?.destinations.some((destination) => destination.channels.some((entry) => entry.channel === channel.id && entry.sending));
      edge(nodeOf(channel), `push:${feed.push_server}`, (known) => {
        known[feed.state !== "connected" ? "inactive" : sends ? "sent" : "suspended"] += 1;
        known.feed = true;
        if (sends) known.bps += channel.rate_bps ?? 0;
        known.dropped += feed.dropped_packets ?? 0;
        if (feed.cause) known.causes.push(feed.cause);
      });
    }
  }
  for (const server of site.push) {
    const away = server.state !== "answers";
    const fed = server.channels.filter((entry) => entry.fed).length;
    node(`push:${server.id}`, 2, "push server", server.id, server.id,
      away ? "does not answer" : `${server.draining ? "draining" : "answers"} · ${fed} of ${many(server.channels.length, "feed")}`, away ? "inactive" : server.draining ? "suspended" : "sent");
    for (const destination of server.destinations) {
      edge(`push:${server.id}`, `network:${destination.network}`, (known) => {
        known.rival = (known.rival ?? true) && destination.channels.every((entry) => !entry.assigned);
        for (const entry of destination.channels) {
          known[away || entry.fault ? "inactive" : entry.sending ? "sent" : "suspended"] += 1;
          if (entry.sending) known.bps += entry.rate_bps ?? 0;
          if (entry.fault) known.causes.push(entry.fault);
        }
      });
    }
  }
  for (const network of site.networks) {
    node(`network:${network.id}`, 3, "network", network.id, network.id.replaceAll("+", " + "), `${many(network.viewers, "viewer")} · ${network.sent} sent`,
      network.sent ? "sent" : network.suspended ? "suspended" : "inactive", { parts: { sent: network.sent, suspended: network.suspended, inactive: network.inactive } });
  }
  const present = new Set(nodes.map((each) => each.id));
  const arrows = [...edges.values()].filter((each) => present.has(each.from) && present.has(each.to)).map((each) => {
    const state = each.sent ? "sent" : each.suspended ? "suspended" : "inactive";
    return { ...each, state, label: label(each, state) };
  });
  return { nodes, edges: arrows };
}

function label(edge, state) {
  const several = edge.sent + edge.suspended + edge.inactive > 1;
  const parts = [];
  if (edge.rival && state === "suspended") parts.push("stands by");
  else if (state === "sent") parts.push(edge.bps ? rate(edge.bps) : "sent");
  else parts.push(state);
  if (several && state === "sent" && edge.inactive) parts.push(`${edge.inactive} inactive`);
  if (edge.dropped) parts.push(`${count(edge.dropped)} lost`);
  return parts.join(" · ");
}

/** "4 sent, 2 suspended", leaving out what there is none of. */
export function words(parts) {
  return ["sent", "suspended", "inactive"].filter((state) => parts[state]).map((state) => `${parts[state]} ${state}`).join(" · ") || "none";
}

/** What a screen reader is told of a node: its words and where its arrows lead. */
export function told(node, { nodes, edges }) {
  const titles = new Map(nodes.map((each) => [each.id, each.title]));
  const out = edges.filter((edge) => edge.from === node.id);
  const toward = out.slice(0, 6).map((edge) => `to ${titles.get(edge.to)}: ${edge.label}`);
  if (out.length > 6) toward.push(`and ${out.length - 6} more`);
  // It begins with what is to be seen, so that who speaks to the page can say what he sees (WCAG 2.5.3).
  return [`${node.title} ${node.line}`, node.kind === "channels of" ? `channels of ${node.subject}` : node.kind, ...toward].join("; ");
}

