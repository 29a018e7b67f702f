"use strict";

// A link holds a filled form behind its #, which browsers send to no server. Nothing is explained until somebody asks.
{
  const form = document.querySelector("#ask");
  const told = document.querySelector("#status");
  const methods = [...form.querySelectorAll("[name=method]")];

  const fill = () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    if (!asked.has("text")) return;
    for (const name of ["text", "pair", "target", "against", "count", "beside", "unit"]) {
      const field = form.elements[name];
      if (!field || !asked.has(name)) continue;
      const offered = [...(field.options ?? [])].map((option) => option.value);
      if (offered.length === 0 || offered.includes(asked.get(name))) field.value = asked.get(name);
    }
    const chosen = asked.getAll("method");
    if (methods.some((method) => chosen.includes(method.value))) {
      for (const method of methods) method.checked = chosen.includes(method.value);
      methods[0].dispatchEvent(new Event("change", { bubbles: true })); // which decides whether a class can be chosen
      form.querySelector("#methods").open = chosen.length > 1;
    }
    if (asked.get("pair")) form.elements.pair.closest("details").open = true;
    told.textContent = "Filled in from the link, and not sent: press Explain.";
  };

  document.querySelector("#link").addEventListener("click", async () => {
    const asked = new URLSearchParams(new FormData(form));
    const link = new URL(`./?model=${encodeURIComponent(asked.get("model"))}`, location.href);
    asked.delete("model");
    link.hash = asked;
    try {
      await navigator.clipboard.writeText(link.href);
      told.textContent = "The link is copied. It holds the text and what was chosen; only who opens it reads them.";
    } catch {
      history.replaceState(null, "", link.href); // browsers copy only from HTTPS or this computer
      told.textContent = "The link is in the address bar.";
    }
  });
  // What was typed comes along to another model, in the same way. Classes do not: it may have others.
  const carry = (event) => {
    const asked = new URLSearchParams(new FormData(form));
    for (const name of ["model", "target", "against"]) asked.delete(name);
    event.currentTarget.hash = asked.get("text").trim() ? asked : "";
  };
  for (const other of document.querySelectorAll("nav a")) {
    for (const kind of ["click", "auxclick", "contextmenu"]) other.addEventListener(kind, carry);
  }
  addEventListener("hashchange", fill);
  fill();
}
