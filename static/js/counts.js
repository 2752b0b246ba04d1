// How many jobs there are in each state, in the rail and wherever else it says: asked for anew soon after something moved.

// Longer than a web process answers with what it counted before: what is asked so long after a move has counted it.
const SOON = 1500;
/** @type {number | undefined} */
let timer;
let again = false;

/** @param {Delta[]} deltas */
export function countSoon(deltas) {
  if (!document.querySelector("[data-count]") || !deltas.some((delta) => delta.status)) return;
  if (timer !== undefined) again = true;
  else later();
}

function later() {
  timer = window.setTimeout(() => {
    timer = undefined;
    count().catch(() => {});
    if (again) later();
    again = false;
  }, SOON);
}

async function count() {
  if (document.hidden) return;
  const answer = await fetch("/counts.json");
  if (!answer.ok || answer.redirected) return;
  for (const [status, number] of Object.entries(await answer.json())) {
    for (const shown of document.querySelectorAll(`[data-count="${CSS.escape(status)}"]`)) {
      // As the server writes it: thousands apart by a narrow space.
      shown.textContent = Number(number).toLocaleString("en").replaceAll(",", "\u202f");
    }
  }
}
