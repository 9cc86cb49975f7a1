// What the page does besides htmx: it keeps the user's edits while an answer of the hub comes in, searches long
// lists, copies the link and applies a suggestion. All rules of the form are evaluated by the hub.
(function () {
  "use strict";

  const ROOT = "flatirons-form";
  const root = () => document.getElementById(ROOT);
  const isOwn = (input) => input.closest("[hx-morph-skip]"); // a field with the operator's own HTML
  const inputs = (selector) => [...root().querySelectorAll(selector)].filter((input) => !isOwn(input));

  const starts = () => root().closest("form")?.querySelectorAll("button[type=submit]:not([formaction])") || [];

  document.documentElement.classList.add("flatirons-live");
  htmx.config.morphIgnore = [...(htmx.config.morphIgnore || []), "open"];
  htmx.config.noSwap = [...htmx.config.noSwap, "4xx", "5xx"]; // an error page must not replace the form

  // -- the hub's answer replaces all values except in the input that has the focus

  function settle() {
    for (const option of inputs("option")) {
      const select = option.closest("select");
      const isSet = option.hasAttribute("selected");
      if (select !== document.activeElement && option.selected !== isSet && isSet) option.selected = true;
    }
    for (const box of inputs("input[type=checkbox], input[type=radio]")) {
      box.checked = box.hasAttribute("checked");
    }
    for (const input of inputs("input[type=text][name], input[type=number][name]")) {
      if (input !== document.activeElement) input.value = input.getAttribute("value") || "";
    }
    for (const part of inputs("details[data-open]")) part.open = true;
    const card = document.getElementById("flatirons-card").getAttribute("value");
    for (const button of document.querySelectorAll("#flatirons-presets [name=_preset]")) {
      button.setAttribute("aria-pressed", String(button.value === card));
    }
    for (const start of starts()) start.disabled = root().hasAttribute("data-dead-end");
    for (const search of inputs(".flatirons-search")) filter(search);
    for (const link of document.querySelectorAll("#flatirons-problems a")) {
      const isWrong = document.querySelector(link.hash)?.hasAttribute("aria-invalid");
      link.parentElement.classList.toggle("flatirons-mended", !isWrong);
    }
    if (document.activeElement === document.body && pressed?.isConnected === false) {
      document.querySelector("#flatirons-presets button")?.focus(); // the card with the focus is gone
    }
    pressed = null;
  }

  // -- whether the hub has answered the last edit

  let edits = 0;
  let answered = 0;
  let waiting = [];
  let pressed = null;

  function isEdited() {
    edits += 1;
    const copied = document.getElementById("flatirons-copied");
    if (copied) copied.textContent = "";
  }

  function whenAnswered() {
    return new Promise((resolve) => {
      if (answered === edits) resolve();
      else waiting.push(resolve);
    });
  }

  // -- searching

  const listOf = (search) => document.getElementById(search.getAttribute("aria-controls"));

  function filter(search) {
    const words = search.value.toLowerCase().split(/\s+/);
    for (const option of listOf(search).options) {
      const text = `${option.value} ${option.text}`.toLowerCase();
      option.hidden = !option.selected && !words.every((word) => text.includes(word));
    }
  }

  function chooseFirst(search) {
    const list = listOf(search);
    const first = [...list.options].find((option) => !option.hidden && option.value && !option.selected);
    if (!search.value || !first) return;
    first.selected = true;
    list.dispatchEvent(new Event("change", { bubbles: true }));
  }

  for (const kind of ["input", "change"]) {
    document.addEventListener(kind, (event) => {
      const isOurs = event.target.matches?.(".flatirons-search, [name=_preset_name]");
      if (isOurs) event.stopPropagation(); // it isn't an option
      else if (root().contains(event.target)) isEdited();
      if (isOurs && event.target.matches(".flatirons-search")) filter(event.target);
    }, true);
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches?.(".flatirons-search")) {
      event.preventDefault(); // Enter would submit the form
      chooseFirst(event.target);
    } else if (event.key === "Enter" && event.target.matches?.("[name=_preset_name]")) {
      event.preventDefault();
      document.getElementById("flatirons-save").click();
    } else if (event.key === "ArrowDown" && event.target.matches?.(".flatirons-search")) {
      event.preventDefault();
      listOf(event.target).focus();
    }
  });

  // -- buttons and links

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("#flatirons-link");
    if (link && navigator.clipboard) {
      event.preventDefault();
      whenAnswered().then(() => navigator.clipboard.writeText(link.href)).then(
        () => {
          const leftOut = document.getElementById("flatirons-link").dataset.leftOut;
          const said = leftOut ? `Link copied, without ${leftOut}.` : "Link copied.";
          document.getElementById("flatirons-copied").textContent = said;
        },
        () => { location.assign(link.href); }, // the user can copy the address there
      );
    }
    pressed = event.target.closest?.("button[hx-post]") || pressed;
    if (pressed) isEdited();
    const change = event.target.closest?.("[data-flatirons-set]");
    if (change) {
      for (const [name, text] of Object.entries(JSON.parse(change.dataset.flatironsSet))) {
        const input = document.getElementById(`option-${name}`);
        if (!input) continue;
        if (input.matches("select") && ![...input.options].some((each) => each.value === text)) {
          input.add(new Option(text, text)); // the list with this choice has yet to come
        }
        input.value = text;
      }
      root().dispatchEvent(new Event("change", { bubbles: true }));
    }
  }, true); // before htmx sends its request

  // -- requests to the hub

  document.addEventListener("htmx:config:request", (event) => {
    const ctx = event.detail.ctx;
    ctx.request.headers["X-XSRFToken"] = window.jhdata?.xsrf_token || "";
    ctx.edits = edits;
  });
  document.addEventListener("htmx:after:swap", (event) => {
    const { target, response } = event.detail.ctx;
    if (target?.id !== ROOT || response.status >= 400) return; // htmx sends this event for error pages too
    root().classList.remove("flatirons-is-away");
    answered = event.detail.ctx.edits;
    settle();
    if (answered === edits) waiting.splice(0).forEach((resolve) => resolve());
    root().dispatchEvent(new CustomEvent("flatirons:settled", { bubbles: true }));
  });
  for (const kind of ["htmx:error", "htmx:response:error"]) {
    document.addEventListener(kind, (event) => {
      if (event.detail.ctx?.target?.id !== ROOT) return;
      root().classList.add("flatirons-is-away");
      waiting = [];
    });
  }
  setInterval(() => {
    const isBusy = document.hidden || root().contains(document.activeElement);
    if (!isBusy) root().dispatchEvent(new CustomEvent("flatirons:refresh"));
  }, 30000);
})();
