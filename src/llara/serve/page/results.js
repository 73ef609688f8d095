/** The hits, a column for each way of searching: side by side where there is room, behind tabs where not. */

import { $, el, marked } from "./dom.js";
import { number, score, t } from "./language.js";
import { excerpt, pieces, toUnits } from "./text.js";

const SKELETON_MS = 250; // an answer faster than this comes without a flicker
const ROOM_PX = 300; // a column narrower than this reads badly

export class Board {
  /**
   * `open(hit, mode)` opens a hit, `linkTo(id)` gives its address, `pick(mode)` says that a tab was chosen,
   * perhaps one without a column yet; `more()` asks for more hits.
   */
  constructor({ open, linkTo, pick, more }) {
    Object.assign(this, { open, linkTo, pick, more });
    this.root = $("results");
    this.columns = new Map(); // mode -> {section, list, foot, note, answer}
    this.front = null;
    this.opened = null;
    this.skeleton = null;
    this.grown = null; // {mode, at}: whose "more" was pressed, and how many hits it had
    this.k = 0;
    new ResizeObserver(() => this.arrange()).observe(this.root);
    for (const kind of ["pointerover", "focusin"]) {
      this.root.addEventListener(kind, (event) => this.link(event.target.closest(".hit")));
    }
    this.root.addEventListener("pointerleave", () => this.link(null));
  }

  /** Forget all answers: there is no query. */
  clear() {
    clearTimeout(this.skeleton);
    this.columns.clear();
    this.root.replaceChildren();
    this.root.removeAttribute("aria-busy");
    this.root.hidden = true;
  }

  /** New answers are on their way: the old ones fade at once and go soon, none is taken for an answer to the new. */
  begin(modes, available, k) {
    this.k = k;
    this.root.hidden = false;
    this.root.dataset.answered = 0;
    this.fade();
    if ([...this.columns.keys()].join() !== modes.join()) this.build(modes, available);
    for (const column of this.columns.values()) column.answer = null;
    clearTimeout(this.skeleton);
    this.skeleton = setTimeout(() => this.wait(), SKELETON_MS);
  }

  /** What is shown answers an older query. */
  fade() {
    this.root.setAttribute("aria-busy", "true");
  }

  /** A column for each of `modes`, a tab for each that is `available`. */
  build(modes, available) {
    this.columns.clear();
    if (!modes.includes(this.front)) this.front = modes[0];
    this.tabs = el("div", { class: "tabs", role: "tablist", "aria-label": t("modes") });
    for (const mode of modes) {
      const list = el("ol", { class: "hits" });
      const note = el("span", { class: "took" });
      const foot = el("div", { class: "foot" });
      const section = el(
        "section",
        { class: "column", id: `column-${mode}`, "data-mode": mode, "aria-label": t(mode) },
        el("h2", {}, el("span", {}, t(mode)), note),
        list,
        foot,
      );
      this.columns.set(mode, { section, list, foot, note, answer: null });
    }
    for (const mode of available) {
      const names = { type: "button", role: "tab", id: `tab-${mode}`, "data-mode": mode };
      const controls = this.columns.has(mode) ? `column-${mode}` : null;
      this.tabs.append(
        el("button", { ...names, "aria-controls": controls, onclick: () => this.bring(mode) }, t(mode)),
      );
    }
    this.root.replaceChildren(this.tabs, ...[...this.columns.values()].map(({ section }) => section));
    this.arrange();
  }

  /** Columns or tabs, as there is room. */
  arrange() {
    if (!this.columns.size) return;
    const tabbed = this.tabs.children.length > 1 && this.root.clientWidth < ROOM_PX * Math.max(2, this.columns.size);
    document.body.dataset.layout = tabbed ? "tabs" : "columns";
    this.root.style.setProperty("--columns", tabbed ? 1 : this.columns.size);
    this.tabs.hidden = !tabbed;
    for (const [mode, { section }] of this.columns) {
      section.hidden = tabbed && mode !== this.front;
      if (tabbed) section.setAttribute("role", "tabpanel");
      else section.removeAttribute("role");
    }
    for (const tab of this.tabs.children) {
      const chosen = tab.dataset.mode === this.front;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
    }
  }

  bring(mode) {
    this.front = mode;
    if (this.columns.has(mode)) this.arrange();
    this.pick(mode);
  }

  /** Nothing came for a while: take the old hits away. */
  wait() {
    for (const column of this.columns.values()) {
      if (column.answer) continue;
      const bones = Array.from({ length: 4 }, () => el("li", { class: "bone", "aria-hidden": "true" }));
      this.fill(column, bones, [], "");
    }
  }

  fill(column, items, foot, note) {
    column.list.replaceChildren(...items);
    column.foot.replaceChildren(...foot);
    column.note.textContent = note;
  }

