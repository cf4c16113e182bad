// The destinations: a tile each, changed in place, so that neither the focus nor a selection is lost.

import { showChanges } from "./audit.js";
import { ask, asking, byId, el, facts, fill, say, shape, tell } from "./dom.js";
import { Beats, sparklines } from "./sparkline.js";
import { get, path, post } from "./relay.js";
import { age, at, count, milliseconds, number, time } from "./words.js";

const WORDS = { active: "active", paused: "paused", suspended: "suspended", open: "failing", stopped: "stopped" };
const RESUME = "Resume";

const tiles = new Map();

/** All destinations, as in an overview. */
export function showAll(destinations) {
  const names = new Set(destinations.map((destination) => destination.name));
  for (const name of tiles.keys()) if (!names.has(name)) tiles.delete(name);
  for (const destination of destinations) show(destination);
  const elements = destinations.map(({ name }) => tiles.get(name).element);
  const list = byId("tiles");
  if (elements.length !== list.children.length || elements.some((element, place) => element !== list.children[place])) fill(list, elements);
}

/** One destination, as in an overview or an event. */
export function show(destination) {
  if (!tiles.has(destination.name)) tiles.set(destination.name, new Tile(destination.name));
  tiles.get(destination.name).show(destination);
}

/** Ages grow, and the beats wander to the left. */
export function refresh() {
  for (const tile of tiles.values()) tile.draw();
}

class Tile {
  constructor(name) {
    this.name = name;
    this.beats = new Beats();
    this.sparks = sparklines();
    const title = `destination-${name}`;
    this.state = el("span", { class: "state" });
    this.reason = el("p", { class: "reason" });
    this.numbers = el("dl", { class: "numbers" });
    this.limits = el("p", { class: "limits" });
    this.onHold = el("button", { type: "button", onclick: () => this.hold() });
    const probe = el("button", { type: "button", "aria-describedby": title, onclick: () => this.probe() }, "Probe now");
    const more = el("button", { type: "button", "aria-describedby": title, onclick: asking(() => this.near()) }, "Details");
    this.onHold.setAttribute("aria-describedby", title);
    this.element = el(
      "li",
      { class: "tile" },
      el("header", {}, el("h3", { id: title }, name), this.state),
      this.reason,
      this.numbers,
      el("div", { class: "sparks" }, this.sparks.elements),
      this.limits,
      el("div", { class: "row" }, this.onHold, probe, more),
    );
  }

  show(destination) {
    this.beats.add(destination.beats);
    this.shown = destination;
    this.draw();
  }

  draw() {
    const { state, since, reason, breaker, last_error: error } = this.shown;
    const words = el("span", {}, WORDS[state] ?? state, state !== "active" && since ? [" since ", time(since)] : []);
    this.element.dataset.state = state;
    if (this.state.textContent !== words.textContent) fill(this.state, shape(state), words);
    say(this.reason, reason ?? (breaker.failures > 0 && error ? `Last error: ${error}` : ""));
    this.drawNumbers();
    say(this.limits, limits(this.shown));
    // Under a finger it stays what it was: that is what is meant.
    if (!this.onHold.matches(":active")) say(this.onHold, state === "paused" ? RESUME : "Pause …");
    this.sparks.draw(this.beats.list(), this.shown.attempts);
  }

  drawNumbers() {
    const { pending, oldest_pending_at: oldest, dead, delivered } = this.shown;
    const cells = [
      ["Waiting", number(pending)],
      ["Oldest", oldest ? age(oldest) : "–"],
      ["Dead", number(dead), dead > 0],
      ["Delivered", number(delivered)],
    ];
    if (!this.cells) {
      this.cells = cells.map(() => el("dd"));
      fill(this.numbers, cells.map(([term], place) => el("div", {}, el("dt", {}, term), this.cells[place])));
    }
    cells.forEach(([, value, isBad], place) => {
      say(this.cells[place], value);
      this.cells[place].parentElement.classList.toggle("is-bad", Boolean(isBad));
    });
  }

