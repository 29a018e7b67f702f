"use strict";

const form = document.querySelector("#mark");
const group = document.querySelector("#words");
const words = [...group.querySelectorAll(".word")];
const save = document.querySelector("#save");
const undo = document.querySelector("#undo");
const clear = document.querySelector("#clear");
const status = document.querySelector("#status");
const label = document.querySelector("#label");

const marks = () => words.map((word) => word.getAttribute("aria-pressed") === "true");
const put = (wanted) => words.forEach((word, place) => word.setAttribute("aria-pressed", String(wanted[place])));
const same = (one, other) => one.every((mark, place) => mark === other[place]);

const first = { marks: marks(), label: label.value };
const past = [];
let current = 0; // the word that the keyboard is at
let stroke = null; // words being marked together: where it began, what was before, and whether it marks or clears
let leaving = false;
let chosen = first.label;

function show() {
  const count = marks().filter(Boolean).length;
  status.textContent = count ? `${count} ${count === 1 ? "word is" : "words are"} marked.` : "No word is marked.";
  save.textContent = count ? "Save and go on" : "Save: no word is a reason";
  undo.disabled = past.length === 0;
  clear.disabled = count === 0;
}

function change(wanted) {
  const before = marks();
  if (same(before, wanted)) return;
  past.push({ marks: before, label: label.value });
  put(wanted);
  show();
}

function takeBack() {
  const before = past.pop();
  if (before) {
    put(before.marks);
    chosen = label.value = before.label;
  }
  stroke = null;
  show();
}

// The class is what the marks are reasons for, so that choosing another can be taken back like them.
label.addEventListener("change", () => {
  past.push({ marks: marks(), label: chosen });
  chosen = label.value;
  show();
});

function begin(place, mark) {
  stroke = { place, mark, before: marks() };
}

function reach(place) {
  const [from, to] = [Math.min(stroke.place, place), Math.max(stroke.place, place)];
  put(stroke.before.map((mark, at) => (from <= at && at <= to ? stroke.mark : mark)));
}

function finish() {
  const reached = marks();
  put(stroke.before);
  stroke = null;
  change(reached);
}

function visit(place) {
  words[current].tabIndex = -1;
  current = place;
  words[current].tabIndex = 0;
  words[current].focus();
}

const placeAt = (event) => words.indexOf(document.elementFromPoint(event.clientX, event.clientY)?.closest(".word"));

// The mouse, a pen, a finger: what it passes over gets what the first word gets.
group.addEventListener("pointerdown", (event) => {
  const place = words.indexOf(event.target.closest(".word"));
  if (place < 0 || event.button !== 0) return;
  begin(place, !marks()[place]);
  reach(place);
  visit(place);
});
window.addEventListener("pointermove", (event) => {
  if (stroke === null || event.buttons === 0) return;
  const place = placeAt(event);
  if (place >= 0) reach(place);
});
window.addEventListener("pointerup", () => stroke && finish());
window.addEventListener("pointercancel", () => {
  // It became scrolling.
  if (stroke) put(stroke.before);
  stroke = null;
  show();
});
// Screen readers press buttons without a pointer.
group.addEventListener("click", (event) => {
  const place = words.indexOf(event.target.closest(".word"));
  if (place < 0 || event.detail !== 0) return;
  change(marks().map((mark, at) => (at === place ? !mark : mark)));
});

function vertical(down) {
  const here = words[current].getBoundingClientRect();
  const middle = (box) => (box.left + box.right) / 2;
  let best = current;
  let least = Infinity;
  words.forEach((word, place) => {
    const box = word.getBoundingClientRect();
    const beyond = down ? box.top - here.bottom : here.top - box.bottom;
    if (beyond < -here.height / 2) return;
    const cost = 10 * beyond + Math.abs(middle(box) - middle(here));
    if (cost < least && place !== current) [best, least] = [place, cost];
  });
  return best;
}

function target(key) {
  const back = getComputedStyle(words[current].parentElement).direction === "rtl" ? "ArrowRight" : "ArrowLeft";
  if (key === "ArrowUp" || key === "ArrowDown") return vertical(key === "ArrowDown");
  if (key === "Home") return 0;
  if (key === "End") return words.length - 1;
  if (key !== "ArrowLeft" && key !== "ArrowRight") return -1;
  return Math.max(0, Math.min(words.length - 1, current + (key === back ? -1 : 1)));
}

group.addEventListener("keydown", (event) => {
  const place = target(event.key);
  if (place >= 0) {
    if (event.shiftKey) {
      if (stroke === null) begin(current, true);
      reach(place);
    }
    visit(place);
  } else if (event.key === " ") {
    change(marks().map((mark, at) => (at === current ? !mark : mark)));
  } else if (event.key === "Enter") {
    if (!event.repeat) form.requestSubmit(save);
  } else if (event.key === "u" || (event.key === "z" && (event.ctrlKey || event.metaKey))) {
    takeBack();
  } else {
    return;
  }
  event.preventDefault();
});
// Words marked with Shift are one step to undo.
group.addEventListener("keyup", (event) => {
  if (event.key === "Shift" && stroke) finish();
});
group.addEventListener("focusout", () => setTimeout(() => stroke && !group.contains(document.activeElement) && finish()));

undo.addEventListener("click", takeBack);
clear.addEventListener("click", () => change(words.map(() => false)));

// Marks are sent without leaving the page, which keeps them if nobody answers.
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const action = event.submitter?.value ?? "save";
  const changed = !(same(first.marks, marks()) && first.label === label.value);
  if (leaving || (action !== "save" && changed && !confirm("Leave without saving these marks?"))) return;
  if (stroke) finish();
  document.querySelector("#chosen").value = words.flatMap((word, place) => (marks()[place] ? word.dataset.word : [])).join();
  leaving = true; // a second press does nothing
  const place = new URL(form.getAttribute("action"), location.href); // its buttons hide the property of this name
  const body = new URLSearchParams(new FormData(form));
  body.set("action", action);
  try {
    const reply = await fetch(place, { method: "POST", body, headers: { accept: "application/json" } });
    if (reply.ok) location.assign(new URL((await reply.json()).next, place));
    else if (reply.status === 409) HTMLFormElement.prototype.submit.call(withAction(action)); // a page that shows both
    else throw new Error(await reason(reply));
  } catch (error) {
    leaving = false;
    status.textContent = `Nothing was saved. Your marks are still here: save again once this is mended. ${error.message}`;
  }
});

async function reason(reply) {
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  return page.querySelector("[role=alert]")?.textContent ?? `The server answered with status ${reply.status}.`;
}

function withAction(action) {
  const field = Object.assign(document.createElement("input"), { type: "hidden", name: "action", value: action });
  form.append(field);
  return form;
}
window.addEventListener("beforeunload", (event) => {
  if (!leaving && !(same(first.marks, marks()) && first.label === label.value)) event.preventDefault();
});
window.addEventListener("pageshow", () => (leaving = false));

save.disabled = false;
show();
if (!location.hash) visit(0);
else words[0].tabIndex = 0;
