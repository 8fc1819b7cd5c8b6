/* Definitions of terms and references of citations, shown on hover, focus and touch. No dependency. */
(function () {
  "use strict";

  const box = document.createElement("div");
  box.id = "umd-tip";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  let shown = null;
  let touched = false;

  function show(link) {
    hide();
    shown = link;
    box.textContent = link.dataset.umdTip;
    box.hidden = false;
    link.setAttribute("aria-describedby", box.id);
    const at = link.getBoundingClientRect();
    const width = Math.min(340, document.documentElement.clientWidth - 16);
    box.style.width = "max-content";
    box.style.maxWidth = width + "px";
    const left = Math.min(Math.max(8, at.left), document.documentElement.clientWidth - box.offsetWidth - 8);
    const above = at.top > box.offsetHeight + 12;
    box.style.left = left + window.scrollX + "px";
    box.style.top = (above ? at.top - box.offsetHeight - 6 : at.bottom + 6) + window.scrollY + "px";
  }

  function hide() {
    shown?.removeAttribute("aria-describedby");
    shown = null;
    box.hidden = true;
  }

  // a figure opens at its full size: on a narrow screen its letters are small
  function openFigures() {
    for (const picture of document.querySelectorAll(".bd-article figure img, .bd-article .cell_output img")) {
      if (picture.closest("a, .umd-viewer")) continue;
      const link = document.createElement("a");
      link.href = picture.src;
      link.className = "umd-zoom";
      picture.replaceWith(link);
      link.append(picture);
    }
  }

  // a chart whose marks are links is one stop of the tab key; the arrows go from mark to mark
  function walkCharts() {
    for (const chart of document.querySelectorAll("svg.umd-chart")) {
      const marks = [...chart.querySelectorAll("a[aria-label]")];
      const stop = (at) => marks.forEach((mark, n) => mark.setAttribute("tabindex", n === at ? "0" : "-1"));
      marks.forEach((mark, n) => {
        mark.dataset.umdTip = mark.getAttribute("aria-label");
        mark.querySelector("title")?.remove(); // the browser's own tip would lie over this one
        mark.addEventListener("pointerenter", (event) => { if (event.pointerType !== "touch") show(mark); });
        mark.addEventListener("pointerleave", hide);
        mark.addEventListener("focus", () => { stop(n); show(mark); });
        mark.addEventListener("blur", hide);
        mark.addEventListener("keydown", (event) => {
          const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
          if (!step) return;
          event.preventDefault();
          marks[(n + step + marks.length) % marks.length].focus();
        });
      });
      if (marks.length) stop(0);
    }
  }

  // code of the page's cells: all or none, as the reader chose on the last page
  function switchCode() {
    const button = document.querySelector(".umd-code-switch");
    if (!button) return;
    const turn = (on) => {
      document.documentElement.classList.toggle("umd-code", on);
      button.textContent = on ? "Hide the code" : "Show the code";
      button.setAttribute("aria-pressed", String(on));
      for (const fold of document.querySelectorAll(".bd-article .cell > details.hide:not(.above-output)")) fold.open = on;
    };
    let kept = null;
    try { kept = sessionStorage.getItem("umd-code"); } catch { /* not from a file, in some browsers */ }
    if (kept === "1") turn(true);
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      turn(on);
      try { sessionStorage.setItem("umd-code", on ? "1" : "0"); } catch { /* kept for this page alone */ }
    });
  }

  // what an address names may lie in a closed fold or behind a tab
  function uncover() {
    let named = null;
    try { named = document.getElementById(decodeURIComponent(location.hash.slice(1))); } catch { /* a lone % */ }
    if (!named) return;
    let covered = false;
    for (let node = named; node; node = node.parentElement) {
      if (node.matches("details:not([open])")) { node.open = true; covered = true; }
      const tab = node.matches(".sd-tab-content") && node.previousElementSibling?.previousElementSibling;
      if (tab && !tab.checked) { tab.click(); covered = true; }
    }
    if (covered) named.scrollIntoView();
  }

  // a table has its width where its fold or its tab is open
  const fitTables = () => window.umdTables?.();

  // docutils marks the bibliography as a list whose items browsers do not take for items
  function plainBibliography() {
    for (const node of document.querySelectorAll(".citation-list, .citation-list > [role]")) node.removeAttribute("role");
  }

  // paper is white: a page that is read in the dark is printed light
  function printLight() {
    const root = document.documentElement;
    let before = null, folds = [];
    const change = (printing) => {
      if (printing && before === null) {
        before = root.dataset.theme || "light";
        root.dataset.theme = "light";
        folds = [...document.querySelectorAll("details.sd-dropdown:not([open])")];
        for (const fold of folds) fold.open = true;
      }
      if (!printing && before !== null) {
        root.dataset.theme = before;
        before = null;
        for (const fold of folds) fold.open = false;
      }
    };
    window.addEventListener("beforeprint", () => change(true));
    window.addEventListener("afterprint", () => change(false));
    window.matchMedia("print").addEventListener("change", (event) => change(event.matches));
  }

  function start() {
    plainBibliography();
    printLight();
    switchCode();
    uncover();
    window.addEventListener("hashchange", uncover);
    window.addEventListener("load", fitTables);
    for (const fold of document.querySelectorAll("details.sd-dropdown")) fold.addEventListener("toggle", fitTables);
    for (const tab of document.querySelectorAll(".sd-tab-set > input")) tab.addEventListener("change", fitTables);
    openFigures();
    walkCharts();
    document.body.append(box);
    for (const link of document.querySelectorAll("a.umd-term[title], a.reference.internal[title][href*='bibliography']")) {
      link.dataset.umdTip = link.title; // the browser's own tip would lie over this one
      link.removeAttribute("title");
      link.addEventListener("pointerenter", (event) => { if (event.pointerType !== "touch") show(link); });
      link.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") hide(); });
      link.addEventListener("pointerdown", (event) => { touched = event.pointerType === "touch"; });
      link.addEventListener("focus", () => { if (!touched) show(link); });
      link.addEventListener("blur", hide);
      link.addEventListener("click", (event) => { // the first touch shows, the second follows
        if (touched && shown !== link) { event.preventDefault(); show(link); }
      });
    }
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
    document.addEventListener("click", (event) => { if (shown && !event.target.closest("a.umd-term, a[data-umd-tip]")) hide(); });
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
