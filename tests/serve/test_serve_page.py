"""The page works with a script and without, for the eye, the keyboard and a screen reader; what is typed stays text."""

import json
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest

from expnet.explainer import Explainer, explain_heads
from expnet.serve import Limits, create_app
from expnet.text.texts import Text
from tests.browsers import BROWSER, Browser
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer
from tests.payloads import PAYLOADS

TEXT = "the good film, another bad one"
# A form cannot carry half a surrogate pair, and parsers of HTML read CR as a line feed.
TYPED = [text for text in PAYLOADS if text.isprintable()]


@pytest.fixture(scope="module")
def explainer():
    explainer = tiny_explainer(tiny_classifier())
    explainer.trust = "Trust it <b>little</b>."
    return explainer


@pytest.fixture(scope="module")
def client(explainer):
    with Browser(create_app({"tiny": explainer, "other": explainer}, limits=Limits(characters=500))) as client:
        yield client


class Page(HTMLParser):
    """The elements of a page in order, with their attributes, and the text of each that was closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))
        if tag not in ("input", "meta", "link"):
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag):
        at = self._open.pop()
        assert self.elements[at][0] == tag

    def handle_data(self, data):
        for at in self._open:
            self.elements[at][2].append(data)

    def all(self, tag: str, **attributes: str) -> list[tuple[dict[str, str | None], str]]:
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            (attrs, "".join(text))
            for name, attrs, text in self.elements
            if name == tag and wanted.items() <= attrs.items()
        ]

    def one(self, tag: str, **attributes: str) -> tuple[dict[str, str | None], str]:
        (element,) = self.all(tag, **attributes)
        return element


def ask(client, path="/", status=200, **fields):
    answer = client.post(path, data={"text": TEXT, "method": "expnet"} | fields)
    assert answer.status_code == status, answer.text
    return answer.text


# Without a script


def test_the_form_shows_the_prediction_and_the_words_of_the_explainer(client, explainer):
    page, direct = Page(ask(client)), explainer.explain(TEXT)
    told = f"{direct.label}, {100 * direct.probability:.1f} %: {TEXT}"
    assert page.one("section", class_="expnet")[0]["aria-label"] == told
    words = [(text, float(attrs["title"])) for attrs, text in page.all("span") if attrs.get("title")]
    assert [text for text, _ in words] == [word.text for word in direct.words]
    assert [score for _, score in words] == pytest.approx([word.score for word in direct.words], abs=6e-4)
    assert page.one("textarea", name="text")[1].removeprefix("\n") == TEXT


def test_methods_stand_side_by_side_for_the_class_asked_for(client):
    page = Page(ask(client, method=["expnet", "saliency", "leave_one_out"], target="2"))
    rows = [text for attrs, text in page.all("th", scope="row")]
    assert [row.split("\u00a0")[0] for row in rows[:3]] == ["expnet", "saliency", "leave_one_out"]
    assert page.one("section", class_="expnet")[0]["aria-label"].startswith("LABEL_2, ")
    checked = {attrs["value"] for attrs, _ in page.all("input", type="checkbox") if "checked" in attrs}
    assert checked == {"expnet", "saliency", "leave_one_out"}
    assert page.one("option", selected=None)[1] == "LABEL_2"


@pytest.mark.parametrize(
    ("methods", "fixed"),
    [(["expnet"], True), (["saliency"], False), (["expnet", "rollout"], True), (["expnet", "saliency"], False)],
)
def test_a_class_can_be_chosen_where_the_words_depend_on_it_and_else_the_page_says_why_not(client, methods, fixed):
    page = Page(ask(client, method=methods))
    for name in ("target", "against"):
        attributes, _ = page.one("select", name=name)
        assert ("disabled" in attributes) is fixed
        assert attributes["aria-describedby"] == "fixed"
    attributes, told = page.one("p", id="fixed")
    assert ("hidden" in attributes) is not fixed
    assert "the same score for every class" in told


def test_the_output_of_a_regression_can_always_be_chosen():
    model = tiny_explainer(tiny_classifier(problem_type="regression"))
    with Browser(create_app({"tiny": model}), base_url="http://127.0.0.1:8000") as client:
        page = Page(client.get("/", headers=BROWSER).text)
    assert "disabled" not in page.one("select", name="target")[0]


def test_a_method_that_cannot_run_is_named_beside_those_that_can(client):
    page = Page(ask(client, method=["expnet", "alti", "kernel_shap"], text="abcdefghij " * 40))
    (alert, other) = [text for _, text in page.all("p", class_="alert")]
    assert "alti is left out. The method 'alti' would cost" in alert
    assert "kernel_shap" in other
    page = Page(ask(client, method="kernel_shap", text="abcdefghij " * 40, status=422))
    assert page.one("p", role="alert")[1].startswith("The method 'kernel_shap' would cost")


def test_the_check_takes_the_top_words_away_and_everything_else(client, explainer):
    content = json.loads(ask(client, "/download", format="json", count="2", method=["saliency", "leave_one_out"]))
    classifier = explainer.classifier
    encoding = classifier.encode([Text.of(TEXT)])
    saliency = content["explanations"][0]
    target = classifier.labels.index(saliency["label"])
    top = sorted(range(len(saliency["words"])), key=lambda i: -saliency["words"][i]["score"])[:2]
    first, stop = encoding.covers.unbind(-1)
    is_top = sum((first <= i) & (i < stop) for i in top).bool()

    def without(gone):
        changed = replace(encoding, ids=encoding.ids.masked_fill(gone & encoding.real, classifier.mask_id))
        return float(classifier.predict(changed).probabilities[0, target])

    first, second, random = content["checks"]
    assert (first["name"], first["words"]) == ("saliency", [saliency["words"][i]["text"] for i in sorted(top)])
    assert first["full"] == pytest.approx(saliency["probability"], abs=1e-6)
    assert first["without"] == pytest.approx(without(is_top), abs=1e-6)
    assert first["alone"] == pytest.approx(without(~is_top), abs=1e-6)
    assert second["name"] == "leave_one_out"
    assert (random["name"], random["words"]) == ("random words", [])
    cells = [text.split(" %")[0].strip() for _, text in Page(ask(client, count="2", method="saliency")).all("td")]
    assert f"{100 * first['without']:.1f}" in cells
    assert f"{100 * first['alone']:.1f}" in cells


def test_what_cannot_be_checked_says_why(client):
    long = "good bad " * 200
    with Browser(create_app({"tiny": tiny_explainer(tiny_classifier())})) as roomy:
        assert "This was not checked." in ask(roomy, text=long)
    assert "There are no words to remove." in ask(client, text=" ")


def test_the_downloads_hold_what_is_shown(client, explainer):
    page = client.post("/download", data={"text": TEXT, "method": "expnet", "format": "html"})
    assert page.headers["content-disposition"] == 'attachment; filename="explanation.html"'
    shown = Page(ask(client))
    saved = Page(page.text)
    assert saved.one("section", class_="expnet") == shown.one("section", class_="expnet")
    assert saved.one("section", class_="check") == shown.one("section", class_="check")
    assert saved.all("meta")[1][0]["content"].startswith("default-src 'none'")
    record = client.post("/download", data={"text": TEXT, "method": "expnet", "format": "json"})
    assert record.headers["content-disposition"] == 'attachment; filename="explanation.json"'
    (saved_,) = record.json()["explanations"]
    assert saved_["text"] == TEXT
    assert [word["text"] for word in saved_["words"]] == [word.text for word in explainer.explain(TEXT).words]


def test_line_breaks_of_a_form_are_those_that_were_typed(client):
    answer = json.loads(ask(client, "/download", text="good\r\nfilm\r\n", format="json"))
    assert answer["explanations"][0]["text"] == "good\nfilm\n"


def test_the_heads_of_a_word_are_shown_once_it_is_picked(client, explainer):
    effects = explain_heads(explainer, TEXT)
    page = Page(ask(client))
    assert "open" not in page.one("details", id="heads")[0]
    assert page.one("div", id="grids")[1] == ""
    picked = page.all("button", name="word")
    assert [text for _, text in picked] == [word.text for word in effects.explanation.words]
    assert {(attrs["form"], attrs["formaction"]) for attrs, _ in picked} == {("asked", "./#heads")}
    page = Page(ask(client, method=["saliency", "expnet"], word="2"))
    assert "open" in page.one("details", id="heads")[0]
    assert page.one("button", aria_pressed="true")[0]["value"] == "2"
    shown = page.one("div", id="grids")[1]
    assert shown == Page(f'<div id="grids">{effects.to_html(2)}</div>').one("div", id="grids")[1]
    assert f"Strongest: layer {effects.strongest(2)[0].layer} head {effects.strongest(2)[0].head} " in shown


def test_the_heads_of_every_output_of_an_expnet_are_shown_for_the_class_asked_for():
    network = random_network(replace(HEAD_SET, used=True))
    model = Explainer(tiny_classifier(), network)
    with Browser(create_app({"tiny": model})) as client:
        for target in ("1", "all"):
            page = Page(ask(client, method=["expnet", "expnet_used"], target=target, word="1"))
            named = None if target == "all" else 1
            expected = [explain_heads(model, TEXT, method=name, target=named) for name in ("expnet", "expnet_used")]
            grids = "".join(effects.to_html(1) for effects in expected)
            assert page.one("div", id="grids")[1] == Page(f"<div id=a>{grids}</div>").one("div", id="a")[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"word": "99"}, "whose 7 words are numbered from 0"),
        ({"word": "<b>"}, "no word '<b>'"),
        ({"word": "-1"}, "'-1'"),
    ],
)
def test_a_word_that_is_not_there_is_named_where_its_heads_would_be(client, fields, message):
    page = Page(ask(client, **fields))
    assert message in page.one("div", id="grids")[1]
    assert page.one("section", class_="expnet")


def test_only_an_expnet_has_heads_to_show_and_only_in_one_window(client):
    assert not Page(ask(client, method="saliency", word="1")).all("details", id="heads")
    assert not Page(ask(client, text=" ")).all("details", id="heads")
    with Browser(create_app({"tiny": tiny_explainer(tiny_classifier(max_length=8))})) as narrow:
        page = Page(ask(narrow, text="good bad " * 10, word="1"))
    assert "windows, in which heads see different texts" in page.one("div", id="grids")[1]


def test_methods_side_by_side_say_which_top_words_they_share(client, explainer):
    page = Page(ask(client, method=["expnet", "saliency"], target="0"))
    tops = [
        {word.start: word.text for word in explainer.explain(TEXT, method=method, target=0).top(3)}
        for method in ("expnet", "saliency")
    ]
    (line,) = [text for _, text in page.all("div") if text.startswith("Of the top 3 words, ")]
    for words in tops:
        assert all(f'"{word}"' in line for word in words.values())
    assert ("share" in line) == bool(tops[0].keys() & tops[1].keys())
    assert "Of the top" not in Page(ask(client)).one("section", class_="expnet")[1]


def test_the_page_holds_the_explanation_for_its_script(client, explainer):
    (attributes, _) = Page(ask(client)).one("section", id="edit")
    held = json.loads(attributes["data-explained"])
    direct = json.loads(explainer.explain(TEXT).to_json())
    assert held.keys() == direct.keys() - {"meaning", "checked"}, "what readers are told stands on the page, once"
    assert [word["text"] for word in held["words"]] == [word["text"] for word in direct["words"]]
    assert "scripted" in attributes["class"]
    assert not Page(ask(client, text=" ")).all("section", id="edit")


def test_pairs_are_explained_as_pairs(client):
    answer = json.loads(ask(client, "/download", pair="bad text", format="json"))
    assert answer["explanations"][0]["pair"] == "bad text"
    assert answer["explanations"][0]["words"][-1]["segment"] == 1


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"text": "a" * 501}, 422, "501 characters, this server takes 500"),
        ({"method": "lyme"}, 422, "Did you mean 'lime'?"),
        ({"method": []}, 422, "Choose a method"),
        ({"target": "7"}, 422, "There is no class 7"),
        ({"count": "0"}, 422, "Expected 1 to 50 words"),
        ({"count": "9" * 5000}, 422, "Expected 1 to 50 words"),
        ({"count": "²"}, 422, "Expected 1 to 50 words"),
        ({"model": "tny"}, 404, "Did you mean 'tiny'?"),
        ({f"field {n}": "" for n in range(300)}, 422, "Not a valid form"),
    ],
)
def test_what_is_wrong_with_a_form_is_said_on_the_page(client, fields, status, message):
    page = Page(ask(client, status=status, **fields))
    assert message in page.one("p", role="alert")[1]
    if message != "Not a valid form":
        typed = {"text": TEXT} | fields  # nobody has to type it again
        assert page.one("textarea", name="text")[1].removeprefix("\n") == ("" if "model" in fields else typed["text"])


@pytest.mark.parametrize("body", [b"text=%ff", b"\xff\xfe", b'{"text": 1}'])
def test_what_is_no_form_is_refused_on_the_page(client, body):
    answer = client.post("/", content=body)
    assert answer.status_code == 422
    assert Page(answer.text).one("p", role="alert")


def test_each_model_has_its_page(client):
    page = Page(client.get("/?model=other").text)
    assert [(attrs["href"], attrs.get("aria-current")) for attrs, _ in page.all("a")] == [
        ("./?model=tiny", None),
        ("./?model=other", "page"),
        ("docs", None),
    ]
    assert page.one("input", name="model")[0]["value"] == "other"
    assert client.get("/?model=nope").status_code == 404


def test_before_anybody_chooses_the_expnet_is_chosen_or_what_comes_nearest(client):
    def chosen(page):
        return [attrs["value"] for attrs, _ in page.all("input", type="checkbox") if "checked" in attrs]

    assert chosen(Page(client.get("/", headers=BROWSER).text)) == ["expnet"]
    with Browser(create_app({"bare": Explainer(tiny_classifier())})) as bare:
        assert chosen(Page(bare.get("/", headers=BROWSER).text)) == ["raw_attention"]


def test_fields_have_labels_and_nothing_runs_but_the_script_of_the_server(client):
    source = client.get("/", headers=BROWSER).text
    page = Page(source)
    labelled = {attrs.get("for") for attrs, _ in page.all("label")}
    for tag in ("textarea", "select", "input"):
        for attrs, _ in page.all(tag):
            if attrs.get("type") not in ("hidden", "checkbox"):
                assert attrs["id"] in labelled
    scripts = [attrs for attrs, _ in page.all("script")]
    assert scripts == [
        {"src": f"static/{name}.js", "defer": None} for name in ("page", "saving", "link", "heads", "editing")
    ]
    assert "http:" not in source
    assert "https:" not in source
    assert "Trust it &lt;b&gt;little&lt;/b&gt;." in source


# Injection


def check_harmless(source: str, usual: str) -> None:
    """Check that a page has no element, script or handler that a usual one has not."""
    page, scripts = Page(source), [attrs for attrs, _ in Page(usual).all("script")]
    assert {tag for tag, _, _ in page.elements} <= {tag for tag, _, _ in Page(usual).elements} | {"p"}
    assert not [name for _, attrs, _ in page.elements for name in attrs if name.startswith("on")]
    assert [attrs for attrs, _ in page.all("script")] == scripts


@pytest.mark.parametrize("payload", TYPED)
def test_what_is_typed_comes_back_as_it_was_and_harmless(client, payload):
    fields = {"text": f"good {payload}", "pair": payload, "method": ["expnet", "saliency"]}
    usual = ask(client, **fields | {"text": TEXT, "pair": TEXT})
    source = ask(client, **fields)
    check_harmless(source, usual)
    page = Page(source)
    assert page.one("textarea", name="text")[1].removeprefix("\n") == f"good {payload}"
    assert page.one("input", name="text")[0]["value"] == f"good {payload}"
    saved = {"path": "/download", "format": "html"}
    check_harmless(ask(client, **saved, **fields), ask(client, **saved))
    for wrong in ({"method": payload}, {"target": payload}, {"count": payload}, {"model": payload}):
        source = client.post("/", data=fields | wrong).text
        check_harmless(source, usual)
        assert Page(source).one("p", role="alert")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_labels_and_names_of_a_model_are_harmless(payload):
    label = payload.encode("utf-8", "replace").decode()  # a model with half a pair in its names is refused
    classifier = tiny_classifier(id2label={0: label, 1: label + "!", 2: "good"})
    explainer = tiny_explainer(classifier)
    explainer.name = explainer.trust = payload
    asked = {"target": "0", "method": ["expnet", "saliency"]}
    with Browser(create_app({"tiny": explainer, "usual": tiny_explainer(tiny_classifier())})) as client:
        usual, saved = ask(client, model="usual"), ask(client, "/download", model="usual")
        for source in (client.get("/", headers=BROWSER).text, ask(client), ask(client, **asked)):
            check_harmless(source, usual)
            assert not {chr(code) for code in range(32)} - {"\n", "\t"} & set(unescape(source))
        check_harmless(ask(client, "/download", target="1"), saved)
        for response in (
            client.post("/v1/models/tiny:explain", json={"instances": ["good"], "target": 0}),
            client.post("/v1/models/tiny:predict", json={"instances": ["good"]}),
            client.get("/v1/models/tiny"),
            client.post("/download", data={"text": "good", "method": "expnet", "format": "json"}),
        ):
            assert response.headers["content-type"] == "application/json"
            assert json.dumps(label)[1:-1] in json.dumps(response.json())
