/** The two dialogs: help, and the API key. */

import { isKey, key } from "./api.js";
import { $, el } from "./dom.js";
import { t } from "./language.js";

const KEYS = [
  [["/"], "key.slash"],
  [["↑", "↓", "←", "→"], "key.arrows"],
  [["Enter"], "key.enter"],
  [["j", "k"], "key.jk"],
  [["i"], "key.i"],
  [["Esc"], "key.esc"],
  [["?"], "key.help"],
];

export function openHelp() {
  const dialog = $("help");
  const rows = KEYS.map(([keys, name]) => [
    el("dt", {}, keys.map((one) => el("kbd", {}, one))),
    el("dd", {}, t(name)),
  ]);
  dialog.replaceChildren(
    el("h2", { id: "help-title" }, t("helpTitle")),
    el("dl", { class: "keys" }, rows),
    el("p", { class: "faint" }, t("helpAbout")),
    el("form", { method: "dialog", class: "buttons" }, el("button", {}, t("close"))),
  );
  dialog.showModal();
}

/** Ask for a key; it is kept in sessionStorage and nowhere else. `wrong`: the last one was refused. */
export function askKey({ wrong, done }) {
  const dialog = $("key");
  if (dialog.open) return;
  const input = el("input", {
    id: "key-input",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "key-about",
    "aria-invalid": wrong ? "true" : null,
  });
  const form = el(
    "form",
    {
      method: "dialog",
      onsubmit: () => {
        const given = input.value.trim();
        if (isKey(given)) {
          key.set(given);
          done();
        } else setTimeout(() => askKey({ wrong: true, done })); // once this one has closed
      },
    },
    el("label", { for: "key-input" }, t("keyLabel")),
    input,
    el(
      "div",
      { class: "buttons" },
      el("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, t("cancel")),
      el("button", {}, t("keyUse")),
    ),
  );
  dialog.replaceChildren(
    el("h2", { id: "key-title" }, t("keyTitle")),
    el("p", { id: "key-about" }, wrong ? t("keyWrong") : t("keyWanted"), " ", t("keyAbout")),
    form,
  );
  dialog.showModal();
}
