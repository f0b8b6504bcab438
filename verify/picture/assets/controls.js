// What a person does: clicks, keys, buttons.
const activate = (item) => {
  choose(item);
  if (isOp(item)) return;
  toggle(item);
  draw();
  bringIn(item);
};
const itemAt = (target) => {
  const drawn = target instanceof Element && target.closest("[data-key]");
  return drawn ? byKey.get(drawn.dataset.key) : undefined;
};
picture.addEventListener("click", (event) => {
  const item = itemAt(event.target);
  if (item && !moved) activate(item);
});
// Not on the picture: a browser takes an SVG that listens to the focus for one that can have it.
stage.addEventListener("focusin", (event) => {
  if (event.target.matches(":focus-visible")) bringIn(itemAt(event.target));
});

const closeAll = () => {
  collapse();
  draw();
  fit();
};
const help = element("help");
const KEYS = {
  ArrowLeft: () => pan(-80, 0),
  ArrowRight: () => pan(80, 0),
  ArrowUp: () => pan(0, -80),
  ArrowDown: () => pan(0, 80),
  "+": () => zoom(0.8, middle()),
  "=": () => zoom(0.8, middle()),
  "-": () => zoom(1.25, middle()),
  0: fit,
  f: fit,
  c: closeAll,
  n: () => step(1),
  N: () => step(-1),
  "/": () => search.focus(),
  "?": () => help.showModal(),
  Escape: clear,
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const { key, target } = event;
  const act = (what) => {
    event.preventDefault();
    what();
  };
  if (key === "F3") act(() => step(event.shiftKey ? -1 : 1));
  else if (target === search) {
    if (key === "Enter") act(() => step(event.shiftKey ? -1 : 1));
    else if (key === "Escape") act(clear);
  } else if (key === "Enter" || key === " ") {
    const item = itemAt(target);
    if (item) act(() => activate(item));
  } else if (KEYS[key] && !(key.startsWith("Arrow") && target.closest("aside"))) act(KEYS[key]);
});

search.addEventListener("input", seek);
element("next").addEventListener("click", () => step(1));
element("previous").addEventListener("click", () => step(-1));
element("fit").addEventListener("click", fit);
element("collapse").addEventListener("click", closeAll);
element("ask").addEventListener("click", () => help.showModal());

const entry = (text, style, mark) => {
  const made = document.createElement("span");
  const swatch = document.createElement("i");
  if (mark) swatch.className = mark;
  else swatch.style.background = style;
  made.append(swatch, text);
  element("legend").append(made);
};
const clusters = new Set(groups.filter((g) => g.kind === "cluster").map((g) => g.name));
for (const name of Object.keys(tones).filter((n) => clusters.has(n))) entry(name, tones[name]);
for (const mark of ["added", "gone", "touched"]) {
  if (root.marks[mark]) entry(`${SAID[mark]}: ${root.marks[mark]}`, "", mark);
}
tell();
draw();
fit();
