// Viewers: how many watch on each network, and what.

import { badge, h, keyed, kept, say, Table } from "./element.js";
import { count, many } from "./figures.js";

export function viewersView() {
  const list = h("div", { class: "stack" });
  const all = h("p", { class: "quiet" });
  const element = h("section", {}, h("h1", { text: "Viewers" }), all, list);
  return {
    title: "Viewers", element,
    update(site) {
      say(all, `${many(site.viewers, "viewer")} on ${many(site.networks.length, "network")}. Counted are clients that asked this server where to tune; a gateway is one, however many players it has.`);
      const most = Math.max(1, ...site.networks.flatMap((network) => network.channels.map((entry) => entry.viewers ?? 0)));
      keyed(list, site.networks, {
        key: (network) => network.id,
        make: (network) => {
          const table = new Table({
            caption: `Watched on ${network.id}`, key: (entry) => entry.channel, empty: "Nobody watches here.",
            columns: [
              { title: "Channel", make: (entry, cell) => say(kept(cell, () => h("a", { href: `#/channel/${entry.channel}` })), `${entry.channel} ${entry.name}`) },
              { title: "State", make: (entry, cell) => badge(cell, entry.state) },
              { title: "Push server", make: (entry) => entry.push_server ?? "none" },
              { title: "Viewers", number: true, make: (entry, cell) => meter(cell, entry.viewers, most) },
            ],
          });
          const panel = h("section", { class: "panel flush" }, h("h2"), table.element);
          panel.table = table;
          return panel;
        },
        update: (panel, network) => {
          say(panel.firstChild, `${network.id.replaceAll("+", " + ")}: ${many(network.viewers, "viewer")}`);
          panel.table.update(network.channels.filter((entry) => entry.viewers > 0 || entry.sending)
            .map((entry) => ({ ...entry, name: site.byId.get(entry.channel)?.name ?? "", state: site.byId.get(entry.channel)?.networks.find((each) => each.network === network.id)?.state ?? "inactive" }))
            .sort((a, b) => (b.viewers ?? 0) - (a.viewers ?? 0) || a.channel - b.channel));
        },
      });
    },
  };
}

function meter(cell, value, most) {
  const element = kept(cell, () => h("span", { class: "meter" }, h("span", { class: "track", "aria-hidden": "true" }, h("span")), h("span")));
  element.firstChild.firstChild.style.width = `${Math.round(100 * (value ?? 0) / most)}%`;
  say(element.lastChild, count(value));
}
