/** The attention mask as a picture: one path of runs for each group of rows, coloured by the style sheet. */

import { el, svg } from "./dom.js";
import { t } from "./language.js";

const NAMED_UP_TO = 40; // rows, beyond which their names would not be legible
const LONGEST_NAME = 12; // characters

export const groupName = (group) => (group === "trunk" ? t("group.trunk") : group.toUpperCase());

/** The filled cells of row `y` as rectangles, one for each run. */
function runs(row, y) {
  return [...row.matchAll(/1+/g)].map(({ index, 0: run }) => `M${index} ${y}h${run.length}v1h-${run.length}z`).join("");
}

/** `trunkTokens`: how many the text has; of a long one the server draws the first. */
export function maskFigure({ tokens, groups, rows }, trunkTokens) {
  const n = rows.length;
  const named = n <= NAMED_UP_TO;
  const names = tokens.map((token) => token.trim().slice(0, LONGEST_NAME) || "␣");
  const left = named ? 1 + 0.46 * Math.max(...names.map((name) => name.length)) : Math.max(1, n / 60);
  const count = (group) => groups.filter((one) => one === group).length;
  const kinds = [...new Set(groups)];
  const cells = kinds.map((group) => {
    const d = rows.map((row, y) => (groups[y] === group ? runs(row, y) : "")).join("");
    return svg("path", { class: `cells ${group}`, d });
  });
  const edge = groups.map((group, y) =>
    named
      ? svg("text", { class: group, x: -0.5, y: y + 0.72 }, names[y])
      : svg("rect", { class: `edge ${group}`, x: -left, y, width: left * 0.6, height: 1 }),
  );
  const pointed = svg("rect", { class: "pointed", width: 1, height: 1, visibility: "hidden" });
  const label = t("mask.label", { n, trunk: count("trunk"), self: count("self"), next: count("next") });
  const picture = svg(
    "svg",
    { viewBox: `${-left} 0 ${n + left} ${n}`, role: "img", "aria-label": label, class: named ? "named" : "" },
    svg("rect", { class: "ground", x: 0, y: 0, width: n, height: n }),
    cells,
    edge,
    pointed,
  );
  const says = el("p", { class: "says faint", "aria-hidden": "true" }, t("mask.rest"));
  picture.addEventListener("pointermove", (event) => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
    const [x, y] = [Math.floor(place.x), Math.floor(place.y)];
    const inside = x >= 0 && x < n && y >= 0 && y < n;
    pointed.setAttribute("visibility", inside ? "visible" : "hidden");
    if (!inside) return;
    pointed.setAttribute("x", x);
    pointed.setAttribute("y", y);
    const both = { a: tokens[y].trim(), b: tokens[x].trim() };
    says.textContent = t(rows[y][x] === "1" ? "mask.sees" : "mask.blind", both);
  });
  const legend = kinds.map((group) => el("span", { class: `key ${group}` }, groupName(group)));
  return el(
    "figure",
    { class: "mask" },
    el("h3", {}, t("mask")),
    el("p", { class: "faint" }, t("mask.about"), trunkTokens > count("trunk") ? ` ${t("mask.cut", { n: count("trunk") })}` : ""),
    picture,
    el("figcaption", {}, el("span", { class: "keys" }, legend), says),
  );
}
