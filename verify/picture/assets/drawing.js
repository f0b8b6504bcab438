// How it is drawn: open groups are frames, closed ones and ops are boxes; a wire is drawn between
// the innermost visible boxes around its ends.
const SVG = "http://www.w3.org/2000/svg";
const stage = element("stage");
const places = new Map(); // key -> where a box or a frame is
let size = { width: 100, height: 100 };
let apart = false; // whether the two sides of a difference are two pictures
const panes = []; // one for each picture: its SVG, and which side of a difference it shows

const make = (name, attributes, parent, text) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
};

const setPanes = () => {
  panes.length = 0;
  stage.querySelectorAll(".pane").forEach((pane) => pane.remove());
  for (const side of apart ? ["old", "new"] : ["both"]) {
    const pane = document.createElement("div");
    pane.className = "pane";
    if (apart) {
      const title = document.createElement("h2");
      title.textContent = `${side === "old" ? "before" : "after"}: ${sides[side]}`;
      pane.append(title);
    }
    const told = apart ? `The step ${side === "old" ? "before" : "after"}` : "The step";
    const svg = make("svg", { class: "picture", role: "group", "aria-label": `${told}: boxes that open` }, pane);
    stage.insertBefore(pane, element("map"));
    panes.push({ svg, side });
  }
};
const isSeen = (what, side) => !LEFT_OUT[side] || what !== LEFT_OUT[side];
const isOn = (item, side) => !LEFT_OUT[side] || !isAll(item, LEFT_OUT[side]);

// Wires of closed groups of state, and of what nothing uses, say little and hide much.
const isQuiet = (end) => (end.kind === "variables" && end.name !== "trained") || isUnused(end);

// One wire for all that lead from one visible box to another.
const bundles = () => {
  const found = new Map();
  for (const [source, target, kind, mark = ""] of wires) {
    const from = byNumber.get(source), to = byNumber.get(target);
    if (!from || !to) continue;
    const a = visible(from), b = visible(to);
    if (a === b || isQuiet(a) || isQuiet(b)) continue;
    const key = `${a.key} ${b.key} ${kind}`;
    let wire = found.get(key);
    if (!wire) found.set(key, (wire = { a, b, kind, count: 0, marks: {} }));
    wire.count += 1;
    wire.marks[mark] = (wire.marks[mark] || 0) + 1;
  }
  return found;
};
const countOn = (wire, side) => wire.count - ((LEFT_OUT[side] && wire.marks[LEFT_OUT[side]]) || 0);

const isFrame = (item) => !isOp(item) && opened.has(item);
const corner = (at) => ({ x: at.x - at.width / 2, y: at.y - at.height / 2, width: at.width, height: at.height });

let laid = { of: "" };
let direction = "LR";
const TITLE = 26;
// Where more lead from box to box, laying them out takes more than a person waits for: the thinnest
// go straight.
const most = (boxes) => Math.max(300, 3 * boxes);
// Laying out takes the longest, and is the same as long as the same groups are open.
const layout = () => {
  const of = [direction, ...groups.filter((group) => opened.has(group)).map((group) => group.key)].join();
  if (laid.of !== of) laid = { of, ...layOut() };
  return laid;
};
// From left to right or from top to bottom: as it comes out larger. What is opened later goes on in
// the same way, so that nothing turns around under a reader's eyes.
const turn = () => {
  const { clientWidth, clientHeight } = panes[0].svg;
  const scales = ["LR", "TB"].map((way) => {
    direction = way;
    const { width, height } = layout().graph.graph();
    return Math.min(clientWidth / width, clientHeight / height);
  });
  direction = scales[1] > scales[0] ? "TB" : "LR";
};
const layOut = () => {
  const graph = new dagre.graphlib.Graph({ compound: true, multigraph: true });
  graph.setGraph({ rankdir: direction, nodesep: 18, ranksep: direction === "LR" ? 46 : 34, marginx: 20, marginy: 26 });
  const shown = []; // frames and boxes in the order of the tree
  // What is first in a frame is as wide as the frame's title, so that the frame is.
  const place = (item, least) => {
    shown.push(item);
    if (isFrame(item)) {
      graph.setNode(item.key, {});
      let room = Math.max(least, titleWidth(item) - 24);
      for (const inner of [...(item.groups || []), ...(item.ops || [])]) {
        place(inner, room);
        graph.setParent(inner.key, item.key);
        room = 0;
      }
    } else {
      const width = Math.max(90, least, 7 * Math.max(label(item).length + 2, 0.85 * detail(item).length) + 18);
      graph.setNode(item.key, { width, height: item.op === "variable" ? 44 : 38 });
    }
  };
  for (const inner of [...(root.groups || []), ...(root.ops || [])]) place(inner, 0);
  const drawn = bundles();
  const several = [...drawn], limit = most(shown.length);
  if (several.length > limit) several.sort(([, a], [, b]) => b.count - a.count);
  for (const [key, wire] of several.slice(0, limit)) {
    // Writes lead back to where a step began: they do not order the picture.
    if (wire.kind === "write") graph.setEdge(wire.b.key, wire.a.key, { wire, back: true }, key);
    else graph.setEdge(wire.a.key, wire.b.key, { wire }, key);
  }
  dagre.layout(graph);
  if (!shown.length) Object.assign(graph.graph(), { width: 100, height: 40 }); // a step that does nothing
  for (const [key, wire] of several.slice(limit)) {
    const [from, to] = [wire.a, wire.b].map((end) => graph.node(end.key));
    graph.setEdge(wire.a.key, wire.b.key, { wire, points: [border(from, to), border(to, from)] }, key);
  }
  for (const item of [...shown].reverse().filter(isFrame)) makeRoom(graph, item);
  return { graph, shown, drawn: [...drawn.values()] };
};
// Where the straight line to another box leaves this one.
const border = (box, other) => {
  const dx = other.x - box.x, dy = other.y - box.y;
  const by = Math.min(box.width / 2 / Math.abs(dx || 1e-9), box.height / 2 / Math.abs(dy || 1e-9));
  return { x: box.x + dx * by, y: box.y + dy * by };
};
const titleWidth = (frame) => 8 * frame.name.length + 24;
// Dagre knows of no titles: a frame begins above what is in it by as much as one takes.
const makeRoom = (graph, frame) => {
  const at = graph.node(frame.key);
  const inner = [...(frame.groups || []), ...(frame.ops || [])].map((item) => graph.node(item.key));
  const top = Math.min(at.y - at.height / 2, ...inner.map((one) => one.y - one.height / 2 - TITLE));
  const bottom = at.y + at.height / 2;
  at.y = (top + bottom) / 2;
  at.height = bottom - top;
};

