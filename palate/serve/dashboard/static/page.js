// What every page can do: parts that are fetched again, search with suggestions, and calls of the API.

const status = document.getElementById("status");
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const PAGE = { "X-Palate-Page": "1" };

let clearing;
export function say(text) {
  status.textContent = text;
  clearTimeout(clearing);
  clearing = setTimeout(() => (status.textContent = ""), 4000);
}

async function get(url, accept = "text/html") {
  const answer = await fetch(url, { headers: { ...PAGE, Accept: accept } });
  if (answer.status === 401 || new URL(answer.url).pathname === "/login") location.reload();
  if (!answer.ok && answer.status !== 404) throw new Error(`the service answered ${answer.status}`);
  return answer;
}

export async function getJson(url) {
  return (await get(url, "application/json")).json();
}

// Puts the parts with data-swap of another page in place of those of this one; rows glide to their new places.
let swaps = 0;
export async function swap(url) {
  const turn = ++swaps;
  const answer = await get(url);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (turn !== swaps) return answer.url;  // a later one is under way
  const focused = document.activeElement?.id;
  for (const old of document.querySelectorAll("[data-swap]")) {
    const part = fresh.getElementById(old.id);
    if (!part) continue;
    const places = new Map([...old.querySelectorAll("[data-key]")].map((row) => [row.dataset.key, row.getBoundingClientRect()]));
    const held = old.contains(document.activeElement);
    old.replaceChildren(...part.childNodes);
    ready(old);
    if (held) (document.getElementById(focused) ?? old.querySelector("h2[tabindex]"))?.focus({ preventScroll: true });
    if (!calm) glide(old, places);
  }
  document.dispatchEvent(new Event("swapped"));
  return answer.url;
}

function glide(part, places) {
  for (const row of part.querySelectorAll("[data-key]")) {
    const before = places.get(row.dataset.key);
    if (before) {
      const by = before.top - row.getBoundingClientRect().top;
      if (by) row.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 350, easing: "ease" });
    } else if (places.size) row.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 350 });
  }
}

let here = location.pathname + location.search;
function arrived(url) {
  history.pushState(null, "", url);
  here = location.pathname + location.search;
}

async function into(url) {
  try {
    arrived(await swap(url));
    say(document.querySelector("[data-swap] h2")?.textContent ?? "");
  } catch (error) {
    say(error.message);
  }
}

// Sliders: the list follows them, and the address says where they stand.
let tuning, tuned = 0;
async function tune(form) {
  const turn = ++tuned, query = new URLSearchParams(location.search);
  query.delete("before");
  for (const { name, type, value } of form.querySelectorAll("input[type=range], select")) {
    query.delete(name);
    if (type !== "range" || Number(value)) query.set(name, value);
  }
  const url = `${form.action}?${query}`;
  try {
    await swap(url);
    if (turn !== tuned) return;
    history.replaceState(null, "", url);
    here = location.pathname + location.search;
  } catch (error) {
    say(error.message);
  }
}
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-tune]");
  if (!form) return;
  const output = form.querySelector(`output[for="${event.target.id}"]`);
  if (output) output.value = Number(event.target.value).toFixed(2);
  clearTimeout(tuning);
  tuning = setTimeout(() => tune(form), 80);
});

// Forms whose answer follows what is typed.
let typing;
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-live]");
  if (!form) return;
  const output = event.target.type === "range" && event.target.parentElement.querySelector("output");
  if (output) output.value = event.target.value;
  clearTimeout(typing);
  typing = setTimeout(async () => {
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    const url = query.size ? `${form.action}?${query}` : form.action;
    try {
      await swap(url);
      history.replaceState(null, "", url);
      here = location.pathname + location.search;
    } catch (error) {
      say(error.message);
    }
  }, 120);
});

