// What is new, as the server says it.

const pill = document.getElementById("live");
const ENDED = "ended: run parler ui";
const OUT = "another page began: run parler ui";

/** Listen; `on` has a function for each event, given its data. */
export function listen(query, on) {
  let failed = 0;
  const open = () => {
    const source = new EventSource(`/events?${new URLSearchParams(query())}`);
    source.onopen = () => {
      failed = 0;
      pill.className = "on";
      pill.textContent = "live";
    };
    source.onerror = () => {
      source.close();
      failed += 1;
      pill.className = failed > 2 ? "off" : "";
      if (failed < 3) pill.textContent = "connecting";
      else fetch("/", { method: "GET" }).then(
        (answer) => (pill.textContent = answer.status === 401 ? OUT : "connecting"),
        () => (pill.textContent = ENDED),
      );
      setTimeout(open, Math.min(500 * 2 ** failed, 15000));
    };
    source.addEventListener("session", (heard) => renewed(JSON.parse(heard.data)));
    for (const [event, hear] of Object.entries(on))
      source.addEventListener(event, (heard) => hear(JSON.parse(heard.data)));
  };
  open();
}

const meta = (name) => document.querySelector(`meta[name=parler-${name}]`).content;
let token = meta("token");

// Another process may answer by now. One of another version may lack what these scripts
// ask for: the page is loaded again, but nothing that is being typed is thrown away.
function renewed(session) {
  token = session.token;
  if (session.version === meta("version")) return;
  const typed = [...document.querySelectorAll("textarea, input:not([type=checkbox])")];
  if (typed.every((one) => one.value === one.defaultValue)) return location.reload();
  pill.className = "off";
  pill.textContent = `Parler ${session.version}: load this page again`;
}

/** Do something; returns what the server says of it, or throws its words. */
export async function act(name, given) {
  const answer = await fetch(`/do/${name}`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-parler-token": token },
    body: JSON.stringify(given),
  });
  if (!answer.ok) throw new Error((await answer.text()).trim() || "that did not work");
  return answer.json();
}

const place = document.getElementById("said");
let last = null; // what takes the last decision back
let timer = 0;

/** Say what became of something, and offer to take it back. */
export function say(words, undo = null, bad = false) {
  place.className = bad ? "bad" : "";
  place.replaceChildren();
  last = undo;
  if (!words) return;
  place.append(words);
  if (undo) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Undo";
    button.addEventListener("click", takeBack);
    place.append(button);
  }
  clearTimeout(timer);
  timer = setTimeout(() => {
    place.replaceChildren();
    last = null; // what nobody sees is not taken back by a key
  }, undo || bad ? 12000 : 4000);
}

/** Take the last decision back, if the wire has a way. */
export async function takeBack() {
  const undo = last;
  last = null;
  if (!undo) return;
  try {
    say((await act(undo.act, undo.given)).said);
  } catch (error) {
    say(error.message, null, true);
  }
}
