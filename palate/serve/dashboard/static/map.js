// The map: points on a canvas, with titles where there is room; moved and scaled by mouse, fingers or keys.

import { getJson } from "./page.js";

const canvas = document.getElementById("map"), pen = canvas.getContext("2d");
const note = document.getElementById("map-note"), tip = document.getElementById("map-tip");
const KEYS = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
const LABELS = 60, REACH = 12, MOST = 80;
const LARGE = 3.5, OBSTACLES = 120;  // points that no title of another may cover, the most popular ones
// `only` is what is chosen of the points: whether one is in it, and its colour, null for the point's own.
let points = [], view = { x: 0, y: 0, zoom: 1 }, only = null, over = null, found = null, asked = false;

const style = getComputedStyle(document.documentElement);
let colours, ink, paper, accent;
function paint() {
  const value = (name) => style.getPropertyValue(`--${name}`).trim();
  colours = Array.from({ length: 9 }, (_, n) => value(`colour-${n}`));
  [ink, paper, accent] = [value("ink"), value("paper"), value("accent")];
}

// Pixels of a unit, across and down: the map fills the canvas, whatever its shape.
const unit = () => [(canvas.clientWidth / 2 - 24) * view.zoom, (canvas.clientHeight / 2 - 24) * view.zoom];
const on = (point, [across, down] = unit()) => [canvas.clientWidth / 2 + (point.x - view.x) * across, canvas.clientHeight / 2 + (point.y - view.y) * down];
const radius = (point) => point.size * Math.min(2.2, 0.75 + 0.25 * view.zoom);

function draw() {
  asked = false;
  const { clientWidth: width, clientHeight: height } = canvas, scale = devicePixelRatio;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale))
    Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  const seen = [], scaled = unit();
  for (const point of points.toReversed()) {  // the popular ones on top
    const [x, y] = on(point, scaled);
    if (x < -20 || y < -20 || x > width + 20 || y > height + 20) continue;
    const faint = only !== null && !only.has(point);
    pen.globalAlpha = faint ? 0.08 : 0.72;
    pen.fillStyle = faint || !only?.colour ? colours[point.colour] : only.colour();
    pen.beginPath();
    pen.arc(x, y, radius(point), 0, 7);
    pen.fill();
    if (!faint) seen.push([point, x, y]);
  }
  pen.globalAlpha = 1;
  label(seen.reverse(), width, height);
  for (const point of [found, over]) if (point) ring(point);
}

