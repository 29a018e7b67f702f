"""The contrast, as WCAG 2 defines it, of what Chromium shows: letters, and what means something without being a letter.

Colours are those that the browser computed, laid over each other from the page up, with the opacity of everything
around them. A page's own animation, pictures and what is folded are left out; fold everything open first.
"""

import json
from typing import Any

from tests.chromium import Chromium

# What must be reached: WCAG 2.2, success criteria 1.4.3 and 1.4.11. Of "shade" nothing is asked: the line below a word
# shows the same score.
LEAST = {"letters": 4.5, "letters on shades": 4.5, "line": 3.0, "bar": 3.0, "mark": 3.0, "edge": 3.0}
_ASK = """
(() => {
  const parse = (code) => {
    const [r, g, b, a = 1] = code.match(/[\\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
    return code.startsWith("color(srgb") ? [255 * r, 255 * g, 255 * b, a] : [r, g, b, a];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const paper = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
  const around = (element) => {
    const all = [];
    for (let one = element; one; one = one.parentElement) all.unshift(one);
    return all;
  };
  // What lies behind an element (its own background included), and how opaque things in it are.
  const ground = (element) => {
    let [behind, opacity] = [paper, 1];
    for (const one of around(element)) {
      const style = getComputedStyle(one);
      opacity *= Number(style.opacity);
      const [r, g, b, a] = parse(style.backgroundColor);
      behind = over([r, g, b, a * opacity], behind);
    }
    return { behind, opacity };
  };
  const shown = (element) => {
    const { width, height } = element.getBoundingClientRect();
    return width > 0 && height > 0 && element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  };
  const least = {};
  const note = (kind, code, behind, opacity, what) => {
    const [r, g, b, a] = parse(code);
    const value = contrast(over([r, g, b, a * opacity], behind), behind);
    const where = what.trim().replace(/\\s+/g, " ").slice(0, 40);
    if (!(kind in least) || value < least[kind][0]) least[kind] = [value, where];
  };
  const seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const [text, element] = [walker.currentNode.data, walker.currentNode.parentElement];
    if (!text.trim() || seen.has(element) || element.closest("script, style, noscript, svg, :disabled")) continue;
    seen.add(element);
    if (!shown(element)) continue;
    const { behind, opacity } = ground(element);
    const shaded = element.matches(".expnet-text span[style*=background], #edit .word[style*=background]");
    note(shaded ? "letters on shades" : "letters", getComputedStyle(element).color, behind, opacity, text);
  }
  for (const word of document.querySelectorAll("span[style*='background']")) {
    const [style, { behind, opacity }] = [getComputedStyle(word), ground(word.parentElement)];
    if (!shown(word) || !word.title) continue;
    note("shade", style.backgroundColor, behind, opacity, word.textContent);
    if (parseFloat(style.borderBottomWidth)) note("line", style.borderBottomColor, behind, opacity, word.textContent);
  }
  for (const word of document.querySelectorAll("span[style*=underline]")) {
    const { behind, opacity } = ground(word);
    note("line", getComputedStyle(word).textDecorationColor, behind, opacity, word.textContent);
  }
  for (const bar of document.querySelectorAll("[aria-hidden] > div[style*=background], .bar i, .histogram i")) {
    if (!shown(bar)) continue;
    const { behind, opacity } = ground(bar.parentElement.closest("td, .histogram") ?? bar.parentElement);
    note("bar", getComputedStyle(bar).backgroundColor, behind, opacity, bar.closest("tr, figure")?.textContent ?? "");
  }
  for (const word of document.querySelectorAll("#words .word[aria-pressed=true]")) {
    const [style, { behind, opacity }] = [getComputedStyle(word), ground(word.parentElement)];
    const line = style.boxShadow.match(/^(rgba?\\([^)]*\\)|color\\([^)]*\\))/)?.[0];
    note("mark", line ?? style.backgroundColor, behind, opacity, word.textContent);
  }
  for (const field of document.querySelectorAll("textarea, select, input[type=number], input[type=search], button")) {
    const [style, { behind, opacity }] = [getComputedStyle(field), ground(field.parentElement)];
    if (!shown(field) || field.disabled || !parseFloat(style.borderTopWidth)) continue;
    const edge = parse(style.borderTopColor)[3] ? style.borderTopColor : style.backgroundColor;
    note("edge", edge, behind, opacity, field.name || field.textContent);
  }
  return JSON.stringify(least);
})()
"""


def open_all(browser: Chromium) -> None:
    """Unfold what is folded."""
    browser.value("for (const each of document.querySelectorAll('details')) each.open = true")


def measured(browser: Chromium) -> dict[str, tuple[float, str]]:
    """Return the least contrast of each kind of thing on the page that is shown, and where it is."""
    return {kind: (round(value, 2), what) for kind, (value, what) in json.loads(browser.value(_ASK)).items()}


def short_of(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the kinds that do not reach what they must."""
    return {kind: figure for kind, figure in figures.items() if figure[0] < LEAST.get(kind, 0)}
