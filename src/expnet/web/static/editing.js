"use strict";

// The explained text can be changed word by word. What the model then says is compared here, in the browser, with what
// it said before: the server is sent the new text alone, as if it had been typed.
{
  const form = document.querySelector("#ask");
  const answer = document.querySelector("#result");
  const told = document.querySelector("#status");
  const MOST = 4_000_000; // pairs of words that are compared; a longer change counts as one
  const NAMED = 3;
  const CLASSES = 5;

  let before = null; // what changes are compared with: an explanation and the settings that it was made with
  let returning = null; // the place of the word that was chosen, so that the focus comes back to it

  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const signed = (number, digits) => {
    const size = Math.abs(number).toFixed(digits);
    return Number(size) === 0 ? size : `${number < 0 ? "-" : "+"}${size}`;
  };
  const quoted = (words) => words.map((word) => `“${word.text}”`).join(", ");

  // Pairs of a word before and the same word now; null where there is none. The order is that of both texts.
  const aligned = (old, now) => {
    const same = (i, j) => old[i].text === now[j].text && old[i].segment === now[j].segment;
    let first = 0;
    while (first < old.length && first < now.length && same(first, first)) first += 1;
    let last = 0;
    const shorter = Math.min(old.length, now.length) - first;
    while (last < shorter && same(old.length - 1 - last, now.length - 1 - last)) last += 1;
    const [rows, columns] = [old.length - first - last, now.length - first - last];
    const longest = Array.from({ length: rows + 1 }, () => new Uint16Array(rows * columns <= MOST ? columns + 1 : 0));
    if (rows * columns <= MOST) {
      for (let i = rows - 1; i >= 0; i -= 1) {
        for (let j = columns - 1; j >= 0; j -= 1) {
          longest[i][j] = same(first + i, first + j)
            ? longest[i + 1][j + 1] + 1
            : Math.max(longest[i + 1][j], longest[i][j + 1]);
        }
      }
    }
    const pairs = old.slice(0, first).map((word, place) => [word, now[place]]);
    let [i, j] = [0, 0];
    while (i < rows || j < columns) {
      if (i < rows && j < columns && rows * columns <= MOST && same(first + i, first + j)) {
        pairs.push([old[first + i++], now[first + j++]]);
      } else if (i < rows && (j === columns || !(longest[i][j + 1] > longest[i + 1][j]))) {
        pairs.push([old[first + i++], null]);
      } else {
        pairs.push([null, now[first + j++]]);
      }
    }
    for (let place = last; place > 0; place -= 1) pairs.push([old[old.length - place], now[now.length - place]]);
    return pairs;
  };

  // Offsets count characters, of which JavaScript's strings have two for some.
  const blank = (character) => character !== undefined && /\s/u.test(character);
  const without = (text, word) => {
    const characters = [...text];
    let [start, end] = [word.start, word.end];
    const first = start === 0 || blank(characters[start - 1]);
    if (first && blank(characters[end])) end += 1;
    else if (first && start > 0) start -= 1;
    return [...characters.slice(0, start), ...characters.slice(end)].join("");
  };
  const withAgain = (text, old, word, place) => {
    const [characters, once] = [[...text], [...old]];
    const lead = place > 0 && blank(once[word.start - 1]) ? once[word.start - 1] : "";
    const apart = blank(once[word.end]) && place < characters.length && !blank(characters[place]);
    const trail = apart ? once[word.end] : "";
    return [...characters.slice(0, place), lead, ...once.slice(word.start, word.end), trail, ...characters.slice(place)].join("");
  };

  const read = () => {
    const part = answer.querySelector("#edit");
    if (!part) return null;
    const explained = JSON.parse(part.dataset.explained);
    const settings = new URLSearchParams(new FormData(answer.querySelector("#asked")));
    for (const name of ["text", "pair", "count"]) settings.delete(name);
    return { ...explained, part, settings: settings.toString(), outputs: explained.probabilities ?? explained.values };
  };

  const comparable = (now) => {
    if (!before || before.settings !== now.settings || (before.pair === null) !== (now.pair === null)) return null;
    const pairs = aligned(before.words, now.words);
    const shared = pairs.filter(([old, word]) => old && word).length;
    return 2 * shared >= before.words.length ? pairs : null; // otherwise it is another text
  };

  const digits = (now) => {
    if (now.calibrated) return 2;
    const limit = Math.max(...now.words.map((word) => Math.abs(word.score)), 0);
    return limit > 0 ? Math.min(12, Math.max(2, 1 - Math.floor(Math.log10(limit)))) : 2;
  };

  const amount = (now, output) => (now.kind === "value" ? output.toPrecision(4) : percent(output));

  // What changed, as sentences: they are shown, and read out.
  const sentences = (now, pairs) => {
    const [gone, come] = [pairs.filter(([, word]) => !word), pairs.filter(([old]) => !old)];
    const changes = [];
    if (gone.length) changes.push(`without ${quoted(gone.slice(0, NAMED).map(([old]) => old))}${gone.length > NAMED ? " …" : ""}`);
    if (come.length) changes.push(`with ${quoted(come.slice(0, NAMED).map(([, word]) => word))}${come.length > NAMED ? " …" : ""}`);
    if (!changes.length) return ["The words are those of the text before."];
    const [old, output] = [before.outputs[before.label], now.outputs[now.label]];
    const moved =
      before.label === now.label
        ? `“${now.label}” has ${amount(now, output)}, before ${amount(now, old)}.`
        : `The prediction changed: “${now.label}” (${amount(now, output)}), before “${before.label}” (${amount(now, old)}).`;
    const list = changes.join(", ");
    return [`${list[0].toUpperCase()}${list.slice(1)}: ${moved}`, scoresMoved(now, pairs)];
  };

  const scoresCompare = (now) => before.label === now.label || !now.uses_target;

  const scoresMoved = (now, pairs) => {
    if (!scoresCompare(now)) return "Scores are not compared: they are for another class than before.";
    const places = digits(now);
    const most = pairs
      .filter(([old, word]) => old && word && Number((word.score - old.score).toFixed(places)) !== 0)
      .sort((one, other) => Math.abs(other[1].score - other[0].score) - Math.abs(one[1].score - one[0].score))
      .slice(0, NAMED)
      .map(([old, word]) => `“${word.text}” ${word.score.toFixed(places)}, before ${old.score.toFixed(places)}`);
    return most.length ? `Scores that moved most: ${most.join("; ")}.` : "No score moved.";
  };

  const element = (name, text, attributes = {}) => {
    const made = Object.assign(document.createElement(name), attributes);
    made.textContent = text;
    return made;
  };

  const table = (now) => {
    const rows = Object.keys(now.outputs)
      .filter((name) => name in before.outputs)
      .sort((one, other) => Math.abs(now.outputs[other] - before.outputs[other]) - Math.abs(now.outputs[one] - before.outputs[one]))
      .slice(0, CLASSES);
    const made = document.createElement("table");
    const head = made.createTHead().insertRow();
    for (const name of [now.kind === "value" ? "output" : "class", "before", "now", "change"]) {
      head.append(element("th", name, { scope: "col" }));
    }
    const body = made.createTBody();
    for (const name of rows) {
      const row = body.insertRow();
      row.append(element("th", name, { scope: "row", dir: "auto" }));
      const change = now.outputs[name] - before.outputs[name];
      const points = now.kind === "value" ? signed(change, 3) : `${signed(100 * change, 1)} points`;
      for (const text of [amount(now, before.outputs[name]), amount(now, now.outputs[name]), points]) {
        row.append(element("td", text));
      }
    }
    return made;
  };

  const button = (now, [old, word], most) => {
    const made = element("button", (word ?? old).text, { type: "button", className: "word" });
    made.setAttribute("aria-pressed", String(!word));
    if (!old) made.append(element("small", " new"));
    if (!old || !word || !scoresCompare(now)) return made;
    const change = word.score - old.score;
    const number = signed(change, digits(now));
    if (Number(number) === 0) return made;
    made.append(element("small", ` ${number}`));
    made.style.background = `rgb(${change > 0 ? "0 96 223" : "192 79 0"} / ${(0.6 * Math.abs(change)) / most})`;
    return made;
  };

  const show = (now, pairs) => {
    const group = now.part.querySelector(".words");
    const changes = pairs.map(([old, word]) => (old && word ? Math.abs(word.score - old.score) : 0));
    const most = Math.max(...changes, 1e-12);
    const words = pairs.map((pair) => button(now, pair, most));
    group.replaceChildren(...words);
    words.forEach((word, place) => {
      word.tabIndex = place === (returning ?? 0) ? 0 : -1;
      word.addEventListener("click", () => choose(now, pairs, place));
    });
    const compared = now.part.querySelector(".compared");
    compared.hidden = before.part === now.part;
    if (!compared.hidden) {
      const lines = sentences(now, pairs);
      compared.querySelector(".told").replaceChildren(...lines.map((line) => element("p", line)), table(now));
      told.textContent = lines.join(" ");
    }
    if (returning !== null) words[Math.min(returning, words.length - 1)]?.focus();
    returning = null;
  };

  const ask = (segment, text) => {
    form.elements[segment ? "pair" : "text"].value = text;
    form.requestSubmit();
  };

  const choose = (now, pairs, place) => {
    if (form.elements.text.value !== now.text || form.elements.pair.value !== (now.pair ?? "")) {
      told.textContent = "The text above was changed and is not explained yet: press Explain first.";
      return;
    }
    const [old, word] = pairs[place];
    const { segment } = word ?? old;
    const text = segment ? now.pair : now.text;
    const previous = pairs.slice(0, place).findLast(([, after]) => after && after.segment === segment);
    const changed = word
      ? without(text, word)
      : withAgain(text, segment ? before.pair : before.text, old, previous ? previous[1].end : 0);
    if (!changed.trim()) {
      told.textContent = "The last word stays: without it there is nothing to read.";
      return;
    }
    returning = place;
    ask(segment, changed);
  };

  const follow = () => {
    const now = read();
    if (!now) {
      returning = null;
      return;
    }
    now.kind = "values" in now ? "value" : "probability";
    const pairs = comparable(now);
    if (!pairs) before = now;
    show(now, pairs ?? now.words.map((word) => [word, word]));
    const compared = now.part.querySelector(".compared");
    compared.querySelector("[data-edit=from]").addEventListener("click", () => {
      before = now;
      show(now, now.words.map((word) => [word, word]));
      told.textContent = "Changes are compared with this text from now on.";
      now.part.querySelector(".word")?.focus();
    });
    compared.querySelector("[data-edit=back]").addEventListener("click", () => {
      returning = 0;
      form.elements.pair.value = before.pair ?? "";
      ask(0, before.text);
    });
  };
  new MutationObserver(follow).observe(answer, { childList: true });
  follow();
}
