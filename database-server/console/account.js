// Accounts: logging in and out, one's own password, everybody's accounts, and who changed what.

import { ask, session } from "./api.js";
import { badge, h, kept, say, Table } from "./element.js";
import { moment } from "./figures.js";
import { confirmDialog, dialog } from "./dialog.js";

export const ROLES = ["viewer", "operator", "superuser"];
/** As protocols::administration::MIN_PASSWORD_CHARS. */
const MIN_PASSWORD = 12;
const AUDIT_PAGE = 50;

const line = (id, text, input, hint) => h("div", { class: "field" }, h("label", { for: id, text }), input, hint ? h("p", { class: "hint", id: `${id}-hint`, text: hint }) : null);

/** Shows a refusal; where it names an address to call instead, as a link. */
export function showRefusal(place, refusal) {
  const address = /https:\/\/[^\s`"'<>)]+/.exec(refusal.message)?.[0].replace(/[.,;]+$/, "");
  place.hidden = false;
  if (!address) {
    place.replaceChildren(refusal.message);
    return;
  }
  const [before, ...after] = refusal.message.split(address);
  // The message names the server's own address; who came by another name stays at it, where his certificate was accepted.
  const here = new URL(address);
  place.replaceChildren(before, h("a", { href: here.href, text: address }), after.join(address));
}

export function loginDialog() {
  const name = h("input", { id: "login-name", name: "name", autocomplete: "username", required: "", autofocus: "" });
  const password = h("input", { id: "login-password", name: "password", type: "password", autocomplete: "current-password", required: "" });
  const fault = h("p", { class: "fault", role: "alert", hidden: "" });
  const button = h("button", { class: "primary", text: "Log in" });
  const plain = location.protocol === "http:" && !["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  const secure = plain ? h("p", { class: "note" }, "This connection is not encrypted, so the server will take no password. Go to ",
    h("a", { href: `https://${location.host}/${location.hash}`, text: `https://${location.host}/` }), " first.") : null;
  const form = h("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        await session.open(name.value, password.value);
        element.close("yes");
      } catch (refusal) {
        showRefusal(fault, refusal);
        password.value = "";
        password.focus();
      } finally {
        button.disabled = false;
      }
    },
  }, secure, line("login-name", "Name", name), line("login-password", "Password", password), fault, h("div", { class: "dialog-foot" }, button));
  const { element } = dialog("Log in", form);
}

export function passwordDialog() {
  const old = h("input", { id: "old-password", type: "password", autocomplete: "current-password", required: "" });
  const next = h("input", { id: "new-password", type: "password", autocomplete: "new-password", required: "", minlength: MIN_PASSWORD, "aria-describedby": "new-password-hint" });
  const fault = h("p", { class: "fault", role: "alert", hidden: "" });
  const { element } = dialog("Change your password", h("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      try {
        await ask("PATCH", `accounts/${encodeURIComponent(session.account.name)}`, { old_password: old.value, password: next.value });
        element.close("yes");
        await session.refresh();
      } catch (refusal) {
        showRefusal(fault, refusal);
      }
    },
  }, line("old-password", "Present password", old), line("new-password", "New password", next, `At least ${MIN_PASSWORD} characters.`), fault, h("div", { class: "dialog-foot" }, h("button", { class: "primary", text: "Change" }))));
}

