"use strict";

// Words are one stop of the Tab key; arrows go from one to the next. Picking one shows its heads without a new page.
{
  const answer = document.querySelector("#result");
  const told = document.querySelector("#status");

  const visit = (words, place) => {
    for (const word of words) word.tabIndex = -1;
    words[place].tabIndex = 0;
    return words[place];
  };

  const prepare = () => {
    for (const group of answer.querySelectorAll("#heads .words")) {
      const words = [...group.querySelectorAll("button")];
      const pressed = words.findIndex((word) => word.getAttribute("aria-pressed") === "true");
      visit(words, Math.max(0, pressed));
    }
  };
  new MutationObserver(prepare).observe(answer, { childList: true });
  prepare();

  answer.addEventListener("keydown", (event) => {
    const group = event.target.closest(".words");
    if (!group) return;
    const words = [...group.querySelectorAll("button")];
    const right = getComputedStyle(group).direction === "rtl" ? -1 : 1;
    const step = { ArrowRight: right, ArrowLeft: -right, ArrowDown: 1, ArrowUp: -1 }[event.key];
    const ends = { Home: 0, End: words.length - 1 };
    const place = ends[event.key] ?? (step && words.indexOf(event.target) + step);
    if (place === undefined || !words[place]) return;
    event.preventDefault();
    visit(words, place).focus();
  });

  answer.addEventListener("submit", async (event) => {
    const picked = event.submitter;
    const part = picked?.closest("#heads");
    if (!part) return;
    event.preventDefault();
    const form = event.target;
    const body = new URLSearchParams(new FormData(form, picked));
    body.delete("method"); // only the ExpNet has heads to show
    for (const method of form.querySelectorAll("[data-listens]")) body.append("method", method.value);
    told.textContent = "The ExpNet runs without each head …";
    try {
      const reply = await fetch(picked.formAction, { method: "POST", body });
      const page = new DOMParser().parseFromString(await reply.text(), "text/html");
      const grids = page.querySelector("#grids");
      if (!grids) throw new Error(page.querySelector("[role=alert]")?.textContent ?? `Status ${reply.status}.`);
      for (const word of part.querySelectorAll(".word")) word.setAttribute("aria-pressed", String(word === picked));
      part.querySelector("#grids").replaceChildren(...grids.childNodes);
      told.textContent = `Done: the heads of “${picked.textContent}” are below the words.`;
    } catch (error) {
      told.textContent = `The heads cannot be shown. ${error.message}`;
    }
  });
}
