// Dead letters: listed by filter, shown from near, replayed after a look at what would be sent, or discarded with a reason.

import { showChanges } from "./audit.js";
import { asking, byId, el, fill, say, tell } from "./dom.js";
import { lookUp, timeline } from "./lookup.js";
import { fate, planned, requestOf } from "./plan.js";
import { get, path, post } from "./relay.js";
import { count, number, time } from "./words.js";

const PAGE = 10;
const LIST_EVERY_MS = 3_000;

const shown = { letters: [], next: null, total: 0, state: "", listed: "", listedAt: 0, isListed: false, timer: null, filter: {} };
const chosen = new Map();
/** When the last of each destination was given up, as far as that was told. */
const deaths = new Map();
let fresh = 0;

export function prepareDead() {
  const form = byId("dead-form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    list();
  });
  form.addEventListener("change", () => list());
  byId("dead-more").addEventListener("click", () => more());
  byId("dead-newer").addEventListener("click", () => {
    byId("dead-title").focus();
    list();
  });
  byId("dead-replay").addEventListener("click", asking(() => replay(meant())));
  byId("dead-discard").addEventListener("click", asking(() => discard(meant())));
}

/** Destinations that can be chosen. */
export function showNames(names) {
  const select = byId("dead-destination");
  const kept = select.value;
  fill(select, el("option", { value: "" }, "all"), names.map((name) => el("option", {}, name)));
  select.value = names.includes(kept) ? kept : "";
  if (select.value !== kept) list();
}

/** Some have come or gone: the list is another one, but it does not move under somebody's hands. */
export function showCounts(destinations) {
  const state = stateOf(destinations);
  if (state === shown.state && shown.listedAt) return;
  Object.assign(shown, { state, total: destinations.reduce((sum, { dead }) => sum + dead, 0) });
  if (isInUse()) drawActs();
  else shown.timer ??= setTimeout(refresh, Math.max(0, LIST_EVERY_MS - (Date.now() - shown.listedAt)));
}

/** Moves with each that comes or goes, also where as many come as go. */
function stateOf(destinations) {
  for (const { name, beats = [] } of destinations) {
    const last = beats.findLast(({ dead }) => dead > 0);
    if (last) deaths.set(name, `${last.at} ${last.dead}`);
  }
  return destinations.map(({ name, dead }) => `${name} ${dead} ${deaths.get(name)}`).join();
}

function isInUse() {
  return chosen.size > 0 || shown.letters.length > PAGE || byId("dialog").open || byId("dead-list").contains(document.activeElement);
}

function refresh() {
  shown.timer = null;
  if (isInUse()) drawActs();
  else list();
}

/** What the form says, as the relay takes it. */
function filter() {
  const values = [...new FormData(byId("dead-form"))].filter(([, value]) => value.trim() !== "");
  const instant = (name, value) => (name === "since" || name === "until" ? new Date(value).toISOString() : value.trim());
  // A field's name is also a property of its form: without its prefix, one of them would hide a method.
  const named = values.map(([name, value]) => [name.slice("dead-".length), value]);
  return Object.fromEntries(named.map(([name, value]) => [name, instant(name, value)]));
}

async function list() {
  const asked = ++fresh;
  clearTimeout(shown.timer);
  // Until it is there nothing can be done to all of a filter: it would be another than stands on the screen.
  Object.assign(shown, { timer: null, listedAt: Date.now(), isListed: false });
  drawActs();
  const [wanted, listed] = [filter(), shown.state];
  try {
    const page = await fetchPage(wanted, null, asked);
    if (asked !== fresh) return; // a later one is on its way
    Object.assign(shown, { letters: page.dead, next: page.next, filter: wanted, listed, isListed: true });
    for (const key of chosen.keys()) if (!page.dead.some((letter) => keyOf(letter) === key)) chosen.delete(key);
    draw();
  } catch (error) {
    if (asked === fresh) say(byId("dead-count"), error.message);
  }
}

async function more() {
  const [asked, button] = [fresh, byId("dead-more")];
  button.disabled = true;
  try {
    const page = await fetchPage(shown.filter, shown.next, asked);
    if (asked !== fresh) return; // the list is another one by now
    const first = shown.letters.length;
    shown.letters.push(...page.dead);
    shown.next = page.next;
    draw();
    byId("dead-list").children[first]?.querySelector("input")?.focus();
  } catch (error) {
    drawActs();
    tell(error.message);
  } finally {
    button.disabled = false;
  }
}

/** The next that the filter means: the relay looks at so many at a time, and there may be none among them. */
async function fetchPage(wanted, after, asked) {
  const query = new URLSearchParams({ ...wanted, limit: PAGE, ...(after ? { after } : {}) });
  const page = await get(`/admin/dead?${query}`);
  if (page.dead.length > 0 || !page.next || asked !== fresh) return page;
  say(byId("dead-count"), "Looking further …");
  return fetchPage(wanted, page.next, asked);
}

const keyOf = ({ destination, id }) => `${destination}/${id}`;

function draw() {
  const { letters, next, total } = shown;
  const none = total === 0 ? "There are none." : "None that this filter means.";
  fill(byId("dead-list"), letters.length ? letters.map(letterRow) : el("li", { class: "empty" }, none));
  byId("dead-more").hidden = !next;
  drawActs();
}

