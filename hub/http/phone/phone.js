// The phone's page: what waits, who is here, rooms, questions. All of it is done by the
// person's own machine; the hub in between carries what it cannot read.

import { Hub, REMOTE, Refused, agentId, bytesOf, comparison, isSignedBy,
  open, seal, signParts } from "./wire.js";

const LOOK_MS = 20000; // how often what waits is asked for while the page is looked at
const SILENT_MS = 12000; // without an answer, the machine counts as off
const AGAIN_MS = 15000; // how often what was not answered is said again
const MAX_WAITING = 20;

const main = document.getElementById("main");
const state = document.getElementById("state");
let saved, hub, shown, room, answer, dialling, refused, silentSince = 0, busy = Promise.resolve();
const asked = new Map(); // commands of which nothing is lost when they go unanswered

// What is kept

const request = (made) => new Promise((done, failed) => {
  made.onsuccess = () => done(made.result);
  made.onerror = () => failed(made.error);
});
const database = await request(Object.assign(indexedDB.open("parler-phone", 1), {
  onupgradeneeded() { this.result.createObjectStore("phone"); } }));
const store = (mode) => database.transaction("phone", mode).objectStore("phone");
const save = () => new Promise((done, failed) => {
  const change = database.transaction("phone", "readwrite", { durability: "strict" });
  change.objectStore("phone").put(saved, "this");
  change.oncomplete = done;
  change.onabort = () => failed(change.error);
});

// What is said to the machine

// One after another: a counter is kept before it is used.
function inTurn(work) {
  const done = busy.then(work);
  busy = done.catch(() => {});
  return done;
}

const send = (command) => inTurn(async () => {
  saved.sent += 1;
  await save();
  const part = await seal(saved, saved.me.id, saved.person, saved.sent, command);
  const target = { kind: "room", room: saved.room };
  const parts = await signParts(saved.me, target, [part]);
  await hub.ask({ op: "send", target, parts, clientId: crypto.randomUUID() });
  silentSince ||= Date.now();
});

async function say(command) {
  try {
    if (hub) await send(command);
  } catch (error) {
    if (error instanceof Refused && error.code === "not_member") removed();
    else tell(error.message, true);
  }
}

// A decision or a question: kept until its answer is here, said again under the same id.
async function decide(command) {
  if (saved.waiting.length >= MAX_WAITING) {
    tell("Too much waits for your machine already.", true);
    return;
  }
  const kept = { id: crypto.randomUUID(), ...command };
  await inTurn(() => (saved.waiting.push(kept), save()));
  draw();
  await say(kept);
}

const look = () => say({ id: crypto.randomUUID(), do: "look" });
const read = () => room && say({ id: crypto.randomUUID(), do: "tail", at: room.at, name: room.name });

const hear = (message) => inTurn(async () => {
  if (message.room !== saved.room || message.from.id !== saved.person) return;
  const part = message.parts.find((one) => one.kind === REMOTE);
  if (!part || !(part.n > saved.heard)) return;
  if (!(await isSignedBy(saved.person, message))) return;
  let said;
  try {
    said = await open(saved, saved.person, saved.me.id, part);
  } catch {
    return; // of somebody who does not have the secret
  }
  saved.heard = part.n;
  saved.last = Date.now();
  silentSince = 0;
  if (said.paired !== undefined) saved.paired = said.paired ? "yes" : "no";
  if (said.re) {
    const kept = saved.waiting.find((one) => one.id === said.re);
    saved.waiting = saved.waiting.filter((one) => one.id !== said.re);
    if (kept && said.said) answer = { ok: said.ok, said: said.said, to: kept.about };
  }
  await save();
  if (said.gone) return removed();
  if (said.state) shown = said.state;
  if (said.tail && room && said.tail.name === room.name) room.lines = said.tail.lines;
  if (said.paired) look();
  draw();
});

// Connecting

async function connect() {
  if (hub || dialling) return;
  dialling = true;
  refused = undefined;
  try {
    const lost = () => { hub = undefined; draw(); setTimeout(connect, 2000); };
    hub = await Hub.dial(saved.hub, saved.me, saved.joinSecret, hear, noted, lost);
    if (!saved.room) await enter();
    await hub.ask({ op: "subscribe", events: ["room"] });
    const missed = await hub.ask({ op: "pull", room: saved.room, since: saved.seq ?? 0, limit: 500 });
    for (const one of missed.messages) await hear(one);
    saved.seq = missed.cursor;
    if (saved.paired === "yes") {
      for (const one of saved.waiting) await say(one);
      await look();
      await read();
    } else if (saved.paired === undefined) {
      await say({ id: crypto.randomUUID(), do: "pair", name: saved.me.name });
    }
  } catch (error) {
    if (error instanceof Refused) {
      if (saved.room && error.code === "not_member") return removed();
      refused = saved.room ? error.message
        : `This code lets no phone in any more: ${error.message}. Make a new one with ` +
          "parler ui --phone. If another phone was first, answer no there.";
      return;
    }
    setTimeout(connect, 3000);
  } finally {
    dialling = false;
    draw();
  }
}

