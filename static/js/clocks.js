// Elapsed times tick here, and moments are told in the viewer's zone; the server sends moments, not durations.

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds > 0 && seconds < 0.095) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 10) return `${Math.max(seconds, 0).toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 2 * 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** @param {HTMLElement} clock */
export function tick(clock) {
  const created = Number(clock.dataset.created);
  const started = Number(clock.dataset.started);
  const finished = Number(clock.dataset.finished);
  const from = started || created;
  if (!from) return;
  const text = duration(((finished || Date.now()) - from) / 1000);
  const shown = started ? text : finished ? "" : `waits ${text}`;
  if (clock.textContent === shown) return;
  clock.textContent = shown;
  clock.title = `${started ? "started" : "submitted"} ${new Date(from).toLocaleString()}`;
}

/** The server writes UTC, for who has no JavaScript; on hover it stays. @param {HTMLTimeElement} moment */
function localise(moment) {
  const at = new Date(moment.dateTime);
  const text = moment.textContent ?? "";
  moment.title = at.toISOString();
  moment.textContent = at.toLocaleString(undefined, {
    dateStyle: /[a-z]{3}/i.test(text.replace("UTC", "")) ? "medium" : undefined,
    timeStyle: text.includes(":") ? (text.split(":").length > 2 ? "medium" : "short") : undefined,
    hourCycle: "h23",
  });
}

export function startClocks() {
  const all = () => {
    if (document.hidden) return;
    for (const moment of document.querySelectorAll("time[data-local]:not([title])")) {
      if (moment instanceof HTMLTimeElement) localise(moment);
    }
    for (const clock of document.querySelectorAll("time[data-created]")) {
      if (clock instanceof HTMLElement) tick(clock);
    }
  };
  setInterval(all, 500);
  all();
}
