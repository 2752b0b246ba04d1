// The icon of the tab tells that jobs failed: a red mark with their number, of the last hour when the page came, and since.

/** @type {Set<string>} */
const seen = new Set();
let before = 0;

export function startFavicon() {
  const link = document.querySelector("link[data-failures]");
  before = link instanceof HTMLElement ? Number(link.dataset.failures) : 0;
  draw();
}

/** Count what failed while we looked. A snapshot repeats what the page knows already. @param {Delta[]} deltas */
export function noteFailures(deltas) {
  const number = seen.size;
  for (const delta of deltas) {
    if (delta.status === "failed" && (delta.finished ?? 0) > performance.timeOrigin) seen.add(`${delta.id} ${delta.finished}`);
  }
  if (seen.size > number) draw();
}

function draw() {
  const link = document.querySelector("link[data-failures]");
  const number = before + seen.size;
  if (!(link instanceof HTMLLinkElement) || !number) return;
  const text = number > 9 ? "9+" : String(number);
  const mark = `<circle cx="23" cy="9" r="9" fill="#e0402a"/><text x="23" y="13" font-family="sans-serif" font-size="11" font-weight="700" text-anchor="middle" fill="#fff">${text}</text>`;
  const bars =
    '<rect x="6" y="7" width="14" height="4.6" rx="2.3" fill="#f26b1d"/><rect x="11" y="13.7" width="15" height="4.6" rx="2.3" fill="#fff"/><rect x="6" y="20.4" width="9" height="4.6" rx="2.3" fill="#fff" fill-opacity=".45"/>';
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7.5" fill="#10161f"/>${bars}${mark}</svg>`;
  link.href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
}
