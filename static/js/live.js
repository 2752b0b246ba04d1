// The socket: says what this page shows, hands on what changes, and heals itself after a gap.

import { noteFailures } from "./favicon.js";
import { refreshSoon } from "./refresh.js";

/** @typedef {import("./draw.js").Delta} Delta */
/** @typedef {{topic: string, ids: () => string[], show: (deltas: Delta[]) => void}} Part */

const HIDDEN_FOR = 30_000;

/** @param {Part} part */
export function connect(part) {
  /** @type {WebSocket | null} */
  let socket = null;
  let paused = false;
  // The page was drawn by the server about when its navigation began: from then on it may have missed changes.
  let heard = performance.timeOrigin;
  let received = 0;
  let number = -1;
  let wait = 500;
  /** @type {number | undefined} */
  let hideTimer;

  const button = document.querySelector(".live");
  const text = document.querySelector("[data-live-text]");
  /**
   * @param {string} state
   * @param {string} words
   */
  const say = (state, words) => {
    if (button instanceof HTMLElement) button.dataset.live = state;
    if (text && text.textContent !== words) text.textContent = words;
  };
  const hello = () => {
    const away = Math.max(0, Math.round(Date.now() - heard));
    socket?.send(JSON.stringify({ t: "hello", topic: part.topic, ids: part.ids().slice(0, 200), away }));
  };

  const open = () => {
    if (socket || paused) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/live/`);
    socket.onopen = () => {
      received = 0;
      number = -1;
      wait = 500;
      hello();
      say("on", "live");
    };
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      received += 1;
      socket?.send(JSON.stringify({ t: "ack", n: received }));
      // Frames are numbered: after a gap the whole state is asked for.
      if (message.t === "frame" && number >= 0 && message.n > number + 1) hello();
      heard = Date.now();
      number = message.n;
      part.show(message.jobs);
      noteFailures(message.jobs);
      refreshSoon(message.jobs);
    };
    socket.onclose = (event) => {
      socket = null;
      if (event.code === 4401) {
        say("off", "signed out: sign in again");
        return;
      }
      if (paused || document.hidden) return;
      say("waiting", "reconnecting");
      setTimeout(open, wait * (0.5 + Math.random()));
      wait = Math.min(wait * 2, 10_000);
    };
  };
  const close = () => {
    const old = socket;
    socket = null;
    if (old) {
      old.onclose = null;
      old.close();
    }
  };

  button?.addEventListener("click", () => {
    paused = !paused;
    if (paused) {
      close();
      say("paused", "paused");
    } else open();
  });
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hideTimer);
    if (document.hidden) hideTimer = window.setTimeout(close, HIDDEN_FOR);
    else open();
  });
  setInterval(() => {
    if (socket?.readyState === WebSocket.OPEN && !paused) {
      const age = Math.round((Date.now() - heard) / 1000);
      say("on", age > 5 ? `live, quiet for ${age} s` : "live");
    }
  }, 1000);
  open();
}
