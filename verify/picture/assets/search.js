// What is looked for: the items that a text names or, without a text, what differs between two
// steps; one of them after the other is opened, shown and told.
const search = element("search");
// What a step does goes before what it keeps, and that before what nothing uses.
const weight = (op) => {
  let heavy = op.op === "variable" ? 1 : 0;
  for (let g = op.parent; g; g = g.parent) if (isUnused(g)) heavy = 2;
  return heavy;
};
const changes = items.filter((item) => isOp(item) && (item.mark === "added" || item.mark === "gone"))
  .map((op) => [weight(op), op]).sort((a, b) => a[0] - b[0]).map(([, op]) => op);
const found = { items: [], at: -1, current: null };

const named = (text) => items.filter((item) => {
  if (item === root) return false;
  if (!isOp(item)) return item.name.toLowerCase().includes(text);
  return item.id.toLowerCase().includes(text) || item.op.toLowerCase() === text;
});
const tell = () => {
  const text = search.value.trim(), many = steps().length;
  const of = found.at >= 0 ? `${found.at + 1} of ${many}` : `${many}`;
  const what = text ? (found.at >= 0 ? "" : " found") : many === 1 ? " change" : " changes";
  element("found").textContent = text || changes.length ? of + what : "";
  for (const id of ["previous", "next"]) element(id).disabled = !many;
};
const steps = () => (search.value.trim() ? found.items : changes);

const seek = () => {
  const text = search.value.trim().toLowerCase();
  Object.assign(found, { items: text ? named(text) : [], at: -1, current: null });
  tell();
  draw();
};
// To the next one, or back by -1; after the last comes the first.
const step = (by) => {
  const all = steps();
  if (!all.length) return;
  found.at = found.at < 0 ? (by > 0 ? 0 : all.length - 1) : (found.at + by + all.length) % all.length;
  found.current = all[found.at];
  goTo(found.current);
  tell();
};
const clear = () => {
  search.value = "";
  seek();
};
