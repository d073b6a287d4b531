// The charts of the overview, and its figures, which are asked for again every few seconds.

import { swap } from "./page.js";

const EVERY = 3000;
const style = getComputedStyle(document.documentElement);
const colour = (name) => style.getPropertyValue(`--${name}`).trim();
const data = () => JSON.parse(document.getElementById("data").textContent);
const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: "compact" });
const charts = [];

function axes(x) {
  const common = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  return [
    { ...common, grid: { show: false }, size: 30, ...x },
    { ...common, size: 46, splits: (_, __, low, high, step) => whole_splits(low, high, step), values: (_, all) => all.map((each) => short.format(each)) },
  ];
}

function whole_splits(low, high, step) {
  const by = Math.max(1, Math.ceil(step));
  return Array.from({ length: Math.floor(high / by) + 1 }, (_, n) => n * by).filter((each) => each >= low);
}

const paths = () => uPlot.paths.bars({ size: [0.82, 60], radius: 0.18 });

const HEIGHT = 210;

function drawn(place, options, values) {
  const common = { height: HEIGHT, width: place.clientWidth, padding: [8, 8, 0, 0] };
  return new uPlot({ ...common, cursor: { y: false, points: { show: false }, drag: { x: false } }, ...options }, values, place);
}

function fitted(place, plot) {
  new ResizeObserver(() => plot()?.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
}

// Each type stands on those before it: the sums are drawn from the tallest to the lowest.
function stacked({ counts }) {
  const sums = [];
  for (const count of counts) sums.push(sums.length ? count.map((each, n) => each + sums.at(-1)[n]) : count);
  return sums.reverse();
}

function activity() {
  const place = document.getElementById("activity");
  let shown = data().activity, plot, names;
  const make = () => {
    plot?.destroy();
    names = shown.names.join();
    const middle = (times) => times.map((each) => each + shown.width / 2);
    const series = shown.names.map((name, n) => ({
      label: name, fill: colour(`colour-${name === "other" ? 0 : n + 1}`), width: 0, points: { show: false }, paths: paths(),
      value: (_, __, ___, at) => (at == null ? whole.format(shown.counts[n].reduce((a, b) => a + b, 0)) : whole.format(shown.counts[n][at])),
    }));
    const time = { label: "from", value: (_, at) => (at == null ? "all" : new Date((at - shown.width / 2) * 1000).toLocaleString(undefined, shown.width < 86400 ? { dateStyle: "medium", timeStyle: "short" } : { dateStyle: "medium" })) };
    const values = [middle(shown.times), ...stacked(shown)];
    const end = shown.times.length ? shown.times.at(-1) + shown.width : 1;
    plot = drawn(place, {
      series: [time, ...series.reverse()], axes: axes({ size: 42 }),
      scales: { x: { time: true, range: () => [shown.times[0] ?? 0, shown.times.length ? shown.times.at(-1) + shown.width : end] }, y: { range: (_, __, high) => [0, Math.max(4, high * 1.08)] } },
    }, values);
  };
  fitted(place, () => plot);
  if (shown.names.length) make();
  return (anew) => {
    shown = data().activity;
    if (!shown.names.length) return;
    if (anew || shown.names.join() !== names) return make();
    plot.setData([shown.times.map((each) => each + shown.width / 2), ...stacked(shown)]);
  };
}

const told = (seconds) => (seconds >= 1 ? `${seconds} s` : `${+(seconds * 1000).toFixed(2)} ms`);

function latency() {
  const place = document.getElementById("latency");
  const values = () => {
    const { bounds, counts } = data().latency;
    const last = Math.max(7, counts.findLastIndex((each) => each > 0) + 1);
    return [bounds.slice(0, last).map((_, n) => n), counts.slice(0, last), bounds.map(Number)];
  };
  let [at, counts, bounds] = values(), plot;
  const label = (n) => (bounds[n] === undefined ? "" : Number.isFinite(bounds[n]) ? `≤ ${told(bounds[n])}` : `> ${told(bounds[n - 1])}`);
  const make = () => {
    plot?.destroy();
    plot = drawn(place, {
      series: [{ label: "time", value: (_, n) => (n == null ? "all" : label(n)) }, { label: "lists", fill: colour("accent"), width: 0, points: { show: false }, paths: paths(), value: (_, __, ___, n) => whole.format(n == null ? counts.reduce((a, b) => a + b, 0) : counts[n]) }],
      axes: axes({ splits: () => at.filter((n) => n % Math.ceil((at.length * 54) / place.clientWidth) === 0), values: (_, all) => all.map((n) => (bounds[n] === undefined || !Number.isFinite(bounds[n]) ? "" : told(bounds[n]))), space: 46, rotate: 0 }),
      scales: { x: { time: false, range: () => [-0.6, at.length - 0.4] }, y: { range: (_, __, high) => [0, Math.max(4, high * 1.08)] } },
    }, [at, counts]);
  };
  fitted(place, () => plot);
  if (at.length) make();
  return (anew) => {
    [at, counts, bounds] = values();
    if (at.length && (anew || !plot)) make();
    else plot?.setData([at, counts]);
  };
}

charts.push(activity(), latency());
document.addEventListener("swapped", () => charts.forEach((draw) => draw(false)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((draw) => draw(true)));
setInterval(() => {
  const busy = document.activeElement?.closest("[data-swap]");  // somebody reads it by keyboard
  if (!document.hidden && !busy) swap(location.href).catch(() => {});
}, EVERY);
