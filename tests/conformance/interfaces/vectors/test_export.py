"""A folder of vectors is the same bytes again, and its manifest says what each structure is for."""

import json
from pathlib import Path

import pytest

from kterm.adapters.traces.container import read_arrays
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.plan import OptionError, make_options
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.interfaces.vectors.export import CATCHES, MANIFEST, export_vectors, file_name, select_groups


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        export_vectors(tmp_path / name, make_options("quick", seed, ["f32"], ["tanh", "relu"]))
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")
    assert set(_bytes(tmp_path / "one")) != set(_bytes(tmp_path / "other"))


def test_the_manifest_describes_every_file(tmp_path: Path) -> None:
    written = export_vectors(tmp_path / "new", make_options("smoke", 0))
    manifest = json.loads((tmp_path / "new" / MANIFEST).read_text(encoding="utf-8"))
    assert (manifest["schema"], manifest["schema_version"], manifest["seed"]) == ("kterm-vectors", 1, 0)
    assert manifest["sigmas"] == 10
    assert manifest["activations"]["elu"] == {"alpha": 1.0}
    assert {entry["file"] for entry in manifest["structures"]} == set(_bytes(tmp_path / "new")) - {MANIFEST}
    assert written.cases == sum(len(entry["cases"]) for entry in manifest["structures"])
    for entry in manifest["structures"]:
        case = parse_case(entry["cases"][0], tuple(REGIMES))
        network = case.structure.network
        assert (tuple(entry["widths"]), tuple(entry["activations"])) == (network.widths, network.activations)
        assert (entry["bias"], entry["batch"], entry["dtype"]) == (
            network.bias,
            case.structure.batch,
            case.structure.dtype,
        )
        assert entry["catches"] == CATCHES[entry["regime"]]
        arrays, metadata = read_arrays(tmp_path / "new" / entry["file"])
        assert metadata["structure"] == case.id.rpartition("-")[0]
        assert {"outputs", "E", "dE/dW_1"} <= set(entry["quantities"])
        ends = {name + end for name in entry["quantities"] for end in ("", ".lower", ".upper", ".shows")}
        inputs = {name for name in arrays if name in ("x_0", "y") or name[:2] in ("W_", "b_")}
        assert set(arrays) == ends | inputs
        assert {len(array) for array in arrays.values()} == {len(entry["cases"])}


def test_an_export_keeps_to_what_a_port_has() -> None:
    groups = select_groups(make_options("quick", 0, ["f32"], ["tanh", "relu"]), ["pre"])
    assert groups
    for group in groups:
        assert group.structure.dtype == "f32"
        assert group.structure.network.bias == "pre"
        assert set(group.structure.network.activations) <= {"tanh", "relu"}


def test_names_of_files_are_short_enough_and_distinct() -> None:
    groups = [group for profile in ("quick", "standard") for group in select_groups(make_options(profile, 0))]
    names = {group.id: file_name(group) for group in groups}
    assert max(map(len, names.values())) <= 220
    assert any(len(name) > 240 for name in names)  # as deep networks have them
    assert len(set(names.values())) == len(names)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(OptionError, match="the folder is not empty; name a new one"):
        export_vectors(tmp_path, make_options("smoke", 0))
    with pytest.raises(OptionError, match="name a folder that can be written"):
        export_vectors(tmp_path / "mine" / "new", make_options("smoke", 0))
    with pytest.raises(OptionError, match="unknown bias 'outside'"):
        select_groups(make_options("smoke", 0), ["outside"])