// Suggestions below a search box (the combobox pattern of WAI-ARIA).
let boxes = 0;
function combo(box) {
  const input = box.querySelector("input");
  const list = document.createElement("ul");
  list.className = "options";
  list.id = `options-${++boxes}`;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Suggestions");
  list.hidden = true;
  input.after(list);
  for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-controls", list.id], ["aria-expanded", "false"]])
    input.setAttribute(name, value);
  let found = [], at = -1, asked = 0, waiting, filled = false;

  const show = (open) => {
    list.hidden = !open;
    input.setAttribute("aria-expanded", String(open));
    if (!open) mark(-1);
  };
  const mark = (place) => {
    at = place;
    [...list.children].forEach((option, n) => option.setAttribute("aria-selected", String(n === at)));
    if (at < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", list.children[at].id);
      list.children[at].scrollIntoView({ block: "nearest" });
    }
  };
  const choose = (place) => {
    show(false);
    if ("fill" in box.dataset) {
      input.value = found[place].item_id;
      filled = true;
      return input.dispatchEvent(new Event("input", { bubbles: true }));
    }
    const picked = new CustomEvent("picked", { bubbles: true, cancelable: true, detail: found[place] });
    if (!input.dispatchEvent(picked)) return;
    if (input.name === "q") location.assign(`/item?${new URLSearchParams({ item: found[place].item_id })}`);
    else {
      input.value = found[place].item_id;
      input.form.requestSubmit();
    }
  };
  const ask = async () => {
    const turn = ++asked, text = input.value;
    if (!text.trim()) return show(false);
    let marked;
    try {
      const answer = await getJson(`${box.dataset.source}?${new URLSearchParams({ q: text })}`);
      if (turn !== asked || document.activeElement !== input) return;
      marked = found[at]?.item_id;
      found = answer;
    } catch {
      return show(false);
    }
    list.replaceChildren(...found.map((card, n) => {
      const option = document.createElement("li");
      option.id = `${list.id}-${n}`;
      option.setAttribute("role", "option");
      const tile = card.picture ? document.createElement("img") : document.createElement("span");
      tile.className = `tile small colour-${card.colour}`;
      if (card.picture) Object.assign(tile, { alt: "", referrerPolicy: "no-referrer", src: card.picture });
      else {
        tile.textContent = [...card.title.trim()][0]?.toUpperCase() ?? "?";
        tile.setAttribute("aria-hidden", "true");
      }
      const title = document.createElement("bdi");
      title.textContent = card.title;
      option.append(tile, title);
      option.addEventListener("pointerdown", (event) => { event.preventDefault(); choose(n); });
      return option;
    }));
    show(found.length > 0);
    mark(found.findIndex((card) => card.item_id === marked));  // a later answer keeps the option chosen by the arrow keys
  };
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    if (filled) filled = false;  // the text is an option, not a question
    else waiting = setTimeout(ask, 120);
  });
  input.addEventListener("blur", () => { asked++; show(false); });
  input.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "ArrowDown") mark((at + 1) % found.length);
    else if (event.key === "ArrowUp") mark((at <= 0 ? found.length : at) - 1);
    else if (event.key === "Escape") show(false);
    else if (event.key === "Enter" && at >= 0) choose(at);
    else return;
    event.preventDefault();
  });
}

