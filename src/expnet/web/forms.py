"""What pages have in common: forms that browsers send."""

from collections.abc import Mapping
from urllib.parse import parse_qs

from expnet.errors import InputError

_FIELDS = 200  # of a form; there are fewer methods


def read_form(body: bytes) -> Mapping[str, list[str]]:
    """Read the fields of a form as a browser sends them.

    Raises:
        InputError: If the body is not a form.
    """
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except ValueError as error:
        raise InputError("Not a valid form: expected fields as a browser sends them, in UTF-8.") from error
    # Browsers send every line break as CR LF; in the form it was LF.
    return {name: [value.replace("\r\n", "\n") for value in values] for name, values in fields.items()}


def last(fields: Mapping[str, list[str]], name: str, otherwise: str) -> str:
    """Return the last value of a field."""
    return fields.get(name, [otherwise])[-1]
