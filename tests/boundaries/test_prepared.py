from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.boundaries import layer_loops
from pipeline.boundaries.cpu_layers import InPlaceELU, PooledELU
from pipeline.boundaries.folding import fold
from pipeline.boundaries.layer_loops import ELU, NO_ACTIVATION, RELU
from pipeline.boundaries.model import load_model
from pipeline.boundaries.networks import NETWORKS
from pipeline.boundaries.predict import boundary_probability, predict_tile
from pipeline.boundaries.prepared import prepared
from pipeline.boundaries.winograd import WinogradConvolution, gains
from pipeline.packaged import model_path

WIDE: dict[str, dict[str, object]] = {
    "rc_spcnet": {"stem": 8, "widths": (64, 64), "units": (1,) * 6, "dilations": (1, 2, 3, 2)},
    "rcnet": {"stem": 8, "widths": (64, 64), "units": (1,) * 6, "dilations": (1, 2, 3, 2)},
    "resnet38": {"width": 8, "classifier_dilation": 2},
    "u_net": {"width": 32, "depth": 2},
    "hybrid_u_net": {"width": 32, "depth": 2, "flat_levels": 2, "context_sections": 1},
}
"""Wide enough for Winograd's convolution in each."""


def trained(architecture: str, seed: int = 0, **more: Any) -> nn.Module:
    """A network whose normalisations have weights of both signs and statistics of their own."""
    torch.manual_seed(seed)
    known = NETWORKS[architecture]
    network = known.build({**WIDE[architecture], **more})
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, 0.2, 0.4)
            nn.init.uniform_(module.running_var, 0.3, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            with torch.no_grad():
                module.weight[::3] *= -1
            nn.init.normal_(module.bias, 0, 0.3)
    return network.eval()


def sections(architecture: str, n: int, height: int, width: int) -> Tensor:
    context = NETWORKS[architecture].configured(WIDE[architecture]).context_sections
    generator = torch.Generator().manual_seed(5)
    return torch.rand(n, 2 * context + 1, height, width, generator=generator)


def of_kind(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kind)]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("architecture", NETWORKS)
def test_a_prepared_network_predicts_what_the_plain_one_predicts(
    architecture: str, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:  # as where numba is missing
        monkeypatch.setitem(sys.modules, "pipeline.boundaries.cpu_layers", None)
    network = trained(architecture)
    ready = prepared(network, "cpu")
    assert bool(of_kind(ready, WinogradConvolution)) == compiled
    stride = NETWORKS[architecture].stride(WIDE[architecture])
    for height, width in ((stride, 3 * stride), (5 * stride, 7 * stride)):
        seen = sections(architecture, 2, height, width)
        with torch.inference_mode():
            expected = network(seen)
            found = ready(seen.contiguous(memory_format=torch.channels_last))
        assert float(expected.std()) > 1e-3
        scale = float(expected.abs().max())
        assert float((found - expected).abs().max()) <= 1e-5 * max(1, scale)
        difference = boundary_probability(found) - boundary_probability(expected)
        assert float(difference.abs().max()) <= 1e-5


def test_the_shipped_network_prepared_is_far_within_a_step_of_the_stored_map() -> None:
    network = load_model(model_path("default")).network
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    stripes = 0.5 + 0.4 * torch.sin((y + 0.4 * x) / 5)
    seen = torch.stack((stripes, sections("u_net", 1, 96, 96)[0, 0]))
    plain, ready = (
        predict_tile(n, seen, "max", "cpu", "fp32") for n in (network, prepared(network, "cpu"))
    )
    assert float(plain.max() - plain.min()) > 0.3
    assert float((ready - plain).abs().max()) <= 1e-4


def test_normalisations_and_dropout_are_gone_but_before_pre_activated_units() -> None:
    for architecture in NETWORKS:
        ready = prepared(trained(architecture), "cpu")
        left = [m for m in ready.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d)]
        assert not [d for s in of_kind(ready, nn.Sequential) for d in of_kind(s, nn.Dropout2d)]
        if architecture == "resnet38":  # 17 units and the head, whose input is a sum
            assert len(left) == 3 + 3 + 6 + 3 + 2 + 1
        else:
            assert left == []


