// Pieces of the page as the server made them, and times as people say them.

// What arrives was escaped by the server's templates; nothing else becomes elements.
const policy = window.trustedTypes?.createPolicy("parler", { createHTML: (html) => html });

/** The elements of a piece of the page, not yet in it. */
export function parsed(html) {
  const made = policy ? policy.createHTML(html) : html;
  const piece = new DOMParser().parseFromString(made, "text/html");
  return [...piece.body.children].map((one) => document.adoptNode(one));
}

const made = new WeakMap(); // each element as the server made it

/** Put a piece in place of another; what has an id and is as it was stays untouched. */
export function replaced(place, html) {
  const pieces = parsed(html);
  const lists = place.querySelector(":scope > ol, :scope > ul");
  const list = pieces.length === 1 && pieces[0].matches("ol, ul") ? pieces[0] : null;
  if (lists && list && lists.tagName === list.tagName) merge(lists, [...list.children]);
  else {
    place.replaceChildren(...pieces);
    for (const one of place.querySelectorAll("li[id]")) made.set(one, one.outerHTML);
  }
  told(place);
}

function merge(list, wanted) {
  const before = new Map([...list.children].map((one) => [one.id, one]));
  const after = wanted.map((one) => {
    const html = one.outerHTML;
    const old = before.get(one.id);
    if (old && (made.get(old) === html || old.matches(".done"))) return old;
    const focused = old?.contains(document.activeElement);
    made.set(one, html);
    if (focused) queueMicrotask(() => one.focus({ preventScroll: true }));
    return one;
  });
  for (const old of [...list.children]) if (!after.includes(old)) old.remove();
  after.forEach((one, at) => {
    if (list.children[at] !== one) list.insertBefore(one, list.children[at] ?? null);
  });
}

/** Remember a piece that came with the page. */
export function remember(place) {
  for (const one of place.querySelectorAll("li[id]")) made.set(one, one.outerHTML);
}

const units = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

/** Say of each moment how long ago it was. */
export function told(place = document) {
  const now = Date.now();
  for (const one of place.querySelectorAll("time.ago")) {
    const secs = (Date.parse(one.dateTime) - now) / 1000;
    const [unit, size] = units.find(([, each]) => Math.abs(secs) >= each) ?? [];
    one.textContent = unit ? ago.format(Math.round(secs / size), unit) : "just now";
  }
}
