// Elements: how the page is made and kept. Nothing is ever made from markup in a string, and what is on the page already is
// changed in place, so that focus, selection and scroll stay where they are while figures change.

const SVG = "http://www.w3.org/2000/svg";

/** An element; `properties` are attributes, `on…` listeners, `text`; children are nodes or strings. */
export function h(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

/** The same in SVG. */
export function svg(name, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

function fill(element, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "text") element.textContent = value;
    else attribute(element, key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets or, with null or false, takes away an attribute; touches nothing that is so already. */
export function attribute(element, key, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(key)) element.removeAttribute(key);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(key) !== text) element.setAttribute(key, text);
}

/** Sets the text when it is another. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Makes the children of `parent` those of `items`: one element per key, made once, brought up to date each time, moved only when the order changed. */
export function keyed(parent, items, { key, make, update }) {
  const kept = parent.keyed ?? new Map();
  const next = new Map();
  let after = null;
  for (const item of items) {
    const id = key(item);
    const element = kept.get(id) ?? make(item);
    update?.(element, item);
    next.set(id, element);
    const place = after ? after.nextSibling : parent.firstChild;
    if (place !== element) parent.insertBefore(element, place);
    after = element;
  }
  for (const [id, element] of kept) if (!next.has(id)) element.remove();
  parent.keyed = next;
}

/** A table with a caption and column headings; `columns` are {title, number, make(cell, item)}: `make` brings a cell up to date. */
export class Table {
  constructor({ caption, columns, key, empty = "Nothing to show.", hideCaption = true }) {
    this.columns = columns;
    this.key = key;
    this.body = h("tbody");
    this.empty = h("p", { class: "quiet", text: empty });
    this.table = h("table", {},
      h("caption", { class: hideCaption ? "unseen" : "", text: caption }),
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.number ? "number" : "" , text: column.title })))),
      this.body);
    this.element = h("div", { class: "table", role: "region", "aria-label": caption, tabindex: "0" }, this.table, this.empty);
  }

  update(items) {
    this.table.hidden = items.length === 0;
    this.empty.hidden = items.length > 0;
    keyed(this.body, items, {
      key: this.key,
      make: () => h("tr", {}, this.columns.map((column, index) => h(index === 0 ? "th" : "td", { scope: index === 0 ? "row" : null, class: column.number ? "number" : "", "data-title": column.title }))),
      update: (row, item) => this.columns.forEach((column, index) => {
        const cell = row.children[index];
        const made = column.make(item, cell);
        if (typeof made === "string" || typeof made === "number") say(cell, String(made));
      }),
    });
  }
}

/** The badge of a state: a shape, a colour and a word, never a colour alone. */
export function badge(cell, state, word = state) {
  let element = cell.querySelector(":scope > .badge");
  if (!element) {
    element = h("span", { class: "badge" }, h("span", { class: "shape", "aria-hidden": "true" }), h("span"));
    cell.replaceChildren(element);
  }
  attribute(element, "data-state", state);
  say(element.lastChild, word);
  return null;
}

/** A link or button within a cell, made once. */
export function kept(cell, make) {
  if (!cell.made) {
    cell.made = make();
    cell.replaceChildren(cell.made);
  }
  return cell.made;
}

/** Tells a screen reader something that matters once, wherever it is. */
export function announce(text) {
  document.getElementById("say").textContent = text;
}
