// A job's page: the bar moves with each frame; after a move the rest is fetched as the server draws it.
import { draw, isNewer } from "./draw.js";

/** @typedef {import("./draw.js").Delta} Delta */

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
    const answer = await fetch(page.dataset.parts ?? "", { credentials: "same-origin" });
    if (!answer.ok) return;
    const part = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = part.querySelector("[data-job]");
    const shown = page.querySelector("[data-job]");
    // A frame may have overtaken this answer; the page never goes back.
    if (isHeld(page) || (fresh instanceof HTMLElement && shown instanceof HTMLElement && older(fresh, shown)))
      return refetch(SOON);
    if (fresh instanceof HTMLElement && last) draw(fresh, last);
    const open = new Map(unfolded(page).map(([key, details]) => [key, details.open]));
    page.replaceChildren(...[...part.body.childNodes].map((node) => document.importNode(node, true)));
    for (const [key, details] of unfolded(page)) details.open = open.get(key) ?? details.open;
    log.dress();
    page.dispatchEvent(new CustomEvent("redrawn", { bubbles: true }));
  };
  return {
    topic: `job:${own}`,
    ids: () => [...new Set(besides(page).map((one) => one.dataset.beside ?? ""))].filter((id) => id !== own),
    line: () => page.querySelector("[data-line]") !== null,
    again: () => refetch(SOON),
    /** @param {Delta[]} deltas */
    show(deltas) {
      const head = page.querySelector("[data-job]");
      if (!(head instanceof HTMLElement)) return;
      for (const delta of deltas) {
        if (delta.status && colour(page, delta) && delta.id !== own && page.querySelector("#why")) refetch(OTHERS);
        if (delta.id !== own) continue;
        const moved = isNewer(head, delta) && delta.v[0] > Number((head.dataset.v ?? "0").split(",")[0]);
        if (isNewer(head, delta)) last = last && last.v[0] === delta.v[0] ? { ...last, ...delta } : delta;
        if (draw(head, delta)) log.append(delta.diagnostics ?? []);
        if (moved) refetch(SOON);
      }
    },
  };
}

/** What names another job that this page tells about. @param {HTMLElement} page */
function besides(page) {
  return /** @type {(HTMLElement | SVGElement)[]} */ ([...page.querySelectorAll("[data-beside]")]);
}

/** In the little graph a job has the colour of its status; true where that is another one than before. @param {HTMLElement} page @param {Delta} delta */
function colour(page, delta) {
  let changed = false;
  for (const one of besides(page)) {
    if (one.dataset.beside !== delta.id || one.dataset.status === delta.status) continue;
    changed = true;
    one.dataset.status = delta.status;
    if (!one.classList.contains("node")) continue;
    one.setAttribute("class", `node s-${delta.status}`);
    const title = one.querySelector("title");
    if (title) title.textContent = `${delta.id}: ${delta.status}`;
  }
  return changed;
}

/** What is folded, each with a name that it has after a redraw too: its place within its part of the page. @param {HTMLElement} page */
function unfolded(page) {
  return [...page.querySelectorAll("details")].map((details) => {
    const part = details.closest("section");
    const place = [...(part?.querySelectorAll("details") ?? [])].indexOf(details);
    return /** @type {[string, HTMLDetailsElement]} */ ([`${part?.id || part?.className} ${place}`, details]);
  });
}

/** A button or a field has the focus or holds what was typed, or text is selected: nothing is taken from under a hand. @param {HTMLElement} page */
function isHeld(page) {
  const active = document.activeElement;
  if (active && page.contains(active) && active.matches("button, a, input, select, textarea, summary")) return true;
  if ([...page.querySelectorAll("form [name]")].some(isTouched)) return true;
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && page.contains(selection.anchorNode);
}

/** Does it say something else than the server wrote there? @param {Element} field */
function isTouched(field) {
  if (field instanceof HTMLSelectElement) {
    return (
      field.selectedIndex !==
      Math.max(
        0,
        [...field.options].findIndex((option) => option.defaultSelected),
      )
    );
  }
  if (field instanceof HTMLTextAreaElement) return field.value !== field.defaultValue;
  if (!(field instanceof HTMLInputElement)) return false;
  return field.value !== field.defaultValue || field.checked !== field.defaultChecked;
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
