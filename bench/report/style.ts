/** The page's style: light and dark as the reader's system has it; colours of the plots too. */

const SERIES = {
  light: ['#0060b8', '#d1580a', '#00805f', '#a8347f', '#8a6a00', '#4b5bd1', '#7a4a21'],
  dark: ['#5cb0ff', '#ff9a52', '#35cfa0', '#ef8ccb', '#e2c044', '#98a4ff', '#cf9b6c'],
};
const MORE = {
  light: ['#4d8a2e', '#b3273e', '#5f6b7a', '#c9ced6'],
  dark: ['#93d06e', '#ff8290', '#9aa6b5', '#3b424d'],
};

function seriesColours(theme: 'light' | 'dark'): string {
  const colours = [...SERIES[theme], ...MORE[theme]];
  return colours.map((colour, index) => `--series-${index + 1}:${colour}`).join(';');
}

export const LIGHT = `--paper:#ffffff;--raised:#f5f7f9;--ink:#1b2026;--muted:#5a6571;--rule:#dfe4e9;
--peer:#75808c;--good:#0a6b3d;--good-back:#e2f4ea;--bad:#a81f2d;--bad-back:#fdeaec;
--unsure-back:#eef1f4;--link:#0057a8;${seriesColours('light')}`;

const DARK = `--paper:#12161b;--raised:#1a2027;--ink:#e4e8ec;--muted:#9aa6b2;--rule:#2c343d;
--peer:#8994a0;--good:#6fdca4;--good-back:#12352a;--bad:#ff9aa4;--bad-back:#43191f;
--unsure-back:#262d35;--link:#7bbcff;${seriesColours('dark')}`;

export const STYLE = `:root{color-scheme:light dark;${LIGHT}}
@media (prefers-color-scheme:dark){:root{${DARK}}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 24px 80px}
h1{font-size:28px;line-height:1.2;margin:0 0 4px}
h2{font-size:21px;margin:0 0 2px}
h3{font-size:15px;margin:26px 0 8px}
h3 small,h2 small{font-weight:400;color:var(--muted)}
a{color:var(--link)}
p{margin:6px 0}
.quiet{color:var(--muted)}
section{margin-top:44px;padding-top:18px;border-top:1px solid var(--rule)}
nav{display:flex;flex-wrap:wrap;gap:4px 16px;margin-top:18px}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:1px;
margin:20px 0 0;background:var(--rule);border:1px solid var(--rule);border-radius:8px;overflow:hidden}
.facts div{background:var(--raised);padding:10px 14px}
.facts dt{font-size:12px;color:var(--muted)}
.facts dd{margin:0;font-weight:600;overflow-wrap:anywhere}
.notice{padding:10px 14px;border-radius:8px;margin:14px 0;background:var(--unsure-back)}
.notice.bad{background:var(--bad-back);color:var(--bad)}
.notice pre{margin:6px 0 0;white-space:pre-wrap;font-size:12px}
figcaption small{font-weight:400;color:var(--muted);margin-left:4px}
.plots{display:grid;align-items:start;margin-top:16px;grid-template-columns:repeat(auto-fill,minmax(min(100%,520px),1fr));gap:14px}
figure{margin:0;padding:12px 14px 8px;border:1px solid var(--rule);border-radius:8px;min-width:0}
figcaption{font-size:13px;font-weight:600;margin-bottom:8px}
figure svg{display:block;width:100%;height:auto;font-family:inherit}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
th{font-weight:600;color:var(--muted);font-size:12px;white-space:nowrap}
td.figure,th.figure{text-align:right;white-space:nowrap}
td.figure b{font-weight:650}
.targets td:first-child{width:40%;min-width:260px}
.targets td:nth-child(3){min-width:240px}
.targets td:nth-child(2){white-space:nowrap}
.targets td:last-child{text-align:right}
.word{display:inline-block;padding:0 8px;border-radius:10px;font-size:12px;font-weight:600;
white-space:nowrap;background:var(--unsure-back);color:var(--muted)}
.word.good{background:var(--good-back);color:var(--good)}
.word.bad{background:var(--bad-back);color:var(--bad)}
details{margin-top:14px}
summary{cursor:pointer;font-size:14px;color:var(--link)}
details[open] summary{margin-bottom:8px}
ul.notes{margin:12px 0 0;padding-left:18px;font-size:13px;color:var(--muted)}
code{font:12.5px ui-monospace,'DejaVu Sans Mono',monospace;overflow-wrap:anywhere}
@media print{details:not([open])>*{display:block}section{break-inside:auto}figure{break-inside:avoid}}
`;
