/** What is served: the model, the index, and the ways of searching it. */

import { $, el, prose } from "./dom.js";
import { bytes, number, t } from "./language.js";

export const MODES = ["dense", "bm25", "lexical", "hybrid"];

const plain = (value) => (value === null || value === undefined || value === "" ? "–" : String(value));

function settingsText(settings) {
  if (settings === null || typeof settings !== "object") return plain(settings);
  const pairs = Object.entries(settings).map(([name, value]) => `${name}=${plain(value)}`);
  return pairs.length ? pairs.join(", ") : "–";
}

function list(title, rows) {
  const items = rows.map(([name, value]) => [el("dt", {}, t(name)), el("dd", {}, value)]);
  return el("div", { class: "fact" }, el("h2", {}, title), el("dl", {}, items));
}

export function showFacts({ version, model, index }) {
  const shortNumber = (value) => number(value, { notation: "compact", maximumSignificantDigits: 3 });
  const print = plain(model.fingerprint);
  $("facts").replaceChildren(
    list(t("fact.model"), [
      ["name", plain(model.name)],
      ["parameters", shortNumber(model.parameters)],
      ["dimension", number(model.dimension)],
      ["max_tokens", model.max_tokens ? t("max_tokens.value", { n: number(model.max_tokens) }) : "–"],
      ["preset", plain(model.preset)],
      ["fingerprint", el("code", { title: print }, print.slice(0, 12))],
    ]),
    list(t("fact.index"), [
      ["documents", number(index?.documents)],
      ["kind", plain(index?.kind)],
      ["backend", plain(index?.backend)],
      ["bytes", bytes(index?.bytes)],
      ["settings", settingsText(index?.settings)],
      ["version", `llara ${plain(version)}`],
      ["api", el("a", { href: "docs" }, "/docs")],
    ]),
  );
  const values = { model: plain(model.name), documents: number(index?.documents) };
  $("served").textContent = index ? t("served", values) : values.model;
}

/** On the empty page: each way of searching, and for those that the index lacks how to get them. */
export function showWays(available) {
  const usual = available.length ? MODES : []; // a server without an index says so once, above
  const shown = usual.filter((mode) => mode !== "lexical" || available.includes("lexical"));
  const ways = shown.map((mode) => {
    const here = available.includes(mode);
    return el(
      "div",
      { class: "way", "data-mode": mode, "data-here": here ? "yes" : "no" },
      el("h2", {}, t(mode)),
      el("p", {}, t(`${mode}.is`)),
      here ? null : el("p", { class: "how" }, prose(t(`${mode}.how`))),
    );
  });
  $("ways").replaceChildren(...ways);
}

/** Above the results: one line on how to get what the index lacks. */
export function showOthers(available) {
  if (!available.length) {
    $("others").replaceChildren(...prose(t("noIndex")));
    return;
  }
  const lacks = !available.includes("bm25") && !available.includes("hybrid");
  $("others").replaceChildren(...(lacks ? prose(t("others")) : []));
}
