"use strict";
(() => {
  const root = document.documentElement;
  const views = new Map();

  // Plots -------------------------------------------------------------------------------------------------------------
  const read = (page) => JSON.parse(page.getElementById("plots").textContent);
  let specs = read(document);

  async function draw(place) {
    const spec = specs.plots[place.dataset.plot];
    if (!spec || !window.vegaEmbed) return;
    const options = {
      mode: "vega-lite", renderer: "svg", actions: false, config: specs.theme, tooltip: { disableDefaultStyle: true },
    };
    views.get(place.dataset.plot)?.finalize();
    const result = await window.vegaEmbed(place, spec, options);
    views.set(place.dataset.plot, result);
    place.style.minHeight = "";
  }

  async function drawAll(scope) {
    for (const place of scope.querySelectorAll("[data-plot]")) await draw(place);
  }

  const FIRST = 8;  // queries that are open at first: a page of forty is some sixty screens long

  // Filters -----------------------------------------------------------------------------------------------------------
  function filter(box) {
    const form = box.querySelector("form"), asked = form.elements;
    const source = asked.source.value, reason = asked.reason.value;
    const words = asked.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const narrow = Boolean(source || reason || words.length);
    let shown = 0, queries = 0;
    for (const query of box.querySelectorAll(".query")) {
      const head = query.querySelector("h3").textContent.toLowerCase();
      let here = 0, hits = 0;
      for (const item of query.querySelectorAll("li")) {
        const role = item.classList[0];
        const text = head + " " + item.textContent.toLowerCase();
        const fits = asked[role].checked
          && (!source || item.dataset.sources.split(" ").includes(source))
          && (!reason || item.dataset.reason === reason)
          && words.every((word) => text.includes(word));
        // With a filter set, a query's positives stay beside what was found, for comparison.
        item.dataset.fits = fits ? "1" : "";
        here += fits ? 1 : 0;
        hits += fits && role !== "positive" ? 1 : 0;
      }
      const matching = words.length && !source && !reason ? here : narrow ? hits : here;
      for (const item of query.querySelectorAll("li")) {
        const beside = narrow && matching && item.classList.contains("positive") && asked.positive.checked;
        item.hidden = !(item.dataset.fits || beside) || (narrow && !matching);
        shown += item.hidden ? 0 : 1;
      }
      const found = narrow ? matching : here;
      queries += found ? 1 : 0;
      query.hidden = !found || (queries > FIRST && !box.dataset.whole);
    }
    box.querySelector("output").textContent = `${queries} queries, ${shown} documents`;
    const more = box.querySelector("button.more");
    more.hidden = queries <= FIRST || Boolean(box.dataset.whole);
    more.textContent = `Show the other ${queries - FIRST} queries`;
  }

  function remembered(box) {
    return Object.fromEntries([...box.querySelector("form").elements].filter((e) => e.name)
      .map((e) => [e.name, e.type === "checkbox" ? e.checked : e.value]));
  }

  function listen(scope, state) {
    for (const box of scope.querySelectorAll("[data-examples]")) {
      const form = box.querySelector("form");
      for (const [name, value] of Object.entries(state || {})) {
        const field = form.elements[name];
        if (field && field.type === "checkbox") field.checked = value;
        else if (field) field.value = value;
      }
      form.addEventListener("input", () => filter(box));
      form.addEventListener("submit", (event) => event.preventDefault());
      box.querySelector("button.more").addEventListener("click", () => { box.dataset.whole = "1"; filter(box); });
      filter(box);
    }
  }

  // Print -------------------------------------------------------------------------------------------------------------
  const PRINTED = 12, COLUMN = 330;
  addEventListener("beforeprint", () => {
    for (const result of views.values()) result.view.width(COLUMN).run();
    for (const box of document.querySelectorAll("[data-examples]")) {
      [...box.querySelectorAll(".query:not([hidden])")].slice(PRINTED).forEach((q) => q.classList.add("unprinted"));
    }
  });
  addEventListener("afterprint", () => {
    for (const query of document.querySelectorAll(".unprinted")) query.classList.remove("unprinted");
    dispatchEvent(new Event("resize"));
  });

  // Live --------------------------------------------------------------------------------------------------------------
  let version = root.dataset.live;

  function anchor() {
    return [...document.querySelectorAll("main > section")].find((s) => s.getBoundingClientRect().bottom > 0);
  }

  async function replace(fresh) {
    const held = anchor(), id = held && held.id, top = held && held.getBoundingClientRect().top;
    const atTop = window.scrollY < 4;
    const open = new Set([...document.querySelectorAll("details[open]")].map(nameOf));
    specs = read(fresh);
    document.title = fresh.title;
    document.getElementById("head").replaceWith(document.importNode(fresh.getElementById("head"), true));
    const main = document.getElementById("content");
    const wanted = [...fresh.querySelectorAll("main > section")];
    for (const gone of [...main.children]) if (!wanted.some((s) => s.id === gone.id)) gone.remove();
    let before = null;
    for (const section of wanted) {
      const there = document.getElementById(section.id);
      let here = there;
      if (!there || there.dataset.digest !== section.dataset.digest || !section.dataset.digest) {
        const box = there && there.querySelector("[data-examples]");
        const state = box ? remembered(box) : null;
        here = document.importNode(section, true);
        for (const plot of here.querySelectorAll("[data-plot]")) {
          const old = there && there.querySelector(`[data-plot="${plot.dataset.plot}"]`);
          if (old) plot.style.minHeight = `${old.getBoundingClientRect().height}px`;
        }
        const fresher = here.querySelector("[data-examples]");
        if (box && box.dataset.whole && fresher) fresher.dataset.whole = "1";
        for (const part of here.querySelectorAll("details")) part.open = open.has(nameOf(part));
        if (there) there.replaceWith(here);
        else if (before) before.after(here);
        else main.prepend(here);
        listen(here, state);
        await drawAll(here);
      } else if (before && before.nextElementSibling !== here) before.after(here);
      before = here;
    }
    const again = id && document.getElementById(id);
    if (again && !atTop) window.scrollBy({ top: again.getBoundingClientRect().top - top, behavior: "instant" });
  }

  function nameOf(part) {
    const section = part.closest("section");
    const figure = part.closest("figure");
    return [section && section.id, figure && figure.getAttribute("aria-labelledby"), part.querySelector("summary").textContent].join("/");
  }

  function lost(text) {
    const box = document.querySelector(".alarms");
    box.querySelector("[data-lost]")?.remove();
    if (!text) return;
    const line = document.createElement("p");
    line.className = "bad";
    line.dataset.lost = "1";
    line.textContent = text;
    box.append(line);
  }

  async function poll() {
    try {
      const state = await (await fetch("state", { cache: "no-store" })).json();
      if (state.version !== version) {
        const text = await (await fetch("page", { cache: "no-store" })).text();
        await replace(new DOMParser().parseFromString(text, "text/html"));
        version = state.version;
        root.dataset.live = version;
      }
      lost("");
    } catch (error) {
      lost("The server does not answer any more; this is what it said last.");
    }
    setTimeout(poll, 2000);
  }

  listen(document, null);
  drawAll(document).finally(() => { root.dataset.ready = "1"; });
  if (root.dataset.live) poll();
})();