@pytest.mark.parametrize("architecture", NETWORKS)
def test_the_given_network_stays_as_it_was_and_can_be_trained(architecture: str) -> None:
    network = trained(architecture).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    kinds = [type(module) for module in network.modules()]
    ready = prepared(network, "cpu")
    with torch.inference_mode():
        ready(sections(architecture, 1, 16, 16))
    assert network.training
    assert [type(module) for module in network.modules()] == kinds
    assert all(torch.equal(before[n], value) for n, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not ready.training
    assert not any(parameter.requires_grad for parameter in ready.parameters())


def test_an_unknown_network_is_only_copied(lopsided: Callable[..., nn.Module]) -> None:
    network = lopsided()
    ready = prepared(network, "cpu")
    assert ready is not network
    seen = torch.rand(1, 1, 20, 20)
    assert torch.equal(ready(seen), network(seen))


def normalisation(channels: int, **values: list[float]) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels, eps=0).eval()
    for name, value in values.items():
        getattr(layer, name).data.copy_(torch.tensor(value))
    return layer


def test_folding_by_hand() -> None:
    # 3 x + 1, then 2 (y - 5) / sqrt(4) + 7 = y + 2: 3 x + 3;  -x + 0.5: -3 (y - 1) / 3 = -y + 1
    convolution = nn.Conv2d(1, 2, 1)
    convolution.weight.data.copy_(torch.tensor([3.0, -1.0]).reshape(2, 1, 1, 1))
    assert convolution.bias is not None
    convolution.bias.data.copy_(torch.tensor([1.0, 0.5]))
    after = normalisation(2, weight=[2, -3], bias=[7, 0], running_mean=[5, 1], running_var=[4, 9])
    layers = nn.Sequential(convolution, after)
    fold(layers)
    assert isinstance(layers[1], nn.Identity)
    torch.testing.assert_close(convolution.weight.flatten(), torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(convolution.bias, torch.tensor([3.0, 0.5]))


def test_a_convolution_before_the_shuffle_gets_each_channel_s_scale_four_times() -> None:
    convolution = nn.Conv2d(1, 8, 1, bias=False)
    convolution.weight.data.fill_(1)
    after = normalisation(2, weight=[2, 5], bias=[1, -1], running_mean=[0, 0], running_var=[1, 1])
    layers = nn.Sequential(convolution, nn.PixelShuffle(2), after)
    fold(layers)
    assert convolution.weight.flatten().tolist() == [2] * 4 + [5] * 4
    assert convolution.bias is not None
    assert convolution.bias.tolist() == [1] * 4 + [-1] * 4


def test_a_transposed_convolution_is_scaled_along_its_outputs() -> None:
    torch.manual_seed(1)
    layers = nn.Sequential(
        nn.ConvTranspose2d(3, 2, 4, 2, 1),
        normalisation(
            2, weight=[2, -1], bias=[1, 0], running_mean=[0.5, 0.1], running_var=[4, 0.25]
        ),
    )
    x = torch.randn(1, 3, 5, 6)
    expected = layers(x)
    fold(layers)
    torch.testing.assert_close(layers[0](x), expected)


def test_a_normalisation_after_a_sum_or_an_activation_is_not_folded() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.BatchNorm2d(2))
    fold(layers)
    assert isinstance(layers[2], nn.BatchNorm2d)


def convolution_of(dilation: int, inputs: int = 64, outputs: int = 72) -> nn.Conv2d:
    torch.manual_seed(dilation)
    layer = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
    return layer.requires_grad_(False)


@pytest.mark.parametrize("activation", [NO_ACTIVATION, ELU, RELU])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (8, 12), (13, 7), (5, 30)])
def test_winograd_s_convolution_is_the_convolution(
    height: int, width: int, dilation: int, activation: int
) -> None:
    layer = convolution_of(dilation)
    x, added = torch.randn(2, 64, height, width), torch.randn(2, 72, height, width)
    after: dict[int, Callable[[Tensor], Tensor]] = {ELU: functional.elu, RELU: functional.relu}
    expected = functional.conv2d(
        x.double(),
        layer.weight.double(),
        None if layer.bias is None else layer.bias.double(),
        padding=dilation,
        dilation=dilation,
    )
    activate = after.get(activation, lambda values: values)
    fast = WinogradConvolution(layer, activation)
    for found, exact in (
        (fast(x), activate(expected)),
        (fast(x, added), activate(expected + added)),
    ):
        torch.testing.assert_close(found.double(), exact, atol=2e-5, rtol=1e-5)


def test_a_dilated_convolution_is_one_without_dilation_on_each_phase() -> None:
    dilated, plain = convolution_of(2), convolution_of(1)
    plain.load_state_dict(dilated.state_dict())
    x = torch.randn(1, 64, 18, 14)
    whole = WinogradConvolution(dilated)(x)
    for row in range(2):
        for column in range(2):
            phase = WinogradConvolution(plain)(x[:, :, row::2, column::2])
            torch.testing.assert_close(whole[:, :, row::2, column::2], phase)


