// Recordings: what is held of each channel on one scale of time, with its holes; what was ordered; ordering and giving up.

import { ask, session } from "./api.js";
import { announce, attribute, badge, h, keyed, kept, say, svg, Table } from "./element.js";
import { bytes, clock, count, field, moment, span } from "./figures.js";
import { confirmDialog } from "./dialog.js";
import { pastAddress } from "./watch.js";

/** The list is read again so often while it is looked at. */
const REFRESH_MS = 10_000;
const SPANS = [[600_000, "10 minutes"], [3_600_000, "1 hour"], [6 * 3_600_000, "6 hours"], [24 * 3_600_000, "24 hours"], [7 * 24 * 3_600_000, "7 days"]];
/** Steps of the scale, of which the smallest is taken that leaves no more than eight. */
const STEPS_MS = [60_000, 300_000, 900_000, 3_600_000, 3 * 3_600_000, 6 * 3_600_000, 12 * 3_600_000, 24 * 3_600_000];
const WIDTH = 1_000;

export function recordingsView() {
  let data = null;
  const state = h("p", { class: "quiet", role: "status" });
  const reach = h("select", { id: "reach", onchange: () => draw() }, SPANS.map(([ms, text]) => h("option", { value: ms, text })));
  let reached = false;
  const scale = h("div", { class: "scale", "aria-hidden": "true" });
  const rows = h("ul", { class: "tracks" });
  const programmes = new Table({
    caption: "Ordered recordings", key: (programme) => programme.id, empty: "Nothing was ordered.",
    columns: [
      { title: "Title", make: (programme, cell) => say(kept(cell, () => h("a", { href: `#/watch/recording/${programme.id}` })), programme.title || `Recording ${programme.id}`) },
      { title: "Channel", make: (programme) => nameOf(programme.channel) },
      { title: "From", make: (programme) => moment(programme.from_ms) },
      { title: "Length", number: true, make: (programme) => span(programme.to_ms - programme.from_ms) },
      { title: "State", make: (programme, cell) => badge(cell, programme.missing_ms ? "inactive" : programme.state === "kept" ? "sent" : "suspended", programme.missing_ms ? `${span(programme.missing_ms)} missing` : programme.state) },
      { title: "Replicas", number: true, make: (programme) => `${programme.replicas} of ${programme.recorders}` },
      { title: "Size", number: true, make: (programme) => bytes(programme.bytes) },
      ...(!session.may("operator") ? [] : [{ title: "Actions", make: (programme, cell) => {
        const button = kept(cell, () => h("button", { class: "danger small", text: "Delete", onclick: () => remove(programme) }));
        attribute(button, "aria-label", `Delete ${programme.title || `recording ${programme.id}`}`);
      } }]),
    ],
  });
  const order = orderForm(() => data, () => load());
  const element = h("section", {},
    h("h1", { text: "Recordings" }),
    h("section", { class: "panel", "aria-labelledby": "held-title" },
      h("div", { class: "panel-head" }, h("h2", { id: "held-title", text: "Held" }),
        h("ul", { class: "legend", "aria-label": "Legend" }, [["sent", "all replicas"], ["suspended", "fewer replicas than recorders"], ["inactive", "hole"]].map(([each, text]) => h("li", {}, h("span", { class: `swatch ${each}`, "aria-hidden": "true" }), text))),
        h("div", { class: "field row" }, h("label", { for: "reach", text: "Last" }), reach)),
      h("div", { class: "timeline" }, scale, rows), state),
    h("section", { class: "panel flush", "aria-labelledby": "ordered-title" }, h("h2", { id: "ordered-title", text: "Ordered" }), programmes.element),
    order.element);

  function nameOf(id) {
    const channel = data?.channels.find((each) => each.channel === id);
    return channel ? `${id} ${channel.name}` : String(id);
  }

  async function remove(programme) {
    const title = programme.title || `recording ${programme.id}`;
    if (!await confirmDialog({ title: "Delete a recording", text: `“${title}” is given up. What no other recording and no keeping time holds is deleted from all push servers.`, act: "Delete", danger: true })) return;
    try {
      await ask("DELETE", `recordings/${programme.id}`);
      announce(`${title} is given up.`);
      await load();
    } catch (refusal) {
      say(state, refusal.message);
    }
  }

  async function load() {
    try {
      data = await ask("GET", "recordings");
      say(state, data.channels.length ? "" : "No push server records. Give one `record = { keep = \"7d\" }` in the topology, or order a recording.");
      draw();
    } catch (refusal) {
      say(state, refusal.message);
    }
  }

  function draw() {
    if (!data) return;
    const to = Date.now();
    if (!reached && data.channels.length) {
      // At first as much as there is.
      const oldest = Math.min(...data.channels.flatMap((channel) => channel.ranges.map((range) => range.from_ms)));
      reach.value = (SPANS.find(([ms]) => ms >= to - oldest) ?? SPANS.at(-1))[0];
      reached = true;
    }
    const from = to - Number(reach.value);
    const x = (ms) => (Math.min(Math.max(ms, from), to) - from) / (to - from) * WIDTH;
    const step = STEPS_MS.find((each) => (to - from) / each <= 8) ?? STEPS_MS.at(-1);
    const midnight = new Date(from).setHours(0, 0, 0, 0);
    const marks = [];
    for (let at = midnight; at < to; at += step) if (at > from + step / 4 && at < to - step / 4) marks.push(at);
    keyed(scale, marks, {
      key: (at) => at, make: (at) => h("span", { text: step >= 24 * 3_600_000 ? moment(at).slice(0, 10) : clock(at).slice(0, 5) }),
      update: (mark, at) => { mark.style.left = `${x(at) / WIDTH * 100}%`; },
    });
    keyed(rows, data.channels, {
      key: (channel) => channel.channel,
      make: (channel) => {
        const track = svg("svg", { class: "track", viewBox: `0 0 ${WIDTH} 20`, preserveAspectRatio: "none", "aria-hidden": "true" }, svg("g"));
        const pick = h("input", { type: "range", min: 0, max: WIDTH, step: 1, value: 0, "aria-label": `Time of ${channel.name}` });
        const play = h("a", { class: "button small", text: "Watch" });
        const words = h("p", { class: "quiet" });
        const row = h("li", {}, h("div", { class: "track-name" }, h("a", { href: `#/channel/${channel.channel}`, text: `${channel.channel} ${channel.name}` }), words), h("div", { class: "track-box" }, track, pick), play);
        row.parts = { track: track.firstChild, pick, play, words };
        pick.addEventListener("input", () => { row.touched = true; row.aim(); });
        return row;
      },
      update: (row, channel) => {
        const ranges = channel.ranges.filter((range) => (range.to_ms ?? to) > from);
        const holes = between(ranges, to);
        keyed(row.parts.track, [...ranges.map((range) => ({ ...range, kind: range.replicas >= channel.recorders && !range.lacking?.length ? "sent" : "suspended" })), ...holes.map((hole) => ({ ...hole, kind: "inactive" }))], {
          key: (piece) => `${piece.kind}${piece.from_ms}`,
          make: (piece) => svg("rect", { class: piece.kind, y: 2, height: 16 }),
          update: (rect, piece) => { attribute(rect, "x", x(piece.from_ms).toFixed(2)); attribute(rect, "width", Math.max(0.8, x(piece.to_ms ?? to) - x(piece.from_ms)).toFixed(2)); },
        });
        const faults = channel.faults.map((fault) => `${fault.push_server}: ${fault.fault}`).join("; ");
        const held = ranges.reduce((all, range) => all + Math.min(range.to_ms ?? to, to) - Math.max(range.from_ms, from), 0);
        say(row.parts.words, `${span(held)} on ${count(channel.recorders)} · ${holes.length ? `${holes.length === 1 ? "1 hole" : `${holes.length} holes`}, ${span(holes.reduce((all, hole) => all + hole.to_ms - hole.from_ms, 0))}` : "no hole"}${faults ? ` · ${faults}` : ""}`);
        row.aim = () => {
          const at = from + Number(row.parts.pick.value) / WIDTH * (to - from);
          const range = ranges.find((each) => at >= each.from_ms && at < (each.to_ms ?? to));
          say(row.parts.play, range ? `Watch ${clock(at).slice(0, 5)}` : "Hole");
          attribute(row.parts.play, "href", range ? pastAddress(channel.channel, at, range.to_ms ?? to) : null);
          attribute(row.parts.play, "aria-disabled", range ? null : "true");
          attribute(row.parts.pick, "aria-valuetext", `${moment(at)}${range ? "" : ", not held"}`);
        };
        if (!row.touched && ranges.length) row.parts.pick.value = Math.ceil(x(begin(ranges.at(-1), from, to)));
        row.aim();
      },
    });
    programmes.update(data.programmes);
    order.update();
  }

  load();
  const timer = setInterval(() => { if (!document.hidden) load(); }, REFRESH_MS);
  return { title: "Recordings", element, session: true, close: () => clearInterval(timer) };
}

