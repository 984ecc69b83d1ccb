// The topology file, read for the forms: what each table says now. The server alone judges it; this reads what TOML the file may hold
// (tables, arrays of tables, strings, whole numbers, truth values, lists, inline tables).

/** {database_server, acquisition_server: [{id, input: […]}], channel: […], push_server: [{…, destination: […]}]}. Throws on what it cannot read. */
export function readTopology(text) {
  const root = {};
  let table = root;
  const reader = new Reader(text);
  for (;;) {
    reader.blank();
    if (reader.end()) break;
    if (reader.take("[[")) {
      table = place(root, reader.keys(), true);
      reader.expect("]]");
    } else if (reader.take("[")) {
      table = place(root, reader.keys(), false);
      reader.expect("]");
    } else {
      const keys = reader.keys();
      reader.expect("=");
      const last = keys.pop();
      keys.reduce((into, key) => into[key] ??= {}, table)[last] = reader.value();
    }
  }
  return { database_server: root.database_server ?? {}, acquisition_server: root.acquisition_server ?? [], channel: root.channel ?? [], push_server: root.push_server ?? [] };
}

function place(root, keys, list) {
  let at = root;
  keys.forEach((key, index) => {
    const last = index === keys.length - 1;
    if (last && list) {
      at[key] ??= [];
      at[key].push({});
      at = at[key].at(-1);
    } else {
      at[key] ??= {};
      at = Array.isArray(at[key]) ? at[key].at(-1) : at[key];
    }
  });
  return at;
}

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  end() {
    return this.at >= this.text.length;
  }

  /** Passes white space, line ends and comments. */
  blank() {
    const match = /(?:\s|#[^\n]*)*/y;
    match.lastIndex = this.at;
    match.exec(this.text);
    this.at = match.lastIndex;
  }

  take(text) {
    if (!this.text.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  expect(text) {
    this.blank();
    if (!this.take(text)) throw new Error(`line ${this.text.slice(0, this.at).split("\n").length}: expected ${text}`);
  }

  match(form) {
    form.lastIndex = this.at;
    const found = form.exec(this.text);
    if (found) this.at = form.lastIndex;
    return found?.[0] ?? null;
  }

  keys() {
    const keys = [];
    do {
      this.blank();
      keys.push(this.text[this.at] === '"' || this.text[this.at] === "'" ? this.string() : this.match(/[A-Za-z0-9_-]+/y) ?? this.expect("a key"));
      this.blank();
    } while (this.take("."));
    return keys;
  }

  string() {
    const literal = this.match(/'''[^]*?'''|'[^'\n]*'/y);
    if (literal) return literal.startsWith("'''") ? literal.slice(3, -3) : literal.slice(1, -1);
    const multi = this.match(/"""[^]*?"""/y);
    const basic = multi ? multi.slice(3, -3) : this.match(/"(?:[^"\\\n]|\\.)*"/y)?.slice(1, -1);
    if (basic === undefined || basic === null) throw new Error("a string does not end");
    const short = { b: "\b", t: "\t", n: "\n", f: "\f", r: "\r", e: "\x1b", '"': '"', "\\": "\\" };
    return basic.replace(/\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))/g, (_, u4, u8, x2, one) => one ? short[one] ?? one : String.fromCodePoint(parseInt(u4 ?? u8 ?? x2, 16)));
  }

  value() {
    this.blank();
    const first = this.text[this.at];
    if (first === '"' || first === "'") return this.string();
    if (this.take("[")) return this.list("]", () => this.value());
    if (this.take("{")) {
      return Object.fromEntries(this.list("}", () => {
        const [key] = this.keys();
        this.expect("=");
        return [key, this.value()];
      }));
    }
    const word = this.match(/[^\s,\]}#]+/y) ?? "";
    if (word === "true" || word === "false") return word === "true";
    const number = Number(word.replaceAll("_", ""));
    if (word === "" || Number.isNaN(number)) throw new Error(`${word} is no value that the file may hold`);
    return number;
  }

  list(close, item) {
    const items = [];
    for (;;) {
      this.blank();
      if (this.take(close)) return items;
      items.push(item());
      this.blank();
      if (!this.take(",")) {
        this.expect(close);
        return items;
      }
    }
  }
}
