// A double of the database server's HTTP side: the console's folder with its real headers, and a made-up site of any size.
// For work on the page without daemons: `node double.mjs [--port 7480] [--channels 12]`, account `admin`, password `correct horse`.
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const CONSOLE = join(HERE, "../../database-server/console");
const CLIP = join(HERE, "../../acquisition/testcard/clip.ts");
const CLIP_MS = 12_800;
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const KINDS = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : Number(process.argv[at + 1]);
};
const CHANNELS = option("channels", 12);
const TITLES = ["One", "Two", "News", "Arte", "Sport", "Film", "Children", "Nature", "Music", "Welcome", "Foyer camera", "Test card"];

function makeSite() {
  const now = Date.now();
  const channels = [];
  const acquisition = ["roof", "studio"];
  for (let n = 0; n < CHANNELS; n += 1) {
    const failed = n === 4;
    channels.push({
      id: n + 1, name: TITLES[n] ?? `Channel ${n + 1}`, group: n % 3 ? "Entertainment" : "News", logo: null, port: 7601 + n,
      acquisition_server: acquisition[n < CHANNELS * 0.75 ? 0 : 1], input: `mux-${1 + Math.floor(n / 4)}`, service: 4164 + n,
      input_state: failed ? "failed" : "delivering", cause: failed ? "no packets for 8 s" : null,
      rate_bps: failed ? 0 : 4_200_000 + n * 310_000 + Math.round(Math.random() * 40_000), packets: 100_000,
      feeds: ["hall", "hall-spare", "ward"].slice(0, 2 + (n % 2)).map((push, index) => ({
        push_server: push, state: index === 1 && n === 2 ? "unreachable" : "connected", cause: index === 1 && n === 2 ? "connection refused" : null,
        dropped_packets: n === 1 && index === 0 ? 214 : 0,
      })),
      recorded: n < 4,
    });
  }
  const ids = (push) => channels.filter((channel) => channel.feeds.some((feed) => feed.push_server === push));
  const sent = (channel) => channel.id % 3 !== 0 && channel.input_state === "delivering";
  const destination = (push, address, network, kind) => ({
    address, kind, network,
    channels: ids(push).map((channel) => ({
      channel: channel.id, assigned: push !== "hall-spare", sending: push !== "hall-spare" && sent(channel), packets: 1000,
      rate_bps: push !== "hall-spare" && sent(channel) ? channel.rate_bps : 0, fault: null,
    })),
  });
  const server = (id, address, destinations) => ({
    id, address, state: "answers", draining: false, recorder_fault: id === "hall-spare" ? "disk full" : null,
    channels: ids(id).map((channel) => ({ channel: channel.id, fed: channel.input_state === "delivering", packets: 1000 })), destinations,
  });
  const network = (id, push) => ({
    id, viewers: ids(push).filter(sent).length * 3 + 1,
    channels: ids(push).map((channel) => ({
      channel: channel.id, status: channel.input_state === "delivering" ? "active" : "inactive",
      cause: channel.input_state === "delivering" ? null : "no feed: input failed: no packets for 8 s",
      push_server: channel.input_state === "delivering" ? push : null, sending: sent(channel), viewers: sent(channel) ? 3 : 0,
    })),
  });
  return {
    site: { name: "Hotel Astoria", version: "0.1.0", generation: 3, mode: "live", time_ms: now },
    acquisition_servers: acquisition.map((id) => ({
      id, state: "registered", software: "0.1.0",
      inputs: [...new Set(channels.filter((channel) => channel.acquisition_server === id).map((channel) => channel.input))].map((input) => ({
        id: input, url: null, channels: channels.filter((channel) => channel.input === input).map((channel) => channel.id),
      })),
    })),
    channels,
    push_servers: [
      server("hall", "10.0.1.1", [destination("hall", "239.192.1.1", "10.0.1.0/24+fd00:1::/64", "multicast")]),
      server("hall-spare", "10.0.1.2", [destination("hall-spare", "239.192.1.1", "10.0.1.0/24+fd00:1::/64", "multicast")]),
      server("ward", "10.0.2.1", [destination("ward", "10.0.2.255", "10.0.2.0/24", "broadcast")]),
    ],
    networks: [network("10.0.1.0/24+fd00:1::/64", "hall"), network("10.0.2.0/24", "ward")],
  };
}

