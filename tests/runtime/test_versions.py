"""Versions are those of what runs, with the build; of what is not loaded, those of what is installed."""

import importlib.metadata
import sys

import pytest
import torch
import transformers

import expnet
from expnet.runtime.versions import versions


def test_they_are_those_of_what_runs_and_need_no_file(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.13.0+cu130")
    monkeypatch.setattr("expnet.runtime.versions.version", lambda name: pytest.fail(f"read the metadata of {name}"))
    expected = {"expnet": expnet.__version__, "torch": "2.13.0+cu130", "transformers": transformers.__version__}
    assert versions() == expected


def test_a_package_that_is_not_loaded_says_what_is_installed(monkeypatch):
    monkeypatch.delitem(sys.modules, "pytest")
    assert versions("pytest")["pytest"] == importlib.metadata.version("pytest")


def test_versions_are_those_of_the_packages_that_run():
    assert versions() == {
        "expnet": expnet.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    assert {type(value) for value in versions().values()} == {str}  # torch's own is a class of its own


def test_more_packages_are_named_after_them():
    assert list(versions("numpy")) == ["expnet", "torch", "transformers", "numpy"]
