// A difference: a unified diff, with what was added and removed told by sign and colour.

import { h } from "./element.js";

const KINDS = { "+": "added", "-": "removed", "@": "place" };

export function difference(text, label) {
  const lines = text.replace(/\n$/, "").split("\n").filter((line) => !line.startsWith("--- ") && !line.startsWith("+++ "));
  return h("div", { class: "difference", tabindex: "0", role: "region", "aria-label": label },
    text.trim() ? lines.map((line) => h("span", { class: KINDS[line[0]] ?? "", text: line || " " })) : h("span", { text: "No line changes." }));
}
