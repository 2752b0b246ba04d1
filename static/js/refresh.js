// Parts that the server draws again every few seconds, and soon after a move: gauges, the line, the workers, the verdict.
// Nothing is put in place of what somebody points at or is typing into.

const EVERY = 10_000;
const SOON = 1500;
/** @type {number | undefined} */
let timer;

export function startRefresh() {
  if (parts().length) setInterval(() => ask(0), EVERY);
}

/** Something moved: what is drawn from it may be old. @param {Delta[]} deltas */
export function refreshSoon(deltas) {
  if (parts().length && deltas.some((delta) => delta.status)) ask(SOON);
}

/** The part of a page that shows no rows of its own. @returns {Part | null} */
export function refreshed() {
  return parts().length ? { topic: "jobs", ids: () => [], show: () => {} } : null;
}

function parts() {
  return /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-refresh][id]")]);
}

/** @param {number} wait */
function ask(wait) {
  timer ??= window.setTimeout(() => {
    refresh()
      .catch(() => {})
      .finally(() => {
        timer = undefined;
      });
  }, wait);
}

async function refresh() {
  if (document.hidden || document.querySelector('.live[data-live="paused"]')) return;
  // All pages that ask so share what was read in these seconds.
  const answer = await fetch(location.pathname + location.search, { headers: { "X-Refresh": "1" } });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of parts()) {
    const news = fresh.getElementById(part.id);
    if (!news || part.matches(":hover, :focus-within")) continue;
    part.className = news.className;
    part.replaceChildren(...[...news.childNodes].map((node) => document.importNode(node, true)));
  }
}