function confirmed(question) {
  const dialog = document.getElementById("confirm");
  document.getElementById("confirm-question").textContent = question;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

async function send(url, body, method = "POST") {
  const answer = await fetch(url, { method, headers: { ...PAGE, "Content-Type": "application/json" }, body });
  if (!answer.ok) throw new Error((await answer.json()).detail);
}

// The attributes of an item that the form changes; what is empty is removed.
function changed(form) {
  const read = (text, kind) => (text === "" ? null : kind === "text" ? text : JSON.parse(text));
  const attributes = {};
  for (const input of form.querySelectorAll("[data-name]"))
    if (input.value !== input.defaultValue) attributes[input.dataset.name] = read(input.value, input.dataset.kind);
  const name = form.querySelector("[data-new]").value, value = form.querySelector("[data-value]").value;
  let kind = "json";
  try { JSON.parse(value); } catch { kind = "text"; }
  if (name) attributes[name] = read(value, kind);
  return attributes;
}

async function edit(form) {
  try {
    await send(form.dataset.edit, JSON.stringify({ attributes: changed(form) }), "PATCH");
    await swap(location.href);
    say("Saved.");
  } catch (error) {
    say(error instanceof SyntaxError ? `This is no JSON: ${error.message}` : error.message);
  }
}

async function post(button) {
  const { post: url, body, ask, then, said, method } = button.dataset;
  if (ask && !(await confirmed(ask))) return;
  button.disabled = true;
  try {
    await send(url, body ?? "{}", method);
    if (then) arrived(await swap(then));
    else await swap(location.href);
    say(said);
  } catch (error) {
    say(error.message);
  } finally {
    button.disabled = false;
  }
}

// Dates as the locale writes them; the text of a recent one says how long ago it was.
const RECENT = 7 * 86_400_000;
function local(time) {
  const date = new Date(time.dateTime);
  if (Math.abs(Date.now() - date) > RECENT) time.textContent = date.toLocaleDateString(undefined, { dateStyle: "medium" });
  time.title = date.toLocaleString(undefined, { dateStyle: "full", timeStyle: "medium" });
}

function ready(part) {
  part.querySelectorAll("time[datetime]").forEach(local);
  part.querySelectorAll(".combo").forEach(combo);
  part.querySelectorAll("img.tile").forEach((image) => image.addEventListener("error", () => image.removeAttribute("src"), { once: true }));
  part.querySelectorAll("[data-load]").forEach(async (place) => {
    try {
      const page = new DOMParser().parseFromString(await (await get(place.dataset.load)).text(), "text/html");
      place.replaceChildren(...page.body.childNodes);
      ready(place);
    } catch (error) {
      place.textContent = error.message;
    }
  });
}

// A part that says what is under way is asked for again until that is done.
const FOLLOW = 1500;
setInterval(() => {
  if (document.querySelector("[data-follow]") && !document.hidden) swap(location.href).catch(() => {});
}, FOLLOW);

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    say("The browser does not let this page copy.");
  }
}

// The address with the inputs of the first setting for both.
function sameAsFirst(form) {
  const kept = [...new FormData(form)].filter(([name, value]) => value && !name.startsWith("b."));
  return new URLSearchParams([...kept, ...kept.filter(([name]) => name.startsWith("a.")).map(([name, value]) => [`b${name.slice(1)}`, value])]);
}

// Another row of inputs, like the last one.
function another(button) {
  const row = button.previousElementSibling.cloneNode(true);
  row.querySelectorAll(".options").forEach((list) => list.remove());
  row.querySelectorAll("input").forEach((input) => (input.value = ""));
  row.querySelectorAll(".combo").forEach(combo);
  button.before(row);
  row.querySelector("input, select").focus();
}

document.addEventListener("click", (event) => {
  const more = event.target.closest("[data-more]");
  if (more) return another(more);
  const same = event.target.closest("[data-same]");
  if (same) same.href = `/preview?${sameAsFirst(same.closest("form"))}`;
  const copied = event.target.closest("[data-copy]");
  if (copied) return copy(copied.dataset.copy);
  const button = event.target.closest("[data-post]");
  if (button) return post(button);
  const link = event.target.closest("a[data-into]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  into(link.href);
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("form[data-edit]")) {
    event.preventDefault();
    return edit(form);
  }
  if (!form.matches("form[data-into]")) return;
  event.preventDefault();
  into(`${form.action}?${new URLSearchParams(new FormData(form))}`);
});
addEventListener("popstate", () => {  // also for a link to a place of this page, which changes nothing
  if (location.pathname + location.search !== here) location.reload();
});
ready(document);
