// A job's page: the bar moves with each frame; after a move the rest is fetched as the server draws it.
import { draw, isNewer } from "./draw.js";

/** @typedef {import("./draw.js").Delta} Delta */

export function startJob() {
  const page = document.querySelector("[data-job-page]");
  if (!(page instanceof HTMLElement)) return null;
  let waiting = false;
  /** The newest report: what the server draws may be older than what was already shown. @type {Delta | undefined} */
  let last;
  const log = startLog(page);
  const refetch = async () => {
    if (waiting) return;
    waiting = true;
    await new Promise((done) => setTimeout(done, 250));
    waiting = false;
    const answer = await fetch(page.dataset.parts ?? "", { credentials: "same-origin" }).catch(() => null);
    if (!answer?.ok) return;
    const part = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = part.querySelector("[data-job]");
    const shown = page.querySelector("[data-job]");
    // A frame may have overtaken this answer; the page never goes back.
    if (fresh instanceof HTMLElement && shown instanceof HTMLElement && older(fresh, shown)) return void refetch();
    if (fresh instanceof HTMLElement && last) draw(fresh, last);
    if (isHeld(page)) return void setTimeout(refetch, 1000);
    const open = [...page.querySelectorAll("details")].map((details) => details.open);
    page.replaceChildren(...[...part.body.childNodes].map((node) => document.importNode(node, true)));
    page.querySelectorAll("details").forEach((details, place) => {
      if (place < open.length) details.open = open[place] ?? details.open;
    });
    log.dress();
    page.dispatchEvent(new CustomEvent("redrawn", { bubbles: true }));
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
        if (draw(head, delta)) log.append(delta.diagnostics ?? []);
        if (moved) refetch();
      }
    },
  };
}

/** A button or a field has the focus, or text is selected: nothing is taken from under a hand. @param {HTMLElement} page */
function isHeld(page) {
  const active = document.activeElement;
  if (active && page.contains(active) && active.matches("button, a, input, select, textarea, summary")) return true;
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && page.contains(selection.anchorNode);
}

/**
 * @param {HTMLElement} a
 * @param {HTMLElement} b
 */
function older(a, b) {
  return Number((a.dataset.v ?? "0").split(",")[0]) < Number((b.dataset.v ?? "0").split(",")[0]);
}

/** The lines of diagnostics: filtered, followed. @param {HTMLElement} page */
function startLog(page) {
  let wanted = "";
  let following = true;
  const lines = () => /** @type {HTMLElement | null} */ (page.querySelector("[data-log]"));
  const sift = () => {
    for (const line of lines()?.children ?? []) {
      if (line instanceof HTMLElement) line.hidden = wanted !== "" && !line.textContent?.toLowerCase().includes(wanted);
    }
  };
  const follow = () => {
    const log = lines();
    if (log && following) log.scrollTop = log.scrollHeight;
  };
  const dress = () => {
    const filter = page.querySelector("[data-log-filter]");
    const label = page.querySelector("[data-log-follow-label]");
    if (filter instanceof HTMLInputElement) {
      filter.hidden = false;
      filter.value = wanted;
      filter.addEventListener("input", () => {
        wanted = filter.value.toLowerCase();
        sift();
      });
    }
    if (label instanceof HTMLElement) {
      label.hidden = false;
      const box = label.querySelector("input");
      if (box) box.checked = following;
      box?.addEventListener("change", () => {
        following = box.checked;
        follow();
      });
    }
    sift();
    follow();
  };
  dress();
  return {
    dress,
    /** @param {string[]} texts */
    append(texts) {
      const log = lines();
      for (const text of texts) {
        const item = document.createElement("li");
        item.textContent = text;
        item.hidden = wanted !== "" && !text.toLowerCase().includes(wanted);
        log?.append(item);
      }
      while (log && log.children.length > 1000) log.firstElementChild?.remove();
      if (texts.length) follow();
    },
  };
}
