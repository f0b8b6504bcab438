// How it is drawn: open groups are frames, closed ones and ops are boxes; a wire is drawn between
// the innermost visible boxes around its ends.
const SVG = "http://www.w3.org/2000/svg";
const picture = element("picture");
let size = { x: 0, y: 0, width: 100, height: 100 };
const places = new Map(); // key -> where a box or a frame is

const make = (name, attributes, parent, text) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
};

// One wire for all that lead from one visible box to another.
const bundles = () => {
  const found = new Map();
  for (const [source, target, kind] of wires) {
    const from = byNumber.get(source), to = byNumber.get(target);
    if (!from || !to) continue;
    const a = visible(from), b = visible(to);
    if (a === b) continue;
    // Wires of closed groups of state say little and hide much.
    if ([a, b].some((end) => end.kind === "variables" && end.name !== "trained")) continue;
    const ghost = from.mark === "gone" || to.mark === "gone";
    const key = `${a.key} ${b.key} ${kind}`;
    const known = found.get(key);
    if (known) {
      known.count += 1;
      known.ghost = known.ghost && ghost;
    } else found.set(key, { a, b, kind, count: 1, ghost });
  }
  return found;
};

let laid = { of: "", graph: null, shown: [] };
// Laying out takes the longest, and is the same as long as the same groups are open.
const layout = () => {
  const of = groups.filter((group) => opened.has(group)).map((group) => group.key).join();
  if (laid.of !== of) laid = { of, ...layOut() };
  return laid;
};
const layOut = () => {
  const graph = new dagre.graphlib.Graph({ compound: true, multigraph: true });
  graph.setGraph({ rankdir: "LR", nodesep: 14, ranksep: 46, marginx: 20, marginy: 20 });
  const shown = []; // frames and boxes in the order of the tree
  const place = (item) => {
    shown.push(item);
    if (isOp(item) || !opened.has(item)) {
      const width = Math.max(90, 7 * Math.max(label(item).length, 0.85 * detail(item).length) + 18);
      graph.setNode(item.key, { width, height: item.op === "variable" ? 44 : 38 });
    } else {
      graph.setNode(item.key, {});
      for (const inner of [...(item.groups || []), ...(item.ops || [])]) {
        place(inner);
        graph.setParent(inner.key, item.key);
      }
    }
  };
  for (const inner of [...(root.groups || []), ...(root.ops || [])]) place(inner);
  for (const [key, wire] of bundles()) {
    // Writes lead back to where a step began: they do not order the picture.
    if (wire.kind === "write") graph.setEdge(wire.b.key, wire.a.key, { wire, back: true }, key);
    else graph.setEdge(wire.a.key, wire.b.key, { wire }, key);
  }
  dagre.layout(graph);
  return { graph, shown };
};

const isFrame = (item) => !isOp(item) && opened.has(item);
const corner = (at) => ({ x: at.x - at.width / 2, y: at.y - at.height / 2, width: at.width, height: at.height });

const drawWires = (graph) => {
  const defs = make("defs", {}, picture);
  for (const kind of ["data", "read", "write"]) {
    const marker = make("marker", { id: `to-${kind}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" }, defs);
    make("path", { d: "M0 0L8 4L0 8z", class: `tip ${kind}` }, marker);
  }
  for (const edge of graph.edges()) {
    const { wire, points, back } = graph.edge(edge);
    const along = back ? [...points].reverse() : points;
    const path = make("path", {
      class: `wire ${wire.kind} ${wire.ghost ? "ghost" : ""}`, "marker-end": `url(#to-${wire.kind})`,
      "stroke-width": Math.min(4, 1 + Math.log10(wire.count)),
      d: along.map((p, i) => `${i ? "L" : "M"}${p.x.toFixed(1)} ${p.y.toFixed(1)}`).join(""),
    }, picture);
    make("title", {}, path, `${wire.count} ${wire.kind}: ${label(wire.a)} → ${label(wire.b)}`);
  }
};

const drawTitle = (item, at, hit) => {
  const { x, y } = corner(at);
  const title = make("g", { class: hit ? "title hit" : "title", "data-key": item.key, tabindex: 0, role: "button", "aria-expanded": true, "aria-label": `${item.name}, ${detail(item)}` }, picture);
  make("rect", { x: x + 3, y: y + 2, width: Math.min(at.width - 6, 8 * item.name.length + 24), height: 18, rx: 3 }, title);
  make("text", { x: x + 8, y: y + 15 }, title, `${item.name} −`);
};

const drawBox = (item, at, hit) => {
  const marks = isOp(item) ? [item.mark || ""] : Object.keys(item.marks);
  const classes = ["box", ...marks, isGhost(item) ? "ghost" : "", hit ? "hit" : ""].join(" ");
  const kind = isOp(item) ? {} : { "aria-expanded": false };
  const said = [fullName(item), detail(item), isOp(item) && item.mark ? SAID[item.mark] : ""].filter(Boolean);
  const box = make("g", { class: classes, "data-key": item.key, "data-name": fullName(item), tabindex: 0, role: "button", "aria-label": said.join(", "), style: `--tone: ${item.tone}`, ...kind }, picture);
  if (item.op === "variable") {
    make("ellipse", { cx: at.x, cy: at.y, rx: at.width / 2, ry: at.height / 2 }, box);
  } else make("rect", { ...corner(at), rx: isOp(item) ? 2 : 8 }, box);
  make("text", { x: at.x, y: at.y - 1 }, box, label(item) + (isOp(item) ? "" : " +"));
  make("text", { x: at.x, y: at.y + 13, class: "small" }, box, detail(item));
  make("title", {}, box, fullName(item));
};

// Draws all anew; what has the keyboard's focus keeps it.
const draw = () => {
  const focused = document.activeElement && document.activeElement.dataset.key;
  const { graph, shown } = layout();
  const hits = new Set([...found.items].map(visible));
  places.clear();
  for (const item of shown) places.set(item.key, graph.node(item.key));
  picture.replaceChildren();
  for (const item of shown.filter(isFrame)) {
    const frame = make("g", { class: `frame ${item.kind}`, "data-name": item.name, style: `--tone: ${item.tone}` }, picture);
    make("rect", { ...corner(places.get(item.key)), rx: 6 }, frame);
  }
  drawWires(graph);
  for (const item of shown) {
    const at = places.get(item.key);
    if (isFrame(item)) drawTitle(item, at, hits.has(item));
    else drawBox(item, at, hits.has(item));
  }
  const { width, height } = graph.graph();
  size = { x: 0, y: 0, width, height };
  if (found.current) {
    const drawn = drawnAs(visible(found.current));
    if (drawn) drawn.classList.add("current");
  }
  if (focused) {
    const again = drawnAs(byKey.get(focused));
    if (again) again.focus({ preventScroll: true });
  }
};
const drawnAs = (item) => item && picture.querySelector(`[data-key="${item.key}"]`);

const choose = (item) => {
  const lines = isOp(item)
    ? [item.op, item.id, item.out, around(item) && `in ${around(item)}`, item.mark && SAID[item.mark]]
    : [item.name, detail(item), around(item) && `in ${around(item)}`, item.note];
  element("chosen").textContent = lines.filter(Boolean).join("\n");
};
