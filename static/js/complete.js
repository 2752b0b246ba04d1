// The search box completes keys, then their values; the arrow keys choose, Enter or Tab takes, Escape closes.

export function startComplete() {
  const box = document.querySelector("[data-complete]");
  const list = document.querySelector("#suggestions");
  if (!(box instanceof HTMLInputElement) || !(list instanceof HTMLElement)) return;
  /** @type {Suggestion[]} */
  let offered = [];
  let at = -1;
  let asked = 0;

  const close = () => {
    list.hidden = true;
    at = -1;
    box.setAttribute("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
  };
  const show = () => {
    list.replaceChildren(
      ...offered.map((one, place) => {
        const item = document.createElement("li");
        item.id = `suggestion-${place}`;
        item.setAttribute("role", "option");
        item.setAttribute("aria-selected", String(place === at));
        const text = document.createElement("code");
        text.textContent = one.text;
        const about = document.createElement("span");
        about.className = "sub";
        about.textContent = one.about;
        item.append(text, about);
        item.addEventListener("mousedown", (event) => {
          event.preventDefault();
          take(one);
        });
        return item;
      }),
    );
    list.hidden = offered.length === 0;
    box.setAttribute("aria-expanded", String(!list.hidden));
    if (at >= 0) {
      box.setAttribute("aria-activedescendant", `suggestion-${at}`);
      list.children[at]?.scrollIntoView({ block: "nearest" });
    } else box.removeAttribute("aria-activedescendant");
  };
  const ask = async () => {
    const number = ++asked;
    const typed = box.value.slice(0, box.selectionStart ?? box.value.length);
    const answer = await fetch(`${box.dataset.complete}?${new URLSearchParams({ q: typed })}`).catch(() => null);
    if (!answer?.ok || number !== asked || document.activeElement !== box) return;
    // What was chosen already stays chosen, if it is still offered.
    const chosen = offered[at]?.text;
    offered = (await answer.json()).suggestions;
    at = offered.findIndex((one) => one.text === chosen);
    show();
  };
  /** @param {Suggestion} one */
  const take = (one) => {
    const caret = box.selectionStart ?? box.value.length;
    const more = /[:<>.]$/.test(one.text);
    const before = box.value.slice(0, one.start) + one.text + (more ? "" : " ");
    box.value = before + box.value.slice(caret).trimStart();
    box.setSelectionRange(before.length, before.length);
    close();
    ask();
  };

  box.addEventListener("input", ask);
  box.addEventListener("focus", ask);
  box.addEventListener("blur", close);
  box.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      at =
        (at + (event.key === "ArrowDown" ? 1 : -1) + offered.length + (at < 0 && event.key === "ArrowUp" ? 1 : 0)) %
        offered.length;
      show();
      event.preventDefault();
    } else if ((event.key === "Enter" || event.key === "Tab") && at >= 0) {
      const one = offered[at];
      if (one) take(one);
      event.preventDefault();
    } else if (event.key === "Escape") {
      close();
      event.preventDefault();
    }
  });
}
