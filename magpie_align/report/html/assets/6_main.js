// Light sections at once, heavy ones when they come into view.
const light = JSON.parse(byId("light").textContent);
let openRow = null;

async function browserRows() {
  const data = await heavy();
  if (!openRow && data.pools.length) openRow = startBrowser(data.pools);
  return data;
}

async function open(uuid) {
  await browserRows();
  if (openRow) openRow(uuid);
}

drawResults(light.results);
whenNear(byId("distributions"), () => drawDistributions(light.distributions));
whenNear(byId("map"), () => drawMap(light.map, open));
whenNear(byId("training"), () => drawCurves(light.curves));
whenNear(byId("questions"), async () => startItems((await heavy()).questions, open));
whenNear(byId("browser"), browserRows);
window.addEventListener("hashchange", () => openStage(decodeURIComponent(location.hash).replace("#stage-", "")));
window.addEventListener("beforeprint", () => { for (const node of document.querySelectorAll("details")) node.open = true; });
