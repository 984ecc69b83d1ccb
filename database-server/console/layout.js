// Where the nodes and arrows of a graph lie: four columns where there is room, one column with arcs beside it on a phone.

const NODE = { height: 46, gap: 12 };
/** Nodes of one line. */
const LOW = { height: 28, gap: 8 };
/** With more feeds than this only those that lack something bear words, until a node is chosen. */
const WORDED_FEEDS = 6;
const COLUMNS = [{ share: 0.15, least: 136 }, { share: 0.22, least: 168 }, { share: 0.15, least: 150 }, { share: 0.2, least: 176 }];
/** Below this there are arcs instead of columns. */
export const NARROW = 760;
const HEAD = 26;
/** The least height of the picture; and how much of a tall one is looked at at once. */
const LEAST_HEIGHT = 190;
const SEEN_HEIGHT = 640;
/** With more arrows than this between two columns, none bears words but what lacks something or is chosen. */
const WORDED_ARROWS = 40;
const LABEL = { letter: 6.1, height: 16 };

/** `near` has the ids of what hangs together with the chosen node, or is null. Gives each node `x y width height`, each arrow `path` and `at` (where its label lies, null where there is none); returns the picture's height. */
export function layout({ nodes, edges }, width, near) {
  for (const node of nodes) Object.assign(node, node.low ? LOW : NODE);
  return width < NARROW ? arcs(nodes, edges, width) : columns(nodes, edges, width, near);
}

function columns(nodes, edges, width, near) {
  const widths = COLUMNS.map(({ share, least }) => Math.max(least, Math.min(Math.round(width * share), least * 1.5)));
  const gap = (width - 2 - widths.reduce((a, b) => a + b)) / 3;
  const layers = [0, 1, 2, 3].map((layer) => nodes.filter((node) => node.layer === layer));
  const tall = layers.map((layer) => layer.reduce((all, node) => all + node.height + node.gap, 0));
  const height = Math.max(...tall, LEAST_HEIGHT);
  let x = 1;
  layers.forEach((layer, index) => {
    // A short column stands in the middle of what is seen at once, its nodes apart, but not lost in the room.
    const room = Math.min(height, Math.max(SEEN_HEIGHT, tall[index]));
    const spare = Math.min((room - tall[index]) / Math.max(layer.length, 1), tall[index] / Math.max(layer.length, 1) * 1.6);
    let y = HEAD + (room - tall[index] - spare * layer.length) / 2;
    for (const node of layer) {
      const cell = node.height + node.gap + spare;
      Object.assign(node, { x, y: y + (cell - node.height) / 2, width: widths[index] });
      y += cell;
    }
    x += widths[index] + gap;
  });
  const byId = new Map(nodes.map((node) => [node.id, node]));
  // An arrow leaves and arrives at a place of its own along the node's side, in the order of the other ends.
  const port = (id, side) => {
    const own = edges.filter((edge) => edge[side] === id).sort((a, b) => {
      const other = side === "from" ? "to" : "from";
      return byId.get(a[other]).y - byId.get(b[other]).y;
    });
    own.forEach((edge, n) => { edge[side === "from" ? "y1" : "y2"] = byId.get(id).y + byId.get(id).height * (n + 1) / (own.length + 1); });
  };
  for (const node of nodes) { port(node.id, "from"); port(node.id, "to"); }
  const taken = [];
  const feeds = edges.filter((edge) => edge.feed && (!near || near.has(edge.id))).length;
  const worded = (edge) => (near ? near.has(edge.id) : true) && (edge.dropped || edge.inactive || (edge.feed ? feeds <= WORDED_FEEDS : near || edges.length - feeds <= WORDED_ARROWS));
  // What is lost or lacking gets its place first.
  for (const edge of [...edges].sort((a, b) => weight(b) - weight(a))) {
    const [from, to] = [byId.get(edge.from), byId.get(edge.to)];
    const [x1, x2] = [from.x + from.width, to.x - 5];
    const bend = (x2 - x1) * 0.45;
    edge.path = `M${x1} ${edge.y1}C${x1 + bend} ${edge.y1} ${x2 - bend} ${edge.y2} ${x2} ${edge.y2}`;
    edge.at = worded(edge) ? place(edge, { x1, x2, bend }, taken) : null;
  }
  return { height: HEAD + height + 6, heads: layers.map((layer, index) => ({ x: layer[0]?.x ?? 0, count: layer.length, index })), narrow: false };
}

/** Where along a curve a label is tried; where one node has many arrows, first beside the others' ends, where they have parted. */
const PLACES = [0.5, 0.58, 0.42, 0.65, 0.35, 0.7, 0.3];
const PLACES_FANNED = [0.7, 0.64, 0.58, 0.5, 0.42, 0.35, 0.3];

function weight(edge) {
  return (edge.dropped ? 2 : 0) + (edge.state === "inactive" ? 1 : 0);
}

/** A free place for the arrow's label along its curve. */
function place(edge, { x1, x2, bend }, taken) {
  const room = x2 - x1 - 8;
  // Where there is no room for all of it, what is lost is what matters.
  if (edge.label.length * LABEL.letter + 6 > room && edge.dropped) edge.label = edge.label.split(" · ").at(-1);
  const half = edge.label.length * LABEL.letter / 2 + 3;
  if (half * 2 > room) return null;
  for (const t of edge.to.startsWith("network:") ? PLACES : PLACES_FANNED) {
    const u = 1 - t;
    const x = u ** 3 * x1 + 3 * u * u * t * (x1 + bend) + 3 * u * t * t * (x2 - bend) + t ** 3 * x2;
    const y = u ** 3 * edge.y1 + 3 * u * u * t * edge.y1 + 3 * u * t * t * edge.y2 + t ** 3 * edge.y2;
    if (x - half < x1 + 2 || x + half > x2 - 4) continue;
    if (taken.some((other) => Math.abs(other.x - x) < other.half + half && Math.abs(other.y - y) < LABEL.height)) continue;
    taken.push({ x, y, half });
    return { x, y };
  }
  return null;
}

function arcs(nodes, edges, width) {
  const gutter = 64;
  const sorted = [...nodes].sort((a, b) => a.layer - b.layer);
  const heads = [];
  let y = 0;
  let layer = -1;
  for (const node of sorted) {
    if (node.layer !== layer) {
      y += layer < 0 ? 0 : 8;
      heads.push({ x: gutter, y: y + 15, index: node.layer });
      layer = node.layer;
      y += HEAD;
    }
    Object.assign(node, { x: gutter, y, width: width - gutter - 2 });
    y += node.height + 8;
  }
  const byId = new Map(nodes.map((node) => [node.id, node]));
  for (const edge of edges) {
    const [from, to] = [byId.get(edge.from), byId.get(edge.to)];
    const [y1, y2] = [from.y + from.height * 0.66, to.y + to.height * 0.34];
    const depth = Math.min(gutter, 12 + Math.abs(y2 - y1) * 0.16);
    edge.path = `M${gutter} ${y1}C${gutter - depth * 1.3} ${y1} ${gutter - depth * 1.3} ${y2} ${gutter - 5} ${y2}`;
    edge.at = null;
  }
  return { height: y, heads, narrow: true };
}
