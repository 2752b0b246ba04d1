// A job's page: the bar moves with each frame; after a move the rest is fetched as the server draws it.
import { draw, isNewer } from "./draw.js";

/** @typedef {import("./draw.js").Delta} Delta */

export function startJob() {
  const page = document.querySelector("[data-job-page]");
  if (!(page instanceof HTMLElement)) return null;
  /** @type {number | undefined} */
  let timer;
  /** The newest report: what the server draws may be older than what was already shown. @type {Delta | undefined} */
  let last;
  const refetch = () => {
    timer ??= window.setTimeout(async () => {
      timer = undefined;
      const answer = await fetch(page.dataset.parts ?? "", { credentials: "same-origin" });
      if (!answer.ok) return;
      const part = new DOMParser().parseFromString(await answer.text(), "text/html");
      const open = [...page.querySelectorAll("details")].map((details) => details.open);
      const fresh = part.querySelector("[data-job]");
      const shown = page.querySelector("[data-job]");
      // A frame may have overtaken this answer; the page never goes back.
      if (fresh instanceof HTMLElement && shown instanceof HTMLElement && older(fresh, shown)) return refetch();
      if (fresh instanceof HTMLElement && last) draw(fresh, last);
      if (page.contains(document.activeElement) && document.activeElement?.matches("button")) return refetch();
      page.replaceChildren(...[...part.body.childNodes].map((node) => document.importNode(node, true)));
      page.querySelectorAll("details").forEach((details, place) => {
        if (place < open.length) details.open = open[place] ?? details.open;
      });
    }, 250);
  };
  return {
    topic: `job:${page.dataset.jobPage}`,
    ids: () => [],
    /** @param {Delta[]} deltas */
    show(deltas) {
      const head = page.querySelector("[data-job]");
      if (!(head instanceof HTMLElement)) return;
      for (const delta of deltas) {
        const moved = isNewer(head, delta) && delta.v[0] > Number((head.dataset.v ?? "0").split(",")[0]);
        if (isNewer(head, delta)) last = last && last.v[0] === delta.v[0] ? { ...last, ...delta } : delta;
        if (draw(head, delta)) append(page, delta.diagnostics ?? []);
        if (moved) refetch();
      }
    },
  };
}

/**
 * @param {HTMLElement} a
 * @param {HTMLElement} b
 */
function older(a, b) {
  return Number((a.dataset.v ?? "0").split(",")[0]) < Number((b.dataset.v ?? "0").split(",")[0]);
}

/**
 * @param {HTMLElement} page
 * @param {string[]} lines
 */
function append(page, lines) {
  const log = page.querySelector("[data-log]");
  if (!log) return;
  for (const line of lines) {
    const item = document.createElement("li");
    item.textContent = line;
    log.append(item);
  }
}
