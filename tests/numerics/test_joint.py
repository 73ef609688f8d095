"""The joint pass equals separate passes, for every family, padding and packing."""

from __future__ import annotations

import pytest
import torch
from architectures import ARCHITECTURES, WINDOW, tiny_model

from llara.errors import ModelError
from llara.joint import BranchSpec, attention_argument, check_joint, dense_mask, forward_slots, lay_out, pack

SELF, NEXT = BranchSpec([11, 12, 13, 2], 1), BranchSpec([21, 22, 23, 24, 2], 1)
TOLERANCE = 1e-5  # float32, states of order one


def random_trunks(lengths: list[int], seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 97, (n,), generator=generator).tolist() for n in lengths]


@torch.no_grad()
def plain_states(model, trunks, branches) -> torch.Tensor:
    """One ordinary causal pass per document and branch, unpadded, with none of our masks: the oracle."""
    states = []
    for trunk in trunks:
        for branch in branches:
            ids = torch.tensor([[*trunk, *branch.ids]])
            hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
            states.append(hidden[len(ids[0]) - branch.num_slots :])
    return torch.cat(states)


@pytest.mark.parametrize("family", ARCHITECTURES)
@pytest.mark.parametrize("layout", ["right", "left", "packed"])
@torch.no_grad()
def test_joint_pass_equals_separate_plain_passes(family: str, layout: str) -> None:
    model = tiny_model(family)
    trunks = random_trunks([1, 2, 3 * WINDOW, 17, 40])  # 1: a text of no tokens after its BOS
    rows = pack([len(t) + 9 for t in trunks], 64) if layout == "packed" else None
    joint = lay_out(trunks, [SELF, NEXT], pad_id=0, pad_left=layout == "left", rows=rows)
    states = forward_slots(model.base_model, joint)
    assert states.std() > 0.1
    assert (states - plain_states(model, trunks, [SELF, NEXT])).abs().max() < TOLERANCE


@torch.no_grad()
def test_longest_possible_text_is_equal_too() -> None:
    model = tiny_model("gpt2")  # learned positions: 256 is all there is
    trunks = random_trunks([256 - 5])
    states = forward_slots(model.base_model, lay_out(trunks, [SELF, NEXT], pad_id=0))
    assert (states - plain_states(model, trunks, [SELF, NEXT])).abs().max() < TOLERANCE


@torch.no_grad()
def test_any_number_of_branches_and_slots() -> None:
    model = tiny_model("llama")
    branches = [BranchSpec([5, 6, 7], 2), BranchSpec([8], 1), BranchSpec([9, 10, 11, 12], 3)]
    trunks = random_trunks([6, 9])
    states = forward_slots(model.base_model, lay_out(trunks, branches, pad_id=0))
    assert states.shape == (12, 32)
    assert (states - plain_states(model, trunks, branches)).abs().max() < TOLERANCE


def test_gradients_equal_those_of_separate_passes() -> None:
    model = tiny_model("llama")
    trunks = random_trunks([7, 20])
    weights = torch.randn(4, 32, generator=torch.Generator().manual_seed(1))
    (forward_slots(model.base_model, lay_out(trunks, [SELF, NEXT], pad_id=0)) * weights).sum().backward()
    joint_gradients = [p.grad.clone() for p in model.base_model.parameters()]
    model.zero_grad()
    total = torch.zeros(())
    for d, trunk in enumerate(trunks):
        for b, branch in enumerate([SELF, NEXT]):
            hidden = model.base_model(input_ids=torch.tensor([[*trunk, *branch.ids]])).last_hidden_state
            total = total + (hidden[0, -1] * weights[2 * d + b]).sum()
    total.backward()
    for ours, parameter in zip(joint_gradients, model.base_model.parameters(), strict=True):
        assert (ours - parameter.grad).abs().max() < 1e-4 * (1 + parameter.grad.abs().max())


def test_mask_of_a_small_case_by_hand() -> None:
    joint = lay_out([[1, 3]], [BranchSpec([4], 1), BranchSpec([5], 1)], pad_id=0, row_tokens=5)
    seen = dense_mask(joint)[0, 0].int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],  # SELF sees the text and itself
        [1, 1, 0, 1, 0],  # NEXT sees the text and itself, not SELF
        [0, 0, 0, 0, 1],  # padding sees only itself
    ]
    assert joint.position_ids_BT[0].tolist() == [0, 1, 2, 2, 0]
    assert joint.slot_columns_N.tolist() == [2, 3]


def test_block_mask_is_the_same_predicate() -> None:
    from torch.nn.attention.flex_attention import create_mask

    trunks = random_trunks([5, 9, 30])
    joint = lay_out(trunks, [SELF, NEXT], pad_id=0, rows=pack([14, 18, 39], 64))
    from llara.joint import block_mask

    for window in (None, 6):
        mask_mod = block_mask(joint, window=window).mask_mod
        rows, width = joint.input_ids_BT.shape
        from_mod = create_mask(mask_mod, rows, None, width, width, device="cpu")
        assert torch.equal(from_mod, dense_mask(joint, window=window))


@torch.no_grad()
def test_flex_attention_equals_the_dense_mask() -> None:
    trunks = random_trunks([5, 9, 30])
    joint = lay_out(trunks, [SELF, NEXT], pad_id=0, rows=pack([14, 18, 39], 128), row_tokens=128)
    dense = forward_slots(tiny_model("llama", head_dim=16).base_model, joint)
    flex_model = tiny_model("llama", head_dim=16, attn_implementation="flex_attention")
    with torch.compiler.set_stance("force_eager"):  # compiling for the CPU takes a minute and proves no more
        flex = forward_slots(flex_model.base_model, joint)
    assert (dense - flex).abs().max() < TOLERANCE


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_check_accepts_every_supported_family(family: str) -> None:
    assert check_joint(tiny_model(family)) < 1e-4


def test_check_refuses_a_recurrent_model_with_the_reason() -> None:
    changes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "vocab_size": 97,
        "state_size": 4,
        "attn_implementation": "eager",
    }
    with pytest.raises(ModelError, match="joint"):
        check_joint(tiny_model("mamba", **changes))


def test_check_refuses_a_model_whose_positions_come_from_the_row() -> None:
    # BLOOM's ALiBi measures distance by column, so a branch further right would look further away.
    with pytest.raises(ModelError, match="bloom"):
        check_joint(tiny_model("bloom", n_head=4, attn_implementation="eager"))


def test_flash_attention_is_refused_with_the_way_out() -> None:
    model = tiny_model("llama")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ModelError, match="sdpa, eager or flex_attention"):
        attention_argument(lay_out([[1]], [SELF], pad_id=0), model.config, torch.float32)
