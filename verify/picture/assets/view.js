// Which part of the picture is seen: by mouse, by one finger or two, by what has to be seen.
let view = { x: 0, y: 0, w: 100, h: 100 };
const NEAR = 1.15; // pixels for a unit of the picture, at which a box can be read with ease

const wide = () => Math.max(1, panes[0].svg.clientWidth);
const high = () => panes[0].svg.clientHeight;
const look = () => {
  for (const { svg } of panes) svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  showOnMap();
};
// The view always has the shape of a pane, so that a point of one is a point of the other.
const show = (x, y, width) => {
  const w = Math.min(Math.max(width, 40), 1e6);
  const h = w * high() / wide();
  view = { x: x - w / 2, y: y - h / 2, w, h };
  look();
};
const shape = () => wide() / Math.max(1, high());
const fitTo = (at, margin, least) => {
  const width = Math.max(at.width + margin, (at.height + margin) * shape(), least);
  show(at.x, at.y, width);
};
// All of it; a few boxes are not blown up.
const fit = () => fitTo({ x: size.width / 2, y: size.height / 2, ...size }, 20, wide() / 1.6);
const LEAST = 0.55; // pixels for a unit, below which names can't be read
// At first: all of it, or its beginning where all would be too small; there is the map then.
const settle = () => {
  if (chosen) {
    zoomTo(visible(chosen));
    return;
  }
  fit();
  const most = wide() / LEAST;
  if (view.w <= most) return;
  const w = most, h = w * high() / wide();
  show(Math.min(w, size.width) / 2, Math.min(h, size.height) / 2, w);
};
const zoomTo = (item) => {
  const at = places.get(item.key);
  if (at) fitTo(at, 60, wide() / NEAR);
};
const scale = () => view.w / wide();
const pan = (dx, dy) => {
  view.x += dx * scale();
  view.y += dy * scale();
  look();
};
const point = (clientX, clientY) => {
  const boxes = panes.map(({ svg }) => svg.getBoundingClientRect());
  const box = boxes.find((one) => clientX <= one.right && clientY <= one.bottom) || boxes[0];
  return { x: view.x + (clientX - box.left) * scale(), y: view.y + (clientY - box.top) * scale() };
};
// Larger or smaller by a factor; what is at `at` stays where it is.
const zoom = (factor, at) => {
  const w = Math.min(Math.max(view.w * factor, 40), 1e6), by = w / view.w;
  view = { x: at.x - (at.x - view.x) * by, y: at.y - (at.y - view.y) * by, w, h: view.h * by };
  look();
};
const middle = () => ({ x: view.x + view.w / 2, y: view.y + view.h / 2 });
const bringIn = (item) => {
  const at = item && places.get(item.key);
  if (!at) return;
  const edge = corner(at);
  const height = isFrame(item) ? 20 : at.height, width = isFrame(item) ? Math.min(at.width, view.w) : at.width;
  const outside = edge.x < view.x || edge.y < view.y || edge.x + width > view.x + view.w || edge.y + height > view.y + view.h;
  if (outside) show(edge.x + width / 2, edge.y + height / 2, view.w);
};

// What was opened: all of it where that can be read, else what it begins with.
const lookInto = (frame) => {
  const at = places.get(frame.key), most = wide() / LEAST;
  const width = Math.max(at.width, at.height * shape()) + 40;
  const edge = corner(at);
  const inside = edge.x >= view.x && edge.y >= view.y && edge.x + at.width <= view.x + view.w && edge.y + at.height <= view.y + view.h;
  if (inside) return;
  if (width <= most) show(at.x, at.y, Math.max(width, Math.min(view.w, most)));
  else {
    const first = places.get([...(frame.groups || []), ...(frame.ops || [])][0].key);
    show(first.x, first.y + 0.3 * most / shape(), most);
  }
};

// In another page the wheel moves that page, and zooms with Ctrl held down, as two fingers of a
// trackpad are told.
const isFramed = window.parent !== window;
stage.addEventListener("wheel", (event) => {
  if (isFramed && !event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  zoom(Math.exp(event.deltaY / 500), point(event.clientX, event.clientY));
}, { passive: false });

const pointers = new Map(); // fingers, or the mouse, that are down
let moved = false; // so that the end of a move is no click
let travelled = 0;
stage.addEventListener("pointerdown", (event) => {
  if (event.pointerType === "mouse" && event.button !== 0) return;
  if (!pointers.size) {
    moved = false;
    travelled = 0;
  }
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (pointers.size > 1) moved = true;
});
window.addEventListener("pointermove", (event) => {
  const was = pointers.get(event.pointerId);
  if (!was) return;
  const now = { x: event.clientX, y: event.clientY };
  travelled += Math.abs(now.x - was.x) + Math.abs(now.y - was.y);
  if (travelled > 6) moved = true;
  const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
  pointers.set(event.pointerId, now);
  if (!others.length) {
    pan(was.x - now.x, was.y - now.y);
  } else if (others.length === 1) {
    const [other] = others;
    const between = (one) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
    // The middle between two fingers moves along with them; this one has moved, so half as far.
    pan((was.x - now.x) / 2, (was.y - now.y) / 2);
    zoom(between(was) / between(now), point((now.x + other.x) / 2, (now.y + other.y) / 2));
  }
});
for (const end of ["pointerup", "pointercancel"]) {
  window.addEventListener(end, (event) => pointers.delete(event.pointerId));
}
// A stage of another shape may be better filled the other way.
new ResizeObserver(() => {
  if (!laid.graph || !wide()) return;
  const before = direction;
  turn();
  if (direction === before) show(middle().x, middle().y, view.w);
  else {
    draw();
    settle();
  }
}).observe(stage);
