"use strict";

// What the page says while it works comes from the server; a new stage is a new page.
const running = document.querySelector("#running");
const bar = document.querySelector("#bar");
const doing = document.querySelector("#doing");
const seconds = document.querySelector("#seconds");
const status = document.querySelector("#status");

async function ask() {
  try {
    const state = await (await fetch("fit/state")).json();
    if (state.stage !== running.dataset.stage) return location.reload();
    bar.max = Math.max(1, state.total);
    bar.value = state.done;
    doing.textContent = state.doing ? `${state.doing}, ${state.done} of ${state.total}` : "";
    seconds.textContent = `${state.seconds.toFixed(0)} s`;
    status.textContent = "";
  } catch (error) {
    status.textContent = `The server does not answer. ${error.message}`;
  }
  setTimeout(ask, 400);
}

ask();
