// The socket: says what this page shows, hands on what changes, and heals itself after a gap.

import { countSoon } from "./counts.js";
import { noteFailures } from "./favicon.js";
import { refreshSoon } from "./refresh.js";

const HIDDEN_FOR = 30_000;
// One acknowledgement for so many messages, or so long after the first of them: pages need not send as much as they get.
const ACK_EVERY = 5;
const ACK_WITHIN = 1000;

/** @param {Part} part */
export function connect(part) {
  /** @type {WebSocket | null} */
  let socket = null;
  /** Where sockets are blocked, the same frames come as events. @type {EventSource | null} */
  let stream = null;
  /** Closed again before it was ever open; twice, and sockets are taken for blocked. */
  let barred = 0;
  let epoch = "";
  let paused = false;
  // The page was drawn by the server about when its navigation began: from then on it may have missed changes.
  let heard = performance.timeOrigin;
  let received = 0;
  let acked = 0;
  /** @type {number | undefined} */
  let ackTimer;
  let number = -1;
  let wait = 500;
  /** @type {number | undefined} */
  let hideTimer;

  const button = document.querySelector(".live");
  const text = document.querySelector("[data-live-text]");
  /** @param {string} state @param {string} words */
  const say = (state, words) => {
    if (button instanceof HTMLElement) button.dataset.live = state;
    if (text && text.textContent !== words) text.textContent = words;
  };
  /** What was last asked for: a page that shows other jobs than then asks anew. */
  let told = "";
  /** The snapshot that comes next answers a page that was just drawn; any other one stands for what was missed. */
  let fresh = true;
  /** A job's own page names itself by its topic, so one less fits. */
  const wanted = () => ({ topic: part.topic, ids: part.ids().slice(0, 199), line: part.line?.() ?? false });
  const hello = () => {
    const away = Math.max(0, Math.round(Date.now() - heard));
    told = JSON.stringify(wanted());
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ t: "hello", ...wanted(), away }));
  };

  const ack = () => {
    clearTimeout(ackTimer);
    ackTimer = undefined;
    if (socket?.readyState !== WebSocket.OPEN || acked === received) return;
    acked = received;
    socket.send(JSON.stringify({ t: "ack", n: received }));
  };

  const open = () => {
    if (socket || stream || paused) return;
    if (barred > 1) return listen();
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/live/`);
    let opened = false;
    socket.onopen = () => {
      opened = true;
      barred = 0;
      received = 0;
      acked = 0;
      number = -1;
      wait = 500;
      hello();
      say("on", "live");
    };
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      received += 1;
      if (received - acked >= ACK_EVERY) ack();
      else ackTimer ??= window.setTimeout(ack, ACK_WITHIN);
      // Frames are numbered within the hub's epoch: after a gap, or from another hub, the whole state is asked for.
      const another = epoch !== "" && message.e !== epoch;
      if (message.t === "frame" && (another || (number >= 0 && message.n > number + 1))) hello();
      take(message);
    };
    socket.onclose = (event) => {
      socket = null;
      if (!opened) barred += 1;
      if (event.code === 4409) {
        say("off", "too many live pages are open");
        return;
      }
      if (event.code === 4401) {
        say("off", "signed out: sign in again");
        return;
      }
      if (paused || document.hidden) return;
      say("waiting", "reconnecting");
      later();
    };
  };
  /** Not at once with all other pages that lost the same server. */
  const later = () => {
    setTimeout(open, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, 10_000);
  };
  /** @param {{t: string, e: string, n: number, jobs: Delta[], line?: boolean}} message */
  const take = (message) => {
    if (message.line || (message.t === "snapshot" && !fresh)) part.again?.();
    if (message.t === "snapshot") fresh = false;
    heard = Date.now();
    epoch = message.e;
    number = message.n;
    part.show(message.jobs);
    noteFailures(message.jobs);
    countSoon(message.jobs);
    refreshSoon(message.jobs);
  };
  const listen = () => {
    const { topic, ids, line } = wanted();
    told = JSON.stringify(wanted());
    const away = String(Math.max(0, Math.round(Date.now() - heard)));
    stream = new EventSource(`/live/events/?${new URLSearchParams({ topic, ids: ids.join(","), away, line: String(line) })}`);
    let opened = false;
    stream.onopen = () => {
      opened = true;
      say("on", "live");
    };
    stream.onmessage = (event) => take(JSON.parse(event.data));
    stream.onerror = () => {
      say("waiting", "reconnecting");
      // A stream that was open is opened again by the browser, which says what it has seen. Else sockets are tried anew.
      if (opened && stream?.readyState !== EventSource.CLOSED) return;
      stream?.close();
      stream = null;
      barred = 0;
      later();
    };
  };
  const close = () => {
    stream?.close();
    stream = null;
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
  document.addEventListener("redrawn", () => {
    if (told === JSON.stringify(wanted())) return;
    fresh = true;
    if (stream) {
      stream.close();
      listen();
    } else hello();
  });
  setInterval(() => {
    if (socket?.readyState === WebSocket.OPEN && !paused) {
      const age = Math.round((Date.now() - heard) / 1000);
      say("on", age > 5 ? `live, quiet for ${age} s` : "live");
    }
  }, 1000);
  open();
}
