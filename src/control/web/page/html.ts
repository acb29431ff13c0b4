/** The page's HTML. All that changes is put in by its script (main.ts). */
export const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>xvs</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/charts.css">
<link rel="stylesheet" href="/style.css">
<script src="/charts.js" defer></script>
<script src="/page.js" defer></script>
</head>
<body>
<header>
<h1>xvs</h1>
<span id="state" role="status">asking ...</span>
<span id="links"></span>
<span class="controls">
<label>every <select id="interval">
<option value="1000">1 s</option>
<option value="2000" selected>2 s</option>
<option value="5000">5 s</option>
<option value="10000">10 s</option>
</select></label>
<button id="pause" type="button">Pause</button>
</span>
</header>
<main>
<section id="totals" aria-label="Totals"></section>
<section id="charts" aria-label="Charts"></section>
<label class="filter">Filter <input id="filter" type="search" autocomplete="off" spellcheck="false"
 placeholder="words that a row must have"></label>
<section id="services"></section>
<section id="servers"></section>
<section id="workers"></section>
<section id="drops"></section>
</main>
<noscript>This page needs JavaScript; <code>xvs top</code> shows the same in a terminal.</noscript>
</body>
</html>
`;