export function accountsView() {
  const state = h("p", { class: "fault", role: "alert", hidden: "" });
  const attempt = async (act) => {
    state.hidden = true;
    try {
      await act();
      await load();
    } catch (refusal) {
      showRefusal(state, refusal);
      await load().catch(() => undefined);
    }
  };
  const table = new Table({
    caption: "Accounts", key: (account) => account.name, empty: "There is no account.",
    columns: [
      { title: "Name", make: (account) => account.name },
      { title: "Role", make: (account, cell) => {
        const select = kept(cell, () => h("select", { "aria-label": `Role of ${account.name}`, onchange: () => attempt(() => ask("PATCH", `accounts/${encodeURIComponent(account.name)}`, { role: select.value })) }, ROLES.map((role) => h("option", { value: role, text: role }))));
        if (document.activeElement !== select) select.value = account.role;
      } },
      { title: "Changed", make: (account) => account.changed_ms ? moment(account.changed_ms) : "–" },
      { title: "Actions", make: (account, cell) => {
        kept(cell, () => h("span", { class: "buttons" },
          h("button", { class: "small", text: "Password", "aria-label": `New password for ${account.name}`, onclick: () => newPassword(account.name, attempt) }),
          h("button", { class: "danger small", text: "Delete", "aria-label": `Delete ${account.name}`, onclick: async () => {
            if (await confirmDialog({ title: "Delete an account", text: `${account.name} is logged out everywhere and cannot log in any more.`, act: "Delete", danger: true })) attempt(() => ask("DELETE", `accounts/${encodeURIComponent(account.name)}`));
          } })));
      } },
    ],
  });
  const name = h("input", { id: "account-name", required: "", maxlength: 32, autocomplete: "off" });
  const password = h("input", { id: "account-password", type: "password", required: "", minlength: MIN_PASSWORD, autocomplete: "new-password", "aria-describedby": "account-password-hint" });
  const role = h("select", { id: "account-role" }, ROLES.map((each) => h("option", { value: each, text: each })));
  const load = async () => {
    const answer = await ask("GET", "accounts");
    table.update(Array.isArray(answer) ? answer : answer.accounts);
  };
  load().catch((refusal) => showRefusal(state, refusal));
  const element = h("section", {}, h("h1", { text: "Accounts" }), state,
    h("div", { class: "panel flush" }, table.element),
    h("section", { class: "panel", "aria-labelledby": "new-account" }, h("h2", { id: "new-account", text: "New account" }),
      h("form", { class: "form-row", onsubmit: (event) => {
        event.preventDefault();
        attempt(async () => {
          await ask("POST", "accounts", { name: name.value, password: password.value, role: role.value });
          event.target.reset();
        });
      } }, line("account-name", "Name", name), line("account-password", "Password", password, `At least ${MIN_PASSWORD} characters.`), line("account-role", "Role", role), h("button", { class: "primary", text: "Make" })),
      h("p", { class: "hint", text: "A viewer sees what readers see. An operator also records, drains, reloads and restarts inputs. A superuser also changes the topology and accounts." })));
  return { title: "Accounts", element };
}

function newPassword(name, attempt) {
  const next = h("input", { id: "set-password", type: "password", autocomplete: "new-password", required: "", minlength: MIN_PASSWORD });
  const { element } = dialog(`New password for ${name}`, h("form", { onsubmit: (event) => {
    event.preventDefault();
    attempt(() => ask("PATCH", `accounts/${encodeURIComponent(name)}`, { password: next.value }));
    element.close("yes");
  } }, line("set-password", "New password", next, `At least ${MIN_PASSWORD} characters.`), h("div", { class: "dialog-foot" }, h("button", { class: "primary", text: "Set" }))));
}

export function auditView() {
  let entries = [];
  const state = h("p", { class: "quiet", role: "status" });
  const table = new Table({
    caption: "Audit", key: (entry) => entry.id, empty: "Nothing was changed yet.",
    columns: [
      { title: "What", make: (entry) => entry.what },
      { title: "When", make: (entry) => moment(entry.at_ms) },
      { title: "Who", make: (entry) => entry.who },
      { title: "From", make: (entry) => entry.origin ?? "" },
      { title: "Outcome", make: (entry, cell) => badge(cell, /^(done|ok)/i.test(entry.outcome) ? "sent" : "inactive", entry.outcome) },
    ],
  });
  const older = h("button", { text: "Older", onclick: () => load() });
  const load = async () => {
    try {
      const answer = await ask("GET", `audit?limit=${AUDIT_PAGE}${entries.length ? `&before=${entries.at(-1).id}` : ""}`);
      const news = Array.isArray(answer) ? answer : answer.audit ?? answer.entries ?? [];
      entries = entries.concat(news);
      older.hidden = news.length < AUDIT_PAGE;
      table.update(entries);
    } catch (refusal) {
      say(state, refusal.message);
    }
  };
  load();
  return { title: "Audit", element: h("section", {}, h("h1", { text: "Audit" }), h("div", { class: "panel flush" }, table.element), h("p", { class: "actions" }, older), state) };
}
