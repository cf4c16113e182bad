// Looking up what became of a conversion or an order: a time line of attempts per destination.

import { byId, el, fill, shape } from "./dom.js";
import { get, path } from "./relay.js";
import { at, count, milliseconds, time } from "./words.js";

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const SHAPES = { delivered: "active", duplicate: "active", dead: "dead", held: "paused", retrying: "open" };

let fresh = 0;

export function prepareLookup() {
  byId("lookup-form").addEventListener("submit", (event) => {
    event.preventDefault();
    lookUp(byId("lookup-input").value.trim());
  });
}

/** Shows what became of it, and leads there. */
export async function lookUp(id) {
  const input = byId("lookup-input");
  input.value = id;
  if (!id) return;
  const asked = ++fresh;
  const result = byId("lookup-result");
  try {
    const { title, whole, conversions } = await found(id);
    if (asked !== fresh) return; // something else is looked up by now
    const older = whole ? null : el("p", { class: "reason" }, "Older conversions of the order are not shown.");
    fill(result, [el("p", {}, title), older, ...conversions.map(conversion)]);
  } catch (error) {
    if (asked !== fresh) return;
    fill(result, error.status === 404 ? nothing(id) : el("p", { class: "error" }, error.message));
  }
  byId("lookup").scrollIntoView();
}

/** The conversion of this id, or those of this order. */
async function found(id) {
  if (!ID.test(id)) return ofOrder(id);
  try {
    return { title: `Conversion ${id}`, whole: true, conversions: [await get(path`/admin/conversions/${id}`)] };
  } catch (error) {
    if (error.status !== 404) throw error;
    return ofOrder(id); // a merchant's own ids may look like ours
  }
}

async function ofOrder(id) {
  const { whole, conversions } = await get(path`/admin/orders/${id}`);
  return { title: `${count(conversions.length, "conversion")} of order ${id}`, whole, conversions };
}

function nothing(id) {
  return el("p", { class: "empty" }, `Nothing is known of ${id}: it was never accepted here, or is older than history.keep, or was forgotten, or is an order of a merchant that is no longer configured.`);
}

function conversion({ id, event_id: event, order_id: order, merchant, received_at: received, destinations }) {
  const facts = [`from ${merchant}`, `event ${event}`, order ? `order ${order}` : null].filter(Boolean).join(" · ");
  return el(
    "article",
    { class: "conversion" },
    el("header", {}, el("h3", { class: "mono" }, id), el("p", {}, "received ", time(received, true), ` · ${facts}`)),
    el("ul", { class: "lanes" }, Object.entries(destinations).map(([name, delivery]) => lane(name, delivery))),
  );
}

function lane(name, { state, kind, reason, next_attempt_at: next, history, captured, attempts }) {
  const words = [state, kind ? ` (${kind})` : "", reason ? `: ${reason}` : "", next ? `; next attempt ${at(next, true)}` : ""].join("");
  const kept = Object.entries(captured).map(([key, value]) => `${key} ${value}`).join(", ");
  const older = attempts - history.length;
  return el(
    "li",
    { class: "lane", "data-state": state },
    el("p", { class: "lane-head" }, el("strong", {}, name), el("span", {}, shape(SHAPES[state] ?? "active"), ` ${words}`)),
    kept ? el("p", { class: "reason" }, `The platform said: ${kept}`) : null,
    older > 0 && history.length ? el("p", { class: "reason" }, `${count(older, "older attempt")} not kept`) : null,
    timeline(history),
  );
}

/** Attempts, oldest first. */
export function timeline(history) {
  const row = ({ at: begun, status, verdict, duration_ms: took, protocol, tls, excerpt }) => {
    const how = [protocol, tls].filter(Boolean).join(", ");
    const words = `${verdict}${status ? ` ${status}` : ""} after ${milliseconds(took)}${how ? ` (${how})` : ""}`;
    return el("li", {}, el("span", { class: "when" }, time(begun, true)), el("div", {}, words, excerpt ? el("q", { tabindex: 0 }, excerpt) : null));
  };
  return history.length ? el("ol", { class: "line", "aria-label": "Attempts, oldest first" }, history.map(row)) : null;
}
