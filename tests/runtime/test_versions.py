"""One builder of versions, as packages say themselves."""

import torch
import transformers

import expnet
from expnet.runtime.versions import versions


def test_versions_are_those_of_the_packages_that_run():
    assert versions() == {
        "expnet": expnet.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def test_more_packages_are_named_after_them():
    assert list(versions("numpy")) == ["expnet", "torch", "transformers", "numpy"]
