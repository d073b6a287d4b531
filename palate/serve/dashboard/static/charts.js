// The charts of the overview, and its figures, which are asked for again every few seconds.

import { swap } from "./page.js";

const EVERY = 5000, HEIGHT = 210, DAY = 86400;
const style = getComputedStyle(document.documentElement);
const colour = (name) => style.getPropertyValue(`--${name}`).trim();
const data = () => JSON.parse(document.getElementById("data").textContent);
const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(undefined, { notation: "compact" });
const percent = (value) => (value == null ? "–" : `${value.toFixed(1)}%`);
const paths = () => uPlot.paths.bars({ size: [0.82, 60], radius: 0.18 });

// A label of the time axis, in the words of the locale.
function dated(seconds, step) {
  const shown = step < DAY ? (seconds % DAY ? { timeStyle: "short" } : { day: "numeric", month: "short" })
    : step < 25 * DAY ? { day: "numeric", month: "short" } : step < 360 * DAY ? { month: "short", year: "numeric" } : { year: "numeric" };
  return new Date(seconds * 1000).toLocaleString(undefined, shown);
}

function axes() {
  const common = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  return [
    { ...common, grid: { show: false }, size: 30, space: 70, values: (_, all, __, ___, step) => all.map((each) => dated(each, step)) },
    { ...common, size: 50, splits: (_, __, low, high, step) => whole_splits(low, high, step), values: (_, all) => all.map((each) => short.format(each)) },
  ];
}

function whole_splits(low, high, step) {
  const by = Math.max(1, Math.ceil(step));
  return Array.from({ length: Math.floor(high / by) + 1 }, (_, n) => n * by).filter((each) => each >= low);
}

// Each series stands on those before it: the sums are drawn from the tallest to the lowest.
function stacked(counts) {
  const sums = [];
  for (const count of counts) sums.push(sums.length ? count.map((each, n) => each + sums.at(-1)[n]) : count);
  return sums.reverse();
}

// Bars over time, or lines, which are not stacked; `read` gives times, width, and the names, colours and counts of the series.
function chart(id, read, lines = false) {
  const place = document.getElementById(id);
  if (!place) return () => {};
  let shown = read(), plot, names;
  const values = () => [shown.times.map((each) => each + shown.width / 2), ...(lines ? shown.counts.toReversed() : stacked(shown.counts))];
  const range = () => [shown.times[0] ?? 0, shown.times.length ? shown.times.at(-1) + shown.width : 1];
  const sum = (counts) => counts.reduce((a, b) => a + b, 0);
  const make = () => {
    plot?.destroy();
    names = shown.names.join();
    const series = shown.names.map((name, n) => ({
      label: name, ...(lines ? { stroke: colour(shown.colours[n]), width: 2, points: { show: true, size: 5 } } : { fill: colour(shown.colours[n]), width: 0, points: { show: false }, paths: paths() }),
      value: (_, __, ___, at) => (lines ? percent(at == null ? shown.counts[n].findLast((each) => each !== null) : shown.counts[n][at]) : whole.format(at == null ? sum(shown.counts[n]) : shown.counts[n][at])),
    }));
    const dates = () => (shown.width < DAY ? { dateStyle: "medium", timeStyle: "short" } : { dateStyle: "medium" });
    const time = { label: "from", value: (_, at) => (at == null ? (lines ? "last" : "all") : new Date((at - shown.width / 2) * 1000).toLocaleString(undefined, dates())) };
    plot = new uPlot({
      height: HEIGHT, width: place.clientWidth, padding: [8, 20, 0, 0], cursor: { y: false, points: { show: false }, drag: { x: false } },
      series: [time, ...series.reverse()], axes: axes(),
      scales: { x: { time: true, range }, y: { range: (_, __, high) => [0, Math.max(lines ? 1 : 4, high * 1.08)] } },
    }, values(), place);
  };
  new ResizeObserver(() => plot?.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
  if (shown.names.length) make();
  return (anew) => {
    shown = read();
    if (!shown.names.length) return;
    if (anew || shown.names.join() !== names) make();
    else plot.setData(values());
  };
}

function activity() {
  const shown = data().activity;
  return { ...shown, colours: shown.names.map((name, n) => `colour-${name === "other" ? 0 : n + 1}`) };
}

const sold = (name, hue) => () => ({ ...data().sold, names: [name], colours: [hue], counts: [data().sold[name]] });

const clicks = () => ({ ...data().clicks, colours: data().clicks.names.map((_, n) => `colour-${n + 1}`) });

const charts = [chart("activity", activity), chart("conversions", sold("conversions", "colour-3")), chart("value", sold("value", "colour-2")), chart("clicks", clicks, true)];
document.addEventListener("swapped", () => charts.forEach((draw) => draw(false)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((draw) => draw(true)));
setInterval(() => {
  const busy = document.activeElement?.closest("[data-swap]");  // a reader by keyboard is there
  if (!document.hidden && !busy) swap(location.href).catch(() => {});
}, EVERY);
