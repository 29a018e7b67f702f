"use strict";

// The form works without this script; with it the page is not reloaded while the model runs.
document.documentElement.classList.add("script"); // shows the buttons that need one
const form = document.querySelector("#ask");
const result = document.querySelector("#result");
const status = document.querySelector("#status");
const stop = document.querySelector("#stop");
let request = null;

const waiting = (mine) => {
  const [begun, chosen] = [Date.now(), form.querySelectorAll("[name=method]:checked").length];
  const tell = () => {
    if (mine.signal.aborted || mine !== request) return clearInterval(clock);
    const seconds = Math.round((Date.now() - begun) / 1000);
    status.textContent = `The model reads${chosen > 1 ? `, by ${chosen} methods` : ""} …${seconds ? ` ${seconds} s` : ""}`;
  };
  const clock = setInterval(tell, 5000); // seldom, as it is read out
  tell();
  stop.hidden = false;
  return clock;
};
stop.addEventListener("click", () => {
  request?.abort();
  request = null;
  stop.hidden = true;
  result.removeAttribute("aria-busy");
  status.textContent = "Stopped. What is shown is from before.";
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (event.submitter?.name === "example") form.elements.text.value = event.submitter.value;
  request?.abort();
  const mine = (request = new AbortController());
  result.setAttribute("aria-busy", "true");
  const clock = waiting(mine);
  try {
    const body = new URLSearchParams(new FormData(form));
    const reply = await fetch(form.action, { method: "POST", body, signal: mine.signal });
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const answer = page.querySelector("#result");
    if (!answer) throw new Error(`The server answered with status ${reply.status}.`);
    result.replaceChildren(...answer.childNodes);
    const told = reply.ok ? `Done: ${result.querySelector("section").getAttribute("aria-label")}` : "";
    status.textContent = told && !told.endsWith(".") ? `${told}.` : told;
    document.querySelector("#examples")?.remove();
    result.scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (mine.signal.aborted) return;
    const alert = document.createElement("p");
    alert.className = "alert";
    alert.setAttribute("role", "alert");
    alert.textContent = `The server did not answer. ${error.message}`;
    result.replaceChildren(alert);
    status.textContent = "";
  }
  clearInterval(clock);
  stop.hidden = true;
  result.removeAttribute("aria-busy");
});

document.querySelector("#text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});

// A class can be chosen only where the words depend on it. A regression always needs its output named.
const selectors = [...document.querySelectorAll("#target, #against")];
form.addEventListener("change", (event) => {
  if (event.target.name !== "method" || form.dataset.kind !== "probability") return;
  const chosen = [...form.querySelectorAll("[name=method]:checked")];
  const fixed = chosen.length > 0 && chosen.every((method) => "free" in method.dataset);
  for (const selector of selectors) selector.disabled = fixed;
  document.querySelector("#fixed").hidden = !fixed;
});