async function enter() {
  const joined = await hub.ask({ op: "redeem", code: saved.code });
  if (joined.type !== "joined") throw new Error("the hub does not let this phone in");
  saved.room = joined.room;
  await save();
}

function noted(event) {
  if (event.event === "room" && event.room === saved.room && event.change === "deleted" &&
    saved.paired === "yes") removed();
}

function removed() {
  saved.paired = "gone";
  inTurn(save);
  draw();
}

// What is shown; all of it is text

function make(tag, given = {}, ...inside) {
  const one = Object.assign(document.createElement(tag), given);
  one.append(...inside.filter((part) => part !== null && part !== ""));
  return one;
}

const isOff = () => !hub || (silentSince && Date.now() - silentSince > SILENT_MS);
const ago = (ts) => new Date(ts).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
const soft = (text) => make("p", { className: "soft" }, text);

function tell(text, bad = false) {
  state.textContent = text;
  state.className = bad ? "bad" : "";
}

function draw() {
  if (!saved) return;
  if (saved.paired === "gone") {
    tell("Removed", true);
    return fill(make("p", {}, "This phone was removed. To pair it again: parler ui --phone"), fresh());
  }
  if (saved.paired === "no") {
    tell("Not paired", true);
    return fill(make("p", {}, "Your machine said no. To try again: parler ui --phone"), fresh());
  }
  if (refused) {
    tell("The hub refused", true);
    return fill(make("p", {}, refused), saved.paired === "yes" ? null : fresh());
  }
  if (saved.paired !== "yes") return drawPairing();
  if (!hub) tell("No connection to the hub; trying again", true);
  else if (isOff())
    tell(`Your machine does not answer${saved.last ? `; heard last ${ago(saved.last)}` : ""}`, true);
  else tell(shown ? `Connected${shown.machine ? ` to ${shown.machine}` : ""}` : "Asking your machine …");
  const typed = document.activeElement?.tagName === "TEXTAREA" && document.activeElement.value;
  if (typed) return; // nothing moves under who writes
  room ? drawRoom() : drawHome();
}

const fill = (...parts) => main.replaceChildren(...parts.filter(Boolean));
const fresh = () => make("button", { onclick: forget }, "Forget this pairing");

async function forget() {
  await request(store("readwrite").delete("this"));
  location.reload();
}

async function drawPairing() {
  tell(hub ? "Pairing" : "No connection to the hub; trying again", !hub);
  if (!saved.room) return;
  const code = await comparison(saved, saved.me.id, saved.person);
  fill(
    make("p", {}, "Compare this with what your terminal shows, and answer there:"),
    make("p", { className: "code", id: "code" }, code),
    soft("Another number there, or a code you did not make yourself: answer no."),
  );
}

function drawHome() {
  const left = saved.waiting.map((one) => make("div", { className: "card" },
    make("p", {}, `${one.about ?? "Asked"}: not answered yet`),
    soft("Kept here, and done once, when your machine answers.")));
  const said = answer && make("div", { className: "card", id: "answer" },
    answer.to ? soft(answer.to) : null,
    make("p", { className: answer.ok ? "text" : "text bad" }, answer.said));
  if (!shown) return fill(...left, said);
  const items = shown.items.filter((one) => !saved.waiting.some((kept) => kept.key === one.key));
  fill(
    ...left, said,
    make("h2", {}, `Inbox${items.length ? ` (${items.length})` : ""}`),
    ...(items.length ? items.map(card) : [soft(isOff()
      ? "Nothing waited when your machine was heard last." : "Nothing waits for you.")]),
    make("h2", {}, "Agents"),
    ...(shown.agents.length ? shown.agents.map((one) => make("div", { className: "card" },
      make("p", {}, make("strong", {}, one.name), ` ${one.app}`), soft(one.doing)))
      : [soft("No agent runs on your machine now.")]),
    make("h2", {}, "Rooms"),
    ...(shown.rooms.length ? shown.rooms.map((one) => make("button", { className: "row", onclick: () => enterRoom(one) },
      make("span", {}, one.title), one.unread ? `${one.unread} new` : "")) : [soft("You are in no room.")]),
    make("h2", {}, "Ask a project"), ...askForm(),
    ...shown.away.map((one) => make("p", { className: "bad" }, one)),
  );
}

