"""The name that `expnet.network.universal` had before the rooms; code that imports it keeps working."""

from expnet.network.universal import named, trust, universal

__all__ = ["named", "trust", "universal"]
