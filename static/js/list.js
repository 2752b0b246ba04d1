// The job list: rows change in place, what comes is asked for by the list's own search, nothing moves under a hand.
import { draw, rowsIn, rowsOf } from "./draw.js";

const MOST_ROWS = 100;
const ASK_AFTER = 200;

export function startList() {
  const form = document.querySelector("[data-list]");
  const body = form?.querySelector("[data-list-rows]");
  if (!(form instanceof HTMLFormElement) || !(body instanceof HTMLElement)) return null;
  startSelection(form, body);
  const query = form.dataset.query ?? "";
  const fixed = form.dataset.fixed !== undefined;
  /** Jobs whose place in the list must be asked for. @type {Set<string>} */
  const asked = new Set();
  /** Rows that wait behind the pill. @type {Map<string, HTMLElement>} */
  const held = new Map();
  let asking = false;

  const ask = async () => {
    if (asking) return;
    asking = true;
    await new Promise((done) => setTimeout(done, ASK_AFTER));
    const ids = [...asked].slice(0, 50);
    for (const id of ids) asked.delete(id);
    const parameters = new URLSearchParams({ q: query, ids: ids.join(",") });
    const answer = await fetch(`${form.dataset.rows}?${parameters}`).catch(() => null);
    asking = false;
    if (answer?.ok) place(ids, rowsIn(await answer.text()));
    if (asked.size) ask();
  };

  /** @param {string[]} ids @param {HTMLElement[]} fresh */
  const place = (ids, fresh) => {
    const matching = new Map(fresh.map((row) => [row.dataset.job ?? "", row]));
    for (const id of ids) {
      const shown = find(body, id);
      const row = matching.get(id);
      if (shown && !row) leave(shown);
      if (!shown && row && !fixed && belongs(body, row)) held.set(id, row);
    }
    if (held.size && untouched(body)) release();
    offer();
  };

  const release = () => {
    const rows = [...held.values()].sort((a, b) => created(a) - created(b));
    held.clear();
    for (const row of rows) insert(body, row);
    for (const extra of [...body.children].slice(MOST_ROWS)) if (!isHeld(extra)) extra.remove();
  };

  const pill = document.querySelector("[data-new]");
  const offer = () => {
    if (!(pill instanceof HTMLElement)) return;
    pill.hidden = held.size === 0;
    pill.textContent = `${held.size} new`;
  };
  pill?.addEventListener("click", () => {
    release();
    offer();
    window.scrollTo({ top: 0 });
    const first = body.querySelector("a.name");
    if (first instanceof HTMLElement) first.focus({ preventScroll: true });
  });

  return {
    topic: "jobs",
    ids: () => rowsOf(body).map((row) => row.dataset.job ?? ""),
    /** @param {Delta[]} deltas */
    show(deltas) {
      for (const delta of deltas) {
        const row = find(body, delta.id);
        if (row) draw(row, delta);
        if (delta.status && (row ? query !== "" : !fixed && !held.has(delta.id))) asked.add(delta.id);
      }
      if (asked.size) ask();
    },
  };
}

/** @param {ParentNode} inside @param {string} id */
function find(inside, id) {
  const row = inside.querySelector(`tr[data-job="${CSS.escape(id)}"]`);
  return row instanceof HTMLElement ? row : null;
}

/** @param {HTMLElement} row */
function created(row) {
  return Number(row.dataset.created ?? 0);
}

/** Older ones than the last row belong to the next page. @param {HTMLElement} body @param {HTMLElement} row */
function belongs(body, row) {
  const last = rowsOf(body).at(-1);
  return !last || rowsOf(body).length < 50 || created(row) >= created(last);
}

/** @param {HTMLElement} body @param {HTMLElement} row */
function insert(body, row) {
  const fresh = /** @type {HTMLElement} */ (document.importNode(row, true));
  fresh.classList.add("arrived");
  const below = rowsOf(body).find((other) => created(other) <= created(fresh));
  body.insertBefore(fresh, below ?? null);
}

/** Somebody points at it, is in it, or has chosen it. @param {Element} row */
function isHeld(row) {
  return row.matches(":hover, :focus-within") || row.querySelector("input:checked") !== null;
}

/** @param {HTMLElement} row */
function leave(row) {
  if (isHeld(row)) row.classList.add("gone");
  else row.remove();
}

/** At its top, and nobody has a hand in it. @param {HTMLElement} body */
function untouched(body) {
  const chosen = String(getSelection() ?? "") !== "" && body.contains(getSelection()?.anchorNode ?? null);
  return window.scrollY < 40 && !chosen && !body.matches(":hover, :focus-within") && !body.querySelector("input:checked");
}

/**
 * The toolbar says how many rows are chosen; one box chooses all that are shown.
 * @param {HTMLFormElement} form
 * @param {HTMLElement} body
 */
function startSelection(form, body) {
  const all = form.querySelector("[data-select-all]");
  const said = form.querySelector("[data-selected]");
  if (!(all instanceof HTMLInputElement) || !said) return;
  const boxes = () => /** @type {NodeListOf<HTMLInputElement>} */ (body.querySelectorAll("input[name=id]"));
  const whole = /** @type {HTMLInputElement | null} */ (form.querySelector("input[name=all]"));
  all.hidden = false;
  const count = () => {
    const chosen = [...boxes()].filter((box) => box.checked).length;
    all.checked = chosen > 0 && chosen === boxes().length;
    all.indeterminate = chosen > 0 && !all.checked;
    said.textContent = whole?.checked ? "all that match" : chosen ? `${chosen} selected` : "select rows";
    form.dataset.chosen = String(whole?.checked || chosen > 0);
  };
  all.addEventListener("change", () => {
    for (const box of boxes()) box.checked = all.checked;
    count();
  });
  form.addEventListener("change", count);
  count();
}