function card(one) {
  const words = one.answers ? make("textarea", { rows: 2, maxLength: 4000, ariaLabel: "Your answer" }) : null;
  return make("div", { className: `card ${one.kind}` },
    make("p", {}, make("strong", {}, one.who), ` ${one.what}`),
    one.proof && soft(one.proof), soft(ago(one.since)),
    one.text && make("blockquote", {}, one.mark ? make("strong", { className: "bad" }, `${one.mark} `) : "", one.text),
    one.choices && make("p", { className: "text" }, one.choices), one.then && soft(one.then), words,
    make("div", { className: "acts" }, ...one.acts.map((act) => make("button", {
      className: act.yes ? "yes" : "no",
      onclick(event) {
        const text = words?.value.trim() ?? "";
        if (act.words && !text) return words.focus();
        if (words) words.value = "";
        event.currentTarget.disabled = true;
        decide({ do: "decide", key: one.key, act: act.act, text: act.words ? text : "", about: `${act.label} ${one.who}` });
      },
    }, act.label))));
}

function askForm() {
  if (!shown.projects.length) return [soft("Add one on your machine: parler project add")];
  const which = make("select", { ariaLabel: "Project" }, ...shown.projects.map((one) => make("option", {}, one)));
  const words = make("textarea", { rows: 3, maxLength: 4000, ariaLabel: "Question" });
  return [which, words, make("div", { className: "acts" }, make("button", { className: "yes", onclick() {
    const question = words.value.trim();
    if (!question) return words.focus();
    words.value = "";
    decide({ do: "ask", project: which.value, question, about: `Asked ${which.value}: ${question.slice(0, 80)}` });
  } }, "Ask"))];
}

function enterRoom(one) {
  room = { ...one };
  draw();
  read();
}

function drawRoom() {
  fill(
    make("div", { className: "acts" }, make("button", { onclick() { room = undefined; draw(); } }, "Back"),
      make("button", { onclick: read }, "Look again")),
    make("h2", {}, room.title),
    ...(room.lines ?? []).map((one) => make("div", { className: "card" },
      make("p", {}, make("strong", {}, one.who), ` ${one.mark} `, make("span", { className: "soft" }, ago(one.ts))),
      make("p", { className: "text" }, one.text))),
    room.lines ? room.lines.length ? null : soft("Nothing was said here.") : soft("Asking your machine …"),
  );
}

// The beginning

function called() {
  const found = /iPhone|iPad|Android/.exec(navigator.userAgent);
  return found ? `${found[0]}${found[0] === "Android" ? " phone" : ""}` : "browser";
}

async function begin(fragment) {
  const [secret, code, person, joinSecret, elsewhere] = fragment.split(".");
  const raw = bytesOf(secret);
  if (raw.length !== 32 || !person) throw new Error("this is no code of parler ui --phone");
  const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  const id = agentId(new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)));
  const here = new URL("ws", location);
  here.protocol = "wss:";
  here.hash = here.search = "";
  return {
    me: { id, key: pair.privateKey, name: called() },
    secret: await crypto.subtle.importKey("raw", raw, "HKDF", false, ["deriveBits"]),
    code, person, hub: elsewhere ? new TextDecoder().decode(bytesOf(elsewhere)) : here.href,
    joinSecret: joinSecret ? new TextDecoder().decode(bytesOf(joinSecret)) : "",
    sent: 0, heard: 0, seq: 0, last: 0, waiting: [],
  };
}

async function start() {
  const fragment = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search); // it is in no history
  saved = await request(store("readonly").get("this"));
  if (fragment && saved?.paired === "yes") {
    tell("This phone is paired already", true);
  } else if (fragment) {
    saved = await begin(fragment);
    await save();
    navigator.storage?.persist?.();
  }
  if (!saved) {
    tell("Not paired", true);
    return fill(make("p", {}, "On your machine run parler ui --phone, and photograph the code."));
  }
  draw();
  if (saved.paired === "gone" || saved.paired === "no") return;
  connect();
  setInterval(() => { if (hub && saved.paired === "yes" && !document.hidden) look().then(read); draw(); }, LOOK_MS);
  setInterval(() => { if (saved.paired === "yes") for (const one of saved.waiting) say(one); draw(); }, AGAIN_MS);
  setInterval(draw, SILENT_MS / 4);
  addEventListener("online", connect);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) hub ? look() : connect(); });
}

// A code that is opened in this very tab loads nothing by itself.
addEventListener("hashchange", () => { if (location.hash) location.reload(); });

// Two pages would count with one counter.
navigator.locks.request("parler-phone", { ifAvailable: true }, async (held) => {
  if (!held) return tell("Parler is open in another tab of this phone", true);
  await start().catch((error) => tell(error.message, true));
  await new Promise(() => {});
});
