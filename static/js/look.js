// System, light, dark: one button goes round.
const looks = ["system", "light", "dark"];

export function startLook() {
  const button = document.querySelector("[data-theme-toggle]");
  const name = document.querySelector("[data-theme-name]");
  if (!button || !name) return;
  const media = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const look = localStorage.getItem("look") ?? "system";
    const dark = look === "system" ? media.matches : look === "dark";
    document.documentElement.setAttribute("data-bs-theme", dark ? "dark" : "light");
    name.textContent = look;
  };
  button.addEventListener("click", () => {
    const next = looks[(looks.indexOf(localStorage.getItem("look") ?? "system") + 1) % looks.length];
    if (next === "system") localStorage.removeItem("look");
    else localStorage.setItem("look", next);
    show();
  });
  media.addEventListener("change", show);
  show();
}
