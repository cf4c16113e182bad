// What people have changed, and the one change that is the relay's as a whole: reading its configuration anew.

import { byId, el, fill, tell } from "./dom.js";
import { get, post } from "./relay.js";
import { number, time } from "./words.js";

const CHANGES = 20;

let fresh = 0;

export function prepareAudit() {
  byId("changes").addEventListener("toggle", showChanges);
  byId("reload").addEventListener("click", reload);
}

/** Lists them anew, where they are looked at. */
export async function showChanges() {
  if (!byId("changes").open) return;
  const asked = ++fresh;
  try {
    const { audit } = await get(`/admin/audit?limit=${CHANGES}`);
    if (asked === fresh) fill(byId("changes-list"), audit.length ? audit.map(entry) : el("li", { class: "empty" }, "None yet."));
  } catch (error) {
    if (asked === fresh) fill(byId("changes-list"), el("li", { class: "error" }, error.message));
  }
}

function entry({ at, who, user, action, filter, reason, outcome, done, problem }) {
  const which = Object.entries(filter ?? {}).map(([name, value]) => `${name} ${value}`).join(", ");
  const end = [outcome, done === null ? null : `of ${number(done)}`, problem].filter(Boolean).join(" ");
  const words = [`${action}${which ? ` (${which})` : ""}: ${end}`, reason ? `“${reason}”` : null, `by ${[user, who].filter(Boolean).join(", ")}`];
  return el("li", {}, el("span", { class: "when" }, time(at, true)), el("div", {}, words.filter(Boolean).join(" · ")));
}

async function reload() {
  try {
    const { version, changed, added, removed } = await post("/admin/reload");
    const what = [["changed", changed], ["added", added], ["removed", removed]].filter(([, names]) => names.length);
    const words = what.map(([verb, names]) => `${verb} ${names.join(", ")}`).join("; ");
    tell(`The configuration was read: version ${number(version)}, ${words || "with the same destinations"}.`);
  } catch (error) {
    tell(error.message);
  } finally {
    showChanges();
  }
}
