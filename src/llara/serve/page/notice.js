/** What is wrong, and what can be done about it: one line above the results. */

import { api } from "./api.js";
import { $, el, prose } from "./dom.js";
import { t } from "./language.js";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15_000;

let timer = null;
let shown = null;

export function clearNotice() {
  clearTimeout(timer);
  shown = null;
  const box = $("notice");
  box.hidden = true;
  box.replaceChildren();
}

/** A sentence about a failure. */
export function sentence({ kind, message }, first = false) {
  return t(kind === "gone" && first ? "gone.first" : kind === "key" ? "keyWanted" : kind, { message });
}

/** Say `failure`; `again` repeats what failed, `enterKey` asks for a key. */
export function showNotice(failure, { again, enterKey, first = false }) {
  clearNotice();
  shown = { failure, again, enterKey, first };
  const { kind, retryAfter } = failure;
  const box = $("notice");
  box.dataset.kind = kind;
  const retry = kind === "key" ? enterKey : again;
  const button = el("button", { type: "button", onclick: retry }, t(kind === "key" ? "keyEnter" : "retry"));
  box.append(el("span", {}, prose(sentence(failure, first))), button);
  box.hidden = false;
  if (kind === "gone") look(again, FIRST_WAIT_MS);
  if (retryAfter && (kind === "busy" || kind === "unavailable")) count(button, again, retryAfter);
}

/** In another language. */
export function repeatNotice() {
  if (shown) showNotice(shown.failure, shown);
}

/** Ask for the server until it is there, ever more rarely. */
function look(again, wait) {
  timer = setTimeout(async () => {
    const mine = timer;
    const there = await api.health().then(
      () => true,
      () => false,
    );
    if (timer !== mine) return; // something else has been said since
    if (there) again();
    else look(again, Math.min(wait * 1.6, LONGEST_WAIT_MS));
  }, wait);
}

/** Count the seconds that the server asked for, then repeat. */
function count(button, again, seconds) {
  if (seconds <= 0) {
    again();
    return;
  }
  button.textContent = `${t("retry")} (${t("again", { n: seconds })})`;
  timer = setTimeout(() => count(button, again, seconds - 1), 1000);
}
