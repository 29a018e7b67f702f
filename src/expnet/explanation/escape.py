"""Make any string harmless where it is shown: in HTML, in XML and in a terminal."""

import html

# Tab and newline are layout; other characters that end a line would break one that was meant to be whole. Joiners
# and marks that only hint at a direction (U+200E, U+200F, U+061C) are ordinary text; overrides, embeddings and
# isolates reorder what stands around them. Half a surrogate pair cannot be encoded.
_HARMFUL = (
    *(code for code in range(0x20) if chr(code) not in "\t\n"),
    *range(0x7F, 0xA0),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xD800, 0xE000),
)
_SHOWN = {code: repr(chr(code))[1:-1] for code in _HARMFUL}


def printable(text: str) -> str:
    r"""Return the text with control, line separator, bidi override and surrogate characters spelled out, ESC as `\x1b`.

    Tabs and newlines stay; CR LF becomes a newline. What is left can be printed without moving the cursor,
    changing the terminal or reordering its surroundings, and encoded as UTF-8. It may still be markup.
    """
    return text.replace("\r\n", "\n").translate(_SHOWN)


def escape(text: str) -> str:
    """Return HTML that shows the text, for element content and quoted attributes alike."""
    return html.escape(printable(text))


def escape_xml(text: str) -> str:
    """Return XML that shows the text; the two characters that XML cannot hold are spelled out."""
    return escape(text).translate({code: f"\\u{code:x}" for code in (0xFFFE, 0xFFFF)})
