from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from pipeline.boundaries.model import load_model, save_model
from pipeline.boundaries.networks import NETWORKS, NetworkConfig
from pipeline.boundaries.predict import (
    ORIENTATIONS,
    boundary_probability,
    halo_error,
    measure_halo,
    orient,
    predict_tile,
    reverse,
)

EACH = pytest.mark.parametrize("architecture", NETWORKS)


def windows(architecture: str, n: int, height: int, width: int, **shape: Any) -> Tensor:
    context = shape.get("context_sections", NETWORKS[architecture].config().context_sections)
    generator = torch.Generator().manual_seed(9)
    return torch.rand(n, 2 * context + 1, height, width, generator=generator)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def sum_of(*layers: tuple[int, int, int], normalised: tuple[int, ...] = ()) -> int:
    """Weights of (taps, inputs, outputs), and two numbers a normalised channel."""
    return sum(taps * i * o for taps, i, o in layers) + 2 * sum(normalised)


def resnet38_by_hand(w: int) -> int:
    blocks = [(2, 2, 3), (4, 4, 3), (8, 8, 6), (8, 16, 3)]
    total, inputs = 9 * w, w
    for middle, outputs, units in ((m * w, o * w, n) for m, o, n in blocks):
        for unit in range(units):
            total += sum_of((9, inputs, middle), (9, middle, outputs), normalised=(inputs, middle))
            total += inputs * outputs if unit == 0 else 0
            inputs = outputs
    for quarter in (8 * w, 16 * w):
        widths = (inputs, quarter, 2 * quarter, 4 * quarter)
        total += sum_of((1, inputs, widths[3]), normalised=widths[:3])
        total += sum_of(*((t, i, o) for t, (i, o) in zip((1, 9, 1), pairwise(widths), strict=True)))
        inputs = widths[3]
    head = sum_of((9, 64 * w, 8 * w), (9, 8 * w, 2), normalised=(64 * w,))
    return total + head + 8 * w + 2


def test_parameters_are_as_many_as_counted_by_hand() -> None:
    u_net = {"width": 8, "depth": 1, "batch_normalisation": False}
    # 1 -> 8 -> 8, down 8 -> 16 -> 16, up 16 -> 8, joined 16 -> 8 -> 8, 8 -> 2, all with biases
    assert 80 + 584 + 1168 + 2320 + 520 + 1160 + 584 + 18 == 6434
    assert count(NETWORKS["u_net"].build(u_net)) == 6434
    assert count(NETWORKS["resnet38"].build({"width": 4})) == resnet38_by_hand(4)
    hybrid = {"width": 8, "depth": 1, "flat_levels": 1, "context_sections": 1}
    stem, flat, fusion = 72 + 16, 2 * 576 + 32, 3 * 256 + 32
    deep = (9 * 128 + 32) + (27 * 256 + 32) + (128 + 32)
    up, head = 9 * 16 * 32 + 16, 146
    found = count(NETWORKS["hybrid_u_net"].build(hybrid))
    assert found == stem + flat + deep + fusion + up + flat + head == 16314


def test_the_deconvolution_has_16_weights_where_subpixel_convolution_has_36() -> None:
    shape = {"stem": 8, "widths": (16, 32)}
    subpixel, deconvolution = (NETWORKS[a].build(shape) for a in ("rc_spcnet", "rcnet"))
    assert count(subpixel) - count(deconvolution) == 20 * (32 * 16 + 16 * 8 + 8 * 8)


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    # The U-Net of the paper is known to have 31.03 million; ResNet38 is counted above.
    [("u_net", 31_030_658), ("resnet38", resnet38_by_hand(64))],
)
def test_the_papers_networks_have_the_papers_size(architecture: str, parameters: int) -> None:
    known = NETWORKS[architecture]
    assert known.paper is not None
    with torch.device("meta"):
        assert count(known.build(known.paper)) == parameters


@EACH
@pytest.mark.parametrize("blocks", [(1, 1), (1, 3), (4, 2)])
def test_logits_have_the_size_of_the_sections(
    architecture: str, blocks: tuple[int, int], small: Callable[..., nn.Module]
) -> None:
    network = small(architecture)
    stride = {"u_net": 4, "hybrid_u_net": 4}.get(architecture, 8)
    height, width = (n * stride for n in blocks)
    with torch.no_grad():
        assert network(windows(architecture, 2, height, width)).shape == (2, 2, height, width)