let ordered = "The ten o’clock news";
const STARTED = Date.now();
const HOUR = 3_600_000;
function recordings() {
  const range = (from, to, more = {}) => ({ from_ms: STARTED - from * HOUR, to_ms: STARTED - to * HOUR, bytes: (from - to) * 2e9, replicas: 2, away: 0, state: "kept", lacking: [], ...more });
  return {
    channels: [1, 2, 3, 4].map((id) => ({
      channel: id, name: TITLES[id - 1], recorders: 2, faults: id === 2 ? [{ push_server: "hall-spare", fault: "disk full" }] : [],
      ranges: id === 2 ? [range(20, 13), range(12, 5, { replicas: 1, lacking: ["hall-spare"] }), range(4.5, 0)] : [range(24, 0)],
    })),
    programmes: [
      { id: 7, channel: 1, from_ms: STARTED - CLIP_MS, to_ms: STARTED, title: ordered, state: "kept", replicas: 2, recorders: 2, bytes: 1_443_840, missing_ms: 0, holes: [] },
      { id: 8, channel: 2, from_ms: STARTED - 6 * HOUR, to_ms: STARTED - 4 * HOUR, title: "A film with a hole", state: "kept", replicas: 1, recorders: 2, bytes: 4e9, missing_ms: 1_800_000, holes: [{ from_ms: STARTED - 5 * HOUR, to_ms: STARTED - 4.5 * HOUR }] },
    ],
  };
}
const TEXTS = [["push server host `hall`", "answers again"], ["input `mux-2` of `roof`", "delivers"], ["topology", "generation 3 in force"], ["channel 5 in 10.0.2.0/24", "inactive: no feed: input failed"]];
const event = (id) => ({ id, at_ms: STARTED - (400 - id) * 61_000, subject: TEXTS[id % 4][0], text: TEXTS[id % 4][1] });

const sessions = new Map();
let last = "";
let topology = { revision: "r1", text: await readFile(join(HERE, "../../topology.toml"), "utf8") };
const read = async (request) => {
  let text = "";
  for await (const part of request) text += part;
  return text ? JSON.parse(text) : {};
};

