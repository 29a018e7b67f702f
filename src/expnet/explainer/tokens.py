"""A text whose words are the tokens that the model reads, to see scores as the method gives them."""

from expnet.explainer.explaining import Explainer
from expnet.text.texts import Text, as_text
from expnet.text.words import Span


def as_tokens(explainer: Explainer, text: str | Text) -> Text:
    """Return a text whose words are its tokens: `explain` then gives each token a score of its own.

    Space around a token is no part of it. Tokens that stand for the same characters, such as the bytes of an emoji, are
    one; special tokens are none. Methods that remove words remove single tokens.

    Args:
        explainer: Whose classifier reads the text.
        text: A text or a pair; its own words are not used.

    Raises:
        InputError: If the text is not a string.
        TextTooLongError: If a pair is too long for windows.
    """
    text = as_text(text)
    encoding = explainer.classifier.encode([text])
    real = encoding.real
    places = zip(encoding.segment[real].tolist(), encoding.offsets[real].tolist(), strict=True)
    words, end = list[Span](), (0, 0)
    for segment, (first, last) in sorted(places, key=lambda place: (place[0], *place[1])):
        part = text.part(segment)[first:last]
        start = first + len(part) - len(part.lstrip())
        stop = start + len(part.strip())
        if start < stop and (segment, start) >= end:
            words.append(Span(start, stop, segment))
            end = (segment, stop)
    return Text(text.text, text.pair, tuple(words))
