// The topology, changed from the page: the file as lists with forms. Each change is tried first, shown as a difference, then carried out.

import { showRefusal } from "./account.js";
import { ask, session } from "./api.js";
import { confirmDialog, dialog } from "./dialog.js";
import { difference } from "./difference.js";
import { announce, h } from "./element.js";
import { TableForm } from "./form.js";
import { SHAPES } from "./shapes.js";
import { readTopology } from "./topology_text.js";

export function editView() {
  const superuser = session.may("superuser");
  let file = null;
  let topology = null;
  const state = h("div", { class: "fault", role: "alert", hidden: "" });
  const tree = h("div", { class: "tree" });
  const text = h("pre", { class: "difference", tabindex: "0", "aria-label": "topology.toml" });
  const said = h("p", { class: "quiet", role: "status" });
  const element = h("section", {},
    h("div", { class: "head" }, h("h1", { text: "Topology" }), h("button", { text: "Reload the file", onclick: () => reload() })),
    said, state, tree, h("details", { class: "panel" }, h("summary", { text: "topology.toml" }), text));

  async function load() {
    try {
      file = await ask("GET", "topology");
      topology = readTopology(file.text);
      state.hidden = true;
      text.textContent = file.text;
      draw();
    } catch (refusal) {
      if (file) text.textContent = file.text;
      showRefusal(state, refusal);
    }
  }

  async function reload() {
    try {
      await ask("POST", "topology/reload", {});
      done("The file was read again.");
    } catch (refusal) {
      showRefusal(state, refusal);
    }
  }

  function done(words) {
    said.textContent = words;
    announce(words);
    return load();
  }

  function draw() {
    const focused = document.activeElement?.getAttribute("aria-label");
    const add = (kind, owner) => superuser && h("button", { class: "small", text: `Add ${SHAPES[kind].title}`, "aria-label": `Add ${SHAPES[kind].title}${owner ? ` to ${owner}` : ""}`, onclick: () => change(kind, null, owner) });
    const panel = (title, buttons, rows) => h("section", { class: "panel flush", "aria-label": title }, h("div", { class: "panel-head" }, h("h2", { text: title }), h("span", { class: "buttons" }, buttons)), h("ul", {}, rows));
    const row = (kind, table, label, words, { below = false, more = [], siblings = [] } = {}) => h("li", { class: below ? "below" : "" },
      h("span", { class: "what" }, h("b", { text: label }), h("span", { class: "quiet", text: words })),
      h("span", { class: "buttons" }, more, superuser && [
        h("button", { class: "small", text: "Change", "aria-label": `Change ${SHAPES[kind].title} ${label}`, onclick: () => change(kind, table) }),
        h("button", { class: "small", text: "Move", "aria-label": `Move ${SHAPES[kind].title} ${label}`, onclick: () => move(kind, table, siblings) }),
        h("button", { class: "danger small", text: "Remove", "aria-label": `Remove ${SHAPES[kind].title} ${label}`, onclick: () => propose(`Remove ${SHAPES[kind].title} ${label}`, [{ remove: { table: nameOf(kind, table) } }]) }),
      ]));
    const site = topology.database_server;
    tree.replaceChildren(
      panel("Site", superuser && h("button", { class: "small", text: "Change", "aria-label": "Change the site", onclick: () => change("database_server", site) }),
        h("li", {}, h("span", { class: "what" }, h("b", { text: site.name ?? "Masthead" }), h("span", { class: "quiet", text: `at ${site.address ?? "–"} · seen by ${site.console === "accounts" ? "who has an account" : "everybody"}` })))),
      panel("Acquisition servers", add("acquisition_server"), topology.acquisition_server.flatMap((server) => [
        row("acquisition_server", server, server.id, `${(server.input ?? []).length} inputs`, { siblings: topology.acquisition_server, more: add("input", server.id) || [] }),
        ...(server.input ?? []).map((input) => row("input", { ...input, owner: server.id }, input.id, input.url ?? "", {
          below: true, siblings: server.input,
          more: h("button", { class: "small", text: "Restart", "aria-label": `Restart input ${input.id} of ${server.id}`, onclick: () => command(server.id, input.id) }),
        })),
      ])),
      panel("Channels", add("channel"), topology.channel.map((channel) => row("channel", channel, `${channel.id} ${channel.name}`,
        `${channel.group ? `${channel.group} · ` : ""}${channel.input} of ${channel.acquisition_server} · carried by ${topology.push_server.filter((server) => server.channels?.includes(channel.id)).map(({ id }) => id).join(", ") || "nobody"}`, { siblings: topology.channel }))),
      panel("Push servers", add("push_server"), topology.push_server.flatMap((server) => [
        row("push_server", server, server.id, `${server.address} · ${(server.channels ?? []).length} channels${server.record ? ` · keeps ${server.record.keep}` : ""}${server.drain ? " · drained" : ""}`, {
          siblings: topology.push_server,
          more: [h("button", { class: "small", text: server.drain ? "End drain" : "Drain", "aria-label": `${server.drain ? "End drain of" : "Drain"} ${server.id}`, onclick: () => drain(server) }), add("destination", server.id)].filter(Boolean),
        }),
        ...(server.destination ?? []).map((destination) => row("destination", { ...destination, owner: server.id }, destination.address, `serves ${(destination.serves ?? []).join(", ")}${destination.interface ? ` by ${destination.interface}` : ""}`, { below: true, siblings: server.destination })),
      ])));
    // The list was made anew after a change; who had pressed a button finds it again.
    if (focused) tree.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
  }

  function nameOf(kind, table) {
    const shape = SHAPES[kind];
    return shape.name(shape.named(table));
  }

  /** A form for a new table or one that is there. */
  function change(kind, table, owner) {
    const shape = SHAPES[kind];
    const form = new TableForm(shape, table, topology);
    if (owner) {
      const field = form.fields.find(({ key }) => key === "acquisition_server" || key === "push_server");
      if (field) field.input.value = owner;
    }
    const title = table ? `Change ${shape.title} ${kind === "database_server" ? "" : table.name ?? table.id ?? table.address}` : `Add ${shape.title}`;
    const fault = h("div", { class: "fault", role: "alert", hidden: "" });
    const { element: opened } = dialog(title, h("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        fault.hidden = true;
        const edits = form.edits();
        if (!edits.length) { fault.hidden = false; fault.textContent = "Nothing was changed."; return; }
        const outcome = await propose(title, edits, (faults) => {
          const others = form.showFaults(faults);
          fault.hidden = others.length === 0;
          fault.textContent = others.join("\n");
        });
        if (outcome) opened.close("yes");
      },
    }, form.element, fault, h("div", { class: "dialog-foot" }, h("button", { type: "button", text: "Cancel", onclick: () => opened.close("") }), h("button", { class: "primary", text: "Try it" }))));
  }

  function move(kind, table, siblings) {
    const shape = SHAPES[kind];
    const owners = kind === "input" ? topology.acquisition_server : kind === "destination" ? topology.push_server : null;
    const into = owners && h("select", { id: "move-into" }, owners.map(({ id }) => h("option", { value: id, text: id })));
    if (into) into.value = table.owner;
    const key = kind === "destination" ? "address" : "id";
    const before = h("select", { id: "move-before" });
    const fill = () => {
      const list = into ? (owners.find(({ id }) => id === into.value)[kind] ?? []) : siblings;
      before.replaceChildren(h("option", { value: "", text: "the last" }), ...list.filter((each) => each[key] !== table[key]).map((each) => h("option", { value: each[key], text: `before ${each.name ?? each[key]}` })));
    };
    into?.addEventListener("change", fill);
    fill();
    const { element: opened } = dialog(`Move ${shape.title} ${table.name ?? table[key]}`, h("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        const owner = into?.value;
        const edit = { move: { table: nameOf(kind, table) } };
        if (owner && owner !== table.owner) edit.move.into = kind === "input" ? { acquisition_server: owner } : { push_server: owner };
        if (before.value) edit.move.before = nameOf(kind, { [key]: kind === "channel" ? Number(before.value) : before.value, owner });
        if (await propose(`Move ${shape.title}`, [edit])) opened.close("yes");
      },
    }, into && h("div", { class: "field" }, h("label", { for: "move-into", text: "To" }), into), h("div", { class: "field" }, h("label", { for: "move-before", text: "Place" }), before),
    h("div", { class: "dialog-foot" }, h("button", { class: "primary", text: "Try it" }))));
  }

  /** Tries `edits`, shows what would become of the file, and carries them out when that is wanted; whether they were. */
  async function propose(title, edits, showFaults) {
    let trial;
    try {
      trial = await ask("POST", "topology", { base: file.revision, edits, trial: true });
    } catch (refusal) {
      return refused(refusal, showFaults);
    }
    const fault = h("div", { class: "fault", role: "alert", hidden: "" });
    const go = h("button", { class: "primary", text: "Carry out" });
    const { element: opened, closed } = dialog(title,
      h("p", { text: trial.difference.trim() ? "This would change the file:" : "The file would stay as it is." }), difference(trial.difference, "What would change"),
      trial.warnings?.length ? h("div", { class: "note" }, h("b", { text: "Doubtful" }), trial.warnings.map((warning) => h("p", { text: warning }))) : null,
      fault, h("div", { class: "dialog-foot" }, h("button", { type: "button", text: "Back", onclick: () => opened.close("") }), go));
    go.focus();
    go.addEventListener("click", async () => {
      go.disabled = true;
      try {
        await ask("POST", "topology", { base: file.revision, edits, trial: false });
        opened.close("yes");
        await done(`Done: ${title}.`);
      } catch (refusal) {
        if (refusal.status === 409 && refusal.code !== "exists") opened.close("");
        if (!await refused(refusal, null, fault)) go.disabled = false;
      }
    });
    return (await closed) === "yes";
  }

  /** Shows why edits were refused: others' change, faults, or something else. */
  async function refused(refusal, showFaults, place) {
    const { details } = refusal;
    if (refusal.status === 409 && "revision" in details) {
      const { element: opened, closed } = dialog("Somebody else has changed the file",
        h("p", { text: "Nothing of yours was written. Since you looked, this was changed:" }), difference(details.difference ?? "(The state that you saw is not known any more.)", "What the other has changed"),
        h("p", { text: "Your form stays as it is. Try it again, and it is tried on the new file." }),
        h("div", { class: "dialog-foot" }, h("button", { class: "primary", text: "Go on with the new file", onclick: () => opened.close("yes") })));
      await closed;
      await load();
    } else if (details.faults) {
      const faults = details.faults.map((each) => typeof each === "string" ? each : each.message ?? JSON.stringify(each));
      if (showFaults) showFaults(faults);
      else await confirmDialog({ title: "The file would have faults", text: faults.join("\n"), act: "Back" });
    } else if (showFaults) showFaults([refusal.message]);
    else if (place) showRefusal(place, refusal);
    else showRefusal(state, refusal);
    return false;
  }

  async function drain(server) {
    const draining = !server.drain;
    if (draining && !await confirmDialog({ title: `Drain ${server.id}`, text: "Its viewers are moved to other push servers where there are any, and no new ones come until the drain is ended.", act: "Drain" })) return;
    try {
      await ask("POST", `push-servers/${encodeURIComponent(server.id)}/drain`, { draining });
      await done(draining ? `${server.id} is drained.` : `${server.id} takes viewers again.`);
    } catch (refusal) {
      showRefusal(state, refusal);
    }
  }

  async function command(server, input) {
    try {
      await ask("POST", `acquisition-servers/${encodeURIComponent(server)}/commands`, { restart_input: input });
      await done(`Input ${input} of ${server} is opened anew.`);
    } catch (refusal) {
      showRefusal(state, refusal);
    }
  }

  load();
  return { title: "Topology", element };
}
