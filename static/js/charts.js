// Charts: the server gives columns, uPlot draws them, and what is new is appended every few seconds while somebody looks.

import { duration } from "./clocks.js";

const EVERY = 5000;
const Plot = /** @type {any} */ (globalThis).uPlot;

const box = document.querySelector("[data-charts]");
const given = document.querySelector("#chart-data");
/** @type {Map<string, {plot: {destroy: () => void, setData: (data: unknown) => void, setSize: (size: object) => void}, form: string}>} */
const drawn = new Map();
/** @type {Record<string, Chart>} */
let charts = given ? JSON.parse(given.textContent ?? "{}") : {};

/** @param {number | null | undefined} value @param {string} unit */
function said(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "s") return duration(value);
  if (unit === "%") return `${Math.round(value)} %`;
  return value >= 10_000 ? `${(value / 1000).toFixed(value < 100_000 ? 1 : 0)} k` : String(Math.round(value * 10) / 10);
}

/** Bars stand on each other: the first is drawn as the sum of all, the last as itself. @param {Chart} chart */
function columns(chart) {
  const values = chart.lines.map((line) => line.values);
  if (chart.form !== "bars") return [chart.times, ...values];
  const stacked = values.map((_, place) =>
    chart.times.map((__, at) => values.slice(place).reduce((sum, column) => sum + (column[at] ?? 0), 0) || null),
  );
  return [chart.times, ...stacked];
}

/** @param {string} key */
function tone(key) {
  const probe = document.querySelector(`.swatch.k-${CSS.escape(key)}`);
  return probe ? getComputedStyle(probe).getPropertyValue("--tone").trim() : "gray";
}

/** @param {string} name @param {Chart} chart @param {number | null | undefined} at */
function legend(name, chart, at) {
  for (const line of chart.lines) {
    const place = document.querySelector(`[data-key="${CSS.escape(`${name} ${line.key}`)}"]`);
    const value = at === null || at === undefined ? line.shown : line.values[at];
    if (place) place.textContent = said(value, chart.unit);
  }
}

/** @param {string} name @param {Chart} chart @param {HTMLElement} place */
function options(name, chart, place) {
  const style = getComputedStyle(document.documentElement);
  const quiet = style.getPropertyValue("--muted").trim();
  const grid = { stroke: style.getPropertyValue("--line").trim(), width: 1 };
  const font = '11px "Inter Variable", system-ui, sans-serif';
  const bars = chart.form === "bars" ? Plot.paths.bars({ size: [0.78, 26], radius: 0.12 }) : undefined;
  return {
    width: place.clientWidth,
    height: place.clientHeight,
    legend: { show: false },
    padding: [12, 8, 0, 0],
    cursor: { y: false, points: { show: chart.form !== "bars", size: 6 }, drag: { x: false, y: false } },
    scales: { x: { time: true }, y: chart.form === "log" ? { distr: 3, log: 10 } : { range: span } },
    axes: [
      {
        stroke: quiet,
        grid: { show: false },
        ticks: { show: false },
        font,
        gap: 6,
        size: 26,
        values: (/** @type {unknown} */ _, /** @type {number[]} */ marks) => marks.map((mark) => clock(mark, chart.times)),
      },
      {
        stroke: quiet,
        grid,
        ticks: { show: false },
        font,
        gap: 8,
        size: 54,
        values: (/** @type {unknown} */ _, /** @type {(number | null)[]} */ marks) =>
          marks.map((mark) => (mark === null ? "" : unit(mark, chart.unit))),
        ...(chart.form === "log"
          ? { splits: steps, filter: (/** @type {unknown} */ _, /** @type {number[]} */ marks) => marks }
          : {}),
      },
    ],
    series: [
      {},
      ...chart.lines.map((line, order) => ({
        label: line.label,
        stroke: tone(line.key),
        fill: bars ? tone(line.key) : undefined,
        width: bars ? 0 : 1.75,
        dash: !bars && order === 2 ? [5, 4] : undefined,
        paths: bars,
        points: bars ? { show: false } : { show: lonely(line.values), size: 5 },
        spanGaps: chart.form === "log",
      })),
    ],
    hooks: {
      setCursor: [
        (/** @type {{cursor: {idx: number | null, left: number}}} */ plot) =>
          legend(name, charts[name] ?? chart, plot.cursor.left < 0 ? null : plot.cursor.idx),
      ],
    },
  };
}

/** Is there hardly a line to draw? Then its points are shown. @param {(number | null)[]} values */
function lonely(values) {
  return values.filter((value) => value !== null).length < 3;
}

/** The viewer's own time of day; the day where a chart shows many. @param {number} at @param {number[]} times */
function clock(at, times) {
  const moment = new Date(at * 1000);
  const days = (times[times.length - 1] ?? 0) - (times[0] ?? 0) > 2 * 86_400;
  if (days) return moment.toLocaleDateString(undefined, { weekday: "short", day: "numeric" });
  return moment.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

/** As short as an axis needs it. @param {number} mark @param {string} what */
function unit(mark, what) {
  if (what !== "s") return said(mark, what);
  if (mark < 1) return `${Math.round(mark * 1000)} ms`;
  if (mark < 60) return `${mark} s`;
  return mark < 3600 ? `${mark / 60} min` : `${mark / 3600} h`;
}

const STEPS = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36_000, 360_000];

/** Round times, as people count them. @param {unknown} _ @param {number} __ @param {number} least @param {number} most */
function steps(_, __, least, most) {
  return STEPS.filter((step) => step >= least && step <= most);
}

/** From nothing to a little above the most. @param {unknown} _ @param {number} __ @param {number} most */
function span(_, __, most) {
  return [0, Math.max(most * 1.12, 1)];
}

function draw() {
  for (const [name, chart] of Object.entries(charts)) {
    const place = document.querySelector(`[data-plot="${CSS.escape(name)}"]`);
    if (!(place instanceof HTMLElement)) continue;
    const known = drawn.get(name);
    if (known) known.plot.setData(columns(chart));
    else {
      place.replaceChildren();
      drawn.set(name, { plot: new Plot(options(name, chart, place), columns(chart), place), form: chart.form });
    }
    legend(name, chart, null);
  }
}

function again() {
  for (const { plot } of drawn.values()) plot.destroy();
  drawn.clear();
  draw();
}

async function append() {
  if (document.hidden || document.querySelector('.live[data-live="paused"]') || !(box instanceof HTMLElement)) return;
  // A reader who points at a chart is not disturbed.
  if (document.querySelector(".plot:hover")) return;
  const answer = await fetch(box.dataset.charts ?? "");
  if (!answer.ok || !answer.headers.get("content-type")?.includes("json")) return;
  charts = await answer.json();
  draw();
}

if (Plot && box) {
  draw();
  document.addEventListener("look", again);
  new ResizeObserver(() => {
    for (const [name, { plot }] of drawn) {
      const place = document.querySelector(`[data-plot="${CSS.escape(name)}"]`);
      if (place instanceof HTMLElement) plot.setSize({ width: place.clientWidth, height: place.clientHeight });
    }
  }).observe(box);
  setInterval(() => append().catch(() => {}), EVERY);
}
