from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.config import TrainingConfig
from pipeline.training.history import History
from pipeline.training.schedules import (
    SCHEDULES,
    ScheduleConfig,
    ScheduleName,
    Watched,
    learning_rate,
)
from pipeline.training.validation import Validation


def reductions(losses: list[float], patience: int) -> list[int]:
    """How often ReduceLROnPlateau of Keras, the paper's, has reduced after each epoch."""
    best, wait, count, found = float("inf"), 0, 0, []
    for loss in losses:
        if loss < best:
            best, wait = loss, 0
        else:
            wait += 1
            if wait >= patience:
                count, wait = count + 1, 0
        found.append(count)
    return found


def test_every_schedule_that_a_configuration_may_name_is_there() -> None:
    assert set(SCHEDULES) == set(get_args(ScheduleName))


@given(losses=st.lists(st.integers(0, 6).map(float), max_size=30), patience=st.integers(1, 4))
def test_the_rate_is_reduced_on_plateaus_as_the_paper_does(
    losses: list[float], patience: int
) -> None:
    config = ScheduleConfig(
        schedule="plateau", plateau_patience=patience, learning_rate=1, warmup_steps=1
    )
    watched, rates = Watched(), []
    for step, loss in enumerate(losses):
        watched.see(loss, step + 1, config)
        rates.append(learning_rate(step + 5, config, watched))
    assert rates == pytest.approx([0.7**n for n in reductions(losses, patience)])


def test_a_plateau_is_warmed_up_too() -> None:
    config = ScheduleConfig(schedule="plateau", learning_rate=1, warmup_steps=10)
    assert learning_rate(4, config, Watched(reductions=3)) == pytest.approx(0.5)
    assert learning_rate(10, config, Watched(reductions=3)) == pytest.approx(0.7**3)


def test_one_step_of_warm_up_is_none() -> None:
    config = ScheduleConfig(schedule="constant", learning_rate=0.25, warmup_steps=1)
    assert [learning_rate(step, config) for step in (0, 1, 9_999)] == [0.25] * 3


def history(**validation: object) -> History:
    return History(TrainingConfig.model_validate({"validation": validation}))


def test_a_training_is_over_after_as_many_validations_without_improvement() -> None:
    waiting = history(patience=2)
    over = []
    for step, loss in enumerate([5.0, 6.0, 4.0, 4.0, 4.5, 1.0]):
        waiting.add(step + 1, Validation(loss, None))
        over.append(waiting.is_over)
    assert over == [False, False, False, False, True, False]
    assert not history().is_over


def test_the_best_is_that_of_what_is_watched() -> None:
    found = [Validation(0.3, 0.9), Validation(0.1, 0.8), Validation(0.2, 0.95)]
    for watch, step in (("loss", 20), ("v_rand", 30)):
        one = history(watch=watch)
        improved = [one.add(10 * (i + 1), v) for i, v in enumerate(found)]
        assert one.best is not None
        assert one.best.step == step
        assert improved == ([True, True, False] if watch == "loss" else [True, False, True])


def test_the_sentence_tells_the_last_and_the_best() -> None:
    one = history()
    assert one.sentence == ""
    one.add(1, Validation(0.1, 0.98))
    one.add(2, Validation(0.2, 0.9))
    assert one.sentence == ", validation 0.2000 (best 0.1000), V_rand 0.9000 (best 0.9800)"