// Through the middles between the points that were laid out, without corners.
const curve = (points) => {
  const at = (p) => `${p.x.toFixed(1)} ${p.y.toFixed(1)}`;
  const between = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
  let path = `M${at(points[0])}`;
  for (let i = 1; i < points.length - 1; i += 1) {
    const end = i === points.length - 2 ? points[i + 1] : between(points[i], points[i + 1]);
    path += `Q${at(points[i])} ${at(end)}`;
  }
  return points.length > 2 ? path : `${path}L${at(points[1])}`;
};

const drawWires = (svg, graph, side) => {
  const defs = make("defs", {}, svg);
  for (const kind of ["data", "read", "write"]) {
    const marker = make("marker", { id: `to-${kind}-${side}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" }, defs);
    make("path", { d: "M0 0L8 4L0 8z", class: `tip ${kind}` }, marker);
  }
  for (const edge of graph.edges()) {
    const { wire, points, back } = graph.edge(edge);
    const count = countOn(wire, side);
    if (!count) continue;
    const only = ["added", "gone"].filter((mark) => isSeen(mark, side) && wire.marks[mark] === count);
    const path = make("path", {
      class: ["wire", wire.kind, ...only].join(" "), "marker-end": `url(#to-${wire.kind}-${side})`,
      "data-from": wire.a.key, "data-to": wire.b.key,
      "stroke-width": Math.min(4, 1 + Math.log10(count)), d: curve(back ? [...points].reverse() : points),
    }, svg);
    make("title", {}, path, `${count} ${wire.kind}: ${label(wire.a)} → ${label(wire.b)}`);
  }
};

const drawTitle = (svg, item, at, hit) => {
  const { x, y } = corner(at);
  const title = make("g", { class: hit ? "title hit" : "title", "data-key": item.key, tabindex: 0, role: "button", "aria-expanded": true, "aria-label": `${item.name}, ${detail(item)}` }, svg);
  make("rect", { x: x + 3, y: y + 2, width: Math.min(at.width - 6, titleWidth(item)), height: 18, rx: 3 }, title);
  make("text", { x: x + 8, y: y + 15 }, title, `${item.name} −`);
};

const drawBox = (svg, item, at, side, hit) => {
  const marks = (isOp(item) ? [item.mark || ""] : Object.keys(item.marks)).filter((mark) => isSeen(mark, side));
  const classes = ["box", ...marks, isGhost(item) ? "ghost" : "", hit ? "hit" : ""].join(" ");
  const kind = isOp(item) ? {} : { "aria-expanded": false };
  const said = [fullName(item), detail(item, side), isOp(item) && item.mark ? SAID[item.mark] : ""].filter(Boolean);
  const box = make("g", { class: classes, "data-key": item.key, "data-name": fullName(item), tabindex: 0, role: "button", "aria-label": said.join(", "), style: `--tone: ${item.tone}`, ...kind }, svg);
  if (item.op === "variable") {
    make("ellipse", { cx: at.x, cy: at.y, rx: at.width / 2, ry: at.height / 2 }, box);
  } else make("rect", { ...corner(at), rx: isOp(item) ? 2 : 8 }, box);
  const sign = isOp(item) && marks[0] ? `${SIGNS[marks[0]]} ` : "";
  make("text", { x: at.x, y: at.y - 1 }, box, sign + label(item) + (isOp(item) ? "" : " ▸"));
  make("text", { x: at.x, y: at.y + 13, class: "small" }, box, detail(item, side));
  make("title", {}, box, fullName(item));
};

// Draws all anew; what has the keyboard's focus keeps it.
const draw = () => {
  const focused = document.activeElement && document.activeElement.dataset.key;
  const { graph, shown } = layout();
  const hits = new Set([...found.items].map(visible));
  places.clear();
  for (const item of shown) places.set(item.key, graph.node(item.key));
  for (const { svg, side } of panes) {
    svg.replaceChildren();
    const here = shown.filter((item) => isOn(item, side));
    for (const item of here.filter(isFrame)) {
      const frame = make("g", { class: `frame ${item.kind}`, "data-name": item.name, style: `--tone: ${item.tone}` }, svg);
      make("rect", { ...corner(places.get(item.key)), rx: 6 }, frame);
    }
    drawWires(svg, graph, side);
    for (const item of here) {
      const at = places.get(item.key);
      if (isFrame(item)) drawTitle(svg, item, at, hits.has(item));
      else drawBox(svg, item, at, side, hits.has(item));
    }
  }
  const { width, height } = graph.graph();
  size = { width, height };
  drawMap();
  pointOut();
  if (focused) {
    const [again] = drawnAs(byKey.get(focused));
    if (again) again.focus({ preventScroll: true });
  }
};
const drawnAs = (item) => (item ? [...stage.querySelectorAll(`.picture [data-key="${item.key}"]`)] : []);
