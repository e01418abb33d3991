"""Which capture a model goes to, by the packages that it inherits from."""

import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from kterm.adapters.traces import capture as dispatcher
from kterm.adapters.traces.errors import TraceError


def make_class(*packages: str) -> type:
    """A class that inherits from one of each package."""
    bases = tuple(type("Base", (), {"__module__": f"{package}.inner"}) for package in packages)
    return type("Model", bases, {"__module__": "mine"})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modules that are asked for a capture, in order."""
    modules = list[str]()

    def find(name: str, package: str) -> Any:
        modules.append(name)
        return SimpleNamespace(**{each: print for _, _, each in dispatcher._CAPTURES})

    monkeypatch.setattr(dispatcher, "import_module", find)
    return modules


@pytest.mark.parametrize(
    ("packages", "module"),
    [
        (("torch",), ".pytorch.capture"),
        (("keras", "torch"), ".keras.capture"),  # as Keras's models are on PyTorch
        (("torch", "keras"), ".keras.capture"),
        (("keras",), ".keras.capture"),
        (("keras", "flax"), ".keras.capture"),
        (("flax",), ".functional.nnx_capture"),
        (("equinox",), ".functional.equinox_capture"),
    ],
)
def test_a_model_goes_to_the_capture_of_its_framework(packages: Any, module: str, asked: list[str]) -> None:
    dispatcher.capture(make_class(*packages)())
    assert asked == [module]


@pytest.mark.parametrize(
    "model", [3, make_class("torchvision")(), make_class("kerastuner")()], ids=["3", "torchvision", "kerastuner"]
)
def test_another_object_is_refused_with_what_is_known(model: Any, asked: list[str]) -> None:
    with pytest.raises(TraceError, match=re.escape("is not a model of torch, flax, equinox, keras; give the model")):
        dispatcher.capture(model)
    assert not asked


def test_a_framework_is_not_imported_before_a_model_of_it_is_captured() -> None:
    loaded = set(sys.modules)
    with pytest.raises(TraceError):
        dispatcher.capture(make_class("mine")())
    assert not {name for name in set(sys.modules) - loaded if name.split(".")[0] in ("keras", "flax", "equinox")}