createServer(async (request, response) => {
  const url = new URL(request.url, "http://double");
  const json = (status, body) => {
    response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
    response.end(JSON.stringify(body));
  };
  const fault = (status, code, message, more) => json(status, { error: { code, message, ...more } });
  const path = url.pathname;
  if (path.startsWith("/api/v1/")) {
    const cookie = /sid=(\d+)/.exec(request.headers.cookie ?? "")?.[1];
    const session = sessions.get(cookie);
    const call = `${request.method} ${path.slice(8)}`;
    if (request.method !== "GET" && call !== "POST session" && session?.role === "viewer") return fault(403, "role", "this asks for an account with the role superuser");
    if (call === "GET site") return json(200, makeSite());
    if (call === "GET recordings") return json(200, recordings());
    if (call === "GET events") {
      const before = Math.min(Number(url.searchParams.get("before") ?? 400), 400);
      return json(200, { events: Array.from({ length: Math.min(50, before - 1) }, (_, n) => event(before - 1 - n)) });
    }
    if (call === "GET live") {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      const send = () => response.write(`event: site\ndata: ${JSON.stringify(makeSite())}\n\n`);
      send();
      const timer = setInterval(send, 1000);
      request.on("close", () => clearInterval(timer));
      return undefined;
    }
    if (call === "GET session") return json(200, session ?? { name: null });
    if (call === "POST session") {
      const { name, password } = await read(request);
      if (password !== "correct horse") return fault(401, "wrong_password", "name or password is wrong");
      const id = String(sessions.size + 1);
      sessions.set(id, { name, role: name === "admin" ? "superuser" : name, token: "t" });
      response.setHeader("set-cookie", `sid=${id}; HttpOnly; SameSite=Strict`);
      return json(200, sessions.get(id));
    }
    if (call === "DELETE session") { sessions.delete(cookie); return json(200, {}); }
    if (call === "GET accounts") return json(200, { accounts: [{ name: "admin", role: "superuser" }, { name: "desk", role: "viewer" }] });
    if (call === "GET topology") return json(200, topology);
    if (call === "POST topology") {
      const { base, edits, trial } = await read(request);
      if (base !== topology.revision) return fault(409, "conflict", "the topology file has been changed meanwhile", { revision: topology.revision, difference: last });
      const keys = JSON.stringify(edits);
      if (keys.includes('"port":70000')) return fault(422, "faults", "the topology would have faults", { faults: ["topology.toml:12:8: `port` 1 of channel 1 is that of channel 2 too"] });
      const difference = `@@ -30,2 +30,2 @@\n [[channel]]\n-name = "One"\n+${keys}\n`;
      if (!trial) {
        const set = edits[0].change?.set ?? {};
        const number = edits[0].change?.table.channel;
        let { text } = topology;
        for (const [key, value] of Object.entries(set)) text = text.replace(new RegExp(`(\\[\\[channel\\]\\]\\nid = ${number}\\b.*\\n)(?:${key} = .*\\n)?`), `$1${key} = ${JSON.stringify(value)}\n`);
        if (set.name) TITLES[number - 1] = set.name;
        last = difference;
        topology = { revision: `${topology.revision}+`, text };
      }
      return json(200, { revision: topology.revision, difference, warnings: ["channel 12 is carried by nobody"] });
    }
    if (call.startsWith("POST topology") || call.startsWith("PATCH")) return json(200, {});
    if (call === "POST recordings") {
      ordered = (await read(request)).title;
      return json(200, { id: 7 });
    }
    if (call === "GET audit") return json(200, { audit: [{ id: 1, at_ms: STARTED, who: "admin", origin: "10.0.0.9, console", what: "EditTopology change channel:1", outcome: "done" }] });
    return fault(404, "not_found", `${call} is not in the double`);
  }
  if (path.startsWith("/media/")) {
    if (path.startsWith("/media/channel/") && path.endsWith(".ts")) {
      response.writeHead(200, { "content-type": "video/mp2t" });
      const source = spawn("ffmpeg", ["-v", "error", "-re", "-stream_loop", "-1", "-i", CLIP, "-map", "0:v", "-map", "0:a", "-c", "copy", "-f", "mpegts", "pipe:1"]);
      source.stdout.pipe(response);
      request.on("close", () => source.kill());
      response.on("close", () => source.kill());
      return undefined;
    }
    if (path.startsWith("/media/recording/") && path.endsWith(".ts")) {
      const clip = await readFile(CLIP);
      const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
      const from = range ? Number(range[1]) : 0;
      const to = range?.[2] ? Number(range[2]) + 1 : clip.length;
      response.writeHead(range ? 206 : 200, { "content-type": "video/mp2t", "accept-ranges": "bytes", "content-length": to - from, ...(range ? { "content-range": `bytes ${from}-${to - 1}/${clip.length}` } : {}) });
      return response.end(clip.subarray(from, to));
    }
    response.writeHead(404);
    return response.end();
  }
  try {
    const name = normalize(path === "/" ? "/index.html" : path);
    const body = await readFile(join(CONSOLE, name));
    response.writeHead(200, { "content-type": KINDS[extname(name)] ?? "application/octet-stream", "content-security-policy": POLICY, "x-content-type-options": "nosniff", "cache-control": "no-cache" });
    return response.end(body);
  } catch {
    response.writeHead(404);
    return response.end();
  }
}).listen(option("port", 7480), "127.0.0.1", () => console.log("the double serves"));
