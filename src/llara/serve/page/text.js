/**
 * Offsets. The API counts code points, as Python does; JavaScript counts UTF-16 units, where an emoji is two.
 * A lone surrogate is one of each, on both sides.
 */

const ASTRAL = /[\u{10000}-\u{10FFFF}]/u;

/** Where each code point of `text` begins, in UTF-16 units, and the end; null where both counts agree. */
function starts(text) {
  if (!ASTRAL.test(text)) return null;
  const units = [];
  let at = 0;
  for (const character of text) {
    units.push(at);
    at += character.length;
  }
  units.push(at);
  return units;
}

/** [start, end, weight] in code points -> {start, end, weight} in UTF-16 units: sorted, without overlaps. */
export function toUnits(text, spans) {
  const units = starts(text);
  const last = units ? units.length - 1 : text.length;
  const unit = (point) => {
    const inside = Math.max(0, Math.min(last, point));
    return units ? units[inside] : inside;
  };
  const sorted = spans
    .map(([start, end, weight]) => ({ start: unit(start), end: unit(end), weight }))
    .sort((a, b) => a.start - b.start || b.weight - a.weight);
  const apart = [];
  let free = 0;
  for (const span of sorted) {
    const start = Math.max(span.start, free);
    if (span.end <= start) continue;
    apart.push({ ...span, start });
    free = span.end;
  }
  return apart;
}

/** The text between `from` and `to` in pieces {text, weight?, ...}, along spans in UTF-16 units. */
export function pieces(text, spans, from = 0, to = text.length) {
  const parts = [];
  let at = from;
  for (const span of spans) {
    const start = Math.max(span.start, at);
    const end = Math.min(span.end, to);
    if (end <= start) continue;
    if (start > at) parts.push({ text: text.slice(at, start) });
    parts.push({ ...span, text: text.slice(start, end) });
    at = end;
  }
  if (at < to) parts.push({ text: text.slice(at, to) });
  return parts;
}

/** The slice of `code points` start..end of a text. */
export function slicePoints(text, start, end) {
  const units = starts(text);
  return units ? text.slice(units[start], units[end]) : text.slice(start, end);
}

/** The first `most` code points of a text. */
export function firstPoints(text, most) {
  return text.length <= most ? text : slicePoints(text, 0, most);
}

const LEAD = 60; // units of context before the first mark of an excerpt

/** The stretch of about `length` units that holds the most weight, from a word's beginning to a word's end. */
export function excerpt(text, spans, length = 280) {
  if (text.length <= length * 1.15) return { start: 0, end: text.length };
  const held = (from) =>
    spans.reduce((sum, s) => (s.start >= from && s.end <= from + length ? sum + s.weight : sum), 0);
  let best = 0;
  let most = held(0) * 1.2; // the beginning reads best: elsewhere must be clearly better
  for (const span of spans) {
    const from = Math.max(0, span.start - LEAD);
    const weight = held(from);
    if (weight > most) [best, most] = [from, weight];
  }
  const start = best ? wordStart(text, best) : 0;
  const end = Math.min(text.length, start + length);
  return { start, end: end < text.length ? wordEnd(text, end) : end };
}

function wordStart(text, at) {
  const space = text.slice(at, at + 24).search(/\s\S/);
  return space >= 0 ? at + space + 1 : whole(text, at);
}

function wordEnd(text, at) {
  const back = text.slice(at - 24, at).search(/\s\S*$/);
  return back >= 0 ? at - 24 + back : whole(text, at);
}

/** A place beside a surrogate pair, never inside one. */
function whole(text, at) {
  return at > 0 && /^[\uD800-\uDBFF][\uDC00-\uDFFF]/.test(text.slice(at - 1, at + 1)) ? at + 1 : at;
}

/** Of several readings of a document (with its title, without), the one that the words' offsets belong to. */
export function textOf(words, readings) {
  const fits = (text) => words.filter(({ word, start, end }) => slicePoints(text, start, end) === word).length;
  return readings.reduce((best, text) => (fits(text) > fits(best) ? text : best));
}

/** A document as its vector was made from it: title, space, text. */
export function wholeText({ title, text }) {
  return title && text ? `${title} ${text}` : title || text;
}
