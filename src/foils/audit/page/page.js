"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const items = data.items;
  const at = (id) => document.getElementById(id);
  const NAMES = { "1": ["relevant", "yes"], "0": ["not relevant", "no"], "?": ["unsure", "unsure"] };
  const COLUMNS = ["query_id", "doc_id", "label", "annotator", "note"];
  const store = "foils-labels/" + data.key;
  let who = "", place = 0, labels = {}, notes = {}, done = [], unsaved = false, keeps = true;

  // What is kept: the name under one key, and labels under another for each name, so that two people may share a browser.
  function read(key) {
    try { return localStorage.getItem(key); } catch (error) { keeps = false; return null; }
  }
  function write(key, value) {
    try { localStorage.setItem(key, value); } catch (error) { keeps = false; }
  }
  function recall(name) {
    let kept = {};
    try { kept = JSON.parse(read(store + "/" + name) || "{}") || {}; } catch (error) { kept = {}; }
    who = name; labels = kept.labels || {}; notes = kept.notes || {}; done = []; unsaved = Boolean(kept.unsaved);
    place = Math.min(Math.max(0, kept.place | 0), Math.max(0, items.length - 1));
  }
  function keep() {
    write(store + "/" + who, JSON.stringify({ labels: labels, notes: notes, place: place, unsaved: unsaved }));
  }

  // Words of the query, by their beginnings, so that "infectious" is marked for "infection".
  const COMMON = new Set(("a an and are as at be by can do does for from had has have how i if in into is it its me my not of on or " +
    "our should so than that the their there these they this to was we were what when where which who why will with you your").split(" "));
  const WORD = /[\p{L}\p{N}]+/gu;
  function stem(word) {
    const plain = word.normalize("NFKC").toLowerCase();
    return plain.length > 5 ? plain.slice(0, Math.max(5, plain.length - 3)) : plain;
  }
  function alike(one, other) {
    return one === other || (Math.min(one.length, other.length) > 3 && (one.startsWith(other) || other.startsWith(one)));
  }
  function marked(text, query) {
    const wanted = (query.match(WORD) || []).filter((word) => !COMMON.has(word.toLowerCase())).map(stem);
    const made = document.createDocumentFragment();
    let end = 0;
    for (const found of text.matchAll(WORD)) {
      if (COMMON.has(found[0].toLowerCase()) || !wanted.some((one) => alike(one, stem(found[0])))) continue;
      made.append(text.slice(end, found.index));
      const mark = document.createElement("mark");
      mark.textContent = found[0];
      made.append(mark);
      end = found.index + found[0].length;
    }
    made.append(text.slice(end));
    return made;
  }

  function show() {
    const item = items[place];
    at("query").textContent = item.query;
    at("known").replaceChildren(item.positive ? marked(item.positive, item.query) : "(none is known)");
    at("candidate").replaceChildren(marked(item.document, item.query));
    at("known").scrollTop = at("candidate").scrollTop = 0;
    if (window.matchMedia("(max-width: 720px)").matches) window.scrollTo(0, 0);
    at("note").value = notes[place] || "";
    state();
  }
  function state(said) {
    const count = Object.keys(labels).length;
    const label = labels[place];
    at("label").textContent = label ? NAMES[label][0] : "";
    at("label").className = "label " + (label ? NAMES[label][1] : "");
    for (const [id, value] of [["yes", "1"], ["no", "0"], ["unsure", "?"]]) at(id).setAttribute("aria-pressed", String(label === value));
    at("back").disabled = place === 0;
    at("on").disabled = place === items.length - 1;
    at("undo").disabled = done.length === 0;
    at("bar").style.width = (100 * count) / items.length + "%";
    document.querySelector(".bar").setAttribute("aria-valuenow", String(count));
    const all = count === items.length ? " All are labelled: save the CSV." : "";
    const risk = keeps ? "" : " This browser keeps nothing: save before you close it.";
    at("state").textContent = "No. " + (place + 1) + " of " + items.length + ", " + count + " labelled." + all + risk + (said ? " " + said : "");
    at("state").className = keeps ? "" : "warning";
  }
  function go(to) {
    place = Math.min(Math.max(0, to), items.length - 1);
    keep();
    show();
  }
  function open(from) {
    for (let i = 0; i < items.length; i++) {
      const next = (from + i) % items.length;
      if (!labels[next]) return next;
    }
    return -1;
  }
  function set(label) {
    done.push([place, labels[place]]);
    labels[place] = label;
    unsaved = true;
    const next = open(place + 1);
    go(next < 0 ? Math.min(place + 1, items.length - 1) : next);
  }
  function undo() {
    const last = done.pop();
    if (!last) return;
    if (last[1] === undefined) delete labels[last[0]]; else labels[last[0]] = last[1];
    unsaved = true;
    go(last[0]);
  }

  // CSV as RFC 4180 has it; texts stay out, the ids say which row it is.
  function cell(text) {
    return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  }
  function csv() {
    const rows = items.map((item, i) => labels[i] === undefined ? null : [item.query_id, item.doc_id, labels[i], who, notes[i] || ""]);
    return [COLUMNS, ...rows.filter(Boolean)].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  }
  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
    link.download = "labels" + (who ? "-" + who.replace(/[^\p{L}\p{N}]+/gu, "_") : "") + ".csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    unsaved = false;
    keep();
    state("Saved.");
  }
  function parse(text) {
    const rows = [];
    let row = [], field = "", quoted = false;
    text = text.replace(/^\uFEFF/, "");
    for (let i = 0; i < text.length; i++) {
      const sign = text[i];
      if (quoted) {
        if (sign !== '"') field += sign;
        else if (text[i + 1] === '"') { field += '"'; i++; }
        else quoted = false;
      } else if (sign === '"') quoted = true;
      else if (sign === ",") { row.push(field); field = ""; }
      else if (sign === "\n") { row.push(field); rows.push(row); row = []; field = ""; }
      else if (sign !== "\r") field += sign;
    }
    if (field || row.length) { row.push(field); rows.push(row); }
    return rows;
  }
  function load(text) {
    const rows = parse(text);
    const head = rows.shift() || [];
    const column = Object.fromEntries(COLUMNS.map((name) => [name, head.indexOf(name)]));
    if (Math.min(column.query_id, column.doc_id, column.label) < 0) { state("That file has no columns query_id, doc_id, label."); return; }
    const places = new Map(items.map((item, i) => [JSON.stringify([item.query_id, item.doc_id]), i]));
    let taken = 0;
    for (const row of rows) {
      const i = places.get(JSON.stringify([row[column.query_id], row[column.doc_id]]));
      const label = row[column.label];
      if (i === undefined || !NAMES[label]) continue;
      labels[i] = label;
      if (column.note >= 0 && row[column.note]) notes[i] = row[column.note];
      taken++;
    }
    done = [];
    const next = open(0);
    go(next < 0 ? 0 : next);
    state(taken + " labels loaded.");
  }
  function guide() {
    const shown = at("guide").hidden;
    at("guide").hidden = !shown;
    at("help").setAttribute("aria-expanded", String(shown));
  }

  const KEYS = {
    "1": () => set("1"), "0": () => set("0"), u: () => set("?"), ArrowLeft: () => go(place - 1), ArrowRight: () => go(place + 1),
    z: undo, Backspace: undo, n: () => at("note").focus(), s: save, "?": guide,
    h: () => document.body.classList.toggle("plain"),
    x: () => { const next = open(place + 1); if (next >= 0) go(next); },
  };
  document.addEventListener("keydown", (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.target.tagName === "INPUT") {
      if (event.key === "Enter" || event.key === "Escape") event.target.blur();
      return;
    }
    if ((event.ctrlKey || event.metaKey) && key === "z") { event.preventDefault(); undo(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat && "10u".includes(key) || !Object.hasOwn(KEYS, key)) return;
    event.preventDefault();
    KEYS[key]();
  });
  for (const [id, act] of Object.entries({ yes: KEYS["1"], no: KEYS["0"], unsure: KEYS.u, back: KEYS.ArrowLeft, on: KEYS.ArrowRight,
    undo: undo, save: save, help: guide })) {
    // Focus goes back to the page, so that a key pressed next is not a second click.
    at(id).addEventListener("click", () => { at(id).blur(); act(); });
  }
  at("load").addEventListener("click", () => { at("load").blur(); at("file").click(); });
  at("file").addEventListener("change", async () => {
    const file = at("file").files[0];
    at("file").value = "";
    if (file) load(await file.text());
  });
  at("note").addEventListener("input", () => {
    if (at("note").value) notes[place] = at("note").value; else delete notes[place];
    unsaved = true;
    keep();
  });
  at("who").addEventListener("change", () => {
    const name = at("who").value.trim();
    if (name === who) return;
    if (!who && !read(store + "/" + name)) {  // whoever labelled without a name gives it now
      const nameless = store + "/";
      who = name;
      keep();
      try { localStorage.removeItem(nameless); } catch (error) { keeps = false; }
    } else recall(name);
    write(store, who);
    show();
  });
  window.addEventListener("beforeunload", (event) => { if (unsaved && !keeps) event.preventDefault(); });

  recall(read(store) || "");
  at("who").value = who;
  if (!Object.keys(labels).length) guide();
  show();
  document.documentElement.dataset.ready = "";
})();
