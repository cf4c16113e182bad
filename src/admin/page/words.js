// Numbers, times and sizes as a person reads them.

const whole = new Intl.NumberFormat("en-US");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const exact = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** How far the relay's clock is ahead of this browser's, in milliseconds. */
let ahead = 0;

export function setNow(instant) {
  if (instant) ahead = Date.parse(instant) - Date.now();
}

/** The relay's time. */
export const now = () => Date.now() + ahead;

export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

export const number = (value) => whole.format(value);

export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

/** The element of a time: `02:14`, with its day when that is not today; the whole of it when it is pointed at. */
export function time(instant, isExact = false) {
  const element = document.createElement("time");
  element.dateTime = instant;
  element.title = instant;
  element.textContent = at(instant, isExact);
  return element;
}

export function at(instant, isExact = false) {
  const date = new Date(instant);
  const hours = (isExact ? exact : clock).format(date);
  return day.format(date) === day.format(new Date(now())) ? hours : `${day.format(date)}, ${hours}`;
}

/** `48 min`, `3 h 5 min`, `2 d 4 h`. */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`;
}

export const age = (instant) => duration(now() - Date.parse(instant));

export function milliseconds(value) {
  if (value < 1000) return `${Math.round(value)} ms`;
  return value < 60000 ? `${(value / 1000).toFixed(1)} s` : duration(value);
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** Attempts per second. */
export function rate(perSecond) {
  if (perSecond === 0) return "0/s";
  return perSecond < 0.1 ? `${(perSecond * 60).toFixed(1)}/min` : `${perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond)}/s`;
}
