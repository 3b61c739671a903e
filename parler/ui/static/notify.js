// The desktop's notifications, once the person has switched them on here: only of what
// waits for a decision, and only while nobody looks at this page.
const bell = document.getElementById("bell");
const KEPT = "parler-notify";
const MANY = 3; // at once; more are told as a number
const known = new Set();
let first = true;

const may = () => "Notification" in window && Notification.permission === "granted";
const on = () => may() && localStorage.getItem(KEPT) === "on";

function show() {
  bell.hidden = !("Notification" in window);
  bell.setAttribute("aria-pressed", String(on()));
  bell.textContent = on() ? "Notifying" : "Notify me";
}

bell.addEventListener("click", async () => {
  if (on()) localStorage.removeItem(KEPT);
  else if (may() || (await Notification.requestPermission()) === "granted")
    localStorage.setItem(KEPT, "on");
  else bell.title = "Your browser does not allow it for this page";
  show();
});
addEventListener("storage", show);
show();

function ring(body, tag, path) {
  const told = new Notification("Parler", { body, tag, icon: "/static/icon.svg" });
  told.onclick = () => {
    window.focus();
    told.close();
    if (location.pathname !== "/") location.assign(path);
  };
}

/** Take what waits for a decision now, each with its words; the server made them safe. */
export function decisions(all) {
  const fresh = all.filter(([key]) => !known.has(key));
  known.clear();
  for (const [key] of all) known.add(key);
  const before = first;
  first = false;
  if (before || !on() || document.hasFocus() || !fresh.length) return;
  if (fresh.length > MANY) return ring(`${all.length} wait for you to decide`, "many", "/");
  // Several pages that are open show one notification of each: they have the same tag.
  for (const [key, words] of fresh) ring(words, key, "/");
}
