"use strict";

// What a server without a screen cannot do: a picture made of pixels, and the clipboard.
{
  const answer = document.querySelector("#result");
  const told = document.querySelector("#status");

  const saved = async (form, format) => {
    const body = new URLSearchParams(new FormData(form));
    body.set("format", format);
    const reply = await fetch(form.action, { method: "POST", body });
    if (!reply.ok) throw new Error(`The server answered with status ${reply.status}.`);
    return reply.text();
  };

  // The picture holds rectangles and text alone. Drawn like this, no image is loaded, which the page's policy forbids.
  const drawn = (svg) => {
    const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    const scale = Math.min(2, 16000 / height); // browsers limit the height of a canvas
    const canvas = Object.assign(document.createElement("canvas"), { width: scale * width, height: scale * height });
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    for (const shape of svg.querySelectorAll("rect, text")) {
      const number = (name) => Number(shape.getAttribute(name));
      pen.fillStyle = shape.getAttribute("fill");
      if (shape.localName === "rect") {
        pen.beginPath();
        pen.roundRect(number("x"), number("y"), number("width"), number("height"), number("rx"));
        pen.fill();
        if (shape.hasAttribute("stroke")) {
          pen.strokeStyle = shape.getAttribute("stroke");
          pen.stroke();
        }
        continue;
      }
      pen.font = `${shape.getAttribute("font-weight") ?? 400} ${number("font-size")}px ${svg.getAttribute("font-family")}`;
      pen.direction = shape.getAttribute("direction") ?? "ltr";
      pen.textAlign = "left";
      const natural = pen.measureText(shape.textContent).width;
      pen.save();
      pen.translate(number("x"), number("y"));
      pen.scale(natural && number("textLength") ? number("textLength") / natural : 1, 1);
      pen.fillText(shape.textContent, 0, 0);
      pen.restore();
    }
    return canvas;
  };

  const actions = {
    async png(form) {
      const svg = new DOMParser().parseFromString(await saved(form, "svg"), "image/svg+xml").documentElement;
      const blob = await new Promise((resolve) => drawn(svg).toBlob(resolve));
      const href = URL.createObjectURL(blob);
      Object.assign(document.createElement("a"), { href, download: "explanation.png" }).click();
      setTimeout(() => URL.revokeObjectURL(href), 60000);
      return "Saved as PNG.";
    },
    async copy(form) {
      if (!navigator.clipboard) throw new Error("A browser copies only from HTTPS or this computer.");
      const shown = [...answer.querySelectorAll(".expnet")].map((card) => card.outerHTML).join("");
      const plain = await saved(form, "markdown");
      const kinds = { "text/plain": plain, "text/html": shown };
      const blobs = Object.entries(kinds).map(([type, content]) => [type, new Blob([content], { type })]);
      await navigator.clipboard.write([new ClipboardItem(Object.fromEntries(blobs))]);
      return "Copied: as Markdown, and with its shades where they can be pasted.";
    },
  };

  answer.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-does]");
    if (!button) return;
    try {
      told.textContent = await actions[button.dataset.does](button.form);
    } catch (error) {
      told.textContent = error.message;
    }
  });
}
