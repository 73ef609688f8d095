/** What the address holds: the query, the modes side by side, and what is open beside the hits. */

export const TABS = ["read", "match", "memory", "prompt"];
export const FIRST_K = 10;
const MOST_K = 100;
const MOST_CHARACTERS = 4000; // of an address; servers and proxies take twice as much at most

/** The modes of a page without any in its address: dense, a word count, and the two together. */
export function usualModes(available) {
  const words = available.includes("bm25") ? "bm25" : "lexical";
  return ["dense", words, "hybrid"].filter((mode) => available.includes(mode));
}

/** Everything in the address is somebody's input: unknown modes and tabs fall back to the usual ones. */
export function readAddress(available, search = location.search) {
  const given = new URLSearchParams(search);
  const asked = (given.get("modes") ?? "").split(",");
  const modes = available.filter((mode) => asked.includes(mode));
  const k = Number.parseInt(given.get("k") ?? "", 10);
  return {
    q: given.get("q") ?? "",
    modes: modes.length ? modes : usualModes(available),
    k: k >= 1 && k <= MOST_K ? k : FIRST_K,
    doc: given.get("doc"),
    inspect: given.get("inspect") === "query" && !given.has("doc"),
    tab: TABS.includes(given.get("tab")) ? given.get("tab") : "read",
  };
}

export function addressOf(state, available) {
  const given = new URLSearchParams();
  if (state.q) given.set("q", state.q);
  const usual = usualModes(available).join();
  if (state.modes.join() !== usual) given.set("modes", state.modes.join());
  if (state.k !== FIRST_K) given.set("k", state.k);
  if (state.doc !== null) given.set("doc", state.doc);
  if (state.inspect) given.set("inspect", "query");
  if ((state.doc !== null || state.inspect) && state.tab !== "read") given.set("tab", state.tab);
  const text = given.toString().replaceAll("%2C", ",");
  if (text.length > MOST_CHARACTERS && state.q) return addressOf({ ...state, q: "" }, available);
  return text ? `?${text}` : location.pathname;
}
