// A transcript: its end first, earlier pages above, what comes below.
import { act, say } from "./live.js";
import { hears, keys, ready } from "./page.js";
import { parsed } from "./words.js";

const room = document.querySelector(".room");
const scroll = document.getElementById("scroll");
const lines = document.getElementById("lines");
const newest = document.getElementById("newest");
const spot = { at: room.dataset.at, name: room.dataset.name };
const NEAR = 120; // pixels from the end that count as the end
const MAX_LINES = 1000; // kept on the page; the farthest go, and can be asked for again
const earlier = document.getElementById("earlier");
if (!earlier.dataset.before) earlier.remove();
let since = Number(room.dataset.since);
let members = [];
let stays = true; // at the end

const toEnd = () => (scroll.scrollTop = scroll.scrollHeight);
const wanted = new URLSearchParams(location.search).get("seq");
const line = wanted && document.getElementById(`m${wanted}`);
if (line) {
  stays = false;
  line.scrollIntoView({ block: "center" });
  line.classList.add("wanted");
} else toEnd();
new ResizeObserver(() => stays && toEnd()).observe(scroll);
scroll.addEventListener(
  "scroll",
  () => {
    stays = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR;
    if (stays) newest.hidden = !gap;
  },
  { passive: true },
);
newest.addEventListener("click", atEnd);
keys.e = atEnd;
let gap = false; // what came last is not on the page: somebody reads far above
function atEnd() {
  if (gap || "part" in room.dataset) location.assign(`/room?${new URLSearchParams(spot)}`);
  newest.hidden = true;
  toEnd();
}

// What comes

hears.message = ({ html, last }) => {
  const known = new Set([...lines.querySelectorAll(".line")].slice(-200).map((one) => one.id));
  const found = parsed(html).filter((one) => !known.has(one.id));
  since = Math.max(since, last);
  document.getElementById("nothing")?.remove();
  gap ||= !stays && lines.children.length + found.length > MAX_LINES;
  if (gap) return (newest.hidden = false);
  join(lines.lastElementChild, found);
  for (const one of found) one.classList.add("new");
  lines.append(...found);
  dropOldest();
  climb();
  if (stays) toEnd();
  else newest.hidden = false;
  seen();
};

function dropOldest() {
  if (lines.children.length <= MAX_LINES) return;
  while (lines.children.length > MAX_LINES) lines.firstElementChild.remove();
  const first = lines.querySelector(".line").dataset.seq;
  if (!earlier.isConnected) scroll.prepend(earlier);
  earlier.hidden = false;
  earlier.dataset.before = first;
}

// A day is named once, and so is an author who goes on.
function join(before, found) {
  const day = before?.dataset.day;
  if (found[0]?.matches(".day") && found[0].dataset.day === day) found.shift();
  const [first] = found;
  if (!first?.matches(".line") || !before?.matches(".line")) return;
  const goesOn =
    first.dataset.author === before.dataset.author &&
    first.dataset.ts - before.dataset.ts < 300000 &&
    !first.matches(".fails") &&
    !before.matches(".fails");
  first.classList.toggle("again", goesOn);
}

// How far what we said got

hears.ladder = (each) => {
  members = each;
  climb();
};

function climb() {
  const answered = new Set(
    [...lines.querySelectorAll("[data-reply]")].map((one) => one.dataset.reply),
  );
  for (const line of lines.querySelectorAll(".line[data-ours]")) {
    const others = members.filter(([id]) => id !== line.dataset.author);
    const seq = Number(line.dataset.seq);
    const seen = others.filter(([, , at]) => at >= seq).length;
    const handed = others.filter(([, at]) => at >= seq).length;
    let words = others.length ? "stored" : "";
    if (handed) words = `handed to ${handed} of ${others.length}`;
    if (seen) words = seen === others.length ? "seen" : `seen by ${seen} of ${others.length}`;
    if (answered.has(line.dataset.id)) words = "answered";
    line.querySelector(".ladder").textContent = words;
  }
}

// What it is about

hears.title = (words) => {
  document.getElementById("title").textContent = words;
  document.body.dataset.title = `${words} · Parler`;
  hears.waiting(Number(document.getElementById("waiting").textContent));
};

// What the person has read

let told = 0;
function seen() {
  if ("part" in room.dataset || document.hidden || !stays || since <= told) return;
  told = since;
  act("seen", { ...spot, seq: since }).catch(() => (told = 0));
}
document.addEventListener("visibilitychange", seen);
seen();

// What was said before

earlier.addEventListener("click", more);
new IntersectionObserver((seen) => seen[0].isIntersecting && scroll.scrollTop > 0 && more(), {
  root: scroll,
  rootMargin: "600px 0px 0px",
}).observe(earlier);
let asking = false;

async function more() {
  if (asking || !earlier.isConnected) return;
  asking = true;
  const query = new URLSearchParams({ ...spot, before: earlier.dataset.before });
  const answer = await fetch(`/messages?${query}`);
  const text = await answer.text();
  if (answer.ok) {
    const found = parsed(text);
    const top = lines.firstElementChild;
    const from = top.offsetTop - scroll.scrollTop;
    const before = found.findLast((one) => one.matches(".line"));
    const kept = [...lines.children];
    if (before) join(before, kept);
    if (kept.length < lines.children.length) lines.firstElementChild.remove();
    lines.prepend(...found);
    while (lines.children.length > MAX_LINES) {
      lines.lastElementChild.remove();
      gap = true;
      newest.hidden = false;
    }
    const now = top.isConnected ? top : kept.find((one) => one.isConnected);
    scroll.scrollTop = now.offsetTop - from;
    const next = found.find((one) => one.matches(".line"))?.dataset.seq;
    if (!next || Number(next) <= 1 || found.length < 2) earlier.remove();
    else earlier.dataset.before = next;
  } else say(text, null, true);
  asking = false;
}

// A long message

lines.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-more]");
  if (!button) return;
  const query = new URLSearchParams({ ...spot, seq: button.dataset.more });
  const answer = await fetch(`/message?${query}`);
  const whole = document.createElement("p");
  whole.className = "piece";
  whole.textContent = await answer.text();
  button.closest(".said").replaceChildren(whole);
});

// Speaking

const form = document.getElementById("compose");
const words = document.getElementById("words");
words?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !event.ctrlKey) {
    event.preventDefault();
    form.requestSubmit();
  }
});
form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = words.value.trim();
  if (!text) return;
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const done = await act("say", { ...spot, text });
    words.value = "";
    document.getElementById("enters")?.remove();
    stays = true;
    say(done.said);
  } catch (error) {
    say(error.message, null, true);
  }
  button.disabled = false;
  words.focus();
});

if ("part" in room.dataset) ready(() => ({ view: "part" }));
else ready(() => ({ view: "room", since, ...spot }));
