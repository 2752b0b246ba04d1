// Blocking and tiny, in the head: the look is chosen before anything is painted.
(() => {
  const wanted = localStorage.getItem("look");
  const dark = wanted ? wanted === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.setAttribute("data-bs-theme", dark ? "dark" : "light");
  document.documentElement.setAttribute("data-js", "");
})();