  show(mode, answer) {
    const column = this.columns.get(mode);
    if (!column) return;
    column.answer = answer;
    const items = answer.hits.map((hit) => this.hit(hit, mode));
    const nothing = mode === "bm25" ? "nothing.bm25" : "nothing";
    const foot = items.length
      ? items.length >= this.k && this.k < 100 && this.moreButton(mode, items.length)
      : el("p", { class: "nothing" }, t(nothing));
    const took = t("took", { ms: number(answer.took_ms, { maximumFractionDigits: 1 }) });
    this.fill(column, items, foot ? [foot] : [], took);
    if (this.grown?.mode === mode && items.length > this.grown.at) {
      items[this.grown.at].querySelector("a").focus({ preventScroll: true }); // the button had it, and is gone
      this.grown = null;
    }
    this.root.dataset.answered = [...this.columns].filter(([, c]) => c.answer).length;
  }

  moreButton(mode, at) {
    const press = () => {
      this.grown = { mode, at };
      this.more();
    };
    return el("button", { type: "button", onclick: press }, t("more"));
  }

  fail(mode) {
    const column = this.columns.get(mode);
    if (column) this.fill(column, [], [el("p", { class: "nothing" }, t("failed"))], "");
  }

  /** All have answered or failed. */
  finish() {
    clearTimeout(this.skeleton);
    this.root.removeAttribute("aria-busy");
    this.showElsewhere();
    this.markOpened(this.opened);
  }

  hit(hit, mode) {
    const titleMarks = toUnits(hit.title ?? "", hit.highlights?.title ?? []);
    const textMarks = toUnits(hit.text, hit.highlights?.text ?? []);
    const { start, end } = excerpt(hit.text, textMarks);
    const title = hit.title ? marked(pieces(hit.title, titleMarks)) : el("span", { class: "id" }, hit.id);
    const link = el(
      "a",
      {
        dir: "auto",
        href: this.linkTo(hit.id),
        onclick: (event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
          event.preventDefault();
          this.open(hit, mode);
        },
      },
      title,
    );
    return el(
      "li",
      { class: "hit", "data-id": hit.id, "data-mode": mode },
      el("span", { class: "rank", "aria-hidden": "true" }, number(hit.rank)),
      el("h3", {}, link),
      el(
        "p",
        { class: "snippet", dir: "auto" },
        start > 0 ? "…\u00a0" : "",
        marked(pieces(hit.text, textMarks, start, end)),
        end < hit.text.length ? "\u00a0…" : "",
      ),
      el("p", { class: "meta" }, el("span", { class: "score" }, score(hit.score)), el("span", { class: "elsewhere" })),
    );
  }

  /** On each hit, its ranks in the other columns. */
  showElsewhere() {
    if (this.columns.size < 2) return;
    for (const item of this.root.querySelectorAll(".hit")) {
      const others = this.ranks(item.dataset.id).filter(({ mode }) => mode !== item.dataset.mode);
      item.querySelector(".elsewhere").replaceChildren(...others.map((other) => this.badge(other)));
    }
  }

  /** The same document in the other columns, while one is pointed at. */
  link(item) {
    for (const other of this.root.querySelectorAll(".hit")) {
      const same = item && other !== item && other.dataset.id === item.dataset.id;
      other.classList.toggle("same", Boolean(same));
    }
  }

  /** [{mode, rank}] of a document, rank null where it is not among the hits; modes without an answer left out. */
  ranks(id) {
    return [...this.columns]
      .filter(([, { answer }]) => answer)
      .map(([mode, { answer }]) => ({ mode, rank: answer.hits.find((hit) => hit.id === id)?.rank ?? null }));
  }

  badge({ mode, rank }) {
    const values = { mode: t(mode), rank: rank ?? "–", k: this.k };
    const says = t(rank ? "elsewhere.label" : "nowhere.label", values);
    return el(
      "span",
      { class: "badge", "data-mode": mode, "data-found": rank ? "yes" : "no", title: says },
      el("span", { "aria-hidden": "true" }, t("elsewhere", values)),
      el("span", { class: "sr" }, says),
    );
  }

  /** Which hit is open beside the list. */
  markOpened(id) {
    this.opened = id;
    for (const item of this.root.querySelectorAll(".hit")) {
      const link = item.querySelector("a");
      if (item.dataset.id === id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  /** A hit with its mode as last shown, or null. */
  find(id, mode = this.front) {
    const columns = [this.columns.get(mode), ...this.columns.values()];
    for (const column of columns) {
      const hit = column?.answer?.hits.find((one) => one.id === id);
      if (hit) return hit;
    }
    return null;
  }

  /** The links of the hits in the visible column of `mode` (the first visible one by default). */
  links(mode) {
    const section = [...this.columns.values()].map((c) => c.section).filter((s) => !s.hidden);
    const chosen = section.find((s) => s.dataset.mode === mode) ?? section[0];
    return chosen ? [...chosen.querySelectorAll(".hit a")] : [];
  }

  /** The visible modes, in order. */
  visible() {
    return [...this.columns].filter(([, { section }]) => !section.hidden).map(([mode]) => mode);
  }

  /** A sentence for screen readers: how many hits each way found. */
  summary() {
    const answered = [...this.columns].filter(([, { answer }]) => answer);
    const most = Math.max(0, ...answered.map(([, { answer }]) => answer.hits.length));
    const modes = answered.map(([mode, { answer }]) => `${t(mode)} ${answer.hits.length}`).join(", ");
    return most ? t("found", { n: most, modes }) : t("nothing");
  }
}
