"use strict";
// Choose and order the rows that the page lists. All of them are in it already; without this they can be read as well.
const form = document.querySelector("#choose"), list = document.querySelector("#list");
const shown = document.querySelector("#shown"), more = document.querySelector("#more"), rows = [...list.children];
const plain = (text) => text.normalize("NFKC").toLowerCase();
const texts = new Map(rows.map((row) => [row, plain([...row.querySelectorAll(".text")].map((p) => p.textContent).join("\n"))]));
const figure = (row, name) => Number(row.dataset[name]);  // NaN, for rows without clarity, goes last
const ways = {
  row: (row) => figure(row, "row"),
  doubtful: (row) => figure(row, "clarity"),
  clear: (row) => -figure(row, "clarity"),
  unsure: (row) => figure(row, "probability"),
};
const few = 25;
let word = null;  // the link that was followed, whose rows alone are shown
let most = few;  // rows to show at once

function show() {
  const terms = plain(form.elements.words.value).split(/\s+/).filter(Boolean), chosen = form.elements.class.value;
  const holding = word && new Set(word.dataset.rows.split(" "));
  const way = ways[form.elements.order.value];
  const last = (row) => Number.isNaN(way(row)) ? Infinity : way(row);
  rows.sort((a, b) => (last(a) > last(b)) - (last(a) < last(b)) || figure(a, "row") - figure(b, "row"));
  const matching = rows.filter((row) => (!holding || holding.has(row.dataset.row))
    && (!chosen || row.dataset.class === chosen) && terms.every((term) => texts.get(row).includes(term)));
  const visible = new Set(matching.slice(0, most));
  for (const row of rows) row.hidden = !visible.has(row);
  if (rows.some((row, at) => list.children[at] !== row)) list.append(...rows);
  more.hidden = visible.size === matching.length;
  shown.value = (word ? `Rows that hold “${word.textContent}”, of its class: ` : "")
    + `${matching.length} of ${rows.length} match` + (more.hidden ? "" : `, ${visible.size} are shown`);
}

// Forget what was chosen, but for the rows of a word.
function all(link, limit) {
  form.reset();
  [word, most] = [link, limit];
  show();
}

form.addEventListener("input", () => { most = few; show(); });
form.addEventListener("submit", (event) => event.preventDefault());
document.querySelector("#all").addEventListener("click", () => all(null, few));
more.addEventListener("click", () => { most += 100; show(); });
for (const link of document.querySelectorAll("a.word")) link.addEventListener("click", () => all(link, few));
for (const link of document.querySelectorAll('a[href^="#row-"]')) {
  link.addEventListener("click", () => { if (document.querySelector(link.hash).hidden) all(null, Infinity); });
}
form.hidden = false;
if (/^#row-\d+$/.test(location.hash)) {  // the page was opened at a row
  most = Infinity;
  show();
  document.querySelector(location.hash)?.scrollIntoView();
} else show();