/** Where to begin to watch unless somebody chooses: a little before the end of what is held. */
function begin(range, from, to) {
  const end = range.to_ms ?? to;
  return Math.max(range.from_ms, from, end - Math.max((to - from) / 12, 20_000));
}

/** What is missing between the first and the last that is held. */
function between(ranges, now) {
  const holes = [];
  const sorted = [...ranges].sort((a, b) => a.from_ms - b.from_ms);
  for (let n = 1; n < sorted.length; n += 1) {
    const end = sorted[n - 1].to_ms ?? now;
    if (sorted[n].from_ms - end > 1_000) holes.push({ from_ms: end, to_ms: sorted[n].from_ms });
  }
  return holes;
}

/** Ordering a recording: for operators. */
function orderForm(data, done) {
  const channel = h("select", { id: "order-channel", required: "" });
  const title = h("input", { id: "order-title", maxlength: 120, autocomplete: "off" });
  const from = h("input", { id: "order-from", type: "datetime-local", step: 1, required: "", value: field(Date.now()) });
  const to = h("input", { id: "order-to", type: "datetime-local", step: 1, required: "", value: field(Date.now() + 3_600_000) });
  const state = h("p", { class: "quiet", role: "status" });
  const send = async (event) => {
    event.preventDefault();
    const [from_ms, to_ms] = [from, to].map((input) => new Date(input.value).getTime());
    attribute(to, "aria-invalid", to_ms > from_ms ? null : "true");
    if (!(to_ms > from_ms)) { say(state, "The end must be after the beginning."); return; }
    try {
      await ask("POST", "recordings", { channel: Number(channel.value), from_ms, to_ms, title: title.value });
      say(state, "Ordered.");
      await done();
    } catch (refusal) {
      say(state, refusal.message);
    }
  };
  const line = (id, text, input) => h("div", { class: "field" }, h("label", { for: id, text }), input);
  const element = h("section", { class: "panel", "aria-labelledby": "order-title-head" }, h("h2", { id: "order-title-head", text: "Order a recording" }),
    h("form", { class: "form-row", onsubmit: send }, line("order-channel", "Channel", channel), line("order-title", "Title", title), line("order-from", "From", from), line("order-to", "To", to), h("button", { class: "primary", text: "Record" })), state);
  element.hidden = !session.may("operator");
  return {
    element,
    update() {
      keyed(channel, data().channels, { key: (each) => each.channel, make: (each) => h("option", { value: each.channel, text: `${each.channel} ${each.name}` }) });
    },
  };
}