@pytest.mark.parametrize(
    ("architecture", "shape", "stride"),
    [
        ("rc_spcnet", {}, 8),
        ("rcnet", {}, 8),
        ("resnet38", {}, 8),
        ("u_net", {"depth": 2}, 4),
        ("u_net", {"depth": 4}, 16),
        ("hybrid_u_net", {"depth": 4}, 16),
    ],
)
def test_a_shift_by_the_stride_shifts_the_map_and_less_does_not(
    architecture: str, shape: Any, stride: int, small: Callable[..., nn.Module]
) -> None:
    """Along a strip: what padding does to its rows is the same everywhere."""
    network = small(architecture, **shape)
    assert NETWORKS[architecture].stride(shape) == stride
    strip = windows(architecture, 1, 16, 832)
    with torch.no_grad():
        straight = boundary_probability(network(strip[..., :768]))
        shifted = boundary_probability(network(strip[..., stride : 768 + stride]))
        between = boundary_probability(network(strip[..., stride // 2 : 768 + stride // 2]))
    middle = slice(368, 400)
    there = straight[..., middle.start + stride : middle.stop + stride]
    torch.testing.assert_close(shifted[..., middle], there, atol=2e-5, rtol=0)
    half = straight[..., middle.start + stride // 2 : middle.stop + stride // 2]
    assert float((between[..., middle] - half).abs().max()) > 2e-4


@EACH
def test_every_parameter_gets_a_gradient(
    architecture: str, small: Callable[..., nn.Module]
) -> None:
    network = small(architecture, dropout=0.0).train()
    logits = network(windows(architecture, 2, 32, 32))
    torch.nn.functional.cross_entropy(logits, torch.ones(2, 32, 32, dtype=torch.long)).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("architecture", ["rc_spcnet", "rcnet"])
@pytest.mark.parametrize("skips", [0, 1, 2])
def test_context_skips_add_the_finer_maps(
    architecture: str, skips: int, small: Callable[..., Any]
) -> None:
    network = small(architecture, context_skips=skips)
    image = windows(architecture, 1, 32, 32)
    with torch.no_grad():
        half = network.stem(2 * image - 1)
        quarter = network.block1(half)
        up = network.up_quarter(network.context(network.block2(quarter)))
        up = network.up_half(up + quarter * (skips >= 1))
        expected = network.head(network.up_full(up + half * (skips >= 2)))
        assert torch.equal(network(image), expected)
        assert float(quarter.abs().max()) > 0.1
        assert float(half.abs().max()) > 0.1


def naive_convolution(image: Tensor, weight: Tensor) -> Tensor:
    """(C, H, W) by (C', C, 3, 3), zeros around; a tap at a time."""
    channels, height, width = image.shape
    result = torch.zeros(len(weight), height, width, dtype=image.dtype)
    for c, a, b, y, x in torch.cartesian_prod(
        *map(torch.arange, (channels, 3, 3, height, width))
    ).tolist():
        if 0 <= y + a - 1 < height and 0 <= x + b - 1 < width:
            result[:, y, x] += weight[:, c, a, b] * image[c, y + a - 1, x + b - 1]
    return result


def normalised(image: Tensor, layer: Any) -> Tensor:
    mean, variance, gain, offset = (
        t[:, None, None] for t in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return nn.functional.elu((image - mean) / torch.sqrt(variance + layer.eps) * gain + offset)


def test_subpixel_upsampling_equals_its_definition(small: Callable[..., Any]) -> None:
    """Equation 1 of the paper, but for the order of the channels, which is learned anyway."""
    layer = small("rc_spcnet").double().up_full
    image = torch.rand(8, 3, 4, dtype=torch.float64)
    convolved = naive_convolution(image, layer.body[0].weight.detach())
    expected = torch.zeros(8, 6, 8, dtype=torch.float64)
    for d in range(8):
        for h in range(6):
            for w in range(8):
                expected[d, h, w] = convolved[4 * d + 2 * (h % 2) + w % 2, h // 2, w // 2]
    with torch.no_grad():
        torch.testing.assert_close(layer(image[None])[0], normalised(expected, layer.body[2]))


def test_deconvolution_equals_its_definition(small: Callable[..., Any]) -> None:
    """Every pixel is spread over 4 x 4 finer ones, of which 2 x 2 are its own."""
    layer = small("rcnet").double().up_full
    image = torch.rand(8, 3, 4, dtype=torch.float64)
    weight = layer.body[0].weight.detach()
    spread = torch.zeros(8, 2 * 3 + 2, 2 * 4 + 2, dtype=torch.float64)
    for y in range(3):
        for x in range(4):
            for c in range(8):
                spread[:, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += image[c, y, x] * weight[c]
    with torch.no_grad():
        found = layer(image[None])[0]
    torch.testing.assert_close(found, normalised(spread[:, 1:-1, 1:-1], layer.body[1]))


def test_the_map_of_resnet38_is_interpolated_from_an_eighth(small: Callable[..., Any]) -> None:
    network, image = small("resnet38"), windows("resnet38", 1, 16, 24)
    with torch.no_grad():
        found = network(image)[0]
        coarse = network.head[:-1](network.blocks(network.stem(2 * image - 1)))[0]
    assert coarse.shape == (2, 2, 3)

    def place(pixel: int, count: int) -> tuple[int, int, float]:
        centre = min(max((pixel + 0.5) / 8 - 0.5, 0), count - 1)
        return int(centre), min(int(centre) + 1, count - 1), centre % 1

    for y in range(16):
        for x in range(24):
            (top, bottom, v), (left, right, u) = place(y, 2), place(x, 3)
            above = (1 - u) * coarse[:, top, left] + u * coarse[:, top, right]
            below = (1 - u) * coarse[:, bottom, left] + u * coarse[:, bottom, right]
            torch.testing.assert_close(
                found[:, y, x], (1 - v) * above + v * below, atol=1e-4, rtol=1e-4
            )


def test_u_net_without_normalisation_keeps_the_variance() -> None:
    """Weights as the paper draws them: a map of noise is neither faint nor huge."""
    torch.manual_seed(0)
    network: Any = NETWORKS["u_net"].build({"width": 32, "batch_normalisation": False}).eval()
    with torch.no_grad():
        deep = network.down[0](torch.randn(1, 1, 32, 32))
        for block in network.down[1:3]:
            deep = block(deep)
    assert 0.3 < float(deep.pow(2).mean()) < 3


@pytest.mark.parametrize("context", [0, 1, 2])
def test_the_hybrid_network_sees_all_its_sections_and_tells_them_apart(
    context: int, small: Callable[..., nn.Module]
) -> None:
    network = small("hybrid_u_net", context_sections=context)
    stack = windows("hybrid_u_net", 1, 32, 32, context_sections=context)
    with torch.no_grad():
        found = boundary_probability(network(stack))
        for section in range(2 * context + 1):
            other = stack.clone()
            other[:, section] = 1 - other[:, section]
            change = (boundary_probability(network(other)) - found).abs().max()
            assert float(change) > 1e-3
        if context:
            turned = boundary_probability(network(stack.flip(1)))
            assert float((turned - found).abs().max()) > 1e-3


def test_the_hybrid_network_predicts_the_middle_section(small: Callable[..., nn.Module]) -> None:
    """Without what is seen of all sections together, only the middle one is left."""
    network: Any = small("hybrid_u_net")
    for fusion in network.fusions:
        fusion.body[0].weight.data.zero_()
    stack = windows("hybrid_u_net", 1, 32, 32)
    with torch.no_grad():
        found = network(stack)
        for section, matters in ((0, False), (1, True), (2, False)):
            other = stack.clone()
            other[:, section] = 1 - other[:, section]
            assert torch.equal(network(other), found) is not matters


def test_a_window_of_another_number_of_sections_is_refused(
    small: Callable[..., nn.Module],
) -> None:
    with pytest.raises(ValueError, match="3 sections at a time, not 5"):
        small("hybrid_u_net")(torch.zeros(1, 5, 16, 16))


@EACH
def test_every_orientation_is_undone(architecture: str, small: Callable[..., nn.Module]) -> None:
    """The combined map of a section that is turned or mirrored is the combined map, turned."""
    network = small(architecture)
    stack = windows(architecture, 1, 32, 16)
    straight = predict_tile(network, stack, "max", "cpu", "fp32")
    for turns, flip in ORIENTATIONS[1:6:2]:
        found = predict_tile(network, orient(stack, turns, flip), "max", "cpu", "fp32")
        torch.testing.assert_close(reverse(found, turns, flip), straight, atol=1e-5, rtol=0)


def test_sections_in_reverse_order_are_combined_where_asked(
    small: Callable[..., nn.Module],
) -> None:
    network, stack = small("hybrid_u_net"), windows("hybrid_u_net", 1, 8, 16)
    turned = stack.flip(1)

    def found(sections: Tensor, augmentation: str, flip_z: bool) -> Tensor:
        return predict_tile(network, sections, augmentation, "cpu", "fp32", flip_z=flip_z)

    for augmentation, both in (("max", torch.maximum), ("min", torch.minimum)):
        apart = found(stack, augmentation, False), found(turned, augmentation, False)
        assert float((apart[0] - apart[1]).abs().max()) > 1e-3
        torch.testing.assert_close(found(stack, augmentation, True), both(*apart))
        assert torch.equal(found(stack, augmentation, True), found(turned, augmentation, True))
    mean = (found(stack, "mean", False) + found(turned, "mean", False)) / 2
    torch.testing.assert_close(found(stack, "mean", True), mean)
    assert torch.equal(found(stack, "none", True), found(stack, "none", False))


def test_reversing_a_single_section_changes_nothing(small: Callable[..., nn.Module]) -> None:
    network, sections = small("u_net"), torch.rand(2, 16, 16)
    once = predict_tile(network, sections, "mean", "cpu", "fp32")
    assert torch.equal(predict_tile(network, sections, "mean", "cpu", "fp32", flip_z=True), once)


@pytest.mark.parametrize("architecture", ["u_net", "hybrid_u_net"])
def test_tiles_with_the_measured_halo_equal_the_whole_within_one_grey_value(
    architecture: str, small: Callable[..., nn.Module]
) -> None:
    network, stack = small(architecture, 3), windows(architecture, 1, 128, 128)[0]
    sections = [stack.numpy() if len(stack) > 1 else stack[0].numpy()]
    halo = measure_halo(network, sections, stride=4)
    assert 4 <= halo <= 40
    error = halo_error(network, sections, halo, stride=4)
    assert error is not None
    assert error <= 1 / 255


@EACH
def test_a_model_file_predicts_as_the_network_did(
    architecture: str, small: Callable[..., nn.Module], small_shapes: Any, tmp_path: Path
) -> None:
    network, shape = (
        small(architecture),
        NETWORKS[architecture].configured(small_shapes[architecture]),
    )
    path, stack = tmp_path / "m.safetensors", windows(architecture, 1, 32, 48)
    card = {
        "halo_pixels": 40,
        "stride_pixels": shape.stride,
        "context_sections": shape.context_sections,
    }
    save_model(path, network, shape.model_dump(), card, half=False)
    loaded = load_model(path)
    assert loaded.context_sections == shape.context_sections
    assert loaded.stride == shape.stride
    assert NETWORKS[architecture].configured(loaded.shape) == shape
    expected = predict_tile(network, stack, "none", "cpu", "fp32")
    found = predict_tile(loaded.network, stack, "none", "cpu", "fp32")
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


class Holder(BaseModel):
    network: NetworkConfig


@EACH
def test_a_configuration_is_told_by_its_architecture(architecture: str) -> None:
    held = Holder.model_validate({"network": {"architecture": architecture}}).network
    assert type(held) is NETWORKS[architecture].config
    assert Holder.model_validate_json(Holder(network=held).model_dump_json()).network == held


def test_a_configuration_without_architecture_is_an_rc_spcnet() -> None:
    held = Holder.model_validate({"network": {"stem": 8}}).network
    assert held == NETWORKS["rc_spcnet"].configured({"stem": 8})


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        ({"architecture": "w_net"}, "u_net"),
        ({"architecture": ["u_net"]}, "u_net"),
        ({"architecture": "u_net", "stem": 8}, "stem"),
        ({"architecture": "u_net", "depth": 0}, "depth"),
        ({"architecture": "u_net", "depth": 10**9}, "depth"),
        ({"architecture": "u_net", "width": 10**9}, "width"),
        ({"architecture": "resnet38", "width": 10**9}, "width"),
        ({"architecture": "rcnet", "context_skips": 3}, "context_skips"),
        ({"architecture": "rcnet", "context_sections": 1}, "context_sections"),
        ({"architecture": "hybrid_u_net", "context_sections": 10**9}, "context_sections"),
        ({"architecture": "hybrid_u_net", "depth": 2, "flat_levels": 3}, "flat_levels"),
        (None, "network"),
    ],
    ids=str,
)
def test_shapes_that_cannot_be_are_refused(shape: object, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Holder.model_validate({"network": shape})
