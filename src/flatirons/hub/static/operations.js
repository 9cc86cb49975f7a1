/* Keeps the page of operations up to date, and filters while somebody types. Elements stay what they are: focus, scroll, what is open
   and what is typed are left alone. */
(function () {
  "use strict";
  const SECONDS = 5, PAUSE_MS = 120, ID = "flatirons-operations";
  const live = () => document.getElementById(ID);
  const note = document.getElementById("flatirons-updated");
  let asking = null;

  const keyOf = (node) => (node.nodeType === 1 ? node.dataset.key || node.id : "") || "";
  const isAlike = (one, other) =>
    one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

  function morph(old, fresh) {
    if (old.nodeType !== 1) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.matches("details[open], textarea, select, input:not([type=hidden])") || old.isEqualNode(fresh)) return;
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    morphChildren(old, [...fresh.childNodes]);
  }

  /* What is gone is removed first, so that nothing that stays in its order has to move: a moved element loses the focus. */
  function morphChildren(parent, wanted) {
    const keys = new Set(wanted.map(keyOf));
    for (const node of [...parent.childNodes]) if (keyOf(node) && !keys.has(keyOf(node))) node.remove();
    let place = parent.firstChild;
    for (const fresh of wanted) {
      const key = keyOf(fresh);
      let old = place;
      if (key) old = [...parent.children].find((node) => isAlike(node, fresh));
      else if (place && !isAlike(place, fresh)) old = null;
      if (!old) {
        parent.insertBefore(document.importNode(fresh, true), place);
        continue;
      }
      if (old === place) place = place.nextSibling;
      else parent.insertBefore(old, place);
      morph(old, fresh);
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  function say(text, url, label) {
    note.replaceChildren(text);
    note.classList.toggle("text-danger", Boolean(text));
    if (!url) return;
    const link = Object.assign(document.createElement("a"), { href: url, textContent: label });
    note.append(" ", link);
  }

  async function refresh(url) {
    if (asking) asking.abort();
    const mine = (asking = new AbortController());
    const began = new Date();
    try {
      const answer = await fetch(url || live().dataset.url, { signal: mine.signal, headers: { Accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(ID);
      if (mine !== asking) return;
      if (fresh) {
        morph(live(), fresh);
        note.dataset.at = began.toLocaleTimeString();
        say("");
      } else if (answer.redirected || answer.status === 403) {
        say("You aren't logged in any more.", window.location.href, "Log in again");
      } else {
        throw new Error("status " + answer.status);
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      say("The hub doesn't answer. This is what it said at " + (note.dataset.at || opened.toLocaleTimeString()) + ".");
    } finally {
      if (mine === asking) asking = null;
    }
  }

  function filter(form) {
    const values = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value) values.append(name, value);
    const url = form.getAttribute("action") + (String(values) ? "?" + values : "");
    window.history.replaceState(null, "", url);
    refresh(url);
  }

  function message(user) {
    const form = document.getElementById("flatirons-announce");
    form.open = true;
    document.getElementById("announce-user").value = user;
    document.getElementById("announce-text").focus();
  }

  const opened = new Date();
  let typing = 0;
  const isFilter = (event) => event.target.closest("#flatirons-filter");
  document.addEventListener("input", (event) => {
    const form = isFilter(event);
    if (!form) return;
    window.clearTimeout(typing);
    typing = window.setTimeout(filter, PAUSE_MS, form);
  });
  document.addEventListener("submit", (event) => {
    if (!isFilter(event)) return;
    event.preventDefault();
    window.clearTimeout(typing);
    filter(event.target);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-message-to]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    message(link.dataset.messageTo);
  });
  window.setInterval(() => { if (!document.hidden && !asking) refresh(); }, SECONDS * 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
})();
