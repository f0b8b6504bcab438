"use strict";
// The step is a tree of groups. Open groups are frames, closed ones and ops are boxes; a wire is
// drawn between the innermost visible boxes around its ends.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const { root, wires, colours } = JSON.parse(document.getElementById("step").textContent);
  const picture = document.getElementById("picture");
  const byNumber = new Map(); // op number -> op
  const all = [];

  const prepare = (group, parent, colour) => {
    group.parent = parent;
    group.key = `g${all.length}`;
    all.push(group);
    group.colour = (group.kind === "cluster" ? colours[group.name] : colours[group.kind]) || colour;
    group.marks = new Set();
    for (const inner of group.groups || []) prepare(inner, group, group.colour);
    for (const op of group.ops || []) {
      Object.assign(op, { parent: group, key: `o${op.i}`, colour: group.colour });
      byNumber.set(op.i, op);
      if (op.mark) for (let g = group; g; g = g.parent) g.marks.add(op.mark);
    }
  };
  prepare(root, null, "#ffffff");

  const open = new Set();
  const collapse = () => {
    open.clear();
    for (const group of all) {
      const few = group.name === "trained" && group.count <= 8;
      const shown = group.kind === "variables" && (group.parent === root || few);
      if (group.kind === "step" || group.kind === "branch" || shown) open.add(group);
    }
  };
  collapse();

  const visible = (item) => {
    let shown = item;
    for (let g = item.parent; g; g = g.parent) if (!open.has(g)) shown = g;
    return shown;
  };

  const make = (name, attributes, parent, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.appendChild(element);
    return element;
  };
  const short = (text, length) => (text.length <= length ? text : `…${text.slice(1 - length)}`);
  const label = (item) =>
    item.op === "variable" ? short(item.id, 34) : item.op || short(item.name, 40);
  const detail = (item) => (item.op ? item.out : `${item.count} ${item.kind === "variables" ? "variables" : "ops"}`);

  let hits = new Set();
  let view = null;
  const draw = () => {
    const graph = new dagre.graphlib.Graph({ compound: true, multigraph: true });
    graph.setGraph({ rankdir: "LR", nodesep: 14, ranksep: 46, marginx: 20, marginy: 20 });
    const frames = [];
    const boxes = [];
    const place = (item) => {
      if (item.op || !open.has(item)) {
        const width = Math.max(90, 7 * Math.max(label(item).length, 0.85 * detail(item).length) + 18);
        graph.setNode(item.key, { width, height: item.op === "variable" ? 44 : 38 });
        boxes.push(item);
      } else {
        graph.setNode(item.key, {});
        frames.push(item);
        for (const inner of [...(item.groups || []), ...(item.ops || [])]) {
          place(inner);
          if (item !== root) graph.setParent(inner.key, item.key);
        }
      }
    };
    for (const inner of [...(root.groups || []), ...(root.ops || [])]) place(inner);
    const drawn = new Map();
    for (const [source, target, kind] of wires) {
      const from = byNumber.get(source), to = byNumber.get(target);
      if (!from || !to) continue;
      const a = visible(from), b = visible(to);
      if (a === b) continue;
      // Wires of closed groups of state say little and hide much.
      if ([a, b].some((end) => end.kind === "variables" && end.name !== "trained")) continue;
      const key = `${a.key} ${b.key} ${kind}`;
      const known = drawn.get(key);
      if (known) known.count += 1;
      else drawn.set(key, { a, b, kind, count: 1 });
    }
    for (const [key, wire] of drawn) {
      // Writes lead back to where a step began: they do not order the picture.
      if (wire.kind === "write") graph.setEdge(wire.b.key, wire.a.key, { wire, back: true }, key);
      else graph.setEdge(wire.a.key, wire.b.key, { wire }, key);
    }
    dagre.layout(graph);

    picture.replaceChildren();
    const defs = make("defs", {}, picture);
    for (const kind of ["data", "read", "write"]) {
      const colour = { data: "#8a93a3", read: "#4c78a8", write: "#d1495b" }[kind];
      const marker = make("marker", { id: `to-${kind}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" }, defs);
      make("path", { d: "M0 0L8 4L0 8z", fill: colour }, marker);
    }
    const corner = (at) => ({ x: at.x - at.width / 2, y: at.y - at.height / 2, width: at.width, height: at.height, rx: 6 });
    for (const item of frames) {
      const at = graph.node(item.key);
      const frame = make("g", { class: `frame ${item.kind}`, "data-name": item.name }, picture);
      make("rect", { ...corner(at), fill: item.colour }, frame);
      const title = make("text", { x: at.x - at.width / 2 + 8, y: at.y - at.height / 2 + 15 }, frame, `${item.name} −`);
      title.addEventListener("click", () => { open.delete(item); draw(); });
    }
    for (const edge of graph.edges()) {
      const { wire, points, back } = graph.edge(edge);
      const along = back ? [...points].reverse() : points;
      const path = make("path", {
        class: `wire ${wire.kind}`, "marker-end": `url(#to-${wire.kind})`,
        "stroke-width": Math.min(4, 1 + Math.log10(wire.count)),
        d: along.map((p, i) => `${i ? "L" : "M"}${p.x.toFixed(1)} ${p.y.toFixed(1)}`).join(""),
      }, picture);
      make("title", {}, path, `${wire.count} ${wire.kind}: ${label(wire.a)} → ${label(wire.b)}`);
    }
    for (const item of boxes) {
      const at = graph.node(item.key);
      const marked = item.mark || [...(item.marks || [])].join(" ");
      const around = [...hits].some((hit) => visible(hit) === item);
      const box = make("g", { class: `box ${marked} ${around ? "hit" : ""}`, "data-name": item.id || item.name }, picture);
      if (item.op === "variable") {
        make("ellipse", { cx: at.x, cy: at.y, rx: at.width / 2, ry: at.height / 2, fill: "#fff" }, box);
      } else {
        make("rect", { ...corner(at), fill: item.colour, rx: item.op ? 2 : 8 }, box);
      }
      make("text", { x: at.x, y: at.y - 1 }, box, label(item) + (item.op ? "" : " +"));
      make("text", { x: at.x, y: at.y + 13, class: "small" }, box, detail(item));
      make("title", {}, box, item.id || item.name);
      box.addEventListener("click", () => {
        if (moved) return;
        if (item.op) {
          document.getElementById("chosen").textContent = `${item.op}\n${item.id}\n${item.out}`;
        } else {
          open.add(item);
          draw();
        }
      });
    }
    size = picture.getBBox();
    if (!view) fit();
    else look();
  };

  let size = { x: 0, y: 0, width: 100, height: 100 };
  const look = () => picture.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  const fit = () => {
    view = { x: size.x - 10, y: size.y - 10, w: size.width + 20, h: size.height + 20 };
    look();
  };
  let moved = false;
  picture.addEventListener("wheel", (event) => {
    event.preventDefault();
    const factor = Math.exp(event.deltaY / 500);
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
    view = { x: at.x - (at.x - view.x) * factor, y: at.y - (at.y - view.y) * factor, w: view.w * factor, h: view.h * factor };
    look();
  }, { passive: false });
  picture.addEventListener("pointerdown", (down) => {
    moved = false;
    const start = { ...view };
    const scale = 1 / picture.getScreenCTM().a;
    const move = (event) => {
      const dx = event.clientX - down.clientX, dy = event.clientY - down.clientY;
      if (Math.abs(dx) + Math.abs(dy) > 4) moved = true;
      view = { ...start, x: start.x - dx * scale, y: start.y - dy * scale };
      look();
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", () => window.removeEventListener("pointermove", move), { once: true });
  });

  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const seek = (reveal) => {
    const text = search.value.trim().toLowerCase();
    hits = new Set();
    if (text) {
      for (const op of byNumber.values()) {
        if (op.id.toLowerCase().includes(text) || op.op.toLowerCase() === text) hits.add(op);
      }
    }
    found.textContent = text ? `${hits.size} found` : "";
    if (reveal && hits.size) {
      const [first] = hits;
      for (let g = first.parent; g; g = g.parent) open.add(g);
      view = null;
    }
    draw();
  };
  search.addEventListener("input", () => seek(false));
  search.addEventListener("keydown", (event) => event.key === "Enter" && seek(true));
  document.getElementById("fit").addEventListener("click", fit);
  document.getElementById("collapse").addEventListener("click", () => { collapse(); view = null; draw(); });

  const legend = document.getElementById("legend");
  const names = new Set(all.filter((g) => g.kind === "cluster").map((g) => g.name));
  for (const name of Object.keys(colours).filter((n) => names.has(n))) {
    const entry = document.createElement("span");
    const swatch = document.createElement("i");
    swatch.style.background = colours[name];
    entry.append(swatch, name);
    legend.append(entry);
  }
  draw();
})();
