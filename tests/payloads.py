"""Strings that somebody could put into a text, a label, an id or a name, to see whether a page or a terminal obeys.

What runs in a browser sets `window.ran`, except where a dialog shows as well. RUNS must be able to: each of them does,
where it is pasted into a page as it is.
"""

RUNS = [
    "<script>window.ran=1</script>",
    "<img src=x onerror=window.ran=1>",
    "<svg onload=window.ran=1>",
    "<svg><script>window.ran=1</script></svg>",
    "<body onload=window.ran=1>",
    "<details open ontoggle=window.ran=1>",
    "<input autofocus onfocus=window.ran=1>",
    "<video><source onerror=window.ran=1></video>",
    '<iframe srcdoc="<script>parent.ran=1</script>"></iframe>',
    "<style>@keyframes x{}</style><b style='animation-name:x' onanimationstart=window.ran=1>x</b>",
    "</title><script>window.ran=1</script>",
    "</style><script>window.ran=1</script>",
    "</textarea><script>window.ran=1</script>",
    "</script><script>window.ran=1</script>",
    "--><script>window.ran=1</script><!--",
    "]]><script>window.ran=1</script>",
    "</pre></details></section></main><script>window.ran=1</script>",
    '"><script>window.ran=1</script>',
    "'><script>window.ran=1</script>",
]

PAYLOADS = [
    *RUNS,
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "--></style></title></details><iframe src=//evil>",
    "]]><![CDATA[<svg/onload=alert(1)>",
    '<a href="javascript:window.ran=1">x</a>',
    "javascript:window.ran=1",
    "<form><math><mtext></form><form><mglyph><style></math><img src=x onerror=window.ran=1>",
    "<meta http-equiv=refresh content='0;url=data:text/html,<script>alert(1)</script>'>",
    "<base href=//evil/><link rel=stylesheet href=//evil>",
    '<form action="javascript:window.ran=1"><button autofocus>x',
    "red;background:url(//evil)}</style>",
    '\\"};window.ran=1;//',
    "${window.ran=1} {{ 7 * 7 }} {% raw %} <%= 7 %>",
    "`</script>`",
    "a line\u2028window.ran=1\u2029",
    "&lt;b&gt; &#60;b&#62; &amp;lt",
    "<\x00script>window.ran=1</script>",
    "\x1b[2J\x1b[31mred",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1bP+q544e\x1b\\",
    "\x9b31m\x9d8;;http://evil\x9c",
    "over\rwritten\x08\x08\x7f",
    "abc\u202egnp.exe\u2066x\u2069",
    "nul\x00 half \ud83d pair",
    "[/foo] [bold]x[/bold] [link=http://evil]y[/link] :smile:",
]

# What a spreadsheet would take for a formula.
FORMULAS = ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", "\n=1+1", "＝1+1", "=cmd|'/c calc'!A1"]
