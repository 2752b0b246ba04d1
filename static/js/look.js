// System, light, dark: three buttons, of which one is pressed.

export function startLook() {
  const group = document.querySelector("[data-looks]");
  if (!(group instanceof HTMLElement)) return;
  const buttons = [...group.querySelectorAll("button")];
  const media = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const look = localStorage.getItem("look") ?? "system";
    const dark = look === "system" ? media.matches : look === "dark";
    document.documentElement.setAttribute("data-bs-theme", dark ? "dark" : "light");
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.look === look));
    document.dispatchEvent(new Event("look"));
  };
  group.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    if (!button) return;
    if (button.dataset.look === "system") localStorage.removeItem("look");
    else localStorage.setItem("look", button.dataset.look ?? "");
    show();
  });
  media.addEventListener("change", show);
  group.hidden = false;
  show();
}
