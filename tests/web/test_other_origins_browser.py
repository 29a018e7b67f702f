"""A page of another origin, in a real browser: it can neither save marks nor start a training nor use a model."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from expnet.serve import Limits
from expnet.serve import create_app as serve_app
from expnet.studio import create_app
from tests import chromium
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.live import running
from tests.studios import desk

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
URLENCODED = "application/x-www-form-urlencoded"
READY = "document.readyState === 'complete' && !document.querySelector('#save').disabled"

PAGE = b"""<!doctype html><title>elsewhere</title>
<script>
const fields = {words: "1", label: "0", seen: "", action: "save", read: "no", text: "good", method: "expnet"};
function send(url, kind) {
  const form = Object.assign(document.createElement("form"), {action: url, method: "post", enctype: kind});
  for (const [name, value] of Object.entries(fields))
    form.append(Object.assign(document.createElement("input"), {name, value}));
  if (location.hash === "#nowhere")
    document.head.append(Object.assign(document.createElement("meta"), {name: "referrer", content: "no-referrer"}));
  document.body.append(form);
  form.submit();
}
window.fetched = (url, type) =>
  fetch(url, {method: "POST", mode: "no-cors", body: new Blob([new URLSearchParams(fields)], {type})}).catch(String);
</script><body>"""


class _Elsewhere(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        pass


@contextmanager
def elsewhere():
    """Another server on this machine; yields its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def browser():
    """A browser to which every made-up name is this machine, as it is to one whose name server an attacker owns."""
    opened = chromium.Chromium("--host-resolver-rules=MAP *.example 127.0.0.1, MAP localhost 127.0.0.1")
    yield opened
    opened.close()


@pytest.fixture
def studio(browser, tmp_path):
    """A desk with marks enough for Fit, the browser, and the ports of the studio and of the other page."""
    session = desk(tmp_path)
    for record in session.texts[1:]:
        session.marks.save(record, "ann", record.text.words[1:2], "LABEL_1")
    hosts = ["localhost", "127.0.0.1", "studio.example"]
    with running(create_app(session, hosts=hosts), Limits()) as server, elsewhere() as port:
        yield session, browser, server.port, port
        browser.open("about:blank#end")  # connections that stay open would be waited for


# Over plain HTTP on a name browsers leave `Sec-Fetch-Site` out; another port of a name is the same site.
WHERE = [
    ("localhost", "localhost", ""),
    ("127.0.0.1", "127.0.0.1", ""),
    ("127.0.0.1", "localhost", ""),
    ("localhost", "127.0.0.1", ""),
    ("studio.example", "studio.example", ""),
    ("evil.example", "studio.example", ""),
    ("evil.example", "localhost", ""),
    ("studio.example", "studio.example", "#nowhere"),
    ("localhost", "localhost", "#nowhere"),
]
FORMS = [
    *((path, URLENCODED) for path in ("/texts/1", "/texts/2/explanation", "/fit", "/fit/cancel")),
    ("/texts/1", "text/plain"),
    ("/texts/1", "multipart/form-data"),
]


def refused(caplog, expected):
    """Return how many requests the log says were refused; a line is written after its answer is sent."""
    end = time.monotonic() + 20
    while (refusals := caplog.text.count("POST other 403")) < expected and time.monotonic() < end:
        time.sleep(0.01)
    return refusals


@pytest.mark.parametrize(("theirs", "ours", "how"), WHERE)
def test_a_form_of_another_origin_saves_no_marks_and_starts_no_training(studio, caplog, theirs, ours, how):
    session, page, port, other = studio
    before = session.marks.path.read_bytes()
    with caplog.at_level("INFO", "expnet.serve"):
        for path, kind in FORMS:
            page.open(f"http://{theirs}:{other}/{how}")
            page.until(f"location.port === '{other}' && window.send")
            page.value(f"setTimeout(() => send('http://{ours}:{port}{path}', '{kind}'))")  # it answers before it goes
            page.until(f"location.port === '{port}' && document.readyState === 'complete'")
            assert "Pages of other sites may not use this server" in page.value("document.body.textContent")
        assert refused(caplog, len(FORMS)) == len(FORMS)
    assert session.marks.path.read_bytes() == before
    assert session.fitting is None


@pytest.mark.parametrize(("theirs", "ours", "how"), WHERE[:-2])
def test_a_script_of_another_origin_neither_changes_anything_nor_reads(studio, caplog, theirs, ours, how):
    session, page, port, other = studio
    before = session.marks.path.read_bytes()
    page.open(f"http://{theirs}:{other}/")
    page.until("window.send")
    with caplog.at_level("INFO", "expnet.serve"):
        for path in ("/texts/1", "/fit"):
            for kind in ("text/plain", URLENCODED):
                page.value(f"fetched('http://{ours}:{port}{path}', '{kind}')")
        page.value(f"fetch('http://{ours}:{port}/fit', {{method: 'POST', mode: 'no-cors'}}).catch(String)")
        assert refused(caplog, 5) == 5
    asked = f"fetch('http://{ours}:{port}/texts/2').then(answer => answer.text(), () => 'refused')"
    assert page.value(asked) == "refused"
    declared = "{method: 'POST', headers: {'content-type': 'application/json'}, body: '{}'}"
    assert page.value(f"fetch('http://{ours}:{port}/fit', {declared}).then(() => '', () => 'refused')") == "refused"
    assert session.marks.path.read_bytes() == before
    assert session.fitting is None


def test_a_name_that_leads_here_without_being_ours_is_not_answered_to(studio):
    session, page, port, _ = studio
    page.open(f"http://evil.example:{port}/texts/1")
    assert "does not answer under that name" in page.value("document.body.textContent")
    asked = "fetch('/fit', {method: 'POST'}).then(answer => answer.status)"
    assert page.value(asked) == 421
    assert session.fitting is None


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "studio.example"])
def test_its_own_pages_save_and_fit_under_each_of_its_names(studio, name):
    session, page, port, _ = studio
    page.show(1100, 800)
    page.open(f"http://{name}:{port}/texts/1")
    page.until(READY)
    page.press("ArrowRight")
    page.press("Space")
    page.press("Enter")
    page.until("location.pathname === '/texts' && document.readyState === 'complete'")
    assert len(session.entry(0).record.annotations) == 1
    page.open(f"http://{name}:{port}/fit")
    page.until("document.querySelector('#fit button:not(:disabled)')")
    page.click("#fit button")
    page.until("document.querySelector('.figures') && document.readyState === 'complete'", seconds=120)
    assert session.newest is not session.explainer


def test_the_page_of_a_model_answers_its_own_form_on_a_name_and_no_other(browser):
    app = serve_app({"tiny": tiny_explainer(tiny_classifier())}, hosts=["explain.example"])
    with running(app, Limits()) as server, elsewhere() as other:
        browser.show(1100, 800, script=False)  # the browser itself sends the form
        browser.open(f"http://explain.example:{server.port}/")
        browser.click("#text")
        browser.type("a good film")
        browser.click("#ask button")
        browser.until("document.querySelector('#result section.expnet')")
        browser.show(1100, 800)
        browser.open(f"http://explain.example:{other}/")
        browser.until("window.send")
        browser.value(f"setTimeout(() => send('http://explain.example:{server.port}/', '{URLENCODED}'))")
        browser.until(f"location.port === '{server.port}' && document.readyState === 'complete'")
        assert "Pages of other sites may not" in browser.value("document.body.textContent")
        browser.open("about:blank#end")
