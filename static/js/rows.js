// Short lists of jobs in one state: rows change in place, come in at the top, and leave when they no longer belong.
import { draw, rowsIn, rowsOf } from "./draw.js";

// As many as the server draws.
const MOST_ROWS = 20;

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
      if (!ids.length) return;
      for (const id of ids) waiting.delete(id);
      await insert(bodies, ids);
    }, 150);
  };
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
    },
  };
}

/** @param {HTMLElement} body @param {string} id */
function has(body, id) {
  return rowsOf(body).some((row) => row.dataset.job === id);
}

/** @param {HTMLElement} body @param {Delta} delta */
function wants(body, delta) {
  return body.dataset.liveRows === delta.status;
}

/** A row that no longer belongs leaves, unless somebody is on it. @param {HTMLElement} row */
function leave(row) {
  const status = row.parentElement?.dataset.liveRows;
  if (!status || row.dataset.status === status) return;
  if (!row.matches(":hover, :focus-within")) row.remove();
}

/** @param {HTMLElement[]} bodies @param {string[]} ids */
async function insert(bodies, ids) {
  const answer = await fetch(`/jobs/rows/?ids=${ids.map(encodeURIComponent).join(",")}`);
  if (!answer.ok) return;
  for (const row of rowsIn(await answer.text()).reverse()) {
    for (const body of bodies) {
      const delta = { id: row.dataset.job ?? "", v: /** @type {[number, number]} */ ([0, 0]), status: row.dataset.status };
      if (!wants(body, delta) || has(body, delta.id)) continue;
      const fresh = document.importNode(row, true);
      fresh.classList.add("flash");
      body.prepend(fresh);
      for (const extra of rowsOf(body).slice(MOST_ROWS)) extra.remove();
    }
  }
}
