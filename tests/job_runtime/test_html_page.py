import base64
import hashlib
import json
import re

from job_runtime import html_page

HOSTILE = "</script><img src=x>&"
TEMPLATE = """{% extends "shell.html.j2" %}
{% import "sections.html.j2" as sections %}
{% block main %}{{ sections.key_figures(figures) }}{{ sections.facts("origin", "Origin", facts) }}{% endblock %}
{% block footer %}<script type="application/json">{{ data }}</script>{% endblock %}
"""
CONTENT = {
    "title": "t",
    "kind": "k",
    "heading": HOSTILE,
    "figures": [{"label": HOSTILE, "value": "1", "note": ""}],
    "facts": [(HOSTILE, HOSTILE)],
    "data": html_page.json_data({"a": HOSTILE}),
}


def rendered(folder, **content) -> str:
    (folder / "page.html.j2").write_text(TEMPLATE)
    (folder / "page.css").write_text(".mine {}")
    (folder / "a.js").write_text("const a = 1 < 2;")
    return html_page.render(folder, **{**CONTENT, **content}).decode()


def policy(page: str) -> str:
    found = re.search('http-equiv="Content-Security-Policy" content="(.*?)"', page)
    assert found
    return found[1].replace("&#39;", "'")


def source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_text_and_data_are_escaped(tmp_path):
    page = rendered(tmp_path)
    assert HOSTILE not in page and "<img" not in page
    assert page.count("&lt;/script&gt;&lt;img src=x&gt;&amp;") == 4
    block = re.search('<script type="application/json">(.*?)</script>', page)
    assert block and json.loads(block[1]) == {"a": HOSTILE}


def test_the_policy_allows_the_style_and_script_of_the_page_alone(tmp_path):
    page = rendered(tmp_path, scripts=["a.js"])
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    (script,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    assert style.endswith(".mine {}") and "const a = 1 < 2;" in script
    assert policy(page).split("; ") == [
        "default-src 'none'", f"style-src {source(style)}", "img-src data:", f"script-src {source(script)}",
        "media-src data: blob:", "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip


def test_a_page_without_scripts_allows_none(tmp_path):
    page = rendered(tmp_path)
    assert "<script>" not in page
    assert "script-src" not in policy(page) and "default-src 'none'" in policy(page)


def test_bytes_that_are_not_utf_8_are_replaced(tmp_path):
    assert "<title>a?b</title>" in rendered(tmp_path, title=b"a\xffb".decode("utf-8", "surrogateescape"))
