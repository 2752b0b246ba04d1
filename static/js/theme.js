// Blocking and tiny, in the head: the look is chosen before anything is painted, and follows the system's on every page.
(() => {
  const media = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const wanted = localStorage.getItem("look");
    const dark = wanted ? wanted === "dark" : media.matches;
    document.documentElement.setAttribute("data-bs-theme", dark ? "dark" : "light");
    document.dispatchEvent(new Event("look"));
  };
  media.addEventListener("change", show);
  document.addEventListener("look-chosen", show);
  document.documentElement.setAttribute("data-js", "");
  show();
})();
