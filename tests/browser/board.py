"""What tests look for on the page of a dashboard."""

from __future__ import annotations

SEEN_AT_ONCE = """() => {
  const board = document.querySelector('.dpnb-grid');
  board.scrollIntoView();
  const seen = name => [...board.querySelectorAll(name)]
    .filter(e => e.getClientRects().length)
    .some(e => {
      const box = e.getBoundingClientRect();
      return box.height > 8 && box.top >= -1 && box.bottom <= innerHeight + 1
        && box.left >= -1 && box.right <= innerWidth + 1;
    });
  return ['.dpnb-picture img', '.dpnb-memory svg', '.dpnb-on'].map(seen);
}"""
"""Whether picture, chart and the switches that are on are within the window, without scrolling."""

FAINT = """() => {
  const parse = colour => {
    const numbers = colour.match(/[\\d.]+/g).map(Number);
    return numbers.length > 3 ? numbers : [...numbers, 1];
  };
  const linear = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => .2126 * linear(c[0]) + .7152 * linear(c[1]) + .0722 * linear(c[2]);
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
  const behind = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      layers.push(parse(getComputedStyle(e).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const words = [...document.querySelectorAll('.dpnb *')].filter(e =>
    [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
    && e.getClientRects().length && !e.closest('style') && !e.closest(':disabled'));
  const faint = words.map(e => {
    const ink = parse(e.closest('svg') ? getComputedStyle(e).fill : getComputedStyle(e).color);
    const below = behind(e.closest('svg') ? e.closest('svg').parentElement : e);
    const [a, b] = [light(over(ink, below)), light(below)];
    return [e.textContent.trim().slice(0, 40), (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
  });
  return [words.length, faint.filter(([, ratio]) => ratio < 4.5)];
}"""
"""How many elements have words, and those whose contrast with what is behind is below 4.5."""

HEIGHTS = """() => {
  const board = document.querySelector('.dpnb-grid'), top = board.getBoundingClientRect().top;
  const parts = ['.dpnb-memory', '.dpnb-switches', '.dpnb-plans', '.dpnb-history', '.dpnb-result',
    '.dpnb-numbers'];
  return parts.map(name => [board.querySelector(name).getBoundingClientRect().top - top, name]);
}"""
"""Where the cards and their parts begin."""

CUT_OFF = """() => {
  const pen = document.createElement('canvas').getContext('2d');
  const words = e => e.value || e.textContent.trim();
  const isCut = e => {
    if (e.tagName !== 'SELECT') return e.scrollWidth > e.clientWidth + 1;
    const look = getComputedStyle(e), arrow = 16;
    pen.font = look.font;
    const inside = e.clientWidth - parseFloat(look.paddingLeft) - arrow;
    return pen.measureText(e.selectedOptions[0]?.textContent ?? '').width > inside + 1;
  };
  return [...document.querySelectorAll(`.dpnb-grid :is(.widget-label, .widget-checkbox label,
    .widget-checkbox span, .jupyter-button, select, input[type=number], .dpnb-settings input)`)]
    .filter(e => e.offsetParent && words(e) && !e.closest('.dpnb-queue, .dpnb-chip') && isCut(e))
    .map(e => `${words(e)}: ${e.scrollWidth} in ${e.clientWidth}`);
}"""
"""Labels, buttons, choices and numbers whose words are wider than their places."""
