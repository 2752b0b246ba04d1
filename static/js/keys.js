// The keyboard, for who prefers it.
export function startKeys() {
  let pending = "";
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]")) return;
    const key = event.key;
    if (pending === "g") {
      pending = "";
      click(`[data-go="${CSS.escape(key)}"]`);
      return;
    }
    pending = key === "g" ? "g" : "";
    if (act(key)) event.preventDefault();
  });
  const button = document.querySelector("[data-keys]");
  if (button instanceof HTMLElement) button.hidden = false;
  button?.addEventListener("click", show);
}

/** @param {string} key */
function act(key) {
  if (key === "/") return search();
  if (key === "?") return show();
  if (key === "p") return click(".live");
  if (key === "c" || key === "r") return focus(`[data-key="${key}"]`);
  if (key === "x") return choose();
  if (key === "j" || key === "k") return move(key === "j" ? 1 : -1);
  return false;
}

/** The row that has the focus is selected, or no longer. */
function choose() {
  const box = document.activeElement?.closest("tr")?.querySelector("input[name=id]");
  if (box instanceof HTMLInputElement) box.click();
  return box !== undefined;
}

function show() {
  const dialog = document.querySelector("#keys");
  if (dialog instanceof HTMLDialogElement) dialog.showModal();
  return true;
}

/** On a page without a search, the list of jobs is where one searches. */
function search() {
  return focus("[data-search]") || click('[data-go="j"]');
}

/** @param {string} selector */
function focus(selector) {
  const found = document.querySelector(selector);
  if (found instanceof HTMLElement) found.focus();
  return found !== null;
}

/** @param {string} selector */
function click(selector) {
  const found = document.querySelector(selector);
  if (found instanceof HTMLElement) found.click();
  return found !== null;
}

/** @param {number} by */
function move(by) {
  const links = [...document.querySelectorAll("tr[data-job] a.name, .rows a.name, table.plain a.name")];
  const at = links.indexOf(/** @type {Element} */ (document.activeElement));
  const next = links[at < 0 ? 0 : Math.min(Math.max(at + by, 0), links.length - 1)];
  if (next instanceof HTMLElement) next.focus();
  return next !== undefined;
}
