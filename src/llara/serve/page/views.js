/** What the panel shows of one text: itself, the words of its vectors, its prompts, what it shares with the query. */

import { el, marked } from "./dom.js";
import { number, score, t } from "./language.js";
import { maskFigure } from "./mask.js";
import { pieces, textOf, toUnits, wholeText } from "./text.js";

/** Words with weights as bars; the heaviest fills the row. */
function bars(words, { known = () => true } = {}) {
  const most = Math.max(...words.map(({ weight }) => Math.abs(weight)), Number.MIN_VALUE);
  const items = words.map((one) =>
    el(
      "li",
      { "data-known": known(one) ? "yes" : "no", vars: { w: (Math.abs(one.weight) / most).toFixed(3) } },
      el("span", { class: "word", dir: "auto" }, one.word),
      el("span", { class: "bar", "aria-hidden": "true" }),
      el("span", { class: "value" }, score(one.weight)),
    ),
  );
  return el("ol", { class: "bars" }, items);
}

export function metadataList(metadata) {
  const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  const rows = Object.entries(metadata ?? {}).map(([name, value]) => [
    el("dt", {}, name),
    el("dd", { dir: "auto" }, shown(value)),
  ]);
  return rows.length ? el("section", { class: "metadata" }, el("h3", {}, t("metadata")), el("dl", {}, rows)) : null;
}

/** The whole document, its words marked as in the hit it was opened from (null without one). */
export function readView(doc, hit) {
  const same = hit && doc.text.startsWith(hit.text);
  const marks = toUnits(doc.text, (same && hit.highlights?.text) || []);
  return [
    el("div", { class: "prose", dir: "auto" }, marked(pieces(doc.text, marks))),
    metadataList(doc.metadata),
  ];
}

/** SELF and NEXT, the one that is used for this text (`first`) before the other. */
export function memoryView(inspection, first) {
  const order = first === "next" ? ["next", "self"] : ["self", "next"];
  const about = { self: t("self.about"), next: t(inspection.expects === false ? "next.untrained" : "next.about") };
  const columns = order.map((role) =>
    el(
      "section",
      { "data-role": role },
      el("h3", {}, el("b", {}, t(role === "self" ? "self" : "next.role")), el("small", {}, about[role])),
      bars(inspection.roles[role].words, { known: (word) => word.in_text }),
    ),
  );
  return [
    el("p", { class: "about" }, t("memory.about")),
    el("div", { class: "pair" }, columns),
    el(
      "p",
      { class: "legend" },
      el("span", { class: "key in" }, t("inText")),
      el("span", { class: "key out" }, t("notInText")),
    ),
  ];
}

function tokenList(tokens) {
  const chips = tokens.map(({ text, id, part }) =>
    el("span", { class: `token ${part}`, title: `${t("token", { id })} · ${t(`part.${part}`)}` }, text || "␣"),
  );
  return el("p", { class: "tokens" }, chips);
}

/** How many tokens stand before the prompt. */
const before = (tokens) => tokens.filter(({ part }) => part === "lead" || part === "text").length;

/** Both prompts as tokens, and the mask of the pass that makes both vectors. */
export function promptView(inspection) {
  const parts = ["lead", "text", "prompt", "slot"];
  const used = new Set(Object.values(inspection.roles).flatMap(({ tokens }) => tokens.map(({ part }) => part)));
  const { num_tokens: all, read } = inspection;
  const cut = all > read ? ` · ${t("cut", { read: number(read), all: number(all) })}` : "";
  const roles = ["self", "next"].map((role) => {
    const { tokens } = inspection.roles[role];
    return el(
      "section",
      { class: "role", "data-role": role },
      el(
        "h3",
        {},
        el("b", {}, t(role === "self" ? "self" : "next.role")),
        el("small", {}, t("tokens", { n: number(tokens.length) }), cut),
      ),
      tokenList(tokens),
    );
  });
  return [
    el("p", { class: "about" }, t("prompt.about")),
    roles,
    el(
      "p",
      { class: "legend" },
      parts.filter((part) => used.has(part)).map((part) => el("span", { class: `key ${part}` }, t(`part.${part}`))),
    ),
    inspection.mask ? maskFigure(inspection.mask, before(inspection.roles.self.tokens)) : null,
  ];
}

const NOTHING = 0.04; // of the most: a word that does less stays plain
const LITTLE = 0.002; // of a cosine: if even the most is less, it is rounding

/**
 * A text with the heat of its words: what each does for the similarity, as a part of the most that one does. A share
 * of null was not tried: of a long text only the strongest words are.
 */
function heat(text, all) {
  const words = all.filter(({ share }) => share !== null);
  const most = Math.max(...words.map(({ share }) => Math.abs(share)), LITTLE);
  const spans = toUnits(
    text,
    words.map(({ start, end, share }) => [start, end, share]),
  );
  return pieces(text, spans).map(({ text: piece, weight }) =>
    weight === undefined || Math.abs(weight) < NOTHING * most
      ? piece
      : el(
          "mark",
          {
            class: weight < 0 ? "against" : "for",
            title: number(weight, { signDisplay: "always", maximumSignificantDigits: 2 }),
            vars: { w: (Math.abs(weight) / most).toFixed(3) },
          },
          piece,
        ),
  );
}

const TITLE_ENDS = ["\n", "\n\n", ": ", ". ", ""]; // separators an index may have been made with, beside the space

export function matchView(pair, query, doc) {
  const titled = TITLE_ENDS.map((end) => `${doc.title}${end}${doc.text}`);
  const documentText = pair.document ?? textOf(pair.document_words, [wholeText(doc), doc.text, ...titled]);
  return [
    el(
      "p",
      { class: "similarity" },
      el("b", {}, number(pair.similarity, { minimumFractionDigits: 3, maximumFractionDigits: 3 })),
      el("span", {}, t("similarity")),
    ),
    el("p", { class: "about" }, t("match.about")),
    el("h3", {}, t("match.query")),
    el("p", { class: "prose heat", dir: "auto" }, heat(query, pair.query_words)),
    el("h3", {}, t("match.document")),
    el("p", { class: "prose heat", dir: "auto" }, heat(documentText, pair.document_words)),
    el("h3", {}, t("match.shared")),
    el("p", { class: "about" }, pair.shared.length ? t("match.shared.about") : t("match.none")),
    pair.shared.length ? bars(pair.shared) : null,
    pair.query_cut || pair.document_cut ? el("p", { class: "about" }, t("match.cut")) : null,
  ];
}
