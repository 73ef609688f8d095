/** The page's language: the reader's, until they choose another. */

import { WORDS } from "./words.js";

const KEPT = "llara-language";

/** localStorage, which a browser may refuse. */
export const kept = {
  get(name) {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(name, value);
    } catch {
      // it holds for this visit only
    }
  },
};

function wanted() {
  const chosen = kept.get(KEPT);
  if (chosen in WORDS) return chosen;
  for (const tag of navigator.languages ?? [navigator.language]) {
    const language = tag.toLowerCase().split("-")[0];
    if (language in WORDS) return language;
  }
  return "en";
}

let current = wanted();

export const language = () => current;

/** Our words for `name`, with {values} filled in. */
export function t(name, values = {}) {
  const sentence = WORDS[current][name] ?? WORDS.en[name] ?? name;
  return sentence.replace(/\{(\w+)\}/g, (all, key) => (key in values ? String(values[key]) : all)).trim();
}

export function number(value, options = {}) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  return new Intl.NumberFormat(current, options).format(value);
}

/** Three digits that count: 0.712, 12.4, 0.0325. */
export const score = (value) => number(value, { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });

/** 28,500,000 -> "28.5 MB". */
export function bytes(value) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  if (typeof value !== "number" || !(value >= 0)) return "–";
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(value || 1) / 3)));
  const shown = { style: "unit", unit: units[step], unitDisplay: step ? "short" : "long" };
  return number(value / 1000 ** step, { ...shown, maximumSignificantDigits: 3 });
}

/** Put the language into the page's own words. */
export function translate(root = document) {
  document.documentElement.lang = current === "zh" ? "zh-CN" : current;
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of root.querySelectorAll("[data-t-placeholder]")) node.placeholder = t(node.dataset.tPlaceholder);
  for (const node of root.querySelectorAll("[data-t-label]")) {
    node.setAttribute("aria-label", t(node.dataset.tLabel));
    if (node.matches("button")) node.title = t(node.dataset.tLabel);
  }
}

/** To the other language. */
export function switchLanguage() {
  current = current === "en" ? "zh" : "en";
  kept.set(KEPT, current);
}
