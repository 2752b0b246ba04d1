// Puts a delta into whatever shows that job. Text from jobs is only ever set as text.
import { tick } from "./clocks.js";

/** Newer by (version, tick)? @param {HTMLElement} shown @param {Delta} delta */
export function isNewer(shown, delta) {
  const [version, at] = (shown.dataset.v ?? "0,0").split(",").map(Number);
  return delta.v[0] > version || (delta.v[0] === version && delta.v[1] > at);
}

/** @param {HTMLElement} shown @param {Delta} delta */
export function draw(shown, delta) {
  if (!isNewer(shown, delta)) return false;
  shown.dataset.v = delta.v.join(",");
  if (delta.progress !== undefined) {
    const bar = shown.querySelector("progress");
    if (bar) bar.value = delta.progress;
    set(shown, "[data-percent]", `${Math.round(delta.progress)} %`);
  }
  if (delta.message) set(shown, "[data-message]", delta.message.slice(0, 300));
  if (delta.stage !== undefined) set(shown, "[data-stage]", delta.stage);
  if (delta.sub !== undefined) set(shown, "[data-sub]", delta.sub === null ? "" : `${Math.round(delta.sub)} %`);
  if (delta.attempts !== undefined) set(shown, "[data-attempts]", String(delta.attempts));
  if (delta.status) drawStatus(shown, delta);
  return true;
}

/** @param {HTMLElement} shown @param {Delta} delta */
function drawStatus(shown, delta) {
  const status = delta.status ?? "";
  shown.dataset.status = status;
  const badge = shown.querySelector("[data-badge]");
  if (badge) {
    badge.className = `state s-${status}`;
    const dot = badge.querySelector(".dot");
    if (dot) dot.className = `dot s-${status}`;
  }
  set(shown, "[data-status-text]", delta.cancelling && status === "running" ? "stopping" : status);
  const clock = shown.querySelector("time[data-created]");
  if (clock instanceof HTMLElement) {
    clock.dataset.started = String(delta.started ?? "");
    clock.dataset.finished = String(delta.finished ?? "");
    tick(clock);
  }
}

/** @param {HTMLElement} inside @param {string} selector @param {string} text */
function set(inside, selector, text) {
  const found = inside.querySelector(selector);
  if (found && found.textContent !== text) found.textContent = text;
}

/** The rows of jobs in a part of a page. @param {ParentNode} inside */
export function rowsOf(inside) {
  return /** @type {HTMLElement[]} */ ([...inside.querySelectorAll("tr[data-job]")]);
}

/** Rows are made by the server's own template, with everything in them escaped. @param {string} html */
export function rowsIn(html) {
  return rowsOf(new DOMParser().parseFromString(`<table><tbody>${html}</tbody></table>`, "text/html"));
}
