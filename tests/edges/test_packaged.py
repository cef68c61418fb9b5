"""Models and presets by path or by name."""

import pytest

from pipeline import packaged
from pipeline.errors import ConfigError, ModelError


@pytest.fixture
def installed(tmp_path, monkeypatch):
    for kind, name in (("models", "one.safetensors"), ("presets", "em.yaml")):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / name).write_bytes(b"")
    (tmp_path / "secret.safetensors").write_bytes(b"")
    monkeypatch.setattr(packaged, "_folder", lambda kind: tmp_path / kind)
    return tmp_path


def test_an_existing_file_is_taken_as_it_is(installed, tmp_path):
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"")
    assert packaged.model_path(own) == own
    assert packaged.model_path(str(own)) == own


def test_a_packaged_name_is_found(installed):
    assert packaged.model_path("one") == installed / "models" / "one.safetensors"
    assert packaged.preset_path("em") == installed / "presets" / "em.yaml"


def test_an_unknown_name_lists_what_there_is(installed):
    with pytest.raises(ModelError, match=r"'two'.*packaged: one"):
        packaged.model_path("two")
    with pytest.raises(ConfigError, match=r"'one'.*packaged: em"):
        packaged.preset_path("one")


@pytest.mark.parametrize("name", ["../secret", "", "."])
def test_a_name_does_not_leave_the_package(installed, name):
    with pytest.raises(ModelError):
        packaged.model_path(name)


def test_without_packaged_models_the_message_says_none(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged, "_folder", lambda kind: tmp_path / kind)
    with pytest.raises(ModelError, match="packaged: none"):
        packaged.model_path("one")
