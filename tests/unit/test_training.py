"""Callbacks and checks that every training run has, without a training."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState

from llara.config import FinetuneTrainingConfig
from llara.errors import ConfigError
from llara.finetune.trainer import EvaluateLast
from llara.training import StopAfter, check_devices, common_arguments
from llara.training.trainer import _Clock

TWO_PROCESSES: Any = SimpleNamespace(device=torch.device("cpu"), world_size=2)


def test_several_gpus_in_one_process_are_refused() -> None:
    check_devices(SimpleNamespace(n_gpu=1))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"2 GPUs are visible .* --nproc_per_node 2"):
        check_devices(SimpleNamespace(n_gpu=2))  # type: ignore[arg-type]


def test_other_processes_wait_for_the_first_longer_than_half_an_hour(tmp_path) -> None:
    arguments = common_arguments(FinetuneTrainingConfig(), tmp_path, max_steps=1)
    assert arguments["ddp_timeout"] > 24 * 3600


def test_the_clock_of_a_resumed_run_goes_on_from_its_checkpoint() -> None:
    clock = _Clock()
    arguments: Any = None
    clock.on_train_begin(arguments, TrainerState(), TrainerControl())
    assert 0 <= clock.seconds() < 60
    history: Any = [{"step": 1, "seconds": 70.0}, {"step": 2, "seconds": 90.5}, {"step": 2, "eval_loss": 1.0}]
    clock.on_train_begin(arguments, TrainerState(log_history=history), TrainerControl())
    assert 90.5 <= clock.seconds() < 150


@pytest.mark.parametrize("first_is_late", [True, False])
def test_the_first_process_decides_when_the_time_is_over(monkeypatch, first_is_late: bool) -> None:
    def from_the_first(late: torch.Tensor, src: int) -> None:
        assert src == 0
        late.fill_(float(first_is_late))

    monkeypatch.setattr(torch.distributed, "broadcast", from_the_first)
    own_clock = StopAfter(1e9 if first_is_late else -1.0)  # says the opposite
    control = own_clock.on_step_end(TWO_PROCESSES, TrainerState(), TrainerControl())
    assert control.should_training_stop is first_is_late


@pytest.mark.parametrize(
    ("step", "stopping", "evaluated"), [(3, False, False), (3, True, True), (9, False, True)]
)
def test_a_run_is_evaluated_and_saved_where_it_ends(step: int, stopping: bool, evaluated: bool) -> None:
    state = TrainerState(global_step=step, max_steps=9)
    control = TrainerControl(should_training_stop=stopping)
    control = EvaluateLast().on_step_end(TWO_PROCESSES, state, control)
    assert (control.should_evaluate, control.should_save) == (evaluated, evaluated)
