/** The page: what is asked, where it is kept (the address), and who shows it. */

import { addressOf, readAddress } from "./address.js";
import { api, Failure, key } from "./api.js";
import { askKey, openHelp } from "./dialogs.js";
import { $, el } from "./dom.js";
import { awaitExpects, expectsAre, fadeExpects, hideExpects, showExpects } from "./expects.js";
import { MODES, showFacts, showOthers, showWays } from "./facts.js";
import { listen } from "./keyboard.js";
import { kept, language, switchLanguage, t, translate } from "./language.js";
import { clearNotice, repeatNotice, showNotice } from "./notice.js";
import { Panel } from "./panel.js";
import { Board } from "./results.js";

const PAUSE_MS = 140; // typing pauses longer than this are questions
const SESSION_MS = 3000; // typing on within this time is the same question: one step of the back button

let info = null;
let available = MODES; // until /info says what there is
let state = current();
let round = 0; // of questions; an answer to an earlier one is not shown
let running = new AbortController();
let pause = null;
let session = 0; // when the last question was asked by typing
let from = null; // the mode whose hit is open
let before = null; // what had the focus when the panel opened
const drawn = { search: null, panel: null };

const board = new Board({
  open: (hit, mode) => openDocument(hit.id, mode),
  linkTo: (id) => addressOf({ ...state, doc: id, inspect: false, tab: "read" }, available),
  pick: (mode) => (state.modes.includes(mode) ? null : toggleMode(mode)),
  more: () => go({ k: Math.min(100, state.k + 10) }),
});

const panel = new Panel({
  close: closePanel,
  step,
  pick: (tab) => go({ tab }),
  most: () => info?.limits.text_characters ?? Infinity,
  failed: (error) => (["refused", "broken", "unable"].includes(error.kind) ? null : fail(error)), // the panel says these
});

/** What the address says, and of a query too long for it the history. */
function current() {
  const said = readAddress(available);
  return { ...said, q: history.state?.q ?? said.q };
}

/** To another state of the page; `push` makes it a step of the back button. */
function go(change, { push = false, opened = history.state?.opened ?? false } = {}) {
  state = { ...state, ...change };
  const address = addressOf(state, available);
  const { q } = state;
  if (push) history.pushState({ opened, q }, "", address);
  else history.replaceState({ opened, q }, "", address);
  draw();
}

function draw() {
  if ($("query").value !== state.q && document.activeElement !== $("query")) $("query").value = state.q;
  document.title = state.q ? `${state.q} · llara` : "llara";
  document.body.dataset.view = state.q.trim() ? "results" : "home";
  $("home").hidden = Boolean(state.q.trim());
  drawModes();
  drawSearch();
  drawPanel();
}

function drawModes() {
  const buttons = available.map((mode) =>
    el(
      "button",
      {
        type: "button",
        class: "mode",
        "data-mode": mode,
        "aria-pressed": state.modes.includes(mode) ? "true" : "false",
        onclick: () => toggleMode(mode),
      },
      t(mode),
    ),
  );
  const held = document.activeElement?.closest?.("#modes button")?.dataset.mode;
  $("modes").replaceChildren(...(available.length > 1 ? buttons : []));
  if (held) $("modes").querySelector(`[data-mode="${held}"]`)?.focus();
  showOthers(info ? available : MODES);
}

function toggleMode(mode) {
  const modes = available.filter((one) => (one === mode) !== state.modes.includes(one));
  if (modes.length) go({ modes }, { push: true, opened: false });
}

async function drawSearch() {
  const { q, k, modes } = state;
  const wanted = JSON.stringify([q, k, modes]);
  if (drawn.search === wanted) return;
  drawn.search = wanted;
  const mine = ++round;
  running.abort();
  running = new AbortController();
  const { signal } = running;
  clearNotice();
  if (!q.trim()) {
    board.clear();
    hideExpects();
    $("spoken").textContent = "";
    return;
  }
  awaitExpects(inspectQuery);
  if (modes.length) board.begin(modes, available, k);
  let failure = null;
  const ask = async (mode) => {
    try {
      const answer = await api.search({ query: q, k, mode }, signal);
      if (mine === round) board.show(mode, answer);
    } catch (error) {
      if (mine !== round) return;
      board.fail(mode);
      failure ??= error;
    }
  };
  await Promise.all(modes.map(ask));
  if (mine !== round) return;
  if (modes.length) board.finish();
  if (failure) {
    hideExpects();
    fail(failure);
    return;
  }
  $("spoken").textContent = modes.length ? board.summary() : "";
  drawPanel();
  showExpects(q, { signal, stillMatters: () => mine === round, inspect: inspectQuery });
}

