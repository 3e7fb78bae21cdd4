"""What a report does: the few lines around vega-embed, and how Vega's parts are coloured."""

# Draws the plots, says how old the page is, opens what an address leads to, and opens all before printing. `ast`:
# expressions are walked, never compiled, so that the page needs no `unsafe-eval`.
SCRIPT = """\
"use strict";
const read = id => JSON.parse(document.getElementById(id).textContent);
const config = read("config");
const plots = [...document.querySelectorAll(".plot")].map(plot =>
  vegaEmbed(plot, read(plot.dataset.spec),
    {ast: true, renderer: "svg", actions: false, config, tooltip: {theme: "custom"}})
    .then(() => { const name = plot.dataset.name;
      plot.querySelector("svg")?.setAttribute("aria-label", name);
      plot.querySelectorAll("select").forEach(list => list.setAttribute("aria-label",
        name + ": " + list.closest(".vega-bind").querySelector(".vega-bind-name").textContent.trim())); }));
Promise.all(plots).then(() => { document.documentElement.dataset.ready = "yes"; });
const reveal = () => { const at = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let box = at?.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  if (at) at.scrollIntoView({block: "center", inline: "center"}); };
addEventListener("hashchange", reveal);
reveal();
for (const time of document.querySelectorAll(".age time")) {
  const minutes = Math.round((Date.now() - Date.parse(time.dateTime)) / 60000);
  const [number, unit] = minutes < 120 ? [minutes, "minute"] : minutes < 2880 ? [minutes / 60, "hour"]
    : [minutes / 1440, "day"];
  const age = new Intl.RelativeTimeFormat("en").format(-Math.round(number), unit);
  time.after(` (${age} when this page was opened)`); }
let shut = [];
addEventListener("beforeprint", () => { shut = [...document.querySelectorAll("details:not([open])")];
  shut.forEach(box => { box.open = true; }); });
addEventListener("afterprint", () => shut.forEach(box => { box.open = false; }));
"""

_TEXT, _MUTED, _LINE, _FONT = "var(--text)", "var(--muted)", "var(--line)", "system-ui, sans-serif"
# Of Vega: everything that has a colour or a font.
CONFIG = {
    "background": None,
    "font": _FONT,
    "view": {"stroke": _LINE},
    "text": {"color": _TEXT, "fontSize": 12},
    "title": {"color": _TEXT},
    "axis": {
        "labelColor": _TEXT, "titleColor": _MUTED, "gridColor": _LINE, "domainColor": _MUTED, "tickColor": _MUTED,
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "gridOpacity": 0.6,
    },
    "axisQuantitative": {"tickCount": 8},
    "legend": {"labelColor": _TEXT, "titleColor": _MUTED, "labelFontSize": 12, "orient": "bottom", "columns": 5},
    "customFormatTypes": False,
}  # fmt: skip