// The most popular first; a title stands beside its point, and is left out where it would cover a title or a large point.
function label(seen, width, height) {
  pen.font = "500 12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  pen.lineJoin = "round";
  const taken = [];
  for (const [point, x, y] of seen.slice(0, OBSTACLES)) {
    const r = radius(point);
    if (r >= LARGE) taken.push([x - r, y - r, x + r, y + r, point]);
  }
  let shown = 0;
  for (const [point, x, y] of seen.slice(0, 600)) {
    if (shown >= LABELS * Math.min(1, width / 800)) break;
    const r = radius(point) + 4, long = pen.measureText(point.short).width;
    const left = [[x + r, y], [x - r - long, y], [x - long / 2, y - r - 7], [x - long / 2, y + r + 7]].find(([tx, ty]) => {
      const box = [tx - 3, ty - 9, tx + long + 3, ty + 9];
      if (box[0] < 0 || box[1] < 0 || box[2] > width || box[3] > height) return false;
      if (taken.some((other) => other[4] !== point && box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) return false;
      taken.push(box);
      return true;
    });
    if (!left) continue;
    shown++;
    pen.lineWidth = 3.5;
    pen.strokeStyle = paper;
    pen.strokeText(point.short, ...left);
    pen.fillStyle = ink;
    pen.fillText(point.short, ...left);
  }
  canvas.dataset.labels = shown;
}

function ring(point) {
  const [x, y] = on(point);
  pen.lineWidth = 2.5;
  pen.strokeStyle = ink;
  pen.beginPath();
  pen.arc(x, y, radius(point) + 3, 0, 7);
  pen.stroke();
}

function redraw() {
  if (!asked) requestAnimationFrame(draw);
  asked = true;
}

function zoom(by, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  if (by === 0) view = { x: 0, y: 0, zoom: 1 };
  else {
    const before = unit();
    view.zoom = Math.min(MOST, Math.max(0.5, view.zoom * by));
    const after = unit(), dx = x - canvas.clientWidth / 2, dy = y - canvas.clientHeight / 2;
    view.x += dx / before[0] - dx / after[0];
    view.y += dy / before[1] - dy / after[1];
  }
  hover(null);
  redraw();
}

function move(dx, dy) {
  const [across, down] = unit();
  view.x -= dx / across;
  view.y -= dy / down;
  redraw();
}

function hover(point) {
  over = point;
  canvas.classList.toggle("over", point !== null);
  tip.hidden = point === null;
  if (point) {
    tip.textContent = point.title;
    const [x, y] = on(point);
    const left = Math.max(0, Math.min(x + 12, canvas.clientWidth - tip.offsetWidth - 4));
    tip.style.transform = `translate(${left}px, ${Math.max(0, y - tip.offsetHeight - 8)}px)`;
  }
  redraw();
}

function nearest(x, y) {
  let best = null, least = REACH ** 2;
  for (const point of points) {
    if (only !== null && !only.has(point)) continue;
    const [px, py] = on(point), square = (px - x) ** 2 + (py - y) ** 2;
    if (square < least) [best, least] = [point, square];
  }
  return best;
}

const open = (point) => location.assign(`/item?${new URLSearchParams({ item: point.id })}`);

function focus(point) {
  found = point;
  view = { x: point.x, y: point.y, zoom: Math.max(view.zoom, 6) };
  hover(point);
}

const held = new Map();
let travelled = 0;
const spot = (event) => [event.offsetX, event.offsetY];
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  held.set(event.pointerId, spot(event));
  if (held.size === 1) travelled = 0;
});
canvas.addEventListener("pointermove", (event) => {
  const [x, y] = spot(event), before = held.get(event.pointerId);
  if (!before) return hover(nearest(x, y));
  travelled += Math.hypot(x - before[0], y - before[1]);
  if (held.size === 1) move(x - before[0], y - before[1]);
  else {
    const [ox, oy] = [...held].find(([id]) => id !== event.pointerId)[1];
    zoom(Math.hypot(x - ox, y - oy) / Math.max(1, Math.hypot(before[0] - ox, before[1] - oy)), (x + ox) / 2, (y + oy) / 2);
  }
  held.set(event.pointerId, [x, y]);
});
canvas.addEventListener("pointerup", (event) => {
  held.delete(event.pointerId);
  const point = nearest(...spot(event));
  if (travelled > 5 || !point) return;
  if (event.pointerType === "touch" && over !== point) hover(point);  // the first tap tells its title
  else open(point);
});
canvas.addEventListener("pointercancel", (event) => held.delete(event.pointerId));
canvas.addEventListener("pointerleave", () => held.size || hover(null));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), ...spot(event));
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  if (KEYS[event.key]) move(...KEYS[event.key]);
  else if (event.key === "+" || event.key === "=") zoom(1.4);
  else if (event.key === "-") zoom(1 / 1.4);
  else if (event.key === "0") zoom(0);
  else if (event.key === "Enter" && found) open(found);
  else return;
  event.preventDefault();
});
document.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => zoom(Number(button.dataset.zoom))));

// A category is chosen by its colour or by its name.
const choice = document.getElementById("map-category"), legend = [...document.querySelectorAll("[data-colour]")];
function choose(pressed, chosen) {
  only = chosen;
  legend.forEach((each) => each.setAttribute("aria-pressed", String(each === pressed)));
  canvas.dataset.shown = points.filter((point) => only === null || only.has(point)).length;
  redraw();
}
legend.forEach((button) => button.addEventListener("click", () => {
  const colour = Number(button.dataset.colour), again = button.getAttribute("aria-pressed") === "true";
  choice.value = "";
  choose(again ? null : button, again ? null : { has: (point) => point.colour === colour });
}));
choice?.addEventListener("change", () => {
  const number = Number(choice.value);
  choose(null, choice.value === "" ? null : { has: (point) => point.categories.includes(number), colour: () => accent });
});
document.addEventListener("picked", (event) => {
  const point = points.find((each) => each.id === event.detail.item_id);
  if (!point) return;  // not on the map: its own page
  event.preventDefault();
  canvas.focus();
  focus(point);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { paint(); redraw(); });
new ResizeObserver(redraw).observe(canvas);

paint();
try {
  const map = await getJson("/page/map");
  if (!map?.items.length) note.textContent = "No item has an event yet.";
  else {
    const many = map.items.length;
    points = map.items.map(([id, title, colour, categories], n) => ({
      id, title, colour, categories, x: map.places[2 * n], y: -map.places[2 * n + 1],
      size: 1.7 + 5 * Math.exp((-6 * n) / many), short: title.length > 34 ? `${title.slice(0, 32)}…` : title,
    }));
    choice?.append(...map.categories.map((name, n) => new Option(name, n)));
    note.hidden = true;
    canvas.dataset.points = many;
    redraw();
  }
} catch (error) {
  note.textContent = error.message;
}
