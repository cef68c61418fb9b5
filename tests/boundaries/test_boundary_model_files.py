from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.boundaries.model import FORMAT, load_model, save_model
from pipeline.boundaries.networks.rc_spcnet import RCSPCNetConfig
from pipeline.errors import ModelError

SHAPE = {
    **RCSPCNetConfig().model_dump(),
    "stem": 4,
    "widths": [4, 8],
    "units": [1] * 6,
    "dilations": [1, 2, 2, 1],
}
CARD = {"halo_pixels": 40, "stride_pixels": 8, "name": "a network", "data": [1, 2]}


@pytest.fixture
def network(tiny: Callable[..., Any]) -> nn.Module:
    made: nn.Module = tiny(7)
    return made


def write(
    path: Path,
    tensors: dict[str, Tensor],
    shape: object = SHAPE,
    card: object = CARD,
    **replaced: str,
) -> Path:
    """A file as ``save_model`` makes it, but with whatever content."""
    metadata = {"format": FORMAT, "network": json.dumps(shape), "card": json.dumps(card)}
    save_file(tensors, path, {**metadata, **replaced})
    return path


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_full_precision_round_trip_is_exact(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, network, SHAPE, CARD, half=False)
    model = load_model(path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(model.network.state_dict()[name], tensor)
    assert (model.card, model.halo, model.stride) == (CARD, 40, 8)
    assert not model.network.training


def test_half_precision_round_trip_rounds_the_weights(network: nn.Module, tmp_path: Path) -> None:
    path, exact = tmp_path / "m.safetensors", tmp_path / "exact.safetensors"
    save_model(path, network, SHAPE, CARD)
    save_model(exact, network, SHAPE, CARD, half=False)
    assert path.stat().st_size < 0.7 * exact.stat().st_size
    loaded = load_model(path).network.state_dict()
    for name, tensor in network.state_dict().items():
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(loaded[name], expected)


def test_weights_beyond_half_precision_keep_full_precision(
    network: nn.Module, tmp_path: Path
) -> None:
    with torch.no_grad():
        network.stem[1].running_var[0] = 1e6  # type: ignore[index,union-attr]
    save_model(tmp_path / "m.safetensors", network, SHAPE, CARD)
    loaded = load_model(tmp_path / "m.safetensors").network.state_dict()
    assert float(loaded["stem.1.running_var"][0]) == 1e6


def test_saving_does_not_change_the_network_and_leaves_one_file(
    network: nn.Module, tmp_path: Path
) -> None:
    before = {n: t.clone() for n, t in network.state_dict().items()}
    save_model(tmp_path / "new" / "m.safetensors", network, SHAPE, CARD)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["m.safetensors"]
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())
    assert network.stem[0].weight.dtype == torch.float32  # type: ignore[index,union-attr]


