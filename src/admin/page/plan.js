// What a replay would do, before it is done; and a request as it goes out.

import { el } from "./dom.js";
import { count, number } from "./words.js";

const OUTCOMES = {
  sent: "is sent",
  skipped: "is skipped: nothing is sent",
  withheld: "is withheld: nothing is sent",
  unsupported: "is not supported: nothing is sent",
  unmappable: "has no request: a dead letter again",
  expired: "is too old: a dead letter again",
  unreadable: "cannot be read: a dead letter again",
  unconfigured: "waits until its destination is configured",
  gone: "is no dead letter any more",
};

/** Of one plan for each destination that is meant. */
export function planned(plans) {
  const matched = plans.reduce((total, { totals }) => total + totals.matched, 0);
  const groups = plans.flatMap(({ totals }) => totals.groups);
  const letters = plans.flatMap(({ dead }) => dead);
  const isWhole = plans.every(({ totals }) => totals.whole);
  const rest = matched - letters.length;
  return [
    el("p", {}, `${isWhole ? "" : "At least "}${count(matched, "dead letter is", "dead letters are")} meant. Nothing has been sent yet.`),
    warning(groups, letters),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "What becomes of them" }, table(groups)),
    letters.map((one) => letter(one, letters.length === 1)),
    rest > 0 ? el("p", { class: "reason" }, `${number(rest)} more are not shown one by one.`) : null,
  ].flat();
}

function warning(groups, letters) {
  const twice = groups.reduce((total, group) => total + group.second_sales, 0);
  const others = letters.filter(({ replay }) => replay.differs).length;
  return [
    twice ? el("p", { class: "warned" }, `${count(twice, "of them may be a second sale", "of them may be second sales")}: the platform may have it already, and would not know it again.`) : null,
    others ? el("p", { class: "warned" }, `${count(others, "request is", "requests are")} another than was sent before: the mapping has changed.`) : null,
  ].filter(Boolean);
}

function table(groups) {
  const head = ["Destination", "Kind", "What becomes of it", "How many", "Worth"];
  const sums = ({ amounts }) => Object.entries(amounts).map(([currency, sum]) => `${sum ?? "too large a sum"} ${currency}`).join(", ") || "–";
  const row = (group) => [group.destination, group.kind, OUTCOMES[group.outcome] ?? group.outcome, number(group.count), sums(group)];
  return el(
    "table",
    {},
    el("thead", {}, el("tr", {}, head.map((title) => el("th", { scope: "col" }, title)))),
    el("tbody", {}, groups.map((group) => el("tr", {}, row(group).map((cell) => el("td", {}, cell))))),
  );
}

function letter({ id, order_id: order, destination, request, replay }, isOpen) {
  const why = replay.reason ? `: ${replay.reason}` : "";
  const name = `${order ? `order ${order}` : `conversion ${id}`} at ${destination}`;
  return el("details", { open: isOpen }, el("summary", {}, `${name} ${OUTCOMES[replay.outcome] ?? replay.outcome}${why}`), fate(replay), requestOf(request));
}

/** What a person should know before it is sent again. */
export function fate({ outcome, reason, differs, deduplication, dedup_window: window, second_sale: isSecondSale }) {
  const known = {
    none: "The platform does not deduplicate.",
    within: `The platform would know a repeat: its window of ${window} is not over.`,
    outside: `The platform's window of ${window} is over: it would not know a repeat.`,
    unknown: "The platform deduplicates; for how long is not configured.",
  };
  const words = [
    outcome === "sent" ? null : `A replay ${OUTCOMES[outcome] ?? outcome}${reason ? `: ${reason}` : ""}.`,
    known[deduplication],
    differs ? "The request is another than was sent before." : null,
    isSecondSale ? "It may be a second sale." : null,
  ];
  const said = words.filter(Boolean).join(" ");
  return said ? el("p", { class: isSecondSale ? "warned" : "reason" }, said) : null;
}

/** As HTTP has it; a JSON body with a line for each member. */
export function requestOf(request) {
  if (!request) return el("p", { class: "empty" }, "There is no request.");
  const { method, url, headers, body } = request;
  const lines = [`${method} ${url}`, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)];
  if (body !== undefined) lines.push("", typeof body === "string" ? body : JSON.stringify(body, null, 2));
  return el("pre", { tabindex: 0 }, lines.join("\n"));
}
