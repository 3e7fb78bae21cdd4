"""How a report looks: light and dark by the reader's preference, light on paper, readable at 400 pixels."""

# Okabe and Ito's colours, which people who see fewer colours tell apart; in the dark lighter ones.
STYLE = """\
:root { color-scheme: light dark;
  --page: #fff; --text: #1b1f24; --muted: #57606a; --line: #d0d7de; --tint: #f6f8fa; --link: #0550ae;
  --up: #0072b2; --down: #d55e00;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #b3850b; --c5: #3b98c9; --c6: #6e5494;
  --c7: #57606a; }
@media (prefers-color-scheme: dark) { :root {
  --page: #14181d; --text: #e6edf3; --muted: #9aa4af; --line: #3a424b; --tint: #1d232a; --link: #79b8ff;
  --up: #3fa2dd; --down: #f0883e;
  --c0: #56b4e9; --c1: #f0883e; --c2: #2fc08f; --c3: #e29bc4; --c4: #e6c34a; --c5: #8fd0f5; --c6: #b39ddb;
  --c7: #9aa4af; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0 auto; padding: 1rem clamp(.75rem, 3vw, 2rem) 4rem; max-width: 90rem; background: var(--page);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p, ul, figcaption { max-width: 60rem; }
a { color: var(--link); }
code { font: .9em/1.4 ui-monospace, monospace; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 1px; }
.skip { position: absolute; left: -999rem; background: var(--page); padding: .5rem; }
.skip:focus { left: .5rem; top: .5rem; z-index: 3; }
.age, .dim, figcaption { color: var(--muted); }
.partial { border-left: .3rem solid var(--down); padding: .25rem .75rem; background: var(--tint); }
.answer { font-size: 1.1rem; font-weight: 600; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
.scroll { overflow-x: auto; margin: .75rem 0; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.title { font-weight: 600; margin: .75rem 0 .25rem; }
.title + .scroll { margin-top: 0; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
th, td { padding: .2rem .55rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { vertical-align: bottom; }
th small, td small { display: block; font-weight: normal; color: var(--muted); font-size: .8em; white-space: nowrap; }
td small { color: inherit; opacity: .85; }
th[scope=row], thead th:first-child, .words th, .words td { text-align: left; }
th[scope=row] { font-weight: normal; min-width: 5rem; max-width: 14rem; position: sticky; left: 0; z-index: 1;
  background: var(--page); }
.heat td { min-width: 4.2rem; }
.heat thead th { max-width: 11rem; }
.heat thead th:first-child { min-width: 5rem; }
.words th[scope=row] { position: static; }
.words .num { text-align: right; white-space: nowrap; }
.words td, .words th { min-width: 3.5rem; max-width: 40rem; }
.up { background: color-mix(in srgb, var(--up) calc(var(--m) * .5%), var(--page)); }
.down { background: color-mix(in srgb, var(--down) calc(var(--m) * .5%), var(--page)); }
th:target { outline: 3px solid var(--link); outline-offset: -3px; }
.cell { display: block; color: inherit; text-decoration: none; }
a.cell:hover, a.cell:focus-visible { text-decoration: underline; }
.tip { display: none; position: fixed; left: 50%; bottom: 1rem; transform: translateX(-50%); z-index: 2;
  width: max-content; max-width: min(44rem, calc(100vw - 2rem)); padding: .5rem .8rem; text-align: left;
  white-space: normal; pointer-events: none;
  background: var(--tint); color: var(--text); border: 1px solid var(--muted); border-radius: .4rem;
  box-shadow: 0 2px 12px #0006; }
.cell:hover .tip, .cell:focus-visible .tip { display: block; }
.key { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem; color: var(--muted); }
.key i { width: 12rem; max-width: 40vw; height: .8rem; border: 1px solid var(--line);
  background: linear-gradient(to right in srgb,
  color-mix(in srgb, var(--down) 50%, var(--page)), var(--page), color-mix(in srgb, var(--up) 50%, var(--page))); }
details { margin: .5rem 0; }
summary { cursor: pointer; padding: .15rem 0; }
figure { margin: 1rem 0; }
figcaption { margin-top: .4rem; }
.plot { width: 100%; max-width: 60rem; min-height: 3rem; }
.plot.vega-embed { display: block; }
.plot .vega-bindings { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin-top: .25rem; }
.plot .vega-bind { max-width: 100%; }
.plot .vega-bind-name { margin-right: .3rem; color: var(--muted); }
.plot select { font: inherit; max-width: min(40rem, 70vw); text-overflow: ellipsis; color: var(--text);
  background: var(--tint); border: 1px solid var(--muted); }
#vg-tooltip-element.vg-tooltip { background: var(--tint); color: var(--text); border: 1px solid var(--muted);
  font: 13px/1.4 system-ui, sans-serif; max-width: min(30rem, 90vw); }
#vg-tooltip-element td { border: 0; text-align: left; }
#vg-tooltip-element td.key { color: var(--muted); display: table-cell; }
pre { overflow-x: auto; background: var(--tint); padding: .6rem; }
@media print {
  :root { color-scheme: light; --page: #fff; --text: #000; --muted: #444; --line: #bbb; --tint: #fff; --link: #000;
    --up: #0072b2; --down: #d55e00; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #b3850b;
    --c5: #3b98c9; --c6: #6e5494; --c7: #57606a; }
  @page { size: A4 landscape; margin: 12mm; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { max-width: none; padding: 0; font-size: 9pt; }
  nav, .skip, .tip { display: none !important; }
  .plot select { border: 0; appearance: none; font-weight: 600; }
  .scroll { overflow: visible; }
  th[scope=row] { position: static; }
  th, td { padding: .1rem .25rem; }
  .heat td { min-width: 0; }
  .heat, .words { font-size: 6.5pt; line-height: 1.25; }
  .words td, .words th { max-width: none; min-width: 0; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  h2, h3, .title, .key, summary { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  thead { display: table-header-group; }
  section { break-inside: auto; }
}"""
