// The page of a start: puts in what the hub's stream sends, counts the seconds, notifies, and leads to the server. Without it, the page
// loads itself again and its forms work. Nothing here leads anywhere but to the server, or to the page itself.
"use strict";

(() => {
  const root = document.getElementById("flatirons-start");
  const { stream, sooner, xsrf, page, hub, server } = root.dataset;
  const part = (id) => document.getElementById(id);
  const next = new URLSearchParams(location.search).get("next");
  const withNext = (url) => (next ? `${url}${url.includes("?") ? "&" : "?"}next=${encodeURIComponent(next)}` : url);
  const streamUrl = withNext(stream.includes("_xsrf=") ? stream : `${stream}?_xsrf=${encodeURIComponent(xsrf)}`);

  // -- times: the hub's clock counts, because the browser's may be wrong

  let ahead = root.dataset.now ? Number(root.dataset.now) - Date.now() / 1000 : 0;
  let heard = Date.now() / 1000 + ahead;

  function inWords(seconds) {
    const whole = Math.max(Math.round(seconds), 0);
    if (whole < 60) return whole === 1 ? "1 second" : `${whole} seconds`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
    return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
  }

  function count() {
    const now = Date.now() / 1000 + ahead;
    for (const each of root.querySelectorAll("[data-since]")) each.textContent = inWords(now - Number(each.dataset.since));
    for (const each of root.querySelectorAll("[data-until]")) {
      const left = Number(each.dataset.until) - now;
      each.textContent = left > 0 ? `in ${inWords(left)},` : "any moment now,";
    }
    part("start-heard").textContent = inWords(now - heard);
  }

  function showTimes(within) {
    const today = new Date().toDateString();
    for (const each of within.querySelectorAll("time[data-show]")) {
      const at = new Date(each.dateTime);
      const day = at.toDateString() === today ? {} : { day: "numeric", month: "short" };
      const second = each.dataset.show === "seconds" ? { second: "2-digit" } : {};
      each.textContent = at.toLocaleString([], { ...day, hour: "2-digit", minute: "2-digit", ...second });
    }
  }

  // -- what the hub sends

  const shown = new Map();

  // Puts in only parts that differ, so that the focus, what is selected and what a screen reader reads stay where they are.
  function show(html) {
    const parts = new DOMParser().parseFromString(html, "text/html").querySelectorAll("body > [id]");
    for (const fresh of parts) {
      const old = part(fresh.id);
      if (!old || shown.get(fresh.id) === fresh.outerHTML) continue;
      shown.set(fresh.id, fresh.outerHTML);
      showTimes(fresh);
      old.hidden = fresh.hidden;
      Object.assign(old.dataset, fresh.dataset);
      old.replaceChildren(...fresh.childNodes);
    }
    count();
    showPhase(part("start-state").dataset);
  }

  function showPhase({ phase, title }) {
    const isNew = root.dataset.phase !== phase;
    root.dataset.phase = phase;
    document.title = title;
    if (isNew) loadSooner();
  }

  // For spawners of other kinds: JupyterHub's own events.
  function showEvent(event) {
    const bar = part("progress-bar");
    if (event.progress !== undefined) {
      bar.style.width = `${event.progress}%`;
      bar.setAttribute("aria-valuenow", event.progress);
    }
    if (!event.message) return;
    part("progress-message").textContent = event.message;
    const line = document.createElement("li");
    line.textContent = event.message;
    part("progress-log").append(line);
  }

  function setIcon(colour) {
    const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${colour}"/></svg>`;
    const icon = document.querySelector("link[rel~=icon]") || document.head.appendChild(document.createElement("link"));
    icon.rel = "icon";
    icon.type = "image/svg+xml";
    icon.href = `data:image/svg+xml,${encodeURIComponent(picture)}`;
  }

  function becomeReady(event) {
    const name = server.split("/")[1] || "your server";
    document.title = `Ready: ${name}`;
    setIcon("#198754");
    notify("Your server is ready", name);
    location.replace(event.url && !event.message ? event.url : withNext(page));
  }

  function becomeEnded(event) {
    const why = root.querySelector(".flatirons-sentence");
    root.dataset.phase = "ended";
    setIcon("#dc3545");
    if (!event.html || !why) { // the hub's page of the server says how it ended
      location.replace(page);
      return;
    }
    notify(part("start-title").textContent.trim(), why.textContent);
    part("start-title").tabIndex = -1;
    part("start-title").focus();
  }

  // -- the stream, also when the hub is away, was restarted, or has forgotten who we are

  let events;
  let isAway = false;
  let lastHeard = Date.now();

  function follow() {
    events = new EventSource(streamUrl);
    if (!root.dataset.now) events.onopen = () => part("progress-log").replaceChildren(); // JupyterHub sends all events again
    events.onmessage = (message) => {
      const event = JSON.parse(message.data);
      part("start-away").hidden = true;
      lastHeard = Date.now();
      if (event.now) ahead = event.now - Date.now() / 1000;
      heard = Date.now() / 1000 + ahead;
      if (event.html) show(event.html);
      else if (!sooner) showEvent(event);
      if (event.ready || event.ended || event.failed) {
        events.close();
        clearInterval(watching);
        (event.ready ? becomeReady : becomeEnded)(event);
      }
    };
    events.onerror = () => {
      if (events.readyState === EventSource.CLOSED) waitForHub();
    };
  }

  const isThere = () => fetch(`${hub}health`).then((answer) => answer.ok, () => false);

  // While the hub is down, the proxy answers 503, which ends an EventSource for good. When the hub was killed, the proxy keeps the
  // connection open, but nothing comes any more. So the page asks for the hub's health now and then.
  async function waitForHub() {
    if (isAway) return;
    isAway = true;
    events.close();
    while (!(await isThere())) {
      part("start-away").hidden = false;
      await new Promise((then) => setTimeout(then, 1000 + 2000 * Math.random())); // not all pages at once
    }
    isAway = false;
    comeBack();
  }

  // The hub is there. It may have restarted, our session may have ended, the server may be gone or up: the page itself says so.
  async function comeBack() {
    const answer = await fetch(withNext(page)).catch(() => null); // null: the log-in is on another host
    const path = answer ? new URL(answer.url).pathname : "";
    if (answer && answer.status >= 500) {
      setTimeout(waitForHub, 3000);
    } else if (!answer || path.startsWith(`${hub}login`) || path.startsWith(`${hub}oauth_login`)) {
      part("start-away").hidden = true;
      part("start-logged-out").hidden = false;
      clearInterval(watching);
    } else {
      location.replace(withNext(page));
    }
  }

  // Our stream sends the time every 5 seconds. JupyterHub's is silent; a hub that was back soon doesn't know our connection to it.
  let lastOpened = Date.now();
  const watching = setInterval(async () => {
    if (isAway || document.hidden || events.readyState !== EventSource.OPEN) return;
    if (sooner) {
      if (Date.now() - lastHeard > 13000) waitForHub();
    } else if (!(await isThere())) {
      waitForHub();
    } else if (Date.now() - lastOpened > 60000) {
      lastOpened = Date.now();
      events.close();
      follow();
    }
  }, sooner ? 2000 : 10000);
  document.addEventListener("visibilitychange", () => { lastHeard = Math.max(lastHeard, Date.now() - 5000); });

  // -- what would start sooner

  async function loadSooner() {
    if (!sooner) return;
    if (root.dataset.phase !== "waiting") {
      part("start-sooner").replaceChildren();
      return;
    }
    const answer = await fetch(withNext(sooner)).catch(() => null);
    if (answer && answer.status === 204) setTimeout(loadSooner, 5000);
    else if (answer && answer.ok && !part("start-sooner").contains(document.activeElement)) part("start-sooner").innerHTML = await answer.text();
  }
  setInterval(() => { if (!document.hidden) loadSooner(); }, 120000);

  // -- the forms: they take a moment, because Slurm has to end the job first

  document.addEventListener("submit", (event) => {
    if (!root.contains(event.target) || !event.submitter) return;
    if (next && !event.target.elements.next) {
      const field = document.createElement("input");
      Object.assign(field, { type: "hidden", name: "next", value: next });
      event.target.append(field);
    }
    const words = { cancel: "Cancelling…", options: "Cancelling…", anew: "Submitting a new job…", change: "Changing…" }[event.submitter.value];
    setTimeout(() => { // after the browser has read the form
      for (const button of root.querySelectorAll("form button")) button.disabled = true;
      if (words) event.submitter.textContent = words;
      clearInterval(watching);
      events.close();
    });
  });
  addEventListener("pageshow", (event) => { if (event.persisted) location.replace(withNext(page)); });

  // -- notifications

  const button = part("notify-me");
  const words = part("notify-words");
  const key = `flatirons-notify ${server}`;
  let wants = sessionStorage.getItem(key) === "1";

  function notify(title, body) {
    if (wants && window.Notification && Notification.permission === "granted") new Notification(title, { body, tag: key });
  }

  function showNotifying() {
    const isPossible = window.isSecureContext && "Notification" in window && Notification.permission !== "denied";
    const isOn = isPossible && wants && Notification.permission === "granted";
    button.hidden = !isPossible;
    button.setAttribute("aria-pressed", String(isOn));
    button.textContent = isOn ? "You will be notified when it is ready" : "Notify me when it is ready";
    words.textContent = !window.isSecureContext ? "Browsers show notifications only for pages with https. The title and the icon of this tab change when it is ready."
      : !("Notification" in window) ? "This browser can't show notifications. The title and the icon of this tab change when it is ready."
      : Notification.permission === "denied" ? "Notifications of this site are blocked. You can allow them in the browser's settings for this site, next to its address."
      : isOn ? "Keep this tab open for it. Press the button again to switch it off." : "";
    words.hidden = !words.textContent;
  }

  button.addEventListener("click", async () => {
    const answer = await Notification.requestPermission();
    wants = answer === "granted" && !wants;
    sessionStorage.setItem(key, wants ? "1" : "0");
    showNotifying();
    if (answer === "default") {
      words.textContent = "The browser asked, and got no answer: there will be no notification. Press the button to be asked again.";
      words.hidden = false;
    }
  });

  showNotifying();
  showTimes(root);
  count();
  setInterval(count, 1000);
  follow();
  loadSooner();
  window._jupyterhub_page_loaded = true;
})();
