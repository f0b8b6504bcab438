// A small picture of all, where only a part is seen.
const map = element("map");
let looking = null; // the rectangle of what is seen

const drawMap = () => {
  map.replaceChildren();
  map.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
  for (const item of laid.shown) {
    make("rect", { ...corner(places.get(item.key)), class: isFrame(item) ? "area" : "dot", style: `--tone: ${item.tone}` }, map);
  }
  looking = make("rect", { class: "looking" }, map);
};
const showOnMap = () => {
  if (!looking) return;
  const slack = 0.02 * view.w;
  const all = view.x <= slack && view.y <= slack && view.x + view.w >= size.width - slack && view.y + view.h >= size.height - slack;
  map.classList.toggle("needless", all);
  const x = Math.max(0, view.x), y = Math.max(0, view.y);
  for (const [name, value] of Object.entries({
    x, y,
    width: Math.max(0, Math.min(size.width, view.x + view.w) - x),
    height: Math.max(0, Math.min(size.height, view.y + view.h) - y),
  })) looking.setAttribute(name, value);
};
const lookAt = (event) => {
  const box = map.getBoundingClientRect();
  const by = Math.max(size.width / box.width, size.height / box.height); // as the browser fits it
  show(
    size.width / 2 + (event.clientX - box.left - box.width / 2) * by,
    size.height / 2 + (event.clientY - box.top - box.height / 2) * by,
    view.w,
  );
};
map.addEventListener("pointerdown", (event) => {
  event.stopPropagation(); // no move of the picture
  map.setPointerCapture(event.pointerId);
  lookAt(event);
});
map.addEventListener("pointermove", (event) => {
  if (map.hasPointerCapture(event.pointerId)) lookAt(event);
});
