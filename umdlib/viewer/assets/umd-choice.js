/* A list of viewers: the one that is chosen takes the place of the one before, open, at the point where that was. */
(function () {
  "use strict";

  async function choose(root, list) {
    const content = document.documentElement.getAttribute("data-content_root");
    const record = list.value;
    const { figure } = await self.UMD_VIEWER.loadRecord(content !== null ? content + "umd/" : root.dataset.umdRoot, record);
    if (list.value !== record) return;
    const holder = root.querySelector(".umd-chosen");
    const before = holder.querySelector("figure").umd;
    const at = before?.panes ? before.state : null;
    before?.close();
    holder.innerHTML = figure;
    const next = holder.querySelector("figure");
    const viewer = self.UMD_VIEWER.show(next, JSON.parse(next.querySelector("script").textContent).start);
    for (const key of at ? ["xyz", "overlay", "outline", "layout", "opacity", "zoom"] : []) viewer.state[key] = at[key];
    await viewer.open();
    list.focus({ preventScroll: true });
  }

  function start() {
    for (const root of document.querySelectorAll(".umd-choice")) {
      const list = root.querySelector("select");
      if (!root.umd) list.addEventListener("change", () => choose(root, list));
      root.umd = true;
    }
  }

  if (document.readyState === "complete") start();
  else addEventListener("load", start);
})();
