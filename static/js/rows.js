// Lists: rows change in place, new ones come in at the top or wait behind a pill.
import { draw } from "./draw.js";

/** @typedef {import("./draw.js").Delta} Delta */

const MOST_ROWS = 60;

export function startRows() {
  const bodies = [...document.querySelectorAll("tbody[data-live-rows]")].filter((b) => b instanceof HTMLElement);
  if (!bodies.length) return null;
  /** @type {Set<string>} */
  const waiting = new Set();
  /** @type {number | undefined} */
  let fetching;

  const later = () => {
    fetching ??= window.setTimeout(async () => {
      fetching = undefined;
      const ids = [...waiting].slice(0, 50);
      if (!ids.length || offer(waiting.size)) return;
      for (const id of ids) waiting.delete(id);
      await insert(bodies, ids);
    }, 150);
  };
  document.querySelector("[data-new]")?.addEventListener("click", () => location.assign(location.href));

  return {
    topic: "jobs",
    ids: () => rowsOf(document).map((row) => row.dataset.job ?? ""),
    /** @param {Delta[]} deltas */
    show(deltas) {
      for (const delta of deltas) {
        const rows = rowsOf(document).filter((row) => row.dataset.job === delta.id);
        for (const row of rows) {
          draw(row, delta);
          leave(row);
        }
        if (delta.status && bodies.some((body) => wants(body, delta) && !has(body, delta.id))) {
          waiting.add(delta.id);
          later();
        }
      }
      count(deltas);
    },
  };
}

/** @param {ParentNode} inside */
function rowsOf(inside) {
  return /** @type {HTMLElement[]} */ ([...inside.querySelectorAll("tr[data-job]")]);
}

/**
 * @param {HTMLElement} body
 * @param {string} id
 */
function has(body, id) {
  return rowsOf(body).some((row) => row.dataset.job === id);
}

/**
 * @param {HTMLElement} body
 * @param {Delta} delta
 */
function wants(body, delta) {
  if (body.dataset.fixed !== undefined) return false;
  const tool = body.dataset.tool;
  const status = body.dataset.liveRows;
  return (status === "all" || status === delta.status) && (!tool || tool === delta.tool);
}

/** A row that no longer belongs leaves, unless somebody is on it. @param {HTMLElement} row */
function leave(row) {
  const body = row.parentElement;
  const status = body?.dataset.liveRows;
  if (!status || status === "all" || row.dataset.status === status) return;
  if (!row.matches(":hover, :focus-within")) row.remove();
}

/** Is the reader elsewhere in the list? Then the new rows wait behind the pill. @param {number} number */
function offer(number) {
  const pill = document.querySelector("[data-new]");
  if (!(pill instanceof HTMLElement)) return false;
  const untouched = window.scrollY < 40 && !document.querySelector("table.jobs :is(:hover, :focus-within) td, tr:focus-within");
  pill.hidden = untouched;
  pill.textContent = `${number} new`;
  return !untouched;
}

/**
 * @param {HTMLElement[]} bodies
 * @param {string[]} ids
 */
async function insert(bodies, ids) {
  const answer = await fetch(`/jobs/rows/?ids=${ids.map(encodeURIComponent).join(",")}`, { credentials: "same-origin" });
  if (!answer.ok) return;
  // Rows are made by the server's own template, with everything in them escaped.
  const part = new DOMParser().parseFromString(`<table><tbody>${await answer.text()}</tbody></table>`, "text/html");
  for (const row of rowsOf(part).reverse()) {
    for (const body of bodies) {
      const delta = { id: row.dataset.job ?? "", v: /** @type {[number, number]} */ ([0, 0]), status: row.dataset.status };
      const tool = row.querySelector("a.name")?.textContent ?? undefined;
      if (!wants(body, { ...delta, tool }) || has(body, delta.id)) continue;
      const fresh = document.importNode(row, true);
      fresh.classList.add("flash");
      body.prepend(fresh);
      for (const extra of rowsOf(body).slice(MOST_ROWS)) extra.remove();
    }
  }
}

/** @type {Map<string, string>} */
const known = new Map();

/** The counts in the rail follow what we see move; the server's own come with the next page. @param {Delta[]} deltas */
function count(deltas) {
  for (const delta of deltas) {
    if (!delta.status) continue;
    const before = known.get(delta.id);
    known.set(delta.id, delta.status);
    if (!before || before === delta.status) continue;
    add(before, -1);
    add(delta.status, 1);
  }
}

/**
 * @param {string} status
 * @param {number} by
 */
function add(status, by) {
  for (const shown of document.querySelectorAll(`[data-count="${status}"]`)) {
    shown.textContent = String(Math.max(0, Number(shown.textContent) + by));
  }
}
