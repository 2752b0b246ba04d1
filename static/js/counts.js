// How many jobs there are in each state, in the rail and wherever else it says: asked for anew soon after something moved.

/** @typedef {import("./draw.js").Delta} Delta */

const SOON = 1000;
/** @type {number | undefined} */
let timer;

/** @param {Delta[]} deltas */
export function countSoon(deltas) {
  if (!document.querySelector("[data-count]") || !deltas.some((delta) => delta.status)) return;
  timer ??= window.setTimeout(() => {
    timer = undefined;
    count().catch(() => {});
  }, SOON);
}

async function count() {
  if (document.hidden) return;
  const answer = await fetch("/counts.json", { credentials: "same-origin" });
  if (!answer.ok || answer.redirected) return;
  for (const [status, number] of Object.entries(await answer.json())) {
    for (const shown of document.querySelectorAll(`[data-count="${CSS.escape(status)}"]`)) {
      shown.textContent = String(number);
    }
  }
}
