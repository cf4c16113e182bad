// The status page: what is stuck and why, first; then each destination, look-ups, dead letters, the relay itself.

import { prepareAudit } from "./audit.js";
import { byId, el, facts, fill, prepareDialog, say, shape } from "./dom.js";
import { prepareDead, showCounts, showNames } from "./dead.js";
import { prepareLookup } from "./lookup.js";
import { hasToken, heardAt, keepToken, listen, restoreToken } from "./relay.js";
import { refresh, show, showAll } from "./tiles.js";
import { age, at, bytes, count, number, setNow, time, zone } from "./words.js";

const LEVELS = { stopped: ["suspended", "Stopped"], warning: ["open", "Warning"], notice: ["notice", "Notice"] };

let known = { relay: null, concerns: [], destinations: new Map(), removed: [] };
let lostSince = null;
/** That of the relay which this page is from. */
let firstVersion = null;

const RECEIVE = {
  overview({ now, relay, concerns, destinations, removed }) {
    setNow(now);
    known = { relay, concerns, destinations: new Map(destinations.map((one) => [one.name, one])), removed };
    showAll(destinations);
    drawNames();
    drawRelay();
    drawConcerns();
  },
  relay(relay) {
    known.relay = relay;
    drawRelay();
  },
  concerns(concerns) {
    known.concerns = concerns;
    drawConcerns();
  },
  removed(removed) {
    known.removed = removed;
    drawNames();
  },
  destination(destination) {
    known.destinations.set(destination.name, destination);
    show(destination);
    drawConcerns();
  },
};

function receive(type, data) {
  RECEIVE[type]?.(data);
  showCounts([...known.destinations.values(), ...known.removed]);
}

/** Dead letters are of destinations that are configured no more, too. */
function drawNames() {
  showNames([...known.destinations.keys(), ...known.removed.map(({ name }) => name)]);
}

function link(state, pause, error) {
  const element = byId("link");
  element.classList.toggle("is-live", state === "live");
  element.classList.toggle("is-lost", state !== "live");
  document.body.classList.toggle("is-stale", state !== "live");
  lostSince = state === "live" ? null : lostSince ?? heardAt ?? new Date().toISOString();
  drawTitle();
  if (state === "live") {
    byId("content").hidden = false;
    byId("token").hidden = true;
    say(byId("link-text"), "Live");
    byId("sections").hidden = false;
  } else if (state === "away") {
    say(byId("link-text"), "Connecting …");
  } else if (state === "lost") {
    const why = error?.status ? ` (${error.message})` : "";
    say(byId("link-text"), `Disconnected since ${at(lostSince, true)}${why}: what is shown is as of then. Trying again.`);
  } else refuse(error);
}

/** Without the token nothing is shown, and what was shown is taken away. */
function refuse(error) {
  if (error.status === 401 && known.relay) {
    location.reload(); // nothing of it stays, nor is anything asked; the token is refused once more, and asked for
    return;
  }
  byId("content").hidden = true;
  byId("sections").hidden = true;
  if (error.status !== 401) {
    say(byId("link-text"), error.message);
    return;
  }
  const why = "This relay shows nothing without its admin token. It is kept in this tab alone, and sent to this relay alone.";
  say(byId("token-why"), hasToken() ? `This token is not, or no longer, one of the relay's. ${why}` : why);
  say(byId("link-text"), "Not signed in");
  keepToken(null);
  byId("token").hidden = false;
  byId("token-input").focus();
}

function drawConcerns() {
  const { concerns, destinations } = known;
  const list = byId("concerns");
  const flow = concerns.length ? null : flowing(destinations);
  const texts = JSON.stringify([concerns, flow, Math.floor(Date.now() / 30_000)]);
  if (list.dataset.shown === texts) return;
  list.dataset.shown = texts;
  drawTitle();
  fill(list, concerns.length ? concerns.map(concern) : well(flow));
  // Read out when it is another matter, not when somebody has waited for another minute.
  const matters = concerns.map(({ destination, what }) => `${destination ?? "The relay"} ${what}.`);
  say(byId("news"), matters.length ? matters.join(" ") : "All is well.");
}

