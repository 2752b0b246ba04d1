// Buttons that copy what they name, or the raw text of what is shown folded.
export function startCopy() {
  const dress = () => {
    for (const button of document.querySelectorAll("[data-copy-of]")) if (button instanceof HTMLElement) button.hidden = false;
  };
  document.addEventListener("redrawn", dress);
  dress();
  document.addEventListener("click", async (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-copy], [data-copy-of]") : null;
    if (!(button instanceof HTMLElement)) return;
    const raw = document.getElementById(button.dataset.copyOf ?? "");
    const text = raw instanceof HTMLTemplateElement ? (raw.content.textContent ?? "") : (button.dataset.copy ?? "");
    await navigator.clipboard?.writeText(text);
    const said = button.textContent;
    button.textContent = "copied";
    setTimeout(() => {
      button.textContent = said;
    }, 1200);
  });
}
