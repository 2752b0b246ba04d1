// A job's page: the bar moves with each frame; after a move the rest is fetched as the server draws it.
import { draw, isNewer } from "./draw.js";

const SOON = 250;
// What is said about other jobs may be this old.
const OTHERS = 1500;

export function startJob() {
  const page = document.querySelector("[data-job-page]");
  if (!(page instanceof HTMLElement)) return null;
  const own = page.dataset.jobPage ?? "";
  /** @type {number | undefined} */
  let timer;
  /** The newest report: what the server draws may be older than what was already shown. @type {Delta | undefined} */
  let last;
  const log = startLog(page);
  page.addEventListener("input", (event) => {
    if (event.target instanceof Element) event.target.closest("form")?.classList.add("touched");
  });
  /** Only what moved is ever asked for, and once for all that moves meanwhile. @param {number} wait */
  const refetch = (wait) => {
    timer ??= window.setTimeout(() => {
      timer = undefined;
      // Whoever comes back, or lets go, gets it then; until then the server is not asked.
      if (document.hidden || isHeld(page)) return refetch(1000);
      redraw().catch(() => {});
    }, wait);
  };
  const redraw = async () => {
    const answer = await fetch(page.dataset.parts ?? "");
    if (!answer.ok) return;
    const part = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = part.querySelector("[data-job]");
    const shown = page.querySelector("[data-job]");
    // A frame may have overtaken this answer; the page never goes back.
    if (isHeld(page) || version(fresh) < version(shown)) return refetch(SOON);
    if (fresh instanceof HTMLElement && last) draw(fresh, last);
    const open = new Map(unfolded(page).map(([key, details]) => [key, details.open]));
    page.replaceChildren(...[...part.body.childNodes].map((node) => document.importNode(node, true)));
    for (const [key, details] of unfolded(page)) details.open = open.get(key) ?? details.open;
    log.dress();
    page.dispatchEvent(new CustomEvent("redrawn", { bubbles: true }));
  };
  return {
    topic: `job:${own}`,
    ids: () => {
      const named = [...page.querySelectorAll("[data-beside]")].map((one) => one.getAttribute("data-beside") ?? "");
      return [...new Set(named)].filter((id) => id !== own);
    },
    line: () => page.querySelector("[data-line]") !== null,
    again: () => refetch(SOON),
    /** @param {Delta[]} deltas */
    show(deltas) {
      const head = page.querySelector("[data-job]");
      if (!(head instanceof HTMLElement)) return;
      for (const delta of deltas) {
        if (delta.id !== own) {
          const other = `[data-beside="${CSS.escape(delta.id)}"]`;
          if (delta.status && page.querySelector(`${other}:not([data-status="${CSS.escape(delta.status)}"])`)) refetch(OTHERS);
          continue;
        }
        const moved = isNewer(head, delta) && delta.v[0] > version(head);
        if (isNewer(head, delta)) last = last && last.v[0] === delta.v[0] ? { ...last, ...delta } : delta;
        if (draw(head, delta)) log.append(delta.diagnostics ?? []);
        if (moved) refetch(SOON);
      }
    },
  };
}

/** What is folded, named by its place within its part of the page, so that a redraw finds it. @param {HTMLElement} page */
function unfolded(page) {
  return [...page.querySelectorAll("details")].map((details) => {
    const part = details.closest("section");
    const place = [...(part?.querySelectorAll("details") ?? [])].indexOf(details);
    return /** @type {[string, HTMLDetailsElement]} */ ([`${part?.id || part?.className} ${place}`, details]);
  });
}

/** Focus on a control, something typed, text selected: nothing is taken from under a hand. @param {HTMLElement} page */
function isHeld(page) {
  const active = document.activeElement;
  if (active && page.contains(active) && active.matches("button, a, input, select, textarea, summary")) return true;
  if (page.querySelector("form.touched")) return true;
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && page.contains(selection.anchorNode);
}

/** @param {Element | null} shown */
function version(shown) {
  return Number((shown?.getAttribute("data-v") ?? "0").split(",")[0]);
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
