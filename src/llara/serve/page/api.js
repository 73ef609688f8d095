/** The server's answers, and its refusals in a few kinds that the page can speak of. */

export const BASE = new URL(".", document.baseURI); // also below a proxy's prefix
const KEY = "llara-key";
const PATIENCE_MS = 30_000;

/** kind: gone (no answer), slow (none within our patience), key (401), busy (429), unable (501), unavailable (503), broken (other 5xx), refused (other 4xx). */
export class Failure extends Error {
  constructor(kind, message = "", { status = 0, retryAfter = null } = {}) {
    super(message);
    this.kind = kind;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** The key in sessionStorage; where the browser refuses that, in this page alone. */
let held = null;
export const key = {
  get() {
    try {
      return sessionStorage.getItem(KEY);
    } catch {
      return held;
    }
  },
  set(value) {
    held = value;
    try {
      sessionStorage.setItem(KEY, value);
    } catch {
      // it holds until the page is left
    }
  },
  forget() {
    held = null;
    try {
      sessionStorage.removeItem(KEY);
    } catch {
      // it was not there
    }
  },
};

/** Whether a header can carry it. */
export const isKey = (text) => /^[!-~]+$/.test(text);

const KINDS = { 401: "key", 429: "busy", 501: "unable", 503: "unavailable" };

async function ask(path, { body, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  const limit = AbortSignal.timeout(PATIENCE_MS);
  let response;
  let answer;
  try {
    response = await fetch(new URL(path, BASE), {
      method: body ? "POST" : "GET",
      headers,
      body: body && JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      credentials: "same-origin",
    });
    answer = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure(error.name === "TimeoutError" ? "slow" : "gone");
  }
  let parsed = null;
  try {
    parsed = JSON.parse(answer);
  } catch {
    if (response.ok) throw new Failure("broken", "", { status: response.status });
  }
  if (response.ok) return parsed;
  const { status } = response;
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  throw new Failure(KINDS[status] ?? (status >= 500 ? "broken" : "refused"), parsed?.error?.message ?? "", {
    status,
    retryAfter: Number.isFinite(seconds) ? seconds : null,
  });
}

const KEPT = 200;
const answers = new Map(); // the newest last

/** Ask once, so that the back button needs no server; what changes in the index is seen by a page loaded anew. */
async function once(name, request) {
  const known = answers.get(name);
  if (known) {
    answers.delete(name);
    answers.set(name, known);
    return known;
  }
  const answer = await request();
  answers.set(name, answer);
  if (answers.size > KEPT) answers.delete(answers.keys().next().value);
  return answer;
}

function post(path, body, signal) {
  return once(JSON.stringify([path, body]), () => ask(path, { body, signal }));
}

const UNABLE = 501;
let highlight = true; // until the server says that it cannot

async function search({ query, k, mode }, signal) {
  if (highlight) {
    try {
      return await post("search", { query, k, mode, highlight }, signal);
    } catch (error) {
      if (error.status !== UNABLE) throw error;
      highlight = false;
    }
  }
  return post("search", { query, k, mode, highlight }, signal);
}

export const api = {
  health: () => ask("health"),
  info: () => ask("info"),
  description: () => ask("openapi.json"),
  search,
  document: (id, signal) => once(`documents/${id}`, () => ask(`documents?id=${encodeURIComponent(id)}`, { signal })),
  inspect: (text, signal) => post("inspect", { text, top: 30 }, signal),
  pair: (query, id, signal) => post("inspect/pair", { query, document_id: id, top: 20 }, signal),
};
