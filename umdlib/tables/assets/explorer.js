/* Compare any two of the published scores: two selections, one dot plot, one table. */
(function () {
  "use strict";
  var NS = "http://www.w3.org/2000/svg";
  function el(tag, props, parent) {
    var node = Object.assign(document.createElement(tag), props || {});
    if (parent) parent.appendChild(node);
    return node;
  }
  function svg(tag, attrs, parent, textContent) {
    var node = document.createElementNS(NS, tag);
    Object.keys(attrs).forEach(function (k) { node.setAttribute(k, attrs[k]); });
    if (textContent !== undefined) node.textContent = textContent;
    if (parent) parent.appendChild(node);
    return node;
  }
  function choose(parent, label, options, value, onchange) {
    var select = el("select", {}, el("label", { textContent: label + " " }, parent));
    options.forEach(function (o) { el("option", { value: o[0], textContent: o[1] }, select); });
    if (options.some(function (o) { return o[0] === value; })) select.value = value;
    select.addEventListener("change", onchange);
    return select;
  }
  function start(root) {
    if (root.dataset.umd) return;
    root.dataset.umd = "1";
    var data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    var rows = data.rows, names = data.names, hash = {};
    new URLSearchParams(location.hash.slice(1)).forEach(function (v, k) { hash[k] = v; });
    var pick = Object.assign({}, data.start, hash), ui = el("form", {}, root), out = el("div", {}, root);
    ui.addEventListener("submit", function (e) { e.preventDefault(); });
    function unique(key, of) { return Array.from(new Set(of.map(function (r) { return r[key]; }))); }
    function options(key, of) { return unique(key, of).map(function (k) { return [k, names[k] || k]; }); }
    function read(form) { form.forEach(function (f) { pick[f[0]] = f[1].value; }); build(); }
    function build() {
      ui.textContent = "";
      var controls = [], again = function () { read(controls); };
      var second = pick.by === "structure" ? "segmenter" : "structure";
      var top = el("fieldset", {}, ui);
      el("legend", { textContent: "Show" }, top);
      controls.push(["by", choose(top, "one line per", [["structure", "structure"], ["segmenter", "system"]], pick.by, again)]);
      controls.push(["order", choose(top, "in the order", [["printed", "as printed"], ["difference", "of the difference"], ["a", "of A"]], pick.order, again)]);
      ["a", "b"].forEach(function (side) {
        var set = el("fieldset", {}, ui);
        el("legend", { textContent: side === "a" ? "A ●" : "B ◆", className: "umd-key-" + side }, set);
        var condition = choose(set, "scores", options("condition", rows), pick[side], again);
        pick[side] = condition.value;
        controls.push([side, condition]);
        var left = rows.filter(function (r) { return r.condition === condition.value; });
        var other = choose(set, second === "segmenter" ? "system" : "structure", options(second, left), pick[side + "_" + second], again);
        pick[side + "_" + second] = other.value;
        controls.push([side + "_" + second, other]);
      });
      el("button", { type: "button", textContent: "Exchange A and B", onclick: function () {
        [["a", "b"], ["a_segmenter", "b_segmenter"], ["a_structure", "b_structure"]].forEach(function (p) {
          var t = pick[p[0]]; pick[p[0]] = pick[p[1]]; pick[p[1]] = t;
        });
        build();
      } }, top);
      draw();
    }
    function series(side) {
      var second = pick.by === "structure" ? "segmenter" : "structure", found = {};
      rows.forEach(function (r) {
        if (r.condition === pick[side] && r[second] === pick[side + "_" + second]) found[r[pick.by]] = r;
      });
      return found;
    }
    function label(side) {
      var second = pick.by === "structure" ? "segmenter" : "structure";
      return names[pick[side + "_" + second]] + ", " + names[pick[side]];
    }
    function draw() {
      out.textContent = "";
      var a = series("a"), b = series("b");
      var keys = unique(pick.by, rows).filter(function (k) { return a[k] || b[k]; });
      var gap = function (k) { return a[k] && b[k] ? b[k].v - a[k].v : NaN; };
      var rank = { difference: gap, a: function (k) { return a[k] ? a[k].v : NaN; } }[pick.order];
      if (rank) keys.sort(function (x, y) { var p = rank(x), q = rank(y); return isNaN(p) ? 1 : isNaN(q) ? -1 : q - p; });
      var kinds = unique("kind", keys.map(function (k) { return a[k] || b[k]; }).concat(keys.map(function (k) { return b[k] || a[k]; })));
      var notes = [];
      if (kinds.length > 1) notes.push("A mean is set beside a median here: their difference also holds the skew of the scores.");
      if (data.cohort[pick.a] !== data.cohort[pick.b]) notes.push("A and B are other subjects: a difference is not a paired difference.");
      notes.forEach(function (n) { el("p", { className: "umd-note", textContent: n }, out); });
      var key = el("p", {}, out);
      el("strong", { className: "umd-key-a", textContent: "● A: " + label("a") }, key);
      key.appendChild(document.createTextNode("  ·  "));
      el("strong", { className: "umd-key-b", textContent: "◆ B: " + label("b") }, key);
      if (!keys.length) { el("p", { textContent: "Nothing was printed for this choice." }, out); return; }
      var narrow = root.clientWidth < 560, W = narrow ? 420 : 860, L = narrow ? 118 : 150, R = narrow ? 62 : 86, step = 27, top = 26;
      var H = top + step * keys.length + 34, x = function (v) { return L + v * (W - L - R); };
      var plot = svg("svg", { viewBox: "0 0 " + W + " " + H, role: "img", "aria-label": "Dot plot of A and B by " + pick.by + "; the table below holds the same numbers." }, out);
      [0, .2, .4, .6, .8, 1].forEach(function (t) {
        svg("line", { x1: x(t), x2: x(t), y1: top - 8, y2: H - 26, stroke: "var(--umd-line)" }, plot);
        svg("text", { x: x(t), y: H - 10, "text-anchor": "middle" }, plot, t.toFixed(1));
      });
      svg("text", { x: x(.5), y: 12, "text-anchor": "middle" }, plot, "DSC");
      svg("text", { x: W - 4, y: 12, "text-anchor": "end" }, plot, "B − A");
      keys.forEach(function (k, i) {
        var y = top + step * i + step / 2;
        svg("text", { x: L - 8, y: y + 4, "text-anchor": "end" }, plot, names[k] || k);
        if (a[k] && b[k]) {
          svg("line", { x1: x(a[k].v), x2: x(b[k].v), y1: y, y2: y, stroke: "var(--umd-ink)", "stroke-width": 2, opacity: .45 }, plot);
          svg("text", { x: W - 4, y: y + 4, "text-anchor": "end" }, plot, (gap(k) >= 0 ? "+" : "−") + Math.abs(gap(k)).toFixed(3));
        }
        [[a[k], "a", -5], [b[k], "b", 5]].forEach(function (s) {
          var r = s[0], colour = "var(--umd-" + s[1] + ")";
          if (!r) return;
          svg("line", { x1: x(r.lo), x2: x(r.hi), y1: y + s[2], y2: y + s[2], stroke: colour, "stroke-width": 2, opacity: .55 }, plot);
          var mark = s[1] === "a"
            ? svg("circle", { cx: x(r.v), cy: y, r: 6, fill: colour }, plot)
            : svg("path", { d: "M" + x(r.v) + " " + (y - 7) + "l7 7l-7 7l-7-7z", fill: colour }, plot);
          svg("title", {}, mark, r.raw + ", " + r.source);
        });
      });
      var spread = el("p", {}, out);
      el("small", { textContent: kinds.map(function (k) { return k === "mean" ? "Bars: mean ± SD, cut at 0 and 1" : "Bars: quartiles"; }).join("; ") + ". " + keys.filter(function (k) { return gap(k) > 0; }).length + " of " + keys.filter(function (k) { return !isNaN(gap(k)); }).length + " lines are higher in B." }, spread);
      var scroll = el("div", { className: "umd-scroll", tabIndex: 0 }, out), table = el("table", { className: "umd-live", id: "explorer" }, scroll);
      scroll.setAttribute("role", "region"); scroll.setAttribute("aria-label", "The numbers of the plot");
      var head = el("tr", {}, el("thead", {}, table));
      [pick.by === "structure" ? "Structure" : "System", "A", "B", "B − A", "Source of A", "Source of B"].forEach(function (t) { el("th", { textContent: t, scope: "col" }, head); });
      var body = el("tbody", {}, table);
      keys.forEach(function (k) {
        var tr = el("tr", {}, body), d = gap(k);
        el("th", { textContent: names[k] || k, scope: "row" }, tr);
        [a[k] ? a[k].raw : "not printed", b[k] ? b[k].raw : "not printed", isNaN(d) ? "" : (d >= 0 ? "+" : "−") + Math.abs(d).toFixed(4), a[k] ? a[k].source : "", b[k] ? b[k].source : ""].forEach(function (t) { el("td", { textContent: t }, tr); });
      });
      if (window.umdTables) window.umdTables();
      try { history.replaceState(null, "", "#" + new URLSearchParams(pick).toString()); } catch (e) { /* not allowed in some frames; the plot does not need it */ }
    }
    build();
  }
  function all() { document.querySelectorAll(".umd-explorer").forEach(start); }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all); else all();
})();
