// The topology as a live picture, and what is chosen in it.

import { attribute, h, keyed, say, svg } from "./element.js";
import { COLLAPSE_ABOVE, COLLAPSE_ABOVE_NARROW, graph, LAYERS, told } from "./graph.js";
import { layout, NARROW } from "./layout.js";

/** Beyond so many arrows nothing moves: hundreds of animations cost a phone its battery. */
const MOVING_ARROWS = 60;
const KEYS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

export class Picture {
  /** `onchoose(node)` is called with the chosen node, or null. */
  constructor(onchoose) {
    this.onchoose = onchoose;
    this.open = new Set();
    this.chosen = null;
    this.current = null;
    const marker = (state) => svg("marker", { id: `tip-${state}`, viewBox: "0 0 8 8", refX: 3, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto" }, svg("path", { d: "M0 .5 7 4 0 7.500z", class: `tip ${state}` }));
    this.heads = svg("g", { class: "heads", "aria-hidden": "true" });
    this.edges = svg("g", { class: "edges", "aria-hidden": "true" });
    this.labels = svg("g", { class: "labels", "aria-hidden": "true" });
    this.nodes = svg("g", { class: "nodes" });
    this.svg = svg("svg", { class: "picture", role: "group", "aria-label": "Topology; arrow keys go from one to the next, Enter chooses", onkeydown: (event) => this.key(event) },
      svg("defs", {}, ["sent", "suspended", "inactive"].map(marker)), this.heads, this.edges, this.labels, this.nodes);
    this.element = h("div", { class: "canvas" }, this.svg);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
  }

  close() {
    this.observer.disconnect();
  }

  update(site) {
    this.site = site;
    this.draw();
  }

  /** Opens or closes the channels of an acquisition server. */
  toggle(server) {
    if (!this.open.delete(server)) this.open.add(server);
    this.draw();
  }

  /** Whether the channels of an acquisition server are one node now. */
  collapses(server) {
    return this.graph.nodes.some((node) => node.id === `all:${server}`);
  }

  draw() {
    const width = Math.floor(this.element.clientWidth);
    if (!this.site || width === 0) return;
    this.graph = graph(this.site, { open: this.open, most: width < NARROW ? COLLAPSE_ABOVE_NARROW : COLLAPSE_ABOVE });
    const { nodes, edges } = this.graph;
    if (this.chosen && !nodes.some((node) => node.id === this.chosen)) {
      this.chosen = null;
      this.onchoose(null);
    }
    const near = this.neighbourhood();
    const { height, heads, narrow } = layout(this.graph, width, near);
    attribute(this.svg, "viewBox", `0 0 ${width} ${Math.ceil(height)}`);
    attribute(this.svg, "height", Math.ceil(height));
    attribute(this.svg, "data-still", edges.length > MOVING_ARROWS);
    const present = new Set(nodes.map((node) => node.id));
    if (!present.has(this.current)) this.current = nodes[0]?.id ?? null;

    keyed(this.heads, heads, {
      key: (head) => head.index,
      make: (head) => svg("text", { text: LAYERS[head.index] }),
      update: (element, head) => { attribute(element, "x", head.x); attribute(element, "y", narrow ? head.y : 13); },
    });
    const dim = (id) => near && !near.has(id);
    keyed(this.edges, edges, {
      key: (edge) => edge.id,
      make: () => svg("g", {}, svg("path", { class: "line" }), svg("path", { class: "flow" })),
      update: (element, edge) => {
        attribute(element, "class", `edge ${edge.state}${edge.dropped ? " lossy" : ""}${dim(edge.id) ? " dim" : ""}`);
        const [line, flow] = element.children;
        attribute(line, "d", edge.path);
        attribute(line, "marker-end", `url(#tip-${edge.state})`);
        // The line grows with the rate: 1.25 px for next to nothing, 4 px from some 100 Mbit/s on.
        attribute(line, "stroke-width", edge.state === "sent" ? ((1.25 + Math.min(Math.log10(1 + edge.bps / 1e6), 2) * 1.35) * (narrow || edges.length > MOVING_ARROWS ? 0.6 : 1)).toFixed(2) : 1.25);
        attribute(flow, "d", edge.state === "sent" && edges.length <= MOVING_ARROWS ? edge.path : null);
      },
    });
    keyed(this.labels, edges.filter((edge) => edge.at && !dim(edge.id)), {
      key: (edge) => edge.id,
      make: () => svg("text"),
      update: (element, edge) => {
        attribute(element, "class", `label ${edge.state}${edge.dropped ? " lossy" : ""}`);
        attribute(element, "x", edge.at.x.toFixed(1));
        attribute(element, "y", (edge.at.y + 4).toFixed(1));
        say(element, edge.label);
      },
    });
    keyed(this.nodes, nodes, {
      key: (node) => node.id,
      make: (node) => this.make(node),
      update: (element, node) => {
        attribute(element, "class", `node ${node.state}${this.chosen === node.id ? " chosen" : ""}${dim(node.id) ? " dim" : ""}`);
        attribute(element, "transform", `translate(${node.x.toFixed(1)} ${node.y.toFixed(1)})`);
        attribute(element, "aria-label", told(node, this.graph));
        attribute(element, "aria-pressed", String(this.chosen === node.id));
        attribute(element, "tabindex", node.id === this.current ? 0 : -1);
        const [box, full, empty, cross, words, bar] = element.children;
        attribute(box, "width", node.width.toFixed(1));
        attribute(box, "height", node.height);
        const middle = node.low ? 14 : 16;
        for (const circle of [full, empty]) attribute(circle, "cy", middle);
        attribute(cross, "d", `M10 ${middle - 4}l8 8M18 ${middle - 4}l-8 8`);
        attribute(words, "width", (node.width - 32).toFixed(1));
        attribute(words, "height", node.height - (node.parts ? 4 : 0));
        attribute(words.firstChild, "class", node.low ? "words low" : "words");
        const [title, line] = words.firstChild.children;
        say(title, node.title);
        say(line, node.line);
        this.parts(bar, node);
      },
    });
  }

  make(node) {
    const element = svg("g", { role: "button", onclick: () => { this.current = node.id; this.choose(this.chosen === node.id ? null : node.id); } },
      svg("rect", { class: "box", rx: 6 }),
      svg("circle", { class: "full", cx: 14, r: 4.5 }),
      svg("circle", { class: "empty", cx: 14, r: 4 }),
      svg("path", { class: "cross" }),
      svg("foreignObject", { x: 25, y: 0 }, h("div", { class: "words" }, h("div", { class: "title" }), " ", h("div", { class: "line" }))),
      svg("g", { class: "parts" }));
    return element;
  }

  /** The strip at a node's foot: how much of it is sent, suspended, inactive. */
  parts(bar, node) {
    const all = node.parts ? node.parts.sent + node.parts.suspended + node.parts.inactive : 0;
    let x = 1;
    const pieces = all ? ["sent", "suspended", "inactive"].map((state) => {
      const width = (node.width - 2) * node.parts[state] / all;
      const piece = { state, x, width };
      x += width;
      return piece;
    }) : [];
    keyed(bar, pieces, {
      key: (piece) => piece.state,
      make: (piece) => svg("rect", { class: piece.state, height: 3, y: 42 }),
      update: (element, piece) => { attribute(element, "x", piece.x.toFixed(1)); attribute(element, "width", piece.width.toFixed(1)); },
    });
  }

  /** What hangs together with the chosen node: all before it and all behind it. */
  neighbourhood() {
    if (!this.chosen) return null;
    const near = new Set([this.chosen]);
    for (const [side, other] of [["from", "to"], ["to", "from"]]) {
      const frontier = [this.chosen];
      while (frontier.length) {
        const id = frontier.pop();
        for (const edge of this.graph.edges) {
          if (edge[side] !== id || near.has(edge.id)) continue;
          near.add(edge.id);
          near.add(edge[other]);
          frontier.push(edge[other]);
        }
      }
    }
    return near;
  }

  choose(id) {
    this.chosen = id;
    this.draw();
    this.onchoose(id ? this.graph.nodes.find((node) => node.id === id) ?? null : null);
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { nodes } = this.graph;
    const at = nodes.find((node) => node.id === this.current);
    if (!at) return;
    if (event.key === "Enter" || event.key === " ") this.choose(this.chosen === at.id ? null : at.id);
    else if (event.key === "Escape" && this.chosen) this.choose(null);
    else if (KEYS[event.key]) this.move(at, ...KEYS[event.key]);
    else return;
    event.preventDefault();
  }

  move(at, layers, rows) {
    const { nodes } = this.graph;
    let next;
    if (rows) {
      const row = nodes.filter((node) => node.layer === at.layer);
      next = row[row.indexOf(at) + rows];
    } else {
      const column = nodes.filter((node) => node.layer === at.layer + layers);
      next = column.sort((a, b) => Math.abs(a.y - at.y) - Math.abs(b.y - at.y))[0];
    }
    if (!next) return;
    this.current = next.id;
    this.draw();
    this.nodes.keyed.get(next.id).focus();
  }
}
