// What the forms know of the topology's tables: which keys there are, how people call them, and how an edit names a table (docs/api.md).

const servers = (topology) => topology.acquisition_server.map(({ id }) => ({ value: id }));
const pushServers = (topology) => topology.push_server.map(({ id }) => ({ value: id, text: id }));
const channels = (topology) => topology.channel.map(({ id, name }) => ({ value: id, text: `${id} ${name ?? ""}` }));

export const SHAPES = {
  database_server: {
    title: "the site", name: () => "database_server", named: () => ({}),
    fields: [
      { key: "name", title: "Name of the site", kind: "text", otherwise: "Masthead" },
      { key: "console", title: "Who may look", kind: "select", options: () => [{ value: "open", text: "everybody who reaches it" }, { value: "accounts", text: "who has an account" }], initial: "open" },
      { key: "gateway", title: "Gateway for pictures", kind: "text", otherwise: "127.0.0.1:7490" },
    ],
  },
  acquisition_server: {
    title: "acquisition server", name: ({ id }) => ({ acquisition_server: id }), named: ({ id }) => ({ id }),
    fields: [{ key: "id", title: "Id", kind: "text", names: true, required: true, hint: "What masthead-acquisition --id is given." }],
  },
  input: {
    title: "input", name: ({ acquisition_server, id }) => ({ input: { acquisition_server, id } }), named: ({ owner, id }) => ({ acquisition_server: owner, id }),
    fields: [
      { key: "acquisition_server", title: "Acquisition server", kind: "select", names: true, options: servers, from: (table) => table.owner },
      { key: "id", title: "Id", kind: "text", names: true, required: true },
      { key: "url", title: "URL", kind: "text", required: true, hint: "rtp://239.192.9.5:5004, udp://…, file:…, exec:…, testcard:", wide: true },
    ],
  },
  channel: {
    title: "channel", name: ({ id }) => ({ channel: id }), named: ({ id }) => ({ id }),
    fields: [
      { key: "id", title: "Number", kind: "number", names: true, required: true, hint: "Unique for ever." },
      { key: "name", title: "Name", kind: "text", required: true },
      { key: "group", title: "Group", kind: "text" },
      { key: "acquisition_server", title: "Acquisition server", kind: "select", options: servers },
      { key: "input", title: "Input", kind: "select", options: (topology) => [...new Set(topology.acquisition_server.flatMap((server) => (server.input ?? []).map(({ id }) => id)))].map((value) => ({ value })) },
      { key: "service", title: "Service id", kind: "number", otherwise: "the only one" },
      { key: "hold_off", title: "Hold-off", kind: "text", hint: "How long the input may be bad before a backup is taken: 2s" },
      { key: "return_after", title: "Return after", kind: "text", hint: "How long it has to be good before it is taken again: 30s" },
      { key: "port", title: "Port", kind: "number", otherwise: "7600 + number" },
      { key: "logo", title: "Logo (web address)", kind: "text" },
      {
        key: "carried", title: "Carried by", kind: "checks", options: pushServers,
        from: (table, topology) => topology.push_server.filter((server) => server.channels?.includes(table.id)).map(({ id }) => id),
        edits: ({ id, carried }, before) => [
          ...carried.filter((each) => !before.includes(each)).map((each) => ({ change: { table: { push_server: each }, include: { channels: [id] } } })),
          ...before.filter((each) => !carried.includes(each)).map((each) => ({ change: { table: { push_server: each }, exclude: { channels: [id] } } })),
        ],
      },
    ],
  },
  push_server: {
    title: "push server", name: ({ id }) => ({ push_server: id }), named: ({ id }) => ({ id }),
    fields: [
      { key: "id", title: "Id", kind: "text", names: true, required: true, hint: "What masthead-push-server --id is given." },
      { key: "address", title: "Address", kind: "text", required: true },
      { key: "record", title: "Keep recordings for", kind: "text", otherwise: "does not record", hint: "7d, 12h, 1d12h", from: (table) => table.record?.keep, write: (keep) => ({ keep }) },
      { key: "feed_port", title: "Feed port", kind: "number", otherwise: "7403" },
      { key: "control_port", title: "Control port", kind: "number", otherwise: "7404" },
      { key: "drain", title: "Drained: its viewers go to others", kind: "truth" },
      { key: "channels", title: "Channels", kind: "checks", options: channels, keepsEmpty: true },
    ],
  },
  destination: {
    title: "destination", name: ({ push_server, address }) => ({ destination: { push_server, address } }), named: ({ owner, address }) => ({ push_server: owner, address }),
    fields: [
      { key: "push_server", title: "Push server", kind: "select", names: true, options: pushServers, from: (table) => table.owner },
      { key: "address", title: "Address", kind: "text", names: true, required: true, hint: "Group, prefix of groups, broadcast or host." },
      { key: "interface", title: "Interface", kind: "text", hint: "Needed for multicast." },
      { key: "serves", title: "Serves networks", kind: "list", required: true, hint: "10.0.1.0/24, fd00:1::/64" },
      { key: "ttl", title: "TTL", kind: "number", otherwise: "1 for multicast, else 64" },
      { key: "dscp", title: "DSCP", kind: "number", otherwise: "0" },
      { key: "window_ms", title: "Window (ms)", kind: "number", otherwise: "10" },
      { key: "membership", title: "Members of the group count as viewers", kind: "truth" },
      { key: "announce", title: "Announced by SAP", kind: "truth" },
      { key: "channels", title: "Only these channels (none: all)", kind: "checks", options: (topology, table) => channels(topology).filter(({ value }) => !table || topology.push_server.find(({ id }) => id === table.owner)?.channels?.includes(value)) },
    ],
  },
};
