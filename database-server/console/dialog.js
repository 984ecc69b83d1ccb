// Dialogs: the native element, which keeps focus inside and gives it back.

import { h } from "./element.js";

/** Shows `content` as a modal dialog under `title`; resolves with the value it was closed with. */
export function dialog(title, ...content) {
  const heading = h("h2", { id: `dialog-${Math.random().toString(36).slice(2)}`, text: title });
  const element = h("dialog", { "aria-labelledby": heading.id }, h("div", { class: "dialog-head" }, heading, h("button", { type: "button", class: "icon", "aria-label": "Close", onclick: () => element.close("") }, "✕")), ...content);
  document.body.append(element);
  const closed = new Promise((resolve) => element.addEventListener("close", () => { element.remove(); resolve(element.returnValue); }));
  element.showModal();
  return { element, closed };
}

/** Asks whether to go on. */
export async function confirmDialog({ title, text, act, danger = false }) {
  const { element, closed } = dialog(title, h("p", { text }),
    h("div", { class: "dialog-foot" }, h("button", { type: "button", text: "Cancel", onclick: () => element.close("") }),
      h("button", { type: "button", class: danger ? "danger" : "primary", text: act, onclick: () => element.close("yes") })));
  return (await closed) === "yes";
}