function drawTitle() {
  const { concerns } = known;
  const mark = lostSince ? "(?) " : concerns.some(({ level }) => level === "stopped") ? "(!) " : "";
  document.title = `${mark}capi-relay`;
  if (lostSince) say(byId("now-title"), `As it was at ${at(lostSince, true)}`);
  else say(byId("now-title"), concerns.length ? `${count(concerns.length, "thing")} to know` : "How it is");
}

function concern({ level, destination, what, since, why, waiting, oldest_pending_at: oldest, gives_up_at: end, is_held: isHeld, advice }) {
  const [drawing, word] = LEVELS[level];
  const more = [
    waiting > 0 ? `${count(waiting, "delivery", "deliveries")} ${waiting === 1 ? "waits" : "wait"}` : null,
    waiting > 0 && oldest ? `the oldest for ${age(oldest)}` : null,
    waiting > 0 && end ? ending(end, isHeld) : null,
  ];
  const sentence = [
    el("strong", {}, destination ?? "The relay"), ` ${what}`, since ? [" since ", time(since)] : [], why ? `: ${why}` : "",
    more.some(Boolean) ? `; ${more.filter(Boolean).join(", ")}` : "", ".",
  ];
  return el(
    "li",
    { class: `concern concern-${level}` },
    shape(drawing),
    el("p", { class: "what" }, el("span", { class: "level" }, word), " ", sentence.flat()),
    el("p", { class: "advice" }, el("b", {}, "What to do: "), advice),
  );
}

/** What becomes of the oldest when its time is over. */
function ending(end, isHeld) {
  if (!isHeld) return `given up from about ${at(end)} on if nothing changes`;
  return `nothing is given up for its time meanwhile; what was attempted before is, where it goes on only after ${at(end)}`;
}

/** How it is where nothing is wrong. */
function flowing(destinations) {
  const all = [...destinations.values()];
  const waiting = all.reduce((total, { pending }) => total + pending, 0);
  return `${count(all.length, "destination")} active, ${waiting ? `${number(waiting)} on the way` : "nothing waits"}, no dead letters.`;
}

function well(flow) {
  return el("li", { class: "concern concern-well" }, shape("well"), el("p", { class: "what" }, el("strong", {}, "All is well. "), flow));
}

function drawRelay() {
  const { relay } = known;
  const { last_reload: reload, disk_free_bytes: free, queue_bytes: used, queue_bytes_max: most } = relay;
  say(byId("phase"), `${relay.version}, ${relay.phase}, up ${age(relay.started_at)}`);
  firstVersion ??= relay.version;
  say(byId("another"), relay.version === firstVersion ? "" : "The relay is another version: reload this page.");
  const refused = reload?.result === "refused";
  facts(byId("facts"), [
    ["Version", relay.version],
    ["State", relay.phase],
    ["Started", time(relay.started_at)],
    ["Queue", `${bytes(used)} of ${bytes(most)}`],
    ["Disk", free === null ? null : `${bytes(free)} free, ${bytes(relay.disk_free_bytes_min)} must stay so`],
    ["Configuration", `version ${number(relay.config_version)}`],
    ["Last reload", reload ? el("span", {}, refused ? "refused " : "done ", time(reload.at, true)) : "none since the start"],
  ]);
  byId("report").hidden = !refused;
  say(byId("report-text"), reload?.report ?? "");
}

function start() {
  listen(receive, link);
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(byId("token-input").value.trim());
  byId("token-input").value = "";
  start();
});

// Ages grow while nothing is told, and what was today is yesterday.
setInterval(() => {
  if (!known.relay || document.hidden) return;
  refresh();
  drawConcerns();
  drawRelay();
}, 5_000);

say(byId("zone"), zone());
restoreToken();
prepareDialog();
prepareLookup();
prepareDead();
prepareAudit();
start();
