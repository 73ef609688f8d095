"""Draw the figures of docs/method.md: the joint prompt with its mask, and the words an embedding holds.

python scripts/method_figures.py docs/figures

Both come from the code that trains: ``llara.prompts`` and ``llara.joint`` lay the prompt out, and
``llara.inspect`` reads the embedding by the model's own head.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from llara.joint import BranchSpec, Joint, dense_mask, lay_out
from llara.model import MINI, MINI_BASE, convert, load_tokenizer
from llara.prompts import Prompts
from llara.report.svg import COLOURS, FAINT, INK, new_figure, plain_style, quiet, save

if TYPE_CHECKING:
    from llara.inspect import Word

TEXT = "Wings stall."
SENTENCE = "The ship left the harbour before the storm reached the coast."
TOP = 10  # words shown
PARTS = (INK, COLOURS[0], COLOURS[1])  # trunk, SELF, NEXT


def lay_out_text(text: str) -> tuple[Joint, list[str]]:
    """The joint prompt of one text, and its tokens as they are written."""
    tokenizer = load_tokenizer(MINI)
    prompts = Prompts(tokenizer)
    trunk = prompts.trunk(prompts.text_ids([text])[0])
    branches = [BranchSpec(b.ids, b.num_slots) for b in prompts.branches.values()]
    joint = lay_out([trunk], branches, pad_id=0)
    ids = joint.input_ids_BT[0].tolist()
    tokens = [str(tokenizer.decode([token])).strip() or "\u2423" for token in ids]  # a blank, drawn
    return joint, tokens


@plain_style()
def draw_joint(path: Path, text: str = TEXT) -> None:
    """The mask as squares, a row what one token sees; position ids and targets beside it."""
    joint, tokens = lay_out_text(text)
    seen_QK = dense_mask(joint)[0, 0]
    branch = joint.branch_BT[0].tolist()
    size = len(tokens)
    figure = new_figure(width=8.4, height=0.245 * (size + 3.6))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-3.4, size + 13.4)
    axes.set_ylim(size + 0.2, -3.4)
    for query, key in torch.nonzero(seen_QK).tolist():
        strength = 0.85 if branch[key] else 0.45  # the trunk is seen by all
        square = Rectangle(
            (key + 0.06, query + 0.06), 0.88, 0.88, color=PARTS[branch[query]], alpha=strength, linewidth=0
        )
        square.set_gid(f"sees-{query}-{key}")
        axes.add_patch(square)
    _label(axes, joint, tokens)
    save(path, figure, f"What each token of the joint prompt of {text!r} sees, and the position it has")


def _label(axes: Axes, joint: Joint, tokens: list[str]) -> None:
    branch, positions = joint.branch_BT[0].tolist(), joint.position_ids_BT[0].tolist()
    size = len(tokens)
    for place, token in enumerate(tokens):
        colour = PARTS[branch[place]]
        middle = place + 0.5
        axes.text(-0.3, middle, token, ha="right", va="center", fontsize=9, color=colour)
        axes.text(middle, -0.3, token, ha="left", va="bottom", fontsize=9, color=colour, rotation=60)
        axes.text(
            size + 2.2, middle, str(positions[place]), ha="right", va="center", fontsize=9, color=colour
        )
    axes.text(size + 1.5, -0.4, "position", ha="left", va="bottom", fontsize=9, color=FAINT)
    targets = ("the words of the text", "the words of the text that follows")
    for column, role, target in zip(joint.slot_columns_N.tolist(), ("SELF", "NEXT"), targets, strict=True):
        axes.text(
            size + 2.9,
            column + 0.5,
            f"\u2192 {role} embedding: {target}",
            va="center",
            fontsize=9,
            color=PARTS[branch[column]],
        )


@plain_style()
def draw_words(path: Path, held: dict[str, list[Word]], text: str = SENTENCE) -> None:
    """The words that a SELF embedding holds, a panel a model; those of the text in colour."""
    figure = new_figure(width=8.4, height=0.7 + 0.24 * TOP)
    panels = figure.subplots(1, len(held), sharex=True)
    for axes, (title, words) in zip(panels, held.items(), strict=True):
        quiet(axes, grid="x", strength=0.35)
        axes.set_title(title, loc="left", fontsize=10, color=INK)
        colours = [COLOURS[0] if word.in_text else FAINT for word in words]
        axes.barh(range(TOP), [word.weight for word in words], color=colours, alpha=0.6, height=0.7)
        axes.set_yticks(range(TOP), [word.word for word in words])
        for tick, colour in zip(axes.get_yticklabels(), colours, strict=True):
            tick.set_color(colour)
        axes.set_ylim(TOP - 0.5, -0.5)
        axes.set_xlabel("weight")
    save(path, figure, f"Words held by the SELF embedding of {text!r}: {', '.join(held)}")


def words_held(text: str) -> dict[str, list[Word]]:
    """The strongest words of the SELF embedding of ``text``, before and after adaptation."""
    from llara.inspect import Inspector

    with tempfile.TemporaryDirectory() as folder:
        base = convert(MINI_BASE, Path(folder) / "base")
        models = {"before: llara-mini-base": str(base), "after adaptation: llara-mini": MINI}
        return {
            title: list(Inspector(model).inspect(text, top=TOP).roles["self"].words)
            for title, model in models.items()
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the figures go")
    folder = parser.parse_args().folder
    draw_joint(folder / "method-joint.svg")
    draw_words(folder / "method-words.svg", words_held(SENTENCE))


if __name__ == "__main__":
    main()
