// System, light, dark: three buttons, of which one is pressed. What they choose is shown by theme.js.

export function startLook() {
  const group = document.querySelector("[data-looks]");
  if (!(group instanceof HTMLElement)) return;
  const buttons = [...group.querySelectorAll("button")];
  const press = () => {
    const look = localStorage.getItem("look") ?? "system";
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.look === look));
  };
  group.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    if (!button) return;
    if (button.dataset.look === "system") localStorage.removeItem("look");
    else localStorage.setItem("look", button.dataset.look ?? "");
    document.dispatchEvent(new Event("look-chosen"));
    press();
  });
  group.hidden = false;
  press();
}
