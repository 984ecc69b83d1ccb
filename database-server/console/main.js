// The page: which view is shown, what stands around it, and how views hear of the site.
//
// A view is `make(arguments) → { title, element, update?(site), close?() }`; its address is `#/name/arguments`.

import { accountsView, auditView, loginDialog, passwordDialog } from "./account.js";
import { session } from "./api.js";
import { channelView, channelsView } from "./channels.js";
import { editView } from "./edit.js";
import { announce, attribute, h, keyed, say } from "./element.js";
import { eventsView } from "./events.js";
import { clock } from "./figures.js";
import { live } from "./live.js";
import { overview } from "./overview.js";
import { recordingsView } from "./recordings.js";
import { understand } from "./site.js";
import { viewersView } from "./viewers.js";
import { watchView } from "./watch.js";

const VIEWS = [
  { name: "site", title: "Site", make: overview },
  { name: "channels", title: "Channels", make: channelsView },
  { name: "channel", make: channelView, under: "channels" },
  { name: "watch", title: "Watch", make: watchView },
  { name: "viewers", title: "Viewers", make: viewersView },
  { name: "recordings", title: "Recordings", make: recordingsView },
  { name: "events", title: "Events", make: eventsView },
  { name: "edit", title: "Topology", make: editView, role: "operator" },
  { name: "accounts", title: "Accounts", make: accountsView, role: "superuser" },
  { name: "audit", title: "Audit", make: auditView, role: "superuser" },
];

const $ = (id) => document.getElementById(id);
const main = $("main");
let shown = null;
let site = null;

function route() {
  const [name = "site", ...rest] = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);
  const view = VIEWS.find((each) => each.name === name) ?? VIEWS[0];
  if (view.role && !session.may(view.role)) {
    show({ name: view.name, made: refused(view) });
    return;
  }
  if (shown?.name === view.name && shown.made.go?.(rest)) {
    navigation();
    return; // The view goes there by itself and keeps what it shows.
  }
  show({ name: view.name, made: view.make(rest) });
}

function refused(view) {
  const element = h("section", {}, h("h1", { text: view.title }),
    h("p", { class: "note", text: session.account ? `This needs the role ${view.role}; ${session.account.name} is ${session.account.role}.` : `This needs an account with the role ${view.role}.` }));
  if (!session.account) element.append(h("p", {}, h("button", { class: "primary", text: "Log in", onclick: () => loginDialog() })));
  return { title: view.title, element };
}

function show(next) {
  const first = shown === null;
  shown?.made.close?.();
  shown = next;
  main.replaceChildren(next.made.element);
  if (site) next.made.update?.(site);
  titles();
  navigation();
  // Who follows a link by keyboard goes on reading at the new view's beginning.
  if (!first) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
}

function titles() {
  const name = site?.site.name;
  document.title = `${shown.made.title}${name ? ` · ${name}` : ""} · Masthead`;
}

function navigation() {
  const under = VIEWS.find((view) => view.name === shown?.name)?.under ?? shown?.name;
  keyed($("views"), VIEWS.filter((view) => view.title && (!view.role || session.may(view.role))), {
    key: (view) => view.name,
    make: (view) => h("a", { href: `#/${view.name}`, text: view.title }),
    update: (link, view) => attribute(link, "aria-current", view.name === under ? "page" : null),
  });
  const current = $("views").querySelector("[aria-current]");
  if (current) $("views").scrollLeft = current.offsetLeft - ($("views").clientWidth - current.offsetWidth) / 2;
}

function who(account) {
  const place = $("who");
  if (!account) {
    place.replaceChildren(h("button", { text: "Log in", onclick: () => loginDialog() }));
  } else {
    place.replaceChildren(
      h("span", { class: "account" }, h("b", { text: account.name }), " ", h("span", { class: "role", text: account.role })),
      h("button", { class: "quiet-button", text: "Password", onclick: () => passwordDialog() }),
      h("button", { text: "Log out", onclick: () => session.close().catch(() => undefined) }));
  }
  navigation();
}

function link() {
  const place = $("link");
  const state = live.connected ? "live" : live.locked ? "locked" : live.at || live.attempt ? "lost" : "connecting";
  attribute(place, "data-state", state);
  $("locked").hidden = state !== "locked";
  say($("link-text"), state === "live" ? "live" : state === "connecting" ? "connecting" : state === "locked" ? "for accounts only" : live.at ? `not connected, last at ${clock(live.at)}` : "not connected");
  if (place.dataset.told !== state && (state === "lost" || place.dataset.told === "lost")) announce(state === "lost" ? "Connection to the database server lost; figures are old." : "Connected again.");
  place.dataset.told = state;
  document.body.classList.toggle("stale", state === "lost");
}

function heard() {
  link();
  if (!live.site) return;
  if (live.site !== site?.source) {
    site = { ...understand(live.site), source: live.site };
    say($("site-name"), site.site.name && site.site.name !== "Masthead" ? site.site.name : "");
    say($("foot"), `Masthead ${site.site.version ?? ""} · topology generation ${site.site.generation ?? "–"}${site.site.mode === "offline" ? " · offline: the topology is not in force" : ""}`);
    titles();
    shown?.made.update?.(site);
  }
}

$("locked-button").addEventListener("click", () => loginDialog());
live.listeners.add(heard);
session.listeners.add((account) => {
  who(account);
  // What may be seen depends on who looks: URLs of inputs, or all of it where accounts are asked for.
  if (shown) {
    live.connect();
    const view = VIEWS.find((each) => each.name === shown.name);
    if (view.role || shown.made.session) route();
  }
});
addEventListener("hashchange", route);
await session.refresh();
route();
live.start();
link();
