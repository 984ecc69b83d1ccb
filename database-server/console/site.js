// The site as the views need it: what the API tells, joined, with one state for each thing.
//
// A channel at a network is `sent` (somebody watches), `suspended` (could be had, nobody watches) or `inactive` (cannot be had).

/** The state of one entry of `networks[].channels`. */
export function stateAt(entry) {
  if (entry.status !== "active") return "inactive";
  return entry.sending ? "sent" : "suspended";
}

/** Joins what belongs together; `site` is the answer of `/site`. */
export function understand(site) {
  const channels = site.channels.map((channel) => {
    const networks = site.networks.flatMap((network) => network.channels
      .filter((entry) => entry.channel === channel.id)
      .map((entry) => ({ ...entry, network: network.id, state: stateAt(entry) })));
    const has = (state) => networks.some((entry) => entry.state === state);
    const failed = channel.input_state === "failed";
    const state = has("sent") ? "sent" : has("suspended") ? "suspended" : "inactive";
    return {
      ...channel, networks, state, failed,
      viewers: sum(networks, (entry) => entry.viewers),
      dropped: sum(channel.feeds, (feed) => feed.dropped_packets),
      cause: channel.cause ?? networks.find((entry) => entry.cause)?.cause ?? null,
    };
  });
  const byId = new Map(channels.map((channel) => [channel.id, channel]));
  const push = site.push_servers.map((server) => {
    const entries = server.destinations.flatMap((destination) => destination.channels.map((entry) => ({ ...entry, destination })));
    return { ...server, sending: entries.filter((entry) => entry.sending).length, rate: sum(entries, (entry) => entry.sending ? entry.rate_bps : 0) };
  });
  const networks = site.networks.map((network) => {
    const states = network.channels.map(stateAt);
    const of = (state) => states.filter((each) => each === state).length;
    return { ...network, sent: of("sent"), suspended: of("suspended"), inactive: of("inactive") };
  });
  const known = { ...site, channels, byId, push, networks };
  known.faults = faults(known);
  known.sentBps = sum(push, (server) => server.rate);
  known.viewers = sum(networks, (network) => network.viewers);
  return known;
}

/** What wants an administrator's eye, worst first; each with the place where more is shown. */
function faults(site) {
  const found = [];
  const add = (subject, text, href) => found.push({ subject, text, href });
  for (const server of site.acquisition_servers) if (server.state !== "registered") add(`Acquisition server ${server.id}`, "is away", "#/site");
  for (const server of site.push) {
    if (server.state !== "answers") add(`Push server ${server.id}`, "does not answer", "#/site");
    if (server.recorder_fault) add(`Push server ${server.id}`, `does not record: ${server.recorder_fault}`, "#/recordings");
    for (const destination of server.destinations) {
      const faulty = destination.channels.filter((entry) => entry.fault);
      if (faulty.length) add(`Destination ${destination.address} of ${server.id}`, faulty[0].fault, "#/site");
    }
  }
  for (const channel of site.channels) {
    if (channel.failed) add(`Channel ${channel.id} ${channel.name}`, `is not delivered: ${channel.cause ?? "cause not known"}`, `#/channel/${channel.id}`);
    else if (channel.state === "inactive" && channel.networks.length) add(`Channel ${channel.id} ${channel.name}`, `cannot be had: ${channel.cause ?? "cause not known"}`, `#/channel/${channel.id}`);
    for (const feed of channel.feeds) {
      if (feed.state === "unreachable") add(`Feed of ${channel.name} to ${feed.push_server}`, feed.cause ?? "unreachable", `#/channel/${channel.id}`);
    }
  }
  return found;
}

export function sum(items, of) {
  return items.reduce((total, item) => total + (of(item) ?? 0), 0);
}
