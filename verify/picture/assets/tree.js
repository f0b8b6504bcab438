// What there is: a tree of groups and ops, and which groups are open.
const { wires, tones, sides } = data;
let root = data.root; // by parts of the step, which open to layers; or by layers, which open to parts
const element = (id) => document.getElementById(id);
const byNumber = new Map(); // op number -> op
const byKey = new Map(); // key in the picture -> group or op
const groups = [];
const items = []; // groups and ops in the order of the tree
const isOp = (item) => "op" in item;
const isUnused = (item) => item.kind === "cluster" && item.name === "unused";

const prepare = (group, parent, tone) => {
  Object.assign(group, { parent, key: `g${groups.length}`, marks: {}, total: 0 });
  groups.push(group);
  items.push(group);
  byKey.set(group.key, group);
  group.tone = (group.kind === "cluster" ? tones[group.name] : tones[group.kind]) || tone;
  for (const inner of group.groups || []) prepare(inner, group, group.tone);
  for (const op of group.ops || []) {
    Object.assign(op, { parent: group, key: `o${op.i}`, tone: group.tone });
    byNumber.set(op.i, op);
    byKey.set(op.key, op);
    items.push(op);
    for (let g = group; g; g = g.parent) {
      g.total += 1;
      if (op.mark) g.marks[op.mark] = (g.marks[op.mark] || 0) + 1;
    }
  }
};

const opened = new Set();
const passing = new Set(); // groups that are open for the sake of what was found, until the next is
// A model around all layers says nothing while it is closed.
const isOnlyLayer = (group) =>
  group.kind === "layer" && ["step", "branch"].includes(group.parent.kind) && group.parent.groups.filter((g) => g.kind === "layer").length === 1;
const openAtFirst = (group) =>
  group.kind === "step" || group.kind === "branch" || (group.kind === "variables" && group.parent === root) ||
  (root === data.layers && isOnlyLayer(group));
const collapse = () => {
  opened.clear();
  passing.clear();
  for (const group of groups) if (openAtFirst(group)) opened.add(group);
};
let byAddress = null; // what a link says -> items, made when it is first asked for
const plant = (tree) => {
  root = tree;
  byKey.clear();
  groups.length = items.length = 0;
  byAddress = null;
  prepare(root, null, "var(--paper)");
  collapse();
};
plant(data.root);
const resolve = (group) => {
  for (const inner of group.groups || []) resolve(inner);
  if (group.ops) group.ops = group.ops.map((number) => byNumber.get(number));
};
if (data.layers) resolve(data.layers);
const hasLayers = (group) => group.kind === "layer" || (group.groups || []).some(hasLayers);

const toggle = (group) => {
  if (opened.has(group)) opened.delete(group);
  else opened.add(group);
  for (let g = group; g; g = g.parent) passing.delete(g); // opened by hand: they stay
};

// Opens all that is around an item, and closes what was opened so for the item before.
const reveal = (item) => {
  for (const group of passing) opened.delete(group);
  passing.clear();
  for (let g = item.parent; g; g = g.parent) {
    if (!opened.has(g)) {
      opened.add(g);
      passing.add(g);
    }
  }
};

// The innermost box that an item is drawn in or as.
const visible = (item) => {
  let shown = item;
  for (let g = item.parent; g; g = g.parent) if (!opened.has(g)) shown = g;
  return shown;
};

const short = (text, length) => (text.length <= length ? text : `…${text.slice(1 - length)}`);
const fullName = (item) => (isOp(item) ? item.id : item.name);
const label = (item) => {
  if (!isOp(item)) return short(item.name, 40);
  return item.op === "variable" ? short(item.id, 34) : item.op;
};
// What is no part of a side of a difference: of the old step what is new, of the new what is gone.
const LEFT_OUT = { old: "added", new: "gone" };
const counted = (group, side) => {
  const total = group.total - (group.marks[LEFT_OUT[side]] || 0);
  return `${total} ${group.kind === "variables" ? "variable" : "op"}${total === 1 ? "" : "s"}`;
};
const SAID = { added: "new", gone: "gone", touched: "computed from what changed" };
const SIGNS = { added: "+", gone: "−", touched: "~" }; // so that no colour is needed
const detail = (item, side) => {
  if (isOp(item)) return item.out.length <= 44 ? item.out : `${item.out.slice(0, 43)}…`;
  const changes = ["added", "gone"].filter((mark) => item.marks[mark] && mark !== LEFT_OUT[side]);
  return [counted(item, side), ...changes.map((mark) => `${item.marks[mark]} ${SAID[mark]}`)].join(", ");
};
const isAll = (item, mark) => (isOp(item) ? item.mark === mark : item.marks[mark] === item.total);
const isGhost = (item) => isAll(item, "gone");
const around = (item) => {
  const names = [];
  for (let g = item.parent; g && g !== root; g = g.parent) names.unshift(g.name);
  return names.join(" › ");
};

// What a link to an item says after its #.
const address = (item) => {
  if (isOp(item)) return item.id;
  return [around(item), item.name].filter(Boolean).join(" › ");
};
// Of the same name, one that is there goes before one that is gone, unless that is meant.
const addressed = (name, gone = false) => {
  if (!byAddress) {
    byAddress = new Map();
    for (const item of items.slice(1)) {
      const there = byAddress.get(address(item));
      if (there) there.push(item);
      else byAddress.set(address(item), [item]);
    }
  }
  const there = byAddress.get(name) || [];
  return there.find((item) => isGhost(item) === gone) || there[0];
};
