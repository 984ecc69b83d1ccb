// A form for one table of the topology: a field per key, faults at their place, and the edit that follows from what was changed.

import { attribute, h } from "./element.js";

let serial = 0;

/** Fields of `kind` (see shapes.js), filled from `table` (null: a new one). `name` is which table, when it is there already. */
export class TableForm {
  constructor(shape, table, topology) {
    this.shape = shape;
    this.table = table;
    this.topology = topology;
    serial += 1;
    this.fields = shape.fields.map((field) => this.make(field));
    this.element = h("div", {}, h("div", { class: "grid" }, this.fields.filter((field) => !field.wide).map((field) => field.element)), this.fields.filter((field) => field.wide).map((field) => field.element));
    for (const field of this.fields) field.start = field.read();
  }

  make(field) {
    const id = `f${serial}-${field.key}`;
    const value = this.table ? field.from ? field.from(this.table, this.topology) : this.table[field.key] : field.initial;
    const fault = h("p", { class: "fault", id: `${id}-fault`, hidden: "" });
    const hint = field.hint ? h("p", { class: "hint", id: `${id}-hint`, text: field.hint }) : null;
    const fixed = Boolean(this.table && field.names);
    const describedby = hint ? `${id}-hint` : null;
    const made = { ...field, id, fault };
    if (field.kind === "truth") {
      const input = h("input", { id, type: "checkbox", "aria-describedby": describedby });
      input.checked = value === true;
      made.read = () => input.checked;
      made.input = input;
      made.element = h("div", { class: "field" }, h("div", { class: "checks" }, h("label", { for: id }, input, field.title)), hint, fault);
      return made;
    }
    if (field.kind === "checks") {
      const chosen = new Set(value ?? []);
      const boxes = field.options(this.topology, this.table).map(({ value: each, text }) => {
        const box = h("input", { type: "checkbox", value: each });
        box.checked = chosen.has(each);
        return { box, each, element: h("label", {}, box, text) };
      });
      made.read = () => boxes.filter(({ box }) => box.checked).map(({ each }) => each);
      made.input = boxes[0]?.box ?? h("input");
      made.wide = true;
      made.element = h("fieldset", { "aria-describedby": describedby }, h("legend", { text: field.title }), boxes.length ? h("div", { class: "checks" }, boxes.map(({ element }) => element)) : h("p", { class: "hint", text: "None is there yet." }), hint, fault);
      return made;
    }
    let input;
    if (field.kind === "select") {
      input = h("select", { id, "aria-describedby": describedby, disabled: fixed }, field.options(this.topology, this.table).map((option) => h("option", { value: option.value, text: option.text ?? option.value })));
      if (value !== undefined) input.value = value;
    } else {
      const type = field.kind === "number" ? "number" : "text";
      input = h("input", { id, type, autocomplete: "off", spellcheck: "false", "aria-describedby": describedby, readonly: fixed, required: field.required && !fixed, inputmode: field.kind === "number" ? "numeric" : null, placeholder: field.otherwise ?? null });
      input.value = Array.isArray(value) ? value.join(", ") : value ?? "";
    }
    made.input = input;
    made.read = () => {
      const text = input.value.trim();
      if (text === "") return undefined;
      if (field.kind === "number") return Number(text);
      if (field.kind === "list") return text.split(/[\s,]+/).filter(Boolean);
      return text;
    };
    made.element = h("div", { class: "field" }, h("label", { for: id, text: field.title }), input, hint, fault);
    return made;
  }

  /** The edits that make of the file what the form says; none when nothing was changed. */
  edits() {
    const values = Object.fromEntries(this.fields.map((field) => [field.key, field.read()]));
    const name = this.shape.name(this.table ? { ...values, ...this.shape.named(this.table) } : values);
    const edits = [];
    const set = {};
    const unset = [];
    for (const field of this.fields) {
      if (field.names || field.edits) continue;
      const value = values[field.key];
      if (this.table && same(value, field.start)) continue;
      const empty = value === undefined || (field.kind === "truth" && !value) || (Array.isArray(value) && !value.length && !field.keepsEmpty);
      if (!empty) set[field.key] = field.write ? field.write(value) : value;
      else if (this.table && this.table[field.key] !== undefined) unset.push(field.key);
    }
    if (!this.table) edits.push({ add: { table: name, keys: set } });
    else if (Object.keys(set).length || unset.length) edits.push({ change: { table: name, set, unset } });
    for (const field of this.fields) if (field.edits) edits.push(...field.edits(values, field.start ?? []));
    return edits;
  }

  /** Puts faults beside the fields whose key they name; gives back those that name none. */
  showFaults(faults) {
    for (const field of this.fields) {
      field.fault.hidden = true;
      attribute(field.input, "aria-invalid", null);
    }
    const others = [];
    let first = null;
    for (const fault of faults) {
      const field = this.fields.find((each) => fault.includes(`\`${each.key}\``) || fault.includes(` ${each.key} `));
      if (!field) { others.push(fault); continue; }
      field.fault.textContent = field.fault.hidden ? fault : `${field.fault.textContent}\n${fault}`;
      field.fault.hidden = false;
      attribute(field.input, "aria-invalid", "true");
      attribute(field.input, "aria-describedby", field.fault.id);
      first ??= field.input;
    }
    first?.focus();
    return others;
  }
}

function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}
