/** The page without a mouse. Letters are keys only where nobody types. */

import { $ } from "./dom.js";

const typing = (node) => node.matches?.("input, textarea, select, [contenteditable]");

/** Arrow keys within a row of tabs, as the ARIA pattern has it. */
function amongTabs(event) {
  const tab = event.target.closest?.('[role="tab"]');
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!tab || !by) return false;
  const all = [...tab.parentElement.children];
  const next = all[(all.indexOf(tab) + by + all.length) % all.length];
  next.click();
  $(next.id)?.focus();
  return true;
}

/** Arrow keys among the hits: up and down a column, left and right to the same place in another. */
function amongHits(event, board) {
  const hit = event.target.closest?.(".hit");
  if (!hit) return false;
  const { mode } = hit.dataset;
  const links = board.links(mode);
  const at = links.indexOf(hit.querySelector("a"));
  let goal = null;
  if (event.key === "ArrowDown") goal = links[at + 1];
  else if (event.key === "ArrowUp") goal = links[at - 1] ?? $("query");
  else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    const modes = board.visible();
    const other = modes[modes.indexOf(mode) + (event.key === "ArrowLeft" ? -1 : 1)];
    const column = other ? board.links(other) : [];
    goal = column[Math.min(at, column.length - 1)];
  } else return false;
  goal?.focus();
  goal?.closest(".hit")?.scrollIntoView({ block: "nearest" });
  return true;
}

/** `does`: {search, help, inspect, step, close}. */
export function listen(board, does) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") {
      if (does.close()) event.preventDefault();
      return;
    }
    if (typing(event.target)) {
      if (event.key !== "ArrowDown" || event.target !== $("query")) return;
      const first = board.links(board.front)[0];
      first?.focus();
      if (first) event.preventDefault();
      return;
    }
    if (amongTabs(event) || amongHits(event, board)) {
      event.preventDefault();
      return;
    }
    const act = {
      "/": does.search,
      "?": does.help,
      i: does.inspect,
      j: () => does.step(1),
      k: () => does.step(-1),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
