"""How a page looks: its style sheet, for light and dark, and its frame."""

__all__ = ["PAGE", "STYLE"]

STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfa; --card: #ffffff; --ink: #1c1e21; --faint: #646a73;
  --grid: #e3e5e8; --wash: #eef4fd; --chart1: #1f5fbf; --chart2: #c2570c; --chart3: #1c7a50;
  --chart4: #7a45b8; --chart5: #b52a5e; --chart6: #736a10; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #15171a; --card: #1d2024; --ink: #e8e9eb;
  --faint: #9aa1ab; --grid: #33383f; --wash: #1b2838; --chart1: #7fb2ff; --chart2: #f5a168; --chart3: #6fd0a2;
  --chart4: #c4a1f5; --chart5: #f58fb0; --chart6: #d3c860; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 54rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; letter-spacing: -.015em; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .8rem; }
h3 { font-size: 1.02rem; margin: 1.4rem 0 .6rem; }
h2 + h3, article > h3, .table > h3 { margin-top: 0; }
h4 { font-size: .8rem; margin: 0 0 .4rem; color: var(--faint); font-weight: 600; }
p { margin: .5rem 0; }
h1, h2, h3, h4, p, summary { overflow-wrap: anywhere; }
.finding { font-size: 1.15rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .55rem .8rem; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--grid); }
th:first-child { text-align: left; }
thead th { color: var(--faint); font-size: .85rem; font-weight: 600; }
tbody th { font-weight: 600; }
small { display: block; color: var(--faint); font-size: .78rem; font-weight: 400; }
td small { white-space: nowrap; }
sup { line-height: 0; color: var(--faint); }
.kinds td, .kinds th { padding-bottom: 0; border-bottom: 0; text-align: center; }
td.published, tr.published td, tr.published th, thead .published { font-style: italic; color: var(--faint); }
tr.average th, tr.average td { border-top: 2px solid var(--grid); }
.legend { color: var(--faint); font-size: .85rem; }
.legend + h3 { margin-top: 1.8rem; }
.many { position: relative; left: 50%; transform: translateX(-50%); width: max-content; min-width: 100%;
  max-width: calc(100vw - 2.5rem); font-size: .92rem; }
.many th, .many td { padding: .35rem .5rem; }
.many td { white-space: nowrap; }
.many thead th { max-width: 9rem; vertical-align: bottom; }
.many tbody th { white-space: nowrap; }
.many tbody small { display: inline; margin-left: .5rem; }
tr.ours { background: var(--wash); }
.table { margin: 0 0 1.4rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.6rem, 1fr)); gap: .6rem;
  margin: 1.4rem 0; }
.figures div { background: var(--card); border: 1px solid var(--grid); border-radius: 10px;
  padding: .7rem .9rem; }
.figures dt { font-size: .8rem; }
.figures dd { font-size: 1.15rem; font-weight: 600; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1rem;
  margin: 0 0 1rem; }
.charts figure { margin: 0; }
.charts figure:only-child { max-width: 27rem; }
figure { margin: 0 0 1rem; padding: .8rem; background: var(--card); border: 1px solid var(--grid);
  border-radius: 10px; }
figure svg { display: block; width: 100%; max-width: 40rem; height: auto; margin: 0 auto; }
article { background: var(--card); border: 1px solid var(--grid); border-radius: 10px; padding: 1rem 1.2rem;
  margin: 0 0 1rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: 1.2rem; }
ol { margin: 0; padding-left: 1.2rem; }
li { margin: 0 0 .5rem; font-size: .9rem; overflow-wrap: anywhere; }
li p { margin: .1rem 0 0; color: var(--faint); font-size: .86rem; }
.remark { font-size: .82rem; color: var(--faint); margin: 0 0 .5rem; }
.better { color: var(--chart3); }
.worse { color: var(--chart2); }
.relevant > p { color: var(--ink); }
li .better { font-size: .8rem; font-weight: 600; white-space: nowrap; }
details { margin: .6rem 0; }
summary { cursor: pointer; color: var(--faint); overflow-wrap: anywhere; }
.example { background: var(--card); border: 1px solid var(--grid); border-radius: 10px; padding: .6rem .9rem;
  margin: 0 0 .5rem; }
.example summary { color: var(--ink); }
.example summary b { font-variant-numeric: tabular-nums; margin-right: .4rem; white-space: nowrap; }
.example .columns { margin-top: .8rem; }
.score { color: var(--faint); font-size: .8rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; font-size: .92rem; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--grid); border-radius: 8px; padding: .7rem .9rem;
  overflow-x: auto; margin: .5rem 0; }
@media (max-width: 34rem) { main { padding: 1.4rem .9rem 3rem; } h1 { font-size: 1.5rem; }
  th, td { padding: .45rem .5rem; } tbody th { min-width: 7rem; overflow-wrap: anywhere; }
  figure { padding: .5rem; }
  dl:not(.figures) { grid-template-columns: 1fr; gap: 0; } dl:not(.figures) dd { margin: 0 0 .5rem; }
  .figures dd { font-size: 1.1rem; } }
@media print { :root { --paper: #fff; --card: #fff; color-scheme: light; } body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; } h2, h3, h4, summary, .remark { break-after: avoid; }
  figure, tr, .figures div, li { break-inside: avoid; } pre { white-space: pre-wrap; }
  details::details-content { content-visibility: visible; block-size: auto; } .wide { overflow: visible; } }
code { font: .88rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
