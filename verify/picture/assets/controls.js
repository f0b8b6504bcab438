// What a person does: clicks, keys, buttons.
const activate = (item) => {
  choose(item);
  if (isOp(item)) return;
  toggle(item);
  draw();
  if (isFrame(item)) lookInto(item);
  else bringIn(item);
};
const itemAt = (target) => {
  const drawn = target instanceof Element && target.closest("[data-key]");
  return drawn ? byKey.get(drawn.dataset.key) : undefined;
};
stage.addEventListener("click", (event) => {
  if (moved || event.target.closest("#map")) return;
  const item = itemAt(event.target);
  if (item) activate(item);
  else letGo();
});
// Not on a picture: a browser takes an SVG that listens to the focus for one that can have it.
stage.addEventListener("focusin", (event) => {
  if (event.target.matches(":focus-visible")) bringIn(itemAt(event.target));
});

const closeAll = () => {
  collapse();
  turn();
  draw();
  fit();
};
const set = (button, on) => element(button).setAttribute("aria-pressed", on);
const drawApart = (on) => {
  apart = on;
  set("apart", on);
  setPanes();
  turn();
  draw();
  settle();
};
const isByLayer = () => root === data.layers;
const drawByLayer = (on) => {
  if (chosen && !isOp(chosen)) letGo(); // the other tree has other groups
  set("layers", on);
  plant(on ? data.layers : data.root);
  laid = { of: "" };
  turn();
  seek();
  settle();
};
const showFacts = (on) => {
  set("beside", on);
  document.body.classList.toggle("alone", !on);
};
const isDark = () => {
  const own = document.documentElement.style.colorScheme;
  return own ? own === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
const darken = (on) => {
  document.documentElement.style.colorScheme = on ? "dark" : "light";
  set("dark", on);
};
const help = element("help");
const PRESSED = {
  fit, collapse: closeAll, ask: () => help.showModal(), dark: () => darken(!isDark()), apart: () => drawApart(!apart),
  layers: () => drawByLayer(!isByLayer()),
  beside: () => showFacts(document.body.classList.contains("alone")), next: () => step(1), previous: () => step(-1),
};
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
  b: PRESSED.beside,
  d: PRESSED.dark,
  l: () => element("layers").hidden || PRESSED.layers(),
  n: () => step(1),
  N: () => step(-1),
  "/": () => search.focus(),
  "?": PRESSED.ask,
  Escape: () => (search.value ? clear() : letGo()),
  ...(sides ? { s: PRESSED.apart } : {}),
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
for (const [id, what] of Object.entries(PRESSED)) element(id).addEventListener("click", what);
addEventListener("hashchange", follow);

const entry = (text, style, mark, form = "i") => {
  const made = document.createElement("span");
  const swatch = document.createElement(form);
  if (mark) swatch.className = mark;
  else swatch.style.background = style;
  made.append(swatch, text);
  element("legend").append(made);
};
const clusters = new Set(groups.filter((g) => g.kind === "cluster").map((g) => g.name));
for (const name of Object.keys(tones).filter((n) => clusters.has(n))) entry(name, tones[name]);
for (const [kind, text] of [["data", "value"], ["read", "is read by"], ["write", "writes"]]) {
  entry(text, "", `line ${kind}`, "b");
}
for (const mark of ["added", "gone", "touched"]) {
  if (root.marks[mark]) entry(`${SIGNS[mark]} ${SAID[mark]}: ${root.marks[mark]}`, "", mark);
}

// Within a page that is dark or light by itself, as a notebook, this one is as that.
const aroundIsDark = () => {
  for (let on = window.frameElement; on; on = on.parentElement) { // null for another origin
    const [red, green, blue, opacity = 1] = getComputedStyle(on).backgroundColor.match(/[\d.]+/g).map(Number);
    if (opacity > 0.5) return 0.3 * red + 0.6 * green + 0.1 * blue < 128;
  }
  return null;
};
const dark = aroundIsDark();
if (dark !== null) darken(dark);
set("dark", isDark());
element("apart").hidden = !sides;
element("layers").hidden = !(data.layers && hasLayers(data.layers));
if (isFramed) showFacts(false);
tell();
drawApart(Boolean(sides) && stage.clientWidth > 720);
follow();
performance.mark("drawn");
requestAnimationFrame(() => setTimeout(linkFacts)); // once the step is seen