function drawActs() {
  const { letters, next, filter: wanted, total } = shown;
  byId("dead-newer").hidden = shown.listed === shown.state;
  const isNarrow = Object.keys(wanted).length > 0;
  const listed = `${number(letters.length)}${next ? " and more" : ""} shown of ${number(total)}`;
  const meaning = chosen.size ? `, ${number(chosen.size)} chosen` : isNarrow ? "" : ". Choose some, or narrow them down, to deal with them";
  say(byId("dead-count"), total ? listed + meaning : "");
  const what = chosen.size ? `${number(chosen.size)} chosen` : "all of this filter";
  for (const [id, verb] of [["dead-replay", "Replay"], ["dead-discard", "Discard"]]) {
    const button = byId(id);
    const can = shown.isListed && letters.length > 0 && (chosen.size > 0 || isNarrow);
    button.hidden = letters.length === 0;
    button.disabled = !can;
    say(button, can ? `${verb} ${what} …` : `${verb} …`);
  }
}

function letterRow(letter) {
  const { id, destination, kind, at, attempts, order_id: order, reason, last } = letter;
  const key = keyOf(letter);
  const box = el("input", { type: "checkbox", checked: chosen.has(key) });
  box.addEventListener("change", () => {
    if (box.checked) chosen.set(key, letter);
    else chosen.delete(key);
    drawActs();
  });
  const name = order ? `order ${order}` : `conversion ${id}`;
  const one = { title: `${name} at ${destination}`, calls: [{ destination, ids: [id] }] };
  const act = (verb, does) => el("button", { type: "button", "aria-label": `${verb} ${name} at ${destination}`, onclick: does }, verb);
  return el(
    "li",
    { class: "letter" },
    el(
      "div",
      { class: "letter-head" },
      el("label", {}, box, el("span", {}, el("strong", {}, destination), ` ${name}`)),
      el("span", { class: "kind" }, kind),
      el("span", { class: "when" }, time(at, true), ` · ${count(attempts, "attempt")}`),
    ),
    el("div", { class: "letter-why" }, el("p", {}, reason), last?.excerpt ? el("q", { class: "excerpt", tabindex: 0 }, last.excerpt) : null),
    el("div", { class: "letter-acts" }, act("Show", asking(() => near(letter))), act("Look up", () => lookUp(id)), act("Replay …", asking(() => replay(one))), act("Discard …", asking(() => discard(one)))),
  );
}

/** One of them from near. */
async function near({ destination, id }) {
  const { kind, at, reason, request, replay: planOfIt, history } = await get(path`/admin/dead/${destination}/${id}`, true);
  const body = [
    el("p", {}, `${kind}, given up `, time(at, true), `: ${reason}`),
    el("h3", {}, "The request, secrets masked"),
    fate(planOfIt),
    requestOf(request),
    el("h3", {}, "Attempts"),
    timeline(history) ?? el("p", { class: "empty" }, "None was made."),
  ];
  return { title: `Dead letter at ${destination}`, body };
}

/** Those that are chosen, by destination; else all that the filter means. */
function meant() {
  if (chosen.size === 0) return { title: "all dead letters of this filter", calls: [shown.filter] };
  const by = Map.groupBy(chosen.values(), ({ destination }) => destination);
  const calls = [...by].map(([destination, letters]) => ({ destination, ids: letters.map(({ id }) => id) }));
  return { title: count(chosen.size, "dead letter"), calls };
}

/** What would become of them; and the same calls without what is given up from now on, which nobody has seen. */
async function plan(verb, calls) {
  const plans = [];
  for (const call of calls) plans.push(await post(`/admin/dead/${verb}`, { ...call, plan: true }, true));
  return { plans, same: calls.map((call, place) => ({ ...call, until: plans[place].until })) };
}

/** Does it to each, and tells of how many it was done. The letters that had the focus are gone then. */
async function each(calls, call, told) {
  let done = 0;
  for (const one of calls) done += await call(one);
  chosen.clear();
  list();
  showChanges();
  tell(`${count(done, "dead letter")} ${told}`);
  return byId("dead-title");
}

async function replay({ title, calls }) {
  const { plans, same } = await plan("replay", calls);
  const act = () => each(same, async (call) => (await post("/admin/dead/replay", call)).replayed, "will be sent again.");
  return { title: `Replay ${title}?`, body: planned(plans), verb: "Replay", act };
}

async function discard({ title, calls }) {
  const { plans, same } = await plan("discard", calls);
  const matched = plans.reduce((sum, { totals }) => sum + Number(totals?.matched ?? 0), 0);
  const isWhole = plans.every(({ totals }) => totals?.whole !== false);
  const reason = el("input", { id: "discard-reason", required: true, maxlength: 500, autofocus: true });
  const body = [
    el("p", {}, `${isWhole ? "" : "At least "}${count(matched, "dead letter")}. Nothing more is sent for ${matched === 1 ? "it" : "them"}, and that is for good. The status says so, with the reason.`),
    el("div", { class: "field" }, el("label", { for: "discard-reason" }, "Why, for whoever asks later"), reason),
  ];
  const act = () => each(same, async (call) => (await post("/admin/dead/discard", { ...call, reason: reason.value })).discarded, "discarded.");
  return { title: `Discard ${title}?`, body, verb: "Discard", act, isDangerous: true };
}
