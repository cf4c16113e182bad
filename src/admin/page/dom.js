// Building the page: elements and texts. What is shown is only ever set as text; the policy of this page refuses anything else.

import { at, now } from "./words.js";

const SAID_FOR_MS = 5 * 60_000;

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; a child is an element or a text, and nothing is left out. */
export function el(name, attributes = {}, ...children) {
  return furnish(document.createElement(name), attributes, children);
}

/** The same of a drawing. */
export function svg(name, attributes = {}, ...children) {
  return furnish(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The text of an element, touched only when it is another one: readers and selections are not disturbed for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The children of an element, replaced. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter(Boolean));
}

/** One of the shapes that go with the words. */
export function shape(name) {
  return svg("svg", { class: "shape", "aria-hidden": "true", focusable: "false" }, svg("use", { href: `#shape-${name}` }));
}

/** Terms and what is said of each, those left out of which nothing is; touched only when they are others. */
export function facts(list, pairs) {
  const told = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  const rows = told.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value)));
  if (rows.map(({ textContent }) => textContent).join("") !== list.textContent) fill(list, rows);
}

let doing = null;
let wishes = 0;

/**
 * Asks before something is done: `act` does it, and says where the focus goes then, if not back. Its error is shown in the
 * dialog, which stays open then; or on the page, where somebody has left it.
 */
export function ask({ title, body, verb, act, isDangerous = false }) {
  wishes += 1;
  const dialog = byId("dialog");
  say(byId("dialog-title"), title);
  fill(byId("dialog-body"), body);
  say(byId("dialog-error"), "");
  const button = byId("dialog-do");
  say(button, verb);
  button.classList.toggle("danger", isDangerous);
  button.hidden = !act;
  button.disabled = false;
  say(byId("dialog-cancel"), act ? "Cancel" : "Close");
  doing = act;
  if (!dialog.open) dialog.showModal();
  (dialog.querySelector("[autofocus]") ?? byId("dialog-cancel")).focus();
}

/** For a button that looks something up before it asks. What is found comes too late where something else was wished since. */
export const asking = (look) => async ({ currentTarget: button }) => {
  if (button.ariaBusy === "true") return;
  const wish = ++wishes;
  button.ariaBusy = "true";
  try {
    const question = await look();
    if (wish === wishes) ask(question);
  } catch (error) {
    tell(error.message);
  } finally {
    button.ariaBusy = null;
  }
};

/** Once, at the beginning. */
export function prepareDialog() {
  const dialog = byId("dialog");
  byId("dialog-cancel").addEventListener("click", () => dialog.close());
  byId("dialog-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!doing) return;
    const button = byId("dialog-do");
    const act = doing;
    button.disabled = true;
    try {
      const next = await act();
      if (doing !== act || !dialog.open) return; // somebody is elsewhere by now
      dialog.close();
      next?.focus();
    } catch (error) {
      if (dialog.open && doing === act) say(byId("dialog-error"), error.message);
      else tell(error.message);
    } finally {
      if (doing === act) button.disabled = false;
    }
  });
}

let fading = null;

/** Says what was done and when, also to who cannot see; the same twice is said twice. */
export function tell(text) {
  const said = byId("said");
  fill(said, el("span", { class: "when" }, at(now(), true)), ` ${text}`);
  clearTimeout(fading);
  fading = setTimeout(() => fill(said), SAID_FOR_MS);
}
