// A search box with suggestions.

import { getJson } from "./calls.js";

// Suggestions below a search box (the combobox pattern of WAI-ARIA).
let boxes = 0;
export function combo(box) {
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
