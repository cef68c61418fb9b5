from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from pipeline.boundaries.device import autocast
from pipeline.boundaries.networks import NETWORKS
from pipeline.boundaries.networks.rc_spcnet import STRIDE, RCSPCNet, RCSPCNetConfig
from pipeline.boundaries.predict import boundary_probability


def sections(n: int, height: int, width: int) -> Tensor:
    return torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("skips", [0, 1, 2])
@pytest.mark.parametrize("size", [(8, 8), (8, 24), (64, 40)])
def test_logits_have_the_size_of_the_sections(
    size: tuple[int, int], skips: int, tiny: Callable[..., Any]
) -> None:
    with torch.no_grad():
        logits = tiny(context_skips=skips)(sections(2, *size))
    assert logits.shape == (2, 2, *size)


def parameters_by_hand(stem: int, quarter: int, eighth: int, units: tuple[int, ...]) -> int:
    """Convolutions have no bias but the last; batch normalisation has two numbers a channel."""

    def unit(inputs: int, outputs: int, shortcut: bool) -> int:
        body = 9 * inputs * outputs + 9 * outputs * outputs + 4 * outputs
        return body + (inputs * outputs + 2 * outputs if shortcut else 0)

    total = 9 * stem + 2 * stem
    total += unit(stem, quarter, True) + (units[0] - 1) * unit(quarter, quarter, False)
    total += unit(quarter, eighth, True) + (units[1] - 1) * unit(eighth, eighth, False)
    total += sum(units[2:]) * unit(eighth, eighth, False)
    for inputs, outputs in ((eighth, quarter), (quarter, stem), (stem, stem)):
        total += 9 * inputs * 4 * outputs + 2 * outputs
    return total + 9 * stem * stem + 2 * stem + 9 * stem * 2 + 2


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_parameters_are_as_many_as_counted_by_hand() -> None:
    assert parameters_by_hand(24, 64, 128, (2, 2, 1, 1, 1, 1)) == count(RCSPCNet(RCSPCNetConfig()))
    shape = RCSPCNetConfig(stem=5, widths=(7, 11), units=(1, 3, 2, 1, 1, 2))
    assert parameters_by_hand(5, 7, 11, shape.units) == count(RCSPCNet(shape))


def test_default_network_has_two_million_parameters() -> None:
    assert count(NETWORKS["rc_spcnet"].build({})) == 2_210_954


@pytest.mark.parametrize("skips", [0, 1, 2])
def test_every_parameter_gets_a_gradient(skips: int, tiny: Callable[..., Any]) -> None:
    network = tiny(stem=8, widths=(8, 16), context_skips=skips, dropout=0.0).train()
    logits = network(sections(2, 32, 32))
    torch.nn.functional.cross_entropy(logits, torch.ones(2, 32, 32, dtype=torch.long)).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_context_skips_change_the_map_but_not_the_weights(tiny: Callable[..., Any]) -> None:
    networks = [tiny(context_skips=k) for k in (0, 1, 2)]
    for network in networks[1:]:
        network.load_state_dict(networks[0].state_dict())
    image = sections(1, 32, 32)
    with torch.no_grad():
        none, one, two = (network(image) for network in networks)
    assert not torch.allclose(none, one)
    assert not torch.allclose(one, two)


def test_prediction_is_deterministic(tiny: Callable[..., Any]) -> None:
    network, image = tiny(dropout=0.5), sections(2, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(image), network(image))


def test_sections_of_a_batch_do_not_see_each_other(tiny: Callable[..., Any]) -> None:
    network, image = tiny(), sections(2, 32, 32)
    with torch.no_grad():
        apart = torch.cat([network(image[:1]), network(image[1:])])
        torch.testing.assert_close(network(image), apart, atol=1e-5, rtol=1e-5)


def test_sections_of_a_batch_do_not_see_each_other_in_bfloat16(tiny: Callable[..., Any]) -> None:
    network, image = tiny(), sections(2, 32, 32)
    with torch.no_grad(), autocast("cpu", "bf16"):
        apart = torch.cat([network(image[:1]), network(image[1:])])
        together = network(image)
    assert together.dtype == torch.bfloat16
    difference = boundary_probability(together) - boundary_probability(apart)
    assert float(difference.abs().max()) < 2 / 255


def test_what_is_further_than_the_field_does_not_matter(tiny: Callable[..., Any]) -> None:
    network = tiny(dilations=(1, 1, 1, 1))
    image = sections(1, 8, 256)
    other = image.clone()
    other[..., 128:] = 1 - other[..., 128:]
    with torch.no_grad():
        change = (network(image) - network(other)).abs().amax(dim=(0, 1, 2))
    assert float(change[128]) > 0
    # 8 convolutions of blocks 3 to 6 and one up at 1/8, 4 at 1/4, ...: below 112 pixels.
    assert float(change[: 128 - 112].max()) == 0


def test_boundary_probability_is_the_softmax_of_the_second_class() -> None:
    logits = torch.tensor([[[[0.0, 2.0]], [[0.0, 2.0 - float(torch.log(torch.tensor(3.0)))]]]])
    found = boundary_probability(logits.to(torch.float32))
    torch.testing.assert_close(found, torch.tensor([[[0.5, 0.25]]]))


def test_stride_is_the_smallest_side(tiny: Callable[..., Any]) -> None:
    with torch.no_grad():
        assert tiny()(sections(1, STRIDE, STRIDE)).shape[2:] == (STRIDE, STRIDE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stem": 0},
        {"widths": (0, 8)},
        {"widths": (8, 10**9)},
        {"units": (1, 1, 1, 1, 1, 10**9)},
        {"dilations": (0, 1, 1, 1)},
        {"context_skips": 3},
        {"dropout": 1.0},
        {"depth": 5},
    ],
    ids=str,
)
def test_shapes_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        RCSPCNetConfig.model_validate(wrong)
