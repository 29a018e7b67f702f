"""Shapes and types are checked while testing; nothing reaches for the network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from jaxtyping import install_import_hook

install_import_hook("expnet", "beartype.beartype")
