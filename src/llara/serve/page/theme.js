/* Runs before the first paint (a plain script in the head), so that a chosen theme does not flash the other. */
"use strict";

(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("llara-theme");
  } catch {
    // storage is off: the system's theme it is
  }
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
