"""The whole page: one file that stands alone. What it is allowed is written in it: no network, and no other script.

The content security policy names both scripts by their hashes, so that nothing that came in with a name can run, and
forbids every request.
"""

import hashlib
import json
import re
from base64 import b64encode
from functools import cache
from typing import Any

from eval.report import charts, sections
from eval.report.chart import Chart
from eval.report.content import Content
from eval.report.script import CONFIG, SCRIPT
from eval.report.sections import Page, Section
from eval.report.style import STYLE
from eval.report.words import count, escape, instant, moment

_GLOBALS = "window.vegaEmbed = vegaEmbed;"


def html(content: Content) -> str:
    """The page of a report."""
    plots = charts.of_content(content)
    all_sections = sections.all_of(Page(content, plots))
    scripts = (_library(), SCRIPT)
    title = f"{content.name}: report"
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{STYLE}\n</style>",
            "</head>",
            "<body>",
            '<a class="skip" href="#main">Skip to the report</a>',
            _header(content, all_sections),
            f'<main id="main" tabindex="-1">\n{_body(all_sections)}\n</main>',
            _footer(content),
            _data(plots),
            *(f"<script>{script}</script>" for script in scripts),
            "</body>",
            "</html>\n",
        )
    )


def _policy(scripts: tuple[str, ...]) -> str:
    hashes = " ".join(f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts)
    # Styles are no way out: without images, fonts and connections they reach nobody. Vega writes some.
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@cache
def _library() -> str:
    """Vega, Vega-Lite and vega-embed as one script, as vl-convert has them."""
    import vl_convert

    script = str(vl_convert.javascript_bundle(_GLOBALS)).replace("\r", "")
    return re.sub(r"<(?=/script|script|!--)", r"\\x3c", script, flags=re.IGNORECASE)


def _header(content: Content, all_sections: list[Section]) -> str:
    links = "".join(f'<li><a href="#{section.name}">{escape(section.title)}</a></li>' for section in all_sections)
    return (
        f"<header>\n<h1>{escape(content.name)}</h1>\n{_age(content)}\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
        "<noscript><p>Plots need JavaScript; all their numbers are in the tables.</p></noscript>\n</header>"
    )


def _age(content: Content) -> str:
    time_text = moment(content.written)
    return (
        f'<p class="age">Written at <time datetime="{instant(content.written)}">{time_text}</time>, with'
        f" {content.finished:,} of {count(content.total, 'stage')} finished.</p>"
    )


def _body(all_sections: list[Section]) -> str:
    return "\n".join(
        f'<section id="{section.name}" aria-labelledby="h-{section.name}">\n'
        f'<h2 id="h-{section.name}">{escape(section.title)}</h2>\n{section.html}\n</section>'
        for section in all_sections
    )


def _footer(content: Content) -> str:
    return (
        f"<footer>\n{_age(content)}\n<p>Made by Stepstone: <code>stepstone report {escape(content.file)}</code></p>\n"
        "</footer>"
    )


def _data(plots: dict[str, Chart]) -> str:
    records: dict[str, Any] = {"config": CONFIG} | {f"plot-{name}": chart.spec for name, chart in plots.items()}
    return "\n".join(
        f'<script type="application/json" id="{name}">{_json(record)}</script>' for name, record in records.items()
    )


def _json(record: Any) -> str:
    """JSON that no end of an element can be in."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
