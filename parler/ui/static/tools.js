// What is done with a room: forms in a dialog, and links that peers wrote.
import { act, say } from "./live.js";
import { keys } from "./page.js";
import { parsed, told } from "./words.js";

const room = document.querySelector(".room");
const spot = { at: room.dataset.at, name: room.dataset.name };
const tool = document.getElementById("tool");
const place = document.getElementById("form");
const sure = document.getElementById("sure");
const leave = document.getElementById("leave");

// Behind an open dialog nobody reads what is said beside it.
function failed(error) {
  const wrong = place.querySelector(".wrong") ?? document.createElement("p");
  wrong.className = "wrong bad";
  wrong.role = "alert";
  wrong.textContent = error.message;
  if (tool.open) place.append(wrong);
  else say(error.message, null, true);
}

function show(html) {
  place.replaceChildren(...parsed(html));
  told(place);
  if (!tool.open) tool.showModal();
  place.querySelector("[autofocus]")?.focus();
}

async function got(path, given) {
  const answer = await fetch(`${path}?${new URLSearchParams({ ...spot, ...given })}`);
  const text = await answer.text();
  if (!answer.ok) throw new Error(text.trim() || "that did not work");
  return text;
}

async function open(name) {
  try {
    show(await got(`/room/form/${name}`));
  } catch (error) {
    failed(error);
  }
}

const values = (form) => {
  const given = Object.fromEntries(new FormData(form));
  for (const box of form.querySelectorAll("[type=checkbox]")) given[box.name] = box.checked;
  return given;
};

// Deciding

async function does(name, given, from) {
  from.disabled = true;
  try {
    const done = await act(name, { ...spot, ...given });
    if (done.piece) show(done.piece);
    else if (name === "revoke" && tool.open) await open("keys");
    else tool.close();
    say(done.said, done.undo);
  } catch (error) {
    failed(error);
  }
  from.disabled = false;
}

function ask(words, yes) {
  document.getElementById("sure-words").textContent = words;
  sure.querySelector(".yes").onclick = () => {
    sure.close();
    yes();
  };
  sure.showModal();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button, a");
  if (!button) return;
  const { form, do: name, confirm } = button.dataset;
  if (form) open(form);
  if ("close" in button.dataset) button.closest("dialog").close();
  if ("copy" in button.dataset) copied(button, button.previousElementSibling.textContent);
  if ("first" in button.dataset) go(values(button.form).day);
  if (button.matches(".link")) follow(button.dataset);
  if (button.matches("#leave-go, #tool .menu a[href]")) button.closest("dialog").close();
  if (name) {
    const given = { ...button.closest("li").dataset, ...button.dataset };
    ask(confirm, () => does(name, given, button));
  }
});
for (const dialog of [tool, sure, leave])
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

tool.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const given = values(form);
  if (form.dataset.act) return does(form.dataset.act, given, form.querySelector(".yes"));
  const found = document.getElementById("found");
  found.textContent = "Looking …";
  try {
    found.replaceChildren(...parsed(await got(form.dataset.find, given)));
    told(found);
  } catch (error) {
    found.textContent = error.message;
  }
});

async function go(day) {
  if (!day) return place.querySelector("[name=day]").focus();
  try {
    const { seq } = JSON.parse(await got("/room/first", { day }));
    location.assign(`/room?${new URLSearchParams({ ...spot, seq })}`);
  } catch (error) {
    failed(error);
  }
}

async function copied(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

// Links that peers wrote: whom they lead to is said before

function follow({ url, host }) {
  document.getElementById("leave-host").textContent = host;
  document.getElementById("leave-url").textContent = url;
  document.getElementById("leave-go").href = url;
  document.getElementById("leave-copy").onclick = (event) => copied(event.target, url);
  leave.showModal();
}

Object.assign(keys, {
  "/": () => open("find"),
  h: () => open("hand"),
  i: () => open("invite"),
  t: () => open("rename"),
  w: () => open("keys"),
  x: () => open("export"),
  ".": () => open("menu"),
  p: () => location.assign(`/picture?${new URLSearchParams(spot)}`),
});
