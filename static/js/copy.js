// Buttons that copy what they name.
export function startCopy() {
  document.addEventListener("click", async (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-copy]") : null;
    if (!(button instanceof HTMLElement)) return;
    const text = button.dataset.copy ?? "";
    await navigator.clipboard?.writeText(text);
    button.textContent = "copied";
    setTimeout(() => {
      button.textContent = text;
    }, 1200);
  });
}
