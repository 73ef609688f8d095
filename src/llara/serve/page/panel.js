/** The panel beside the hits: a document, or the query, in tabs. */

import { api } from "./api.js";
import { $, el, prose } from "./dom.js";
import { number, t } from "./language.js";
import { sentence } from "./notice.js";
import { firstPoints, wholeText } from "./text.js";
import { matchView, memoryView, promptView, readView } from "./views.js";

const BESIDE = matchMedia("(min-width: 60rem)"); // narrower, the panel covers the page

export class Panel {
  /**
   * `close()`, `step(by)` and `pick(tab)` tell the page what its buttons want; `failed(error)` what went wrong.
   * `most()` is how many characters of a text the server takes.
   */
  constructor({ close, step, pick, most, failed }) {
    Object.assign(this, { close, step, pick, most, failed });
    this.root = $("panel");
    this.running = null;
    BESIDE.addEventListener("change", () => this.cover());
  }

  get shown() {
    return !this.root.hidden;
  }

  hide() {
    this.running?.abort();
    this.root.hidden = true;
    this.root.replaceChildren();
    delete document.body.dataset.panel;
    this.cover();
  }

  /** On a narrow screen the page beneath is out of reach. */
  cover() {
    $("page").inert = this.shown && !BESIDE.matches;
  }

  /**
   * Show `what`: {query, doc: id or null, hit, mode, ranks, tab}. Without a document it is the query itself.
   * Returns when it is filled, or another took its place.
   */
  async show(what) {
    this.running?.abort();
    const { signal } = (this.running = new AbortController());
    const appears = !this.shown;
    const before = this.root.querySelector(".body")?.scrollTop;
    const same = this.root.dataset.of === this.nameOf(what);
    const held = this.root.contains(document.activeElement) ? document.activeElement.id : null;
    this.root.dataset.of = this.nameOf(what);
    const body = el("div", { class: "body", id: "panel-body", role: "tabpanel", tabindex: "0" });
    body.setAttribute("aria-busy", "true");
    body.append(el("p", { class: "waiting" }, t("loading")));
    this.root.hidden = false;
    document.body.dataset.panel = what.doc === null ? "query" : "document";
    this.root.replaceChildren(this.head(what), this.tabs(what), body);
    body.setAttribute("aria-labelledby", `panel-tab-${this.tabOf(what)}`);
    this.cover();
    if (appears) $("panel-title").focus({ preventScroll: true });
    else if (held) ($(held) ?? $("panel-title")).focus({ preventScroll: true });
    try {
      const content = await this.content(what, signal);
      if (signal.aborted) return;
      body.replaceChildren(...content.flat(2).filter(Boolean));
      if (same && before) body.scrollTop = before;
    } catch (error) {
      if (signal.aborted) return;
      if (!error.kind) throw error;
      body.replaceChildren(el("p", { class: "nothing" }, prose(sentence(error))));
      this.failed(error);
    }
    body.removeAttribute("aria-busy");
  }

  nameOf({ doc, tab }) {
    return JSON.stringify([doc, tab]);
  }

  tabOf({ doc, tab }) {
    return doc === null && tab !== "prompt" ? "memory" : tab;
  }

  head({ query, doc, hit, mode, ranks, steps }) {
    const title = doc === null ? t("queryTitle") : hit?.title || t("untitled", { id: doc });
    const button = (name, sign, act) =>
      el("button", { type: "button", class: "tool icon", id: `panel-${name}`, "aria-label": t(name), title: t(name), onclick: act }, sign);
    return el(
      "header",
      {},
      el(
        "div",
        { class: "titles" },
        el("h2", { id: "panel-title", tabindex: "-1", dir: "auto" }, title),
        el(
          "p",
          { class: "meta" },
          doc === null ? el("q", { dir: "auto" }, query) : el("code", { class: "id" }, doc),
          ranks ?? [],
        ),
      ),
      el(
        "div",
        { class: "tools", "data-mode": mode },
        steps ? [button("previous", "‹", () => this.step(-1)), button("next", "›", () => this.step(1))] : null,
        button("close", "×", this.close),
      ),
    );
  }

  tabs(what) {
    const names = what.doc === null ? ["memory", "prompt"] : ["read", "match", "memory", "prompt"];
    const chosen = this.tabOf(what);
    const bar = el("div", { class: "tabs", role: "tablist", "aria-label": t("panel") });
    for (const name of names) {
      bar.append(
        el(
          "button",
          {
            type: "button",
            role: "tab",
            id: `panel-tab-${name}`,
            "aria-selected": name === chosen ? "true" : "false",
            "aria-controls": "panel-body",
            tabindex: name === chosen ? "0" : "-1",
            onclick: () => this.pick(name),
          },
          t(`tab.${name}`),
        ),
      );
    }
    return bar;
  }

  async content(what, signal) {
    const tab = this.tabOf(what);
    if (what.doc === null) {
      const inspection = await api.inspect(what.query, signal);
      return tab === "prompt" ? promptView(inspection) : memoryView(inspection, "next");
    }
    const doc = await api.document(what.doc, signal);
    if (signal.aborted) return [];
    if (doc.title) $("panel-title").textContent = doc.title;
    if (tab === "read") return readView(doc, what.hit);
    const whole = wholeText(doc);
    if (!whole.trim()) return [el("p", { class: "nothing" }, t("blank"))];
    if (tab === "match") {
      if (!what.query.trim()) return [el("p", { class: "nothing" }, t("noQuery"))];
      return matchView(await api.pair(what.query, what.doc, signal), what.query, doc);
    }
    const text = firstPoints(whole, this.most());
    const cut = text === whole ? [] : [el("p", { class: "about" }, t("sent.cut", { n: number(this.most()) }))];
    const inspection = await api.inspect(text, signal);
    return [...cut, ...(tab === "prompt" ? promptView(inspection) : memoryView(inspection, "self"))];
  }
}