def test_only_square_wide_convolutions_that_keep_the_size_gain() -> None:
    assert gains(convolution_of(2))
    assert not gains(convolution_of(1, inputs=24))
    assert not gains(convolution_of(1, outputs=24))
    assert not gains(nn.Conv2d(64, 64, 3, padding=1, stride=2))
    assert not gains(nn.Conv2d(64, 64, 3, padding=1, groups=2))
    assert not gains(nn.Conv2d(64, 64, 3, padding=1, dilation=2))
    assert not gains(nn.Conv2d(64, 64, 1))
    assert not gains(nn.ConvTranspose2d(64, 64, 3, padding=1))


def test_a_section_gives_the_same_bits_alone_in_a_batch_again_and_by_several_threads(
    two_threads: None,
) -> None:
    ready = prepared(trained("rc_spcnet"), "cpu")
    seen = sections("rc_spcnet", 3, 96, 72)
    layer = WinogradConvolution(convolution_of(2), ELU)
    x = torch.randn(2, 64, 40, 33)
    with torch.inference_mode():
        first = ready(seen[:1])
        layer_first = layer(x)
        ready(seen[1:, :, :40])
        assert torch.equal(ready(seen[:1]), first)
        torch.set_num_threads(1)
        assert torch.equal(layer(x), layer_first)
        assert torch.equal(layer(x[1:]), layer_first[1:])


def test_threads_that_share_a_layer_leave_the_number_of_threads(two_threads: None) -> None:
    with torch.inference_mode():
        WinogradConvolution(convolution_of(1))(torch.randn(1, 64, 64, 64))
    assert torch.get_num_threads() == 2


def test_elu_is_within_2e_7_and_keeps_what_is_not_finite() -> None:
    x = torch.cat((torch.linspace(-40, 3, 100_003), -torch.logspace(-30, 1, 1000)))
    found = x.clone()
    layer_loops.elu(found.numpy())
    assert float((found - functional.elu(x.double())).abs().max()) <= 2e-7
    odd = np.array([np.nan, np.inf, -np.inf, 0, -1e-30], np.float32)
    layer_loops.elu(odd)
    np.testing.assert_array_equal(odd, np.array([np.nan, np.inf, -1, 0, -1e-30], np.float32))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_elu_of_a_sum_in_any_layout_takes_the_place_of_its_first_term(
    layout: torch.memory_format,
) -> None:
    x, added = torch.randn(2, 3, 5, 7), torch.randn(2, 3, 5, 7)
    expected, before = functional.elu(x + added), added.clone()
    given = x.contiguous(memory_format=layout)
    found = InPlaceELU()(given, added)
    assert found is given
    torch.testing.assert_close(found, expected)
    assert torch.equal(added, before)


def test_nan_of_one_pixel_is_not_lost_in_pooling_nor_in_a_network() -> None:
    x = torch.zeros(1, 2, 4, 4)
    for y in range(2):
        for column in range(2):
            x.zero_()
            x[0, 1, y, column] = torch.nan
            assert torch.isnan(PooledELU()(x)).nonzero().tolist() == [[0, 1, 0, 0]]
    seen = sections("rc_spcnet", 1, 32, 32)
    seen[0, 0, 7, 7] = torch.nan
    with torch.inference_mode():
        assert bool(torch.isnan(prepared(trained("rc_spcnet"), "cpu")(seen)).any())


@pytest.mark.parametrize("architecture", NETWORKS)
def test_a_prepared_network_runs_in_reduced_precision_too(architecture: str) -> None:
    network = trained(architecture)
    ready = prepared(network, "cpu")
    seen = sections(architecture, 1, 32, 32)
    with torch.inference_mode():
        exact = boundary_probability(network(seen))
        with torch.autocast("cpu", torch.bfloat16):
            expected, found = (boundary_probability(n(seen)) for n in (network, ready))
    assert float((found - exact).abs().max()) <= 2 * float((expected - exact).abs().max()) + 0.02


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("architecture", NETWORKS)
def test_a_network_prepared_for_cuda_predicts_the_same_in_float32(architecture: str) -> None:
    network = trained(architecture)
    seen = sections(architecture, 2, 32, 32)
    ready = prepared(network, "cuda")
    assert not of_kind(ready, WinogradConvolution)
    with torch.inference_mode():
        expected = boundary_probability(network(seen))
    found = predict_tile(ready, seen.to("cuda"), "none", "cuda", "fp32")
    assert float((found.cpu() - expected).abs().max()) <= 1e-4