  hold() {
    if (this.onHold.textContent === RESUME) return this.order("resume", {}, `${this.name} is resumed.`);
    const reason = el("input", { id: "pause-reason", maxlength: 200, autofocus: true });
    const body = [
      el("p", {}, "Nothing more is sent to it until it is resumed, also over a restart. Its work waits on disk; attempts in flight end."),
      el("div", { class: "field" }, el("label", { for: "pause-reason" }, "Why (optional; shown here, and kept in the audit log)"), reason),
    ];
    const act = () => {
      const why = reason.value.trim();
      return this.order("pause", why ? { reason: why } : {}, `${this.name} is paused.`, true);
    };
    ask({ title: `Pause ${this.name}?`, body, verb: "Pause", act });
  }

  async probe() {
    tell(`${this.name} is probed: one attempt is made now …`);
    try {
      const { attempt } = await post(path`/admin/destinations/${this.name}/probe`);
      tell(`${this.name} was probed: ${attempt.verdict}${attempt.status ? ` ${attempt.status}` : ""} after ${milliseconds(attempt.duration_ms)}.`);
    } catch (error) {
      tell(`${this.name}: ${error.message}`);
    } finally {
      showChanges();
    }
  }

  async order(what, body, done, isAsked = false) {
    try {
      await post(path`/admin/destinations/${this.name}/${what}`, body);
      tell(done);
    } catch (error) {
      if (isAsked) throw error;
      tell(`${this.name}: ${error.message}`);
    } finally {
      showChanges();
    }
  }

  async near() {
    return { title: this.name, body: details(await get(path`/admin/destinations/${this.name}`)) };
  }
}

function limits({ concurrency, concurrency_limit: most, in_flight: flying, quota, breaker }) {
  const rate = quota ? `at most ${quota.rate}, burst ${number(quota.burst)}` : "no limit of the rate";
  const parts = [`${number(flying)} in flight of ${number(concurrency)} (at most ${number(most)})`, rate, breakerWords(breaker)];
  return parts.join(" · ");
}

function breakerWords({ state, failures, next_probe_at: probe, held_back_until: held }) {
  if (state === "half_open") return "breaker half open, a probe is under way";
  if (state === "open") return `breaker open${probe ? `, next probe ${at(probe, true)}` : ""}`;
  if (held) return `held back by the platform until ${at(held, true)}`;
  return failures > 0 ? `breaker closed after ${count(failures, "failure")}` : "breaker closed";
}

function details(destination) {
  const list = el("dl", { class: "facts" });
  const { rates, attempts, breaker, refused_credentials: refused, last_errors: errors } = destination;
  facts(list, [
    ["State", `${WORDS[destination.state]}${destination.reason ? `: ${destination.reason}` : ""}`],
    ["Limits", limits(destination)],
    ["Of the last minute, per second", `${rates.delivered.toFixed(2)} delivered, ${rates.retried.toFixed(2)} to be tried again, ${rates.rejected.toFixed(2)} refused`],
    ["An attempt, of the last 5 minutes", attempts ? `half within ${milliseconds(attempts.p50_ms)}, 99 of 100 within ${milliseconds(attempts.p99_ms)}` : "none"],
    ["Breaker", breakerWords(breaker)],
    ["Refused credentials", refused.map(({ operations, reason }) => `${operations.join(", ")}: ${reason}`).join("; ")],
  ]);
  const row = (error) => el("li", {}, el("span", { class: "when" }, time(error.at, true)), attempt(error));
  const attempt = ({ verdict, status, excerpt, id }) =>
    el("div", {}, el("strong", {}, verdict), status ? ` ${status}` : "", excerpt ? el("q", { tabindex: 0 }, excerpt) : null, el("span", { class: "mono" }, id));
  const none = el("p", { class: "empty" }, "No error lately.");
  return [list, el("h3", {}, "Last errors"), errors.length ? el("ol", { class: "line" }, errors.map(row)) : none];
}
