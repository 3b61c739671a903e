"use strict";
// A room for whoever holds its watch token. The token comes in the fragment, which no
// browser sends; it goes to the hub as a header and stays in this tab. What others wrote
// becomes text and nothing else.
const KEPT = 1000;
const SOON = 2000;
const HIDDEN = 15000;
const LATEST = 60000;
const STORED = "parler.watch";
// Characters that turn the order of others, or are none to be seen.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const at = (id) => document.getElementById(id);

let token = "";
let cursor = 0;
let pause = SOON;
let timer = 0;
let run = 0;

function made(tag, words, name) {
  const one = document.createElement(tag);
  if (words !== undefined) {
    one.textContent = String(words).replace(UNSEEN, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  }
  if (name) one.className = name;
  return one;
}

function say(words, bad) {
  at("state").textContent = words;
  at("state").className = bad ? "bad" : "soft";
}

function when(ms) {
  const time = made("time", new Date(ms).toLocaleString());
  const date = new Date(ms);
  if (!Number.isNaN(date.getTime())) time.dateTime = date.toISOString();
  return time;
}

function size(bytes) {
  if (!(bytes >= 1000)) return `${bytes} bytes`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.round(bytes / 1e3)} KB`;
}

function fetched(path) {
  const headers = { authorization: `Bearer ${token}` };
  return fetch(path, { headers, cache: "no-store", credentials: "omit", redirect: "error" });
}

async function save(file, name, button) {
  button.disabled = true;
  try {
    const answer = await fetched(`api/session/blob/${encodeURIComponent(file.blob)}`);
    if (!answer.ok) throw new Error();
    const link = made("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), LATEST);
  } catch {
    say("That file could not be fetched.", true);
  }
  button.disabled = false;
}

function part(one) {
  if (one.kind === "text") {
    const said = made("blockquote", one.text);
    said.tabIndex = 0; // a long one scrolls by the keyboard too
    return said;
  }
  const kind = String(one.kind).replace("com.parler.", "");
  const line = made("p", undefined, "part");
  if (!one.file) {
    line.append(made("span", kind, "soft"));
    return line;
  }
  const name = one.file.name || `${kind}-${String(one.file.blob).slice(0, 12)}`;
  const button = made("button", "Save");
  button.type = "button";
  button.setAttribute("aria-label", `Save ${name}`);
  button.addEventListener("click", () => save(one.file, name, button));
  line.append(made("bdi", name), " ", made("span", `${kind}, ${size(one.file.size)}`, "soft"), " ", button);
  return line;
}

function row(message) {
  const head = made("p", undefined, "head");
  head.append(made("bdi", message.from.name || "somebody", "who"));
  if (message.from.role) head.append(made("bdi", message.from.role, "soft"));
  head.append(when(message.ts));
  const line = made("li");
  line.append(head, ...message.parts.map(part));
  return line;
}

function show(room) {
  at("enter").hidden = true;
  at("room").hidden = false;
  document.title = `${room.room} · Parler`;
  at("name").replaceChildren(made("bdi", room.room));
  at("members").replaceChildren(
    ...room.agents.slice(0, 200).map((one) => {
      const line = made("li");
      line.append(made("bdi", one.name), " ", made("span", one.status, "soft"));
      return line;
    }),
  );
  const end = innerHeight + scrollY >= document.body.scrollHeight - 80;
  at("messages").append(...room.messages.slice(-KEPT).map(row));
  while (at("messages").childElementCount > KEPT) at("messages").firstChild.remove();
  const held = room.stats.messages;
  const cut = held > at("messages").childElementCount;
  at("count").textContent = cut
    ? `the last ${at("messages").childElementCount} of ${held} messages`
    : `${held} ${held === 1 ? "message" : "messages"}`;
  at("nothing").hidden = held > 0;
  if (end && room.messages.length) scrollTo(0, document.body.scrollHeight);
}

async function look() {
  clearTimeout(timer);
  const mine = ++run;
  try {
    const answer = await fetched(`api/session?since=${cursor}`);
    const room = answer.ok ? await answer.json() : null;
    if (mine !== run) return;
    if (answer.status === 401) {
      forget();
      ask("This link opens nothing any more. Ask whoever gave it to you for a new one.");
      return;
    }
    if (answer.status === 429) throw new Error("The hub asks to wait a minute.");
    if (!room) throw new Error(`The hub answers ${answer.status}.`);
    const more = room.messages.length > 0 && room.cursor > cursor;
    cursor = room.cursor;
    show(room);
    pause = SOON;
    say(`Live. Last looked ${new Date().toLocaleTimeString()}.`);
    if (more) {
      timer = setTimeout(look, 0);
      return;
    }
  } catch (error) {
    if (mine !== run) return;
    pause = error instanceof TypeError || error instanceof SyntaxError ? Math.min(2 * pause, 30000) : LATEST;
    const why = error instanceof TypeError ? "The hub is not reached." : error.message;
    say(`${why} Trying again in ${Math.round(pause / 1000)} s.`, true);
  }
  timer = setTimeout(look, document.hidden ? Math.max(pause, HIDDEN) : pause);
}

function forget() {
  token = "";
  try { sessionStorage.removeItem(STORED); } catch { /* it stays in no storage then */ }
}

function ask(words) {
  at("room").hidden = true;
  at("enter").hidden = false;
  at("why").textContent = words || "";
  at("token").focus();
}

function enter(given) {
  // One link may follow another in the same tab.
  run += 1;
  clearTimeout(timer);
  token = given;
  cursor = 0;
  pause = SOON;
  at("messages").replaceChildren();
  try { sessionStorage.setItem(STORED, token); } catch { /* then a reload asks again */ }
  say("Reading the room.");
  look();
}

function arrive() {
  let given = "";
  try { given = decodeURIComponent(location.hash.slice(1)).trim(); } catch { /* no token */ }
  if (given) {
    // Out of the address, and so out of the history and of pictures of the screen.
    history.replaceState(null, "", location.pathname);
  } else {
    try { given = sessionStorage.getItem(STORED) || ""; } catch { /* not kept here */ }
  }
  if (/^[\x21-\x7e]{1,512}$/.test(given)) enter(given);
  else ask(given ? "That is no watch token." : "");
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = at("token").value.trim();
  const given = typed.slice(typed.lastIndexOf("#") + 1);
  at("token").value = "";
  if (/^[\x21-\x7e]{1,512}$/.test(given)) enter(given);
  else ask("That is no watch token.");
});
addEventListener("hashchange", () => location.hash.length > 1 && arrive());
document.addEventListener("visibilitychange", () => !document.hidden && token && look());
arrive();
