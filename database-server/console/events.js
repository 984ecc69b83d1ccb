// Events: the journal, newest first; older ones on demand.

import { ask } from "./api.js";
import { h, keyed, say } from "./element.js";
import { moment } from "./figures.js";
import { live } from "./live.js";

/** So many lines at a time. */
const PAGE = 50;
/** Of lines that come while one looks, the oldest beyond this leave the page again. */
const KEPT = 2_000;

export function eventsView() {
  let events = [];
  let end = false;
  const body = h("tbody");
  const search = h("input", { type: "search", id: "event-search", autocomplete: "off", placeholder: "Words", oninput: () => draw() });
  const older = h("button", { text: "Older", onclick: () => load() });
  const state = h("p", { class: "quiet", role: "status" });

  const draw = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    keyed(body, events.filter((event) => words.every((word) => `${event.subject} ${event.text}`.toLowerCase().includes(word))), {
      key: (event) => event.id,
      make: (event) => h("tr", {}, h("td", { class: "time" }, h("time", { datetime: new Date(event.at_ms).toISOString(), text: moment(event.at_ms) })),
        h("th", { scope: "row", text: event.subject.replaceAll("`", "") }), h("td", { text: event.text.replaceAll("`", "") })),
    });
    older.hidden = end;
  };
  const add = (news) => {
    const known = new Map([...events, ...news].map((event) => [event.id, event]));
    events = [...known.values()].sort((a, b) => b.id - a.id);
    draw();
  };
  const load = async () => {
    try {
      const last = events.at(-1);
      const answer = await ask("GET", `events?limit=${PAGE}${last ? `&before=${last.id}` : ""}`);
      end = answer.events.length < PAGE;
      add(answer.events);
      say(state, events.length ? (end ? "That is the whole journal." : "") : "The journal is empty.");
    } catch (refusal) {
      say(state, refusal.message);
    }
  };
  const hear = (news) => {
    add(news);
    if (events.length > KEPT) { events.length = KEPT; end = false; draw(); }
  };
  // What came while the server was out of reach is asked for.
  let connected = live.connected;
  const back = () => {
    if (live.connected && !connected) ask("GET", `events?limit=${PAGE}`).then((answer) => add(answer.events), () => undefined);
    connected = live.connected;
  };
  live.eventListeners.add(hear);
  live.listeners.add(back);
  load();
  const element = h("section", {},
    h("h1", { text: "Events" }),
    h("form", { class: "filter", role: "search", onsubmit: (event) => event.preventDefault() }, h("div", { class: "field" }, h("label", { for: "event-search", text: "Search what is shown" }), search)),
    h("div", { class: "panel flush" },
      h("div", { class: "table", role: "region", "aria-label": "Journal", tabindex: "0" },
        h("table", { class: "journal" }, h("caption", { class: "unseen", text: "Journal, newest first" }),
          h("thead", {}, h("tr", {}, ["Time", "Subject", "What"].map((title) => h("th", { scope: "col", text: title })))), body))),
    h("p", { class: "actions" }, older), state);
  return { title: "Events", element, close() { live.eventListeners.delete(hear); live.listeners.delete(back); } };
}