function drawPanel() {
  const { q, doc, inspect, tab } = state;
  const open = doc !== null || (inspect && q.trim() !== "");
  if (!open) {
    if (panel.shown) {
      const link = board.links(from).find((one) => one.closest(".hit").dataset.id === board.opened);
      panel.hide();
      board.markOpened(null);
      (link ?? (before?.isConnected ? before : $("results"))).focus();
    }
    drawn.panel = null;
    return;
  }
  const hit = doc === null ? null : board.find(doc, from ?? board.front);
  const answered = $("results").dataset.answered ?? 0;
  const wanted = JSON.stringify([doc, tab, tab === "match" || doc === null ? q : "", hit ? [q, from, answered] : 0]);
  if (drawn.panel === wanted) return;
  drawn.panel = wanted;
  const ranks = hit ? board.ranks(doc).map((rank) => board.badge(rank)) : [];
  if (doc !== null) board.markOpened(doc);
  panel.show({ query: q, doc, hit, mode: from, ranks, tab, steps: hit !== null });
}

function openDocument(id, mode) {
  session = 0;
  from = mode;
  open({ doc: id, inspect: false });
}

function inspectQuery() {
  if (!state.q.trim()) return;
  session = 0;
  open({ doc: null, inspect: true, tab: state.tab === "prompt" ? "prompt" : "memory" });
}

/** Into the panel; its opening, not each change of it, is a step of the back button. */
function open(change) {
  if (panel.shown) {
    go(change);
    return;
  }
  before = document.activeElement;
  go(change, { push: true, opened: true });
}

function closePanel() {
  if (!panel.shown) return;
  if (history.state?.opened) history.back();
  else go({ doc: null, inspect: false });
}

/** To the next or the previous hit while one is open. */
function step(by) {
  const links = board.links(from);
  const ids = links.map((link) => link.closest(".hit").dataset.id);
  const at = ids.indexOf(state.doc);
  const id = ids[at + by];
  if (state.doc === null || at < 0 || id === undefined) return;
  links[at + by].scrollIntoView({ block: "nearest" });
  go({ doc: id });
}

function fail(error) {
  const enterKey = () => askKey({ wrong: false, done: retry });
  if (error.kind === "key") {
    const wrong = key.get() !== null;
    key.forget();
    askKey({ wrong, done: retry });
  }
  if (error.kind) showNotice(error, { again: retry, enterKey, first: info === null });
  else throw error;
}

/** Ask everything once more. */
function retry() {
  drawn.search = null;
  drawn.panel = null;
  clearNotice();
  if (info === null) start();
  else draw();
}

function typed() {
  round += 1; // whatever is on its way answers an older question
  running.abort();
  drawn.search = null;
  board.fade();
  fadeExpects();
  clearTimeout(pause);
  pause = setTimeout(ask, PAUSE_MS);
}

function ask() {
  clearTimeout(pause);
  const q = $("query").value;
  const now = Date.now();
  const push = q !== state.q && now - session > SESSION_MS;
  session = now;
  go({ q, k: q === state.q ? state.k : 10 }, push ? { push, opened: false } : {});
}

function drawLanguage() {
  translate();
  const other = language() === "en" ? ["zh", "中文"] : ["en", "English"];
  $("language").lang = other[0];
  $("language").textContent = other[1];
  if (info) showFacts(info);
  showWays(available);
  repeatNotice();
}

function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = dark === "dark" ? "light" : "dark";
  kept.set("llara-theme", root.dataset.theme);
}

function connect() {
  const query = $("query");
  query.addEventListener("input", (event) => {
    if (!event.isComposing) typed();
  });
  query.addEventListener("compositionend", typed);
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
    session = 0;
  });
  $("brand").addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    query.value = "";
    go({ q: "", doc: null, inspect: false, k: 10 }, { push: true, opened: false });
    query.focus();
  });
  addEventListener("popstate", () => {
    clearTimeout(pause);
    session = 0;
    state = current();
    query.value = state.q;
    draw();
  });
  $("theme").addEventListener("click", toggleTheme);
  $("helper").addEventListener("click", openHelp);
  $("language").addEventListener("click", () => {
    switchLanguage();
    drawLanguage();
    board.columns.clear();
    retry();
  });
  addEventListener("online", retry);
  listen(board, {
    search: () => {
      query.focus();
      query.select();
    },
    help: openHelp,
    inspect: inspectQuery,
    step,
    close: () => {
      if (panel.shown) closePanel();
      else if (document.activeElement?.closest(".hit")) query.focus();
      else return false;
      return true;
    },
  });
}

async function start() {
  try {
    info = await api.info();
  } catch (error) {
    fail(error);
    return;
  }
  clearNotice();
  available = MODES.filter((mode) => info.modes.includes(mode));
  state = { ...current(), q: $("query").value }; // what was typed while this was awaited counts
  expectsAre(info.model.preset !== null);
  drawLanguage();
  if (info.needs_key && key.get() === null) {
    // not asked and refused: that would open the dialog again after it was closed
    if (state.q) fail(new Failure("key"));
    else askKey({ wrong: false, done: retry });
    return;
  }
  draw();
}

connect();
drawLanguage();
$("query").value = state.q;
document.body.dataset.view = state.q ? "results" : "home";
if (matchMedia("(hover: hover)").matches && state.doc === null) $("query").focus();
start();
