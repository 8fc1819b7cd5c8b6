/* Makes every table.umd-live searchable, sortable and exportable. The table works without it. */
(function () {
  "use strict";
  var own = document.currentScript && document.currentScript.closest(".cell");
  if (own) own.style.display = "none";  /* nothing to see in the cell that brings this script */
  if (window.umdTables) { window.umdTables(); return; }
  document.documentElement.classList.add("umd-scripted");
  var LINE = ".umd-ct, .umd-mr, .umd-pet";
  function el(tag, props, parent) {
    var node = Object.assign(document.createElement(tag), props || {});
    if (parent) parent.appendChild(node);
    return node;
  }
  function text(node) { return node.textContent.replace(/\s+/g, " ").trim(); }
  function lines(cell) { return Array.from(cell.querySelectorAll(LINE)); }
  function part(cell, i) { var l = lines(cell); return text(l.length ? l[Math.min(i, l.length - 1)] : cell); }
  /* What a cell begins with, after marks: a name that ends with a digit is a name. */
  function number(s) { var m = /^[^A-Za-z0-9-]*(-?\d[\d,]*(\.\d+)?([eE][-+]?\d+)?)/.exec(s.replace(/−/g, "-")); return m ? parseFloat(m[1].replace(/,/g, "")) : NaN; }
  function compare(a, b, down) {  /* what is no number comes last in either direction */
    var x = number(a), y = number(b);
    if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1;
    return (down ? -1 : 1) * (isNaN(x) ? a.localeCompare(b) : x - y);
  }
  /* Rows that belong together: those of one subject matter on CT, MR and PET, told from their modality column. A blank
     cell left of it repeats the one above. Null where a table has no such rows. */
  function pairs(table) {
    var rows = Array.from(table.tBodies[0].rows), names = {}, found = null;
    var at = rows.length ? Array.from(rows[0].cells).findIndex(function (c, k) {
      return k > 0 && rows.every(function (r) { return r.cells[k] && /^(CT|MR|PET)$/.test(text(r.cells[k])); });
    }) : -1;
    if (at < 0) return null;
    var above = [], groups = new Map();
    rows.forEach(function (r) {
      above = Array.from(r.cells).slice(0, at).map(function (c, k) { return text(c) || above[k] || ""; });
      var key = above.join("\n"), name = text(r.cells[at]);
      if (!groups.has(key)) groups.set(key, { rows: [], of: {}, named: above });
      var group = groups.get(key);
      if (group.of[name]) found = false;  /* the column does not tell the rows of a group apart */
      group.rows.push(r); group.of[name] = r; names[name] = true;
    });
    if (found === false || groups.size === rows.length) return null;
    var list = Array.from(groups.values()), sides = Object.keys(names);
    if (names.CT && names.MR && !list.some(function (g) { return g.of.CT && g.of.MR; })) {  /* one structural image each */
      list.forEach(function (g) { g.of["CT or MR"] = g.of.CT || g.of.MR; });
      sides = ["CT or MR"].concat(names.PET ? ["PET"] : []);
    }
    return { groups: list, sides: sides };
  }
  function visible(table) { return Array.from(table.tBodies[0].rows).filter(function (r) { return !r.hidden; }); }
  function grid(table) {  /* header, then one line per modality of each visible row */
    var head = Array.from(table.tHead.rows[0].cells).map(text), out = [head];
    visible(table).forEach(function (row) {
      var cells = Array.from(row.cells);
      var n = Math.max.apply(null, cells.map(function (c) { return lines(c).length || 1; }));
      for (var i = 0; i < n; i++) out.push(cells.map(function (c) { return part(c, i); }));
    });
    return out;
  }
  function csv(rows) {
    return rows.map(function (r) {
      return r.map(function (v) { return /[",\n]/.test(v) ? '"' + v.replace(/"/g, '""') + '"' : v; }).join(",");
    }).join("\n") + "\n";
  }
  function latex(rows) {
    var esc = { "&": "\\&", "%": "\\%", "_": "\\_", "#": "\\#", "$": "\\$", "~": "\\textasciitilde{}", "†": "$^\\dagger$", "‡": "$^\\ddagger$", "±": "$\\pm$", "ρ": "$\\rho$" };
    var body = rows.map(function (r) {
      return r.map(function (v) { return v.replace(/[&%_#$~†‡±ρ]/g, function (c) { return esc[c]; }); }).join(" & ") + " \\\\";
    });
    body.splice(1, 0, "\\midrule");
    return "\\begin{tabular}{l" + "r".repeat(rows[0].length - 1) + "}\n\\toprule\n" + body.join("\n") + "\n\\bottomrule\n\\end{tabular}\n";
  }
  function save(name, content) {
    var url = URL.createObjectURL(new Blob([content], { type: "text/plain;charset=utf-8" }));
    var a = el("a", { href: url, download: name }, document.body);
    a.click(); a.remove();
    setTimeout(function () { URL.revokeObjectURL(url); }, 1000);
  }
  function enhance(table) {
    if (table.dataset.umd) return;
    table.dataset.umd = "1";  /* the style shows it from here on */
    if (!table.tHead || !table.tBodies.length) return;
    var holder = table.closest(".pst-scrollable-table-container") || table;
    var box = el("div", { className: "umd-box" }), scroll = el("div", { className: "umd-scroll", tabIndex: 0 });
    scroll.setAttribute("role", "region");
    if (!table.caption) scroll.setAttribute("aria-label", "Table");
    holder.parentNode.insertBefore(box, holder);
    if (table.caption) {  /* outside the scrolled box, so that it wraps */
      var caption = el("div", { className: "umd-caption", id: (table.id || "umd-" + Math.random().toString(36).slice(2)) + "-caption" }, box);
      while (table.caption.firstChild) caption.appendChild(table.caption.firstChild);
      table.deleteCaption();
      table.setAttribute("aria-labelledby", caption.id);
      scroll.setAttribute("aria-labelledby", caption.id);
    }
    var bar = el("div", { className: "umd-bar" }, box);
    box.appendChild(scroll); scroll.appendChild(table);
    if (holder !== table) holder.remove();
    var name = (table.id || "table").replace(/^id\d+$/, "table");
    var input = el("input", { type: "search", placeholder: "Filter rows" }, bar);
    input.setAttribute("aria-label", "Filter the rows of this table");
    var first = Array.from(table.tBodies[0].rows).map(function (r) { return Array.from(r.cells).map(lines); })
      .flat().find(function (l) { return l.length > 1; });
    var which = null, paired = pairs(table);
    var sides = first ? first.map(function (l) {
      return Array.from(l.classList).find(function (c) { return LINE.indexOf("." + c) >= 0; }).slice(4).toUpperCase();
    }) : paired ? paired.sides : [];
    if (sides.length > 1) {
      which = el("select", {}, el("label", { textContent: "Sort by " }, bar));
      sides.forEach(function (side, i) { el("option", { value: i, textContent: side }, which); });
    }
    /* what is sorted and filtered as one: a row, or the rows of a pair */
    var units = paired ? paired.groups : Array.from(table.tBodies[0].rows).map(function (r) { return { rows: [r], of: {}, named: [] }; });
    function value(unit, column) {
      if (column < unit.named.length) return unit.named[column];
      var row = paired ? unit.of[sides[which ? +which.value : 0]] : unit.rows[0];
      return row ? part(row.cells[column], which ? +which.value : 0) : "";
    }
    el("button", { type: "button", textContent: "CSV", title: "Download the rows shown as CSV",
      onclick: function () { save(name + ".csv", csv(grid(table))); } }, bar);
    el("button", { type: "button", textContent: "LaTeX", title: "Download the rows shown as a LaTeX table",
      onclick: function () { save(name + ".tex", latex(grid(table))); } }, bar);
    var count = el("span", { className: "umd-count" }, bar);
    count.setAttribute("role", "status");
    function say(more) {
      var n = visible(table).length, all = table.tBodies[0].rows.length;
      count.textContent = (n === all ? all : n + " of " + all) + (all === 1 ? " row" : " rows") + (more || "");
    }
    input.addEventListener("input", function () {
      var words = input.value.toLowerCase().split(/\s+/);
      units.forEach(function (unit) {
        unit.rows.forEach(function (r) {
          var t = (unit.named.join(" ") + " " + r.textContent).toLowerCase();
          r.hidden = !words.every(function (w) { return t.indexOf(w) >= 0; });
        });
      });
      say();
    });
    var heads = Array.from(table.tHead.rows[0].cells), state = { column: -1, down: false };
    function sort() {
      if (state.column < 0) return;
      var body = table.tBodies[0];
      units.slice().sort(function (p, q) {
        return compare(value(p, state.column), value(q, state.column), state.down);
      }).forEach(function (unit) { unit.rows.forEach(function (r) { body.appendChild(r); }); });
      heads.forEach(function (h, k) {
        h.setAttribute("aria-sort", k === state.column ? (state.down ? "descending" : "ascending") : "none");
      });
      say(", sorted by " + text(heads[state.column]) + (which ? " " + which.selectedOptions[0].textContent : ""));
    }
    heads.forEach(function (h, k) {
      if (!text(h)) return;
      var label = h.innerHTML;
      h.innerHTML = "";
      h.setAttribute("scope", "col");
      el("button", { type: "button", className: "umd-sort", innerHTML: label, onclick: function () {
        state = { column: k, down: state.column === k ? !state.down : k > 0 };
        sort();
      } }, h);
    });
    if (which) which.addEventListener("change", sort);
    say();
  }
  /* On a wide screen no column is cut off: a table that is too wide wraps inside its brackets. */
  function fit(box) {
    if (window.innerWidth >= 900 && box.scrollWidth > box.clientWidth + 1) box.querySelector("table").classList.add("umd-tight");
  }
  /* Pages call this right after each table, so that it has its final form before it is painted. */
  window.umdTables = function () {
    document.querySelectorAll("table.umd-live").forEach(enhance);
    document.querySelectorAll(".umd-scroll:has(> table:not(.umd-tight))").forEach(fit);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", window.umdTables);
  else window.umdTables();
})();
