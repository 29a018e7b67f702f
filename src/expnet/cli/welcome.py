"""`expnet` alone: what people do with it, each with a command that works as it stands."""

STARTS = (
    ("Explain a text", 'expnet explain "A touching, funny film."'),
    ("Compare methods", 'expnet explain --method expnet --method deeplift "A touching, funny film."'),
    ("Check a model before you explain it", "expnet doctor demo/sentiment"),
    ("Try it on a page", "expnet serve demo/sentiment"),
    ("Keep a record of one decision", 'expnet audit "A touching, funny film." --output record.html'),
)


def welcome() -> str:
    """Return the five things, each above its command, and where the rest is."""
    starts = "\n\n".join(f"{what}:\n  {command}" for what, command in STARTS)
    return (
        f"Which words made a text classifier decide?\n\n{starts}\n\n"
        "demo/sentiment comes with expnet (extra demo). For a classifier of your own, put its folder or hub\n"
        "id there; `expnet explain` and `expnet audit` take it as --model. Every command: expnet --help"
    )
