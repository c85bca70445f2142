"use strict";
// Plotly comes compressed, for it is most of the page. It runs as an inline script whose hash the
// page's policy knows.

const plotlyLoaded = (async () => {
  const text = atob(document.getElementById("plotly").textContent);
  const packed = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) packed[k] = text.charCodeAt(k);
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);
  if (!window.Plotly) throw new Error("Plotly did not run");
})();
plotlyLoaded.catch(() => (document.getElementById("no-figures").hidden = false));
