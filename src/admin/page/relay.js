// Speaking with the relay: calls, and the stream of events.

const KEPT = "capi-relay admin token";

let token = null;

/** What the relay refused, in its own words. */
export class Refused extends Error {
  constructor(status, problem) {
    const faults = (problem?.errors ?? []).map((fault) => `${fault.pointer} ${fault.detail}`);
    super([problem?.detail ?? problem?.title ?? `The relay answered ${status}.`, ...faults].join("\n"));
    this.status = status;
  }
}

export function restoreToken() {
  try {
    token = sessionStorage.getItem(KEPT);
  } catch {
    token = null; // no storage here: it is asked for again
  }
}

/** Kept in this tab alone. `null` forgets it. */
export function keepToken(given) {
  token = given;
  try {
    if (given === null) sessionStorage.removeItem(KEPT);
    else sessionStorage.setItem(KEPT, given);
  } catch {
    // no storage here: it lasts as long as the page
  }
}

export const hasToken = () => token !== null;

function request(path, options = {}) {
  const headers = { ...options.headers };
  if (token !== null) headers.authorization = `Bearer ${token}`;
  return fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
}

async function answer(response, isExact = false) {
  const text = await response.text();
  let body = null;
  try {
    body = JSON.parse(text, isExact ? exact : undefined);
  } catch {
    body = null; // it is no JSON: the status says enough
  }
  if (!response.ok) throw new Refused(response.status, body);
  return body;
}

/** For who shows a request: an amount of `99.90` stays one, where the browser can. It is no number then. */
function exact(_name, value, context) {
  const isOther = typeof value === "number" && context?.source && String(value) !== context.source;
  return isOther && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
}

export const get = async (path, isExact) => answer(await request(path), isExact);

export async function post(path, body = {}, isExact = false) {
  const headers = { "content-type": "application/json" };
  return answer(await request(path, { method: "POST", headers, body: JSON.stringify(body) }), isExact);
}

/** A path with a name or an id in it. */
export const path = (parts, ...values) => String.raw({ raw: parts }, ...values.map(encodeURIComponent));

const SILENCE_MS = 40_000; // the relay says something every 15 s
const PAUSE_MS = 2_000;
const PAUSE_MAX_MS = 30_000;

/** When the relay last said something, a comment too; nothing before it first did. */
export let heardAt = null;

/** Ends what listens now, if anything does. */
let leave = () => {};

/**
 * Listens for ever, or until somebody else begins to: whoever listened before is told nothing more. `onEvent(type, data)`;
 * `onLink(state)` with `live`, `lost`, `away` or `refused`; a page that nobody looks at lets go, since a browser has few
 * connections for one relay.
 */
export async function listen(onEvent, onLink) {
  leave();
  let [pause, isOver, abort] = [PAUSE_MS, false, null];
  leave = () => {
    isOver = true;
    abort?.abort();
  };
  for (;;) {
    await shown();
    if (isOver) return;
    abort = new AbortController();
    const stop = () => document.hidden && abort.abort();
    const begin = setTimeout(() => abort.abort(), SILENCE_MS);
    document.addEventListener("visibilitychange", stop);
    try {
      const response = await request("/admin/events", { signal: abort.signal, headers: { accept: "text/event-stream" } });
      clearTimeout(begin);
      if (!response.ok) throw new Refused(response.status, await response.json().catch(() => null));
      await follow(response.body, abort, (type, data) => {
        if (isOver) return;
        pause = PAUSE_MS;
        onLink("live");
        onEvent(type, data);
      });
      if (!isOver) onLink("lost", pause);
    } catch (error) {
      if (isOver) return;
      if (error.status === 401 || error.status === 400) {
        onLink("refused", 0, error);
        return;
      }
      if (!document.hidden) onLink("lost", pause, error);
    } finally {
      clearTimeout(begin);
      document.removeEventListener("visibilitychange", stop);
      abort.abort();
    }
    if (isOver) return;
    if (document.hidden) {
      onLink("away");
      continue;
    }
    await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(pause * 2, PAUSE_MAX_MS);
  }
}

function shown() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
}

/** Reads events until the stream ends, or is silent for too long. */
async function follow(body, abort, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let [rest, type, data] = ["", "message", []];
  const line = (text) => {
    if (text === "") {
      if (data.length) onEvent(type, JSON.parse(data.join("\n")));
      [type, data] = ["message", []];
    } else if (text.startsWith("event: ")) type = text.slice(7);
    else if (text.startsWith("data: ")) data.push(text.slice(6));
  };
  for (;;) {
    const watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
    const { value, done } = await reader.read().finally(() => clearTimeout(watchdog));
    if (done) return;
    heardAt = new Date().toISOString();
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    lines.forEach(line);
  }
}
