// All views: what changes, decisions, and the keyboard.
import { act, listen, say, takeBack } from "./live.js";
import { decisions } from "./notify.js";
import { remember, replaced, told } from "./words.js";

const view = document.body.dataset.view;
const HOLD_MS = 3000; // a list does not move under a finger that may be about to press

// Pieces that the server sends anew

const later = new Map(); // what waits until nobody points at it
let pointed = 0;
const inbox = document.getElementById("inbox") ?? document.getElementById("knocks");
for (const name of ["inbox", "peers", "rooms", "agents", "members", "knocks"]) {
  const place = document.getElementById(name);
  if (place) remember(place);
}
told(); // after what the server made was remembered as it came
setInterval(told, 30000);
for (const event of ["pointermove", "pointerdown"])
  inbox?.addEventListener(event, () => (pointed = performance.now()), { passive: true });

function put(name, html) {
  const place = document.getElementById(name);
  if (!place) return;
  const held = place === inbox && inbox.querySelector(".item");
  if (held && performance.now() - pointed < HOLD_MS && pointed) later.set(name, html);
  else {
    later.delete(name);
    replaced(place, html);
  }
}
setInterval(() => {
  for (const [name, html] of later) put(name, html);
}, 250);

const regions = ["inbox", "peers", "rooms", "agents", "members", "knocks", "trouble"];
export const hears = Object.fromEntries(
  regions.map((name) => [name, (html) => put(name, html)]),
);
hears.decisions = decisions;
hears.waiting = (count) => {
  const badge = document.getElementById("waiting");
  badge.hidden = !count;
  badge.textContent = count;
  badge.setAttribute("aria-label", `${count} waiting`);
  document.title = (count ? `(${count}) ` : "") + document.body.dataset.title;
};
hears.waiting(Number(document.getElementById("waiting").textContent));
export function ready(query) {
  document.getElementById("main").inert = false;
  listen(query, hears);
}
if (view !== "room") queueMicrotask(() => ready(() => ({ view })));

// Decisions

async function decide(button) {
  const item = button.closest(".item");
  const given = { ...item.dataset };
  if ("decline" in button.dataset) given.decline = true;
  const words = item.querySelector("[data-words]");
  if (words && !given.decline) {
    given.text = words.value.trim();
    if (!given.text) return words.focus();
  }
  const buttons = item.querySelectorAll("button");
  for (const one of buttons) one.disabled = true;
  try {
    const done = await act(button.dataset.act, given);
    settled(document.getElementById(item.id) ?? item, done.said || "done");
    say(done.said, done.undo);
  } catch (error) {
    for (const one of buttons) one.disabled = false;
    say(error.message, null, true);
  }
}

// It keeps its place until the list moves on, so that a second press hits nothing.
function settled(item, words) {
  const had = item.contains(document.activeElement);
  item.style.minHeight = `${item.offsetHeight}px`;
  item.classList.add("done");
  const said = document.createElement("p");
  said.textContent = words;
  item.replaceChildren(said);
  if (had) item.focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.act) decide(button);
  if (button?.id === "help") document.getElementById("keys").showModal();
  if (button?.id === "again") examine();
});

// Health

async function examine() {
  const place = document.getElementById("checks");
  place.setAttribute("aria-busy", "true");
  const answer = await fetch("/health/checks");
  const text = await answer.text();
  if (answer.ok) replaced(place, text);
  else place.textContent = text;
  place.setAttribute("aria-busy", "false");
}
if (view === "health") examine();

// The keyboard

const steps = ".item, .side .list a, .card, .line, .checks li";
let going = false;

function step(by) {
  const all = [...document.querySelectorAll(steps)];
  const at = all.indexOf(document.activeElement.closest(steps));
  const next = at < 0 ? (by > 0 && view !== "room" ? 0 : all.length - 1) : at + by;
  all[Math.max(0, Math.min(next, all.length - 1))]?.focus();
}

function press(which) {
  const item = document.activeElement.closest(".item");
  const button = item?.querySelector(`.acts .${which}`);
  if (!button) return;
  const words = item.querySelector("[data-words]");
  if (words && which === "yes" && !words.value.trim()) words.focus();
  else button.click();
}

export const keys = {
  j: () => step(1),
  k: () => step(-1),
  y: () => press("yes"),
  n: () => press("no"),
  u: takeBack,
  g: () => {
    going = true;
    setTimeout(() => (going = false), 1500);
  },
  c: () => document.getElementById("words")?.focus(),
  "?": () => document.getElementById("keys").showModal(),
};
const places = { i: "/", a: "/agents", h: "/health" };

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("textarea, input, select");
  if (event.key === "Escape" && typing) return event.target.blur();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && typing) {
    const item = event.target.closest(".item");
    if (item) item.querySelector(".acts .yes").click();
    else event.target.form?.requestSubmit();
    return event.preventDefault();
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  if (going && places[event.key]) return location.assign(places[event.key]);
  if (event.key === "Enter" && event.target.matches(".item")) {
    event.preventDefault();
    return event.target.querySelector("a[href]")?.click();
  }
  if (!keys[event.key] || event.repeat) return;
  event.preventDefault();
  keys[event.key]();
});
