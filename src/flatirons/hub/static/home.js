/* Home: keeps the cards up to date by one stream, moves their times on, and sends their buttons without leaving the page. */
(() => {
  "use strict";
  const home = document.getElementById("flatirons-home");
  if (!home) return;
  const hub = window.jhdata.base_url;
  const cards = document.getElementById("servers");
  const SILENCE_MS = 35000; // the hub says something every 15 s
  let skew = Number(home.dataset.now) * 1000 - Date.now(); // the hub's clock may differ from ours

  // -- times

  const now = () => (Date.now() + skew) / 1000;

  // The words of short_time in server_card.py.
  function shortTime(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    const m = Math.floor(s / 60), h = Math.floor(s / 3600), d = Math.floor(s / 86400);
    if (s < 60) return `${s} s`;
    if (s < 600) return `${m} min ${s % 60} s`;
    if (s < 3600) return `${m} min`;
    if (d) return h % 24 ? `${d} d ${h % 24} h` : `${d} d`;
    return m % 60 ? `${h} h ${m % 60} min` : `${h} h`;
  }

  function clockTime(seconds) {
    const at = new Date(seconds * 1000);
    const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const isToday = at.toDateString() === new Date(now() * 1000).toDateString();
    return isToday ? time : `${at.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
  }

  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function tick() {
    if (document.hidden) return;
    for (const each of home.querySelectorAll("time[data-since]")) setText(each, shortTime(now() - each.dataset.since));
    for (const each of home.querySelectorAll("time[data-until]")) setText(each, shortTime(each.dataset.until - now()));
    for (const bar of home.querySelectorAll(".progress-bar[data-to]")) {
      const part = (bar.dataset.to - now()) / (bar.dataset.to - bar.dataset.from);
      bar.style.width = `${Math.min(Math.max(100 * part, 0), 100).toFixed(1)}%`;
      bar.classList.toggle("bg-danger", bar.dataset.to - now() < Number(bar.dataset.soon));
    }
  }

  function showClocks(place) {
    for (const each of place.querySelectorAll("time[data-clock]")) {
      each.title = each.textContent;
      each.textContent = clockTime(each.dataset.clock);
    }
  }

  // -- what the stream sends

  function made(html) {
    const template = document.createElement("template");
    template.innerHTML = html; // the hub escapes it
    return template.content.firstElementChild;
  }

  // Puts a new element in the place of an old one; what is open, focused or typed stays so.
  function swap(old, fresh) {
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    for (const menu of old.querySelectorAll("details[open]")) {
      fresh.querySelector(`details[data-key="${menu.dataset.key}"]`)?.setAttribute("open", "");
    }
    for (const input of old.querySelectorAll("input[type=text]")) {
      const same = fresh.querySelector(`#${CSS.escape(input.id)}`);
      if (same) same.value = input.value;
    }
    const shared = old.querySelector("details[data-share][open]");
    if (shared) fresh.querySelector("details[data-share]")?.replaceWith(shared); // with the link, which is shown once
    old.replaceWith(fresh);
    if (!focused) return;
    const key = focused.dataset.key ? `[data-key="${CSS.escape(focused.dataset.key)}"]` : `#${CSS.escape(focused.id)}`;
    const same = fresh.querySelector(key === "#" ? "[data-key]" : key) || fresh;
    same.focus({ preventScroll: true });
    if (same.setSelectionRange && focused.selectionStart !== null) same.setSelectionRange(focused.selectionStart, focused.selectionEnd);
  }

  function announce(old, fresh) {
    const [before, after] = [old, fresh].map((card) => card?.querySelector("[data-badge]")?.textContent.trim());
    if (before === after) return;
    const title = fresh.querySelector("h2").textContent;
    setText(document.getElementById("flatirons-news"), `${title}: ${after}`);
  }

  function show({ changed, order, start }) {
    for (const each of changed) {
      const old = document.getElementById(each.id);
      if (old?.dataset.version === each.version) continue;
      const fresh = made(each.html);
      showClocks(fresh);
      announce(old, fresh);
      if (old) swap(old, fresh);
      else {
        const next = order.slice(order.indexOf(each.id) + 1).map((id) => document.getElementById(id)).find(Boolean);
        cards.insertBefore(fresh, next || null);
      }
    }
    for (const card of [...cards.children]) if (!order.includes(card.id)) card.remove();
    const panel = document.getElementById("new-server");
    if (start && panel) {
      const fresh = made(start);
      if (fresh.dataset.version !== panel.dataset.version) swap(panel, fresh);
    } else if (start) cards.after(made(start));
    else if (start === "") panel?.remove();
    tick();
  }

  // -- the stream

  let stream, heardAt, lostAt = 0, timer;

  function setNotice(name) {
    for (const each of home.querySelectorAll("[data-notice]")) each.hidden = each.dataset.notice !== name;
  }

  function hear(message) {
    const event = JSON.parse(message.data);
    skew = event.now * 1000 - Date.now();
    heardAt = Date.now();
    lostAt = 0;
    setNotice("");
    return event;
  }

  function connect() {
    clearTimeout(timer);
    heardAt = Date.now();
    stream = new EventSource(`${hub}flatirons/servers/events`);
    stream.addEventListener("cards", (message) => show(hear(message)));
    stream.addEventListener("alive", hear);
    stream.onerror = lose;
  }

  // The end of a stream is nothing unusual: only a hub that doesn't answer for some seconds is worth a word.
  function lose() {
    stream.close();
    lostAt = lostAt || Date.now();
    if (Date.now() - lostAt > 3000) setNotice("away");
    clearTimeout(timer);
    timer = setTimeout(reconnect, 500 + 3000 * Math.random()); // not all pages at once
  }

  // A page of somebody who has logged out, or logged in as somebody else, must not show the cards of the next one.
  async function reconnect() {
    stream.close();
    try {
      const answer = await fetch(`${hub}api/flatirons/servers`, { headers: { "X-XSRFToken": window.jhdata.xsrf_token } });
      const isOut = answer.status === 403 || answer.status === 401;
      if (!answer.ok && !isOut) return lose();
      if (isOut || (await answer.json()).user !== window.jhdata.user) return setNotice("out");
    } catch {
      return lose();
    }
    connect();
  }

  setInterval(() => {
    if (stream.readyState === EventSource.OPEN && Date.now() - heardAt > SILENCE_MS) lose();
  }, 5000);
  window.addEventListener("storage", (event) => {
    if (event.key === "flatirons-logout") reconnect();
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) reconnect(); // the browser's Back: the page is as it was left
  });
  window.addEventListener("pagehide", () => stream.close());

  // -- buttons

  async function send(form, button) {
    button.disabled = true;
    form.querySelector(".text-danger")?.remove();
    let problem = "The hub doesn't answer. Try again.";
    try {
      const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual" });
      if (answer.type === "opaqueredirect" || answer.ok) return; // the stream shows the rest
      problem = answer.status === 403 ? "You may not do this, or you are logged out. Load the page again." : `That didn't work (${answer.status}). Load the page again.`;
    } catch {
      // the hub is away
    }
    button.disabled = false;
    form.append(Object.assign(document.createElement("span"), { className: "small text-danger", role: "alert", textContent: problem }));
  }

  home.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-stays]")) return;
    event.preventDefault();
    send(event.target, event.submitter);
  });

  // JupyterHub's own sharing: a code that others exchange for the permission.
  async function share(button) {
    const menu = button.closest("[data-share]");
    const [link, said] = ["link", "said"].map((name) => menu.querySelector(`[data-share-${name}]`));
    const call = (what) => fetch(`${hub}api/${what}/${menu.dataset.share}`, {
      method: button.dataset.shareDo,
      headers: { "X-XSRFToken": window.jhdata.xsrf_token, "Content-Type": "application/json" },
      body: "{}",
    });
    button.disabled = true;
    said.hidden = link.hidden = true;
    try {
      const answer = await call("share-codes");
      if (!answer.ok) throw new Error(String(answer.status));
      if (button.dataset.shareDo === "POST") {
        const code = await answer.json();
        const input = link.querySelector("input");
        input.value = code.full_accept_url || new URL(code.accept_url, window.location.href).href;
        link.querySelector("time").textContent = clockTime(Date.parse(code.expires_at) / 1000);
        link.hidden = false;
        input.select();
      } else {
        const taken = await call("shares");
        if (!taken.ok) throw new Error(String(taken.status));
        said.textContent = "The links are no longer valid, and nobody else can use this server.";
        said.hidden = false;
      }
    } catch {
      said.textContent = "That didn't work. Load the page again.";
      said.hidden = false;
    }
    button.disabled = false;
  }

  home.addEventListener("click", (event) => {
    const button = event.target.closest("[data-share-do]");
    if (button) share(button);
  });

  // An open menu closes when one clicks elsewhere, or with Escape.
  document.addEventListener("click", (event) => {
    for (const menu of home.querySelectorAll("details.flatirons-menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && event.target.closest?.("details.flatirons-menu[open]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });

  home.classList.add("flatirons-live");
  showClocks(home);
  setInterval(tick, 1000);
  connect();
  window._jupyterhub_page_loaded = true;
})();
