// Small helpers: elements, words for numbers, arrays out of text.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const NONE = 65535;

function el(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  for (const child of children) node.append(child);
  return node;
}

function html(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const key in attributes) {
    if (key === "class") node.className = attributes[key];
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), attributes[key]);
    else node.setAttribute(key, attributes[key]);
  }
  for (const child of children) node.append(child);
  return node;
}

function clock(seconds, digits = 1) {
  const unit = 10 ** digits,
    whole = Math.round(Math.abs(seconds) * unit),
    left = whole % (60 * unit);
  const minutes = Math.floor(whole / (60 * unit)),
    hours = Math.floor(minutes / 60);
  const tail = (left / unit).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const head = hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}` : `${minutes}`;
  return `${seconds < 0 ? "-" : ""}${head}:${tail}`;
}

function letter(level) {
  return Math.round(level * 10) < 10 ? "" : " ABCDE"[Math.min(5, Math.floor(Math.round(level * 10) / 10))];
}

function reading(level, graded) {
  return graded ? `${level.toFixed(1)} ${letter(level)}`.trim() : `${(100 * level).toFixed(0)} %`;
}

function unpack(text, kind) {
  return new kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
}

// Place of the last of the rising numbers that is not above x; -1 if all are.
function before(numbers, x) {
  let low = 0,
    high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= x) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
