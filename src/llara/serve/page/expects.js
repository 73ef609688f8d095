/** The line below the query: the words that its vector expects. */

import { api } from "./api.js";
import { $, el } from "./dom.js";
import { t } from "./language.js";

const WORDS = 10;
let able = true;

/** Whether there are such words: a model that llara did not make has none. */
export function expectsAre(possible) {
  able = possible;
}

export function hideExpects() {
  const line = $("expects");
  line.hidden = true;
  line.removeAttribute("aria-busy");
}

/** What is shown belongs to an older query. */
export function fadeExpects() {
  $("expects").setAttribute("aria-busy", "true");
}

/** Keep the line's place while it is awaited, so that no hit moves when it comes; `inspect` opens the inspector. */
export function awaitExpects(inspect) {
  if (able && $("expects").hidden) fill([], inspect);
  fadeExpects();
}

function fill(words, inspect) {
  const line = $("expects");
  if (!$("inspect")) {
    const button = el("button", { type: "button", id: "inspect", onclick: inspect });
    line.append(el("span", { class: "label" }), el("span", { class: "words" }), button);
  }
  line.querySelector(".label").textContent = t("expects");
  line.querySelector(".words").replaceChildren(...words);
  $("inspect").textContent = t("inspectQuery"); // the button stays: it may have the focus
  line.hidden = false;
}

function chip({ word, weight, in_text: known }, most) {
  const strength = Math.max(0, weight / most).toFixed(3);
  return el("span", { class: "expected", "data-known": known ? "yes" : "no", vars: { w: strength } }, word);
}

/** Ask and show, if by then it `stillMatters()`. */
export async function showExpects(query, { signal, stillMatters, inspect }) {
  if (!able) {
    hideExpects();
    return;
  }
  let words = [];
  try {
    words = (await api.inspect(query, signal)).roles.next.words.slice(0, WORDS);
  } catch {
    // the hits are there; the inspector says what is wrong
  }
  if (!stillMatters()) return;
  if (!words.length) {
    hideExpects();
    return;
  }
  const most = Math.max(...words.map(({ weight }) => weight), Number.MIN_VALUE);
  fill(words.map((word) => chip(word, most)), inspect);
  $("expects").removeAttribute("aria-busy");
}
