"""Write `src/expnet/text/word_kinds.txt`: what UAX #29, Unicode's word boundaries, asks of each character.

    python scripts/word_kinds.py
    python scripts/word_kinds.py --compare 100000

The second compares our words with those of the installed `regex` on so many random texts, and writes nothing.

The table takes its properties from the installed `regex`, and is kept in the repository, so that words, and with them
scores, change with a commit and never with an installed release. Renewing it for a later Unicode version is a change of
behaviour: say so in the changelog.
"""

import argparse
import random
import sys
from itertools import groupby
from pathlib import Path

import regex

from expnet.text.words import split_words

TABLE = Path(__file__).parents[1] / "src/expnet/text/word_kinds.txt"
# In this order: a letter that is also a pictograph (Ⓜ) is both.
KINDS = {
    "Q": r"[\p{Word_Break=ALetter}&&\p{Extended_Pictographic}]",
    "A": r"\p{Word_Break=ALetter}",
    "H": r"\p{Word_Break=Hebrew_Letter}",
    "K": r"\p{Word_Break=Katakana}",
    "D": r"\p{Word_Break=Numeric}",
    "U": r"\p{Word_Break=ExtendNumLet}",
    "S": r"\p{Word_Break=Single_Quote}",
    "O": r"\p{Word_Break=Double_Quote}",
    "M": r"\p{Word_Break=MidNumLet}",
    "L": r"\p{Word_Break=MidLetter}",
    "N": r"\p{Word_Break=MidNum}",
    "E": r"[\p{Word_Break=Extend}\p{Word_Break=Format}]",
    "Z": r"\p{Word_Break=ZWJ}",
    "R": r"\p{Word_Break=Regional_Indicator}",
    "W": r"\p{Word_Break=WSegSpace}",
    "C": r"\p{Word_Break=CR}",
    "F": r"\p{Word_Break=LF}",
    "B": r"\p{Word_Break=Newline}",
    "P": r"\p{Extended_Pictographic}",
}
BLANK = r"[\p{White_Space}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]"


def kinds() -> str:
    """Return a letter for every code point: its kind, in lower case where the character is invisible."""
    characters = "".join(map(chr, range(sys.maxunicode + 1)))
    table = ["X"] * len(characters)
    for kind, pattern in reversed(KINDS.items()):
        for match in regex.finditer(f"(?V1){pattern}", characters):
            table[match.start()] = kind
    for match in regex.finditer(BLANK, characters):
        table[match.start()] = table[match.start()].lower()
    return "".join(table)


# In a run of flags \b alone would count them from the first again and again.
PIECE = regex.compile(r"(?sw)\p{Regional_Indicator}{2}(?=\p{Regional_Indicator})|.+?\b")
SEEN = regex.compile(BLANK.replace("[", "[^", 1))


def words_of_regex(text: str) -> list[str]:
    """Return the words that the installed `regex` finds."""
    return [piece for piece in PIECE.findall(text) if SEEN.search(piece)]


def differing(count: int) -> int:
    """Return on how many random texts, of hard characters and of any, our words are not those of `regex`."""
    draw = random.Random(0)
    hard = "aZ9é1.,'’\"-_:; \t\n\r\u00a0\u0301\u200b\u200d\u00ad\ufeff\u202e\x00字かカשא״क्ๆ👩👍🏽🇩🇪❤️ℹⓂ"
    every = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    texts = ("".join(draw.choices(hard if number % 2 else every, k=10)) for number in range(count))
    return sum([text[start:end] for start, end, _ in split_words(text)] != words_of_regex(text) for text in texts)


def main() -> None:
    """Write the table as runs: a length, unless it is 1, and a letter."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--compare", type=int, metavar="TEXTS")
    if count := parser.parse_args().compare:
        print(f"{differing(count)} of {count} texts differ from regex {regex.__version__}")
        return
    lengths = ((kind, len(list(run))) for kind, run in groupby(kinds()))
    runs = "".join(f"{length if length > 1 else ''}{kind}" for kind, length in lengths)
    TABLE.write_text("".join(f"{runs[at : at + 120]}\n" for at in range(0, len(runs), 120)), encoding="ascii")
    print(f"{TABLE.name}: {len(runs)} characters, from regex {regex.__version__}")


if __name__ == "__main__":
    main()
