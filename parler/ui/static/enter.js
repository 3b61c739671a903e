// Exchanges the token in the address for a cookie; the address keeps nothing of it.
async function enter() {
  const token = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  if (!token) return;
  const why = document.getElementById("why");
  const answer = await fetch("/enter", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token }),
  });
  if (answer.ok) location.replace("/");
  else why.textContent = "This link was used before, or is too old. Each works once.";
}

// A link that is pasted where this page is open loads nothing.
addEventListener("hashchange", enter);
await enter();