def test_a_model_file_can_be_read_by_whoever_may_read_new_files(
    network: nn.Module, tmp_path: Path
) -> None:
    (tmp_path / "plain").touch()
    save_model(tmp_path / "m.safetensors", network, SHAPE, CARD)
    assert (tmp_path / "m.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such model file" in refused(tmp_path / "absent.safetensors")
    assert "no such model file" in refused(tmp_path)


@pytest.mark.parametrize("share", [0, 0.0005, 0.01, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_refused(share: float, network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, network, SHAPE, CARD)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "damaged" in refused(path)


def test_another_architecture_is_named_with_the_known_ones(
    network: nn.Module, tmp_path: Path
) -> None:
    path = write(
        tmp_path / "m.safetensors", network.state_dict(), {**SHAPE, "architecture": "w_net"}
    )
    message = refused(path)
    assert "w_net" in message
    assert "rc_spcnet" in message


def test_a_file_of_another_program_is_refused(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file(network.state_dict(), path)
    assert "not a boundary network" in refused(path)
    write(path, network.state_dict(), format="another format")
    assert "not a boundary network" in refused(path)


SHAPES: list[object] = [
    {**SHAPE, "widths": [4, 16]},
    {**SHAPE, "stem": 8},
    {**SHAPE, "units": [2, 1, 1, 1, 1, 1]},
    {**SHAPE, "widths": [4, 10**9]},
    {**SHAPE, "units": [10**9] * 6},
    {**SHAPE, "dilations": [0, 0, 0, 0]},
    {**SHAPE, "dilations": [10**9] * 4},
    {**SHAPE, "widths": "many"},
    {**SHAPE, "surprise": 1},
    {**SHAPE, "architecture": ["rc_spcnet"]},
    {**SHAPE, "architecture": None},
    {},
    [],
    None,
    "rc_spcnet",
    1e300,
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: str(s)[-60:])
def test_a_shape_that_the_weights_do_not_have_is_refused(
    shape: object, network: nn.Module, tmp_path: Path
) -> None:
    refused(write(tmp_path / "m.safetensors", network.state_dict(), shape))


@pytest.mark.parametrize(
    "shape",
    [
        {"architecture": "rcnet"},
        {"architecture": "u_net", "width": 256, "depth": 6},
        {"architecture": "resnet38", "width": 128},
        {"architecture": "hybrid_u_net", "width": 256, "depth": 6, "units": 16},
    ],
    ids=lambda s: s["architecture"],
)
def test_huge_networks_of_other_architectures_take_no_memory_before_they_are_refused(
    shape: dict[str, object], network: nn.Module, tmp_path: Path
) -> None:
    """The largest here would take half a terabyte."""
    context = int(shape["architecture"] == "hybrid_u_net")
    card = {**CARD, "context_sections": context}
    message = refused(write(tmp_path / "m.safetensors", network.state_dict(), shape, card))
    assert "missing" in message or "unknown" in message


@pytest.mark.parametrize("said", [None, 0, 2])
def test_a_card_that_names_other_sections_than_the_network_sees_is_refused(
    said: int | None, small: Callable[..., nn.Module], small_shapes: Any, tmp_path: Path
) -> None:
    hybrid, card = small("hybrid_u_net"), {**CARD, "stride_pixels": 4}
    card |= {} if said is None else {"context_sections": said}
    shape = {**small_shapes["hybrid_u_net"], "architecture": "hybrid_u_net"}
    path = write(tmp_path / "m.safetensors", hybrid.state_dict(), shape, card)
    assert f"sees 1 sections on each side, its card says {said or 0}" in refused(path)


@pytest.mark.parametrize("said", [-1, 65, 10**9, 1.0, "1", None])
def test_a_card_of_impossible_sections_is_refused(
    said: object, network: nn.Module, tmp_path: Path
) -> None:
    card = {**CARD, "context_sections": said}
    refused(write(tmp_path / "m.safetensors", network.state_dict(), SHAPE, card))


CARDS: list[object] = [
    {},
    [],
    None,
    3,
    {"halo_pixels": 8},
    {"stride_pixels": 8},
    {**CARD, "halo_pixels": -8},
    {**CARD, "halo_pixels": 10**9},
    {**CARD, "halo_pixels": "8"},
    {**CARD, "halo_pixels": None},
    {**CARD, "halo_pixels": float("inf")},
    {**CARD, "halo_pixels": float("nan")},
    {**CARD, "stride_pixels": 0},
    {**CARD, "stride_pixels": 10**9},
    {**CARD, "stride_pixels": 4},
    {**CARD, "stride_pixels": 9},
]


@pytest.mark.parametrize("card", CARDS, ids=str)
def test_a_card_without_usable_halo_and_stride_is_refused(
    card: object, network: nn.Module, tmp_path: Path
) -> None:
    refused(write(tmp_path / "m.safetensors", network.state_dict(), SHAPE, card))


@pytest.mark.parametrize("key", ["network", "card"])
@pytest.mark.parametrize("text", ["", "{", "nonsense", "[" * 100_000, '"\\ud800"', "\x00"])
def test_a_header_that_is_not_json_is_refused(
    key: str, text: str, network: nn.Module, tmp_path: Path
) -> None:
    refused(write(tmp_path / "m.safetensors", network.state_dict(), **{key: text}))


def changed(network: nn.Module, **tensors: Tensor | None) -> dict[str, Tensor]:
    together = {**network.state_dict(), **{n.replace("__", "."): t for n, t in tensors.items()}}
    return {n: t for n, t in together.items() if t is not None}


HEAD = "head__4__bias"


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.tensor([float("nan"), 0]), "NaN"),
        (torch.tensor([float("inf"), 0]), "infinite"),
        (torch.tensor([float("inf"), 0], dtype=torch.float16), "infinite"),
        (torch.zeros(3), "shape"),
        (torch.zeros(2, 1), "shape"),
        (torch.zeros(()), "shape"),
        (torch.zeros(2, dtype=torch.int8), "int8"),
        (torch.zeros(2, dtype=torch.bool), "bool"),
        (torch.zeros(2, dtype=torch.complex64), "complex64"),
        (torch.full((2,), 3e38), "weights"),
        (None, "missing"),
    ],
    ids=str,
)
def test_a_tensor_that_does_not_fit_is_refused(
    tensor: Tensor | None, reason: str, network: nn.Module, tmp_path: Path
) -> None:
    if reason == "weights":
        network.head[4].weight.data.fill_(3e38)  # type: ignore[index,union-attr,operator]
    message = refused(write(tmp_path / "m.safetensors", changed(network, **{HEAD: tensor})))
    assert reason in message


def test_an_unknown_tensor_is_refused(network: nn.Module, tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors", changed(network, surprise=torch.zeros(2)))
    assert "surprise is unknown" in refused(path)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=300))
def test_random_bytes_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    refused(path)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(header=st.text(max_size=200))
def test_random_headers_are_refused(header: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    encoded = header.encode("utf-8", "surrogatepass")
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + b"\0" * 64)
    refused(path)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_flipped_bytes_load_or_are_refused(data: st.DataObject, tmp_path: Path, tiny: Any) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, tiny(7), SHAPE, CARD)
    content = bytearray(path.read_bytes())
    header = int.from_bytes(content[:8], "little") + 8
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, header - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        load_model(path)
    except ModelError as error:
        assert str(path) in str(error)  # noqa: PT017  (either outcome is fine)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize("save", ["pickle", "torch"])
def test_nothing_in_a_file_is_executed(
    save: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "m.safetensors"
    if save == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({"state": Bomb()}, path)
    refused(path)
    assert not (tmp_path / "exploded").exists()
