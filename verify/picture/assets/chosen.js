// What is told of an item that was chosen: what it is, and what it is wired to.
const told = element("chosen");
const FEW = 12; // that an item is wired to, and that are listed
let chosen = null;

const part = (name, text, parent) => {
  const made = document.createElement(name);
  made.textContent = text;
  parent.append(made);
  return made;
};

const tellOnly = (text) => {
  told.replaceChildren();
  part("dd", text, told);
};

// What leads to an item and away from it: ops for an op, visible boxes for a group.
const neighbours = (item) => {
  const from = new Map(), to = new Map();
  if (isOp(item)) {
    for (const [source, target] of wires) {
      if (target === item.i) from.set(byNumber.get(source), 1);
      else if (source === item.i) to.set(byNumber.get(target), 1);
    }
  } else {
    for (const { a, b, count } of layout().drawn) {
      if (b === item) from.set(a, (from.get(a) || 0) + count);
      else if (a === item) to.set(b, (to.get(b) || 0) + count);
    }
  }
  return { from, to };
};

const leadTo = (item, text, parent) => {
  const button = part("button", text, parent);
  button.type = "button";
  button.className = "link";
  button.addEventListener("click", () => goTo(item));
};

const listed = (title, several) => {
  if (!several.size) return;
  part("dt", title, told);
  const list = part("dd", "", told);
  for (const [item, count] of [...several].slice(0, FEW)) {
    const name = isOp(item) && item.op !== "variable" ? `${item.op} · ${item.id}` : fullName(item);
    leadTo(item, count > 1 ? `${name} (${count})` : name, list);
  }
  if (several.size > FEW) part("span", `and ${several.size - FEW} more`, list);
};

const describe = (item) => {
  told.replaceChildren();
  const rows = isOp(item)
    ? [[item.op === "variable" ? "variable" : "op", item.op === "variable" ? item.id : item.op],
      ["name", item.op !== "variable" && item.id], ["gives", item.out], ["in", around(item)],
      ["change", item.mark && SAID[item.mark]]]
    : [["group", item.name], ["holds", detail(item)], ["in", around(item)], ["note", item.note]];
  for (const [title, text] of rows.filter(([, said]) => said)) {
    part("dt", title, told);
    part("dd", text, told);
  }
  const { from, to } = neighbours(item);
  listed("from", from);
  listed("to", to);
  part("dt", "link", told);
  const link = part("a", "to this", part("dd", "", told));
  link.href = `#${encodeURIComponent(address(item))}`;
};

// Marks what was chosen and found, and the wires of it.
const pointOut = () => {
  const at = chosen && visible(chosen);
  for (const one of stage.querySelectorAll(".current, .picked")) one.classList.remove("current", "picked");
  for (const one of drawnAs(at)) one.classList.add("picked");
  if (found.current) for (const one of drawnAs(visible(found.current))) one.classList.add("current");
  const near = at && !isFrame(at) ? at.key : null;
  for (const { svg } of panes) {
    const own = near ? svg.querySelectorAll(`[data-from="${near}"], [data-to="${near}"]`) : [];
    svg.classList.toggle("dim", own.length > 0);
    for (const wire of svg.querySelectorAll(".near")) wire.classList.remove("near");
    for (const wire of own) wire.classList.add("near");
  }
};

// In a page of its own the address says what was chosen, so that it can be sent around.
const isOwnPage = !location.protocol.startsWith("about");
const choose = (item) => {
  chosen = item;
  describe(item);
  pointOut();
  if (isOwnPage) history.replaceState(null, "", `#${encodeURIComponent(address(item))}`);
};
const goTo = (item) => {
  reveal(item);
  draw();
  zoomTo(item);
  choose(item);
};
const letGo = () => {
  if (!chosen) return;
  chosen = null;
  tellOnly("Click a box: groups open, ops are described here.");
  pointOut();
  if (isOwnPage) history.replaceState(null, "", location.pathname + location.search);
};
const follow = () => {
  let name;
  try {
    name = decodeURIComponent(location.hash.slice(1));
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    name = location.hash.slice(1); // written by hand
  }
  let item = name && addressed(name);
  if (name && !item && data.layers) { // perhaps a group of the other tree
    drawByLayer(!isByLayer());
    item = addressed(name);
    if (!item) drawByLayer(!isByLayer());
  }
  if (item) goTo(item);
  else if (name) tellOnly(`Nothing in this step is called ${name}.`);
};

// Facts that name an op or a variable lead to it.
const linkFacts = () => {
  for (const entry of element("facts").querySelectorAll("dd div")) {
    const gone = entry.closest("dd").previousElementSibling.textContent === "gone";
    const item = addressed(entry.textContent, gone);
    if (!item) continue;
    const text = entry.textContent;
    entry.textContent = "";
    leadTo(item, text, entry);
  }
};
