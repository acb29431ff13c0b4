/** The page's style sheet: system fonts, and the colours that the reader's system asks for. */
export const STYLE = `:root {
  color-scheme: light dark;
  --ground: #fff; --panel: #f5f6f8; --text: #1b1f24; --faint: #667080; --line: #d8dce2;
  --accent: #1c5d99; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --panel: #1d2126; --text: #e4e7eb; --faint: #98a2b0; --line: #343a42;
    --accent: #6fb1f0; --bad: #ff8a80;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 14px/1.4 system-ui, sans-serif;
}
header {
  display: flex; flex-wrap: wrap; gap: 0.3rem 1rem; align-items: baseline;
  padding: 0.6rem 1rem; border-bottom: 1px solid var(--line);
}
h1 { margin: 0; font-size: 1.2rem; }
h2 { margin: 0 0 0.3rem; font-size: 1rem; }
h2 small { font-weight: normal; color: var(--faint); }
main { padding: 1rem; max-width: 1500px; margin: auto; }
main > section { margin-bottom: 1.2rem; }
.controls { margin-left: auto; display: flex; gap: 0.8rem; }
.bad { color: var(--bad); font-weight: 600; }
#totals { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: 0.6rem; }
#totals div { background: var(--panel); border-radius: 6px; padding: 0.5rem 0.7rem; }
#totals b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
#totals span { color: var(--faint); }
#charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 0.6rem; }
#charts figure { margin: 0; background: var(--panel); border-radius: 6px; padding: 0.5rem; min-width: 0; }
#charts figcaption { font-weight: 600; padding: 0 0.3rem; }
.u-legend { color: var(--faint); font-size: 0.8rem; }
.u-legend th, .u-legend td { border: 0; padding: 0 0.2rem; font-weight: normal; }
.filter { display: block; margin-bottom: 1rem; }
.filter input { width: min(24rem, 100%); }
input, select, button { font: inherit; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th.text, td.text { text-align: left; }
th button { border: 0; background: none; color: var(--faint); padding: 0; cursor: pointer; font-size: 0.8rem; }
th[aria-sort] button { color: var(--accent); font-weight: 600; }
td button { border: 0; background: none; padding: 0; color: var(--accent); cursor: pointer; }
tr.chosen td { background: var(--panel); }
tr.quiet td { color: var(--faint); }
tr.bad td { color: var(--bad); font-weight: normal; }
`;
