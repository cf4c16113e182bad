// Fifteen minutes of a destination in two small drawings: what became of its attempts, and how long they took.

import { el, say, svg } from "./dom.js";
import { milliseconds, now, number, rate } from "./words.js";

const BEAT_MS = 15_000;
const BEATS = 60;
const [WIDTH, HEIGHT] = [240, 36];
const STEP = WIDTH / BEATS;

/** The beats that are known of one destination, by when they began. */
export class Beats {
  constructor() {
    this.known = new Map();
  }

  add(beats) {
    for (const beat of beats) this.known.set(Date.parse(beat.at), beat);
    const oldest = newest() - BEATS * BEAT_MS;
    for (const at of this.known.keys()) if (at <= oldest) this.known.delete(at);
  }

  /** Oldest first; `undefined` where nothing happened. The last one is not over yet. */
  list() {
    const last = newest();
    return Array.from({ length: BEATS }, (_, index) => this.known.get(last - (BEATS - 1 - index) * BEAT_MS));
  }
}

const newest = () => Math.floor(now() / BEAT_MS) * BEAT_MS;

/** Both drawings, and what draws them anew. */
export function sparklines() {
  const [rates, latency] = [figure("Attempts", "Of the last minute"), figure("Mean and longest", "Of the last five minutes")];
  const draw = (beats, attempts) => {
    drawRates(rates, beats);
    drawLatency(latency, beats, attempts);
  };
  return { elements: [rates.element, latency.element], draw };
}

function figure(title, of) {
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  const value = el("span", { class: "spark-value", title: of });
  const head = el("figcaption", {}, el("span", {}, title), value);
  return { drawing, value, element: el("figure", { class: "spark" }, head, drawing) };
}

function drawRates({ drawing, value }, beats) {
  const sum = (name) => beats.reduce((total, beat) => total + (beat?.[name] ?? 0), 0);
  const [delivered, retried, dead] = ["delivered", "retried", "dead"].map(sum);
  const most = Math.max(1, ...beats.map((beat) => (beat ? beat.delivered + beat.retried + beat.dead : 0)));
  const bars = beats.flatMap((beat, index) => (beat ? bar(beat, index, most) : []));
  drawing.replaceChildren(baseline(), ...bars);
  const last = beats.slice(-5, -1);
  const ended = last.reduce((total, beat) => total + (beat ? beat.delivered + beat.retried + beat.dead : 0), 0);
  say(value, rate(ended / (last.length * 15)));
  const parts = [`${number(delivered)} delivered`, `${number(retried)} to be tried again`, `${number(dead)} given up`];
  drawing.setAttribute("aria-label", `In the last 15 minutes: ${parts.join(", ")}.`);
}

/** Delivered at the bottom, trouble on top of it: striped where it is tried again, solid where it was given up. */
function bar(beat, index, most) {
  const unit = (HEIGHT - 2) / most;
  let bottom = HEIGHT - 1;
  const parts = [["delivered", beat.delivered], ["retried", beat.retried], ["dead", beat.dead]];
  return parts.filter(([, amount]) => amount > 0).map(([kind, amount]) => {
    const height = Math.max(1.5, amount * unit);
    bottom -= height;
    const place = { x: (index * STEP + 0.5).toFixed(1), y: Math.max(0, bottom).toFixed(1), width: (STEP - 1).toFixed(1), height: height.toFixed(1) };
    return svg("rect", { class: `bar-${kind}`, ...place });
  });
}

function drawLatency({ drawing, value }, beats, attempts) {
  const most = Math.max(1, ...beats.map((beat) => beat?.longest_ms ?? 0));
  const y = (ms) => (HEIGHT - 2 - (Math.sqrt(ms) / Math.sqrt(most)) * (HEIGHT - 6)).toFixed(1);
  const x = (index) => ((index + 0.5) * STEP).toFixed(1);
  const known = beats.map((beat, index) => [beat, index]).filter(([beat]) => beat && beat.mean_ms !== null);
  const longest = known.map(([beat, index]) => svg("path", { class: "longest", d: `M${x(index)} ${y(beat.mean_ms)}V${y(beat.longest_ms)}` }));
  const line = known.map(([beat, index], place) => `${place ? "L" : "M"}${x(index)} ${y(beat.mean_ms)}`).join("");
  const dots = known.length === 1 ? [svg("circle", { class: "mean-dot", cx: x(known[0][1]), cy: y(known[0][0].mean_ms), r: 2 })] : [];
  drawing.replaceChildren(baseline(), ...longest, svg("path", { class: "mean", d: line || "M0 0" }), ...dots);
  say(value, attempts ? `p50 ${milliseconds(attempts.p50_ms)}, p99 ${milliseconds(attempts.p99_ms)}` : "none lately");
  const means = known.map(([beat]) => beat.mean_ms);
  const words = means.length
    ? `Mean time of an attempt in the last 15 minutes: ${milliseconds(Math.min(...means))} to ${milliseconds(Math.max(...means))}, the longest ${milliseconds(most)}.`
    : "No attempt in the last 15 minutes.";
  drawing.setAttribute("aria-label", words);
}

const baseline = () => svg("path", { class: "baseline", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` });
